//! `GET /open/<label>`: from a dev host to whoever is signed in here, and back.

use super::ops;
use crate::app::App;
use crate::signin::http::{reader, see_other, shown, to_sign_in};
use axum::Router;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use envforge_core::entry::{OPEN_PATH, destination, is_state};
use envforge_core::login::in_query;
use envforge_core::refusal::Refusal;
use serde::Deserialize;

/// The pages.
pub(crate) fn pages() -> Router<App> {
    Router::new().route(&format!("{OPEN_PATH}{{label}}"), get(open))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    state: String,
    to: Option<String>,
}

async fn open(
    State(app): State<App>,
    Path(label): Path<String>,
    Query(wanted): Query<Wanted>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let enter = async || {
        if !is_state(&wanted.state) {
            let message = "this is not how a preview asks who you are";
            return Err(Refusal::invalid("dev_host.request", message).hint("sign in from the preview").into());
        }
        let Some((identity, _)) = reader(&app, &headers).await? else { return to_sign_in(&uri.to_string()) };
        let code = ops::code(&app, &identity, &label, &wanted.state).await?;
        let to = in_query(destination(wanted.to.as_deref()));
        let place = format!("{}/.envforge/enter?code={code}&to={to}", app.config.dev_url(&label));
        let mut response = see_other(&place, &[])?;
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(response)
    };
    shown(enter().await)
}
