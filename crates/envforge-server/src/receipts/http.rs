//! `GET …/receipts` of a workspace, one of them as JSON, CSV or a page, and those of an org's month.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::cards;
use crate::platform::http::extract::{Json, Path, Query};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use envforge_api::http::ErrorBody;
use envforge_api::http::receipts::{
    KeptReceipt, MonthQuery, MonthReceipts, ReceiptFormat, ReceiptQuery, Receipts, ReceiptsQuery,
};
use envforge_core::access::Action;
use envforge_core::id::UsageSessionId;
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::usage::receipt::Deed;
use envforge_core::usage::{SessionReceipt, format_money, receipts_csv};
use maud::{Markup, html};
use std::collections::BTreeMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receipts)).routes(routes!(receipt)).routes(routes!(month_receipts))
}

/// Receipts of a workspace, newest first.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/receipts", tag = "receipts", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"), ReceiptsQuery),
    responses((status = 200, body = Receipts), (status = "default", body = ErrorBody)))]
async fn receipts(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    Query(query): Query<ReceiptsQuery>,
) -> Answer<Json<Receipts>> {
    let (_, slug) = path;
    Ok(Json(ops::list(&app, &member.permit(Action::ViewUsage)?, &slug, &query).await?))
}

/// The receipt of a usage session: JSON, or with `format`, an ending (`.html`, `.csv`) or `Accept` as a page or CSV.
#[utoipa::path(get, path = "/v1/orgs/{org}/workspaces/{workspace}/receipts/{session}", tag = "receipts", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug"),
        ("session" = String, Path, description = "Usage session id"), ReceiptQuery),
    responses((status = 200, content((KeptReceipt = "application/json"), (String = "text/csv"), (String = "text/html"))),
        (status = "default", body = ErrorBody)))]
async fn receipt(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug, String)>,
    Query(query): Query<ReceiptQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = member.permit(Action::ViewUsage)?;
    let (_, slug, name) = path;
    let (session, ending) = match name.rsplit_once('.') {
        Some((session, "html")) => (session, Some(ReceiptFormat::Html)),
        Some((session, "csv")) => (session, Some(ReceiptFormat::Csv)),
        Some((session, "json")) => (session, Some(ReceiptFormat::Json)),
        _ => (name.as_str(), None),
    };
    let session: UsageSessionId = session
        .parse()
        .map_err(|_| Refusal::invalid("receipt.session", "a receipt is named by its usage session: us_…"))?;
    let kept = ops::show(&app, &permit, &slug, session).await?;
    Ok(match query.format.or(ending).unwrap_or_else(|| preferred(&headers)) {
        ReceiptFormat::Json => Json(kept).into_response(),
        ReceiptFormat::Csv => {
            let sha256 = kept.sha256.map(|hash| hash.to_string());
            csv(&receipts_csv([(&typed(&kept)?, sha256)]), &format!("receipt-{session}.csv"))
        }
        ReceiptFormat::Html => page(&typed(&kept)?, &kept),
    })
}

/// Final receipts of sessions that ended in a month, of the projects the reader sees; as CSV all at once.
#[utoipa::path(get, path = "/v1/orgs/{org}/receipts", tag = "receipts", security(("api_key" = ["usage.view"])),
    params(("org" = String, Path, description = "Org slug"), MonthQuery),
    responses((status = 200, content((MonthReceipts = "application/json"), (String = "text/csv"))), (status = "default", body = ErrorBody)))]
async fn month_receipts(
    State(app): State<App>,
    member: Member,
    Query(query): Query<MonthQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = member.permit(Action::ViewUsage)?;
    Ok(match query.format.unwrap_or_else(|| preferred(&headers)) {
        ReceiptFormat::Csv => {
            csv(&ops::month_csv(&app, &permit, query.month).await?, &format!("receipts-{}.csv", permit.org))
        }
        ReceiptFormat::Json | ReceiptFormat::Html => {
            Json(ops::month(&app, &permit, query.month, query.cursor.as_deref()).await?).into_response()
        }
    })
}

fn typed(kept: &KeptReceipt) -> Answer<SessionReceipt> {
    Ok(serde_json::from_value(kept.receipt.clone())?)
}

/// The first form that `Accept` names; JSON when it names none of ours.
fn preferred(headers: &HeaderMap) -> ReceiptFormat {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut kinds = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let known = |kind| match kind {
        "application/json" => Some(ReceiptFormat::Json),
        "text/csv" => Some(ReceiptFormat::Csv),
        "text/html" => Some(ReceiptFormat::Html),
        _ => None,
    };
    kinds.find_map(known).unwrap_or(ReceiptFormat::Json)
}

