//! Making a workspace's checkout from its repository.
//!
//! A repository is a Git URL, or a directory of this machine. Whoever the files come from decides what Git may run,
//! so each step runs as the user it concerns and as nobody else: a local repository is packed into a bundle by *its
//! owner* (so file permissions and Git's ownership check hold), and everything is cloned by the workspace's own
//! user. The daemon itself never runs Git as root on files of others.
//!
//! A checkout appears by a rename, when it is complete. A half-made one is thrown away at the next try.

use crate::faults::point;
use crate::files;
use crate::git;
use crate::place::Place;
use crate::sys::command::{end_with_daemon, tokio_command};
use crate::trouble::{Blocked, blocked};
use envforge_core::git::Repository;
use envforge_core::ssh::SshRepository;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// The longest a clone may take.
const CLONE_LIMIT: Duration = Duration::from_mins(15);
/// What Git may fetch with; `ext` and `file` could run or read anything.
const PROTOCOLS: &str = "https:http:ssh:git";

/// Makes the checkout if there is none.
pub(crate) async fn ensure(place: &Place, forbidden: &Path, repository: &str, branch: &str) -> Result<(), Blocked> {
    if place.checkout().exists() {
        return Ok(());
    }
    let unfinished = place.unfinished_checkout();
    let fresh = || -> io::Result<()> {
        files::remove_tree(&unfinished)?;
        files::remove_if_there(&place.bundle())?;
        files::directory(&unfinished, 0o700, Some(place.host_user()))
    };
    fresh().map_err(|error| disk(&error))?;
    let made = if Path::new(repository).is_absolute() {
        from_directory(place, forbidden, Path::new(repository), branch).await
    } else {
        from_url(place, repository, branch).await
    };
    drop(files::remove_if_there(&place.bundle()));
    match made {
        Ok(()) => {
            point("checkout.made");
            fs_err::rename(&unfinished, place.checkout()).map_err(|error| disk(&error))?;
            point("checkout.there");
            Ok(())
        }
        Err(blocked) => {
            drop(files::remove_tree(&unfinished));
            Err(blocked)
        }
    }
}

fn disk(error: &io::Error) -> Blocked {
    blocked(
        "shell.checkout_failed",
        format!("the checkout could not be made: {error}"),
        "see that the host's disk has room, then prepare the workspace again",
    )
}

async fn from_url(place: &Place, url: &str, branch: &str) -> Result<(), Blocked> {
    if url.starts_with('-') || url.contains("::") || url.chars().any(char::is_control) {
        return Err(blocked(
            "shell.repository_invalid",
            format!("`{}` is not a repository's address", url.escape_default()),
            "give an https, ssh or git URL, or the absolute path of a repository on this host",
        ));
    }
    let clone = ["clone", "--quiet", "--no-checkout", "--", url, "."];
    let output = match SshRepository::parse(url) {
        Some(repository) => over_ssh(place, &repository, &clone).await?,
        None => git(place, &clone).await?,
    };
    if !output.status.success() {
        let said = said(&output);
        return Err(blocked(
            "shell.repository_unreachable",
            format!("`{url}` could not be cloned: {said}"),
            clone_fix(url, &said),
        ));
    }
    switch(place, branch).await
}

fn clone_fix(url: &str, said: &str) -> String {
    let lower = said.to_lowercase();
    if lower.contains("ssh: not found") {
        return "install SSH on the host: apt-get install openssh-client".to_owned();
    }
    if ["authentication", "username", "permission denied", "publickey", "403"].iter().any(|word| lower.contains(word)) {
        match Repository::parse(url) {
            Some(repository) => format!(
                "`envforge git-credential set {}` with a token that may read and write the repository, then prepare the workspace again",
                repository.host
            ),
            None => match SshRepository::parse(url) {
                Some(SshRepository { host, .. }) => format!(
                    "register the key that `envforge git-credential generate-key {host}` makes at {host}, then prepare the workspace again"
                ),
                None => "give the repository's https address, for which people have tokens".to_owned(),
            },
        }
    } else if lower.contains("host key verification failed") {
        "see that it is the right host; the host's operator gives its key in /etc/ssh/ssh_known_hosts".to_owned()
    } else if lower.contains("resolve host") || lower.contains("connect") || lower.contains("timed out") {
        "check the address, and that this host can reach it".to_owned()
    } else {
        "check that the repository exists and can be read from this host".to_owned()
    }
}

