//! Phase 4: where the label leads.
//!
//! Routes are remembered per label and asked for again when the feed said that something changed, when a ticket
//! nears its end, or when a service could not be reached. However many want one label, the server is asked once.

use crate::local::Held;
use crate::phase::refused::Refused;
use crate::routes::{LabelRoute, Status};
use crate::serve::Client;
use crate::sessions::{Admitted, Unverified};
use crate::shared::Shared;
use crate::stats::Phase;
use envforge_api::client::CallError;
use envforge_api::gateway::{ROUTES_PATH, Route};
use envforge_core::refusal::RefusalKind;
use std::sync::Arc;
use tokio::time::Instant;

/// The route of a label for a session.
pub(crate) async fn find(
    shared: &Arc<Shared>,
    client: &Client,
    label: &str,
    admitted: &Admitted,
) -> Result<Held<LabelRoute>, Refused> {
    let now = shared.now();
    let route = if let Some(route) = client.memo.route(label, now) {
        route
    } else {
        let route = match shared.routes.find(label, now) {
            Some(route) => route,
            None => ask(shared, label).await?,
        };
        client.memo.keep_route(route)
    };
    // A label is never given to another org; should the server ever answer so, the session is not for it.
    if route.workspace.id != admitted.claims.workspace || route.org != admitted.claims.org {
        return Err(Refused::Unverified(Unverified::WrongHost));
    }
    if matches!(route.workspace.status(), Status::Deleted) {
        return Err(Refused::NoPreview);
    }
    Ok(route)
}

async fn ask(shared: &Arc<Shared>, label: &str) -> Result<Arc<LabelRoute>, Refused> {
    if shared.routes.is_missing(label) {
        return Err(Refused::NoPreview);
    }
    let label = label.to_owned();
    let flight = shared.route_flights.join(&shared.tasks, &label, || {
        let (shared, label) = (Arc::clone(shared), label.clone());
        async move { call(&shared, &label).await }
    });
    flight.await.unwrap_or(Err(Refused::Fault))
}

async fn call(shared: &Shared, label: &str) -> Result<Arc<LabelRoute>, Refused> {
    let asked_at = shared.routes.epoch();
    shared.stats.route_calls.add();
    let begun = Instant::now();
    let answer = shared.server.get::<Route>(&format!("{ROUTES_PATH}/{label}")).await;
    shared.stats.time(Phase::Route, begun.elapsed());
    match answer {
        Ok(route) if route.label == label => Ok(shared.routes.learn_route(route, asked_at)),
        Ok(route) => {
            tracing::error!(%label, answered = %route.label, "route: the server answered for another label");
            Err(Refused::Fault)
        }
        Err(CallError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {
            shared.routes.set_missing(label);
            Err(Refused::NoPreview)
        }
        Err(CallError::Refused(refusal)) => Err(Refused::Server(refusal)),
        Err(CallError::Transport { message, .. }) => {
            tracing::warn!(%label, %message, "route: the server could not be asked");
            Err(Refused::LeaseOver)
        }
    }
}
