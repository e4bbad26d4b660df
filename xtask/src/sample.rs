//! The sample application as a repository of its own, as a team would have it.
//!
//! It stays beside the box from run to run, because a project is known by where its repository is; each run works on a
//! branch of its own.

use crate::installation::command;
use anyhow::ensure;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Left out: what `npm ci` and builds make again.
const SKIPPED: [&str; 4] = ["node_modules", "dist", ".git", ".env"];

/// A checkout of the sample in `folder`, on a new `branch`.
pub(crate) async fn repository(sample: &Path, folder: &Path, branch: &str) -> anyhow::Result<PathBuf> {
    ensure!(sample.join("envforge.yml").exists(), "{} has no envforge.yml", sample.display());
    let name = sample.canonicalize()?;
    let name = name.file_name().map_or_else(|| "sample".into(), ToOwned::to_owned);
    let root = folder.join(name);
    fs_err::create_dir_all(&root)?;
    for entry in fs_err::read_dir(&root)? {
        let entry = entry?;
        if entry.file_name() != ".git" {
            remove(&entry.path())?;
        }
    }
    copy(sample, &root)?;
    if !root.join(".git").exists() {
        git(&root, &["init", "-q", "-b", "main"]).await?;
    }
    git(&root, &["add", "-A"]).await?;
    let who =
        ["-c", "user.name=EnvForge sample", "-c", "user.email=sample@envforge.invalid", "-c", "commit.gpgsign=false"];
    git(&root, &[&who[..], &["commit", "-q", "--allow-empty", "-m", "The sample"]].concat()).await?;
    git(&root, &["checkout", "-q", "-B", branch]).await?;
    Ok(root)
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() && !path.is_symlink() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            fs_err::create_dir_all(&target)?;
            copy(&source, &target)?;
        } else {
            fs_err::copy(&source, &target)?;
        }
    }
    Ok(())
}

async fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut git = command(Path::new("git"));
    git.arg("-C").arg(folder).args(arguments).stdin(Stdio::null());
    // The sample is what it is, whatever this machine's owner configured.
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = git.output().await?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
