//! `envforge doctor`: looks for what is wrong, and says what helps.
//!
//! Each check has one of three ends: fine, worth knowing, wrong. Only what is wrong makes it fail. What can't be
//! looked at because something before it is wrong is left out, not guessed. What only the server sees, it says itself:
//! of the installation to its operator, of their org to its members.

use crate::context::{Context, DEFAULT_SERVER, ServerSource, is_loopback};
use crate::exit::ExitCode;
use crate::onebox;
use crate::printer::printable;
use crate::render;
use envforge_api::ambient::SystemClock;
use envforge_api::http::Health;
use envforge_api::http::accounts::{Host, HostState, Hosts, Me};
use envforge_api::http::ledger::LedgerState;
use envforge_api::http::system::{Check, HealthReport, Verdict};
use envforge_core::clock::Clock as _;
use envforge_core::refusal::{Refusal, RefusalKind};
use jiff::Timestamp;
use serde::Serialize;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::process::{Command, Stdio};

#[derive(Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

/// Looks at everything.
pub(crate) async fn doctor(ctx: &mut Context<'_>) -> Result<ExitCode, Refusal> {
    let mut checks = Vec::new();
    ctx.printer.slow("looking", look(ctx, &mut checks)).await?;
    let report = Report { healthy: checks.iter().all(|check| check.verdict != Verdict::Wrong), checks };
    ctx.printer.answer(&report, || text(&report.checks));
    Ok(if report.healthy { ExitCode::Ok } else { ExitCode::Failed })
}

fn text(checks: &[Check]) -> String {
    use std::fmt::Write as _;
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Fine => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "wrong",
        };
        let _ = writeln!(text, "{mark:5}  {:width$}  {}", check.name, printable(&check.found));
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "{:5}  {:width$}  fix: {}", "", "", printable(fix));
        }
    }
    text
}

async fn look(ctx: &Context<'_>, checks: &mut Vec<Check>) -> Result<(), Refusal> {
    let server_runs = server(ctx, checks).await?;
    if server_runs && let Some(me) = account(ctx, checks).await? {
        if let Ok(org) = ctx.choose_org(&me) {
            hosts(ctx, checks, org.as_str()).await?;
            ledger(ctx, checks, org.as_str()).await;
        } else {
            checks.push(Check::note("org", "org.ambiguous", "several orgs, none chosen", "`--org`, or ENVFORGE_ORG"));
        }
        if me.is_operator {
            installation(ctx, checks).await;
        }
    }
    // What the one box needs of this machine; a server elsewhere needs nothing here but Git.
    let is_here = is_loopback(&ctx.server);
    tools(is_here, checks);
    if is_here {
        name_resolution(checks);
        if !server_runs && ctx.server_source == ServerSource::Here {
            ports(checks);
        }
    }
    Ok(())
}

async fn server(ctx: &Context<'_>, checks: &mut Vec<Check>) -> Result<bool, Refusal> {
    match ctx.anonymous()?.get::<Health>("/v1/health").await {
        Ok(health) => {
            checks.push(if health.status == "ok" {
                Check::fine("server", format!("{} answers", ctx.server))
            } else {
                Check::wrong(
                    "server",
                    "server.unhealthy",
                    format!("{} says `{}`", ctx.server, health.status),
                    "its log says why; on the one box it is envforged.log in the data folder",
                )
            });
            let ours = env!("CARGO_PKG_VERSION");
            checks.push(if health.version == ours {
                Check::fine("versions", format!("both {ours}"))
            } else {
                Check::note(
                    "versions",
                    "version.differs",
                    format!("this program is {ours}, the server {}", health.version),
                    "install the same version of both",
                )
            });
            Ok(true)
        }
        Err(error) => {
            let refusal = ctx.refusal(error);
            checks.push(Check::wrong(
                "server",
                &refusal.code,
                refusal.message,
                refusal.hint.unwrap_or_else(|| "look at its log".to_owned()),
            ));
            Ok(false)
        }
    }
}

