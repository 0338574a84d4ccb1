//! What whole files mean, and what is said about wrong ones.

mod examples;
mod meaning;
mod problems;
mod robustness;
mod warnings;

/// A listener, a backend and a route that are right.
const SERVER: &str = "[server]\nhttp = \"127.0.0.1:8080\"\n";
const BACKEND: &str = "[backends.a]\nurl = \"https://a.example\"\n";
const ROUTE: &str = "[[routes]]\nname = \"web\"\nstable = \"a\"\n";

/// An environment of one variable, `HOST`, and one that holds a password, `SECRET_URL`.
fn env(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("app.example".to_owned()),
        "SECRET_URL" => Some("https://me:secret@a.example".to_owned()),
        _ => None,
    }
}

/// A right file but for these lines in `[server]`, from line 3.
fn server(lines: &str) -> String {
    format!("{SERVER}{lines}\n{BACKEND}{ROUTE}")
}

/// … in `[backends.a]`, from line 3.
fn backend(lines: &str) -> String {
    format!("{BACKEND}{lines}\n{SERVER}{ROUTE}")
}

/// … in the route, from line 4.
fn route(lines: &str) -> String {
    format!("{ROUTE}{lines}\n{SERVER}{BACKEND}")
}

/// … at the top, from line 1.
fn top(lines: &str) -> String {
    format!("{lines}\n{SERVER}{BACKEND}{ROUTE}")
}
