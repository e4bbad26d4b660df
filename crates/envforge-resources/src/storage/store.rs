//! Buckets and objects on disk, and the index of them in memory.
//!
//! The files are the truth, the index is read from them at the start; one process works in the directory at a time. A change
//! of an object is one rename or unlink, made while the index is held, so that both always say the same and a condition
//! ("only if there is none") is decided once. Everything here blocks, and is called where that holds up nobody.

use super::condition::Writing;
use super::file::{self, Object};
use super::listing::{Listing, Page};
use aws_lc_rs::digest;
use envforge_core::clock::{Clock, Entropy};
use fs_err as fs;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// It can't be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("there is no such bucket")]
    NoSuchBucket,
    #[error("the bucket exists")]
    BucketExists,
    #[error("the bucket holds objects")]
    BucketNotEmpty,
    #[error("there is no such object")]
    NoSuchKey,
    #[error("there is no such upload")]
    NoSuchUpload,
    #[error("a part is not what was uploaded")]
    InvalidPart,
    #[error("parts are listed by their numbers, each once")]
    InvalidPartOrder,
    #[error("a part but the last is smaller than 5 MiB")]
    EntityTooSmall,
    #[error("the object is not as demanded")]
    Precondition,
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) type Answer<T> = Result<T, StoreError>;

/// All buckets of a directory.
pub(super) struct Store {
    root: PathBuf,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

struct Bucket {
    created: Timestamp,
    objects: BTreeMap<String, Arc<Object>>,
}

/// A file that is being written; gone again unless it is published.
pub(super) struct Draft {
    path: PathBuf,
    pub(super) file: File,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Renamed away, when it was published.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Store {
    /// Reads what is there. What a killed process was writing is cleared away.
    pub(super) fn open(root: &Path, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> io::Result<Self> {
        let unfinished = root.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        for directory in [&unfinished, &root.join("buckets"), &root.join("uploads")] {
            fs::create_dir_all(directory)?;
        }
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(root.join("buckets"))? {
            let path = entry?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                buckets.insert(name.to_owned(), read_bucket(&path)?);
            }
        }
        let store = Self { root: root.to_owned(), buckets: Mutex::new(buckets), clock, entropy };
        store.forget_old_uploads()?;
        Ok(store)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn bucket_dir(&self, bucket: &str) -> PathBuf {
        self.root.join("buckets").join(bucket)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().expect("no panic while the index is held")
    }

    /// Thirty-two hexadecimal digits that nobody has yet.
    pub(super) fn random_name(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.entropy.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Every bucket and when it was made.
    pub(super) fn buckets(&self) -> Vec<(String, Timestamp)> {
        self.held().iter().map(|(name, bucket)| (name.clone(), bucket.created)).collect()
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> Answer<()> {
        if self.held().contains_key(bucket) { Ok(()) } else { Err(StoreError::NoSuchBucket) }
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> Answer<()> {
        let mut buckets = self.held();
        if buckets.contains_key(bucket) {
            return Err(StoreError::BucketExists);
        }
        fs::create_dir(self.bucket_dir(bucket))?;
        sync(&self.root.join("buckets"))?;
        buckets.insert(bucket.to_owned(), Bucket { created: self.now(), objects: BTreeMap::new() });
        Ok(())
    }

    /// Removes a bucket without objects, and the uploads to it.
    pub(super) fn delete_bucket(&self, bucket: &str) -> Answer<()> {
        {
            let mut buckets = self.held();
            let found = buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?;
            if !found.objects.is_empty() {
                return Err(StoreError::BucketNotEmpty);
            }
            fs::remove_dir_all(self.bucket_dir(bucket))?;
            buckets.remove(bucket);
        }
        self.forget_uploads_to(bucket)?;
        Ok(())
    }

    /// What is known of an object.
    pub(super) fn head(&self, bucket: &str, key: &str) -> Answer<Arc<Object>> {
        let buckets = self.held();
        let bucket = buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        bucket.objects.get(key).map(Arc::clone).ok_or(StoreError::NoSuchKey)
    }

    /// An object's content, at the beginning of its file, and what is known of just this content.
    pub(super) fn open_object(&self, bucket: &str, key: &str) -> Answer<(File, Object)> {
        self.head(bucket, key)?;
        let opened = File::open(self.bucket_dir(bucket).join(name_of(key)));
        // Deleted just now.
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoSuchKey,
            _ => error.into(),
        })?;
        let object = file::read(&file)?;
        Ok((file, object))
    }

    /// A page of a bucket's list.
    pub(super) fn list(&self, bucket: &str, listing: &Listing) -> Answer<Page> {
        let buckets = self.held();
        let bucket = buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        Ok(listing.page(&bucket.objects))
    }

    /// A file to write.
    pub(super) fn draft(&self) -> io::Result<Draft> {
        let path = self.root.join("unfinished").join(self.random_name());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Draft { path, file })
    }

    /// Ends a file whose content is written, and puts it on the disk for good; the next rename shows it.
    pub(super) fn seal(draft: &Draft, object: &Object) -> io::Result<()> {
        file::seal(&draft.file, object)?;
        draft.file.sync_data()
    }

    /// Puts a finished file where it belongs.
    pub(super) fn place(draft: &Draft, at: &Path) -> io::Result<()> {
        std::fs::rename(&draft.path, at)
    }

    /// Makes a finished file the object, if what is there now allows it.
    pub(super) fn publish(&self, bucket: &str, draft: &Draft, object: Object, writing: &Writing) -> Answer<()> {
        Self::seal(draft, &object)?;
        let directory = self.bucket_dir(bucket);
        {
            let mut buckets = self.held();
            let there = buckets.get_mut(bucket).ok_or(StoreError::NoSuchBucket)?;
            if !writing.holds(there.objects.get(&object.key).map(Arc::as_ref)) {
                return Err(StoreError::Precondition);
            }
            Self::place(draft, &directory.join(name_of(&object.key)))?;
            there.objects.insert(object.key.clone(), Arc::new(object));
        }
        Ok(sync(&directory)?)
    }

    /// Removes an object; one that is not there is removed already.
    pub(super) fn remove(&self, bucket: &str, key: &str) -> Answer<()> {
        let directory = self.bucket_dir(bucket);
        {
            let mut buckets = self.held();
            let there = buckets.get_mut(bucket).ok_or(StoreError::NoSuchBucket)?;
            if !there.objects.contains_key(key) {
                return Ok(());
            }
            fs::remove_file(directory.join(name_of(key)))?;
            there.objects.remove(key);
        }
        Ok(sync(&directory)?)
    }
}

/// The file of an object: any key fits, and none can lead anywhere.
pub(super) fn name_of(key: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, key.as_bytes()))
}

/// What was renamed or removed in a directory stays so when the machine fails.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn read_bucket(path: &Path) -> io::Result<Bucket> {
    let metadata = fs::metadata(path)?;
    let created = metadata.created().or_else(|_| metadata.modified())?;
    let created = Timestamp::try_from(created).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut objects = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let read = file::read(&File::open(&path)?);
        match read {
            Ok(object) if path.file_name().is_some_and(|name| *name == *name_of(&object.key)) => {
                objects.insert(object.key.clone(), Arc::new(object));
            }
            // Renamed before a power failure, and its content never reached the disk.
            _ => {
                crate::log(&format!("{} is not a whole object and is removed", path.display()));
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(Bucket { created, objects })
}
