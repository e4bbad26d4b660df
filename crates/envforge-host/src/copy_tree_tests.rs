//! What is copied, what is left out, and whose it becomes; under a source that changes meanwhile.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

fn own() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Copies between two directories of whoever runs the test.
fn copied(from: &Path, to: &Path) -> io::Result<Copied> {
    copy_tree(from, to, Owners { own: [own(); 2], further: None }, &|_| false, &|| false)
}

struct Dirs {
    _dir: tempfile::TempDir,
    from: PathBuf,
    to: PathBuf,
}

fn dirs() -> Dirs {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs_err::create_dir(&from).expect("made");
    fs_err::create_dir(&to).expect("made");
    Dirs { _dir: dir, from, to }
}

/// Everything below a directory: what it is, its mode, its time, its bytes or where it leads.
fn listed(at: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut todo = vec![at.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs_err::read_dir(&dir).expect("entries") {
            let path = entry.expect("entry").path();
            let metadata = fs_err::symlink_metadata(&path).expect("metadata");
            let content = if metadata.is_symlink() {
                fs_err::read_link(&path).expect("link").into_os_string().into_encoded_bytes()
            } else if metadata.is_dir() {
                todo.push(path.clone());
                Vec::new()
            } else {
                fs_err::read(&path).expect("file")
            };
            let name = path.strip_prefix(at).expect("below").to_owned();
            all.insert(name, (metadata.mode(), metadata.mtime_nsec(), content));
        }
    }
    all
}

#[test]
fn links_names_holes_modes_and_times_are_kept() {
    let Dirs { _dir, from, to } = dirs();
    fs_err::create_dir_all(from.join("a/b")).expect("made");
    fs_err::write(from.join("a/b/file"), "text").expect("written");
    fs_err::write(from.join("run"), "#!/bin/sh\n").expect("written");
    fs_err::set_permissions(from.join("run"), std::fs::Permissions::from_mode(0o4755)).expect("mode");
    fs_err::hard_link(from.join("run"), from.join("a/too")).expect("linked");
    symlink("../outside", from.join("away")).expect("linked");
    let sparse = fs_err::File::create(from.join("sparse")).expect("made");
    sparse.set_len(64 << 20).expect("long");
    std::os::unix::fs::FileExt::write_all_at(sparse.file(), b"middle", 32 << 20).expect("written");
    fs_err::set_permissions(from.join("a/b"), std::fs::Permissions::from_mode(0o500)).expect("mode");
    let done = copied(&from, &to).expect("copied");
    assert_eq!((done.files, done.left_out), (3, 0), "one of several names is copied once");
    let (mut before, after) = (listed(&from), listed(&to));
    for (mode, ..) in before.values_mut() {
        *mode &= !0o6000;
    }
    assert_eq!(before, after, "all but the set-user-ID bit");
    let inode = |path: &str| fs_err::metadata(to.join(path)).expect("there").ino();
    assert_eq!(inode("run"), inode("a/too"));
    assert!(fs_err::metadata(to.join("sparse")).expect("there").blocks() < 2048, "its holes are holes");
    for dir in [&from, &to] {
        fs_err::set_permissions(dir.join("a/b"), std::fs::Permissions::from_mode(0o700)).expect("mode");
    }
}

#[test]
fn what_is_no_file_or_is_not_wanted_is_left_out() {
    let Dirs { _dir, from, to } = dirs();
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).expect("bound");
    rustix::fs::mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("made");
    fs_err::write(from.join("lock"), "").expect("written");
    fs_err::write(from.join("kept"), "").expect("written");
    let owners = Owners { own: [own(); 2], further: None };
    let done = copy_tree(&from, &to, owners, &|path| path == Path::new("lock"), &|| false).expect("copied");
    assert_eq!((done.files, done.left_out), (1, 2));
    assert_eq!(listed(&to).into_keys().collect::<Vec<_>>(), [PathBuf::from("kept")]);
}

