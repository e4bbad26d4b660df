//! What a host takes of its machine for itself: its name there, a range of Linux users, a network.
//!
//! Sandboxes outlive their daemon, so a claim does too: it is a file that stays until the machine restarts, the host's data are
//! gone, or an operator clears them ([`crate::clear`]). A host that would take what another one has does not start:
//! it would share its users, and find its cables plugged in elsewhere.

use crate::config::HostConfig;
use crate::sys::egress::{POOL_SIZE, cable_prefix};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What a host claims; the file also tells [`crate::clear`] what a daemon was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) data_dir: PathBuf,
    pub(crate) instance: String,
    pub(crate) uid_base: u32,
    pub(crate) network_pool: [u8; 2],
}

/// Another host of this machine has some of it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Taken {
    /// Who has what.
    pub cause: String,
    /// What helps.
    pub fix: String,
}

impl Claim {
    fn of(config: &HostConfig) -> io::Result<Self> {
        Ok(Self {
            data_dir: std::path::absolute(&config.data_dir)?,
            instance: config.instance.clone(),
            uid_base: config.uid_base,
            network_pool: config.network_pool,
        })
    }

    /// What two claims have in common, in words; `None` if nothing.
    fn overlap(&self, other: &Self) -> Option<String> {
        if self.instance == other.instance {
            return Some(format!("the instance name `{}`", self.instance));
        }
        if cable_prefix(&self.instance) == cable_prefix(&other.instance) {
            return Some(format!("the cables' names, by the short hash of the instance name `{}`", other.instance));
        }
        if self.uid_base.abs_diff(other.uid_base) < POOL_SIZE {
            return Some(format!("the Linux users from {} on", other.uid_base));
        }
        let [a, b] = other.network_pool;
        (self.network_pool == other.network_pool).then(|| format!("the network {a}.{b}.0.0/16"))
    }

    /// A claim that overlaps none of these, to be offered.
    fn free(taken: &[Self]) -> Option<Self> {
        let offers = (2_u32..42).filter_map(|number| {
            Some(Self {
                data_dir: PathBuf::new(),
                instance: format!("box{number}"),
                uid_base: 200_000 + number * 20_000,
                network_pool: [10, 212_u8.checked_add(u8::try_from(number).ok()?)?],
            })
        });
        offers.into_iter().find(|offer| taken.iter().all(|other| offer.overlap(other).is_none()))
    }
}

/// Takes what the configuration says, unless another host has it. Claiming again what is claimed is fine.
pub(crate) fn take(config: &HostConfig) -> io::Result<Result<(), Taken>> {
    let (claims, mine) = (Claims::lock(&config.claims)?, Claim::of(config)?);
    let others: Vec<Claim> = claims.read()?.into_iter().filter(|other| other.data_dir != mine.data_dir).collect();
    let Some((other, what)) = others.iter().find_map(|other| Some((other, mine.overlap(other)?))) else {
        claims.write(&mine)?;
        return Ok(Ok(()));
    };
    let theirs = other.data_dir.display();
    let flags = Claim::free(&others).map_or_else(String::new, |free| {
        let [a, b] = free.network_pool;
        format!(
            "start this one with `--instance {} --uid-base {} --network-pool {a}.{b}`, which nobody has; or ",
            free.instance, free.uid_base
        )
    });
    let data = other.data_dir.parent().unwrap_or(&other.data_dir).display();
    Ok(Err(Taken {
        cause: format!("another host of this machine, with its data in {theirs}, has {what}"),
        fix: format!("{flags}end what that one left running: stop it, then `envforged admin clear --data-dir {data}`"),
    }))
}

/// What the host with these data claimed last.
pub(crate) fn of_host(claims: &Path, data_dir: &Path) -> io::Result<Option<Claim>> {
    let data_dir = std::path::absolute(data_dir)?;
    Ok(Claims::lock(claims)?.read()?.into_iter().find(|claim| claim.data_dir == data_dir))
}

/// Gives it back.
pub(crate) fn release(claims: &Path, claim: &Claim) -> io::Result<()> {
    let claims = Claims::lock(claims)?;
    crate::files::remove_if_there(&claims.file(&claim.instance))
}

/// The claims of this machine, one file each, held still.
struct Claims {
    directory: PathBuf,
    _lock: std::fs::File,
}

impl Claims {
    fn lock(directory: &Path) -> io::Result<Self> {
        fs_err::create_dir_all(directory)?;
        let path = directory.join("lock");
        let lock = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?.into_parts().0;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    fn file(&self, instance: &str) -> PathBuf {
        self.directory.join(format!("{instance}.json"))
    }

    /// Those of hosts that still are; the others are forgotten.
    fn read(&self) -> io::Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for entry in fs_err::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match fs_err::read(&path).map(|bytes| serde_json::from_slice::<Claim>(&bytes)) {
                Ok(Ok(claim)) if claim.data_dir.exists() => claims.push(claim),
                _ => crate::files::remove_if_there(&path)?,
            }
        }
        Ok(claims)
    }

    fn write(&self, claim: &Claim) -> io::Result<()> {
        // Its host had another name before.
        for before in self.read()?.iter().filter(|before| before.data_dir == claim.data_dir) {
            crate::files::remove_if_there(&self.file(&before.instance))?;
        }
        let bytes = serde_json::to_vec(claim).map_err(io::Error::other)?;
        crate::files::replace(&self.file(&claim.instance), &bytes, 0o600, crate::files::Durability::Process)
    }
}

#[cfg(test)]
mod tests {
    use super::{of_host, release, take};
    use crate::config::HostConfig;
    use envforge_api::client::Address;
    use std::path::Path;

    fn host(machine: &Path, name: &str) -> HostConfig {
        let data = machine.join(name).join("host");
        std::fs::create_dir_all(&data).expect("made");
        let server = Address::Url("http://127.0.0.1:1".to_owned());
        HostConfig { claims: machine.join("claims"), ..HostConfig::new(data, server, "/proc/self/exe") }
    }

    // proves RUN-7 OPS-2
    #[test]
    fn two_hosts_of_one_machine_share_nothing() {
        let machine = tempfile::tempdir().expect("a directory");
        let one = host(machine.path(), "one");
        assert!(take(&one).expect("claims").is_ok());
        assert!(take(&one).expect("claims").is_ok(), "a daemon that comes again");
        let mut two = host(machine.path(), "two");
        let taken = take(&two).expect("claims").expect_err("the same name");
        assert!(taken.cause.contains("/one/host, has the instance name `default`"), "{taken}");
        assert!(
            taken.fix.contains("--instance box2 --uid-base 240000 --network-pool 10.214`, which nobody has"),
            "{}",
            taken.fix
        );
        two.instance = "box2".to_owned();
        assert!(
            take(&two).expect("claims").expect_err("the same users").cause.contains("the Linux users from 200000 on")
        );
        two.uid_base = 240_000;
        assert!(take(&two).expect("claims").expect_err("the same network").cause.contains("the network 10.213.0.0/16"));
        two.network_pool = [10, 214];
        assert!(take(&two).expect("claims").is_ok());
        // What was cleared, or whose data are gone, is free again.
        let claim = of_host(&one.claims, &one.data_dir).expect("claims").expect("claimed");
        release(&one.claims, &claim).expect("released");
        std::fs::remove_dir_all(machine.path().join("two")).expect("removed");
        let three = host(machine.path(), "three");
        assert!(take(&three).expect("claims").is_ok());
        assert!(take(&one).expect("claims").is_err());
    }
}
