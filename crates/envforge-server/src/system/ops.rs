//! Whether this server is ready, its metrics, and what an operator is told of the installation.

use super::store::{self, Figures};
use crate::app::App;
use crate::hosts::ops::LOST_AFTER;
use crate::platform::fault::{Answer, Fault};
use crate::platform::schema;
use crate::providers::identity::IdentityProvider;
use crate::providers::mail::Mailer as _;
use crate::{gateways, ledger, queues, vault};
use anyhow::Context as _;
use envforge_api::http::system::{Check, HealthReport};
use envforge_core::refusal::Refusal;
use futures_util::future::{BoxFuture, join_all};
use jiff::{SignedDuration, Timestamp};
use std::fmt::Write as _;
use std::path::Path;
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
    gateways: usize,
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
    let figures = store::system_figures(&app.db).await.map_err(Fault::into_refusal)?;
    let gateways = gateways::ops::addresses(app).await.map_err(Fault::into_refusal)?.len();
    Ok(Seen { schema, figures, gateways })
}

fn age(app: &App, at: Timestamp) -> Duration {
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
    if let Ok(Seen { schema, figures, gateways: connected }) = seen {
        gauges.gateways.set(connected as i64);
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

/// How long one check of the report may take.
const CHECK: Duration = Duration::from_secs(5);
/// Events wait for their seal a second at most, when all is well.
const SEAL_LATE: Duration = Duration::from_secs(5);
/// Each chain has its turn within minutes.
const VERIFY_LATE: Duration = Duration::from_hours(1);
/// A due job waits for a free place; longer than this, places are missing or nobody works.
const JOB_LATE: Duration = Duration::from_mins(1);
const JOB_STUCK: Duration = Duration::from_mins(10);
/// Times are compared between servers and with the database's own.
const CLOCK_OFF: SignedDuration = SignedDuration::from_secs(1);
const CLOCK_WRONG: SignedDuration = SignedDuration::from_secs(30);
/// Free bytes below which a disk is wrong, or worth a note.
const DISK_LOW: u64 = 1_000_000_000;
const DISK_TIGHT: u64 = 5_000_000_000;
/// Where whatever goes wrong here is explained.
const SEE_LOG: &str = "the server's log says why";

/// Looks at everything at once.
pub async fn health_report(app: &App) -> HealthReport {
    let providers = app.identity.all();
    let mut looks: Vec<BoxFuture<'_, Check>> = vec![
        bounded("schema", schema_check(app)),
        bounded("clock", clock_check(app)),
        bounded("hosts", hosts_check(app)),
        bounded("gateways", gateways_check(app)),
        bounded("ledger", ledger_check(app)),
        bounded("ledger seals", seals_check(app)),
        bounded("jobs", jobs_check(app)),
        bounded("dead letters", dead_letters_check(app)),
        bounded("keys", keys_check(app)),
        bounded("mail", mail_check(app)),
    ];
    looks.extend(
        providers
            .iter()
            .map(|provider| bounded(&format!("sign-in {}", provider.config().name), provider_check(provider.as_ref()))),
    );
    looks.extend(app.config.disk_folders.iter().map(|folder| {
        let name = format!("disk {}", folder.display());
        bounded(&name, disk_check(name.clone(), folder))
    }));
    HealthReport { checks: join_all(looks).await }
}

/// A check that ends: what could not be looked at is wrong too.
fn bounded<'a>(name: &str, look: impl Future<Output = Answer<Check>> + Send + 'a) -> BoxFuture<'a, Check> {
    let name = name.to_owned();
    Box::pin(async move {
        match timeout(CHECK, look).await {
            Ok(Ok(check)) => check,
            Ok(Err(fault)) => {
                let Refusal { code, message, hint, .. } = fault.into_refusal();
                Check::wrong(name, &code, message, hint.unwrap_or_else(|| SEE_LOG.to_owned()))
            }
            Err(_) => {
                let found = format!("no answer within {} s", CHECK.as_secs());
                Check::wrong(name, "check.timeout", found, "find out why it hangs: what needs it hangs too")
            }
        }
    })
}