async fn from_directory(place: &Place, forbidden: &Path, path: &Path, branch: &str) -> Result<(), Blocked> {
    let (path, metadata) = directory(path)?;
    if path.starts_with(forbidden) {
        return Err(not_a_repository(&path, "it belongs to this host's own data"));
    }
    bundle(place, &path, metadata.uid(), metadata.gid()).await?;
    point("checkout.bundled");
    let bundle = place.bundle().to_string_lossy().into_owned();
    let output =
        git(place, &["-c", "protocol.file.allow=always", "clone", "--quiet", "--no-checkout", "--", &bundle, "."])
            .await?;
    if !output.status.success() {
        return Err(not_a_repository(&path, &said(&output)));
    }
    let origin = path.to_string_lossy().into_owned();
    run(place, &["remote", "set-url", "origin", &origin]).await?;
    switch(place, branch).await
}

fn directory(path: &Path) -> Result<(PathBuf, std::fs::Metadata), Blocked> {
    let found = path.canonicalize().and_then(|path| Ok((path.clone(), std::fs::metadata(&path)?)));
    match found {
        Ok((path, metadata)) if metadata.is_dir() => Ok((path, metadata)),
        Ok(_) => Err(not_a_repository(path, "it is not a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(blocked(
            "shell.repository_unreachable",
            format!("there is no directory {} on this host", path.display()),
            "give the repository's absolute path on the host, or its URL",
        )),
        Err(error) => Err(not_a_repository(path, &error.to_string())),
    }
}

fn not_a_repository(path: &Path, why: &str) -> Blocked {
    blocked(
        "shell.not_a_repository",
        format!("{} can't be used as a repository: {why}", path.display()),
        "give the directory that contains `.git`, with at least one commit",
    )
}

/// Packs every branch and tag, as the repository's owner, into a file that the workspace's user may read.
async fn bundle(place: &Place, path: &Path, uid: u32, gid: u32) -> Result<(), Blocked> {
    let (uid, gid) = place.acts_as(uid, gid);
    let into = files::create_new(&place.bundle(), 0o600).map_err(|error| disk(&error))?;
    let mut command = tokio_command("git");
    command
        .args(["bundle", "create", "--quiet", "-", "HEAD", "--branches", "--tags"])
        .current_dir(path)
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        // A directory within a repository is not one.
        .env("GIT_CEILING_DIRECTORIES", path.parent().unwrap_or(path))
        .env("GIT_TERMINAL_PROMPT", "0")
        .uid(uid)
        .gid(gid)
        .stdin(Stdio::null())
        .stdout(Stdio::from(into))
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = finish(command).await?;
    if !output.status.success() {
        let said = said(&output);
        if said.contains("empty bundle") || said.contains("ambiguous argument 'HEAD'") || said.contains("bad revision")
        {
            return Err(blocked(
                "shell.no_commits",
                format!("{} has no commits yet", path.display()),
                "commit something there, then prepare the workspace again",
            ));
        }
        return Err(not_a_repository(path, &said));
    }
    place.give(&place.bundle()).map_err(|error| disk(&error))
}

