//! What systemd is told of the process (sd_notify(3)): that it is ready, reloads, stops, lives, and who it is now.
//!
//! `app` tells it. Without `NOTIFY_SOCKET` nobody is told anything. It must never wait, nor fail anybody: who isn't
//! heard goes on.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Whoever started us, if it wants to know. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    place: SocketAddr,
}

impl Notifier {
    /// The one that the environment names.
    pub fn of_environment() -> Self {
        Self(env::var_os("NOTIFY_SOCKET").and_then(|place| Line::to(place.as_bytes())).map(Arc::new))
    }

    /// We serve.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// Another process serves, whose every word counts from now on instead of ours.
    pub fn replaced(&self, pid: u32) {
        // In one message: the next of ours may not be believed any more.
        self.tell(&format!("MAINPID={pid}\nREADY=1\nSTATUS=serving, after an upgrade\n"));
    }

    /// What is served changes; [`ready`](Self::ready) says when it has.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// We end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is in flight\n");
    }

    /// We live.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// How often somebody wants to hear that we live: twice as often as they look. `successor`: the process that was
    /// started by systemd was another.
    pub fn watchdog(&self, successor: bool) -> Option<Duration> {
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        self.0.as_ref()?;
        let ours = successor || number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        number("WATCHDOG_USEC")
            .filter(|micros| ours && *micros > 0)
            .map(|micros| Duration::from_micros(micros) / 2)
    }

    fn tell(&self, text: &str) {
        let Some(line) = &self.0 else { return };
        // Who doesn't listen any more misses it.
        let _ = line.socket.send_to_addr(text.as_bytes(), &line.place);
    }
}

impl Line {
    fn to(place: &[u8]) -> Option<Self> {
        let place = match place.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name).ok()?,
            None if place.starts_with(b"/") => {
                SocketAddr::from_pathname(std::ffi::OsString::from_vec(place.to_vec())).ok()?
            }
            None => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, place })
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn it_is_told_at_a_path_and_at_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("crossfade-test-{}", std::process::id());
        let at_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let at_path = UnixDatagram::bind(&path).unwrap();
        for (place, socket) in
            [(path.as_os_str().as_bytes(), at_path), (format!("@{name}").as_bytes(), at_name)]
        {
            let notifier = Notifier(Line::to(place).map(Arc::new));
            notifier.ready("revision 3\nis live");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=revision 3 is live\n");
            notifier.replaced(4711);
            assert!(heard(&socket).starts_with("MAINPID=4711\nREADY=1\n"));
            notifier.reloading();
            let text = heard(&socket);
            let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
            assert!(micros.parse::<u64>().unwrap() > 0, "{text}");
        }
        assert!(Line::to(b"relative").is_none() && Line::to(b"").is_none());
    }
}
