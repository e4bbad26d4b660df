//! The file itself: members of a length nobody knows before they are written, summed as they pass.
//!
//! A member's header is written twice: empty at first, with its length once that is known. The file has another name until it
//! is whole, and is gone if it never is.

use super::{MANIFEST, Manifest, Member};
use crate::advice::advised;
use anyhow::Context as _;
use aws_lc_rs::digest;
use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

const BLOCK: usize = 512;
const CHUNK: usize = 256 * 1024;
/// A manifest is a page of text.
const MANIFEST_MAX: u64 = 1024 * 1024;

/// An archive in the making.
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    members: Vec<Member>,
    is_whole: bool,
}

impl Writer {
    /// Begins one; nobody but its owner reads it.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            return Err(advised(
                format!("{} exists", path.display()),
                "give the backup another name, or remove that file",
            ));
        }
        let name = path.file_name().context("the backup needs a file's name")?.to_string_lossy();
        let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        Ok(Self { file, path: path.to_owned(), partial, members: Vec::new(), is_whole: false })
    }

    /// Adds a member with all that `source` has to say.
    pub(super) fn add(&mut self, name: &str, source: &mut dyn Read) -> anyhow::Result<()> {
        self.copy(name, source).map_err(|error| self.explain(error))
    }

    fn copy(&mut self, name: &str, source: &mut dyn Read) -> io::Result<()> {
        let start = self.file.stream_position()?;
        self.file.write_all(&[0; BLOCK])?;
        let mut sum = digest::Context::new(&digest::SHA256);
        let (mut buffer, mut bytes) = (vec![0; CHUNK], 0_u64);
        loop {
            let read = source.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            sum.update(&buffer[..read]);
            self.file.write_all(&buffer[..read])?;
            bytes += read as u64;
        }
        self.file.write_all(&vec![0; bytes.next_multiple_of(BLOCK as u64).saturating_sub(bytes) as usize])?;
        let end = self.file.stream_position()?;
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(header.as_bytes())?;
        self.file.seek(SeekFrom::Start(end))?;
        self.members.push(Member { name: name.to_owned(), bytes, sha256: hex::encode(sum.finish()) });
        Ok(())
    }

    /// Ends it with its manifest, and gives it its name.
    pub(super) fn finish(mut self, mut manifest: Manifest) -> anyhow::Result<Manifest> {
        manifest.members.clone_from(&self.members);
        let text = serde_json::to_vec_pretty(&manifest)?;
        let end = |it: &mut Self| {
            it.copy(MANIFEST, &mut text.as_slice())?;
            it.file.write_all(&[0; 2 * BLOCK])?;
            it.file.sync_all()?;
            fs_err::rename(&it.partial, &it.path)?;
            it.is_whole = true;
            let folder = it.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        end(&mut self).map_err(|error| self.explain(error))?;
        Ok(manifest)
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let fix = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                "free space there, give a file on another disk, or leave workspaces out with --without-workspaces"
            }
            _ => return anyhow::Error::new(error).context("writing the backup"),
        };
        advised(format!("{} could not be written, and was removed: {error}", self.path.display()), fix)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs_err::remove_file(&self.partial);
        }
    }
}

