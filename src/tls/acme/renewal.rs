//! Keeps the certificate good: finds it at start, orders it where there is none, renews it in time, tries again.
//!
//! `app` runs [`keep`] as a task of the control thread. It must never take a certificate away for want of a better
//! one, nor order without pause, nor wait for a disk on its own thread.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::{Account, AccountCredentials, CertificateIdentifier, Error, NewAccount};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::watch;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::limits::{ACME_LOOK, ACME_ORDER, ACME_WAIT, ACME_WINDOW, ACME_WINDOW_MOST};
use crate::config::model::Acme;
use crate::telemetry::events::{AcmeEvent, Event};
use crate::telemetry::metrics::Metrics;
use crate::tls::acme::client::Client;
use crate::tls::acme::order::{OrderError, order};
use crate::tls::acme::schedule::{self, Span};
use crate::tls::acme::state::{ACCOUNT, CERTIFICATE, Folder, StateError};
use crate::tls::certificate::{Certificate, CertificateError};
use crate::tls::store::Store;

/// What our certificate is called in the store.
pub const LABEL: &str = "acme";

/// Where certificates and proofs go, and where it is told.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// Whoever speaks TLS with visitors, or is asked for a proof, reads it.
    pub store: Store,
    /// Where it counts.
    pub metrics: Metrics,
}

/// Keeps the certificate that is wanted, and follows each change of what is wanted, until nobody can want any more.
pub async fn keep(mut wanted: watch::Receiver<Option<Acme>>, outlets: Outlets) {
    loop {
        let acme = wanted.borrow_and_update().clone();
        if acme.is_none() {
            outlets.store.remove(LABEL);
            outlets.metrics.certificates(&outlets.store.expiries());
        }
        let kept = async {
            match &acme {
                Some(acme) => Renewal::begin(acme, &outlets).await.run().await,
                None => std::future::pending().await,
            }
        };
        let go_on = tokio::select! {
            () = kept => true,
            changed = wanted.changed() => changed.is_ok(),
        };
        outlets.store.challenges().withdraw();
        if !go_on {
            return;
        }
    }
}

/// One certificate while nothing else is wanted. Times are since 1970: what counts is the certificate's own clock.
struct Renewal<'a> {
    acme: &'a Acme,
    outlets: &'a Outlets,
    folder: Folder,
    domains: String,
    held: Option<Held>,
    failures: u32,
    /// No order before this.
    next_try: Duration,
    /// When to renew, as its authority wants it.
    window: Option<Span>,
    /// When to ask for that.
    next_look: Duration,
}

impl<'a> Renewal<'a> {
    /// Serves what was kept, where something was.
    async fn begin(acme: &'a Acme, outlets: &'a Outlets) -> Self {
        let folder = Folder::new(&acme.state_dir, &acme.directory);
        let mut renewal = Self {
            acme,
            outlets,
            folder,
            domains: acme.domains.join(" "),
            held: None,
            failures: 0,
            next_try: Duration::ZERO,
            window: None,
            next_look: Duration::ZERO,
        };
        let path = renewal.folder.path(CERTIFICATE);
        if let Some(held) = renewal.kept(CERTIFICATE, |pem| Held::read(pem, &path)).await {
            let expires = held.expires();
            renewal.serve(held);
            Event::from(AcmeEvent::Found { domains: &renewal.domains, expires: &expires }).log();
        }
        renewal
    }

    async fn run(mut self) {
        loop {
            let (now, due) = (now(), self.due());
            if due <= now {
                self.order().await;
            } else if self.next_look <= now {
                self.look().await;
            } else {
                tokio::time::sleep((due.min(self.next_look) - now).min(ACME_LOOK)).await;
            }
        }
    }

    /// When to order.
    fn due(&self) -> Duration {
        let good = self.held.as_ref().filter(|held| held.is_for(&self.acme.domains));
        let wanted = good.map(|held| schedule::renewal(held.life, self.window, held.chance));
        wanted.unwrap_or_default().max(self.next_try)
    }