async fn account(ctx: &Context<'_>, checks: &mut Vec<Check>) -> Result<Option<Me>, Refusal> {
    if ctx.key().is_none() {
        checks.push(Check::wrong(
            "key",
            "auth.no_key",
            format!("none for {}", ctx.server),
            "`envforge login`, or ENVFORGE_KEY",
        ));
        return Ok(None);
    }
    match ctx.get::<Me>("/v1/me").await {
        Ok(me) => {
            let orgs: Vec<_> = me
                .orgs
                .iter()
                .map(|membership| format!("{} ({})", membership.slug, membership.role.as_str()))
                .collect();
            let orgs = if orgs.is_empty() { "no org".to_owned() } else { orgs.join(", ") };
            checks.push(Check::fine("key", format!("{}, {orgs}", me.name)));
            Ok(Some(me))
        }
        Err(refusal) => {
            checks.push(Check::wrong(
                "key",
                &refusal.code,
                refusal.message,
                refusal.hint.unwrap_or_else(|| "`envforge login` stores another".to_owned()),
            ));
            Ok(None)
        }
    }
}

async fn hosts(ctx: &Context<'_>, checks: &mut Vec<Check>, org: &str) -> Result<(), Refusal> {
    match ctx.get::<Hosts>(&format!("/v1/orgs/{org}/hosts")).await {
        Ok(hosts) if hosts.hosts.is_empty() => {
            checks.push(Check::wrong(
                "hosts",
                "host.none",
                format!("{org} has none: no workspace can run"),
                "start the host daemon: `envforged host`",
            ));
        }
        Ok(hosts) => {
            for one in &hosts.hosts {
                checks.push(host(one));
                checks.extend(memory(one));
            }
        }
        Err(refusal) => {
            checks.push(Check::note(
                "hosts",
                &refusal.code,
                refusal.message,
                refusal.hint.unwrap_or_else(|| "ask an admin of the org".to_owned()),
            ));
        }
    }
    Ok(())
}

/// How long an event may wait for its seal, in seconds: one is usual.
const SEAL_LATE: i64 = 5;

/// The org's ledger, for those who may read it.
async fn ledger(ctx: &Context<'_>, checks: &mut Vec<Check>, org: &str) {
    match ctx.get::<LedgerState>(&format!("/v1/orgs/{org}/ledger/state")).await {
        Ok(state) => checks.push(chain(&state, org, SystemClock.now())),
        Err(refusal) if refusal.kind == RefusalKind::Forbidden => {}
        Err(refusal) => checks.push(unknown("ledger", refusal)),
    }
}

fn chain(state: &LedgerState, org: &str, now: Timestamp) -> Check {
    let name = format!("ledger {org}");
    if let Some(broken) = &state.broken {
        let (position, since) = (broken.position, render::time(broken.at));
        let found = format!("broken at position {position}, found {since}: {}", broken.reason);
        let fix = "keep the database as it is, and compare with earlier exports: `envforge ledger verify`";
        return Check::wrong(name, "ledger.broken", found, fix);
    }
    if let Some(since) = state.oldest_unsealed_at.filter(|at| now.duration_since(*at).as_secs() > SEAL_LATE) {
        let found = format!("events wait for their seal since {}", render::time(since));
        return Check::note(name, "ledger.seal_late", found, "the server's log says why");
    }
    let verified = state.verified_at.map_or_else(
        || "not verified yet".to_owned(),
        |at| format!("verified up to {} of {}, {}", state.verified_position, state.head.position, render::time(at)),
    );
    Check::fine(name, verified)
}

/// What the server says of the whole installation.
async fn installation(ctx: &Context<'_>, checks: &mut Vec<Check>) {
    match ctx.get::<HealthReport>("/v1/operator/health-report").await {
        Ok(report) => checks.extend(report.checks),
        Err(refusal) => checks.push(unknown("installation", refusal)),
    }
}

/// Something that could not be looked at.
fn unknown(name: &str, refusal: Refusal) -> Check {
    Check::note(name, &refusal.code, refusal.message, refusal.hint.unwrap_or_else(|| "ask its operator".to_owned()))
}

