//! What is asked of a request before anything is decided about it (`reference`: RFC 9110, RFC 9112 section
//! 3.2).
//!
//! `handle` calls it first. What is wrong with the bytes, `server::framing` has found already; here stands
//! what any version of HTTP must keep. It must never repair: what two readers could understand differently is
//! refused.

use std::net::SocketAddr;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

use crate::config::limits::Limits;
use crate::headers::authority::parse_authority;
use crate::headers::length;
use crate::proxy::refusal::Refusal;

/// What an admitted request says of itself.
#[derive(Debug)]
pub struct Admitted {
    /// Its host: the target's, where it has one, else the field's.
    pub host: HeaderValue,
    /// Whether the visitor waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Admits a request, or says why not. `local`, our own address, is the host of a request in HTTP/1.0 that names none.
///
/// # Errors
/// The first thing that is wrong.
pub fn admit(parts: &Parts, limits: &Limits, local: SocketAddr) -> Result<Admitted, Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    let second = parts.version == Version::HTTP_2;
    if second {
        framed(parts, limits)?;
    }
    let host = if second { authority(parts)? } else { host(parts, local)? };
    within_body_size(&parts.headers, limits.body_size)?;
    // hyper can't say 100 in HTTP/2, and visitors who would wait for it don't wait long. HTTP/1.0 doesn't know it.
    let expects_continue = expects_continue(&parts.headers)? && parts.version == Version::HTTP_11;
    Ok(Admitted { host, expects_continue })
}

/// What `server::framing` finds in HTTP/1, of a request that came in frames.
fn framed(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    if path.len() > limits.target_size {
        return Err(Refusal::TargetTooLong);
    }
    // Browsers send each cookie for itself (RFC 9113 section 8.2.3), which is one field in HTTP/1.
    let crumbs = parts.headers.get_all(COOKIE).iter().count();
    if parts.headers.len() - crumbs.saturating_sub(1) > limits.header_count {
        return Err(Refusal::TooManyFields);
    }
    let known = parts.uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    if !known || !(path.starts_with('/') || (path == "*" && parts.method == Method::OPTIONS)) {
        return Err(Refusal::Target);
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    let Some(first) = lengths.next() else { return Ok(()) };
    let number = length::of(first).is_some();
    if number && lengths.all(|length| length == first) { Ok(()) } else { Err(Refusal::ContentLength) }
}

/// `:authority`, or `Host` where there is none; of both, one value (RFC 9113 section 8.3.1).
fn authority(parts: &Parts) -> Result<HeaderValue, Refusal> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::HostSeveral);
    }
    let host = match (parts.uri.authority(), field) {
        (None, None) => return Err(Refusal::HostMissing),
        (None, Some(field)) => field.clone(),
        (Some(authority), field) => {
            let same =
                |field: &HeaderValue| field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
            if !field.is_none_or(same) {
                return Err(Refusal::HostDiffers);
            }
            HeaderValue::try_from(authority.as_str()).map_err(|_| Refusal::HostInvalid)?
        }
    };
    parse_authority(host.as_bytes()).map(|_| host.clone()).ok_or(Refusal::HostInvalid)
}

/// In absolute form the target's authority wins over `Host`, and replaces it (RFC 9112 section 3.2.2); the
/// field has to be well-formed all the same.
fn host(parts: &Parts, local: SocketAddr) -> Result<HeaderValue, Refusal> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::HostSeveral);
    }
    if field.is_none() && parts.version == Version::HTTP_11 {
        return Err(Refusal::HostMissing);
    }
    if let Some(field) = field
        && parse_authority(field.as_bytes()).is_none()
    {
        return Err(Refusal::HostInvalid);
    }
    match parts.uri.authority() {
        Some(authority) if parse_authority(authority.as_str().as_bytes()).is_some() => {
            HeaderValue::try_from(authority.as_str()).map_err(|_| Refusal::HostInvalid)
        }
        Some(_) => Err(Refusal::HostInvalid),
        None => match field {
            Some(field) => Ok(field.clone()),
            None => HeaderValue::try_from(local.to_string()).map_err(|_| Refusal::HostInvalid),
        },
    }
}

fn within_body_size(headers: &HeaderMap, limit: Option<u64>) -> Result<(), Refusal> {
    let Some(limit) = limit else { return Ok(()) };
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) { Err(Refusal::BodyTooLarge) } else { Ok(()) }
}