/// Reads a whole archive and compares every sum; what it is, if it is whole.
pub(super) fn verify(path: &Path) -> anyhow::Result<Manifest> {
    let broken = |what: String| {
        advised(
            format!("{}: {what}", path.display()),
            "use another backup; this one was not made whole, or was changed since",
        )
    };
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => anyhow::Error::new(error),
        _ => broken(format!("it can't be read to its end ({error})")),
    };
    let mut archive = tar::Archive::new(File::open(path)?);
    let (mut found, mut manifest) = (Vec::new(), None);
    for entry in archive.entries().map_err(cut)? {
        let mut entry = entry.map_err(cut)?;
        let name = entry.path().map_err(cut)?.to_string_lossy().into_owned();
        if name == MANIFEST {
            let mut text = Vec::new();
            entry.take(MANIFEST_MAX).read_to_end(&mut text).map_err(cut)?;
            let read = serde_json::from_slice::<Manifest>(&text);
            manifest = Some(read.map_err(|error| broken(format!("its manifest can't be read ({error})")))?);
            continue;
        }
        let (mut sum, mut bytes) = (digest::Context::new(&digest::SHA256), 0);
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = entry.read(&mut buffer).map_err(cut)?;
            if read == 0 {
                break;
            }
            sum.update(&buffer[..read]);
            bytes += read as u64;
        }
        found.push(Member { name, bytes, sha256: hex::encode(sum.finish()) });
    }
    let manifest = manifest.ok_or_else(|| broken("it was cut: the manifest at its end is missing".to_owned()))?;
    for member in &manifest.members {
        match found.iter().find(|other| other.name == member.name) {
            Some(other) if other == member => {}
            Some(_) => return Err(broken(format!("`{}` is not what was saved: its SHA-256 differs", member.name))),
            None => return Err(broken(format!("`{}` is missing", member.name))),
        }
    }
    if let Some(other) = found.iter().find(|other| !manifest.members.contains(other)) {
        return Err(broken(format!("`{}` was added to it", other.name)));
    }
    Ok(manifest)
}

/// Hands a member of a verified archive to `take`; nothing when it has no such member.
pub(super) fn with_member(
    path: &Path,
    name: &str,
    take: impl FnOnce(&mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let mut archive = tar::Archive::new(File::open(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_os_str() == name {
            return take(&mut entry).map(|()| true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::{Writer, verify, with_member};
    use crate::advice::render;
    use crate::backup::{FORMAT, Manifest};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn made(path: &Path) {
        let mut writer = Writer::create(path).unwrap();
        writer.add("one", &mut [1_u8; 1000].as_slice()).unwrap();
        writer.add("two", &mut [2_u8; 512].as_slice()).unwrap();
        writer.add("none", &mut [].as_slice()).unwrap();
        let manifest = Manifest {
            format: FORMAT,
            made_at: jiff::Timestamp::UNIX_EPOCH,
            version: "1".to_owned(),
            schema: 9,
            with_workspaces: true,
            members: Vec::new(),
        };
        writer.finish(manifest).unwrap();
    }

    // proves OPS-4
    #[test]
    fn an_archive_is_whole_or_refused_wherever_it_is_cut_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        made(&path);
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let manifest = verify(&path).unwrap();
        assert_eq!(manifest.members.iter().map(|member| member.bytes).collect::<Vec<_>>(), [1000, 512, 0]);
        let found = with_member(&path, "two", |member| {
            let mut text = Vec::new();
            member.read_to_end(&mut text)?;
            assert_eq!(text, [2; 512]);
            Ok(())
        });
        assert!(found.unwrap());
        assert!(Writer::create(&path).is_err(), "nothing is overwritten");

        let whole = fs_err::read(&path).unwrap();
        let changed = folder.path().join("changed");
        // The end of a tar, two empty blocks, and the padding say nothing.
        let text_end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for end in (0..text_end).step_by(97) {
            fs_err::write(&changed, &whole[..end]).unwrap();
            let refusal = render(&verify(&changed).unwrap_err());
            assert!(refusal.contains("fix: use another backup"), "cut at {end}: {refusal}");
        }
        for at in [512, 1511, 512 + 1024 + 512, 512 + 1024 + 512 + 511] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs_err::write(&changed, &bytes).unwrap();
            let refusal = render(&verify(&changed).unwrap_err());
            assert!(refusal.contains("its SHA-256 differs"), "changed at {at}: {refusal}");
        }
    }

    #[test]
    fn one_that_is_not_finished_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&folder.path().join("backup")).unwrap();
        writer.add("one", &mut [1_u8; 1000].as_slice()).unwrap();
        drop(writer);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }
}
