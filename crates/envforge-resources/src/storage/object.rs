//! Objects: written, read, copied.

use super::answer::{Failed, attributes, blocking, expires, length, said, tag, time};
use super::checksum::{Digest, Said, Sums};
use super::condition::{Reading, Writing};
use super::file::Object;
use super::service::Storage;
use super::store::{Draft, Store};
use bytes::Bytes;
use futures_util::StreamExt as _;
use s3s::dto::{
    ChecksumMode, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, MetadataDirective, PutObjectInput, PutObjectOutput, Range, StreamingBlob,
};
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// So many bytes are gathered before they are written.
const GATHERED: usize = 1024 * 1024;
/// So many bytes are read at once.
const READ: usize = 256 * 1024;

/// What a client sends, and what it says of it.
pub(super) struct Incoming {
    pub(super) body: Option<StreamingBlob>,
    pub(super) said: Said,
    /// The names of the headers that follow the content.
    pub(super) trailer: Option<String>,
    pub(super) trailing: Option<TrailingHeaders>,
}

/// What was received: written, not yet shown.
pub(super) struct Received {
    pub(super) draft: Draft,
    pub(super) size: u64,
    pub(super) md5: String,
    pub(super) sums: Sums,
}

/// What is being received.
struct Work {
    draft: Draft,
    digest: Digest,
    size: u64,
}

impl Work {
    fn write(mut self, chunks: Vec<Bytes>) -> io::Result<Self> {
        for chunk in chunks {
            self.digest.update(&chunk);
            self.draft.file.write_all(&chunk)?;
            self.size += chunk.len() as u64;
        }
        Ok(self)
    }
}

/// Writes what a client sends into a draft.
pub(super) async fn receive(store: &Arc<Store>, incoming: Incoming) -> S3Result<Received> {
    let digest = Digest::new(&incoming.said, incoming.trailer.as_deref())?;
    let store = Arc::clone(store);
    let mut work = blocking(move || store.draft().map(|draft| Work { draft, digest, size: 0 })).await?;
    let mut body = incoming.body;
    let (mut chunks, mut gathered) = (Vec::new(), 0);
    while let Some(body) = &mut body {
        let Some(chunk) = body.next().await else { break };
        // The client went away, or signed something else.
        let chunk = chunk.map_err(|error| s3s::S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error))?;
        gathered += chunk.len();
        chunks.push(chunk);
        if gathered >= GATHERED {
            gathered = 0;
            let full = std::mem::take(&mut chunks);
            work = blocking(move || work.write(full)).await?;
        }
    }
    let trailers = incoming.trailing.and_then(|trailing| trailing.take());
    let said = incoming.said;
    blocking(move || -> Result<Received, Failed> {
        let work = work.write(chunks)?;
        let (md5, sums) = work.digest.finish(&said, trailers.as_ref())?;
        Ok(Received { draft: work.draft, size: work.size, md5: hex::encode(md5), sums })
    })
    .await
}

/// The header that names what follows the content.
pub(super) fn trailer<T>(request: &S3Request<T>) -> Option<String> {
    request.headers.get("x-amz-trailer").and_then(|names| names.to_str().ok()).map(str::to_owned)
}

