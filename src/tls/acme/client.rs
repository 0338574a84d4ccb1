//! Speaks HTTP with a certificate authority: a connection for each request, since an order makes a dozen every two
//! months.
//!
//! `renewal` hands it to instant-acme, which asks it for everything. It must never speak without TLS, wait without end,
//! nor read an answer larger than any that is right.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::limits::{ACME_ANSWER, ACME_REQUEST};
use crate::config::model::Http2;
use crate::source::file::read_regular;
use crate::upstream::tls::{self, TlsError};

/// The client of one authority.
#[derive(Debug, Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
}

impl Client {
    /// Believes the machine's authorities, or those of `ca_file`, which is read now.
    ///
    /// # Errors
    /// When they can't be had.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let tls = match ca_file {
            Some(path) => {
                let read = read_regular(path);
                let pem = read.map_err(|error| ClientError::CaFile(path.display().to_string(), error))?;
                tls::with_ca_file(path, &pem, Http2::Never)?
            }
            None => tls::with_system_roots(Http2::Never)?,
        };
        Ok(Self { tls })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let asked = tokio::time::timeout(ACME_REQUEST, ask(tls, request)).await;
            let answered = asked.unwrap_or_else(|_| Err(ClientError::Timeout(host)));
            answered.map_err(|error| Error::Other(Box::new(error)))
        })
    }
}

/// Why a certificate authority gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of its own authorities.
    #[error("can't read the ca_file {0}: {1}; check the path and its permissions")]
    CaFile(String, #[source] io::Error),
    /// What is in it.
    #[error(transparent)]
    Authorities(#[from] TlsError),
    /// Its directory leads somewhere that isn't `https://`.
    #[error("{0} isn't an https:// URL with a host; check `directory`")]
    Url(String),
    /// No address, no connection, no TLS.
    #[error("{0} can't be reached: {1}; check `directory`, `ca_file` and the way out of this machine")]
    Unreachable(String, #[source] io::Error),
    /// Nothing in time.
    #[error("{0} didn't answer within 30 s; nothing is to be done unless it lasts")]
    Timeout(String),
    /// It broke off, sent something that isn't HTTP, or too much of it.
    #[error("{0} gave no answer that could be read: {1}; check `directory`")]
    Answer(String, #[source] Box<dyn std::error::Error + Send + Sync>),
}

async fn ask(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, ClientError> {
    let Target { host, port, name, field, path } = Target::of(request.uri())?;
    let unreachable = |error| ClientError::Unreachable(host.clone(), error);
    let socket = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    let stream = TlsConnector::from(tls).connect(name, socket).await.map_err(unreachable)?;
    let answer = |error: Box<dyn std::error::Error + Send + Sync>| ClientError::Answer(host.clone(), error);
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|error| answer(error.into()))?;
    // It ends with the sender, or with the answer.
    tokio::spawn(connection);
    *request.uri_mut() = path;
    request.headers_mut().insert(HOST, field);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let response = sender.send_request(request).await.map_err(|error| answer(error.into()))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ACME_ANSWER).collect().await.map_err(answer)?;
    Ok(BytesResponse { parts, body: Box::new(body.to_bytes()) })
}

/// Where a request goes, and what it says there.
struct Target {
    host: String,
    port: u16,
    name: ServerName<'static>,
    field: HeaderValue,
    path: Uri,
}

impl Target {
    /// The URL comes from the authority itself, and may be anything.
    fn of(uri: &Uri) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url(uri.to_string());
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            port: authority.port_u16().unwrap_or(443),
            name: ServerName::try_from(host.clone()).map_err(|_| wrong())?,
            field: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?,
            path: path.parse().map_err(|_| wrong())?,
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_are_asked() {
        let target = |url: &str| Target::of(&url.parse().unwrap()).map(|target| (target.host, target.port));
        assert_eq!(target("https://ca.example/dir?x").unwrap(), ("ca.example".to_owned(), 443));
        assert_eq!(target("https://[::1]:14000/dir").unwrap(), ("::1".to_owned(), 14000));
        for url in ["http://ca.example/dir", "/dir", "ftp://ca.example/", "https://a_b..c/"] {
            assert!(matches!(target(url), Err(ClientError::Url(_))), "{url}");
        }
    }
}
