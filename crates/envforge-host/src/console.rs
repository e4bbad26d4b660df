//! Consoles: questions about what a workspace's resources hold, answered by a process in one of its layers.
//!
//! The ticket names the question, so it is the server's own word. What the answer is made of are strangers' words: they are read by
//! this daemon's program as the workspace's user in its sandbox, and the daemon passes on a pipe without looking into it. Mail and
//! objects are read from files in the shell layer, also while the runtime sleeps. A database is asked in the runtime, which has to
//! be awake and is never woken for it: wakes are the server's to decide.

use crate::ctx::HostContext;
use crate::engines::inside;
use crate::init::client::InitClient;
use crate::init::protocol::{Program, Spawn};
use crate::resources::postgres;
use crate::sys::watch::watch;
use crate::terminal;
use crate::workspace::view::View;
use envforge_api::console::{QUESTION_MAX, Question, digest};
use envforge_core::manifest::ResourceKind;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::Semaphore;

/// Names of their processes begin so.
pub(crate) const PREFIX: &str = "console.";
/// Answers that one workspace may be giving at once.
const AT_ONCE: usize = 8;
/// The longest an answer may take, downloads included.
const ANSWER_LIMIT: Duration = Duration::from_mins(30);

/// How many more answers a workspace may begin.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// Begins to answer; the pipe has what `envforge_api::console` says.
pub(crate) async fn open(
    ctx: &Arc<HostContext>,
    view: &View,
    subject: &str,
    question: &str,
) -> Result<OwnedFd, Refusal> {
    if subject != digest(question) {
        return Err(Refusal::new(
            RefusalKind::Forbidden,
            "ticket.other_question",
            "the ticket is for another question",
        ));
    }
    let asked = Some(question).filter(|question| question.len() <= QUESTION_MAX);
    let asked: Question = asked
        .and_then(|question| serde_json::from_str(question).ok())
        .ok_or_else(|| Refusal::invalid("console.unknown_question", "this host does not know the question"))?;
    let place = view.consoles().try_acquire_owned().map_err(|_| {
        Refusal::unavailable("console.busy", format!("the workspace answers {AT_ONCE} questions already"))
            .hint("try again when a download has ended")
            .retry_after(1)
    })?;
    let (layer, env, _use) = if asked.resource() == ResourceKind::Postgres {
        let (layer, env) = awake(view)?;
        (layer, env, None)
    } else {
        let shell = terminal::shell_of(view).await?;
        (InitClient::clone(&shell), BTreeMap::new(), Some(shell))
    };
    let name = terminal::process_name(ctx, PREFIX);
    let argv = [inside::PROGRAM, "resource", "console", inside::DATA].map(str::to_owned);
    let mut spawn = Spawn::new(&name, Program::Argv(argv.to_vec()));
    spawn.cwd = "/".into();
    spawn.env = env;
    let streams = || -> io::Result<_> {
        let nothing = fs_err::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let ((asked, ask), answer) = (pipe()?, pipe()?);
        // It has room for all of it.
        File::from(ask).write_all(question.as_bytes())?;
        Ok((asked, answer, nothing))
    };
    let (asked, (answer, into), nothing) =
        streams().map_err(|error| Refusal::new(RefusalKind::Internal, "console.pipe", format!("no pipe: {error}")))?;
    let spawned = layer.spawn_with_stdio(spawn, asked.as_fd(), into.as_fd(), nothing.as_fd()).await;
    let spawned = spawned.map_err(|error| {
        Refusal::unavailable("console.not_started", format!("nobody in the workspace can answer: {error}"))
            .hint("a shell that an earlier version of the host started can't; it can once the shell was started anew")
    })?;
    ctx.tasks.spawn_loose("console", async move {
        let ended = async { watch(spawned.pidfd, Interest::READABLE)?.readable().await.map(drop) };
        if tokio::time::timeout(ANSWER_LIMIT, ended).await.is_err() {
            drop(layer.stop(&name, Duration::ZERO).await);
        }
        drop(place);
    });
    Ok(answer)
}

/// The runtime's init, if it is awake, and the environment of who asks the database.
fn awake(view: &View) -> Result<(InitClient, BTreeMap<String, String>), Refusal> {
    let (init, place) = {
        let now = view.get();
        (now.runtime_init.clone(), now.place.clone())
    };
    let init = init.ok_or_else(|| {
        Refusal::conflict("console.asleep", "the runtime is asleep, and a database answers while it is awake")
            .hint("wake it first: `envforge wake`")
    })?;
    let known = postgres::known(&place).map_err(|error| {
        Refusal::new(
            RefusalKind::Internal,
            "console.no_address",
            format!("the database's address is not known: {error}"),
        )
    })?;
    let address = known.and_then(|mut values| values.remove("database_url")).ok_or_else(|| {
        Refusal::unavailable("console.no_database", "the workspace's database is not there yet")
            .hint("`envforge status` says what it waits for")
            .retry_after(1)
    })?;
    Ok((init, BTreeMap::from([("DATABASE_URL".to_owned(), address.expose().to_owned())])))
}
