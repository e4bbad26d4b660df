//! The dashboard, embedded from `web/dist` when it was built; without it, one line says where the API is.
//!
//! The pages are static: everything they show comes from the public API with the reader's own key. A path that is
//! neither the API's nor a file is the application's own route and gets its `index.html`.

use super::no_such_path;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dashboard;

/// Nothing from elsewhere, nothing inline, nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(super) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    // Programs ask there, and get no page for an answer.
    let is_api = matches!(path.split('/').next(), Some("v1" | "internal"));
    if is_api || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return no_such_path(request).await;
    }
    if let Some(file) = Dashboard::get(path).filter(|_| !path.is_empty()) {
        // Built files under assets/ carry their hash in their name.
        let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
        return page(file, caching);
    }
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match Dashboard::get("index.html") {
        Some(file) if !is_file => page(file, "no-cache"),
        None if path.is_empty() => {
            "EnvForge is running. The API is under /v1, described by /v1/openapi.json; `envforge up` is the way in.\n\
             The dashboard is not built into this binary: `npm ci && npm run build` in web/, then build again.\n"
                .into_response()
        }
        _ => no_such_path(request).await,
    }
}

fn page(file: rust_embed::EmbeddedFile, caching: &'static str) -> Response {
    let kind = HeaderValue::try_from(file.metadata.mimetype()).unwrap_or(HeaderValue::from_static("text/plain"));
    let mut response = file.data.into_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