/// Checks the branch out; one that does not exist is made from the default branch.
async fn switch(place: &Place, branch: &str) -> Result<(), Blocked> {
    check_name(place, branch).await?;
    if !succeeds(place, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await?
        && !succeeds(place, &["rev-parse", "--verify", "--quiet", &format!("refs/remotes/origin/{branch}^{{commit}}")])
            .await?
    {
        return Err(blocked(
            "shell.no_commits",
            "the repository has no commits yet",
            "push a first commit, then prepare the workspace again",
        ));
    }
    let remote = format!("refs/remotes/origin/{branch}");
    if succeeds(place, &["show-ref", "--verify", "--quiet", &remote]).await? {
        run(place, &["checkout", "--quiet", "-B", branch, "--track", &format!("origin/{branch}")]).await
    } else {
        run(place, &["checkout", "--quiet", "-B", branch, "--no-track", "HEAD"]).await
    }
}

/// Puts the unfinished checkout on a new branch at the commit it is at, and leaves index and files as they are.
pub(crate) async fn branch_off(place: &Place, branch: &str) -> Result<(), Blocked> {
    check_name(place, branch).await?;
    let reference = format!("refs/heads/{branch}");
    // Before a first commit there is nothing a branch could be at.
    if succeeds(place, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await? {
        run(place, &["update-ref", &reference, "HEAD"]).await?;
    }
    run(place, &["symbolic-ref", "HEAD", &reference]).await
}

async fn check_name(place: &Place, branch: &str) -> Result<(), Blocked> {
    if succeeds(place, &["check-ref-format", "--branch", branch]).await? && !branch.starts_with('-') {
        return Ok(());
    }
    Err(blocked(
        "shell.branch_invalid",
        format!("`{}` can't name a branch", branch.escape_default()),
        "use letters, digits, `-`, `_`, `.` and `/`",
    ))
}

async fn succeeds(place: &Place, args: &[&str]) -> Result<bool, Blocked> {
    Ok(git(place, args).await?.status.success())
}

async fn run(place: &Place, args: &[&str]) -> Result<(), Blocked> {
    let output = git(place, args).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(blocked(
        "shell.checkout_failed",
        format!("git {}: {}", args.first().unwrap_or(&""), said(&output)),
        "see that the branch can be checked out and the host's disk has room, then prepare the workspace again",
    ))
}

/// Git in the unfinished checkout, as the workspace's user.
async fn git(place: &Place, args: &[&str]) -> Result<Output, Blocked> {
    finish(configured(as_user(place), place, args)).await
}

/// The same, as somebody whom SSH knows by name.
async fn over_ssh(place: &Place, repository: &SshRepository, args: &[&str]) -> Result<Output, Blocked> {
    let command = if place.is_apart() { git::ssh::git_of_named_user(place) } else { as_user(place) };
    let mut command = configured(command, place, args);
    command.envs(git::ssh::cloning_here(place, repository));
    finish(command).await
}

fn as_user(place: &Place) -> Command {
    let (uid, gid) = place.host_user();
    let mut command = tokio_command("git");
    command.uid(uid).gid(gid);
    command
}

/// With these arguments, and nothing of the machine's that Git would go by.
fn configured(mut command: Command, place: &Place, args: &[&str]) -> Command {
    command
        .args(args)
        .current_dir(place.unfinished_checkout())
        .env("HOME", place.home())
        .env("USER", "dev")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new")
        .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
        .envs(git::asking_here(place))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if args.contains(&"protocol.file.allow=always") {
        command.env_remove("GIT_ALLOW_PROTOCOL");
    }
    command
}

async fn finish(mut command: Command) -> Result<Output, Blocked> {
    end_with_daemon(&mut command);
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            blocked("shell.git_missing", "git is not installed on the host", "install it: apt-get install git")
        }
        _ => disk(&error),
    })?;
    point("git.started");
    match tokio::time::timeout(CLONE_LIMIT, child.wait_with_output()).await {
        Ok(output) => output.map_err(|error| disk(&error)),
        Err(_) => Err(blocked(
            "shell.repository_unreachable",
            format!("git did not end within {} minutes", CLONE_LIMIT.as_secs() / 60),
            "check that this host can reach the repository",
        )),
    }
}

/// The last lines of what Git, and who answers it, said.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    // What Git adds to every failure of SSH would hide its cause.
    let is_cause = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("Please make sure you have the correct access")
            && *line != "and the repository exists."
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(is_cause).collect();
    let last = lines.iter().rev().take(3).rev().copied().collect::<Vec<_>>().join("; ");
    if last.is_empty() { output.status.to_string() } else { last }
}
