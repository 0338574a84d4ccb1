//! What rustls is told for handshakes with visitors: versions, protocols, resumption, certificates of clients.
//!
//! `snapshot::registry` makes one for each set of settings, and keeps it over reloads that change none, so that
//! sessions can be resumed. It must never offer what isn't served.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig, version};

use crate::config::model::{Tls, TlsVersion};
use crate::tls::challenges::ACME_TLS;
use crate::tls::store::Store;

/// The name of HTTP/2 in ALPN (RFC 9113 section 3.2).
pub const H2: &[u8] = b"h2";
/// That of HTTP/1.1 (RFC 7301 section 6).
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// The configuration for these settings; `authorities` is the content of their `client_ca_file`.
///
/// # Errors
/// Names what is wrong with that file.
pub fn config(tls: &Tls, authorities: Option<&[u8]>, store: Store) -> Result<ServerConfig, ServingError> {
    let versions: &[_] = match tls.min_version {
        TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions)
        .expect("the provider has suites of both versions");
    let builder = match (&tls.clients, authorities) {
        (Some(clients), Some(pem)) => {
            builder.with_client_cert_verifier(verifier(&clients.ca_file, pem, clients.required)?)
        }
        (None, _) | (_, None) => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(store));
    let offered: &[&[u8]] = if tls.http2 { &[H2, HTTP_1_1, ACME_TLS] } else { &[HTTP_1_1, ACME_TLS] };
    config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
    // Tickets hold the session at the visitor's; a store of our own would be shared by all workers under a lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Tickets::default());
    config.send_tls13_tickets = 1;
    // All suites are good ones, and an order of our own is what scanners ask for.
    config.ignore_client_order = true;
    Ok(config)
}

/// All suites are good ones; those of AES-128 come first, as with BoringSSL and in browsers: their SHA-256 is in the
/// processor where the SHA-384 of the others isn't, and hashing was a third of a handshake.
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    let is_first = |suite: CipherSuite| suite.as_str().is_some_and(|name| name.contains("AES_128"));
    provider.cipher_suites.sort_by_key(|suite| !is_first(suite.suite()));
    provider
}

fn verifier(path: &Path, pem: &[u8], required: bool) -> Result<Arc<dyn ClientCertVerifier>, ServingError> {
    let shown = || path.display().to_string();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| ServingError::Authorities(shown(), error.to_string()))?;
        roots.add(certificate).map_err(|error| ServingError::Authorities(shown(), error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| ServingError::Authorities(shown(), error.to_string()))
}

/// Tickets whose keys are drawn for the first handshake. The first chance of a process is dear (aws-lc may gather
/// entropy for 25 ms), and who is visited in the clear alone starts without.
#[derive(Debug, Default)]
struct Tickets(OnceLock<Option<Arc<dyn ProducesTickets>>>);

impl Tickets {
    /// None on a machine without chance: sessions aren't resumed then.
    fn drawn(&self) -> Option<&dyn ProducesTickets> {
        self.0.get_or_init(|| Ticketer::new().ok()).as_deref()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.drawn().is_some_and(ProducesTickets::enabled)
    }

    fn lifetime(&self) -> u32 {
        self.drawn().map_or(0, ProducesTickets::lifetime)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.drawn()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.drawn()?.decrypt(cipher)
    }
}

/// Why handshakes can't go by these settings.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// A `client_ca_file` that can't be read.
    #[error("can't read {0}: {1}; check the path and its permissions")]
    Read(String, #[source] std::io::Error),
    /// One that has no authorities in it.
    #[error("{0} can't be used as a file of authorities ({1}); give their certificates in PEM")]
    Authorities(String, String),
}

#[cfg(test)]
mod tests {
    use rustls::SupportedCipherSuite;

    use super::*;

    /// Visitors who ask with OpenSSL's order got AES-256 with SHA-384, at a third more for the handshake.
    #[test]
    fn the_suites_that_cost_least_come_first_and_none_is_missing() {
        let ours: Vec<_> = provider().cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(
            ours[..4],
            [
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS13_AES_256_GCM_SHA384,
            ]
        );
        let all = default_provider().cipher_suites;
        assert!(ours.len() == all.len() && all.iter().all(|suite| ours.contains(&suite.suite())));
    }
}
