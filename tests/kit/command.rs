//! Commands to a running proxy, by the command line and by the admin API.
//!
//! It must never know what is right: that is the tests'.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::DEADLINE;
use super::message::{Message, Reader};
use super::proxy::{Proxy, program};

/// What a verb of the command line came to.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// A verb of the command line, words apart by blanks, to the proxy with this state directory.
pub(crate) fn say(state: &Path, words: &str) -> Said {
    let mut command = program();
    command.args(words.split_whitespace()).arg("--state").arg(state);
    let done = command.env("USER", "alice").env_remove("SUDO_USER").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
    Said { code: done.status.code().expect("it ends"), out: text(&done.stdout), err: text(&done.stderr) }
}

impl Proxy {
    /// Its state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// A verb of the command line, words apart by blanks, sent by the state directory.
    pub(crate) fn crossfade(&self, words: &str) -> Said {
        say(&self.state(), words)
    }

    /// The same, which has to succeed; standard output.
    pub(crate) fn steer(&self, words: &str) -> String {
        let said = self.crossfade(words);
        assert_eq!(said.code, 0, "{words}: {said:?}");
        said.out
    }

    /// A connection to the admin socket.
    pub(crate) fn admin(&self) -> Admin {
        let socket = UnixStream::connect(self.state().join("admin.sock")).expect("the admin API listens");
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Admin(Reader::new(Box::new(socket)))
    }

    /// The revision that is live, by the API.
    pub(crate) fn revision(&self) -> u64 {
        self.admin().see("status")["revision"].as_u64().unwrap()
    }
}

/// A keep-alive connection to the admin API.
pub(crate) struct Admin(Reader);

impl Admin {
    /// Sends a command; status and answer.
    pub(crate) fn command(&mut self, body: &str) -> (u16, Value) {
        let length = body.len();
        let response = self.ask(&format!(
            "POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        (response.status(), parsed(&response))
    }

    /// What stands at a path below `/api/v1/`.
    pub(crate) fn see(&mut self, path: &str) -> Value {
        let response = self.ask(&format!("GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(response.status(), 200, "{path}: {}", response.text());
        parsed(&response)
    }

    fn ask(&mut self, request: &str) -> Message {
        self.0.stream.write_all(request.as_bytes()).expect("the admin API reads");
        self.0.response("GET").expect("the admin API answers")
    }
}

fn parsed(response: &Message) -> Value {
    let text = response.text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}
