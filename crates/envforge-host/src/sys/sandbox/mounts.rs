//! The sandbox's own root: a small tmpfs into which chosen pieces of the host are mounted.
//!
//! Everything of the host is opened first, as detached copies of its mounts (`open_tree`), while host paths still mean
//! host paths; then the new root is put together and entered, and the host's root is let go. Read-only and no-device
//! are set on a copy before it is attached, submounts included, so there is no moment at which it could be written.
//!
//! A workspace's user can write into some of what is mounted, also while this runs (the other sandbox of the workspace
//! may be running). So a target is walked one component at a time without following a link, and mounted onto by
//! descriptor, never by path: a link planted in a checkout leads nowhere.
#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::libc;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::enter::{Step, StepError};
use super::{Bind, SandboxSpec, overlay};

/// Where the new root is put together, in the sandbox's mount namespace only. It exists on every Linux machine.
const BASE: &str = "/tmp";

/// Terminals a sandbox may have open: those of a machine are limited, and all workspaces share them.
const TERMINALS: u32 = 512;

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The users of an elevated sandbox: those of every Debian system that packages give files to.
const ELEVATED_PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";
const ELEVATED_GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
mail:x:8:
man:x:12:
www-data:x:33:
shadow:x:42:
utmp:x:43:
staff:x:50:
nogroup:x:65534:
";

/// Something of the host, ready to be attached.
struct Piece {
    target: PathBuf,
    kind: PieceKind,
}

enum PieceKind {
    Directory(OwnedFd),
    File(OwnedFd),
    Link(PathBuf),
}

/// How a piece may be used.
#[derive(Clone, Copy)]
struct Access {
    read_only: bool,
    devices: bool,
}

const READ_ONLY: Access = Access { read_only: true, devices: false };

/// Builds the root and enters it. What is mounted nowhere is returned, by where the init is to find it.
pub(super) fn build(spec: &SandboxSpec) -> Result<BTreeMap<PathBuf, OwnedFd>, StepError> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step("make mounts private")?;
    let resolv_conf = spec.resolv_conf.clone().unwrap_or_else(host_resolv_conf);
    let system = open_system(spec)?;
    let devices = open_devices()?;
    let binds = open_binds(spec)?;
    let init_only = open_init_only(spec)?;

    mount_new("tmpfs", Path::new(BASE), "mode=0755,size=16m,nr_inodes=4096", MountFlags::empty())?;
    rustix::process::chdir(BASE).step("enter new root")?;
    let root = Root::open()?;
    let is_directory =
        |piece: &&Piece| matches!(piece.kind, PieceKind::Directory(_)) && spec.system.contains(&piece.target);
    let relative = |piece: &Piece| piece.target.strip_prefix("/").map(Path::to_owned).ok();
    let directories: Vec<PathBuf> = system.iter().filter(is_directory).filter_map(relative).collect();
    for piece in system {
        root.attach(piece)?;
    }
    if spec.elevated.is_some() {
        root.directory(Path::new("/mnt"))?;
        overlay::cover(spec, &directories)?;
    }
    root.write_etc(spec, &resolv_conf)?;
    root.mount_proc()?;
    root.mount_dev(spec, devices)?;
    root.mount_scratch(spec)?;
    for file in &spec.files {
        root.write(&file.path, &file.content)?;
    }
    for piece in binds {
        root.attach(piece)?;
    }
    root.seal()?;
    root.enter()?;
    Ok(init_only)
}

/// The system directories and entries of `/etc` that exist here.
fn open_system(spec: &SandboxSpec) -> Result<Vec<Piece>, StepError> {
    let mut pieces = Vec::new();
    for path in &spec.system {
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            pieces.extend(open_piece(path, metadata.file_type())?);
        }
    }
    let Ok(entries) = std::fs::read_dir("/etc") else {
        return Ok(pieces);
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| spec.etc.iter().any(|pattern| matches(pattern, name)))
            && let Ok(kind) = entry.file_type()
        {
            pieces.extend(open_piece(&entry.path(), kind)?);
        }
    }
    Ok(pieces)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// Links stay links, so that `/bin` is still `usr/bin`.