fn csv(text: &str, name: &str) -> Response {
    let mut response = text.to_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// What somebody is called, for an id in a text.
fn named(text: &str, names: &BTreeMap<String, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
}

/// The page for people; nothing of it is a script.
fn page(receipt: &SessionReceipt, kept: &KeptReceipt) -> Response {
    let (currency, names) = (&receipt.currency, &kept.names);
    let say = |text: &str| named(text, names);
    let content = html! {
        p {
            strong { (receipt.project) " / " (receipt.workspace_slug) } " (" (receipt.branch) "): "
            (receipt.awake_seconds) " s awake, " strong { (format_money(receipt.cost_micros, currency)) }
            @if !receipt.is_final { ". The session is still open: this is not final, and grows." }
        }
        @if let Some(opened) = &receipt.opened { p { "Opened by " (say(&opened.by)) " at " (opened.at) ": " (say(&opened.cause)) } }
        @if let Some(ended) = &receipt.ended { p { "Ended at " (ended.at) ": " (say(&ended.cause)) } }
        @if kept.is_intact == Some(false) { p.alert { strong { "This receipt is not the one whose hash the ledger has: it was changed." } } }
        @for uncertain in &receipt.uncertain { p.alert { (uncertain) } }
        h2 { "Awake windows" }
        table {
            thead { tr { th { "From" } th { "To" } th { "Size" } th { "Seconds" } th { "Cost" } th { "Woken by" } th { "Ended by" } } }
            tbody {
                @for window in &receipt.windows {
                    tr {
                        td { (window.opened_at) }
                        td { @match window.closed_at { Some(at) => (at), None => "still open" } }
                        td { (window.size) }
                        td { (window.seconds) @if window.unproven_seconds > 0 { " (+ " (window.unproven_seconds) " unproven, not billed)" } }
                        td { (format_money(window.cost_micros, currency)) }
                        td { (say(&window.wake_cause)) }
                        td { (say(window.end_cause.as_deref().unwrap_or_default())) }
                    }
                }
            }
        }
        @if !receipt.ran.is_empty() {
            h2 { "What ran" }
            table {
                thead { tr { th { "At" } th { "What" } th { "By" } th { "Exit code" } } }
                tbody {
                    @for ran in &receipt.ran {
                        tr {
                            td { (ran.at) } td { (ran.what) " " (ran.name) } td { (say(&ran.by)) }
                            td { @match ran.exit_code { Some(code) => (code), None => "not known" } }
                        }
                    }
                }
            }
        }
        @if let Some(commits) = &receipt.commits {
            h2 { "Commits" }
            p { "From " code { (commits.from) } " to " code { (commits.to) } ", " (commits.made.len()) " made" }
            ul { @for made in &commits.made { li { code { (made) } } } }
        }
        @if !receipt.visits.is_empty() {
            h2 { "Visits by link" }
            ul { @for visits in &receipt.visits { li { (visits.link) ": " (visits.count) } } }
        }
        (deeds("Visits by members, and root", &receipt.entries, names))
        @if !receipt.secrets.is_empty() {
            h2 { "Secrets used, by name" }
            ul { @for used in &receipt.secrets { li { (used.name) " by " (used.used_by) ": " (used.count) } } }
        }
        (deeds("Wakes, sleeps and caps", &receipt.events, names))
        @if !receipt.provider_billed.is_empty() {
            h2 { "Billed by their provider" }
            p { (receipt.provider_billed.join(", ")) ": not in the cost above" }
        }
        @if receipt.left_out > 0 { p { (receipt.left_out) " more entries are left out." } }
        @if let Some(hash) = kept.sha256 { p.fine { "SHA-256 " code { (hash) } " · " code { "envforge receipt --verify " (receipt.session) } } }
    };
    cards::page(StatusCode::OK, &format!("Receipt {}", receipt.session), &content, &[])
}

fn deeds(title: &str, deeds: &[Deed], names: &BTreeMap<String, String>) -> Markup {
    html! {
        @if !deeds.is_empty() {
            h2 { (title) }
            ul { @for deed in deeds { li { (deed.at) " " (deed.verb) " by " (named(&deed.by, names)) ": " (named(&deed.cause, names)) } } }
        }
    }
}
