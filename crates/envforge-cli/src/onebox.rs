//! The one box on this machine: where its data is, whether it runs, and how to start it.
//!
//! `envforged all --data-dir DIR` runs in the foreground and leaves two files for us: `DIR/run/server.url`, where
//! it listens, and `DIR/owner.key`, the owner's API key, readable by the owner of the box only. It is started in
//! a session of its own, so that closing this terminal does not end it, with its words in `DIR/envforged.log`.
//! Two starts at once meet at a lock; the second finds the first one's box.

use crate::args::Detached;
use crate::config;
use crate::context::{Context, DEFAULT_SERVER, ServerSource, base_url, is_loopback, variable};
use crate::exit::ExitCode;
use envforge_api::client::{Address, Client};
use envforge_api::http::Health;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// How long a box may take to answer after it was started: the first start makes its database.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(100);

/// Where a box started from here keeps its data.
pub(crate) fn data_dir() -> PathBuf {
    if let Some(folder) = variable("ENVFORGE_DATA_DIR") {
        return std::path::absolute(&folder).unwrap_or_else(|_| PathBuf::from(folder));
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from(SYSTEM_DATA_DIR);
    }
    match variable("XDG_DATA_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder.join("envforge"),
        _ => config::home().join(".local/share/envforge"),
    }
}

/// Where root's box is: other users reach its server too, with a key of their own.
const SYSTEM_DATA_DIR: &str = "/var/lib/envforge";

/// Data folders of boxes on this machine, ours first.
fn data_dirs() -> impl Iterator<Item = PathBuf> {
    let ours = data_dir();
    let system = (variable("ENVFORGE_DATA_DIR").is_none() && ours != Path::new(SYSTEM_DATA_DIR))
        .then(|| PathBuf::from(SYSTEM_DATA_DIR));
    std::iter::once(ours).chain(system)
}

fn url_in(folder: &Path) -> Option<String> {
    let text = fs_err::read_to_string(folder.join("run/server.url")).ok()?;
    base_url(&text).ok()
}

/// Where the box on this machine listens, as far as it said.
pub(crate) fn url() -> Option<String> {
    data_dirs().find_map(|folder| url_in(&folder))
}

/// Whether a URL is where the box on this machine listens, or would.
pub(crate) fn is_here(server: &str) -> bool {
    server == DEFAULT_SERVER || data_dirs().any(|folder| url_in(&folder).is_some_and(|url| url == server))
}

/// The owner's key, if `server` is a box on this machine and its key is ours to read.
pub(crate) fn key(server: &str) -> Option<Secret> {
    if !is_loopback(server) {
        return None;
    }
    let folder = data_dirs().find(|folder| url_in(folder).is_some_and(|url| url == server))?;
    let text = fs_err::read_to_string(folder.join("owner.key")).ok()?;
    let key = text.trim();
    (!key.is_empty()).then(|| Secret::new(key.to_owned()))
}

/// The program that is the box: beside this one, else on PATH.
pub(crate) fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("envforged")));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).map(|folder| folder.join("envforged"));
    beside.into_iter().chain(on_path).find(|path| path.is_file())
}

/// Makes sure that a server answers; says whether it had to start one. Asks nothing and starts nothing where one does, or
/// where one was chosen.
pub(crate) async fn ensure(ctx: &mut Context<'_>, yes: bool) -> Result<bool, Refusal> {
    if ctx.printer.slow("looking for a server", healthy(&ctx.server)).await {
        return Ok(false);
    }
    if ctx.server_source == ServerSource::Chosen {
        // The real call says what is wrong, with its cause.
        let answer = ctx.anonymous()?.get::<Health>("/v1/health").await;
        return answer.map(|_| false).map_err(|error| ctx.refusal(error));
    }
    let folder = data_dir();
    if !yes {
        let none = || {
            Refusal::unavailable("server.none", format!("no server is configured, and none answers at {}", ctx.server)).hint(
                "`envforge up --yes` starts the one box on this machine; `envforge login --server URL` uses a server elsewhere",
            )
        };
        if !ctx.printer.is_interactive() {
            return Err(none());
        }
        let question = format!(
            "No server answers at {}. Start the one box here, with its data in {}?",
            ctx.server,
            folder.display()
        );
        if !crate::ask::confirm(&question)? {
            return Err(none());
        }
    }
    let url = start(ctx, &folder).await?;
    ctx.at_server(url);
    Ok(true)
}