fn open_piece(path: &Path, kind: std::fs::FileType) -> Result<Option<Piece>, StepError> {
    let kind = if kind.is_symlink() {
        PieceKind::Link(std::fs::read_link(path).step(format_args!("read link {}", path.display()))?)
    } else if kind.is_dir() {
        PieceKind::Directory(clone_tree(path, READ_ONLY)?)
    } else if kind.is_file() {
        PieceKind::File(clone_tree(path, READ_ONLY)?)
    } else {
        return Ok(None);
    };
    Ok(Some(Piece { target: path.to_owned(), kind }))
}

fn open_devices() -> Result<Vec<Piece>, StepError> {
    let access = Access { read_only: false, devices: true };
    DEVICES
        .iter()
        .map(|name| {
            let path = Path::new("/dev").join(name);
            Ok(Piece { kind: PieceKind::File(clone_tree(&path, access)?), target: path })
        })
        .collect()
}

fn open_binds(spec: &SandboxSpec) -> Result<Vec<Piece>, StepError> {
    spec.binds
        .iter()
        .map(|bind| {
            let access = Access { read_only: bind.read_only, devices: false };
            let tree = clone_tree(&bind.source, access)?;
            let stat = rustix::fs::fstat(&tree).step(format_args!("bind {}", bind.source.display()))?;
            Ok(Piece {
                target: bind.target.clone(),
                kind: match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => PieceKind::Directory(tree),
                    _ => PieceKind::File(tree),
                },
            })
        })
        .collect()
}

fn open_init_only(spec: &SandboxSpec) -> Result<BTreeMap<PathBuf, OwnedFd>, StepError> {
    let open = |bind: &Bind| {
        let tree = clone_tree(&bind.source, Access { read_only: bind.read_only, devices: false })?;
        Ok((bind.target.clone(), tree))
    };
    spec.init_only.iter().map(open).collect()
}

/// A detached copy of what is mounted at `source`, restricted.
fn clone_tree(source: &Path, access: Access) -> Result<OwnedFd, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, source, flags).step(format_args!("bind {}", source.display()))?;
    let mut attributes = libc::MOUNT_ATTR_NOSUID;
    if access.read_only {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    if !access.devices {
        attributes |= libc::MOUNT_ATTR_NODEV;
    }
    set_attributes(tree.as_fd(), attributes, true).step(format_args!("restrict {}", source.display()))?;
    Ok(tree)
}

/// `mount_setattr(2)` (Linux 5.12) on the mount a descriptor stands for.
fn set_attributes(tree: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    /// As the kernel lays it out.
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is the kernel's struct mount_attr, alive for the call, and its exact size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn mount_new(kind: &str, at: &Path, options: &str, more: MountFlags) -> Result<(), StepError> {
    let options = std::ffi::CString::new(options).step("mount options")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | more;
    rustix::mount::mount(kind, at, kind, flags, Some(options.as_c_str()))
        .step(format_args!("mount {kind} on {}", at.display()))
}

/// The host's name servers. A stub on the host's loopback can't be reached from another network: then those behind it.
fn host_resolv_conf() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    let is_stub = own
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .all(|server| server.trim().starts_with("127.") || server.trim() == "::1");
    let behind = if is_stub { read("/run/systemd/resolve/resolv.conf") } else { String::new() };
    if behind.is_empty() { own } else { behind }
}

