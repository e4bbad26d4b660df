//! Copying a workspace's files to another workspace, sharing blocks where the filesystem can.
//!
//! The source is written to by its user while this runs, who may put a link, a pipe or somebody else's file in the way at
//! any moment. So nothing is reached by a path that he could turn: a directory is opened beneath the source by the
//! kernel's own rule, an entry by the descriptor of its directory, never through a link, and a file is copied only if it
//! belongs to one of the source's own users. The target is seen by nobody until the copy is whole.
//!
//! Of a file its bytes, mode, times and owner are copied, links stay links, files with several names keep them, holes stay
//! holes. Sockets, pipes and devices are left out, and so is every set-user-ID bit. What is copied while it changes may
//! come out torn, as with any copy of files in use.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads of one copy; most of it is waiting for the filesystem.
const THREADS: usize = 4;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Whose files are copied, and whose they become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owners {
    /// User and group of the source, and of the target.
    pub(crate) own: [(u32, u32); 2],
    /// The first of the ids that root terminals of the source give files to, the first of the target's, and how many there
    /// are: each stands for a user and a group.
    pub(crate) further: Option<(u32, u32, u32)>,
}

impl Owners {
    /// User and group in the target of what belongs to these in the source; `None` for what is somebody else's.
    fn of(&self, user: u32, group: u32) -> Option<(u32, u32)> {
        let [(from_user, from_group), (to_user, to_group)] = self.own;
        let further = |id: u32| {
            let (from, to, count) = self.further?;
            (from..from + count).contains(&id).then(|| to + (id - from))
        };
        let mapped = |id, own, becomes| if id == own { Some(becomes) } else { further(id) };
        mapped(user, from_user, to_user).zip(mapped(group, from_group, to_group))
    }
}

/// What a copy came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Files, links not counted.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those of the bytes that lie on the disk once for both.
    pub(crate) shared: u64,
    /// Entries left out: they belong to somebody else, or are no files.
    pub(crate) left_out: u64,
}

/// Whether files below `dir` can share their blocks: it is tried.
pub(crate) fn shares_blocks(dir: &Path) -> bool {
    let attempt = || -> io::Result<()> {
        let one = tempfile_in(dir)?;
        rustix::io::write(&one, &[1])?;
        rustix::fs::ioctl_ficlone(tempfile_in(dir)?, &one)?;
        Ok(())
    };
    attempt().is_ok()
}

/// A file without a name.
fn tempfile_in(dir: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?)
}

/// Copies what is below `from` into `to`, an empty directory. `left` names files that are not copied, by their path below
/// `from`; `is_stopped` is asked again and again.
///
/// # Errors
/// With the first entry that could not be copied; `Interrupted` when it was stopped. What was copied so far stays, and
/// nothing of it need be on the disk yet.
pub(crate) fn copy_tree(
    from: &Path,
    to: &Path,
    owners: Owners,
    left: &(dyn Fn(&Path) -> bool + Sync),
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> io::Result<Copied> {
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: Errno| io::Error::new(error.kind(), format!("{path}: {error}"))
    };
    let copy = Copy {
        from: rustix::fs::open(from, DIRECTORY, Mode::empty()).map_err(named(from))?,
        to: rustix::fs::open(to, DIRECTORY, Mode::empty()).map_err(named(to))?,
        target: to,
        owners,
        left,
        is_stopped,
        todo: Mutex::new(Todo { directories: vec![PathBuf::new()], busy: 0, failed: None }),
        changed: Condvar::new(),
        directories: Mutex::default(),
        names: Mutex::default(),
        clones: AtomicBool::new(true),
        files: AtomicU64::default(),
        bytes: AtomicU64::default(),
        shared: AtomicU64::default(),
        left_out: AtomicU64::default(),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| copy.work());
        }
    });
    copy.finish()
}

