//! Our proofs that a name is ours, for as long as a certificate authority looks for them.
//!
//! `tls::acme` offers and withdraws them; `proxy::challenge` answers http-01 by token (RFC 8555 section 8.3), whoever
//! speaks TLS tls-alpn-01 by name (RFC 8737). It must never make a reader wait, nor hold a proof that nobody asked for.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

/// The protocol that tls-alpn-01 asks for, alone (RFC 8737 section 6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// What can be proved now. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<ArcSwap<Proofs>>);

impl Challenges {
    /// The key authorisation of an http-01 token that is ours.
    pub fn http(&self, token: &str) -> Option<Bytes> {
        self.0.load().tokens.get(token).cloned()
    }

    /// The certificate for a visitor who asks for `server_name` (in lower case) and offers [`ACME_TLS`] alone.
    pub fn tls_alpn(&self, server_name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().names.get(server_name).cloned()
    }

    /// Answers an http-01 token from now on.
    pub fn offer_http(&self, token: &str, key_authorization: &str) {
        self.0.rcu(|proofs| {
            let mut proofs = Proofs::clone(proofs);
            proofs.tokens.insert(token.to_owned(), Bytes::copy_from_slice(key_authorization.as_bytes()));
            proofs
        });
    }

    /// Answers tls-alpn-01 for a name from now on. `digest` is the SHA-256 of the key authorisation.
    ///
    /// # Errors
    /// When no certificate can be made for the name.
    pub fn offer_tls_alpn(&self, name: &str, digest: &[u8]) -> Result<(), ProofError> {
        let certificate = Arc::new(proof(name, digest)?);
        self.0.rcu(|proofs| {
            let mut proofs = Proofs::clone(proofs);
            proofs.names.insert(name.to_owned(), Arc::clone(&certificate));
            proofs
        });
        Ok(())
    }

    /// Proves nothing any more.
    pub fn withdraw(&self) {
        self.0.store(Arc::default());
    }
}

/// Why there is no proof by TLS.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The name can't stand in a certificate.
    #[error("no certificate can be made for the proof: {0}; check `domains`")]
    Unmade(#[from] rcgen::Error),
    /// The certificate can't be used.
    #[error("the certificate made for the proof can't be used: {0}; this is a defect")]
    Unusable(#[from] rustls::Error),
}

#[derive(Debug, Clone, Default)]
struct Proofs {
    tokens: HashMap<String, Bytes>,
    names: HashMap<String, Arc<CertifiedKey>>,
}

/// Signed by itself, for this one name, with the digest in the critical acmeIdentifier (RFC 8737 section 3).
fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, ProofError> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // Not compared with its key, as others are: who does that knows no acmeIdentifier, and refuses what is critical.
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_there_from_the_offer_to_the_withdrawal() {
        let challenges = Challenges::default();
        let seen = challenges.clone();
        challenges.offer_http("token", "token.thumb");
        challenges.offer_tls_alpn("a.example", &[7; 32]).unwrap();
        assert_eq!(seen.http("token").as_deref(), Some(&b"token.thumb"[..]));
        assert_eq!((seen.http("other"), seen.http("")), (None, None));
        assert!(seen.tls_alpn("a.example").is_some() && seen.tls_alpn("b.example").is_none());
        challenges.withdraw();
        assert!(seen.http("token").is_none() && seen.tls_alpn("a.example").is_none());
    }

    #[test]
    fn the_proof_by_tls_holds_the_digest_in_a_critical_extension() {
        let certificate = proof("a.example", &[0xa5; 32]).unwrap();
        let der = certificate.cert[0].as_ref();
        // id-pe-acmeIdentifier, critical, an OCTET STRING in the extension's own: RFC 8737 section 3.
        let head = [6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32];
        let wanted = [&head[..], &[0xa5; 32]].concat();
        assert!(der.windows(wanted.len()).any(|part| part == wanted));
    }
}
