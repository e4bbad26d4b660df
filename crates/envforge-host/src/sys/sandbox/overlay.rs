//! The system of an elevated sandbox: what it shows is the machine's, what is written to it is the sandbox's own.
//!
//! Each system directory is covered by an overlay whose upper layer is memory of the sandbox and gone with it. The
//! machine's files keep their owner, who has no name inside, so root reads of them what everybody may and changes
//! none in place. It can add files and put its own in the place of others, which is what installing a program takes: that
//! is decided by who has the directory, so the directories that everybody may read are given to it, in the upper layer.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use super::SandboxSpec;
use super::enter::{Step, StepError};

/// Where the upper layers are made; nothing of it can be seen once the overlays are mounted.
const UPPER: &str = "mnt";

/// Covers these directories, paths relative to the new root, which is the working directory.
pub(super) fn cover(spec: &SandboxSpec, directories: &[PathBuf]) -> Result<(), StepError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = std::ffi::CString::new(format!("mode=0700,size={}", spec.tmp_bytes)).step("mount options")?;
    rustix::mount::mount("tmpfs", UPPER, "tmpfs", flags, Some(options.as_c_str())).step("mount upper layers")?;
    for (index, directory) in directories.iter().enumerate() {
        let step = || format!("make {} writable", directory.display());
        let (upper, work) = (format!("{UPPER}/{index}"), format!("{UPPER}/{index}.work"));
        for path in [&upper, &work] {
            std::fs::create_dir(path).step(step())?;
        }
        std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(0o755)).step(step())?;
        let options = format!("lowerdir={},upperdir={upper},workdir={work}", directory.display());
        let options = std::ffi::CString::new(options).step("mount options")?;
        rustix::mount::mount("overlay", directory, "overlay", flags, Some(options.as_c_str())).step(step())?;
        give(directory, spec).step(step())?;
    }
    rustix::mount::unmount(UPPER, UnmountFlags::DETACH).step("hide upper layers")
}

/// Gives root of the sandbox every directory below that everybody may read and enter.
fn give(directory: &Path, spec: &SandboxSpec) -> std::io::Result<()> {
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let metadata = std::fs::symlink_metadata(&directory)?;
        if metadata.uid() != 0 || metadata.mode() & 0o5 != 0o5 {
            continue;
        }
        std::os::unix::fs::lchown(&directory, Some(spec.uid), Some(spec.gid))?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(())
}