/// A directory whose mode and times are set last: a read-only one could not be filled otherwise, and filling it changes its time.
struct Filled {
    path: PathBuf,
    mode: Mode,
    times: Timestamps,
}

struct Todo {
    directories: Vec<PathBuf>,
    /// Threads at work, which may find more.
    busy: usize,
    failed: Option<io::Error>,
}

struct Copy<'a> {
    from: OwnedFd,
    to: OwnedFd,
    target: &'a Path,
    owners: Owners,
    left: &'a (dyn Fn(&Path) -> bool + Sync),
    is_stopped: &'a (dyn Fn() -> bool + Sync),
    todo: Mutex<Todo>,
    changed: Condvar,
    directories: Mutex<Vec<Filled>>,
    /// Where the files with several names lie in the target, by their inode in the source.
    names: Mutex<HashMap<(u64, u64), PathBuf>>,
    /// The filesystem has not refused yet to share blocks.
    clones: AtomicBool,
    files: AtomicU64,
    bytes: AtomicU64,
    shared: AtomicU64,
    left_out: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Copy<'_> {
    /// One thread's part: a directory at a time, until there is none and nobody can find another.
    fn work(&self) {
        let mut todo = lock(&self.todo);
        loop {
            if todo.failed.is_some() {
                return;
            }
            let Some(path) = todo.directories.pop() else {
                if todo.busy == 0 {
                    return;
                }
                todo = self.changed.wait(todo).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            todo.busy += 1;
            drop(todo);
            let done = self.directory(&path);
            todo = lock(&self.todo);
            todo.busy -= 1;
            match done {
                Ok(found) => todo.directories.extend(found),
                Err(error) => drop(todo.failed.get_or_insert(error)),
            }
            self.changed.notify_all();
        }
    }

    fn finish(self) -> io::Result<Copied> {
        let failed = self.todo.into_inner().unwrap_or_else(PoisonError::into_inner).failed;
        if let Some(error) = failed {
            return Err(error);
        }
        for Filled { path, mode, times } in self.directories.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let dir = open_beneath(&self.to, &path)?;
            rustix::fs::futimens(&dir, &times)?;
            rustix::fs::fchmod(&dir, mode)?;
        }
        Ok(Copied {
            files: self.files.into_inner(),
            bytes: self.bytes.into_inner(),
            shared: self.shared.into_inner(),
            left_out: self.left_out.into_inner(),
        })
    }

    /// Copies what is in one directory; the directories in it are made, and returned.
    fn directory(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let named = |name: &OsStr, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.join(name).display()))
        };
        let from = match open_beneath(&self.from, path) {
            Ok(dir) => dir,
            // Removed, or replaced by something that leads elsewhere.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Vec::new()),
            Err(error) => return Err(named(OsStr::new(""), error.into())),
        };
        let to = open_beneath(&self.to, path).map_err(|error| named(OsStr::new(""), error.into()))?;
        let mut found = Vec::new();
        for entry in Dir::read_from(&from)? {
            if (self.is_stopped)() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let text = OsStr::from_bytes(name.to_bytes());
            let below = path.join(text);
            if (self.left)(&below) {
                continue;
            }
            match self.entry(&from, &to, name, &below) {
                Ok(true) => found.push(below),
                // It is gone meanwhile, or was read twice because it was renamed.
                Ok(false) | Err(Errno::NOENT | Errno::EXIST) => {}
                Err(error) => return Err(named(text, error.into())),
            }
        }
        Ok(found)
    }

    /// Copies one entry; whether it is a directory, which was made.
    fn entry(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &Path) -> Result<bool, Errno> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let Some((uid, gid)) = self.owner(&stat) else { return Ok(false) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                let filled = Filled { path: path.to_owned(), mode: mode_of(&stat), times: times_of(&stat) };
                lock(&self.directories).push(filled);
                Ok(true)
            }
            FileType::Symlink => {
                let leads: CString = match rustix::fs::readlinkat(from, name, Vec::new()) {
                    // It is no link any more.
                    Err(Errno::INVAL) => return Ok(false),
                    other => other?,
                };
                rustix::fs::symlinkat(leads.as_c_str(), to, name)?;
                rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::utimensat(to, name, &times_of(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(false)
            }
            FileType::RegularFile if stat.st_nlink > 1 => self.file_of_several_names(from, to, name, path),
            FileType::RegularFile => self.file(from, to, name).map(|_| false),
            _ => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    /// User and group in the target; what belongs to somebody else is left out.
    fn owner(&self, stat: &Stat) -> Option<(rustix::fs::Uid, rustix::fs::Gid)> {
        let ids = self.owners.of(stat.st_uid, stat.st_gid);
        if ids.is_none() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        ids.map(|(uid, gid)| (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid)))
    }

    /// Package managers give thousands of files two names; copied twice they would need twice the room.
    fn file_of_several_names(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &Path) -> Result<bool, Errno> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let inode = (stat.st_dev, stat.st_ino);
        let known = lock(&self.names).get(&inode).cloned();
        if let Some(known) = known {
            rustix::fs::linkat(CWD, &known, to, name, AtFlags::empty())?;
            return Ok(false);
        }
        if self.file(from, to, name)? {
            lock(&self.names).entry(inode).or_insert_with(|| self.target.join(path));
        }
        Ok(false)
    }

    /// Copies a file; whether it was one.
    fn file(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let source = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            // It became a link.
            Err(Errno::LOOP) => return Ok(false),
            other => other?,
        };
        // Of what was opened: the entry may have been exchanged since it was looked at.
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let Some((uid, gid)) = self.owner(&stat) else { return Ok(false) };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        let size = stat.st_size.unsigned_abs();
        if size > 0 {
            self.content(&source, &target, &stat)?;
        }
        rustix::fs::fchown(&target, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&target, mode_of(&stat))?;
        rustix::fs::futimens(&target, &times_of(&stat))?;
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        Ok(true)
    }

    fn content(&self, source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
        if self.clones.load(Ordering::Relaxed) {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => {
                    self.shared.fetch_add(stat.st_size.unsigned_abs(), Ordering::Relaxed);
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS | Errno::INVAL) => {
                    self.clones.store(false, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        let size = stat.st_size.unsigned_abs();
        let is_sparse = stat.st_blocks.unsigned_abs() * 512 < size;
        let mut at = 0;
        while at < size {
            let (begin, end) = if is_sparse { data_from(source, at, size)? } else { (at, size) };
            at = begin;
            while at < end {
                if (self.is_stopped)() {
                    return Err(Errno::INTR);
                }
                let (mut read, mut written) = (at, at);
                let rest = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
                match rustix::fs::copy_file_range(source, Some(&mut read), target, Some(&mut written), rest)? {
                    // It became shorter.
                    0 => return Ok(()),
                    copied => at += copied as u64,
                }
            }
        }
        if is_sparse { rustix::fs::ftruncate(target, size) } else { Ok(()) }
    }
}

/// Between two questions whether to stop.
const CHUNK: usize = 16 * 1024 * 1024;

/// The next stretch of a file with holes that holds data, at or after `at`.
fn data_from(file: &OwnedFd, at: u64, size: u64) -> Result<(u64, u64), Errno> {
    let begin = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        // Nothing but a hole is left.
        Err(Errno::NXIO) => return Ok((size, size)),
        other => other?,
    };
    Ok((begin, rustix::fs::seek(file, SeekFrom::Hole(begin))?.min(size)))
}

/// The directory at this path below `root`, reached through no link; the root itself when it is empty.
fn open_beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(root, path, DIRECTORY, Mode::empty(), BENEATH)
}

fn mode_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o1777)
}

fn times_of(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

#[cfg(test)]
#[path = "copy_tree_tests.rs"]
mod tests;
