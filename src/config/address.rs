//! Addresses as people write them: where to listen, which peers to believe, where a backend is.
//!
//! `lower` and `quick_start` call it. It must never look a name up, and never quote a whole URL back: it may
//! hold a password.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::limits::UNIX_PATH;
use crate::config::model::{EndpointUrl, Scheme};
use crate::config::problem::{Fault, quoted};

/// `"0.0.0.0:8080"` or `"[::]:8080"`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Fault> {
    const FORM: &str = "write an address and a port: \"0.0.0.0:8080\", \"127.0.0.1:8080\" or \"[::]:8080\"";
    if text.starts_with("unix:") {
        let message = "only `http` listens on a unix socket";
        return Err(Fault::new(message, FORM));
    }
    text.parse().map_err(|_| {
        let remedy = match text.rsplit_once(':') {
            Some(("" | "*", port)) if is_port(port) => format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\""),
            Some(("localhost", port)) if is_port(port) => format!("write \"127.0.0.1:{port}\""),
            None if is_port(text) => format!("write \"0.0.0.0:{text}\""),
            None if text.parse::<IpAddr>().is_ok() => "add the port: \"0.0.0.0:8080\"".to_owned(),
            _ => FORM.to_owned(),
        };
        Fault::new(format!("{} isn't an address to listen on", quoted(text)), remedy)
    })
}

/// `"unix:/run/crossfade.sock"`; nothing where it is no such thing.
pub(super) fn unix(text: &str) -> Option<Result<PathBuf, Fault>> {
    const FORM: &str = "write an absolute path: \"unix:/run/crossfade/http.sock\"";
    let path = text.strip_prefix("unix:")?;
    // What a socket's address has room for (unix(7)).
    let fits = path.starts_with('/') && path.len() < 108 && !path.contains(char::is_control);
    Some(if fits {
        Ok(PathBuf::from(path))
    } else {
        Err(Fault::new(format!("{} isn't a path to listen at", quoted(path)), FORM))
    })
}

/// `"10.0.0.0/8"`, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    let one = text.parse::<IpAddr>().map(IpNet::from);
    one.or_else(|_| text.parse::<IpNet>().map(|net| net.trunc())).map_err(|_| {
        Fault::new(
            format!("{} is neither a network nor an address", quoted(text)),
            "write \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"",
        )
    })
}

/// `"https://app.example"`, with a port where it isn't the scheme's own; nothing behind it. Or `"unix:/run/app.sock"`.
pub(super) fn endpoint(text: &str) -> Result<EndpointUrl, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_socket(path).map(EndpointUrl::Unix);
    }
    let (scheme, rest) = scheme_of(text)?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    if authority.contains('@') {
        let message = "a backend's URL can't hold a user or a password";
        return Err(Fault::new(message, "leave out everything up to the `@`"));
    }
    let (host, port) = host_and_port(authority)?;
    let port = port.unwrap_or(scheme.default_port());
    let url = EndpointUrl::Network { scheme, host, port };
    match behind {
        "" | "/" => Ok(url),
        _ => Err(Fault::new(
            "a backend's URL can't hold a path or a query: a request keeps its own",
            format!("write \"{url}\""),
        )),
    }
}

/// The path of a unix socket: absolute, since a relative one would depend on where the proxy was started.
fn unix_socket(path: &str) -> Result<PathBuf, Fault> {
    const FORM: &str = "write its absolute path: \"unix:/run/app.sock\"";
    let shown = quoted(path);
    let message = if !path.starts_with('/') {
        format!("{shown} isn't the absolute path of a unix socket")
    } else if path.starts_with("//") {
        "the path of a unix socket begins with one `/`".to_owned()
    } else if path.ends_with('/') || path.contains(char::is_control) {
        format!("{shown} isn't the path of a unix socket")
    } else if path.len() > UNIX_PATH {
        format!(
            "the path of this unix socket has {} bytes, more than the {UNIX_PATH} that Linux takes",
            path.len()
        )
    } else {
        return Ok(PathBuf::from(path));
    };
    Err(Fault::new(message, FORM))
}

/// `"www.example.com"`, with a port where one is wanted, in lower case: a `Host` to send.
pub(super) fn host_header(text: &str) -> Result<String, Fault> {
    if text.contains('/') {
        return Err(no_host(text, "write the name alone: \"www.example.com\""));
    }
    let (host, port) = host_and_port(text)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(port.map_or(host.clone(), |port| format!("{host}:{port}")))
}

fn scheme_of(text: &str) -> Result<(Scheme, &str), Fault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let remedy = match host_and_port(text) {
            Ok(_) => format!("write \"https://{text}\""),
            Err(_) => "write \"https://app.example\"".to_owned(),
        };
        return Err(Fault::new("a backend's URL begins with https://, http:// or unix:", remedy));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok((Scheme::Http, rest)),
        "https" => Ok((Scheme::Https, rest)),
        _ => Err(Fault::new(
            format!("a backend can't be reached by {}", quoted(scheme)),
            "write a URL that begins with https:// or http://",
        )),
    }
}

/// Host in lower case, IPv6 without its brackets, and the port where one is written.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Fault> {
    if let Some(rest) = authority.strip_prefix('[') {
        let fault = || no_host(authority, "write an IPv6 address in brackets: [2001:db8::1]");
        let (inside, behind) = rest.split_once(']').ok_or_else(fault)?;
        let address = inside.parse::<Ipv6Addr>().map_err(|_| fault())?;
        return Ok((address.to_string(), port_behind(behind)?));
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(no_host(authority, &format!("write it in brackets: [{authority}]")));
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (host, behind) = authority.split_at(end);
    Ok((host_name(host)?, port_behind(behind)?))
}

