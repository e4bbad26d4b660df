//! Branch-scoped resources: what a workspace's services store things in.
//!
//! Each workspace has its own of each kind, reached at the usual address inside its own network, so configuration
//! is the same in every branch. Provisioning happens on the way to the first use and may be repeated; an address holds a
//! password and goes nowhere but into the environment of services and jobs.
//!
//! - [`postgres`]: a database and role of its own in one cluster per host, never the control plane's.
//! - The others are an [`Instance`]: a process of the workspace's user in the runtime, started and watched like any service,
//!   paused and limited with it, its data in the workspace's data directory. [`redis`] is a program of the machine;
//!   [`object_storage`] and [`mail`] are this daemon's own program, started again by another name (`envforge-resources`):
//!   what speaks S3 or SMTP with strangers never runs as the daemon's user.

pub(crate) mod mail;
pub(crate) mod object_storage;
pub(crate) mod postgres;
pub(crate) mod redis;

use crate::config::HostConfig;
use crate::engines::inside;
use crate::faults::point;
use crate::files;
use crate::init::protocol::{Program, Spawn};
use crate::place::Place;
use crate::trouble::Blocked;
use crate::uplink::logs::own_log;
use envforge_core::clock::Entropy;
use envforge_core::manifest::ResourceKind;
use envforge_core::secret::Secret;
use envforge_core::token::digest;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Names of instances' processes begin so.
pub(crate) const PROCESS: &str = "resource.";

/// What a resource gives: a value for each of its inputs, by name.
pub(crate) type Values = BTreeMap<&'static str, Secret>;

/// Where one resource of one workspace stands.
#[derive(Debug, Clone)]
pub(crate) enum Provision {
    /// It is being made, or is starting.
    Pending,
    /// It can be used.
    Ready(Values),
    /// It can't be had.
    Blocked(Blocked),
}

/// A resource that is a process of the workspace's user in the runtime.
pub(crate) trait Instance: Sync {
    /// What people call it.
    fn title(&self) -> &'static str;

    /// Whether the host can run it.
    fn check(&self, _config: &HostConfig) -> Result<(), Blocked> {
        Ok(())
    }

    /// What to run.
    fn program(&self, config: &HostConfig, place: &Place) -> Program;

    /// What it is told beside its arguments: what others may not read.
    fn environment(&self, _place: &Place, _entropy: &dyn Entropy) -> io::Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    /// The port it listens on.
    fn port(&self, place: &Place) -> u16;

    /// What is said to it, and how the answer of one that is ready begins.
    fn hello(&self) -> (&'static [u8], &'static [u8]);

    /// What services are given.
    fn values(&self, place: &Place, entropy: &dyn Entropy) -> io::Result<Values>;
}

/// The kind as an instance; a database is none.
pub(crate) fn instance(kind: ResourceKind) -> Option<&'static dyn Instance> {
    match kind {
        ResourceKind::Postgres => None,
        ResourceKind::Redis => Some(&redis::Redis),
        ResourceKind::ObjectStorage => Some(&object_storage::ObjectStorage),
        ResourceKind::Mail => Some(&mail::Mail),
    }
}

/// The name of the process of a kind.
pub(crate) fn process(kind: ResourceKind) -> String {
    format!("{PROCESS}{kind}")
}

/// The process to start.
pub(crate) fn spawn(
    kind: ResourceKind,
    instance: &dyn Instance,
    config: &HostConfig,
    place: &Place,
    entropy: &dyn Entropy,
) -> io::Result<Spawn> {
    let mut spawn = Spawn::new(&process(kind), instance.program(config, place));
    spawn.env = instance.environment(place, entropy)?;
    spawn.cwd = "/".into();
    spawn.log = Some(own_log(kind.as_str()));
    spawn.whole_tree = true;
    Ok(spawn)
}

/// Whether an instance answers as one that is ready does.
pub(crate) async fn is_ready(instance: &dyn Instance, mut stream: TcpStream) -> io::Result<bool> {
    let (question, expected) = instance.hello();
    stream.write_all(question).await?;
    let mut answer = vec![0_u8; expected.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == expected)
}

/// The program of this daemon as one of its resources, for the port and directory of an instance.
fn own_program(what: &str, port: u16, directory: &str) -> Program {
    let argv = [inside::PROGRAM, "resource", what, &port.to_string(), directory];
    Program::Argv(argv.map(str::to_owned).to_vec())
}

/// What a workspace's resource is opened with.
struct Saved {
    secret: Secret,
    was_there: bool,
}

/// The secret kept in this file, made and saved at the first call: 48 hexadecimal digits.
fn saved_secret(path: &Path, entropy: &dyn Entropy) -> io::Result<Saved> {
    if let Some(secret) = known_secret(path)? {
        return Ok(Saved { secret, was_there: true });
    }
    let secret = fresh_secret(entropy);
    files::replace(path, secret.expose().as_bytes(), 0o600, files::Durability::Machine)?;
    Ok(Saved { secret, was_there: false })
}

/// The file with the password or key of a kind that has one.
pub(crate) fn credential(kind: ResourceKind, place: &Place) -> Option<PathBuf> {
    match kind {
        ResourceKind::Postgres => Some(place.postgres_password()),
        ResourceKind::ObjectStorage => Some(place.object_storage_secret()),
        ResourceKind::Redis | ResourceKind::Mail => None,
    }
}

/// What tells the secret kept in a file from every other, without being it; nothing if none is kept there.
pub(crate) fn mark_of(path: &Path) -> io::Result<Option<String>> {
    Ok(known_secret(path)?.map(|secret| digest(secret.expose())))
}

/// Where the secret lies that is to take the place of the one kept in this file, as long as not everything else knows it.
pub(crate) fn next(path: &Path) -> PathBuf {
    path.with_added_extension("next")
}

/// A secret on its way to take the place of the one kept in this file. One that is there already goes on being it.
fn begin_next(path: &Path, entropy: &dyn Entropy) -> io::Result<Secret> {
    let saved = saved_secret(&next(path), entropy)?;
    point("secret.next");
    Ok(saved.secret)
}

/// The secret that is on its way is the one kept in this file from now on.
fn keep_next(path: &Path) -> io::Result<()> {
    fs_err::rename(next(path), path)?;
    path.parent().map_or(Ok(()), |parent| fs_err::File::open(parent)?.sync_all())?;
    point("secret.kept");
    Ok(())
}

/// The secret kept in this file, if one is.
fn known_secret(path: &Path) -> io::Result<Option<Secret>> {
    match fs_err::read_to_string(path) {
        Ok(text) if text.trim().len() == 48 => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(None),
    }
}

fn fresh_secret(entropy: &dyn Entropy) -> Secret {
    let mut bytes = [0_u8; 24];
    entropy.fill(&mut bytes);
    Secret::new(hex::encode(bytes))
}

/// Values that are no secrets by themselves, kept as such.
fn values<const N: usize>(pairs: [(&'static str, String); N]) -> Values {
    pairs.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
}
