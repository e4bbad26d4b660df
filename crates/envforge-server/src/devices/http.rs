//! `/v1/device/…` and `/v1/sign-in/loopback` for programs; `/device` and `/sign-in/loopback`, where people decide.

use super::ops;
use crate::accounts::Identity;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Caller;
use crate::platform::http::cards;
use crate::platform::http::extract::Json;
use crate::platform::http::source::Source;
use crate::signin::http::{check_session_form, form_token, reader, shown, to_sign_in};
use axum::Router;
use axum::extract::{Form, OriginalUri, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use envforge_api::http::ErrorBody;
use envforge_api::http::sign_in::{DecideDevice, DeviceStarted, MachineKey, RedeemDevice, RedeemLoopback, StartDevice};
use envforge_core::login::Decision;
use envforge_core::refusal::Refusal;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(redeem))
        .routes(routes!(decide))
        .routes(routes!(redeem_loopback))
}

/// The pages.
pub(crate) fn pages() -> Router<App> {
    Router::new()
        .route("/device", get(device_card).post(device_form))
        .route("/sign-in/loopback", get(loopback_card).post(loopback_form))
}

/// Begin to sign a machine in that has no browser.
#[utoipa::path(post, path = "/v1/device/code", tag = "devices", security(()), request_body = StartDevice,
    responses((status = 200, body = DeviceStarted), (status = "default", body = ErrorBody)))]
async fn start(State(app): State<App>, source: Source, Json(body): Json<StartDevice>) -> Answer<Json<DeviceStarted>> {
    Ok(Json(ops::start(&app, &body.machine, &source.0).await?))
}

/// Poll for the machine's key. Refused with a code of RFC 8628 behind `device.` until somebody decided.
#[utoipa::path(post, path = "/v1/device/token", tag = "devices", security(()), request_body = RedeemDevice,
    responses((status = 200, body = MachineKey), (status = "default", body = ErrorBody)))]
async fn redeem(State(app): State<App>, Json(body): Json<RedeemDevice>) -> Answer<Json<MachineKey>> {
    Ok(Json(ops::redeem(&app, &body.device_code).await?))
}

/// Decide about a machine that waits.
#[utoipa::path(post, path = "/v1/device/decision", tag = "devices", request_body = DecideDevice,
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn decide(
    State(app): State<App>,
    Caller(identity): Caller,
    Json(body): Json<DecideDevice>,
) -> Answer<StatusCode> {
    ops::decide(&app, &identity, &body.user_code, decision(body.approve)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Redeem the code that a browser brought to a program on its own machine.
#[utoipa::path(post, path = "/v1/device/loopback", tag = "devices", security(()), request_body = RedeemLoopback,
    responses((status = 200, body = MachineKey), (status = "default", body = ErrorBody)))]
async fn redeem_loopback(State(app): State<App>, Json(body): Json<RedeemLoopback>) -> Answer<Json<MachineKey>> {
    Ok(Json(ops::redeem_loopback(&app, &body.code, &body.code_verifier).await?))
}

const fn decision(approve: bool) -> Decision {
    if approve { Decision::Approved } else { Decision::Denied }
}

/// Who asks, and two buttons.
fn question(identity: &Identity, machine: &str, more: &Markup, hidden: &Markup) -> Markup {
    html! {
        p {
            strong { (machine) } " wants to act as you, " strong { (identity.name) }
            ", with an API key for 30 days. Allow it only if you started this yourself, just now."
        }
        (more)
        form method="post" {
            (hidden)
            button type="submit" name="approve" value="true" { "Allow" }
            button.plain type="submit" name="approve" value="false" { "Don’t allow" }
        }
    }
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    user_code: String,
}