pub(super) async fn put(storage: &Storage, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let trailer = trailer(&request);
    let (mut input, trailing) = (request.input, request.trailing_headers);
    storage.store.has_bucket(&input.bucket).map_err(|error| Failed::from(error).0)?;
    let (body, said) = (input.body.take(), said!(input));
    let writing = Writing { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let attributes = attributes!(input);
    let received = receive(&storage.store, Incoming { body, said, trailer, trailing }).await?;
    let sums = received.sums.clone();
    let store = Arc::clone(&storage.store);
    let object = Object {
        key,
        size: received.size,
        e_tag: received.md5,
        modified: store.now(),
        attributes,
        sums: received.sums,
    };
    let e_tag = tag(&object);
    blocking(move || store.publish(&bucket, &received.draft, object, &writing)).await?;
    Ok(PutObjectOutput {
        e_tag: Some(e_tag),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        ..PutObjectOutput::default()
    })
}

/// The bytes asked for, and how the answer names them when they are not all.
fn ranged(range: Option<Range>, size: u64) -> S3Result<(std::ops::Range<u64>, Option<String>)> {
    let Some(range) = range else { return Ok((0..size, None)) };
    let bytes = range.check(size).map_err(|_| s3_error!(InvalidRange))?;
    let named = format!("bytes {}-{}/{size}", bytes.start, bytes.end.saturating_sub(1));
    Ok((bytes, Some(named)))
}

/// Checksums are of whole objects, and given to who asks.
fn asked_sums(object: &Object, mode: Option<&ChecksumMode>, is_whole: bool) -> Sums {
    let is_asked = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if is_asked && is_whole { object.sums.clone() } else { Sums::default() }
}

pub(super) async fn get(storage: &Storage, input: GetObjectInput) -> S3Result<GetObjectOutput> {
    if input.part_number.is_some() {
        return Err(s3_error!(NotImplemented, "objects are not kept in parts"));
    }
    let (store, bucket, key) = (Arc::clone(&storage.store), input.bucket.clone(), input.key.clone());
    let (mut file, object) = blocking(move || store.open_object(&bucket, &key)).await?;
    let reading = Reading {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    reading.check(&object)?;
    let (bytes, content_range) = ranged(input.range, object.size)?;
    let count = bytes.end - bytes.start;
    let file = blocking(move || file.seek(SeekFrom::Start(bytes.start)).map(|_| file)).await?;
    let content = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(count), READ);
    let sums = asked_sums(&object, input.checksum_mode.as_ref(), content_range.is_none());
    let expires = input.response_expires.or_else(|| expires(&object.attributes));
    let (e_tag, last_modified, attributes) = (tag(&object), time(object.modified), object.attributes);
    Ok(GetObjectOutput {
        body: Some(StreamingBlob::wrap(content)),
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(length(count)),
        content_range,
        e_tag: Some(e_tag),
        last_modified: Some(last_modified),
        content_type: input.response_content_type.or(attributes.content_type),
        content_encoding: input.response_content_encoding.or(attributes.content_encoding),
        content_language: input.response_content_language.or(attributes.content_language),
        content_disposition: input.response_content_disposition.or(attributes.content_disposition),
        cache_control: input.response_cache_control.or(attributes.cache_control),
        expires,
        metadata: Some(attributes.metadata.into_iter().collect()),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        ..GetObjectOutput::default()
    })
}

pub(super) fn head(storage: &Storage, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
    let object = storage.store.head(&input.bucket, &input.key).map_err(|error| Failed::from(error).0)?;
    let reading = Reading {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    reading.check(&object)?;
    let (bytes, content_range) = ranged(input.range, object.size)?;
    let sums = asked_sums(&object, input.checksum_mode.as_ref(), content_range.is_none());
    let attributes = &object.attributes;
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(length(bytes.end - bytes.start)),
        content_range,
        e_tag: Some(tag(&object)),
        last_modified: Some(time(object.modified)),
        content_type: input.response_content_type.or_else(|| attributes.content_type.clone()),
        content_encoding: input.response_content_encoding.or_else(|| attributes.content_encoding.clone()),
        content_language: input.response_content_language.or_else(|| attributes.content_language.clone()),
        content_disposition: input.response_content_disposition.or_else(|| attributes.content_disposition.clone()),
        cache_control: input.response_cache_control.or_else(|| attributes.cache_control.clone()),
        expires: input.response_expires.or_else(|| expires(attributes)),
        metadata: Some(attributes.metadata.clone().into_iter().collect()),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        ..HeadObjectOutput::default()
    })
}

/// Bucket and key of the source of a copy.
pub(super) fn source(from: CopySource) -> S3Result<(String, String)> {
    match from {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket.into(), key.into())),
        _ => Err(s3_error!(NotImplemented, "a copy is of an object in a bucket; there are no versions")),
    }
}

/// Copies some bytes of a file into a draft; the digest of what was copied.
pub(super) fn copy_bytes(store: &Store, mut from: File, bytes: std::ops::Range<u64>) -> Result<Received, Failed> {
    let said = Said::default();
    let mut work = Work { draft: store.draft()?, digest: Digest::new(&said, None)?, size: 0 };
    from.seek(SeekFrom::Start(bytes.start))?;
    let mut from = from.take(bytes.end - bytes.start);
    let mut buffer = vec![0_u8; READ];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        work.digest.update(&buffer[..read]);
        work.draft.file.write_all(&buffer[..read])?;
        work.size += read as u64;
    }
    let (md5, sums) = work.digest.finish(&said, None)?;
    Ok(Received { draft: work.draft, size: work.size, md5: hex::encode(md5), sums })
}

pub(super) async fn copy(storage: &Storage, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
    let (from_bucket, from_key) = source(input.copy_source)?;
    let replaces = input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
    if !replaces && (&from_bucket, &from_key) == (&input.bucket, &input.key) {
        return Err(s3_error!(InvalidRequest, "an object copied to itself needs other metadata"));
    }
    let (bucket, key) = (input.bucket, input.key);
    let given = if replaces { Some(attributes!(input)) } else { None };
    let (if_match, if_none_match) = (input.copy_source_if_match, input.copy_source_if_none_match);
    let (since, unmodified) = (input.copy_source_if_modified_since, input.copy_source_if_unmodified_since);
    let store = Arc::clone(&storage.store);
    let object = blocking(move || -> Result<Object, Failed> {
        store.has_bucket(&bucket)?;
        let (file, from) = store.open_object(&from_bucket, &from_key)?;
        let reading = Reading {
            if_match: if_match.as_ref(),
            if_none_match: if_none_match.as_ref(),
            if_modified_since: since.as_ref(),
            if_unmodified_since: unmodified.as_ref(),
        };
        reading.check_source(&from)?;
        let copied = copy_bytes(&store, file, 0..from.size)?;
        let object = Object {
            key,
            size: copied.size,
            e_tag: copied.md5,
            modified: store.now(),
            attributes: given.unwrap_or(from.attributes),
            sums: from.sums,
        };
        store.publish(&bucket, &copied.draft, object.clone(), &Writing::default())?;
        Ok(object)
    })
    .await?;
    let result = CopyObjectResult {
        e_tag: Some(tag(&object)),
        last_modified: Some(time(object.modified)),
        ..CopyObjectResult::default()
    };
    Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
}