/// What a host's memory means for what sleeps on it; nothing of a host that is not there or never said.
fn memory(host: &Host) -> Option<Check> {
    let name = format!("memory of {}", host.name);
    let swap = host.swap.filter(|_| host.state == HostState::Online)?;
    let more = "give the machine zram or swap; the host says so when it connects again";
    Some(match (&host.memory_short, swap) {
        (Some(why), _) => Check::note(
            name,
            "host.memory_short",
            format!("it is short: {why}; what has been frozen longest is stopped"),
            "`envforge sleep --stop` what is not needed, or give the machine more memory or swap",
        ),
        (None, 0) => Check::note(
            name,
            "host.no_swap",
            "the machine has neither swap nor zram: what is frozen keeps its memory until it is stopped",
            more,
        ),
        (None, bytes) => Check::fine(name, format!("what is frozen goes to {:.1} GiB of swap", gib(bytes))),
    })
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn host(host: &Host) -> Check {
    let name = format!("host {}", host.name);
    if let (HostState::Online, Some(trouble)) = (host.state, &host.trouble) {
        return Check::wrong(name, &trouble.code, trouble.cause.clone(), trouble.fix.clone());
    }
    match host.state {
        HostState::Online if host.reductions.is_empty() => Check::fine(name, "online, full isolation"),
        HostState::Online => Check::note(
            name,
            "host.reduced",
            format!("online, with reduced isolation: {}", host.reductions.join("; ")),
            "run the box as root on a kernel with cgroup v2 and namespaces to get what is missing",
        ),
        HostState::Registering => Check::wrong(
            name,
            "host.registering",
            "a token was issued, the host has not come yet",
            "start it with that token: `envforged host`",
        ),
        HostState::Lost => Check::wrong(
            name,
            "host.lost",
            host.last_seen_at.map_or_else(
                || "its connection is gone".to_owned(),
                |at| format!("its connection is gone, it was last heard of {}", render::time(at)),
            ),
            "look at the daemon on that machine; it dials out to the server by itself",
        ),
    }
}

/// Programs the one box uses, where they hide if not on PATH, and the package that brings them.
const TOOLS: [(&str, &str, &str); 5] = [
    ("git", "--version", "git"),
    ("tmux", "-V", "tmux"),
    ("postgres", "--version", "postgresql"),
    ("redis-server", "--version", "redis-server"),
    ("ip", "-V", "iproute2"),
];

fn tools(is_here: bool, checks: &mut Vec<Check>) {
    for (program, flag, package) in TOOLS.iter().take(if is_here { TOOLS.len() } else { 1 }) {
        let fix = format!("install it: `apt-get install {package}`");
        checks.push(version(program, flag).map_or_else(
            || Check::wrong(*program, "tool.missing", "not found on this machine", fix),
            |version| Check::fine(*program, version),
        ));
    }
    if is_here {
        checks.push(match onebox::program() {
            Some(path) => Check::fine("envforged", path.display().to_string()),
            None => Check::note(
                "envforged",
                "box.no_program",
                "neither beside `envforge` nor on PATH",
                "install it to start the one box from here",
            ),
        });
    }
}

/// First line of what a program says its version is. Debian keeps PostgreSQL's server programs off PATH.
#[expect(clippy::disallowed_methods, reason = "a tool is asked for its version")]
fn version(program: &str, flag: &str) -> Option<String> {
    let on_path = std::env::split_paths(&std::env::var_os("PATH")?).collect::<Vec<_>>();
    let system = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    let postgres =
        fs_err::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let path = on_path
        .into_iter()
        .chain(system)
        .chain(postgres)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())?;
    let output = Command::new(path).arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
    Some(if text.is_empty() { "found".to_owned() } else { text })
}

/// Browsers resolve `*.localhost` by themselves; other programs ask the system.
fn name_resolution(checks: &mut Vec<Check>) {
    let resolves = ("web--probe.localhost", 80)
        .to_socket_addrs()
        .is_ok_and(|mut addresses| addresses.any(|address| address.ip().is_loopback()));
    checks.push(if resolves {
        Check::fine("*.localhost", "resolves to this machine")
    } else {
        Check::note(
            "*.localhost",
            "name.unresolved",
            "does not resolve here; browsers do it by themselves, other programs may not",
            "connect to 127.0.0.1 with the dev host as `Host` header (`curl --resolve HOST:PORT:127.0.0.1`), or install libnss-myhostname",
        )
    });
}

/// Whether the one box could listen, asked only when no server answers.
fn ports(checks: &mut Vec<Check>) {
    let address = DEFAULT_SERVER.trim_start_matches("http://");
    checks.push(match TcpListener::bind(address) {
        Ok(_) => Check::fine("port", format!("{address} is free")),
        Err(error) => Check::wrong(
            "port",
            "port.in_use",
            format!("{address} can't be used: {error}"),
            "end the program that holds it (`ss -ltnp`), or start the box on another port",
        ),
    });
}