async fn healthy(url: &str) -> bool {
    let Ok(client) = Client::new(&Address::Url(url.to_owned()), None) else { return false };
    let answer = tokio::time::timeout(Duration::from_secs(5), client.get::<Health>("/v1/health")).await;
    matches!(answer, Ok(Ok(_)))
}

fn cant_start(cause: impl std::fmt::Display) -> Refusal {
    Refusal::unavailable("box.start_failed", format!("the one box did not start: {cause}"))
}

/// Starts the box and waits until it answers; returns where.
async fn start(ctx: &Context<'_>, folder: &Path) -> Result<String, Refusal> {
    let program = program().ok_or_else(|| {
        Refusal::new(
            RefusalKind::Unavailable,
            "box.no_program",
            "the program `envforged` is neither beside `envforge` nor on PATH",
        )
        .hint("install it beside `envforge`, or use a server elsewhere: `envforge login --server URL`")
    })?;
    fs_err::create_dir_all(folder)
        .map_err(|error| cant_start(error).hint("choose another folder with ENVFORGE_DATA_DIR, or run as root"))?;
    let lock = fs_err::File::create(folder.join("start.lock")).map_err(cant_start)?;
    let begun = Instant::now();
    let mut box_process = None;
    let log = folder.join("envforged.log");
    ctx.printer.note(&format!("starting the one box, data in {}", folder.display()));
    let up = ctx.printer.slow("waiting for the one box", async {
        loop {
            if let Some(url) = url_in(folder)
                && folder.join("owner.key").exists()
                && healthy(&url).await
            {
                return Ok(url);
            }
            if box_process.is_none() && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                box_process = Some(spawn(&program, folder, &log).map_err(cant_start)?);
            }
            if let Some(ended) = box_process.as_mut().and_then(|child: &mut Child| child.try_wait().ok().flatten()) {
                return Err(cant_start(format!("`{}` ended with {ended}", program.display())));
            }
            if begun.elapsed() > START_TIMEOUT {
                return Err(cant_start(format!("no answer within {} s", START_TIMEOUT.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    });
    up.await.map_err(|refusal| {
        let said = last_lines(&log, 5);
        refusal.hint(if said.is_empty() {
            format!("its log is {}", log.display())
        } else {
            format!("its log, {}, ends with:\n{said}", log.display())
        })
    })
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = fs_err::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[expect(clippy::disallowed_methods, reason = "starting the one box is what this is for")]
fn spawn(program: &Path, folder: &Path, log: &Path) -> std::io::Result<Child> {
    let log = fs_err::OpenOptions::new().create(true).append(true).open(log)?.into_parts().0;
    Command::new(std::env::current_exe()?)
        .args(["detached", "--"])
        .arg(program)
        .args(["all", "--data-dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// `envforge detached`: leaves the terminal's session, then becomes the program. Returns only if it can't.
#[expect(clippy::disallowed_methods, reason = "this process becomes that program")]
pub(crate) fn detached(arguments: &Detached) -> Result<ExitCode, Refusal> {
    // Fails only for the leader of a group, which then already is on its own.
    let _ = rustix::process::setsid();
    let program = arguments.argv.first().cloned().unwrap_or_else(OsString::new);
    let error = Command::new(&program).args(&arguments.argv[1..]).current_dir("/").exec();
    Err(cant_start(format!("`{}`: {error}", program.display())))
}
