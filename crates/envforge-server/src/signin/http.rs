//! `/sign-in…` and `/sign-out`, pages for browsers; `/v1/sign-in/…` for programs.

use super::ops::{self, Callback, SignedIn};
use crate::accounts::Identity;
use crate::app::App;
use crate::platform::fault::{Answer, Fault};
use crate::platform::http::auth::{cookie, is_own_page, session_token};
use crate::platform::http::cards;
use crate::platform::http::extract::Json;
use crate::platform::http::source::Source;
use crate::sessions::{self, session_cookie, set_cookie};
use axum::Router;
use axum::extract::{Form, OriginalUri, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use envforge_api::http::ErrorBody;
use envforge_api::http::sign_in::{MailUnderWay, SignInByMail, SignInProviders};
use envforge_core::entry::OPEN_PATH;
use envforge_core::login::{ATTEMPT, in_query, return_path};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::token::digest;
use maud::html;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The cookie that binds a sign-in to the browser that began it.
const ATTEMPT_COOKIE: &str = "envforge-attempt";

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(providers)).routes(routes!(by_mail))
}

/// The pages.
pub(crate) fn pages() -> Router<App> {
    Router::new()
        .route("/sign-in", get(sign_in))
        .route("/sign-in/mail", get(mail_card).post(mail_form))
        .route("/sign-in/mail/open", post(mail_open))
        .route("/sign-in/key", post(key_form))
        .route("/sign-in/{provider}/start", get(start))
        .route("/sign-in/{provider}/callback", get(callback))
        .route("/sign-in/{provider}/logout", post(logged_out))
        .route("/sign-out", get(sign_out_card).post(sign_out))
}

/// How one may sign in here.
#[utoipa::path(get, path = "/v1/sign-in/providers", tag = "sign-in", security(()),
    responses((status = 200, body = SignInProviders), (status = "default", body = ErrorBody)))]
async fn providers(State(app): State<App>) -> Json<SignInProviders> {
    Json(ops::providers(&app))
}

/// Send a link to sign in with, if the address may; the answer is the same either way.
#[utoipa::path(post, path = "/v1/sign-in/mail", tag = "sign-in", security(()), request_body = SignInByMail,
    responses((status = 202, body = MailUnderWay), (status = "default", body = ErrorBody)))]
async fn by_mail(
    State(app): State<App>,
    source: Source,
    Json(body): Json<SignInByMail>,
) -> Answer<(StatusCode, Json<MailUnderWay>)> {
    ops::ask_for_link(&app, &body.address, body.return_to.as_deref(), &source.0).await?;
    Ok((StatusCode::ACCEPTED, Json(MailUnderWay { message: UNDER_WAY.to_owned() })))
}

const UNDER_WAY: &str = "If this address can sign in here, a mail with a link is under way. It works for 15 minutes.";

/// Pages answer with pages.
pub(crate) fn shown(answer: Answer<Response>) -> Response {
    answer.unwrap_or_else(|fault| cards::refused(&fault.into_refusal()))
}

/// Leads on, with cookies.
pub(crate) fn see_other(place: &str, cookies: &[String]) -> Answer<Response> {
    let place = HeaderValue::try_from(place).map_err(|error| anyhow::anyhow!("a place to go is none: {error}"))?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_cookies(&mut response, cookies)?;
    Ok(response)
}

fn signed_in(app: &App, done: &SignedIn, further: &[String]) -> Answer<Response> {
    let mut cookies = vec![session_cookie(&app.config.public_url, done.token.expose())];
    cookies.extend_from_slice(further);
    let place = return_path(Some(&done.return_to));
    if place.starts_with(OPEN_PATH) { onward(place, &cookies) } else { see_other(place, &cookies) }
}

/// Leads on by a page of its own. Browsers apply the policy of the page with a form to every redirect that follows it, the
/// provider's policy too; where this leads, the next redirect leaves for a dev host.
fn onward(place: &str, cookies: &[String]) -> Answer<Response> {
    let content = html! { a.button href=(place) { "Go on" } };
    let mut response = cards::page(StatusCode::OK, "Signed in", &content, &[]);
    let refresh = HeaderValue::try_from(format!("0; url={place}")).map_err(anyhow::Error::new)?;
    response.headers_mut().insert(header::REFRESH, refresh);
    set_cookies(&mut response, cookies)?;
    Ok(response)
}