/// Nothing, or `:` and a port from 1.
fn port_behind(text: &str) -> Result<Option<u16>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix(':').filter(|port| is_port(port));
    let port = digits.and_then(|port| port.parse().ok()).filter(|&port| port != 0);
    port.map(Some).ok_or_else(|| {
        let shown = quoted(text.trim_start_matches(':'));
        Fault::new(
            format!("{shown} isn't a port"),
            "write a number from 1 to 65535, or leave it out with its colon",
        )
    })
}

/// A DNS name in lower case without a final dot, or an IPv4 address.
fn host_name(host: &str) -> Result<String, Fault> {
    if host.is_empty() {
        return Err(Fault::new("the host is missing", "write its name: \"https://app.example\""));
    }
    if !host.is_ascii() {
        return Err(no_host(host, "write the name as DNS has it, in its xn-- form"));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let ends_in_digits = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let fits = if ends_in_digits { name.parse::<Ipv4Addr>().is_ok() } else { is_dns_name(&name) };
    if fits {
        Ok(name)
    } else {
        Err(no_host(host, "write a DNS name or an address: \"app.example\", \"192.0.2.7\""))
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn no_host(text: &str, remedy: &str) -> Fault {
    Fault::new(format!("{} isn't a host", quoted(text)), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(scheme: Scheme, host: &str, port: u16) -> Result<EndpointUrl, Fault> {
        Ok(EndpointUrl::Network { scheme, host: host.to_owned(), port })
    }

    #[test]
    fn unix_sockets_are_absolute_paths() {
        assert_eq!(endpoint("unix:/run/app.sock"), Ok(EndpointUrl::Unix("/run/app.sock".into())));
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH));
        for text in
            ["unix:", "unix:app.sock", "unix://run/app.sock", "unix:/run/", "unix:/a\nb", "unix:@app", &long]
        {
            assert!(endpoint(text).unwrap_err().remedy.contains("unix:/run/app.sock"), "{text}");
        }
    }

    #[test]
    fn endpoints_are_scheme_host_and_port() {
        assert_eq!(endpoint("https://App.Example"), url(Scheme::Https, "app.example", 443));
        assert_eq!(endpoint("HTTP://app.example:8080/"), url(Scheme::Http, "app.example", 8080));
        assert_eq!(endpoint("http://127.0.0.1"), url(Scheme::Http, "127.0.0.1", 80));
        assert_eq!(endpoint("https://[2001:DB8::1]:8443"), url(Scheme::Https, "2001:db8::1", 8443));
        assert_eq!(endpoint("https://app.example."), url(Scheme::Https, "app.example", 443));
        assert_eq!(endpoint("http://my_app.internal"), url(Scheme::Http, "my_app.internal", 80));
        assert_eq!(endpoint("http://1.example"), url(Scheme::Http, "1.example", 80));
    }

    #[test]
    fn anything_else_of_a_url_is_refused_with_what_to_write() {
        let remedy = |text| endpoint(text).unwrap_err().remedy;
        assert_eq!(remedy("app.example:80"), "write \"https://app.example:80\"");
        assert_eq!(remedy("https://a.example:81/x?y"), "write \"https://a.example:81\"");
        assert_eq!(remedy("https://a.example#x"), "write \"https://a.example\"");
        assert_eq!(remedy("https://2001:db8::1"), "write it in brackets: [2001:db8::1]");
        for text in [
            "",
            "https://",
            "https://:80",
            "ftp://a.example",
            "https://a.example:0",
            "https://a.example:",
            "https://a.example:65536",
            "https://a.example:+80",
            "https://a..example",
            "https://-a.example",
            "https://a b",
            "https://1.2.3",
            "https://300.1.1.1",
            "https://[::1",
            "https://[::1]80",
            "https://é.example",
            "https://a\\b",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_quoted() {
        for text in ["https://me:secret@a.example", "postgres://me:secret@db/x", "me:secret@db"] {
            assert!(!endpoint(text).unwrap_err().to_string().contains("secret"), "{text}");
        }
    }

    #[test]
    fn host_headers_keep_a_written_port() {
        assert_eq!(host_header("WWW.example.com").as_deref(), Ok("www.example.com"));
        assert_eq!(host_header("www.example.com:8443").as_deref(), Ok("www.example.com:8443"));
        assert_eq!(host_header("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert!(host_header("https://www.example.com").is_err());
    }

    #[test]
    fn listening_takes_addresses_only() {
        assert!(listen("0.0.0.0:8080").is_ok() && listen("[::]:0").is_ok());
        let remedy = |text| listen(text).unwrap_err().remedy;
        assert_eq!(remedy(":8080"), "write \"0.0.0.0:8080\" or \"[::]:8080\"");
        assert_eq!(remedy("*:80"), "write \"0.0.0.0:80\" or \"[::]:80\"");
        assert_eq!(remedy("localhost:8080"), "write \"127.0.0.1:8080\"");
        assert_eq!(remedy("8080"), "write \"0.0.0.0:8080\"");
        assert_eq!(remedy("127.0.0.1"), "add the port: \"0.0.0.0:8080\"");
        assert!(listen("unix:/run/x").unwrap_err().message.contains("only `http`"));
        assert!(listen("app.example:80").is_err());
    }

    #[test]
    fn networks_are_networks_or_single_addresses() {
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert!(network("10.0.0.0/33").is_err() && network("private").is_err());
    }
}
