//! `/internal/gateway/…`, on the internal socket only.

use super::jobs::Unverified;
use super::ops;
use crate::app::App;
use crate::hosts;
use crate::links;
use crate::member_sessions;
use crate::platform::bus::Nudge;
use crate::platform::fault::Answer;
use crate::platform::http::answer;
use crate::platform::http::auth::bearer;
use crate::platform::http::extract::{Json, Path, Query};
use crate::signing_keys;
use axum::body::Body;
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use envforge_api::gateway::{
    ACTIVITY_PATH, Activity, BEAT_SECONDS, ENTER_PATH, EXCHANGE_PATH, Enter, Exchange, Exchanged, FEED_PATH, FeedItem,
    Presence, ROUTES_PATH, Route, WAKE_PATH, WakeAnswer, WakeRequest,
};
use envforge_core::id::LinkSessionId;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

/// How soon after a change of rights it is looked whose sessions ended; many changes at once are one look.
const LOOK_SOON: Duration = Duration::from_millis(50);

pub(crate) fn routes() -> axum::Router<App> {
    axum::Router::new()
        .route(FEED_PATH, get(feed))
        .route(&format!("{ROUTES_PATH}/{{label}}"), get(resolve))
        .route(EXCHANGE_PATH, post(exchange))
        .route(ENTER_PATH, post(enter))
        .route(WAKE_PATH, post(wake))
        .route(ACTIVITY_PATH, post(activity))
}

/// A caller that showed the gateway key.
struct Gateway;

impl FromRequestParts<App> for Gateway {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let shown = bearer(parts).unwrap_or_default().as_bytes();
        let wanted = app.config.gateway_key.expose().as_bytes();
        if bool::from(shown.ct_eq(wanted)) {
            return Ok(Self);
        }
        hosts::ops::refused_stranger(app, "gateway.key");
        Err(answer(Refusal::new(RefusalKind::Unauthenticated, "gateway.key", "this is not the gateway's key")))
    }
}

async fn resolve(_: Gateway, State(app): State<App>, Path(label): Path<String>) -> Answer<Json<Route>> {
    Ok(Json(ops::resolve(&app, &label).await?))
}

async fn exchange(_: Gateway, State(app): State<App>, Json(body): Json<Exchange>) -> Answer<Json<Exchanged>> {
    Ok(Json(links::ops::exchange(&app, &body).await?))
}

async fn enter(_: Gateway, State(app): State<App>, Json(body): Json<Enter>) -> Answer<Json<Exchanged>> {
    Ok(Json(member_sessions::ops::enter(&app, &body).await?))
}

async fn wake(_: Gateway, State(app): State<App>, Json(body): Json<WakeRequest>) -> Answer<Json<WakeAnswer>> {
    Ok(Json(ops::wake(&app, &body).await?))
}

async fn activity(
    _: Gateway,
    State(app): State<App>,
    Extension(unverified): Extension<Unverified>,
    Json(body): Json<Activity>,
) -> Answer<StatusCode> {
    unverified.add(&body.unverified);
    ops::activity(&app, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn feed(_: Gateway, State(app): State<App>, Query(presence): Query<Presence>) -> Response {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(256);
    let task = app.clone();
    app.spawn("gateway feed", async move {
        if let Err(fault) = tell(&task, &presence, &sender).await {
            tracing::warn!(%fault, "a gateway's feed ended, it will come again");
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

async fn tell(app: &App, presence: &Presence, sender: &mpsc::Sender<Result<Bytes, Infallible>>) -> Answer<()> {
    // Listen first, then look: nothing falls between.
    let mut nudges = app.bus.listen();
    let mut keys = app.signing_keys.watch();
    let mut beat = tokio::time::interval(Duration::from_secs(BEAT_SECONDS));
    // Late beats are not made up for: they would ask the database that is late again and again.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ops::came(app, presence).await?;
    let (mut ended, mut look_at) = (Ended::default(), None);
    send(sender, &snapshot(app, &mut ended).await?).await?;
    loop {
        let item = tokio::select! {
            () = sender.closed() => return Ok(()),
            _ = beat.tick() => {
                // A server without its database can't know of revocations, nor of keys: no beat, and gateways fail closed.
                if !ops::stays(app, presence.gateway).await? {
                    // It comes again, and tells its requests again.
                    return Ok(());
                }
                signing_keys::ops::read(app).await?;
                if keys.has_changed() { continue }
                FeedItem::Beat
            }
            () = keys.next() => snapshot(app, &mut ended).await?,
            () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => FeedItem::Beat,
            nudge = nudges.next() => match nudge {
                Nudge::Workspace { org, workspace } => ops::feed_item(app, org, workspace).await?,
                Nudge::Revoked { link } => FeedItem::Revoked { link },
                // Somebody may have lost what their session on a dev host rests on.
                Nudge::Membership { .. } | Nudge::CredentialEnded { .. } => {
                    look_at.get_or_insert(Instant::now() + LOOK_SOON);
                    continue;
                }
                Nudge::Resync => snapshot(app, &mut ended).await?,
                // What else there is, gateways need not know.
                _ => continue,
            },
        };
        if item == FeedItem::Beat {
            look_at = None;
            for session in ended.news(app).await? {
                send(sender, &FeedItem::SessionEnded { session }).await?;
            }
        }
        if send(sender, &item).await.is_err() {
            return Ok(());
        }
    }
}

/// Members' sessions that a gateway was told have ended.
#[derive(Default)]
struct Ended(HashSet<LinkSessionId>);

impl Ended {
    /// Those it was not told of yet.
    async fn news(&mut self, app: &App) -> Answer<Vec<LinkSessionId>> {
        let told = std::mem::replace(&mut self.0, member_sessions::ops::ended(app).await?);
        Ok(self.0.difference(&told).copied().collect())
    }
}

async fn snapshot(app: &App, ended: &mut Ended) -> Answer<FeedItem> {
    let revoked = links::store::system_revoked_links(&app.db, app.now()).await?;
    ended.news(app).await?;
    let ended = ended.0.iter().copied().collect();
    Ok(FeedItem::Snapshot { keys: app.signing_keys.trusted(), revoked, ended })
}

async fn send(sender: &mpsc::Sender<Result<Bytes, Infallible>>, item: &FeedItem) -> Answer<()> {
    let mut line = serde_json::to_vec(item)?;
    line.push(b'\n');
    sender.send(Ok(line.into())).await.map_err(|_| anyhow::anyhow!("the gateway is gone").into())
}
