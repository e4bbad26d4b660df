//! A workspace's database, dumped to whoever asks and restored from what they send.
//!
//! ```text
//!   server ◄─ pieces ─ relay ◄─ pipe ─ pg_dump    ┐ in the runtime's sandbox, as the workspace's user,
//!   server ── pieces ► relay ── pipe ► pg_restore ┘ by the database's own role or one made for the restore
//! ```
//!
//! The programs run where services do, with no more rights than these: a dump is somebody's file, and what reads or makes one
//! is never the daemon, the administrator of the cluster or its Linux user. So a runtime must be awake; none is woken for it.
//! While one is on its way the runtime counts as at work; one that is put to sleep all the same ends it.
//!
//! Bytes and time are limited, and what ends early, whichever side did, ends the other: a dump is whole when the last piece
//! says so, and a restore changes nothing before ([`Cluster::replace`](crate::resources::postgres::Cluster::replace)).

use crate::ctx::HostContext;
use crate::init::client::InitClient;
use crate::init::protocol::{Program, Spawn};
use crate::resources::postgres::{self, Ended, Filler, LOCK_WAIT};
use crate::script;
use crate::services::log_file::plain;
use crate::terminal::process_name;
use crate::trouble::{Blocked, blocked};
use crate::workspace::view::View;
use envforge_api::uplink::transfer::{PIECE_MAX, Piece, Pieces, data, end};
use envforge_core::refusal::{Refusal, RefusalKind};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};

/// How long one may take.
const LIMIT: Duration = Duration::from_mins(30);
/// Bytes of a dump at most.
const BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// What is read of what a program said, in bytes.
const SAID_MAX: u64 = 256 * 1024;
/// Between the request to end and the kill: a program that is asked takes its statement back, which outlives one that is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether the runtime is still awake.
const LOOK: Duration = Duration::from_millis(250);
/// A dump in the custom format begins so (`pg_backup_archiver.c`).
const MAGIC: &[u8] = b"PGDMP";

/// Which way a database goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Dump,
    Restore,
}

/// Opens the socket of a dump or a restore.
pub(crate) fn open(ctx: &Arc<HostContext>, view: Arc<View>, direction: Direction) -> Result<OwnedFd, Refusal> {
    let transfer = Transfer { ctx: Arc::clone(ctx), init: awake(&view).map_err(refused)?, busy: Busy::of(view) };
    if postgres::owner(&transfer.place()).map_err(refused)?.is_none() {
        return Err(refused(blocked(
            "dump.no_database",
            "the workspace has no database",
            "declare `postgres: branch_scoped` under `resources` in envforge.yml, and wake its runtime",
        )));
    }
    let pair = || UnixStream::pair().and_then(|(ours, theirs)| Ok((ours, OwnedFd::from(theirs.into_std()?))));
    let (ours, theirs) = pair().map_err(|error| refused(broken(&error)))?;
    ctx.tasks.spawn_loose("transfer", async move {
        let (mut from, mut to) = ours.into_split();
        let done = match direction {
            Direction::Dump => tokio::select! {
                dumped = transfer.dump(&mut from, &mut to) => dumped,
                block = transfer.interrupted() => Err(block),
            },
            Direction::Restore => transfer.restore(&mut from).await,
        };
        // Who went away hears nothing.
        drop(to.write_all(&end(&done.map_err(refused))).await);
    });
    Ok(theirs)
}

/// The init of a runtime that is awake.
fn awake(view: &View) -> Result<InitClient, Blocked> {
    view.get().runtime_init.clone().ok_or_else(|| {
        blocked(
            "dump.asleep",
            "the runtime is asleep, and its database with it; this does not wake it",
            "`envforge wake` wakes it; then try again",
        )
    })
}

/// Holds the runtime at work.
struct Busy(Arc<View>);

impl Busy {
    fn of(view: Arc<View>) -> Self {
        view.get().transfers += 1;
        Self(view)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.get().transfers -= 1;
    }
}

struct Transfer {
    ctx: Arc<HostContext>,
    init: InitClient,
    busy: Busy,
}

impl Transfer {
    fn place(&self) -> crate::place::Place {
        self.busy.0.get().place.clone()
    }