/// Length of time in its largest unit.
fn ago(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

async fn schema_check(app: &App) -> Answer<Check> {
    let known = schema::newest();
    Ok(match schema::check(app.db.pool()).await {
        Ok(version) if version == known => Check::fine("schema", format!("version {version}")),
        Ok(version) => Check::note(
            "schema",
            "schema.newer",
            format!(
                "the database is at version {version}, this server knows {known}: it works until a step takes something away"
            ),
            "finish the upgrade: start the newer servers, end the older ones",
        ),
        Err(schema::SchemaError::Database(error)) => return Err(error.into()),
        Err(error) => Check::wrong("schema", "server.schema", error.to_string(), error.fix()),
    })
}

async fn clock_check(app: &App) -> Answer<Check> {
    let before = app.now();
    let (clock, bytes) = store::clock_and_size(&app.db).await?;
    let after = app.now();
    let middle = before.checked_add(after.duration_since(before) / 2).unwrap_or(before);
    let off = clock.duration_since(middle);
    let found = format!(
        "this server and its database are {:.1} s apart; the database has {} MB",
        off.abs().as_secs_f64(),
        bytes / 1_000_000
    );
    let fix = "let both machines keep their clocks with NTP (`timedatectl`)";
    Ok(match off.abs() {
        off if off > CLOCK_WRONG => Check::wrong("clock", "clock.wrong", found, fix),
        off if off > CLOCK_OFF => Check::note("clock", "clock.off", found, fix),
        _ => Check::fine("clock", found),
    })
}

async fn hosts_check(app: &App) -> Answer<Check> {
    let figures = store::system_figures(&app.db).await?;
    let found = format!("{} of {} online", figures.hosts_online, figures.hosts);
    let now = app.now();
    if now.duration_since(app.started_at) <= LOST_AFTER {
        return Ok(Check::fine("hosts", format!("{found}; this server has just begun to listen")));
    }
    let silent = store::system_silent_hosts(&app.db, now.checked_sub(LOST_AFTER).unwrap_or(Timestamp::MIN)).await?;
    if silent.is_empty() {
        return Ok(Check::fine("hosts", found));
    }
    let mut text = found;
    for host in &silent {
        let _ = write!(text, "; `{}` of {} is lost since {:.0}", host.name, host.org, host.heard_at);
    }
    let fix = "look at the host daemon on that machine; it dials out to the server by itself";
    Ok(Check::wrong("hosts", "host.lost", text, fix))
}

async fn gateways_check(app: &App) -> Answer<Check> {
    let addresses = gateways::ops::addresses(app).await?;
    let found = format!("{} connected: {}", addresses.len(), addresses.join(", "));
    if !addresses.is_empty() {
        return Ok(Check::fine("gateways", found));
    }
    if app.now().duration_since(app.started_at) <= LOST_AFTER {
        return Ok(Check::fine("gateways", "none connected; this server has just begun to listen"));
    }
    let fix = "start one: nobody reaches a dev host; it dials the server's internal socket by itself";
    Ok(Check::wrong("gateways", "gateway.none", "none connected", fix))
}

async fn ledger_check(app: &App) -> Answer<Check> {
    let health = store::system_ledger_health(&app.db).await?;
    if let Some((chain, position, reason, at)) = health.first_broken {
        let found = format!(
            "{} of {} chains broken; of {chain}, at position {position}, since {at:.0}: {reason}",
            health.broken, health.chains
        );
        let fix = "somebody changed it past the product: keep the database as it is, and compare with earlier exports";
        return Ok(Check::wrong("ledger", "ledger.broken", found, fix));
    }
    let state = ledger::ops::state(app, None).await?;
    let own = format!("the installation's up to {} of {}", state.verified_position, state.head.position);
    let Some(oldest) = health.oldest_verified_at else {
        return Ok(Check::fine("ledger", "not verified yet: the first round has begun"));
    };
    let found = format!("{} chains verified within {}, {own}", health.chains, ago(age(app, oldest)));
    Ok(if age(app, oldest) > VERIFY_LATE {
        Check::note("ledger", "ledger.verify_late", found, SEE_LOG)
    } else {
        Check::fine("ledger", found)
    })
}

async fn seals_check(app: &App) -> Answer<Check> {
    let name = "ledger seals";
    let health = store::system_ledger_health(&app.db).await?;
    let waits = health.oldest_unsealed_at.map_or(Duration::ZERO, |at| age(app, at));
    let found = match health.unsealed {
        0 => "every event is sealed".to_owned(),
        events => format!("{events} events wait for their seal, the oldest for {}", ago(waits)),
    };
    Ok(if waits > SEAL_LIMIT {
        Check::wrong(name, "server.ledger_stuck", found, SEE_LOG)
    } else if waits > SEAL_LATE {
        Check::note(name, "ledger.seal_late", found, SEE_LOG)
    } else {
        Check::fine(name, found)
    })
}

async fn jobs_check(app: &App) -> Answer<Check> {
    let queues = queues::ops::queues(app).await?.queues;
    let waits = queues.iter().filter_map(|queue| queue.oldest_due_at).min().map(|at| age(app, at));
    let (waiting, running): (u64, u64) =
        (queues.iter().map(|queue| queue.waiting).sum(), queues.iter().map(|queue| queue.running).sum());
    let mut found = format!("{waiting} wait, {running} run");
    let waits = waits.unwrap_or_default();
    if waits > JOB_LATE {
        let _ = write!(found, "; one is due for {}", ago(waits));
    }
    let fix = "`envforge admin jobs list --state waiting` shows them; give their queue more places or more servers";
    Ok(if waits > JOB_STUCK {
        Check::wrong("jobs", "job.stuck", found, fix)
    } else if waits > JOB_LATE {
        Check::note("jobs", "job.late", found, fix)
    } else {
        Check::fine("jobs", found)
    })
}

async fn dead_letters_check(app: &App) -> Answer<Check> {
    let name = "dead letters";
    let dead: u64 = queues::ops::queues(app).await?.queues.iter().map(|queue| queue.dead).sum();
    if dead == 0 {
        return Ok(Check::fine(name, "none"));
    }
    let fix = "`envforge admin jobs list --state dead` says why; `envforge admin jobs retry JOB` tries again";
    Ok(Check::note(name, "job.dead", format!("{dead} jobs were tried as often as they may be"), fix))
}

async fn keys_check(app: &App) -> Answer<Check> {
    let keys = vault::ops::key_encryption_keys(app).await?.keys;
    if let Some(missing) = keys.iter().find(|key| !key.configured) {
        let found = format!(
            "{} data keys are wrapped by `{}`, which is not configured: nothing under them can be opened",
            missing.data_keys, missing.name
        );
        return Ok(Check::wrong("keys", "vault.key_missing", found, "configure it again behind the one in use"));
    }
    let old: u64 = keys.iter().filter(|key| !key.in_use).map(|key| key.data_keys).sum();
    let all: u64 = keys.iter().map(|key| key.data_keys).sum();
    Ok(Check::fine(
        "keys",
        match old {
            0 => format!("{all} data keys, all wrapped by the key in use"),
            old => format!("{all} data keys, {old} still to be wrapped by the key in use"),
        },
    ))
}

async fn mail_check(app: &App) -> Answer<Check> {
    if !app.mailer.is_configured() {
        return Ok(Check::fine("mail", "not configured: nothing is sent"));
    }
    app.mailer.check().await?;
    Ok(Check::fine("mail", "the mail server answers"))
}

async fn provider_check(provider: &dyn IdentityProvider) -> Answer<Check> {
    let config = provider.config();
    let name = format!("sign-in {}", config.name);
    Ok(match provider.check().await {
        Ok(()) => Check::fine(name, format!("{} answers", config.issuer)),
        Err(error) => {
            let fix = "nobody can sign in through it: is its issuer right, and can this server reach it?";
            Check::wrong(name, "sign_in.provider_unreachable", error.to_string(), fix)
        }
    })
}

async fn disk_check(name: String, folder: &Path) -> Answer<Check> {
    let path = folder.to_owned();
    // A network disk that is gone hangs whoever asks.
    let looked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path)).await.context("looking at a disk")?;
    Ok(match looked {
        Ok(disk) => margin(name, disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => {
            Check::note(name, "disk.unknown", format!("can't be looked at: {error}"), "give folders that are there")
        }
    })
}

fn margin(name: String, free: u64) -> Check {
    let found = format!("{:.1} GB free", free as f64 / 1e9);
    let fix = "free some, or move it to a larger disk";
    match free {
        ..DISK_LOW => Check::wrong(name, "disk.low", found, fix),
        DISK_LOW..DISK_TIGHT => Check::note(name, "disk.tight", found, fix),
        _ => Check::fine(name, found),
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, DISK_LOW, DISK_TIGHT, margin};
    use envforge_api::http::system::Verdict;

    #[test]
    fn a_disk_is_tight_before_it_is_low() {
        let verdict = |free| margin("disk".to_owned(), free).verdict;
        assert_eq!([0, DISK_LOW, DISK_TIGHT].map(verdict), [Verdict::Wrong, Verdict::Note, Verdict::Fine]);
        assert_eq!(
            margin("disk".to_owned(), 1_500_000_000),
            Check {
                name: "disk".to_owned(),
                verdict: Verdict::Note,
                code: Some("disk.tight".to_owned()),
                found: "1.5 GB free".to_owned(),
                fix: Some("free some, or move it to a larger disk".to_owned()),
            }
        );
    }
}
