//! `[tls]`: certificates, versions, and who is sent to TLS.
//!
//! `lower` calls it. It must never open a file.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::file::{Section, Value};
use crate::config::kinds;
use crate::config::limits;
use crate::config::model::{CertificateFiles, ClientCertificates, Tls, TlsVersion, UnknownName};
use crate::config::problem::{Fault, Notes};

const CERTIFICATES_FORM: &str =
    "write a list: certificates = [{ cert = \"/etc/crossfade/cert.pem\", key = \"/etc/crossfade/key.pem\" }]";
const FILE_FORM: &str = "name a PEM file";
const REDIRECT_FORM: &str =
    "write true, or the port of https that visitors see where it isn't 443: redirect_http = 8443";

/// The section; `https` says whether anybody comes by TLS, `orders` whether a certificate is ordered by ACME.
pub(in crate::config) fn read(
    file: &mut Section<'_>,
    https: bool,
    orders: bool,
    notes: &mut Notes<'_>,
) -> Tls {
    let mut section = file.section("tls", notes);
    let default = Tls::default();
    let certificates = section.read("certificates", notes, certificates).unwrap_or_default();
    let unknown = [("default", UnknownName::Default), ("refuse", UnknownName::Refuse)];
    let unknown_name = section.read("unknown_name", notes, kinds::one_of(unknown));
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let min_version = section.read("min_version", notes, kinds::one_of(versions));
    let http2 = section.read("http2", notes, Value::flag);
    let clients = clients(&mut section, notes);
    let redirect_http = section.read("redirect_http", notes, redirect).flatten();
    let longest = Duration::from_hours(2 * 365 * 24);
    let hsts = section.read("hsts", notes, kinds::duration(Duration::from_secs(1)..=longest));
    let none = certificates.is_empty();
    if https && none && !orders && !section.has("certificates") {
        notes.absent(&section.at, Fault::new("`https` has no certificate", CERTIFICATES_FORM));
    }
    doubts(&section, https, none, notes);
    section.finish(notes);
    Tls {
        certificates,
        unknown_name: unknown_name.unwrap_or(default.unknown_name),
        min_version: min_version.unwrap_or(default.min_version),
        http2: http2.unwrap_or(default.http2),
        clients,
        redirect_http,
        hsts,
    }
}

fn certificates(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Vec<CertificateFiles>> {
    let items = value.items(notes, CERTIFICATES_FORM);
    let pairs: Vec<_> = items.iter().map(|item| certificate(item, notes)).collect();
    pairs.into_iter().collect()
}

fn certificate(item: &Value<'_>, notes: &mut Notes<'_>) -> Option<CertificateFiles> {
    let table = item.table(notes, CERTIFICATES_FORM)?;
    let mut section = Section::new("a certificate", item.at.clone(), Some(table));
    let file = kinds::parsed(FILE_FORM, path);
    let cert = section.require("cert", notes, CERTIFICATES_FORM, &file);
    let key = section.require("key", notes, CERTIFICATES_FORM, &file);
    section.finish(notes);
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn clients(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<ClientCertificates> {
    let ca_file = section.read("client_ca_file", notes, kinds::parsed(FILE_FORM, path));
    let words = [("optional", false), ("required", true)];
    let required = section.read("client_certificates", notes, kinds::one_of(words));
    if required.is_some() && ca_file.is_none() {
        let remedy = "name the authorities that sign them: client_ca_file = \"/etc/crossfade/clients.pem\"";
        let message = "`client_certificates` needs `client_ca_file`";
        notes.wrong(&section.at_of("client_certificates"), Fault::new(message, remedy));
    }
    Some(ClientCertificates { ca_file: ca_file?, required: required.unwrap_or(true) })
}

fn redirect(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Option<u16>> {
    if value.is_flag() {
        return value.flag(notes).map(|redirects| redirects.then_some(443));
    }
    let port = value.whole(notes, REDIRECT_FORM)?;
    let fault = || Fault::new(format!("`redirect_http` can't be {port}"), REDIRECT_FORM);
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    notes.accept(&value.at, port.ok_or_else(fault)).map(Some)
}

fn path(text: &str) -> Result<PathBuf, Fault> {
    let fits = !text.is_empty() && text.len() <= limits::PATH_SIZE && !text.contains(char::is_control);
    fits.then(|| PathBuf::from(text)).ok_or_else(|| Fault::new("this is no path of a file", FILE_FORM))
}

/// Certificates without a listener.
fn doubts(section: &Section<'_>, https: bool, none: bool, notes: &mut Notes<'_>) {
    if !https && !none {
        let remedy = "listen for TLS: https = \"0.0.0.0:8443\" in [server], or leave them out";
        let message = "`certificates` are without effect: nothing listens for TLS";
        notes.warn(&section.at_of("certificates"), Fault::new(message, remedy));
    }
}