    async fn dump(&self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> Result<(), Blocked> {
        let owner = postgres::owner(&self.place())?.ok_or_else(|| broken(&io::ErrorKind::NotFound.into()))?;
        let (reader, writer) = pipe_pair().map_err(|error| broken(&error))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(|error| broken(&error.into()))?;
        let arguments = ["--format=custom", "--no-password", "--lock-wait-timeout", LOCK_WAIT];
        let mut program = self.start("pg_dump", &owner, &arguments, null()?, writer).await?;
        let passing = async {
            let mut output = pipe::Receiver::from_owned_fd(reader)?;
            let (mut buffer, mut bytes) = (vec![0; PIECE_MAX], 0);
            while let length @ 1.. = output.read(&mut buffer).await? {
                bytes += length as u64;
                if bytes > BYTES_MAX {
                    return Ok(false);
                }
                to.write_all(&data(&buffer[..length])).await?;
            }
            Ok(true)
        };
        let passed: io::Result<bool> = tokio::select! {
            passed = passing => passed,
            _ = from.read_u8() => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if !passed.map_err(|error| cut_off(&error))? {
            return Err(too_big());
        }
        let ended = program.ended().await?;
        if ended.is_ok {
            return Ok(());
        }
        let fix = "if a session has locked a table, end its transaction; then try again";
        Err(blocked("dump.failed", ended.error().to_owned(), fix))
    }

    async fn restore(&self, from: &mut OwnedReadHalf) -> Result<(), Blocked> {
        let mut incoming = Incoming { from, pieces: Pieces::default(), bytes: 0 };
        let start = tokio::select! {
            start = incoming.start() => start?,
            block = self.interrupted() => return Err(block),
        };
        if !start.starts_with(MAGIC) {
            return Err(blocked(
                "restore.not_a_dump",
                "this is no dump in pg_dump's custom format",
                "make one with `envforge database dump`, or with `pg_dump --format=custom`",
            ));
        }
        let (ctx, place) = (&self.ctx, self.place());
        ctx.postgres
            .replace(&place, ctx.entropy.as_ref(), async |filler| {
                tokio::select! {
                    filled = self.fill(filler, start, &mut incoming) => filled,
                    block = self.interrupted() => Err(block),
                }
            })
            .await
    }

    /// Fills a database with what comes.
    async fn fill(&self, filler: &Filler, start: Vec<u8>, incoming: &mut Incoming<'_>) -> Result<Ended, Blocked> {
        let (reader, writer) = pipe_pair().map_err(|error| broken(&error))?;
        rustix::io::ioctl_fionbio(&writer, true).map_err(|error| broken(&error.into()))?;
        let arguments =
            ["--no-owner", "--no-privileges", "--no-tablespaces", "--no-password", "--dbname", filler.name.as_str()];
        let mut program = self.start("pg_restore", filler, &arguments, reader, null()?).await?;
        let mut input = Some(pipe::Sender::from_owned_fd(writer).map_err(|error| broken(&error))?);
        let mut part = Some(start);
        while let Some(bytes) = part {
            // It ended already, and says why; what is still sent is let go by.
            if let Some(sender) = &mut input
                && sender.write_all(&bytes).await.is_err()
            {
                input = None;
            }
            part = incoming.next().await?;
        }
        drop(input);
        tokio::select! {
            ended = program.ended() => ended,
            block = incoming.gone() => Err(block),
        }
    }

    /// Starts one of PostgreSQL's programs, which connects as this role; it is ended with what is returned.
    async fn start(
        &self,
        program: &str,
        role: &Filler,
        arguments: &[&str],
        input: OwnedFd,
        output: OwnedFd,
    ) -> Result<Running, Blocked> {
        let path = self.ctx.postgres.program_path(program)?.to_string_lossy().into_owned();
        let argv = std::iter::once(path).chain(arguments.iter().map(|argument| (*argument).to_owned())).collect();
        let name = process_name(&self.ctx, "transfer.");
        let mut spawn = Spawn::new(&name, Program::Argv(argv));
        let port = self.place().resource_port(postgres::PORT).to_string();
        let env = [
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &port),
            ("PGUSER", &role.name),
            ("PGDATABASE", &role.name),
            ("PGPASSWORD", role.password.expose()),
            ("LC_ALL", "C.UTF-8"),
        ];
        spawn.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        spawn.cwd = "/".into();
        let said = rustix::fs::memfd_create("said", MemfdFlags::CLOEXEC).map_err(|error| broken(&error.into()))?;
        let (input, output, errors) = (input.as_fd(), output.as_fd(), said.as_fd());
        let spawned = self.init.spawn_with_stdio(spawn, input, output, errors).await.map_err(|error| {
            let fix = "is PostgreSQL installed where sandboxes see it, beneath /usr or /opt?";
            blocked("dump.failed", format!("{program} could not be started in the runtime: {error}"), fix)
        })?;
        let (ctx, init, pidfd) = (Arc::clone(&self.ctx), self.init.clone(), Some(spawned.pidfd));
        Ok(Running { ctx, init, name, pidfd, said: said.into(), is_over: false })
    }

    /// Resolves when it may not go on: the runtime sleeps, or the time is over.
    async fn interrupted(&self) -> Blocked {
        let asleep = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if let Err(block) = awake(&self.busy.0) {
                    return block;
                }
            }
        };
        match tokio::time::timeout(LIMIT, asleep).await {
            Ok(block) => block,
            Err(_) => blocked(
                "dump.too_slow",
                format!("it did not end within {} minutes", LIMIT.as_secs() / 60),
                "move less at once: `envforge run` dumps or restores single tables",
            ),
        }
    }
}