    async fn order(&mut self) {
        let (domains, directory) = (self.domains.as_str(), self.acme.directory.as_str());
        Event::from(AcmeEvent::Ordered { domains, directory }).log();
        let ordered = timeout(ACME_ORDER, self.issue()).await.unwrap_or(Err(OrderError::TooLong));
        self.outlets.store.challenges().withdraw();
        match ordered {
            Ok((pem, held)) => self.issued(pem, held).await,
            Err(error) => self.failed(&error),
        }
    }

    async fn issue(&self) -> Result<(String, Held), OrderError> {
        let ordered = match self.ask(&self.account().await?).await {
            Err(error) if error.is_without_account() => {
                // One is made anew, once; the old key stays for a person to look at.
                self.broken(ACCOUNT, error.to_string()).await;
                self.ask(&self.account().await?).await
            }
            ordered => ordered,
        };
        let pem = ordered?;
        let held = Held::read(pem.as_bytes(), &self.folder.path(CERTIFICATE))?;
        let fault = match held.life.until > now() {
            true if held.is_for(&self.acme.domains) => return Ok((pem, held)),
            true => "isn't for the names that were asked for",
            false => "is over already",
        };
        Err(OrderError::Unfit(fault))
    }

    async fn ask(&self, account: &Account) -> Result<String, OrderError> {
        // Only an authority that has told a window knows what is replaced.
        let before =
            self.held.as_ref().filter(|_| self.window.is_some()).and_then(|held| held.identifier.clone());
        order(account, self.acme, self.outlets.store.challenges(), before).await
    }

    async fn issued(&mut self, pem: String, held: Held) {
        let (expires, before) = (held.expires(), self.held.is_some());
        self.serve(held);
        self.outlets.metrics.orders().fulfilled(SystemTime::now());
        self.failures = 0;
        self.window = None;
        // An authority that wants each one renewed at once gets its way a few times a day, not without pause.
        self.next_look = now() + ACME_WINDOW;
        let written = self.write(CERTIFICATE, pem.into_bytes()).await;
        let (domains, expires) = (self.domains.as_str(), &expires);
        let event = match before {
            true => AcmeEvent::Renewed { domains, expires },
            false => AcmeEvent::Issued { domains, expires },
        };
        Event::from(event).log();
        if let Err(error) = written {
            // It serves, and is ordered anew after a restart.
            self.tell(&error.into(), Duration::ZERO);
        }
        if self.due() <= now() {
            self.failed(&OrderError::Unfit("would have to be renewed at once"));
        }
    }

    fn failed(&mut self, error: &OrderError) {
        self.failures = self.failures.saturating_add(1);
        let pause = schedule::pause(self.failures, fastrand::f64());
        self.next_try = now() + pause;
        // What was told of the one before may be what is refused.
        self.window = None;
        self.tell(error, pause);
    }

    fn tell(&self, error: &OrderError, pause: Duration) {
        let reason = error.reason();
        self.outlets.metrics.orders().failed(reason);
        Event::from(AcmeEvent::Failed { reason: reason.as_str(), error, pause }).log();
    }

    fn serve(&mut self, held: Held) {
        self.outlets.store.install(LABEL, held.certificate.clone());
        self.outlets.metrics.certificates(&self.outlets.store.expiries());
        self.held = Some(held);
    }

    /// Asks when to renew (RFC 9773). Whatever goes wrong with that, two thirds of its life is right.
    async fn look(&mut self) {
        self.next_look = now() + schedule::next_look(None);
        let Some(identifier) = self.held.as_ref().and_then(|held| held.identifier.clone()) else { return };
        let asked = async { Ok::<_, OrderError>(self.account().await?.renewal_info(&identifier).await?) };
        match timeout(ACME_WAIT, asked).await {
            Ok(Ok((told, again))) => {
                let since_1970 =
                    |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
                let window = told.suggested_window;
                let (from, until) = (window.start.unix_timestamp(), window.end.unix_timestamp());
                self.window = Some(Span { from: since_1970(from), until: since_1970(until) });
                self.next_look = now() + schedule::next_look(Some(again));
            }
            Ok(Err(OrderError::Authority(Error::Unsupported(_)))) => {
                self.next_look = now() + ACME_WINDOW_MOST;
            }
            Ok(Err(error)) => tracing::debug!(%error, "the authority doesn't say when to renew"),
            Err(_) => tracing::debug!("the authority doesn't say in time when to renew"),
        }
    }

