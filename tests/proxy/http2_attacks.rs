//! Floods of HTTP/2 that are known by name: while one goes on, everybody else is served, and memory stays bounded.
//!
//! `benches/attacks/run` plays them longer, and says what they cost.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::kit::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY, RST_STREAM, WHOLE,
    WINDOW_UPDATE, asking, block, frame, get, posting, settings,
};
use crate::kit::http2_client::Http2;
use crate::kit::{Backend, Config, Peer, Proxy, ok};

/// How long each goes on, in which a build without optimisation reads some 100 000 frames.
const LASTS: Duration = Duration::from_millis(600);
/// What an attack of one connection may cost: its window, and for each stream what hyper keeps of its head and answer.
const COST: usize = 24 * 1024 * 1024;

/// Plays `step` again and again, numbered from 0, on a connection with `wanted` settings; a new one when it is ended.
fn survives(name: &str, wanted: &[(u16, u32)], reads: bool, step: impl Fn(u32) -> Vec<u8> + Sync) {
    let backend = Backend::start(|mut peer: Peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/hang" => peer.hang(),
                "/large" => {
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30));
                    peer.send_until_stalled(1 << 30, Duration::from_secs(1));
                }
                _ => drop(peer.send(ok("hello"))),
            }
        }
    });
    let proxy = Proxy::start(&Config::of(&backend).section("[access_log]\ntarget = \"off\""));
    let (address, before) = (proxy.address, proxy.memory());
    let over = AtomicBool::new(false);
    let (mut worst, mut served) = (Duration::ZERO, 0);
    let (ended, most) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| attack(address, wanted, reads, &over, &step));
        let began = Instant::now();
        let (mut second, mut most) = (Http2::connect(proxy.address), 0);
        while began.elapsed() < LASTS {
            let asked = Instant::now();
            assert_eq!((proxy.get("/").status(), second.get("/").status), (200, 200), "{name}");
            worst = worst.max(asked.elapsed());
            served += 2;
            most = most.max(proxy.memory());
        }
        over.store(true, Relaxed);
        (attack.join().unwrap(), most)
    });
    let grown = most.saturating_sub(before);
    println!("{name}: {served} served, slowest {worst:?}, ended {ended} times, {} KiB grown", grown / 1024);
    assert!(worst < Duration::from_secs(2), "{name}: {worst:?}");
    assert!(grown < COST, "{name}: {grown}");
}

/// Says how often the proxy ended the connection.
fn attack(
    address: SocketAddr,
    wanted: &[(u16, u32)],
    reads: bool,
    over: &AtomicBool,
    step: impl Fn(u32) -> Vec<u8>,
) -> usize {
    let mut ended = 0;
    while !over.load(Relaxed) {
        let mut visitor = Frames::open(address, wanted);
        visitor.socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut socket = visitor.socket.try_clone().unwrap();
        // Ends with the connection.
        let reader = reads
            .then(|| std::thread::spawn(move || while socket.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {}));
        let stopped = (0..).find(|&number| over.load(Relaxed) || !visitor.send(step(number)));
        if !over.load(Relaxed) {
            // What can't be written any more waits, where the proxy has stopped to read.
            visitor.socket.set_nonblocking(true).unwrap();
            let stalled = visitor.socket.peek(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
            while stalled && !over.load(Relaxed) {
                crate::kit::pause(Duration::from_millis(10));
            }
            ended += usize::from(!stalled && stopped.is_some());
        }
        let _ = visitor.socket.shutdown(Shutdown::Both);
        reader.into_iter().for_each(|reader| reader.join().unwrap());
    }
    ended
}

fn odd(number: u32) -> u32 {
    2 * number + 1
}

#[test]
fn rapid_reset() {
    survives("rapid reset", &[], true, |number| {
        [asking(odd(number), "/hang"), frame(RST_STREAM, 0, odd(number), [0, 0, 0, 8])].concat()
    });
}

#[test]
fn made_you_reset() {
    survives("MadeYouReset", &[], true, |number| {
        [asking(odd(number), "/hang"), frame(WINDOW_UPDATE, 0, odd(number), [0; 4])].concat()
    });
}

#[test]
fn continuation_flood() {
    survives("CONTINUATION flood", &[], true, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, block(&get("/never"))),
        _ => frame(CONTINUATION, 0, 1, block(&[("x", "y")])),
    });
}