/// A program that is ended when this is dropped.
struct Running {
    ctx: Arc<HostContext>,
    init: InitClient,
    name: String,
    pidfd: Option<OwnedFd>,
    said: std::fs::File,
    is_over: bool,
}

impl Running {
    /// Waits for its end.
    async fn ended(&mut self) -> Result<Ended, Blocked> {
        let pidfd = self.pidfd.take().ok_or_else(|| broken(&io::ErrorKind::NotFound.into()))?;
        let code = script::wait(&self.init, &self.name, pidfd, LIMIT)
            .await
            .map_err(|error| blocked("dump.failed", error.to_string(), "try again"))?;
        self.is_over = true;
        let mut said = Vec::new();
        let read = self.said.rewind().and_then(|()| (&self.said).take(SAID_MAX + 1).read_to_end(&mut said));
        read.map_err(|error| broken(&error))?;
        let is_all = said.len() as u64 <= SAID_MAX;
        let lines: Vec<String> = String::from_utf8_lossy(&said).lines().map(plain).collect();
        // What was not read may be an error of another kind.
        let more = if is_all { "" } else { "\npg_restore: error: and more than is kept" };
        Ok(Ended { is_ok: code == Some(0), said: lines.join("\n") + more })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            let (init, name) = (self.init.clone(), self.name.clone());
            self.ctx.tasks.spawn_loose("transfer-end", async move { drop(init.stop(&name, GRACE).await) });
        }
    }
}

/// A dump on its way in.
struct Incoming<'a> {
    from: &'a mut OwnedReadHalf,
    pieces: Pieces,
    bytes: u64,
}

impl Incoming<'_> {
    /// The next of it; nothing at its end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Blocked> {
        loop {
            match self.pieces.take().map_err(|error| cut_off(&error))? {
                Some(Piece::Data(bytes)) => {
                    self.bytes += bytes.len() as u64;
                    return if self.bytes > BYTES_MAX { Err(too_big()) } else { Ok(Some(bytes)) };
                }
                Some(Piece::End(Ok(()))) => return Ok(None),
                Some(Piece::End(Err(refusal))) => return Err(cut_off(&io::Error::other(refusal.message))),
                None => {}
            }
            let mut buffer = vec![0; PIECE_MAX];
            match self.from.read(&mut buffer).await {
                Ok(0) => return Err(cut_off(&io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.pieces.push(&buffer[..length]),
                Err(error) => return Err(cut_off(&error)),
            }
        }
    }

    /// As much as shows what it is.
    async fn start(&mut self) -> Result<Vec<u8>, Blocked> {
        let mut start = Vec::new();
        while start.len() < MAGIC.len()
            && let Some(bytes) = self.next().await?
        {
            start.extend(bytes);
        }
        Ok(start)
    }

    /// Resolves when nobody waits for it any more.
    async fn gone(&mut self) -> Blocked {
        while self.from.read_u8().await.is_ok() {}
        cut_off(&io::ErrorKind::UnexpectedEof.into())
    }
}

fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn null() -> Result<OwnedFd, Blocked> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|error| broken(&error.into()))
}

fn refused(block: Blocked) -> Refusal {
    let kind = match block.code.as_str() {
        "restore.not_a_dump" => RefusalKind::Invalid,
        "dump.too_big" => RefusalKind::Limit,
        _ => RefusalKind::Conflict,
    };
    Refusal::new(kind, &block.code, block.cause).hint(block.fix)
}

fn cut_off(error: &io::Error) -> Blocked {
    blocked("restore.cut_off", format!("the dump broke off, nothing was changed: {error}"), "send it again")
}

fn too_big() -> Blocked {
    let cause = format!("the dump has more than {} GiB", BYTES_MAX >> 30);
    blocked("dump.too_big", cause, "move less at once: `envforge run` dumps or restores single tables")
}

fn broken(error: &io::Error) -> Blocked {
    blocked("dump.failed", format!("the host could not do it: {error}"), "try again; the host daemon's log says more")
}