// proves UP-8
#[test]
fn files_of_others_are_not_copied_and_owners_become_those_of_the_target() {
    if own().0 != 0 {
        return;
    }
    let Dirs { _dir, from, to } = dirs();
    let owned = |name: &str, uid: u32| {
        fs_err::write(from.join(name), name).expect("written");
        std::os::unix::fs::chown(from.join(name), Some(uid), Some(uid)).expect("given");
    };
    for (name, uid) in [("user", 5000), ("first", 500_000), ("last", 500_009), ("beyond", 500_010), ("root", 0)] {
        owned(name, uid);
    }
    symlink("/etc/shadow", from.join("link")).expect("linked");
    std::os::unix::fs::lchown(from.join("link"), Some(5000), Some(5000)).expect("given");
    // A directory of somebody else is not entered.
    fs_err::create_dir(from.join("closed")).expect("made");
    owned("closed/in", 5000);
    let owners = Owners { own: [(5000, 5000), (6000, 6000)], further: Some((500_000, 600_000, 10)) };
    let done = copy_tree(&from, &to, owners, &|_| false, &|| false).expect("copied");
    let owner =
        |name: &str| fs_err::symlink_metadata(to.join(name)).ok().map(|metadata| (metadata.uid(), metadata.gid()));
    assert_eq!(owner("user"), Some((6000, 6000)));
    assert_eq!(owner("link"), Some((6000, 6000)));
    assert_eq!((owner("first"), owner("last")), (Some((600_000, 600_000)), Some((600_009, 600_009))));
    assert_eq!((owner("beyond"), owner("root"), owner("closed")), (None, None, None));
    assert_eq!(done.left_out, 3);
}

// proves UP-8
#[test]
fn whoever_exchanges_directories_for_links_gets_nothing_from_outside() {
    let Dirs { _dir, from, to } = dirs();
    let outside = from.with_file_name("outside");
    fs_err::create_dir(&outside).expect("made");
    fs_err::write(outside.join("secret"), "of another").expect("written");
    for number in 0..40 {
        fs_err::create_dir_all(from.join(format!("d{number}/deep"))).expect("made");
        fs_err::write(from.join(format!("d{number}/deep/secret")), "own").expect("written");
    }
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Renames are atomic: at each instant it is the one or the other.
            while rounds.load(Ordering::Relaxed) < 30 {
                for number in 0..40 {
                    let dir = from.join(format!("d{number}"));
                    let aside = from.with_file_name("aside");
                    drop(fs_err::rename(&dir, &aside));
                    drop(symlink(&outside, &dir));
                    drop(fs_err::remove_file(&dir));
                    drop(fs_err::rename(&aside, &dir));
                }
            }
        });
        for round in 0..30 {
            let to = to.join(round.to_string());
            fs_err::create_dir(&to).expect("made");
            let done = copied(&from, &to);
            rounds.fetch_add(if done.is_ok() { 1 } else { 30 }, Ordering::Relaxed);
            done.expect("copied");
        }
    });
    let stolen = listed(&to).into_iter().find(|(_, (_, _, content))| content == b"of another");
    assert_eq!(stolen, None);
}

#[test]
fn a_copy_can_be_stopped() {
    let Dirs { _dir, from, to } = dirs();
    for number in 0..100 {
        fs_err::write(from.join(number.to_string()), "").expect("written");
    }
    let left = AtomicU64::new(10);
    let is_stopped = || left.fetch_sub(1, Ordering::Relaxed) == 0;
    let owners = Owners { own: [own(); 2], further: None };
    let error = copy_tree(&from, &to, owners, &|_| false, &is_stopped).expect_err("stopped");
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert!(listed(&to).len() < 100);
}

#[test]
fn a_directory_that_shares_blocks_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    // Whichever it is here: both answers come from the kernel, and neither leaves a file.
    let shares = shares_blocks(dir.path());
    assert_eq!(shares, shares_blocks(dir.path()));
    assert!(!shares_blocks(&dir.path().join("missing")));
    assert_eq!(listed(dir.path()).len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_copy_is_the_same_tree(files in prop::collection::btree_map("[a-d]{1,2}(/[e-h]{1,2}){0,3}", prop::collection::vec(any::<u8>(), 0..4000), 0..30)) {
        let Dirs { _dir, from, to } = dirs();
        for (name, bytes) in &files {
            let path = from.join(name);
            // One name may be another's directory: the later of them is no file then.
            if fs_err::create_dir_all(path.parent().expect("below")).is_ok() {
                drop(fs_err::write(path, bytes));
            }
        }
        copied(&from, &to).expect("copied");
        prop_assert_eq!(listed(&from), listed(&to));
    }
}
