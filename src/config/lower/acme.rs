//! `[acme]`: which certificates to order, and from whom.
//!
//! `lower` calls it. It must never look a name up, nor agree to anything by itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use http::Uri;

use crate::config::address;
use crate::config::file::{Section, Text, Value};
use crate::config::kinds;
use crate::config::limits;
use crate::config::lower::state::{DIR_FORM, State, path};
use crate::config::model::{Acme, AcmeChallenge, Server, Tls};
use crate::config::problem::{Fault, Notes, Span, quoted};

const DOMAINS_FORM: &str = "write the names that the certificate is for: domains = [\"www.example.com\"]";
const DIRECTORY_FORM: &str =
    "write the authority's directory: \"https://acme-v02.api.letsencrypt.org/directory\"";
const EMAIL_FORM: &str = "write one address: email = \"ops@example.com\"";
const CA_FORM: &str = "write the path of a PEM file: ca_file = \"/etc/ssl/internal-ca.pem\"";
const TERMS: &str = "read the authority's terms, then say: agree_to_terms = true";

/// The section; nothing where no certificate is ordered.
pub(super) fn read(file: &mut Section<'_>, state: &State, notes: &mut Notes<'_>) -> Option<Acme> {
    let mut section = file.section("acme", notes);
    let acme = read_acme(&mut section, state.dir.clone(), notes);
    if section.is_there() && !state.is_named {
        notes.wrong(&section.at, Fault::new("[acme] has nowhere to keep certificates", DIR_FORM));
    }
    section.finish(notes);
    acme
}

/// Proofs that no authority could see.
pub(in crate::config) fn doubts(acme: &Acme, server: &Server, tls: &Tls, at: &Span, notes: &mut Notes<'_>) {
    let shut = tls.clients.as_ref().is_some_and(|clients| clients.required);
    let (message, remedy) = match acme.challenge {
        AcmeChallenge::Http if server.http.is_empty() => (
            "http-01 is asked for in the clear, and nothing listens there",
            "listen there, too: http = \"0.0.0.0:8080\" in [server], or set challenge = \"tls-alpn-01\"",
        ),
        AcmeChallenge::TlsAlpn if server.https.is_empty() => (
            "tls-alpn-01 is asked for by TLS, and nothing listens for it",
            "listen for it: https = \"0.0.0.0:8443\" in [server], or leave `challenge` out",
        ),
        AcmeChallenge::TlsAlpn if shut => (
            "tls-alpn-01 is asked for without a client's certificate, which [tls] requires",
            "set client_certificates = \"optional\", or leave `challenge` out",
        ),
        AcmeChallenge::Http | AcmeChallenge::TlsAlpn => return,
    };
    notes.warn(at, Fault::new(message, remedy));
}

fn read_acme(section: &mut Section<'_>, state_dir: Option<PathBuf>, notes: &mut Notes<'_>) -> Option<Acme> {
    let there = section.is_there();
    let domains = section.read("domains", notes, domains);
    if there && !section.has("domains") {
        notes.absent(&section.at, Fault::new("`domains` is missing in [acme]", DOMAINS_FORM));
    }
    let directory = section.read("directory", notes, kinds::parsed(DIRECTORY_FORM, directory));
    let ca_file = section.read("ca_file", notes, |value, notes| path(value, CA_FORM, notes));
    let email = section.read("email", notes, kinds::parsed(EMAIL_FORM, email));
    let kinds = [("http-01", AcmeChallenge::Http), ("tls-alpn-01", AcmeChallenge::TlsAlpn)];
    let challenge = section.read("challenge", notes, kinds::one_of(kinds));
    let agreed = section.read("agree_to_terms", notes, Value::flag);
    let asked = there && (agreed == Some(false) || !section.has("agree_to_terms"));
    if asked {
        let at = section.at_of("agree_to_terms");
        notes.wrong(&at, Fault::new("the authority issues only to who agrees to its terms", TERMS));
    }
    Some(Acme {
        domains: domains?,
        directory: directory.unwrap_or_else(|| limits::ACME_DIRECTORY.to_owned()),
        ca_file,
        email,
        challenge: challenge.unwrap_or(AcmeChallenge::Http),
        state_dir: state_dir?,
    })
}

/// One name or several, in lower case; none of them twice.
fn domains(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let texts = value.texts(notes, DOMAINS_FORM)?;
    let (mut domains, mut seen) = (Vec::with_capacity(texts.len()), BTreeSet::new());
    if value.is_empty_list() {
        notes.wrong(&value.at, Fault::new("`domains` names no domain", DOMAINS_FORM));
    }
    if texts.len() > limits::ACME_DOMAINS {
        let most = limits::ACME_DOMAINS;
        let message = format!("`domains` names {}, and a certificate holds {most} at the most", texts.len());
        notes.wrong(
            &value.at,
            Fault::new(message, "leave some to the platforms, or use a wildcard certificate"),
        );
    }
    for Text { at, text } in texts {
        let Some(domain) = notes.accept(&at, domain(&text)) else { continue };
        if seen.insert(domain.clone()) {
            domains.push(domain);
        } else {
            notes.wrong(&at, Fault::new(format!("{} is there twice", quoted(&text)), "keep one of them"));
        }
    }
    Some(domains).filter(|domains| !domains.is_empty())
}

fn domain(text: &str) -> Result<String, Fault> {
    if text.starts_with("*.") {
        let message = format!("{} can't be proved by http-01 or tls-alpn-01", quoted(text));
        return Err(Fault::new(message, "name each host: \"www.example.com\", \"api.example.com\""));
    }
    let fault = || Fault::new(format!("{} isn't a public DNS name", quoted(text)), DOMAINS_FORM);
    let host = address::host_header(text)?;
    let public =
        host.contains('.') && !host.contains([':', '_']) && host.parse::<std::net::IpAddr>().is_err();
    public.then_some(host).ok_or_else(fault)
}

/// RFC 8555 section 6.1: over TLS alone.
fn directory(text: &str) -> Result<String, Fault> {
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("https"));
    let named =
        uri.as_ref().and_then(Uri::authority).is_some_and(|authority| !authority.as_str().contains('@'));
    if named && uri.is_some_and(|uri| uri.query().is_none()) {
        return Ok(text.to_owned());
    }
    // It isn't quoted: it may hold a password.
    Err(Fault::new("`directory` isn't an https:// URL", DIRECTORY_FORM))
}

fn email(text: &str) -> Result<String, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?' | b':' | b'<' | b'>'));
    let parts = text.split_once('@').filter(|(user, host)| !user.is_empty() && host.contains('.'));
    match parts {
        Some(_) if plain && text.len() <= limits::HOST_SIZE => Ok(text.to_owned()),
        Some(_) | None => Err(Fault::new(format!("{} isn't an e-mail address", quoted(text)), EMAIL_FORM)),
    }
}
