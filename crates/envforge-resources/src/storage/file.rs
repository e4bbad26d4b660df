//! One object as one file ([`crate::sealed`]): its content, and what is known of it.

use super::checksum::Sums;
use crate::sealed::{self, Magic};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

const MAGIC: Magic = *b"efobj001";

/// What is known of an object, or of a part of one that is being uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) key: String,
    /// Bytes of content.
    pub(super) size: u64,
    /// Without quotes: the MD5 of the content, or of its parts' with their number.
    pub(super) e_tag: String,
    pub(super) modified: Timestamp,
    #[serde(default)]
    pub(super) attributes: Attributes,
    /// Further digests, as clients gave and can ask for them.
    #[serde(default)]
    pub(super) sums: Sums,
}

/// What a client says of an object and is told again: headers, word for word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    /// As an HTTP date.
    pub(super) expires: Option<String>,
    /// `x-amz-meta-…`
    pub(super) metadata: BTreeMap<String, String>,
}

/// What is known of the object in this file.
pub(super) fn read(file: &File) -> io::Result<Object> {
    let (object, size): (Object, u64) = sealed::read(file, MAGIC)?;
    if object.size == size { Ok(object) } else { Err(sealed::broken()) }
}

/// Writes what is known behind the content that was written.
pub(super) fn seal(to: impl Write, object: &Object) -> io::Result<()> {
    sealed::seal(to, MAGIC, object, object.size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;

    fn object(size: u64) -> Object {
        Object {
            key: "a/b".to_owned(),
            size,
            e_tag: "tag".to_owned(),
            modified: Timestamp::UNIX_EPOCH,
            attributes: Attributes::default(),
            sums: Sums::default(),
        }
    }

    #[test]
    fn whatever_is_missing_of_a_file_it_is_no_object() {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(b"content").expect("written");
        seal(&file, &object(7)).expect("written");
        assert_eq!(read(&file).expect("whole"), object(7));
        let length = file.metadata().expect("length").len();
        for shorter in (0..length).rev() {
            file.set_len(shorter).expect("cut");
            assert!(read(&file).is_err(), "{shorter} of {length} bytes");
        }
        // Of the right length, and never written, as after a power failure.
        file.set_len(length).expect("grown");
        assert!(read(&file).is_err());
        file.rewind().expect("at the start");
        file.write_all(b"content").expect("written");
        sealed::seal(&file, MAGIC, &object(8), 7).expect("written");
        assert!(read(&file).is_err(), "its own word and its length differ");
    }
}
