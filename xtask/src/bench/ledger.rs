//! The ledger alone: events committed and sealed a second, events verified a second from an export.
//!
//! Appending runs the server's own operations against a PostgreSQL of the test kit, whose disk is memory: it measures the
//! product's work, and no disk's `fsync`.

use super::report::{Better, Record, Target};
use anyhow::{Context as _, ensure};
use envforge_api::ambient::SystemEntropy;
use envforge_core::clock::{Clock, FixedClock};
use envforge_core::id::{EventId, Id as _};
use envforge_core::ledger::{
    Chain, Checkpoint, Event, Header, SealedEvent, Trust, Verifier, checkpoint_line, event_line, header_line,
};
use envforge_core::secret::Secret;
use envforge_core::token::Signer;
use envforge_server::ledger::{self, Entry};
use envforge_server::platform::keys::KeyWrappers;
use envforge_server::platform::secret_stores::SecretStores;
use envforge_server::{Bootstrap, RunningServer, Server, ServerConfig, migrate, schema_fingerprint};
use envforge_testkit::TestDatabase;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const RUNS: usize = 5;
/// Transactions of one event each, in every run.
const APPENDS: usize = 20_000;
/// As many at once as the server has connections to PostgreSQL, less those of the sealer and of others.
const WRITERS: usize = 12;
const VERIFIES: u64 = 1_000_000;

/// A server with a database of its own and an org `acme`, whose owner's key is in `folder`; no host.
pub(super) async fn alone(folder: &Path, cancel: &CancellationToken) -> anyhow::Result<(TestDatabase, RunningServer)> {
    let database = TestDatabase::new(&schema_fingerprint(), async |owner, password| {
        migrate(owner, &Secret::new(password.to_owned())).await?;
        Ok(())
    })
    .await;
    let at = |name: &str| folder.join(name);
    let config = ServerConfig {
        database_url: Secret::new(database.app_url()),
        listen: "127.0.0.1:0".parse()?,
        internal_socket: at("server.sock"),
        uplink_path: at("uplink.sock"),
        gateway_uplink_paths: vec![at("gateway-uplink.sock")],
        dev_domain: "localhost".to_owned(),
        gateway_url_scheme: "http".to_owned(),
        gateway_url_port: None,
        public_url: "http://localhost".to_owned(),
        signing_seed: Secret::new("11".repeat(32)),
        key_wrappers: KeyWrappers::local(&[Secret::new("22".repeat(32))])?,
        secret_stores: SecretStores::default(),
        gateway_key: Secret::new("33".repeat(32)),
        ledger_retention_days: None,
        open_orgs: false,
        github_app: None,
        disk_folders: Vec::new(),
        drain_notice: std::time::Duration::ZERO,
        prices: envforge_core::usage::Prices::default(),
        queue_concurrency: BTreeMap::new(),
        mail: None,
        identity_providers: Vec::new(),
        sign_up: envforge_core::login::SignUp::Closed,
        bootstrap: Some(Bootstrap {
            org: "acme".to_owned(),
            owner_key_file: at("owner.key"),
            host_token_file: at("host.token"),
        }),
    };
    let clock: Arc<dyn Clock> = Arc::new(envforge_api::ambient::SystemClock);
    let server = Server::start_with(config, clock, Arc::new(SystemEntropy), cancel.clone()).await?;
    Ok((database, server))
}

