//! Extractors that answer a broken request with a refusal of ours instead of axum's plain text.
//!
//! The refusal of a body says what is wrong where, and repeats nothing that was a value: it may be a secret in the wrong field.

use super::answer;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use envforge_core::refusal::Refusal;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// JSON in and out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

fn body_refusal(rejection: &JsonRejection) -> Response {
    let hint = "send JSON with `Content-Type: application/json`; the fields are in /v1/openapi.json";
    answer(Refusal::invalid("request.body", without_values(&rejection.body_text())).hint(hint))
}

/// What serde says of a value is followed by the value itself: `string "…"`, "unknown variant `…`".
fn without_values(text: &str) -> String {
    let mut out = text.to_owned();
    for (before, end) in [("string \"", '"'), ("character `", '`'), ("unknown variant `", '`')] {
        let Some(at) = out.find(before) else { continue };
        let from = at + before.len();
        // The value may hold the mark that ends it; what follows it is serde's own.
        let close = out[from..].rfind(&format!("{end}, expected")).unwrap_or(out.len() - from);
        let rest = out.split_off((from + close + 1).min(out.len()));
        out.truncate(from - 2);
        out.push_str(&rest);
    }
    out
}

/// A body is an object: serde would also take a list of a struct's fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match <axum::Json<Object<T>> as FromRequest<S>>::from_request(request, state).await {
            Ok(axum::Json(Object(value))) => Ok(Self(value)),
            Err(rejection) => Err(body_refusal(&rejection)),
        }
    }
}

/// A body that may be left out.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Response> {
        match <axum::Json<Object<T>> as OptionalFromRequest<S>>::from_request(request, state).await {
            Ok(value) => Ok(value.map(|axum::Json(Object(value))| Self(value))),
            Err(rejection) => Err(body_refusal(&rejection)),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Path parameters.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(path_refusal(&rejection)),
        }
    }
}

fn path_refusal(rejection: &PathRejection) -> Response {
    answer(Refusal::not_found("path.malformed", rejection.body_text()))
}

/// Query parameters.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(query_refusal(&rejection)),
        }
    }
}

fn query_refusal(rejection: &QueryRejection) -> Response {
    answer(Refusal::invalid("request.query", rejection.body_text()).hint("the parameters are in /v1/openapi.json"))
}

#[cfg(test)]
mod tests {
    use super::{Object, without_values};
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only read")]
        count: u8,
        #[expect(dead_code, reason = "only read")]
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
    }

    fn refused(body: &str) -> String {
        let error = serde_json::from_str::<Object<Order>>(body).err().expect("refused");
        without_values(&error.to_string())
    }

    // proves ORG-5
    #[test]
    fn a_refusal_says_what_is_wrong_and_repeats_no_value() {
        for (body, wanted) in [
            (r#"{"count":"s3cr\"et, expected","kind":"plain"}"#, "invalid type: string, expected u8 at line"),
            (r#"{"count":1,"kind":"s3cret"}"#, "unknown variant, expected `plain` at line"),
            (r#""s3cret""#, "invalid type: string, expected a JSON object at line"),
            (r#"[1,"plain"]"#, "invalid type: sequence, expected a JSON object at line"),
            (
                r#"{"count":1,"kind":"plain","cuont":"s3cret"}"#,
                "unknown field `cuont`, expected `count` or `kind` at line",
            ),
        ] {
            let said = refused(body);
            assert!(said.starts_with(wanted) && !said.contains("s3cr"), "{body}: {said}");
        }
    }
}
