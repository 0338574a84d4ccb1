//! Authorities and certificates for backends that speak TLS.
//!
//! It must never leave a key in a file: the program only needs the authority's certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// An authority that signs certificates of test backends.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A server's side of TLS with a certificate for `names`.
    pub(crate) fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone()];
        Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    /// Writes a certificate for `names` and its key as `stem.pem` and `stem-key.pem`; the certificate in DER.
    pub(crate) fn issue(&self, names: &[&str], directory: &Path, stem: &str) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.issue_by(&CertificateParams::new(names).unwrap(), directory, stem)
    }

    /// The same by what the certificate is to say.
    pub(crate) fn issue_by(&self, params: &CertificateParams, directory: &Path, stem: &str) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        // As a renewal writes them: beside, and moved there.
        for (name, text) in
            [(stem.to_owned(), certificate.pem()), (format!("{stem}-key"), key.serialize_pem())]
        {
            let beside = directory.join(format!("{name}.new"));
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(beside, directory.join(format!("{name}.pem"))).unwrap();
        }
        certificate.der().to_vec()
    }

    /// A visitor's side of TLS that believes it, of these versions.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_protocol_versions(versions);
        Arc::new(builder.with_root_certificates(self.roots()).with_no_client_auth())
    }

    /// The same, showing the certificate `stem` of the directory.
    pub(crate) fn client_showing(&self, directory: &Path, stem: &str) -> Arc<ClientConfig> {
        let file = |name: String| directory.join(format!("{name}.pem"));
        let chain = CertificateDer::pem_file_iter(file(stem.to_owned())).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(file(format!("{stem}-key"))).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// Writes its certificate where a `ca_file` can name it.
    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("ca.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path
    }
}