fn set_cookies(response: &mut Response, cookies: &[String]) -> Answer<()> {
    for cookie in cookies {
        let cookie = HeaderValue::try_from(cookie).map_err(|error| anyhow::anyhow!("a cookie is none: {error}"))?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(())
}

fn attempt_cookie_name(app: &App) -> String {
    let prefix = if app.config.public_url.starts_with("https://") { "__Host-" } else { "" };
    format!("{prefix}{ATTEMPT_COOKIE}")
}

fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A form's sender is a page of ours: nobody is signed in, or out, by a page from elsewhere.
fn check_form(headers: &HeaderMap, app: &App) -> Answer<()> {
    if is_own_page(headers, app) {
        return Ok(());
    }
    let message = "this form was sent by a page from elsewhere, or by a browser that does not say";
    Err(Refusal::new(RefusalKind::Forbidden, "access.csrf", message).into())
}

#[derive(Deserialize)]
struct Wanted {
    return_to: Option<String>,
    /// Adds the identity to the account of whoever is signed in.
    #[serde(default)]
    add: bool,
}

async fn sign_in(State(app): State<App>, Query(wanted): Query<Wanted>) -> Response {
    let ways = ops::providers(&app);
    let return_to = return_path(wanted.return_to.as_deref());
    let query = in_query(return_to);
    let content = html! {
        @for way in &ways.providers {
            a.button href=(format!("{}?return_to={query}", way.start)) { "Continue with " (way.title) }
        }
        @if ways.mail {
            form method="post" action="/sign-in/mail" {
                label for="address" { "Mail address" }
                input #address type="email" name="address" autocomplete="email" required maxlength="254";
                input type="hidden" name="return_to" value=(return_to);
                button.plain type="submit" { "Send me a link" }
            }
        }
        details open[ways.providers.is_empty() && !ways.mail] {
            summary { "With an API key" }
            form method="post" action="/sign-in/key" {
                label for="key" { "API key" }
                input #key type="password" name="key" autocomplete="off" required maxlength="200";
                input type="hidden" name="return_to" value=(return_to);
                button.plain type="submit" { "Sign in" }
            }
        }
    };
    cards::page(StatusCode::OK, "Sign in", &content, &[])
}

async fn start(
    State(app): State<App>,
    Path(provider): Path<String>,
    Query(wanted): Query<Wanted>,
    OriginalUri(uri): OriginalUri,
    source: Source,
    headers: HeaderMap,
) -> Response {
    let begin = async || {
        // The provider brings people back to the public name, and cookies of another name stay there.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if host != app.config.public_url.split("://").nth(1) {
            return see_other(&format!("{}{uri}", app.config.public_url), &[]);
        }
        let adds_to = match session_token(&headers, &app).filter(|_| wanted.add) {
            Some(token) => sessions::ops::authenticate(&app, token).await?.map(|identity| identity.user),
            None => None,
        };
        if wanted.add && (adds_to.is_none() || !is_own_page(&headers, &app)) {
            let message = "sign in first, and add the identity from there";
            return Err(Refusal::new(RefusalKind::Unauthenticated, "access.unauthenticated", message).into());
        }
        let leaving = ops::leave(&app, &provider, wanted.return_to.as_deref(), adds_to, &source.0).await?;
        let name = attempt_cookie_name(&app);
        let cookie = set_cookie(&app.config.public_url, &name, leaving.browser.expose(), ATTEMPT.as_secs());
        see_other(&leaving.url, &[cookie])
    };
    shown(begin().await)
}

async fn callback(
    State(app): State<App>,
    Path(provider): Path<String>,
    Query(callback): Query<Callback>,
    headers: HeaderMap,
) -> Response {
    let finish = async || {
        let name = attempt_cookie_name(&app);
        let browser = cookie(&headers, &name);
        let done = ops::come_back(&app, &provider, &callback, browser, user_agent(&headers)).await?;
        signed_in(&app, &done, &[set_cookie(&app.config.public_url, &name, "", 0)])
    };
    shown(finish().await)
}

#[derive(Deserialize)]
struct LogoutForm {
    logout_token: String,
}

/// Back-channel logout: the provider itself asks.
async fn logged_out(State(app): State<App>, Path(provider): Path<String>, Form(form): Form<LogoutForm>) -> Response {
    let mut response = match ops::signed_out_elsewhere(&app, &provider, &form.logout_token).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => fault.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Deserialize)]
struct MailForm {
    address: String,
    return_to: Option<String>,
}

