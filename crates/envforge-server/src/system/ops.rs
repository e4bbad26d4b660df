//! Whether this server is ready, and its metrics.

use super::store::{self, Figures};
use crate::app::App;
use crate::platform::schema;
use envforge_core::refusal::Refusal;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long the database may take before it counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer is given again: whoever asks, and however often, the database is asked twice a second at most.
const FRESH: Duration = Duration::from_millis(500);
/// An event without a seal for so long means that nobody seals; one second is usual.
const SEAL_LIMIT: Duration = Duration::from_mins(1);

/// The last look at what readiness depends on.
#[derive(Debug, Default)]
pub struct LastLook(Mutex<Option<(Instant, Result<Seen, Refusal>)>>);

/// What a look saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    schema: i64,
    figures: Figures,
}

/// The schema's version, when requests should come here; else why not.
pub async fn ready(app: &App) -> Result<i64, Refusal> {
    if app.drain.is_cancelled() {
        return Err(Refusal::unavailable("server.draining", "this server is about to end"));
    }
    let seen = look(app).await?;
    let waits = seen.figures.oldest_unsealed.map_or(Duration::ZERO, |oldest| age(app, oldest));
    if waits > SEAL_LIMIT {
        let message = format!("events have waited {} s for their seal", waits.as_secs());
        return Err(Refusal::unavailable("server.ledger_stuck", message)
            .hint("the server's log says why the sealer does not get on; `envforged doctor` looks too"));
    }
    Ok(seen.schema)
}

async fn look(app: &App) -> Result<Seen, Refusal> {
    let mut last = app.last_look.0.lock().await;
    if let Some((at, seen)) = &*last
        && at.elapsed() < FRESH
    {
        return seen.clone();
    }
    let seen = timeout(PATIENCE, look_now(app))
        .await
        .unwrap_or_else(|_| Err(Refusal::unavailable("database.unavailable", "the database does not answer")));
    *last = Some((Instant::now(), seen.clone()));
    seen
}

async fn look_now(app: &App) -> Result<Seen, Refusal> {
    let schema = schema::check(app.db.pool()).await.map_err(|error| {
        tracing::warn!(%error, "not ready");
        match error {
            // What the database says is for the log.
            schema::SchemaError::Database(_) => {
                Refusal::unavailable("database.unavailable", "the database does not answer")
            }
            error => Refusal::unavailable("server.schema", error.to_string()).hint(error.fix()),
        }
    })?;
    let figures = store::system_figures(&app.db).await.map_err(crate::platform::fault::Fault::into_refusal)?;
    Ok(Seen { schema, figures })
}

fn age(app: &App, at: jiff::Timestamp) -> Duration {
    Duration::try_from(app.now().duration_since(at)).unwrap_or_default()
}

/// Everything measured, as `OpenMetrics` text.
pub async fn metrics(app: &App) -> String {
    let gauges = &app.metrics.figures;
    let (open, idle) = app.db.connections();
    gauges.connections.set(open.into());
    gauges.idle_connections.set(idle as i64);
    let seen = look(app).await;
    gauges.database_up.set(i64::from(seen.is_ok()));
    if let Ok(Seen { schema, figures }) = seen {
        gauges.schema_version.set(schema);
        gauges.unsealed.set(figures.unsealed);
        let waits = figures.oldest_unsealed.map_or(Duration::ZERO, |oldest| age(app, oldest));
        gauges.unsealed_age.set(waits.as_secs() as i64);
        gauges.commands_open.set(figures.commands_open);
        gauges.runtimes_awake.set(figures.runtimes_awake);
        gauges.hosts.set(figures.hosts);
        gauges.hosts_online.set(figures.hosts_online);
    }
    app.metrics.text()
}
