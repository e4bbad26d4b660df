//! What is asked and answered, between the library's words and ours.

use super::file::{Attributes, Object};
use super::store::StoreError;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{self, ETag, EncodingType, Metadata, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use std::io;
use std::time::SystemTime;

/// User metadata at most, in bytes of names and values (Amazon S3 User Guide, "Working with object metadata").
const METADATA_MAX: usize = 2 * 1024;
/// What stays as it is in a list whose keys are encoded.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'*');

/// Runs what blocks where it holds up nobody.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> S3Result<T>
where
    T: Send + 'static,
    E: Into<Failed> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.into().0),
        Err(error) => Err(S3Error::internal_error(error)),
    }
}

/// An error on its way to the client.
pub(super) struct Failed(pub(super) S3Error);

impl From<S3Error> for Failed {
    fn from(error: S3Error) -> Self {
        Self(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            let code = S3ErrorCode::Custom("InsufficientStorage".into());
            let mut full = S3Error::with_message(code, "the disk is full: delete something, then try again");
            full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
            return Self(full);
        }
        crate::log(&format!("a request failed: {error}"));
        Self(s3_error!(InternalError, "{}", error.kind()))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Io(error) => return error.into(),
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::InvalidPart => S3ErrorCode::InvalidPart,
            StoreError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            StoreError::EntityTooSmall => S3ErrorCode::EntityTooSmall,
            StoreError::Precondition => S3ErrorCode::PreconditionFailed,
        };
        Self(S3Error::with_message(code, error.to_string()))
    }
}

pub(super) fn time(at: Timestamp) -> dto::Timestamp {
    SystemTime::from(at).into()
}

pub(super) fn tag(object: &Object) -> ETag {
    ETag::Strong(object.e_tag.clone())
}

/// A length as the library counts it.
pub(super) fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Keys in a list, as the client asked for them.
pub(super) fn encode(text: &str, encoding: Option<&EncodingType>) -> String {
    match encoding {
        Some(encoding) if encoding.as_str() == EncodingType::URL => utf8_percent_encode(text, KEPT).to_string(),
        _ => text.to_owned(),
    }
}

pub(super) fn metadata(given: Option<Metadata>) -> S3Result<std::collections::BTreeMap<String, String>> {
    let given: std::collections::BTreeMap<String, String> = given.unwrap_or_default().into_iter().collect();
    let size: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_MAX { Err(s3_error!(MetadataTooLarge)) } else { Ok(given) }
}

pub(super) fn http_date(at: Option<dto::Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    at?.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// What a request says of the object it makes; requests have the same fields and no common type.
macro_rules! attributes {
    ($input:expr) => {
        super::file::Attributes {
            content_type: $input.content_type,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            content_disposition: $input.content_disposition,
            cache_control: $input.cache_control,
            expires: super::answer::http_date($input.expires),
            metadata: super::answer::metadata($input.metadata)?,
        }
    };
}
pub(super) use attributes;

/// Checksums a request says its content has.
macro_rules! said {
    ($input:expr) => {
        super::checksum::Said {
            algorithm: $input.checksum_algorithm.clone(),
            md5: $input.content_md5.clone(),
            sums: super::checksum::Sums {
                crc32: $input.checksum_crc32.clone(),
                crc32c: $input.checksum_crc32c.clone(),
                crc64nvme: $input.checksum_crc64nvme.clone(),
                sha1: $input.checksum_sha1.clone(),
                sha256: $input.checksum_sha256.clone(),
            },
        }
    };
}
pub(super) use said;

pub(super) fn expires(attributes: &Attributes) -> Option<dto::Timestamp> {
    dto::Timestamp::parse(TimestampFormat::HttpDate, attributes.expires.as_deref()?).ok()
}