/// The new root, by descriptor.
struct Root {
    fd: OwnedFd,
    /// The directory something was last put into: what is put together comes in the order of its places. Forgotten with each
    /// mount, which may cover it.
    last: RefCell<Option<(PathBuf, Rc<OwnedFd>)>>,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Root {
    fn open() -> Result<Self, StepError> {
        let fd = rustix::fs::open(BASE, DIRECTORY, Mode::empty()).step("open new root")?;
        Ok(Self { fd, last: RefCell::default() })
    }

    /// The directory at this path of the sandbox, made where it is missing; no link is followed.
    fn directory(&self, path: &Path) -> Result<OwnedFd, StepError> {
        self.walk(path).step(format_args!("make {} in the sandbox", path.display()))
    }

    fn walk(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut at: Option<OwnedFd> = None;
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                continue;
            };
            let above = at.as_ref().unwrap_or(&self.fd);
            at = Some(if parts.peek().is_none() { make_and_enter(above, name) } else { enter_or_make(above, name) }?);
        }
        at.map_or_else(|| self.fd.try_clone(), Ok)
    }

    /// The directory a path is in, and its last part.
    fn place<'path>(&self, path: &'path Path) -> Result<(Rc<OwnedFd>, &'path OsStr), StepError> {
        let name = path.file_name().ok_or(Errno::INVAL).step(path.display())?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        if let Some((known, directory)) = &*self.last.borrow()
            && known == parent
        {
            return Ok((Rc::clone(directory), name));
        }
        let directory = Rc::new(self.walk(parent).step(format_args!("make {} in the sandbox", path.display()))?);
        self.last.replace(Some((parent.to_owned(), Rc::clone(&directory))));
        Ok((directory, name))
    }

    /// Mounts a new file system on a directory of the sandbox.
    fn mount(&self, kind: &str, at: &Path, options: &str, more: MountFlags) -> Result<(), StepError> {
        self.directory(at)?;
        self.last.take();
        mount_new(kind, at.strip_prefix("/").unwrap_or(at), options, more)
    }

    fn attach(&self, piece: Piece) -> Result<(), StepError> {
        let step = format!("mount {}", piece.target.display());
        match piece.kind {
            PieceKind::Link(to) => self.link(&to, &piece.target),
            PieceKind::Directory(tree) => {
                let (parent, name) = self.place(&piece.target)?;
                let target = make_and_enter(&parent, name)
                    .step(format_args!("make {} in the sandbox", piece.target.display()))?;
                if self.last.borrow().as_ref().is_some_and(|(known, _)| known.starts_with(&piece.target)) {
                    self.last.take();
                }
                move_onto(&tree, &target).step(step)
            }
            PieceKind::File(tree) => {
                let (parent, name) = self.place(&piece.target)?;
                let create = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                // Made if it is missing, then opened as a place; a link is neither.
                if let Err(error) = rustix::fs::openat(&parent, name, create, Mode::from_raw_mode(0o644))
                    && !matches!(error, Errno::ROFS | Errno::ACCESS | Errno::NXIO)
                {
                    return Err(error).step(step);
                }
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let target = rustix::fs::openat(&parent, name, flags, Mode::empty()).step(&step)?;
                move_onto(&tree, &target).step(step)
            }
        }
    }

    fn link(&self, to: &Path, at: &Path) -> Result<(), StepError> {
        let (parent, name) = self.place(at)?;
        rustix::fs::symlinkat(to, &parent, name).step(format_args!("link {}", at.display()))
    }

    fn write(&self, path: &Path, content: &str) -> Result<(), StepError> {
        let step = || format!("write {} in the sandbox", path.display());
        let (parent, name) = self.place(path)?;
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).step(step())?;
        io::Write::write_all(&mut std::fs::File::from(fd), content.as_bytes()).step(step())
    }

    fn write_etc(&self, spec: &SandboxSpec, resolv_conf: &str) -> Result<(), StepError> {
        let (uid, gid, hostname) = (spec.uid, spec.gid, &spec.hostname);
        let (passwd, group) = match spec.elevated {
            Some(_) => (ELEVATED_PASSWD.to_owned(), ELEVATED_GROUP.to_owned()),
            None => (
                format!(
                    "root:x:0:0:root:/root:/usr/sbin/nologin\n\
                     dev:x:{uid}:{gid}:EnvForge workspace:/home/dev:/bin/bash\n\
                     nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
                ),
                format!("root:x:0:\ntty:x:5:\ndev:x:{gid}:\nnogroup:x:65534:\n"),
            ),
        };
        let mut hosts = format!("127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n");
        for (address, name) in &spec.hosts {
            let _ = writeln!(hosts, "{address} {name}");
        }
        for (name, content) in [
            ("passwd", passwd.as_str()),
            ("group", &group),
            ("hosts", &hosts),
            ("hostname", &format!("{hostname}\n")),
            ("resolv.conf", resolv_conf),
            ("shells", "/bin/sh\n/bin/bash\n"),
        ] {
            self.write(&Path::new("/etc").join(name), content)?;
        }
        // Tools read it; it says what is mounted here, not on the host.
        self.link(Path::new("/proc/self/mounts"), Path::new("/etc/mtab"))
    }

    fn mount_proc(&self) -> Result<(), StepError> {
        self.mount("proc", Path::new("/proc"), "", MountFlags::NOEXEC)
    }

    fn mount_dev(&self, spec: &SandboxSpec, devices: Vec<Piece>) -> Result<(), StepError> {
        self.mount("tmpfs", Path::new("/dev"), "mode=0755,size=64k,nr_inodes=64", MountFlags::NOEXEC)?;
        for device in devices {
            self.attach(device)?;
        }
        self.directory(Path::new("/dev/pts"))?;
        let options = format!("newinstance,ptmxmode=0666,mode=0620,gid={},max={TERMINALS}", spec.gid);
        let options = std::ffi::CString::new(options).step("mount options")?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        rustix::mount::mount("devpts", "dev/pts", "devpts", flags, Some(options.as_c_str())).step("mount devpts")?;
        let options = format!("mode=1777,size={}", spec.tmp_bytes);
        self.mount("tmpfs", Path::new("/dev/shm"), &options, MountFlags::empty())?;
        for (to, at) in [
            ("pts/ptmx", "/dev/ptmx"),
            ("/proc/self/fd", "/dev/fd"),
            ("/proc/self/fd/0", "/dev/stdin"),
            ("/proc/self/fd/1", "/dev/stdout"),
            ("/proc/self/fd/2", "/dev/stderr"),
        ] {
            self.link(Path::new(to), Path::new(at))?;
        }
        Ok(())
    }

    /// What may be written and is gone with the sandbox.
    fn mount_scratch(&self, spec: &SandboxSpec) -> Result<(), StepError> {
        for (path, options) in
            [("/tmp", format!("mode=1777,size={}", spec.tmp_bytes)), ("/run", "mode=0755,size=64m".to_owned())]
        {
            self.mount("tmpfs", Path::new(path), &options, MountFlags::empty())?;
        }
        self.directory(Path::new("/run/envforge"))?;
        let user = self.directory(&PathBuf::from(format!("/run/user/{}", spec.uid)))?;
        let owner = (rustix::fs::Uid::from_raw(spec.uid), rustix::fs::Gid::from_raw(spec.gid));
        rustix::fs::chownat(&user, "", Some(owner.0), Some(owner.1), AtFlags::EMPTY_PATH).step("own /run/user")?;
        for path in ["/home", "/workspace", "/var/lib", "/var/cache", "/var/log", "/mnt", "/srv"] {
            self.directory(Path::new(path))?;
        }
        if spec.elevated.is_some() {
            for (path, mode) in [("/root", "0700"), ("/var/lib", "0755"), ("/var/cache", "0755")] {
                let options = format!("mode={mode},uid={},gid={},size=64m", spec.uid, spec.gid);
                self.mount("tmpfs", Path::new(path), &options, MountFlags::empty())?;
            }
        }
        self.link(Path::new("/run"), Path::new("/var/run"))?;
        self.link(Path::new("/tmp"), Path::new("/var/tmp"))
    }

    /// Nothing can be added to the root itself any more.
    fn seal(&self) -> Result<(), StepError> {
        set_attributes(self.fd.as_fd(), libc::MOUNT_ATTR_RDONLY, false).step("seal new root")
    }

    /// Makes it the root, and lets go of the host's.
    fn enter(self) -> Result<(), StepError> {
        rustix::process::fchdir(&self.fd).step("enter new root")?;
        // The old root comes to lie on top of the new one, and is taken off there.
        rustix::process::pivot_root(".", ".").step("pivot_root")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).step("detach old root")?;
        rustix::process::chdir("/").step("enter new root")
    }
}

fn enter_or_make(at: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) | Ok(()) => {}
                Err(error) => return Err(error),
            }
            rustix::fs::openat(at, name, DIRECTORY, Mode::empty())
        }
        other => other,
    }
}

/// The same for one that is missing as a rule.
fn make_and_enter(at: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => rustix::fs::openat(at, name, DIRECTORY, Mode::empty()),
        Err(_) => enter_or_make(at, name),
    }
}

fn move_onto(tree: &OwnedFd, target: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}
