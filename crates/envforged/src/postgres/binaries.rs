//! Where PostgreSQL's programs are.
//!
//! Debian keeps them outside PATH, a directory per major version; others put them on PATH. The version that made
//! existing data is preferred, then the newest.

use crate::advice::advised;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest major version that will do.
const OLDEST: u32 = 13;
const DEBIAN: &str = "/usr/lib/postgresql";
const NEEDED: [&str; 4] = ["initdb", "pg_ctl", "postgres", "pg_isready"];

/// A directory with PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The major version.
    pub(crate) version: u32,
}

impl Binaries {
    /// The programs in `chosen`; else installed ones of version `wanted`, else the newest.
    pub(crate) fn find(chosen: Option<&Path>, wanted: Option<u32>) -> anyhow::Result<Self> {
        if let Some(dir) = chosen {
            let missing = NEEDED.iter().find(|program| !dir.join(program).exists());
            if let Some(program) = missing {
                let fix = "give the directory that holds initdb, pg_ctl, postgres and pg_isready with --postgres-bin";
                return Err(advised(format!("there is no {program} in {}", dir.display()), fix));
            }
            return Self::at(dir).and_then(Self::new_enough);
        }
        let mut installed = Self::installed(Path::new(DEBIAN));
        installed.extend(on_path().and_then(|dir| Self::at(&dir).ok()));
        installed.sort_by_key(|binaries| (Some(binaries.version) == wanted, binaries.version));
        let best = installed.pop().ok_or_else(|| {
            advised(
                format!("PostgreSQL's programs (initdb, pg_ctl, postgres) are neither in {DEBIAN} nor on PATH"),
                "apt-get install postgresql; or name their directory with --postgres-bin, or another server with DATABASE_URL",
            )
        })?;
        best.new_enough()
    }

    fn installed(root: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let dir = entry.path().join("bin");
            NEEDED.iter().all(|program| dir.join(program).exists()).then_some(Self { dir, version })
        });
        found.collect()
    }

    fn at(dir: &Path) -> anyhow::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "asks PostgreSQL for its version")]
        let output = Command::new(dir.join("postgres")).arg("--version").stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("{}/postgres could not be run", dir.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version =
            major(&text).with_context(|| format!("{}/postgres --version said `{}`", dir.display(), text.trim()))?;
        Ok(Self { dir: dir.to_owned(), version })
    }

    fn new_enough(self) -> anyhow::Result<Self> {
        if self.version >= OLDEST {
            return Ok(self);
        }
        let cause = format!("PostgreSQL {} in {} is too old", self.version, self.dir.display());
        Err(advised(cause, format!("install version {OLDEST} or newer")))
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` → 15.
fn major(text: &str) -> Option<u32> {
    text.split_whitespace().nth(2)?.split('.').next()?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Resolved, because the others lie beside what a link on PATH points to.
    let dirs = std::env::split_paths(&path)
        .filter_map(|dir| Some(fs_err::canonicalize(dir.join("initdb")).ok()?.parent()?.to_owned()));
    dirs.into_iter().find(|dir| NEEDED.iter().all(|program| dir.join(program).exists()))
}

#[cfg(test)]
mod tests {
    use super::{Binaries, NEEDED, major};

    #[test]
    fn versions_are_read_as_postgresql_writes_them() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), None, "a beta's data are no release's data");
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn only_whole_installations_count() {
        let root = tempfile::tempdir().unwrap();
        for (version, programs) in [("13", &NEEDED[..]), ("16", &NEEDED[..2]), ("common", &NEEDED[..])] {
            let dir = root.path().join(version).join("bin");
            fs_err::create_dir_all(&dir).unwrap();
            for program in programs {
                fs_err::write(dir.join(program), "").unwrap();
            }
        }
        let found = Binaries::installed(root.path());
        assert_eq!(found.iter().map(|binaries| binaries.version).collect::<Vec<_>>(), [13]);
    }
}
