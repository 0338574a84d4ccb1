//! What systemd is to the program: it hears of it, and opens its sockets. The test plays it.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::kit::succession::pid_of;
use crate::kit::{Backend, Config, DEADLINE, Proxy, ok};

/// What systemd would hear.
struct Ear(UnixDatagram);

impl Ear {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    fn hears(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.0.recv(&mut bytes).expect("something is said");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// The next but signs of life.
    fn hears_news(&self) -> String {
        loop {
            let said = self.hears();
            if said != "WATCHDOG=1\n" {
                return said;
            }
        }
    }
}

/// Started as by systemd, with `socket` as its descriptor 3.
fn program(notify: &Path, socket: Option<(OwnedFd, &str)>) -> Command {
    let mut command = Command::new("sh");
    let exec = "exec \"$0\" \"$@\"";
    match socket {
        Some((socket, name)) => {
            let listen = format!("export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name}");
            command
                .arg("-c")
                .arg(format!("exec 3<&0 </dev/null; {listen}; {exec}"))
                .stdin(Stdio::from(socket));
        }
        None => drop(command.arg("-c").arg(exec)),
    }
    command.arg(env!("CARGO_BIN_EXE_crossfade")).env("NOTIFY_SOCKET", notify).process_group(0);
    command
}

fn start(config: &Config, socket: Option<(OwnedFd, &str)>, watchdog: bool) -> (Proxy, Ear) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crossfade.toml");
    let shown = directory.path().display().to_string();
    std::fs::write(&file, config.text().replace(crate::kit::config::DIRECTORY, &shown)).unwrap();
    let notify = directory.path().join("notify");
    let ear = Ear::at(&notify);
    let mut program = program(&notify, socket);
    if watchdog {
        program.env("WATCHDOG_USEC", "400000");
    }
    (Proxy::start_by(program, directory, &file), ear)
}

#[test]
fn it_is_told_of_start_reload_upgrade_and_end() {
    let backend = Backend::answering(ok("hello"));
    let (mut proxy, ear) = start(&Config::of(&backend).kept(), None, false);
    assert!(ear.hears().starts_with("READY=1\n"));
    proxy.signal("HUP");
    let reloading = ear.hears();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(ear.hears().starts_with("READY=1\n"));
    let new = pid_of(&proxy.steer("upgrade"));
    assert!(ear.hears().starts_with("RELOADING=1\n"));
    let replaced = ear.hears();
    assert!(replaced.starts_with(&format!("MAINPID={new}\nREADY=1\n")), "in one message: {replaced}");
    assert_eq!(proxy.first_exit_code(), 0);
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {new}")]).status().unwrap().success());
    let stopping = ear.hears();
    assert!(stopping.starts_with("STOPPING=1\n"), "the old one says no more: {stopping}");
}

#[test]
fn it_hears_signs_of_life_before_and_after_an_upgrade() {
    let backend = Backend::answering(ok("hello"));
    let (mut proxy, ear) = start(&Config::of(&backend).kept(), None, true);
    assert!(ear.hears().starts_with("READY=1\n"));
    assert_eq!(ear.hears(), "WATCHDOG=1\n");
    proxy.steer("upgrade");
    assert!(ear.hears_news().starts_with("RELOADING=1\n"));
    assert!(ear.hears_news().starts_with("MAINPID="));
    assert_eq!(proxy.first_exit_code(), 0);
    (0..3).for_each(|_| assert_eq!(ear.hears(), "WATCHDOG=1\n"));
}

/// The address is in the configuration: it would be in use, if it weren't taken over.
#[test]
fn a_socket_of_systemds_is_served_and_goes_on_over_an_upgrade() {
    let backend = Backend::answering(ok("hello"));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let config = Config::of(&backend).kept().listening(&format!("http = \"{address}\""));
    let (mut proxy, _ear) = start(&config, Some((socket.into(), "")), false);
    assert_eq!((proxy.address, proxy.get("/").text().as_str()), (address, "hello"));
    proxy.steer("upgrade");
    assert_eq!(proxy.first_exit_code(), 0);
    assert_eq!(proxy.get("/").text(), "hello");
}

#[test]
fn a_socket_is_found_by_its_name_too() {
    let backend = Backend::answering(ok("hello"));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let (proxy, _ear) = start(&Config::of(&backend), Some((socket.into(), "http")), false);
    assert_eq!((proxy.address, proxy.get("/").text().as_str()), (address, "hello"));
}

#[test]
fn a_socket_that_nobody_names_is_told_and_closed() {
    let backend = Backend::answering(ok("hello"));
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(directory.path().join("other.sock")).unwrap();
    let (proxy, _ear) = start(&Config::of(&backend), Some((socket.into(), "other")), false);
    let event = proxy.wait_for_event("upgrade.socket-unused");
    assert!(event.contains("other.sock (other)"), "{event}");
    assert_eq!(proxy.get("/").text(), "hello");
}
