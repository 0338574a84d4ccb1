//! Which certificate a visitor gets, by the name that is asked for (SNI).
//!
//! The control thread changes it, handshakes on workers read it. Reading must never take a lock, nor a change touch a
//! connection that stands.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::model::UnknownName;
use crate::tls::certificate::Certificate;
use crate::tls::challenges::{ACME_TLS, Challenges};

/// All certificates that may be served. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<ArcSwap<Table>>, Challenges);

impl Store {
    /// From now on these are the configuration's own, the first the default; those that were installed stay.
    pub fn configure(&self, certificates: &[Certificate], unknown: UnknownName) {
        let mut sources = self.0.load().sources.clone();
        sources.configured = certificates.to_vec();
        sources.unknown = Some(unknown);
        self.0.store(Arc::new(Table::of(sources)));
    }

    /// Adds a certificate under a label, or replaces the one that has it.
    pub fn install(&self, label: &str, certificate: Certificate) {
        let mut sources = self.0.load().sources.clone();
        sources.installed.insert(label.to_owned(), certificate);
        self.0.store(Arc::new(Table::of(sources)));
    }

    /// Takes away the certificate of a label.
    pub fn remove(&self, label: &str) {
        let mut sources = self.0.load().sources.clone();
        sources.installed.remove(label);
        self.0.store(Arc::new(Table::of(sources)));
    }

    /// Our proofs to certificate authorities, which are certificates, too.
    pub fn challenges(&self) -> &Challenges {
        &self.1
    }

    /// Every certificate's name and end.
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        let table = self.0.load();
        table.sources.all().map(|certificate| (certificate.name().to_owned(), certificate.expires)).collect()
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737 section 3: who offers nothing else is a certificate authority, and gets a proof or nothing.
        if hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(ACME_TLS) && offered.next().is_none())
        {
            return self.1.tls_alpn(&hello.server_name()?.to_ascii_lowercase());
        }
        self.0
            .load()
            .find(hello.server_name(), |key| key.key.choose_scheme(hello.signature_schemes()).is_some())
    }
}

/// Certificates by name.
#[derive(Default)]
struct Table {
    sources: Sources,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind `*`, with its dot.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl Table {
    fn of(sources: Sources) -> Self {
        let mut table = Self::default();
        for certificate in sources.all() {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut table.wildcard, suffix),
                    None => (&mut table.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        table.default = sources.all().map(|certificate| Arc::clone(&certificate.key)).collect();
        table.sources = sources;
        table
    }

    /// The exact name, else the wildcard one label up (RFC 6125 section 6.4.3), else the default; of several the
    /// first whose key `fits` the visitor.
    fn find(&self, name: Option<&str>, fits: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let exact = self.exact.get(&name);
            exact.or_else(|| self.wildcard.get(&name[name.find('.')?..]))
        });
        let refuses = name.is_some() && self.sources.unknown == Some(UnknownName::Refuse);
        let keys = match named {
            Some(keys) => keys,
            None if refuses => return None,
            None => &self.default,
        };
        // With a key that doesn't fit, the handshake fails as one without a common cipher does, which scanners know.
        keys.iter().find(|key| fits(key)).or(keys.first()).cloned()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// Where certificates come from.
#[derive(Debug, Clone, Default)]
struct Sources {
    configured: Vec<Certificate>,
    installed: BTreeMap<String, Certificate>,
    unknown: Option<UnknownName>,
}

impl Sources {
    fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.configured.iter().chain(self.installed.values())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
        let file = Path::new("x.pem");
        Certificate::of_pem(
            (file, cert.as_bytes()),
            (file, key.serialize_pem().as_bytes()),
            SystemTime::now(),
        )
        .unwrap()
    }

    #[test]
    fn the_most_exact_name_wins_and_the_first_is_the_default() {
        let all = [certificate(&["a.example", "b.example"]), certificate(&["*.example", "www.a.example"])];
        let store = Store::default();
        store.configure(&all, UnknownName::Default);
        for (name, place) in [
            (Some("a.example"), 0),
            (Some("A.Example"), 0),
            (Some("c.example"), 1),
            (Some("www.a.example"), 1),
            (Some("x.www.a.example"), 0),
            (Some("other"), 0),
            (None, 0),
        ] {
            let found = store.0.load().find(name, |_| true).unwrap();
            assert!(Arc::ptr_eq(&found, &all[place].key), "{name:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_where_that_is_asked_for() {
        let store = Store::default();
        store.configure(&[certificate(&["a.example"])], UnknownName::Refuse);
        let found = |name| store.0.load().find(name, |_| true).is_some();
        assert_eq!([Some("a.example"), Some("b.example"), None].map(found), [true, false, true]);
    }

    #[test]
    fn installed_ones_outlive_a_configuration_and_are_replaced_by_label() {
        let store = Store::default();
        let [first, second] = [certificate(&["a.example"]), certificate(&["a.example"])];
        store.install("acme", first);
        store.configure(&[], UnknownName::Default);
        store.install("acme", second.clone());
        let found = store.0.load().find(Some("a.example"), |_| true).unwrap();
        assert!(Arc::ptr_eq(&found, &second.key));
        assert_eq!(store.expiries().len(), 1);
    }

    #[test]
    fn of_several_for_a_name_the_one_that_fits_is_taken() {
        let [first, second] = [certificate(&["a.example"]), certificate(&["a.example"])];
        let store = Store::default();
        store.configure(&[first.clone(), second.clone()], UnknownName::Default);
        let fits = |key: &CertifiedKey| !std::ptr::eq(key, &*first.key);
        let found = store.0.load().find(Some("a.example"), fits).unwrap();
        assert!(Arc::ptr_eq(&found, &second.key));
        let none = store.0.load().find(Some("a.example"), |_| false).unwrap();
        assert!(Arc::ptr_eq(&none, &first.key), "it fails by the handshake");
    }
}
