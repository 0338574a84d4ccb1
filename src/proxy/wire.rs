//! A request as the connection at hand wants it: HTTP/1.1 and HTTP/2 say the host, the target and the body's end in
//! different ways. Pure.
//!
//! `forward` calls it before each attempt, since a further one may go over another kind of connection. It must never
//! change what the request means.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, Uri, Version};

use crate::headers::origin::Scheme;

/// Makes `request` one of `version` to `host`, which is no field yet in HTTP/1.1; `has_body` says whether one follows.
pub fn fit<B>(
    request: &mut Request<B>,
    version: Version,
    host: &HeaderValue,
    scheme: Scheme,
    has_body: bool,
) {
    match version {
        Version::HTTP_2 => to_http2(request, host, scheme),
        _ => to_http1(request, has_body),
    }
}

/// RFC 9113 section 8.3.1: the authority stands in its pseudo-header, which hyper takes from the target; section 8.2.2:
/// fields of a connection are an error. `TE: trailers` may stand there without being listed. The body is not held back
/// for a `100 Continue`, which hyper's client of HTTP/2 doesn't tell of.
fn to_http2<B>(request: &mut Request<B>, host: &HeaderValue, scheme: Scheme) {
    for name in [CONNECTION, TRANSFER_ENCODING, EXPECT, HOST] {
        request.headers_mut().remove(name);
    }
    let path = path_of(request.uri());
    let authority = Authority::try_from(host.as_bytes()).ok();
    let absolute = authority.and_then(|authority| {
        let target = Uri::builder().scheme(scheme.as_str()).authority(authority).path_and_query(path);
        target.build().ok()
    });
    match absolute {
        Some(target) => {
            *request.uri_mut() = target;
            *request.version_mut() = Version::HTTP_2;
        }
        // A host that `http` doesn't take as an authority still has its field.
        None => drop(request.headers_mut().insert(HOST, host.clone())),
    }
}

fn to_http1<B>(request: &mut Request<B>, has_body: bool) {
    if request.version() == Version::HTTP_2 {
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = Uri::from(path_of(request.uri()));
        if request.headers().contains_key(TE) {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("TE"));
        }
    }
    if has_body && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn path_of(target: &Uri) -> PathAndQuery {
    target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        let request = Request::builder().method("POST").uri("/a?b=c").header(TE, "trailers");
        let request = request.header(CONNECTION, "TE").header(EXPECT, "100-continue").header("x-own", "1");
        request.body(()).unwrap()
    }

    fn fields(request: &Request<()>) -> Vec<String> {
        let fields = request.headers().iter();
        let mut fields: Vec<String> =
            fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        fields.sort();
        fields
    }

    #[test]
    fn http2_has_the_host_in_its_target_and_no_fields_of_a_connection() {
        let mut request = request();
        let host = HeaderValue::from_static("app.example:8443");
        fit(&mut request, Version::HTTP_2, &host, Scheme::Https, true);
        assert_eq!(request.uri(), "https://app.example:8443/a?b=c");
        assert_eq!(fields(&request), ["te: trailers", "x-own: 1"]);
        // A further attempt may go the other way.
        fit(&mut request, Version::HTTP_11, &host, Scheme::Https, true);
        assert_eq!(request.uri(), "/a?b=c");
        let there = ["connection: TE", "te: trailers", "transfer-encoding: chunked"];
        assert_eq!(fields(&request)[..3], there);
    }

    #[test]
    fn bodies_of_known_length_are_not_chunked() {
        let mut request = request();
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        fit(&mut request, Version::HTTP_11, &HeaderValue::from_static("a"), Scheme::Http, true);
        assert!(!request.headers().contains_key(TRANSFER_ENCODING));
    }

    #[test]
    fn options_for_the_whole_server_keep_their_asterisk() {
        let mut request = Request::builder().method("OPTIONS").uri("*").body(()).unwrap();
        fit(&mut request, Version::HTTP_2, &HeaderValue::from_static("a.example"), Scheme::Http, false);
        assert_eq!(request.uri().path(), "*");
        assert_eq!(request.uri().authority().map(Authority::as_str), Some("a.example"));
    }
}