/// From the first transaction until the last of its events is sealed.
pub(super) async fn append() -> anyhow::Result<Vec<Record>> {
    let folder = tempfile::tempdir()?;
    let cancel = CancellationToken::new();
    let (_database, server) = alone(folder.path(), &cancel).await?;
    let app = server.app();
    let (mut rates, mut lags, mut sealed) =
        (Vec::new(), Vec::new(), ledger::ops::state(app, None).await?.head.position);
    for _ in 0..RUNS {
        let begun = Instant::now();
        let writers = (0..WRITERS).map(|_| {
            let app = app.clone();
            async move {
                let written = tokio::spawn(async move {
                    for _ in 0..APPENDS / WRITERS {
                        let mut tx = app.db.begin_installation().await?;
                        let entry = Entry::new(
                            "user:user_01998c2a5bf07d4d8a3e0123456789ab",
                            "runtime.woken",
                            "ws_01998c2a5bf07d4d8a3e0123456789ab",
                            "asked",
                        );
                        ledger::record(&app, &mut tx, entry.details(json!({ "generation": 7, "size": "small" })))
                            .await?;
                        tx.commit().await?;
                    }
                    Ok::<_, envforge_server::platform::fault::Fault>(())
                });
                anyhow::Ok(written.await??)
            }
        });
        try_join_all(writers).await?;
        let written = Instant::now();
        sealed += (APPENDS / WRITERS * WRITERS) as u64;
        while ledger::ops::state(app, None).await?.head.position < sealed {
            ensure!(written.elapsed() < Duration::from_mins(1), "the sealer does not come after");
            sleep(Duration::from_millis(5)).await;
        }
        rates.push((APPENDS / WRITERS * WRITERS) as f64 / begun.elapsed().as_secs_f64());
        lags.push(written.elapsed().as_secs_f64() * 1_000.0);
    }
    cancel.cancel();
    server.wait().await;
    let rate = Target { p50: Some(5_000.0), p99: None, text: "≥ 5,000" };
    let lag = Target { p50: None, p99: Some(1_000.0), text: "sealed < 1,000 after" };
    Ok(vec![
        Record::of("ledger_append", "ev/s", Better::More, &rates, rate),
        Record::of("ledger_lag", "ms", Better::Less, &lags, lag),
    ])
}

/// A whole export from a file, as `envforge ledger verify` does.
pub(super) fn verify() -> anyhow::Result<Vec<Record>> {
    let file = tempfile::NamedTempFile::new()?;
    let signer = Signer::from_seed(&[3; 32]);
    write_export(&signer, file.path())?;
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let mut verifier = Verifier::new(Trust::Keys(vec![signer.public_key()]));
        let mut source = BufReader::with_capacity(1 << 18, fs_err::File::open(file.path())?);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line)? > 0 {
            verifier.line(line.strip_suffix(b"\n").unwrap_or(&line))?;
            line.clear();
        }
        ensure!(verifier.finish()?.events == VERIFIES, "not every event was verified");
        rates.push(VERIFIES as f64 / begun.elapsed().as_secs_f64());
    }
    let target = Target { p50: Some(500_000.0), p99: None, text: "≥ 500,000" };
    Ok(vec![Record::of("ledger_verify", "ev/s", Better::More, &rates, target)])
}

fn write_export(signer: &Signer, path: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::BufWriter::new(fs_err::File::create(path)?);
    let mut lines = Vec::new();
    header_line(&Header::new(None, vec![signer.public_key()], None), &mut lines);
    let clock = FixedClock::new(Timestamp::from_second(1_760_000_000)?);
    let mut chain = Chain::genesis();
    for number in 0..VERIFIES {
        let event = Event {
            id: EventId::mint(&clock, &SystemEntropy),
            org: None,
            at: clock.now(),
            actor: "user:user_01998c2a5bf07d4d8a3e0123456789ab".to_owned(),
            verb: "runtime.woken".to_owned(),
            subject: "ws_01998c2a5bf07d4d8a3e0123456789ab".to_owned(),
            cause: "link visit to /".to_owned(),
            details: json!({ "generation": number, "size": "small" }),
        };
        event_line(&SealedEvent { seal: chain.append(&event), event }, &mut lines);
        out.write_all(&lines)?;
        lines.clear();
    }
    checkpoint_line(&Checkpoint::sign(signer, None, chain.head, clock.now()), &mut lines);
    out.write_all(&lines)?;
    out.flush().context("writing the export to verify")
}