async fn device_card(
    State(app): State<App>,
    Query(query): Query<Code>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let show = async || {
        let Some((identity, session)) = reader(&app, &headers).await? else { return to_sign_in(&uri.to_string()) };
        if query.user_code.is_empty() {
            let content = html! {
                form method="get" {
                    label for="user_code" { "The code your machine shows" }
                    input #user_code name="user_code" autocomplete="off" autocapitalize="characters" required maxlength="20";
                    button type="submit" { "Go on" }
                }
            };
            return Ok(cards::page(StatusCode::OK, "Sign a machine in", &content, &[]));
        }
        let machine = ops::waiting(&app, &query.user_code).await?;
        let compare = html! {
            p { "Compare the code with the one it shows:" }
            p.code { code { (query.user_code.to_uppercase()) } }
        };
        let hidden = html! {
            input type="hidden" name="user_code" value=(query.user_code);
            input type="hidden" name="form_token" value=(form_token(session));
        };
        let content = question(&identity, &machine, &compare, &hidden);
        Ok(cards::page(StatusCode::OK, "Sign a machine in?", &content, &[]))
    };
    shown(show().await)
}

#[derive(Deserialize)]
struct DeviceForm {
    user_code: String,
    form_token: String,
    approve: bool,
}

async fn device_form(State(app): State<App>, headers: HeaderMap, Form(form): Form<DeviceForm>) -> Response {
    let decide = async || {
        let Some((identity, session)) = reader(&app, &headers).await? else { return to_sign_in("/device") };
        check_session_form(&headers, &app, session, &form.form_token)?;
        ops::decide(&app, &identity, &form.user_code, decision(form.approve)).await?;
        let (title, text) = if form.approve {
            ("Signed in", "Go back to your machine; it goes on within seconds. You can close this page.")
        } else {
            ("Not signed in", "The machine was told so. If you did not start this, somebody else tried.")
        };
        Ok(cards::page(StatusCode::OK, title, &html! { p { (text) } }, &[]))
    };
    shown(decide().await)
}

/// What a program on the browser's machine asks for.
#[derive(Deserialize)]
struct Loopback {
    /// Where it listens.
    port: u16,
    state: String,
    challenge: String,
    machine: String,
    #[serde(default)]
    form_token: String,
    #[serde(default)]
    approve: bool,
}

impl Loopback {
    /// Where the browser goes then: the loopback address by number, since a name might lead elsewhere (RFC 8252, 8.3).
    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn check(&self) -> Answer<()> {
        let is_state = (16..=128).contains(&self.state.len()) && self.state.bytes().all(|c| c.is_ascii_alphanumeric());
        if is_state && self.port >= 1024 {
            return Ok(());
        }
        Err(Refusal::invalid("device.request", "this is not how `envforge login` asks").into())
    }
}

async fn loopback_card(
    State(app): State<App>,
    Query(query): Query<Loopback>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    let show = async || {
        query.check()?;
        let Some((identity, session)) = reader(&app, &headers).await? else { return to_sign_in(&uri.to_string()) };
        let hidden = html! {
            input type="hidden" name="port" value=(query.port);
            input type="hidden" name="state" value=(query.state);
            input type="hidden" name="challenge" value=(query.challenge);
            input type="hidden" name="machine" value=(query.machine);
            input type="hidden" name="form_token" value=(form_token(session));
        };
        let content = question(&identity, &query.machine, &html! {}, &hidden);
        Ok(cards::page(StatusCode::OK, "Sign this machine in?", &content, &[query.origin()]))
    };
    shown(show().await)
}

async fn loopback_form(
    State(app): State<App>,
    source: Source,
    headers: HeaderMap,
    Form(form): Form<Loopback>,
) -> Response {
    let decide = async || {
        form.check()?;
        let Some((identity, session)) = reader(&app, &headers).await? else { return to_sign_in("/") };
        check_session_form(&headers, &app, session, &form.form_token)?;
        let answer = if form.approve {
            let code = ops::allow_loopback(&app, &identity, &form.machine, &form.challenge, &source.0).await?;
            format!("code={}", code.expose())
        } else {
            "error=access_denied".to_owned()
        };
        let place = format!("{}/?{answer}&state={}", form.origin(), form.state);
        let place = HeaderValue::try_from(place).map_err(|error| anyhow::anyhow!("a place to go is none: {error}"))?;
        let caching = HeaderValue::from_static("no-store");
        Ok((StatusCode::SEE_OTHER, [(header::LOCATION, place), (header::CACHE_CONTROL, caching)]).into_response())
    };
    shown(decide().await)
}
