//! Pure: whether an answer is a platform's own error page, by its status and fields alone.
//!
//! `proxy::verdict` asks it for answers that are errors. It must never take an app's own 503 for the platform's: what
//! isn't certain is the app's.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, SERVER, VIA};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::config::model::Platform;

/// Whether `platform` has answered in place of the app behind it.
pub fn is_own_page(platform: Platform, status: StatusCode, headers: &HeaderMap) -> bool {
    match platform {
        Platform::Generic => false,
        Platform::Heroku => is_of_heroku(status, headers),
        Platform::Fly => is_of_fly(status, headers),
        Platform::Alb => is_of_alb(status, headers),
    }
}

/// The router names itself as the server and sends HTML. What an app says carries the router's `Via`; its own pages
/// don't.
fn is_of_heroku(status: StatusCode, headers: &HeaderMap) -> bool {
    // 421 and 495: a wrong name in `Host` or SNI.
    let said = matches!(status.as_u16(), 421 | 495 | 502 | 503 | 504);
    let router = |via: &str| via.contains("heroku-router") || via.contains("vegur");
    let of_app = headers.get_all(VIA).iter().any(|via| via.to_str().is_ok_and(router));
    said && !of_app && is_html(headers) && matches!(text(headers, SERVER), "Heroku" | "Cowboy")
}

/// Every answer names Fly as the server. Its own say nothing else: not even a type. An app could say as little with
/// a 503, but for the date.
fn is_of_fly(status: StatusCode, headers: &HeaderMap) -> bool {
    let said = match status.as_u16() {
        502 => true,
        503 => !headers.contains_key(DATE),
        _ => false,
    };
    let of_proxy = |name: &HeaderName| {
        let fields =
            ["server", "via", "fly-request-id", "date", "content-length", "connection", "keep-alive"];
        fields.contains(&name.as_str()) || name == "transfer-encoding"
    };
    let bare = headers.keys().all(of_proxy) && matches!(text(headers, CONTENT_LENGTH), "" | "0");
    said && bare && headers.contains_key("fly-request-id") && text(headers, SERVER).starts_with("Fly/")
}

/// The load balancer leaves an app's `Server` as it is, and names itself only in its own pages.
fn is_of_alb(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status.as_u16(), 502..=504) && is_html(headers) && text(headers, SERVER) == "awselb/2.0"
}

fn is_html(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE).starts_with("text/html")
}

/// The one value of a field; nothing where there are several.
fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    let mut lines = headers.get_all(name).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    only.and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_own(platform: Platform, status: u16, fields: &str) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields.split(" ⏎ ") {
            let (name, value) = field.split_once(": ").unwrap();
            let name = HeaderName::try_from(name.to_owned()).unwrap();
            headers.append(name, HeaderValue::try_from(value.to_owned()).unwrap());
        }
        is_own_page(platform, StatusCode::from_u16(status).unwrap(), &headers)
    }

    const HEROKU: &str = "server: Cowboy ⏎ date: Mon ⏎ content-length: 506 ⏎ content-type: text/html; charset=utf-8 ⏎ \
                          cache-control: no-cache, no-store";
    const HEROKU_2: &str =
        "server: Heroku ⏎ content-type: text/html; charset=utf-8 ⏎ nel: {\"report_to\":\"heroku-nel\"}";
    const FLY: &str = "server: Fly/4b9f0919f (2026-09-15) ⏎ via: 1.1 fly.io ⏎ fly-request-id: 01M-fra";
    const ALB: &str =
        "server: awselb/2.0 ⏎ content-type: text/html ⏎ content-length: 118 ⏎ connection: keep-alive";

    #[test]
    fn platforms_are_known_by_what_they_say() {
        for status in [421, 495, 502, 503, 504] {
            assert!(is_own(Platform::Heroku, status, HEROKU) && is_own(Platform::Heroku, status, HEROKU_2));
        }
        for status in [502, 503, 504] {
            assert!(is_own(Platform::Alb, status, ALB));
        }
        for status in [502, 503] {
            assert!(is_own(Platform::Fly, status, FLY));
            assert!(is_own(Platform::Fly, status, &format!("{FLY} ⏎ content-length: 0")));
        }
        assert!(is_own(Platform::Fly, 502, &format!("{FLY} ⏎ date: Mon")));
    }

    #[test]
    fn what_an_app_says_is_the_apps() {
        let with = |fields: &str, more: &str| format!("{fields} ⏎ {more}");
        for (platform, status, fields) in [
            // The app's 503, as the routers pass it on.
            (Platform::Heroku, 503, with(HEROKU, "via: 1.1 vegur")),
            (Platform::Heroku, 503, with(HEROKU_2, "via: 1.1 heroku-router")),
            (Platform::Heroku, 503, with(HEROKU_2, "via: 1.1 varnish, 2.0 heroku-router")),
            (Platform::Heroku, 503, "server: gunicorn ⏎ content-type: text/html".to_owned()),
            (Platform::Heroku, 503, "server: Heroku ⏎ content-type: application/json".to_owned()),
            (Platform::Heroku, 503, with(HEROKU, "server: gunicorn")),
            (Platform::Heroku, 500, HEROKU.to_owned()),
            (Platform::Heroku, 404, HEROKU.to_owned()),
            (Platform::Fly, 503, with(FLY, "content-type: text/html")),
            (Platform::Fly, 503, with(FLY, "x-runtime: 0.01")),
            (Platform::Fly, 503, with(FLY, "retry-after: 5")),
            (Platform::Fly, 503, with(FLY, "content-length: 12")),
            (Platform::Fly, 503, with(FLY, "date: Mon")),
            (Platform::Fly, 500, FLY.to_owned()),
            (Platform::Fly, 503, "server: nginx ⏎ fly-request-id: 01M-fra".to_owned()),
            (Platform::Alb, 503, "server: nginx ⏎ content-type: text/html".to_owned()),
            (Platform::Alb, 503, "server: awselb/2.0 ⏎ content-type: application/json".to_owned()),
            (Platform::Alb, 500, ALB.to_owned()),
            // Nor is another platform's page, nor any of a backend of which nothing is said.
            (Platform::Fly, 503, HEROKU.to_owned()),
            (Platform::Generic, 503, HEROKU.to_owned()),
            (Platform::Generic, 502, FLY.to_owned()),
            (Platform::Generic, 503, ALB.to_owned()),
        ] {
            assert!(!is_own(platform, status, &fields), "{platform:?} {status}: {fields}");
        }
    }
}
