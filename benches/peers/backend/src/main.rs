//! The far ends of a measurement, as small as they can be: backends with fixed answers, and visitors by the clock.
//!
//! `benches/peers/run` builds it and calls it in two ways, `backend serve NAME=PORT …` and
//! `backend visit PORT RATE SECONDS CONNECTIONS`; the modules say what these do. It must never judge what it measures.

mod serve;
mod visit;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((verb, rest)) if verb == "serve" => serve::serve(rest),
        Some((verb, rest)) if verb == "visit" => visit::visit(rest),
        _ => Err("backend serve NAME=PORT … | backend visit PORT RATE SECONDS CONNECTIONS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backend: {error}");
            ExitCode::FAILURE
        }
    }
}
