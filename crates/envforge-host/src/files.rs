//! Files the daemon writes for itself, and files it reads from where others write.
//!
//! Its own files are replaced whole: written beside, then renamed. Whether the disk is asked to have them before the
//! call returns is the caller's choice, because most of what is written here must survive the daemon, not the machine.
//!
//! A checkout belongs to the workspace's user, who may put a link or a pipe anywhere in it. What is read there is
//! opened beneath the checkout by the kernel's own rule, must be an ordinary file, and has a size limit; it is never
//! written by the daemon at all.

use crate::faults::point;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of the daemon.
    Process,
    /// The end of the machine.
    Machine,
}

/// Replaces `path` by a file with these bytes and this mode.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let beside = temporary(path);
    let written = write_beside(&beside, bytes, mode, durability).and_then(|()| {
        point("file.beside");
        fs_err::rename(&beside, path)
    });
    if written.is_err() {
        drop(fs_err::remove_file(&beside));
    }
    written?;
    if durability == Durability::Machine
        && let Some(parent) = path.parent()
    {
        fs_err::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The same where it does not have these bytes already; for files that nobody else writes.
pub(crate) fn keep(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if fs_err::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    replace(path, bytes, mode, Durability::Process)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn write_beside(beside: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(beside)?;
    file.write_all(bytes)?;
    if durability == Durability::Machine {
        file.sync_all()?;
    }
    Ok(())
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory and all in it; one that is not there is no error.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory with exactly this mode and owner; one that is there gets them too.
pub(crate) fn directory(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    match fs_err::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let named = |error: rustix::io::Errno| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(named)?;
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&dir, Some(uid), Some(gid)).map_err(named)?;
    }
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode)).map_err(named)
}

/// What reading a file that others may have made found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// There is no such file.
    Missing,
    /// It has so many bytes, more than allowed.
    TooLarge(u64),
    /// There is something, but nothing that can be read as a file: why.
    Unfit(String),
}

/// Reads a file beneath `root`, which others write; nothing outside is ever read through it.
pub(crate) fn read_beneath(root: &Path, relative: &Path, max: u64) -> io::Result<Foreign> {
    let file = match open_beneath(root, relative) {
        Ok(file) => file,
        Err(error) => {
            return match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(Foreign::Missing),
                Some(rustix::io::Errno::XDEV | rustix::io::Errno::LOOP) => {
                    Ok(Foreign::Unfit("it is a link that leads out of the checkout".to_owned()))
                }
                _ => Err(error),
            };
        }
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Foreign::Unfit("it is not an ordinary file".to_owned()));
    }
    if metadata.len() > max {
        return Ok(Foreign::TooLarge(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(max).read_to_end(&mut bytes)?;
    Ok(Foreign::Bytes(bytes))
}

/// Opens a file beneath `root` for reading, never waiting and never leaving `root`.
pub(crate) fn open_beneath(root: &Path, relative: &Path) -> io::Result<std::fs::File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(&root, relative, flags, Mode::empty(), resolve)?.into())
}

/// Makes a fresh file with this mode, for a secret or a bundle.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .write(true)
        .read(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_checkout_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("checkout");
        fs_err::create_dir(&root).expect("made");
        fs_err::write(dir.path().join("secret"), "s").expect("written");
        fs_err::write(root.join("inside"), "i").expect("written");
        fs_err::os::unix::fs::symlink("../secret", root.join("out")).expect("linked");
        fs_err::os::unix::fs::symlink("/etc/passwd", root.join("absolute")).expect("linked");
        fs_err::os::unix::fs::symlink("inside", root.join("within")).expect("linked");
        let read = |name: &str| read_beneath(&root, Path::new(name), 100).expect("an answer");
        assert!(matches!(read("out"), Foreign::Unfit(_)));
        assert!(matches!(read("absolute"), Foreign::Unfit(_)));
        assert_eq!(read("within"), Foreign::Bytes(b"i".to_vec()));
        assert_eq!(read("nothing"), Foreign::Missing);
        assert!(matches!(read_beneath(&root, Path::new("."), 100), Ok(Foreign::Unfit(_))));
    }

    #[test]
    fn a_replaced_file_has_the_mode_asked_for() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for text in ["one", "two"] {
            replace(&path, text.as_bytes(), 0o600, Durability::Machine).expect("replaced");
            assert_eq!(fs_err::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(fs_err::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
