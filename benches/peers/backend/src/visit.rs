//! Visitors by the clock: an open loop with latencies that leave nothing out.
//!
//! `visit PORT RATE SECONDS CONNECTIONS` asks for `/` so many times a second, each connection in its own thread and
//! all at even distances, and prints how many requests were answered, how many failed, and every latency in
//! nanoseconds. Each counts from the moment at which its request was due, so that what waits behind a slow answer is
//! counted too. Called by `main`. It must never take an answer that isn't 200 and whole for one.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the latencies of the first moments tell of is the start.
const WARM_UP: Duration = Duration::from_millis(300);
const BODY: &[u8] = b"ok\n";

/// Latencies, and how many requests failed.
type Seen = (Vec<u64>, u64);

/// When requests are due.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    end: Instant,
    /// Between two requests of a connection.
    pace: Duration,
}

pub fn visit(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [port, rate, seconds, connections] = words else {
        return Err("visit PORT RATE SECONDS CONNECTIONS".into());
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
    let (rate, seconds, connections): (f64, f64, u32) =
        (rate.parse()?, seconds.parse()?, connections.parse()?);
    // Threads inherit it: a wait ends when it should, not 50 µs later. Where it can't be had, all are late alike.
    drop(fs::write("/proc/self/timerslack_ns", "1"));
    let start = Instant::now() + Duration::from_millis(200);
    let pace = Duration::from_secs_f64(f64::from(connections) / rate);
    let schedule = Schedule { start, end: start + Duration::from_secs_f64(seconds), pace };
    let begin = |number| {
        let first = start + Duration::from_secs_f64(f64::from(number) / rate);
        thread::spawn(move || ask_by_the_clock(address, first, schedule))
    };
    let visitors: Vec<JoinHandle<Seen>> = (0..connections).map(begin).collect();
    let (mut all, mut failed) = (Vec::new(), 0);
    for visitor in visitors {
        let (latencies, lost) = visitor.join().map_err(|_| "a visitor panicked")?;
        all.extend(latencies);
        failed += lost;
    }
    let mut text = format!("{} {failed}\n", all.len());
    for latency in all {
        writeln!(text, "{latency}")?;
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// One connection's requests, each at its time or as soon after it as the one before was answered.
fn ask_by_the_clock(address: SocketAddr, first: Instant, schedule: Schedule) -> Seen {
    let (mut latencies, mut failed, mut due) = (Vec::new(), 0, first);
    let mut stream = connect(address).ok();
    while due < schedule.end {
        // A thread may wake early.
        while let Some(rest) = due.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            thread::park_timeout(rest);
        }
        match stream.as_mut().map(ask) {
            Some(Ok(())) if due >= schedule.start + WARM_UP => {
                latencies.push(due.elapsed().as_nanos() as u64);
            }
            Some(Ok(())) => {}
            Some(Err(_)) | None => {
                failed += 1;
                stream = connect(address).ok();
            }
        }
        due += schedule.pace;
    }
    (latencies, failed)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request and its whole answer.
fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")?;
    let (mut room, mut held) = ([0; 4096], 0);
    loop {
        let got = stream.read(&mut room[held..])?;
        held += got;
        let head = room[..held].windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        match head {
            Some(head) if held >= head + BODY.len() => {
                let good = room.starts_with(b"HTTP/1.1 200 ") && room[head..held] == *BODY;
                return if good { Ok(()) } else { Err(io::Error::other("another answer")) };
            }
            _ if got == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
}
