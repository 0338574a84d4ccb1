//! One certificate with its key, as it is read from two files: checked before it is ever served.
//!
//! `snapshot` reads those of the configuration. It must never take a pair that a visitor would be turned away by:
//! expired, of another key, without a name.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate that may be served.
#[derive(Clone)]
pub struct Certificate {
    /// The DNS names it is for, in lower case; the first is what metrics call it.
    pub names: Vec<String>,
    /// When it ends.
    pub expires: SystemTime,
    /// The chain and its key.
    pub key: Arc<CertifiedKey>,
}

impl Certificate {
    /// The certificate of two PEM files' contents, as of `now`. `cert` and `key` are what errors call the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn of_pem(
        cert: (&Path, &[u8]),
        key: (&Path, &[u8]),
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let [cert_file, key_file] = [cert.0, key.0].map(|path| path.display().to_string());
        let chain = CertificateDer::pem_slice_iter(cert.1).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| CertificateError::Pem(cert_file.clone(), error.to_string()))?;
        let Some(leaf) = chain.first() else { return Err(CertificateError::NoCertificate(cert_file)) };
        let (names, begins, expires) = facts(leaf, &cert_file)?;
        if now < begins {
            return Err(CertificateError::NotYet(cert_file));
        }
        if now >= expires {
            return Err(CertificateError::Expired(cert_file, names[0].clone()));
        }
        let key = PrivateKeyDer::from_pem_slice(key.1)
            .map_err(|error| CertificateError::Key(key_file.clone(), error.to_string()))?;
        let key = any_supported_type(&key)
            .map_err(|error| CertificateError::Key(key_file.clone(), error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        if key.keys_match().is_err() {
            return Err(CertificateError::Mismatch { cert: cert_file, key: key_file });
        }
        Ok(Self { names, expires, key: Arc::new(key) })
    }

    /// What metrics and events call it: its first name.
    pub fn name(&self) -> &str {
        &self.names[0]
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file that can't be read.
    #[error("can't read {0}: {1}; check the path and its permissions")]
    Read(String, #[source] std::io::Error),
    /// Not PEM.
    #[error("{0} is not a PEM file ({1}); give the certificate and its chain in PEM")]
    Pem(String, String),
    /// PEM without a certificate.
    #[error("{0} has no certificate in it; give the certificate and its chain in PEM")]
    NoCertificate(String),
    /// Bytes that are no certificate, or one without a DNS name.
    #[error("{0} has no certificate for a DNS name in it ({1}); give one with subject alternative names")]
    Malformed(String, String),
    /// Its time hasn't come.
    #[error("the certificate in {0} isn't valid yet; check this machine's clock")]
    NotYet(String),
    /// Its time is over.
    #[error("the certificate in {0}, for {1}, has expired; renew it")]
    Expired(String, String),
    /// Not a key.
    #[error("{0} has no private key that can be used ({1}); give an ECDSA, RSA or Ed25519 key in PEM")]
    Key(String, String),
    /// Another certificate's key.
    #[error("the key in {key} isn't that of the certificate in {cert}; give the pair that belongs together")]
    Mismatch {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
    },
}

/// The names of a certificate, at least one, and its time.
fn facts(
    leaf: &CertificateDer<'_>,
    file: &str,
) -> Result<(Vec<String>, SystemTime, SystemTime), CertificateError> {
    let malformed = |what: &str| CertificateError::Malformed(file.to_owned(), what.to_owned());
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| malformed(&error.to_string()))?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| malformed(&error.to_string()))?;
    let named = alternatives.into_iter().flat_map(|extension| &extension.value.general_names);
    let names: Vec<String> = named
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        return Err(malformed("it names nobody"));
    }
    let validity = parsed.validity();
    Ok((names, instant(validity.not_before.timestamp()), instant(validity.not_after.timestamp())))
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let any = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from));
    any.ok().map(|address| address.to_string())
}

fn instant(seconds: i64) -> SystemTime {
    let seconds_ago = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - seconds_ago } else { UNIX_EPOCH + seconds_ago }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn now() -> SystemTime {
        SystemTime::now()
    }

    fn made(params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn read(cert: &str, key: &str) -> Result<Certificate, CertificateError> {
        let files = [Path::new("c.pem"), Path::new("k.pem")];
        Certificate::of_pem((files[0], cert.as_bytes()), (files[1], key.as_bytes()), now())
    }

    fn params(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_pair_says_its_names_and_when_it_ends() {
        let mut params = params(&["WWW.example.com", "*.example.com", "127.0.0.1"]);
        params.not_after = date_time_ymd(2999, 1, 1);
        let (cert, key) = made(&params);
        let certificate = read(&cert, &key).unwrap();
        assert_eq!(certificate.names, ["www.example.com", "*.example.com", "127.0.0.1"]);
        assert_eq!(certificate.expires.duration_since(UNIX_EPOCH).unwrap().as_secs(), 32_472_144_000);
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        let (good, good_key) = made(&params(&["a.example"]));
        let (_, other_key) = made(&params(&["a.example"]));
        let mut old = params(&["a.example"]);
        old.not_after = date_time_ymd(2020, 1, 1);
        let (old, old_key) = made(&old);
        let mut early = params(&["a.example"]);
        early.not_before = date_time_ymd(2998, 1, 1);
        let (early, early_key) = made(&early);
        let (nameless, nameless_key) = made(&params(&[]));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (cert, key, message) in [
            (old.as_str(), old_key.as_str(), "c.pem, for a.example, has expired"),
            (&early, &early_key, "c.pem isn't valid yet"),
            (&good, &other_key, "k.pem isn't that of the certificate in c.pem"),
            (&nameless, &nameless_key, "c.pem has no certificate for a DNS name"),
            (broken, &good_key, "c.pem has no certificate for a DNS name"),
            ("", &good_key, "c.pem has no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\n!\n", &good_key, "c.pem is not a PEM file"),
            (&good, "", "k.pem has no private key"),
            (&good, &good, "k.pem has no private key"),
        ] {
            let error = read(cert, key).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
