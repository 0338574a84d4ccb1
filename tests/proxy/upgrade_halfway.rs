//! A new process that fails when it has everything already: the old one takes it back, and nobody notices.
//!
//! The test program itself plays the new process: it speaks as much of the conversation as the test wants.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::Value;

use crate::control::Two;
use crate::kit::succession::asked;
use crate::kit::{Proxy, wait_until};

/// How far the new process goes.
const FAR: &str = "CROSSFADE_TEST_SUCCESSOR";

/// The new process, where the environment says so; otherwise nothing.
#[test]
fn plays_the_new_process() {
    let Ok(far) = std::env::var(FAR) else { return };
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    say(&socket, r#"{"Hello":{"protocol":1,"version":"9.9.9"}}"#);
    let welcome = hear(&socket);
    let sockets = welcome["Welcome"]["sockets"].as_array().unwrap().len();
    (&socket).read_exact(&mut vec![0; sockets]).unwrap();
    say(&socket, r#""Prepared""#);
    let go = hear(&socket);
    assert!(go["Go"]["revision"].as_u64().is_some());
    match far.as_str() {
        "ends" => std::process::exit(7),
        "complains" => say(&socket, r#"{"Failed":{"error":"error: no thread is left"}}"#),
        "talks nonsense" => say(&socket, r#"{"Serving":7}"#),
        // Until the other side gives up.
        _ => drop((&socket).read(&mut [0])),
    }
}

fn say(mut socket: &UnixStream, json: &str) {
    socket.write_all(&u32::try_from(json.len()).unwrap().to_be_bytes()).unwrap();
    socket.write_all(json.as_bytes()).unwrap();
}

fn hear(mut socket: &UnixStream) -> Value {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut json = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn goes(proxy: &Proxy, far: &str) {
    let tests = std::env::current_exe().unwrap().display().to_string();
    let test = "upgrade_halfway::plays_the_new_process";
    proxy.replace_program(&format!("{FAR}='{far}' exec {tests} --exact {test} --nocapture >/dev/null 2>&1"));
}

#[test]
fn who_fails_with_everything_gives_everything_back() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    let mut revision = 1;
    for (far, why) in [
        ("ends", "exit status: 7"),
        ("complains", "the new process can't serve: no thread is left"),
        ("talks nonsense", "the new process"),
    ] {
        proxy.steer("shift fly 100");
        goes(&proxy, far);
        let said = proxy.crossfade("upgrade");
        assert!(said.code == 1 && said.err.contains(why), "{far}: {said:?}");
        assert_eq!(proxy.get("/").text(), "fly", "{far}");
        proxy.steer("undo");
        assert_eq!(proxy.get("/").text(), "heroku", "{far}");
        revision += 2;
        assert_eq!((proxy.revision(), proxy.metric("crossfade_state_kept", &[])), (revision, 1.0), "{far}");
    }
    assert_eq!(proxy.told_at("/readyz").0, 200);
    proxy.restore_program();
    proxy.upgrade();
    assert_eq!(proxy.revision(), revision + 1);
}

/// Commands and scrapes wait while another process has everything, and are carried out by whoever has it then.
#[test]
fn who_asks_meanwhile_waits_and_is_served() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    goes(&proxy, "hangs");
    thread::scope(|scope| {
        let upgrade = scope.spawn(asked(&proxy, "upgrade"));
        wait_until("another process has everything", || {
            let journal = std::fs::File::open(proxy.state().join("lock")).unwrap();
            journal.try_lock().is_ok()
        });
        let shift = scope.spawn(asked(&proxy, "shift fly 100"));
        assert_eq!(proxy.get("/").status(), 200, "visitors notice nothing");
        let said = upgrade.join().unwrap();
        assert!(said.code == 1 && said.err.contains("wasn't serving within 8 s"), "{said:?}");
        assert!(shift.join().unwrap().out.contains("revision 2 is live"));
    });
    assert_eq!(proxy.get("/").text(), "fly");
    assert_eq!(proxy.metric("crossfade_upgrades_total", &[("result", "failure")]), 1.0);
}

/// What it had kept already is no stranger's: changes are kept on, under numbers above it.
#[test]
fn what_it_has_kept_already_is_gone_on_from() {
    let two = Two::start();
    let proxy = Proxy::replaceable(&two.at(5, ""));
    proxy.steer("shift fly 100");
    // The real one, which is killed as soon as it has written to the journal.
    let real = env!("CARGO_BIN_EXE_crossfade");
    let journal = proxy.state().join("journal").display().to_string();
    proxy.replace_program(&format!(
        "me=$$; (while [ $(wc -l < {journal}) -lt 3 ]; do :; done; kill -KILL $me) & exec {real} \"$@\""
    ));
    let said = proxy.crossfade("upgrade");
    // It may have been quicker; then it has taken over, and there is nobody left.
    if said.code == 1 {
        assert!(said.err.contains("signal: 9"), "{said:?}");
        assert_eq!(proxy.get("/").text(), "fly");
        assert_eq!(proxy.revision(), 4, "above what the other has kept");
        proxy.steer("undo");
        assert_eq!(proxy.metric("crossfade_state_kept", &[]), 1.0);
        let proxy = proxy.restart();
        assert_eq!(proxy.get("/").text(), "heroku");
    }
}
