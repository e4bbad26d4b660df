//! Multipart uploads: parts until they are completed to an object or given up.
//!
//! An upload is a directory with what its object will be like, and a file per part. Completing writes the object from the
//! parts and removes them after it is there: who is killed in between is asked again. What nobody completed for a
//! week is forgotten at the next start.

use super::checksum::Sums;
use super::condition::Writing;
use super::file::{self, Attributes, Object};
use super::store::{Answer, Draft, Store, StoreError, sync};
use fs_err as fs;
use jiff::{SignedDuration, Timestamp};
use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// How long an upload may take.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The least bytes of a part but the last.
const PART_MIN: u64 = 5 * 1024 * 1024;
/// The file of an upload that is no part.
const ABOUT: &str = "about";

/// What an upload is to become.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) begun: Timestamp,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// A part as the client lists it at the end: its number, and its tag without quotes.
pub(super) type Listed = (u16, String);

impl Store {
    /// Begins an upload; its id.
    pub(super) fn begin_upload(&self, bucket: &str, key: &str, attributes: Attributes) -> Answer<String> {
        self.has_bucket(bucket)?;
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), begun: self.now(), attributes };
        let id = self.random_name();
        let directory = self.uploads().join(&id);
        fs::create_dir(&directory)?;
        let draft = self.draft()?;
        serde_json::to_writer(&draft.file, &upload).map_err(io::Error::from)?;
        draft.file.sync_data()?;
        Self::place(&draft, &directory.join(ABOUT))?;
        Ok(id)
    }

    fn upload_dir(&self, id: &str) -> Answer<PathBuf> {
        let is_ours = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_ours { Ok(self.uploads().join(id)) } else { Err(StoreError::NoSuchUpload) }
    }

    /// The upload of this id, to just this object.
    pub(super) fn upload(&self, id: &str, bucket: &str, key: &str) -> Answer<(PathBuf, Upload)> {
        let directory = self.upload_dir(id)?;
        let bytes = std::fs::read(directory.join(ABOUT)).map_err(|_| StoreError::NoSuchUpload)?;
        let upload: Upload = serde_json::from_slice(&bytes).map_err(io::Error::from)?;
        let fits = upload.bucket == bucket && upload.key == key;
        if fits { Ok((directory, upload)) } else { Err(StoreError::NoSuchUpload) }
    }

    /// Keeps a part that was written; one of the same number makes way.
    pub(super) fn put_part(&self, id: &str, bucket: &str, number: u16, draft: &Draft, part: &Object) -> Answer<()> {
        let (directory, _) = self.upload(id, bucket, &part.key)?;
        Self::seal(draft, part)?;
        // Given up meanwhile: the directory is gone.
        Self::place(draft, &directory.join(part_name(number))).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoSuchUpload,
            _ => error.into(),
        })
    }

    /// The parts of an upload, by number.
    pub(super) fn parts(&self, id: &str, bucket: &str, key: &str) -> Answer<Vec<(u16, Object)>> {
        let (directory, _) = self.upload(id, bucket, key)?;
        let mut parts = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if let Some(number) = number {
                parts.push((number, file::read(&File::open(&path)?)?));
            }
        }
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts)
    }

    /// Makes the object of the parts that are listed.
    pub(super) fn complete(
        &self,
        id: &str,
        bucket: &str,
        key: &str,
        listed: &[Listed],
        writing: &Writing,
    ) -> Answer<Object> {
        let (directory, upload) = self.upload(id, bucket, key)?;
        if !listed.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(StoreError::InvalidPartOrder);
        }
        let mut parts = Vec::new();
        for (number, e_tag) in listed {
            let file = File::open(directory.join(part_name(*number))).map_err(|_| StoreError::InvalidPart)?;
            let part = file::read(&file)?;
            if part.e_tag != *e_tag {
                return Err(StoreError::InvalidPart);
            }
            parts.push((file, part));
        }
        let Some((_, but_last)) = parts.split_last() else { return Err(StoreError::InvalidPart) };
        if but_last.iter().any(|(_, part)| part.size < PART_MIN) {
            return Err(StoreError::EntityTooSmall);
        }
        let draft = self.draft()?;
        let (mut size, mut tags) = (0, Md5::new());
        for (file, part) in &parts {
            size += io::copy(&mut file.take(part.size), &mut &draft.file)?;
            tags.update(&hex::decode(&part.e_tag).map_err(|_| StoreError::InvalidPart)?);
        }
        let object = Object {
            key: key.to_owned(),
            size,
            e_tag: format!("{}-{}", hex::encode(tags.finalize()), parts.len()),
            modified: self.now(),
            attributes: upload.attributes,
            sums: Sums::default(),
        };
        self.publish(bucket, &draft, object.clone(), writing)?;
        fs::remove_dir_all(&directory)?;
        Ok(object)
    }

    /// Gives an upload up.
    pub(super) fn abort(&self, id: &str, bucket: &str, key: &str) -> Answer<()> {
        let (directory, _) = self.upload(id, bucket, key)?;
        Ok(fs::remove_dir_all(directory)?)
    }

    /// Every upload with its id, in the order of keys.
    pub(super) fn open_uploads(&self) -> io::Result<Vec<(String, Upload)>> {
        let mut uploads = Vec::new();
        for entry in fs::read_dir(self.uploads())? {
            let entry = entry?;
            let about = std::fs::read(entry.path().join(ABOUT)).ok();
            let upload = about.and_then(|bytes| serde_json::from_slice::<Upload>(&bytes).ok());
            if let (Ok(id), Some(upload)) = (entry.file_name().into_string(), upload) {
                uploads.push((id, upload));
            }
        }
        uploads.sort_by(|(one, left), (other, right)| (&left.key, one).cmp(&(&right.key, other)));
        Ok(uploads)
    }

    /// Forgets uploads nobody completed, and what of one was left half made.
    pub(super) fn forget_old_uploads(&self) -> io::Result<()> {
        let before = self.now().saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        let open = self.open_uploads()?;
        for entry in fs::read_dir(self.uploads())? {
            let entry = entry?;
            let is_kept = open.iter().any(|(id, upload)| *entry.file_name() == **id && upload.begun > before);
            if !is_kept {
                fs::remove_dir_all(entry.path())?;
            }
        }
        sync(&self.uploads())
    }

    pub(super) fn forget_uploads_to(&self, bucket: &str) -> io::Result<()> {
        for (id, upload) in self.open_uploads()? {
            if upload.bucket == bucket {
                fs::remove_dir_all(self.uploads().join(id))?;
            }
        }
        Ok(())
    }
}

fn part_name(number: u16) -> String {
    format!("{number:05}")
}
