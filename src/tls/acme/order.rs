//! One order, from its first word to the certificate (RFC 8555 section 7.4): prove each name, ask, wait, fetch.
//!
//! `renewal` calls it, withdraws the proofs afterwards however it ends, and bounds its time. It must never keep a
//! thing: what comes of it is the caller's.

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::config::limits::ACME_WAIT;
use crate::config::model::{Acme, AcmeChallenge};
use crate::telemetry::orders::AcmeFailure;
use crate::tls::acme::client::ClientError;
use crate::tls::acme::state::StateError;
use crate::tls::certificate::CertificateError;
use crate::tls::challenges::{Challenges, ProofError};

/// Orders a certificate; gives it, those that lead to its authority, and its fresh key in PEM. `replaces` is the one
/// that it follows (RFC 9773 section 5).
///
/// # Errors
/// The first thing that goes wrong.
pub async fn order(
    account: &Account,
    acme: &Acme,
    challenges: &Challenges,
    replaces: Option<CertificateIdentifier<'_>>,
) -> Result<String, OrderError> {
    let names: Vec<_> = acme.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut wanted = NewOrder::new(&names);
    if let Some(before) = replaces {
        wanted = wanted.replaces(before);
    }
    let mut order = account.new_order(&wanted).await?;
    prove(&mut order, acme.challenge, challenges).await?;
    let patience = RetryPolicy::new().timeout(ACME_WAIT);
    // An order that was proved before may be ready, which the first look finds.
    match order.poll_ready(&patience).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(why_invalid(&mut order).await),
        // The order names one problem for all; its authorisations know which name it is.
        Err(Error::Api(problem)) => return Err(because(why_invalid(&mut order).await, problem)),
        Err(error) => return Err(error.into()),
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(acme.domains.clone())?;
    // The names stand where they are looked for; a common name would be one more, of at most 64 bytes.
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&patience).await?;
    Ok(format!("{}\n{}", chain.trim_end(), key.serialize_pem()))
}

/// Offers a proof for each name that needs one, and says so to the authority.
async fn prove(order: &mut Order, by: AcmeChallenge, challenges: &Challenges) -> Result<(), OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => {}
            AuthorizationStatus::Pending => offer(authorization, by, challenges).await?,
            AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => return Err(not_proved(&authorization)),
        }
    }
    Ok(())
}

async fn offer(
    mut authorization: AuthorizationHandle<'_>,
    by: AcmeChallenge,
    challenges: &Challenges,
) -> Result<(), OrderError> {
    let name = authorization.identifier().to_string();
    let (kind, word) = match by {
        AcmeChallenge::Http => (ChallengeType::Http01, "http-01"),
        AcmeChallenge::TlsAlpn => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
    };
    let challenge = authorization.challenge(kind);
    let mut challenge = challenge.ok_or_else(|| OrderError::NotOffered(name.clone(), word))?;
    let proof = challenge.key_authorization();
    match by {
        AcmeChallenge::Http => challenges.offer_http(&challenge.token, proof.as_str()),
        AcmeChallenge::TlsAlpn => challenges.offer_tls_alpn(&name, proof.digest().as_ref())?,
    }
    Ok(challenge.set_ready().await?)
}

/// Which name wasn't proved, and what the authority saw instead.
async fn why_invalid(order: &mut Order) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let invalid =
            authorization.refresh().await.is_ok_and(|now| now.status == AuthorizationStatus::Invalid);
        if invalid {
            return not_proved(&authorization);
        }
    }
    OrderError::Invalid
}

fn not_proved(authorization: &AuthorizationHandle<'_>) -> OrderError {
    let seen = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
    let seen = seen.map_or_else(|| "it doesn't say why".to_owned(), Problem::to_string);
    OrderError::NotProved(authorization.identifier().to_string(), seen)
}

