//! Disk space that the journal has while nobody else gets any.
//!
//! A file is replaced by writing a new one beside it, for which a full disk has no room. Space that is freed at that moment is
//! not there for long: whoever filled the disk goes on writing. So there are files that have their blocks already. One is
//! overwritten in place, filled up with spaces, which JSON allows behind a value, and then changes places with the file that
//! is replaced: at each moment there is the old one or the new one, whole, and no block was asked for. If the old one was a
//! spare too, it is one again, so that a few serve for as long as the disk stays full; until there is room again, such a file is
//! replaced in this way only, because a smaller one would give its blocks away.

use rustix::fs::RenameFlags;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Of each; a larger journal can't be replaced while the disk is full.
pub(super) const SIZE: u64 = 128 * 1024;
/// For this many journal files that are written meanwhile.
const COUNT: u64 = 128;
/// They take this part of a small filesystem.
const PART: u64 = 64;

/// The spare files of a host, in a directory of their own.
#[derive(Debug)]
pub(crate) struct Spares {
    dir: PathBuf,
    /// Held while they are taken or made.
    busy: Mutex<()>,
    /// They were needed, and there has not been room since.
    are_needed: AtomicBool,
}

impl Spares {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, busy: Mutex::default(), are_needed: AtomicBool::default() }
    }

    /// There is room: makes those that are missing, on a filesystem of so many bytes.
    pub(super) fn fill(&self, filesystem: u64) -> io::Result<()> {
        self.are_needed.store(false, Ordering::Relaxed);
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        crate::files::directory(&self.dir, 0o700, None)?;
        for number in 0..COUNT.min(filesystem / PART / SIZE) {
            let path = self.dir.join(number.to_string());
            if !is_spare(&path) {
                // Written, not only reserved: what is written for the first time may need room for that.
                write(&path, &[])?;
            }
        }
        Ok(())
    }

    /// Whether this file has the blocks of a spare, and is to keep them.
    pub(crate) fn hold(&self, path: &Path) -> bool {
        self.are_needed.load(Ordering::Relaxed) && is_spare(path)
    }

    /// Replaces a file by these bytes of JSON and brings them to the disk, without a block that is not there already.
    pub(crate) fn replace(&self, path: &Path, json: &[u8]) -> io::Result<()> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.are_needed.store(true, Ordering::Relaxed);
        let none = || io::Error::from(io::ErrorKind::StorageFull);
        if json.len() as u64 > SIZE {
            return Err(none());
        }
        let numbers = (0..COUNT).map(|number| self.dir.join(number.to_string()));
        let spare = numbers.into_iter().find(|spare| is_spare(spare)).ok_or_else(none)?;
        write(&spare, json)?;
        let here = rustix::fs::CWD;
        match rustix::fs::renameat_with(here, &spare, here, path, RenameFlags::EXCHANGE) {
            // There was nothing to replace.
            Err(rustix::io::Errno::NOENT) => fs_err::rename(&spare, path)?,
            Err(error) => return Err(error.into()),
            Ok(()) if !is_spare(&spare) => fs_err::remove_file(&spare)?,
            Ok(()) => {}
        }
        match path.parent() {
            Some(parent) => fs_err::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn is_spare(path: &Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == SIZE)
}

/// Writes these bytes and spaces behind them, over what is there.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut whole = Vec::with_capacity(SIZE as usize);
    whole.extend_from_slice(bytes);
    whole.resize(SIZE as usize, b' ');
    let open = || File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
    let written = open().and_then(|mut file| {
        file.write_all(&whole)?;
        file.sync_all()
    });
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
