//! One thing as one file: its content, then what is known of it, then a tail of fixed length.
//!
//! ```text
//! content │ JSON │ length of the content, u64 LE │ length of the JSON, u32 LE │ eight bytes that say what it is
//! ```
//!
//! Both are in one file so that one rename replaces both. What is known stands behind the content because half of it, such as
//! digests, is only known then. A file that does not add up is nothing.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

/// How a tail begins: what the file is, and the version of its format.
pub(crate) type Magic = [u8; 8];

const TAIL: u64 = 8 + 4 + 8;
/// The most bytes of JSON that are read.
const ABOUT_MAX: u32 = 256 * 1024;

/// What is known of the content of this file, and how many bytes it has.
pub(crate) fn read<T: DeserializeOwned>(file: &File, kind: Magic) -> io::Result<(T, u64)> {
    let length = file.metadata()?.len();
    let tail_at = length.checked_sub(TAIL).ok_or_else(broken)?;
    let mut tail = [0_u8; TAIL as usize];
    file.read_exact_at(&mut tail, tail_at)?;
    let (size, rest) = tail.split_first_chunk().ok_or_else(broken)?;
    let (about, magic) = rest.split_first_chunk().ok_or_else(broken)?;
    let (size, about) = (u64::from_le_bytes(*size), u32::from_le_bytes(*about));
    if magic != kind || about > ABOUT_MAX || size.checked_add(about.into()) != Some(tail_at) {
        return Err(broken());
    }
    let mut json = vec![0_u8; about as usize];
    file.read_exact_at(&mut json, size)?;
    let about = serde_json::from_slice(&json).map_err(|_| broken())?;
    Ok((about, size))
}

/// Writes what is known behind the content that was written, which has so many bytes.
pub(crate) fn seal(mut to: impl Write, kind: Magic, about: &impl Serialize, size: u64) -> io::Result<()> {
    let json = serde_json::to_vec(about)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length <= ABOUT_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too much is said of the content"))?;
    to.write_all(&json)?;
    to.write_all(&size.to_le_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&kind)
}

/// What a file that does not add up is answered with.
pub(crate) fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a whole file")
}
