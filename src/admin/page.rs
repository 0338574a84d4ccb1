//! The dashboard: one page, in the program itself, that may load nothing and run nothing but what is in it.
//!
//! `api` serves it at `/`. It must never need an exception of its policy: what is in the page is allowed by its hash.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const PAGE: &str = include_str!("dashboard/index.html");

/// The page with its policy.
#[derive(Debug)]
pub(super) struct Page {
    policy: String,
}

impl Page {
    /// The one that is in the program.
    pub(super) fn new() -> Self {
        Self { policy: policy(PAGE) }
    }

    /// It as an answer.
    pub(super) fn answer(&self) -> Response {
        let policy = self.policy.clone();
        ([(CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (CONTENT_SECURITY_POLICY, policy)], PAGE)
            .into_response()
    }
}

fn policy(page: &str) -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        sources(page, "script"),
        sources(page, "style")
    )
}

/// The hashes of all inline elements of this name.
fn sources(page: &str, name: &str) -> String {
    let hashes: Vec<String> = inside(page, name)
        .map(|text| format!("'sha256-{}'", base64(digest(&SHA256, text.as_bytes()).as_ref())))
        .collect();
    if hashes.is_empty() { "'none'".to_owned() } else { hashes.join(" ") }
}

/// What stands between `<name …>` and `</name>`, each time.
fn inside<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let (_, tag) = rest.split_once(&begin)?;
            rest = tag;
            // `<styled>` is another element.
            if tag.starts_with(['>', ' ', '\n']) {
                let (_, text) = tag.split_once('>')?;
                let (text, behind) = text.split_once(&end)?;
                rest = behind;
                return Some(text);
            }
        }
    })
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn what_is_in_the_page_is_allowed_by_its_hash_alone() {
        let page =
            "<style>a</style><styled>b</styled><script type=\"module\">alert(1)</script><script>\n</script>";
        assert_eq!(inside(page, "style").collect::<Vec<_>>(), ["a"]);
        assert_eq!(inside(page, "script").collect::<Vec<_>>(), ["alert(1)", "\n"]);
        // As `printf a | openssl dgst -sha256 -binary | base64` says.
        let hash = "'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='";
        assert!(policy(page).contains(&format!("style-src {hash};")), "{}", policy(page));
        assert!(policy("").starts_with("default-src 'none'; script-src 'none'; style-src 'none'; "));
    }

    #[test]
    fn the_page_asks_nobody_else_for_anything() {
        let policy = policy(PAGE);
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(policy.matches("'sha256-").count(), 2, "one style, one script: {policy}");
        for foreign in [" src=\"http", "@import", "url(http", "style=\"", " onclick=", " onload="] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
