//! The OpenAPI document, from the types and handlers themselves.
//!
//! `api` serves it at `/api/v1/openapi.json`. It must never promise what a handler doesn't keep: every status that an
//! operation may answer is written beside it.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, openapi};

use super::operations;
use super::types::{Sample, SampleLine};
use crate::control::command::Refused;
use crate::control::record::Record;

/// The document as JSON.
pub(super) fn document() -> String {
    Document::openapi().to_json().expect("a document of names and texts is JSON")
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Crossfade's admin API",
        description = "Steers a running crossfade. On the unix socket `admin.sock` of its state directory the \
                       file's permissions are the key; over TCP (`server.admin`) a bearer token is. Every error has \
                       a `Refused` as its body."
    ),
    paths(
        operations::status,
        operations::history,
        operations::diff,
        operations::config,
        operations::series,
        operations::events,
        operations::commands,
        operations::openapi
    ),
    components(schemas(Record, Refused, Sample, SampleLine)),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Document;

/// What every operation that needs a key may answer.
pub(super) struct Locked;

impl IntoResponses for Locked {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = Open::responses();
        responses.extend(refusals(&[
            ("401", "No token, or a wrong one."),
            ("429", "Too many wrong tokens, or event streams: `Retry-After` says how long to wait."),
        ]));
        responses
    }
}

/// What every operation may answer.
pub(super) struct Open;

impl IntoResponses for Open {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[
            ("403", "Another site's page asks, or the host isn't known."),
            ("405", "The path takes another method: `Allow` says which."),
        ])
    }
}

fn refusals(all: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let response = |(status, description): &(&str, &str)| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refused"))).build();
        let response = ResponseBuilder::new().description(*description).content("application/json", body);
        ((*status).to_owned(), response.build().into())
    };
    all.iter().map(response).collect()
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}