    /// Our account: the one that is kept, else a new one, which is kept before it is used.
    async fn account(&self) -> Result<Account, OrderError> {
        let client = Client::new(self.acme.ca_file.as_deref())?;
        let builder = Account::builder_with_http(Box::new(client));
        let directory = &self.acme.directory;
        if let Some(credentials) = self.kept(ACCOUNT, |bytes| credentials(bytes, directory)).await {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact: Vec<_> = self.acme.email.iter().map(|email| format!("mailto:{email}")).collect();
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let asked =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&asked, directory.clone(), None).await?;
        self.write(ACCOUNT, serde_json::to_vec(&credentials).map_err(Error::from)?).await?;
        Ok(account)
    }

    /// What a file says, where it is there; one that can't be used is set aside.
    async fn kept<T, E: Display>(
        &self,
        name: &'static str,
        read: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Option<T> {
        match self.off_thread(move |folder| folder.read(name)).await {
            Ok(None) => None,
            Ok(Some(bytes)) => match read(&bytes) {
                Ok(kept) => Some(kept),
                Err(error) => {
                    self.broken(name, error.to_string()).await;
                    None
                }
            },
            Err(error) => {
                self.broken(name, error.to_string()).await;
                None
            }
        }
    }

    async fn broken(&self, name: &'static str, error: String) {
        Event::from(AcmeEvent::StateBroken { path: &self.folder.path(name), error: &error }).log();
        if let Err(error) = self.off_thread(move |folder| folder.set_aside(name)).await {
            self.tell(&error.into(), Duration::ZERO);
        }
    }

    async fn write(&self, name: &'static str, bytes: Vec<u8>) -> Result<(), StateError> {
        self.off_thread(move |folder| folder.write(name, &bytes)).await
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let folder = self.folder.clone();
        let worked = tokio::task::spawn_blocking(move || work(&folder)).await;
        worked.unwrap_or_else(|error| Err(StateError { path: self.folder.path(""), error: error.into() }))
    }
}

/// A certificate that serves, or is about to.
struct Held {
    certificate: Certificate,
    life: Span,
    /// What its authority knows it by (RFC 9773 section 4.1).
    identifier: Option<CertificateIdentifier<'static>>,
    /// Where in its window it is renewed, from 0 to 1: thrown once, or each look would move it.
    chance: f64,
}

impl Held {
    /// From PEM: a certificate, those that lead to its authority, and its key. One whose time is over is better than
    /// none, until there is another; `file` is what errors call it.
    fn read(pem: &[u8], file: &Path) -> Result<Self, CertificateError> {
        let first = CertificateDer::pem_slice_iter(pem).next().and_then(Result::ok);
        let first = first.unwrap_or_else(|| Vec::new().into());
        // What isn't one is told apart by who reads it next.
        let life = life(&first).unwrap_or(Span { from: now(), until: now() });
        let certificate = Certificate::of_pem((file, pem), (file, pem), UNIX_EPOCH + life.from)?;
        let identifier = CertificateIdentifier::try_from(&first).ok().map(CertificateIdentifier::into_owned);
        Ok(Self { certificate, life, identifier, chance: fastrand::f64() })
    }

    fn is_for(&self, domains: &[String]) -> bool {
        domains.iter().all(|domain| self.certificate.names.contains(domain))
    }

    /// As events tell it.
    fn expires(&self) -> String {
        let seconds = i64::try_from(self.life.until.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |at| at.to_string())
    }
}

/// From when until when a certificate is good.
fn life(der: &[u8]) -> Option<Span> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = &certificate.validity;
    let [from, until] = [&validity.not_before, &validity.not_after]
        .map(|time| Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default()));
    Some(Span { from, until })
}

/// The account of this directory; that of another would be asked there.
fn credentials(bytes: &[u8], directory: &str) -> Result<AccountCredentials, Foreign> {
    let json: serde_json::Value = serde_json::from_slice(bytes)?;
    if json["directory"] != directory {
        return Err(Foreign::Directory);
    }
    Ok(serde_json::from_value(json)?)
}

/// An account file that isn't ours.
#[derive(Debug, thiserror::Error)]
enum Foreign {
    #[error("it isn't an account: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is an account of another directory")]
    Directory,
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
