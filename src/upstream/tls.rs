//! How we speak TLS towards backends: which authorities are believed, by the machine's store or a file.
//!
//! `snapshot::registry` asks once per set of authorities. It must never switch verification off.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::model::Http2;

/// The name of HTTP/2 in ALPN (RFC 9113 section 3.2).
pub const H2: &[u8] = b"h2";
/// The name of HTTP/1.1 in ALPN (RFC 7301 section 6).
pub const HTTP_11: &[u8] = b"http/1.1";

/// A client configuration that believes the authorities of the machine.
///
/// # Errors
/// Says so if the machine has none: a container image without `ca-certificates`.
pub fn with_system_roots(http2: Http2) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(with_roots(roots, http2))
}

/// A client configuration that believes only the authorities in a PEM file's content.
///
/// # Errors
/// Names what is wrong with the file.
pub fn with_ca_file(path: &Path, pem: &[u8], http2: Http2) -> Result<Arc<ClientConfig>, TlsError> {
    let shown = || path.display().to_string();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(pem)) {
        let certificate = certificate.map_err(|error| TlsError::Pem(shown(), error.to_string()))?;
        roots.add(certificate).map_err(|error| TlsError::Authority(shown(), error))?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificates(shown()));
    }
    Ok(with_roots(roots, http2))
}

/// What is offered in ALPN, the first preferred.
pub fn protocols(http2: Http2) -> Vec<Vec<u8>> {
    match http2 {
        Http2::Auto => vec![H2.to_vec(), HTTP_11.to_vec()],
        Http2::Always => vec![H2.to_vec()],
        Http2::Never => vec![HTTP_11.to_vec()],
    }
}

fn with_roots(roots: RootCertStore, http2: Http2) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols(http2);
    Arc::new(config)
}

/// Why authorities could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The machine's store is empty or missing.
    #[error("this machine has no certificate authorities; install `ca-certificates`, or name a `ca_file`")]
    NoSystemRoots,
    /// Not PEM.
    #[error("{0} is not a PEM file of certificates ({1}); give the authority's certificate")]
    Pem(String, String),
    /// PEM without a certificate.
    #[error("{0} has no certificate in it; give the authority's certificate in PEM")]
    NoCertificates(String),
    /// A certificate that can't be an authority.
    #[error("{0} has a certificate that can't be used as an authority: {1}")]
    Authority(String, #[source] rustls::Error),
}