#[test]
fn continuation_flood_of_nothing() {
    survives("empty CONTINUATION flood", &[], true, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, block(&get("/never"))),
        _ => frame(CONTINUATION, 0, 1, []).repeat(100),
    });
}

#[test]
fn settings_flood() {
    survives("SETTINGS flood", &[], true, |_| settings(&[(4, 65535)]).repeat(100));
    survives("SETTINGS flood unread", &[], false, |_| settings(&[(4, 65535)]).repeat(100));
}

#[test]
fn ping_flood() {
    survives("PING flood", &[], true, |_| frame(PING, 0, 0, [0; 8]).repeat(100));
    survives("PING flood unread", &[], false, |_| frame(PING, 0, 0, [0; 8]).repeat(100));
}

#[test]
fn empty_data_flood() {
    survives("empty DATA flood", &[], true, |number| match number {
        0 => posting(1, "/hang"),
        _ => frame(DATA, 0, 1, []).repeat(100),
    });
}

#[test]
fn small_data_flood() {
    survives("one-byte DATA flood", &[], true, |number| match number {
        0 => posting(1, "/hang"),
        _ => frame(DATA, 0, 1, "x").repeat(100),
    });
}

#[test]
fn hpack_bomb() {
    // One field of 4 KB into the table, then named thousands of times by a byte each.
    let field = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    survives("HPACK bomb", &[], true, move |number| {
        let bomb = [block(&get("/never")), field.clone(), vec![0xbe; 10_000]].concat();
        frame(HEADERS, WHOLE, odd(number), bomb)
    });
}

#[test]
fn readers_without_a_window() {
    survives("100 large answers, window 0", &[(4, 0)], true, |number| match number {
        0..100 => asking(odd(number), "/large"),
        _ => idle(),
    });
    survives("100 large answers, window 1", &[(4, 1)], true, |number| match number {
        0..100 => asking(odd(number), "/large"),
        _ => idle(),
    });
}

#[test]
fn a_window_that_opens_by_a_byte() {
    survives("windows opened by a byte", &[(4, 0)], true, |number| match number {
        0..100 => asking(odd(number), "/large"),
        _ => (0..100).flat_map(|stream| frame(WINDOW_UPDATE, 0, odd(stream), [0, 0, 0, 1])).collect(),
    });
}

#[test]
fn streams_that_do_not_end() {
    survives("1000 requests without an end", &[], true, |number| match number {
        0..1000 => [posting(odd(number), "/hang"), frame(DATA, 0, odd(number), [0; 600])].concat(),
        _ => idle(),
    });
}

#[test]
fn priority_flood() {
    survives("PRIORITY flood", &[], true, |number| {
        let on = |id: u32| (odd(number) + 2 * id) & 0x7fff_ffff | 1;
        (0..100)
            .flat_map(|id| frame(PRIORITY, 0, on(id), [&on(id + 7).to_be_bytes()[..], &[7]].concat()))
            .collect()
    });
}

#[test]
fn headers_again_and_again() {
    survives("requests without pause", &[], true, |number| asking(odd(number), "/hang"));
    survives("trailers without pause", &[], true, |number| match number {
        0 => posting(1, "/hang"),
        _ => frame(HEADERS, END_HEADERS, 1, block(&[("x", "y")])),
    });
}

/// Nothing, for a moment.
fn idle() -> Vec<u8> {
    crate::kit::pause(Duration::from_millis(10));
    Vec::new()
}
