//! `crossfade health`: whether the proxy takes visitors, for whoever starts and restarts programs.
//!
//! `cli` calls it. It asks what `server.metrics` answers at `/readyz`, and needs nothing else: no state, no token. It
//! must never wait for longer than a health check may, nor call a proxy ill for a file that was broken after its start.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::{complain, print};
use crate::config::limits::{HEALTH_ANSWER, HEALTH_ASK};
use crate::config::metrics_address;

/// Ask whether the proxy is ready for visitors: exit code 0, or 1 and why.
///
/// For HEALTHCHECK of a container and the like. It asks `server.metrics`, which has to be set.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// By `[server] metrics` of its file, which may be broken
    #[arg(long, short, value_name = "FILE", env = "CROSSFADE_CONFIG", default_value = "crossfade.toml")]
    config: PathBuf,
    /// By the address of `server.metrics` itself, as 127.0.0.1:9902
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    metrics: Option<SocketAddr>,
    /// Only whether it lives, which it does while it drains, too
    #[arg(long)]
    live: bool,
}

impl Health {
    pub(super) fn carry_out(self) -> ExitCode {
        let path = if self.live { "/healthz" } else { "/readyz" };
        let answer = self.address().and_then(|address| {
            let unable = |error| format!("nobody answers at http://{address}{path}: {error}");
            ask(address, path).map_err(unable)
        });
        match answer {
            Ok((200, text)) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Ok((_, text)) => complain(&text),
            Err(error) => complain(&error),
        }
    }

    /// Where it listens, as this machine reaches it.
    fn address(&self) -> Result<SocketAddr, String> {
        let address = match self.metrics {
            Some(address) => address,
            None => self.by_file()?,
        };
        Ok(match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
            IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
            IpAddr::V4(_) | IpAddr::V6(_) => address,
        })
    }

    fn by_file(&self) -> Result<SocketAddr, String> {
        const OTHERWISE: &str = "name its address by --metrics ADDRESS";
        let shown = self.config.display();
        let bytes =
            fs::read(&self.config).map_err(|error| format!("can't read {shown}: {error}; {OTHERWISE}"))?;
        let written = metrics_address(&String::from_utf8_lossy(&bytes), &|name| std::env::var(name).ok())
            .ok_or_else(|| {
                format!("{shown} has no [server] metrics that could be asked; set it, or {OTHERWISE}")
            })?;
        written.parse().map_err(|_| format!("{written:?}, [server] metrics of {shown}, is not an address"))
    }
}

/// Status and text of the answer.
fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let due = Instant::now() + HEALTH_ASK;
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_ASK)?;
    stream.set_write_timeout(Some(HEALTH_ASK))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let left = due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                let late = format!("it hasn't answered for {} s", HEALTH_ASK.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, late));
            }
            Err(error) => return Err(error),
        }
        if answer.len() > HEALTH_ANSWER || Instant::now() > due {
            break;
        }
    }
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::other("what answers there isn't Crossfade"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_text() {
        let table = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n", Some((200, "ready".to_owned()))),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\ndraining\n", Some((503, "draining".to_owned()))),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0-OpenSSH\r\n\r\n", None),
            ("HTTP/1.1 2\r\n\r\n", None),
            ("", None),
        ];
        for (answer, expected) in table {
            assert_eq!(parse(answer), expected, "{answer:?}");
        }
    }
}