/// RFC 9110 section 10.1.1: any other expectation is answered with 417.
fn expects_continue(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut expects = false;
    for value in headers.get_all(EXPECT) {
        if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admitted(request: http::request::Builder) -> Result<String, Refusal> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let local = "127.0.0.1:8080".parse().unwrap();
        let limits = Limits { body_size: Some(10), header_count: 4, target_size: 200, ..Limits::default() };
        admit(&parts, &limits, local).map(|admitted| admitted.host.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_request_has_one_valid_host() {
        let get = |uri: &str| Request::get(uri).version(Version::HTTP_11);
        for (request, host) in [
            (get("/").header(HOST, "a.example"), Ok("a.example")),
            (get("/").header(HOST, "[2001:db8::1]:8080"), Ok("[2001:db8::1]:8080")),
            (get("http://b.example:81/x").header(HOST, "a.example"), Ok("b.example:81")),
            (get("/").version(Version::HTTP_10), Ok("127.0.0.1:8080")),
            (get("/"), Err(Refusal::HostMissing)),
            (get("http://b.example/"), Err(Refusal::HostMissing)),
            (get("/").header(HOST, "a").header(HOST, "a"), Err(Refusal::HostSeveral)),
            (get("/").header(HOST, ""), Err(Refusal::HostInvalid)),
            (get("/").header(HOST, "a b"), Err(Refusal::HostInvalid)),
            (get("/").header(HOST, "a:99999"), Err(Refusal::HostInvalid)),
            (get("/").header(HOST, "u@a"), Err(Refusal::HostInvalid)),
            (get("/").header(HOST, "a,b"), Err(Refusal::HostInvalid)),
            (get("http://u:p@b.example/").header(HOST, "a"), Err(Refusal::HostInvalid)),
        ] {
            let shown = format!("{request:?}");
            assert_eq!(admitted(request), host.map(str::to_owned), "{shown}");
        }
    }

    #[test]
    fn a_request_in_frames_has_one_authority_and_is_held_to_the_same_limits() {
        let get = |uri: &str| Request::get(uri).version(Version::HTTP_2);
        let long = format!("https://a/{}", "x".repeat(200));
        for (request, host) in [
            (get("https://a.example/"), Ok("a.example")),
            (get("https://a.example/").header(HOST, "A.example"), Ok("a.example")),
            (get("https://a.example/").header(HOST, "b.example"), Err(Refusal::HostDiffers)),
            (get("/").header(HOST, "b.example"), Ok("b.example")),
            (get("/").header(HOST, "b").header(HOST, "b"), Err(Refusal::HostSeveral)),
            (get("/"), Err(Refusal::HostMissing)),
            (get("https://u:p@a.example/"), Err(Refusal::HostInvalid)),
            (get("ftp://a.example/"), Err(Refusal::Target)),
            (get("*").header(HOST, "a"), Err(Refusal::Target)),
            (get("*").method("OPTIONS").header(HOST, "a"), Ok("a")),
            (get(&long), Err(Refusal::TargetTooLong)),
            (get("https://a/").header("x", "1").header("x", "2").header("y", "1").header("z", "1"), Ok("a")),
            (
                (0..5).fold(get("https://a/"), |request, _| request.header("x", "1")),
                Err(Refusal::TooManyFields),
            ),
            ((0..9).fold(get("https://a/"), |request, _| request.header(COOKIE, "a=b")), Ok("a")),
            (get("https://a/").header(CONTENT_LENGTH, "5"), Ok("a")),
            (get("https://a/").header(CONTENT_LENGTH, "5").header(CONTENT_LENGTH, "5"), Ok("a")),
            (
                get("https://a/").header(CONTENT_LENGTH, "5").header(CONTENT_LENGTH, "6"),
                Err(Refusal::ContentLength),
            ),
            (get("https://a/").header(CONTENT_LENGTH, "+5"), Err(Refusal::ContentLength)),
            (get("https://a/").method("CONNECT"), Err(Refusal::Method)),
        ] {
            let shown = format!("{request:?}");
            assert_eq!(admitted(request), host.map(str::to_owned), "{shown}");
        }
    }

    #[test]
    fn other_refusals() {
        let post = || Request::post("/").version(Version::HTTP_11).header(HOST, "a");
        for (request, refusal) in [
            (post().method("TRACE"), Some(Refusal::Method)),
            (post().header(EXPECT, "100-Continue"), None),
            (post().header(EXPECT, "200-maybe"), Some(Refusal::Expectation)),
            (post().header(CONTENT_LENGTH, "10"), None),
            (post().header(CONTENT_LENGTH, "11"), Some(Refusal::BodyTooLarge)),
        ] {
            let shown = format!("{request:?}");
            assert_eq!(admitted(request).err(), refusal, "{shown}");
        }
    }
}
