//! Backends behind unix sockets: the path, the host they are told, what is said where nobody listens.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use crate::kit::{Config, Proxy, ok};

/// A unix socket in `directory` that answers each connection's first request with its head.
fn unix_echo(directory: &std::path::Path) -> String {
    let path = directory.join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if socket.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let _ = socket.write_all(ok(&String::from_utf8_lossy(&head)).as_bytes());
        }
    });
    format!("unix:{}", path.display())
}

#[test]
fn a_backend_behind_a_unix_socket_is_called_localhost() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&Config::of_url(&unix_echo(directory.path()), ""));
    let response = proxy.get("/x?y=z");
    assert_eq!(response.status(), 200);
    let seen = response.text();
    assert!(seen.starts_with("GET /x?y=z HTTP/1.1\r\n") && seen.contains("host: localhost\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-host: www.example.com\r\n"), "{seen}");
}

#[test]
fn a_backend_behind_a_unix_socket_gets_the_host_it_is_configured_for() {
    let directory = tempfile::tempdir().unwrap();
    let url = unix_echo(directory.path());
    let proxy = Proxy::start(&Config::of_url(&url, "host = \"preserve\""));
    assert!(proxy.get("/").text().contains("host: www.example.com\r\n"));
    let proxy = Proxy::start(&Config::of_url(&url, "host = \"app.internal\""));
    assert!(proxy.get("/").text().contains("host: app.internal\r\n"));
}

#[test]
fn a_unix_socket_that_nobody_listens_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    drop(UnixListener::bind(&path).unwrap());
    let proxy = Proxy::start(&Config::of_url(&format!("unix:{}", path.display()), ""));
    assert_eq!(proxy.get("/").reason(), Some("connect_refused"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(proxy.get("/").reason(), Some("connect_failed"));
}