/// The more telling of both.
fn because(found: OrderError, problem: Problem) -> OrderError {
    match found {
        OrderError::NotProved(..) => found,
        _ => OrderError::Authority(Error::Api(problem)),
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The authority, or the way there.
    #[error("{0}")]
    Authority(#[from] Error),
    /// What believes its own certificate.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It knows no such proof for this name.
    #[error("for {0} the authority doesn't offer {1}; set `challenge` to another")]
    NotOffered(String, &'static str),
    /// It looked, and saw something else.
    #[error("{0} wasn't proved to be ours: {1}; does its DNS point here, and does the port reach us?")]
    NotProved(String, String),
    /// It gave the order up.
    #[error("the authority gave the order up without saying why; nothing is to be done unless it lasts")]
    Invalid,
    /// All of it took too long.
    #[error("the order wasn't done within 15 minutes; nothing is to be done unless it lasts")]
    TooLong,
    /// The proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The key or the request.
    #[error("no request for a certificate can be made: {0}; check `domains`")]
    Request(#[from] rcgen::Error),
    /// What came isn't what was asked for.
    #[error("the certificate that was issued {0}; it is the authority's fault")]
    Unfit(&'static str),
    /// What came, or was kept, can't be served.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// What is kept.
    #[error(transparent)]
    State(#[from] StateError),
}

impl OrderError {
    /// What it counts as.
    pub fn reason(&self) -> AcmeFailure {
        match self {
            Self::Authority(error) => reason_of(error),
            Self::Client(_) | Self::TooLong => AcmeFailure::Unreachable,
            Self::NotOffered(..) | Self::NotProved(..) | Self::Proof(_) => AcmeFailure::NotProved,
            Self::Invalid | Self::Request(_) => AcmeFailure::Refused,
            Self::Unfit(_) | Self::Certificate(_) => AcmeFailure::BadAnswer,
            Self::State(_) => AcmeFailure::State,
        }
    }

    /// Whether the authority has forgotten our account, or closed it (RFC 8555 section 6.7).
    pub fn is_without_account(&self) -> bool {
        self.is_problem("accountDoesNotExist")
    }

    fn is_problem(&self, kind: &str) -> bool {
        matches!(self, Self::Authority(Error::Api(problem)) if kind_of(problem) == kind)
    }
}

fn reason_of(error: &Error) -> AcmeFailure {
    match error {
        Error::Api(problem) if kind_of(problem) == "rateLimited" => AcmeFailure::RateLimited,
        Error::Api(_) | Error::Unsupported(_) => AcmeFailure::Refused,
        Error::Timeout(_) => AcmeFailure::Unreachable,
        Error::Other(inner) if inner.is::<ClientError>() => AcmeFailure::Unreachable,
        _ => AcmeFailure::BadAnswer,
    }
}

fn kind_of(problem: &Problem) -> &str {
    problem
        .r#type
        .as_deref()
        .and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn problem(kind: &str) -> OrderError {
        let json =
            format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "no", "status": 400}}"#);
        OrderError::Authority(Error::Api(serde_json::from_str(&json).unwrap()))
    }

    #[test]
    fn failures_count_under_what_an_operator_can_do() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = ClientError::Unreachable("ca.example".to_owned(), refused());
        for (error, reason) in [
            (problem("rateLimited"), "rate_limited"),
            (problem("rejectedIdentifier"), "refused"),
            (OrderError::Authority(Error::Other(Box::new(unreachable))), "unreachable"),
            (OrderError::Authority(Error::Str("no order URL found")), "bad_answer"),
            (OrderError::TooLong, "unreachable"),
            (OrderError::NotOffered("a.example".to_owned(), "http-01"), "not_proved"),
            (OrderError::Unfit("is for other names"), "bad_answer"),
        ] {
            assert_eq!(error.reason().as_str(), reason, "{error}");
        }
        assert!(problem("accountDoesNotExist").is_without_account() && !problem("x").is_without_account());
    }
}