async fn mail_form(State(app): State<App>, source: Source, headers: HeaderMap, Form(form): Form<MailForm>) -> Response {
    let send = async || {
        check_form(&headers, &app)?;
        let address = form.address.parse().map_err(|error: envforge_core::email::EmailError| {
            Refusal::invalid("sign_in.address", error.to_string())
        })?;
        ops::ask_for_link(&app, &address, form.return_to.as_deref(), &source.0).await?;
        Ok(cards::page(StatusCode::ACCEPTED, "Look into your mail", &html! { p { (UNDER_WAY) } }, &[]))
    };
    shown(send().await)
}

#[derive(Deserialize)]
struct MailToken {
    #[serde(default)]
    token: String,
}

/// The card of a link in a mail, the same for good and bad ones: whoever scans mail has opened nothing.
async fn mail_card(Query(query): Query<MailToken>) -> Response {
    let content = html! {
        p { "One step left: this link signs you in once, in this browser." }
        form method="post" action="/sign-in/mail/open" {
            input type="hidden" name="token" value=(query.token);
            button type="submit" autofocus { "Sign in" }
        }
    };
    cards::page(StatusCode::OK, "Sign in to EnvForge", &content, &[])
}

async fn mail_open(State(app): State<App>, headers: HeaderMap, Form(form): Form<MailToken>) -> Response {
    let open = async || {
        check_form(&headers, &app)?;
        let done = ops::open_link(&app, &form.token, user_agent(&headers)).await?;
        signed_in(&app, &done, &[])
    };
    shown(open().await)
}

#[derive(Deserialize)]
struct KeyForm {
    key: String,
    return_to: Option<String>,
}

async fn key_form(State(app): State<App>, headers: HeaderMap, Form(form): Form<KeyForm>) -> Response {
    let open = async || {
        check_form(&headers, &app)?;
        let done = ops::with_key(&app, &form.key, form.return_to.as_deref(), user_agent(&headers)).await?;
        signed_in(&app, &done, &[])
    };
    shown(open().await)
}

/// What a page of a session sends with its forms: nobody without the cookie can make it.
pub(crate) fn form_token(session: &str) -> String {
    digest(&format!("form {session}"))
}

/// Who is signed in with this browser, with the session's token.
pub(crate) async fn reader<'a>(app: &App, headers: &'a HeaderMap) -> Answer<Option<(Identity, &'a str)>> {
    let Some(token) = session_token(headers, app) else { return Ok(None) };
    Ok(sessions::ops::authenticate(app, token).await?.map(|identity| (identity, token)))
}

/// Nobody is signed in: the page to sign in on, which leads back.
pub(crate) fn to_sign_in(return_to: &str) -> Answer<Response> {
    see_other(&format!("/sign-in?return_to={}", in_query(return_to)), &[])
}

async fn sign_out_card(State(app): State<App>, headers: HeaderMap) -> Response {
    let Some(session) = session_token(&headers, &app) else { return shown(to_sign_in("/")) };
    let content = html! {
        form method="post" action="/sign-out" {
            input type="hidden" name="form_token" value=(form_token(session));
            button type="submit" { "Sign out" }
        }
    };
    // Browsers apply the policy to where the form is redirected, too.
    cards::page(StatusCode::OK, "Sign out of EnvForge", &content, &ops::sign_out_origins(&app).await)
}

#[derive(Deserialize)]
pub(crate) struct SessionForm {
    #[serde(default)]
    pub(crate) form_token: String,
}

/// Whether a form comes from a page of this session.
pub(crate) fn check_session_form(headers: &HeaderMap, app: &App, session: &str, form_token: &str) -> Result<(), Fault> {
    use subtle::ConstantTimeEq as _;
    check_form(headers, app)?;
    if self::form_token(session).as_bytes().ct_eq(form_token.as_bytes()).into() {
        return Ok(());
    }
    Err(Refusal::new(RefusalKind::Forbidden, "access.csrf", "this form is of another session").into())
}

async fn sign_out(State(app): State<App>, headers: HeaderMap, Form(form): Form<SessionForm>) -> Response {
    let end = async || {
        let Some(session) = session_token(&headers, &app) else { return to_sign_in("/") };
        check_session_form(&headers, &app, session, &form.form_token)?;
        let elsewhere = ops::sign_out(&app, session).await?;
        let place = elsewhere.unwrap_or_else(|| "/sign-in".to_owned());
        see_other(&place, &[session_cookie(&app.config.public_url, "")])
    };
    shown(end().await)
}
