//! Buckets and objects as a console shows them, read by a process that is not the object storage.

use super::file::{self, Object};
use super::store::name_of;
use envforge_api::http::consoles::{Buckets, ObjectSummary, Objects};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a key, as in S3.
const KEY_MAX: usize = 1024;
/// Characters of a media type that are shown.
const KIND_MAX: usize = 255;

/// The names of all buckets, in order.
pub(crate) fn buckets(root: &Path) -> io::Result<Buckets> {
    let mut buckets: Vec<String> = match std::fs::read_dir(root.join("buckets")) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    buckets.sort_unstable();
    Ok(Buckets { buckets })
}

/// The directory of a bucket; a name that is none of a bucket has none.
fn directory(root: &Path, bucket: &str) -> Option<PathBuf> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_name = !bucket.is_empty() && !bucket.starts_with('.') && bucket.bytes().all(fits);
    is_name.then(|| root.join("buckets").join(bucket))
}

/// A page of a bucket, by key. An object's file does not tell its key by name, so all of them are read.
pub(crate) fn list(root: &Path, bucket: &str, prefix: &str, after: &str, limit: usize) -> io::Result<Option<Objects>> {
    let Some(directory) = directory(root, bucket) else { return Ok(None) };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut page: BTreeMap<String, ObjectSummary> = BTreeMap::new();
    let mut is_more = false;
    for entry in entries.flatten() {
        // One that was removed meanwhile is left out, and so is what is no whole object, or not where its key says.
        let Ok(object) = File::open(entry.path()).and_then(|file| file::read(&file)) else { continue };
        let is_asked_for = object.key.starts_with(prefix) && *object.key > *after;
        if !is_asked_for || object.key.len() > KEY_MAX || entry.file_name() != *name_of(&object.key) {
            continue;
        }
        page.insert(object.key.clone(), summary(object));
        if page.len() > limit {
            page.pop_last();
            is_more = true;
        }
    }
    let more_after = if is_more { page.last_key_value().map(|(key, _)| key.clone()) } else { None };
    Ok(Some(Objects { objects: page.into_values().collect(), more_after }))
}

fn summary(object: Object) -> ObjectSummary {
    let content_type = object.attributes.content_type.map(|kind| kind.chars().take(KIND_MAX).collect());
    ObjectSummary { key: object.key, size: object.size, modified_at: object.modified, content_type }
}

/// An object's content, at its beginning, and how many bytes it has.
pub(crate) fn open(root: &Path, bucket: &str, key: &str) -> io::Result<Option<(File, u64)>> {
    let Some(directory) = directory(root, bucket) else { return Ok(None) };
    match File::open(directory.join(name_of(key))) {
        Ok(file) => Ok(file::read(&file).ok().map(|object| (file, object.size))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::checksum::Sums;
    use crate::storage::file::Attributes;
    use jiff::Timestamp;
    use std::io::Read as _;

    /// An object's file of this name.
    fn put(root: &Path, name: &str, key: &str) {
        let directory = root.join("buckets/b");
        std::fs::create_dir_all(&directory).expect("made");
        let attributes = Attributes { content_type: Some("x".repeat(9_000)), ..Attributes::default() };
        let (key, e_tag, sums) = (key.to_owned(), String::new(), Sums::default());
        let object = Object { key, size: 0, e_tag, modified: Timestamp::UNIX_EPOCH, attributes, sums };
        file::seal(File::create(directory.join(name)).expect("created"), &object).expect("sealed");
    }

    #[test]
    fn pages_by_key_are_together_all_that_is_there() {
        let root = tempfile::tempdir().expect("directory");
        for key in ["a/1", "a/2", "a/3", "b", "\u{10ffff}"] {
            put(root.path(), &name_of(key), key);
        }
        let keys = |prefix: &str, after: &str, limit| {
            let page = list(root.path(), "b", prefix, after, limit).expect("listed").expect("a bucket");
            let keys: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
            (keys, page.more_after)
        };
        assert_eq!(keys("a/", "", 2), (vec!["a/1".to_owned(), "a/2".to_owned()], Some("a/2".to_owned())));
        assert_eq!(keys("a/", "a/2", 2), (vec!["a/3".to_owned()], None));
        assert_eq!(keys("", "a/3", 9), (vec!["b".to_owned(), "\u{10ffff}".to_owned()], None));
        let page = list(root.path(), "b", "", "", 1).expect("listed").expect("a bucket");
        assert_eq!(page.objects[0].content_type.as_ref().map(String::len), Some(KIND_MAX));
    }

    #[test]
    fn what_is_no_object_or_not_where_its_key_says_is_not_shown() {
        let root = tempfile::tempdir().expect("directory");
        put(root.path(), &name_of("a"), "b");
        let long = "k".repeat(KEY_MAX + 1);
        put(root.path(), &name_of(&long), &long);
        std::fs::write(root.path().join("buckets/b/x"), b"x").expect("written");
        let page = list(root.path(), "b", "", "", 9).expect("listed").expect("a bucket");
        assert_eq!(page.objects, []);
    }

    #[test]
    fn no_name_leads_out_of_the_storage() {
        let root = tempfile::tempdir().expect("directory");
        put(root.path(), &name_of("a"), "a");
        std::fs::create_dir_all(root.path().join("other")).expect("made");
        std::fs::copy(root.path().join("buckets/b").join(name_of("a")), root.path().join("other").join(name_of("a")))
            .expect("copied");
        for bucket in ["../other", "..", ".", "", "/", "b/../../other", "B"] {
            assert!(open(root.path(), bucket, "a").expect("no error").is_none(), "{bucket}");
            assert!(list(root.path(), bucket, "", "", 9).expect("no error").is_none(), "{bucket}");
        }
        let (mut file, size) = open(root.path(), "b", "a").expect("opened").expect("there");
        let mut content = Vec::new();
        file.by_ref().take(size).read_to_end(&mut content).expect("read");
        assert_eq!((size, content), (0, Vec::new()));
    }
}
