//! `admin`, `admin_token_file` and `admin_hosts` of `[server]`: the API over TCP, never without a token.
//!
//! `lower::server` calls it. It must never read a token.

use std::net::SocketAddr;

use crate::config::TOKEN_VARIABLE;
use crate::config::address;
use crate::config::file::{Section, Text, Value};
use crate::config::lower::state::{State, path};
use crate::config::model::{Admin, Token};
use crate::config::problem::{Fault, Notes, Span};

const ADMIN_FORM: &str = "say where to serve it: admin = \"127.0.0.1:9901\"";
const TOKEN_FORM: &str =
    "write the path of a file that holds it: admin_token_file = \"/run/secrets/crossfade\"";
const HOSTS_FORM: &str = "write the names it is called by: admin_hosts = [\"crossfade.internal\"]";

/// The three keys; nothing where the API isn't asked for, or has a problem. `claim` takes an address unless another
/// listener has it.
pub(super) fn read(
    section: &mut Section<'_>,
    state: &State,
    notes: &mut Notes<'_>,
    claim: impl FnOnce(SocketAddr, &Span, &mut Notes<'_>) -> Option<SocketAddr>,
) -> Option<Admin> {
    let asked = section.has("admin");
    let address = section.read("admin", notes, |value, notes| {
        let text = value.text(notes, ADMIN_FORM)?;
        let address = notes.accept(&text.at, address::listen(&text.text))?;
        claim(address, &text.at, notes)
    });
    let file = section.read("admin_token_file", notes, |value, notes| path(value, TOKEN_FORM, notes));
    let hosts = section.read("admin_hosts", notes, hosts).unwrap_or_default();
    let has_file = section.has("admin_token_file");
    if !asked {
        for key in ["admin_token_file", "admin_hosts"].into_iter().filter(|key| section.has(key)) {
            let message = format!("`{key}` is without effect: there is no `admin`");
            notes.warn(&section.at_of(key), Fault::new(message, ADMIN_FORM));
        }
        return None;
    }
    let token = match (file, notes.env()(TOKEN_VARIABLE), &state.dir) {
        (Some(file), _, _) => Token::File(file),
        // Its own problem is enough.
        (None, _, _) if has_file => return None,
        (None, Some(_), _) => Token::Environment,
        (None, None, Some(dir)) => Token::State(dir.clone()),
        (None, None, None) if state.is_named => return None,
        (None, None, None) => {
            let message = "`admin` needs a token: without one, anybody who reaches it could shift";
            let remedy = format!(
                "add [state] dir, where one is made; or set {TOKEN_VARIABLE}, or admin_token_file = \"/path\""
            );
            notes.wrong(&section.at_of("admin"), Fault::new(message, remedy));
            return None;
        }
    };
    Some(Admin { address: address?, token, hosts })
}

fn hosts(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let texts = value.texts(notes, HOSTS_FORM)?;
    let host = |Text { at, text }: Text| notes.accept(&at, host(&text));
    Some(texts.into_iter().filter_map(host).collect())
}

/// Without a port: a tunnel's is anybody's choice.
fn host(text: &str) -> Result<String, Fault> {
    let host = address::host_header(text)?;
    match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => {
            let message = format!("a host of `admin_hosts` has no port, and this one has `:{port}`");
            Err(Fault::new(message, format!("write the name alone: admin_hosts = [\"{name}\"]")))
        }
        _ => Ok(host),
    }
}
