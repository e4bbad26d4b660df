//! Multipart uploads as clients ask for them.

use super::answer::{Failed, attributes, blocking, encode, length, said, tag, time};
use super::condition::{Reading, Writing};
use super::file::{Attributes, Object};
use super::object::{self, Incoming, Received};
use super::service::Storage;
use super::store::{Store, StoreError};
use super::uploads::Listed;
use s3s::dto::{
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyPartResult, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part, Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};
use std::sync::Arc;

/// The highest number of a part.
const PART_MAX: i32 = 10_000;
/// Entries of a list at most.
const PAGE: i32 = 1_000;

pub(super) async fn create(
    storage: &Storage,
    input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    let (store, bucket, key) = (Arc::clone(&storage.store), input.bucket.clone(), input.key.clone());
    let algorithm = input.checksum_algorithm;
    let attributes = attributes!(input);
    let id = blocking(move || store.begin_upload(&bucket, &key, attributes)).await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: algorithm,
        ..CreateMultipartUploadOutput::default()
    })
}

fn number(given: i32) -> S3Result<u16> {
    let number = (1..=PART_MAX).contains(&given).then(|| u16::try_from(given).ok()).flatten();
    number.ok_or_else(|| s3_error!(InvalidArgument, "part numbers are 1 to {PART_MAX}"))
}

/// What was received, as a part of this upload.
async fn keep_part(
    store: Arc<Store>,
    (id, bucket, key): (String, String, String),
    number: u16,
    received: Received,
) -> S3Result<Object> {
    blocking(move || -> Result<Object, StoreError> {
        let part = Object {
            key,
            size: received.size,
            e_tag: received.md5,
            modified: store.now(),
            attributes: Attributes::default(),
            sums: received.sums,
        };
        store.put_part(&id, &bucket, number, &received.draft, &part)?;
        Ok(part)
    })
    .await
}

pub(super) async fn upload_part(storage: &Storage, request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
    let trailer = object::trailer(&request);
    let (mut input, trailing) = (request.input, request.trailing_headers);
    let number = number(input.part_number)?;
    let found = storage.store.upload(&input.upload_id, &input.bucket, &input.key);
    found.map_err(|error| Failed::from(error).0)?;
    let (body, said) = (input.body.take(), said!(input));
    let received = object::receive(&storage.store, Incoming { body, said, trailer, trailing }).await?;
    let upload = (input.upload_id, input.bucket, input.key);
    let part = keep_part(Arc::clone(&storage.store), upload, number, received).await?;
    Ok(UploadPartOutput {
        e_tag: Some(tag(&part)),
        checksum_crc32: part.sums.crc32,
        checksum_crc32c: part.sums.crc32c,
        checksum_crc64nvme: part.sums.crc64nvme,
        checksum_sha1: part.sums.sha1,
        checksum_sha256: part.sums.sha256,
        ..UploadPartOutput::default()
    })
}

pub(super) async fn upload_part_copy(storage: &Storage, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
    let number = number(input.part_number)?;
    let (from_bucket, from_key) = object::source(input.copy_source)?;
    let range = input.copy_source_range.map(|range| Range::parse(&range)).transpose();
    let range = range.map_err(|_| s3_error!(InvalidArgument, "the range is none"))?;
    let (if_match, if_none_match) = (input.copy_source_if_match, input.copy_source_if_none_match);
    let (since, unmodified) = (input.copy_source_if_modified_since, input.copy_source_if_unmodified_since);
    let upload = (input.upload_id, input.bucket, input.key);
    let (store, wanted) = (Arc::clone(&storage.store), upload.clone());
    let copied = blocking(move || -> Result<Received, Failed> {
        store.upload(&wanted.0, &wanted.1, &wanted.2)?;
        let (file, from) = store.open_object(&from_bucket, &from_key)?;
        let reading = Reading {
            if_match: if_match.as_ref(),
            if_none_match: if_none_match.as_ref(),
            if_modified_since: since.as_ref(),
            if_unmodified_since: unmodified.as_ref(),
        };
        reading.check_source(&from)?;
        let bytes = match range {
            Some(range) => range.check(from.size).map_err(|_| s3_error!(InvalidRange))?,
            None => 0..from.size,
        };
        object::copy_bytes(&store, file, bytes)
    })
    .await?;
    let part = keep_part(Arc::clone(&storage.store), upload, number, copied).await?;
    let result = CopyPartResult {
        e_tag: Some(tag(&part)),
        last_modified: Some(time(part.modified)),
        ..CopyPartResult::default()
    };
    Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
}

pub(super) async fn complete(
    storage: &Storage,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let mut listed: Vec<Listed> = Vec::new();
    for part in input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default() {
        let e_tag = part.e_tag.ok_or_else(|| s3_error!(InvalidPart, "a part without its tag"))?;
        listed.push((number(part.part_number.unwrap_or_default())?, e_tag.into_value()));
    }
    let writing = Writing { if_match: input.if_match, if_none_match: input.if_none_match };
    let (store, id) = (Arc::clone(&storage.store), input.upload_id);
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let object = blocking(move || store.complete(&id, &bucket, &key, &listed, &writing)).await?;
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(tag(&object)),
        ..CompleteMultipartUploadOutput::default()
    })
}

pub(super) async fn list_parts(storage: &Storage, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    let (store, id) = (Arc::clone(&storage.store), input.upload_id.clone());
    let (bucket, key) = (input.bucket.clone(), input.key.clone());
    let after = input.part_number_marker.unwrap_or_default();
    let limit = input.max_parts.unwrap_or(PAGE).clamp(0, PAGE);
    let mut parts = blocking(move || store.parts(&id, &bucket, &key)).await?;
    parts.retain(|(number, _)| i32::from(*number) > after);
    let is_truncated = parts.len() > limit as usize;
    parts.truncate(limit as usize);
    Ok(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(after),
        next_part_number_marker: parts.last().map(|(number, _)| i32::from(*number)),
        max_parts: Some(limit),
        is_truncated: Some(is_truncated),
        parts: Some(parts.into_iter().map(listed_part).collect()),
        ..ListPartsOutput::default()
    })
}

fn listed_part((number, part): (u16, Object)) -> Part {
    Part {
        part_number: Some(number.into()),
        size: Some(length(part.size)),
        e_tag: Some(tag(&part)),
        last_modified: Some(time(part.modified)),
        checksum_crc32: part.sums.crc32,
        checksum_crc32c: part.sums.crc32c,
        checksum_crc64nvme: part.sums.crc64nvme,
        checksum_sha1: part.sums.sha1,
        checksum_sha256: part.sums.sha256,
    }
}

pub(super) async fn list_uploads(
    storage: &Storage,
    input: ListMultipartUploadsInput,
) -> S3Result<ListMultipartUploadsOutput> {
    if input.delimiter.is_some() {
        return Err(s3_error!(NotImplemented, "uploads are not rolled up by a delimiter"));
    }
    let store = Arc::clone(&storage.store);
    let bucket = input.bucket.clone();
    let open = blocking(move || -> Result<_, StoreError> {
        store.has_bucket(&bucket)?;
        Ok(store.open_uploads()?)
    })
    .await?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let limit = input.max_uploads.unwrap_or(PAGE).clamp(0, PAGE);
    let after = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone());
    let follows = |id: &String, key: &String| match &after.1 {
        Some(marker) => (key, id) > (&after.0, marker),
        None => *key > after.0,
    };
    let mut found: Vec<_> = open
        .into_iter()
        .filter(|(id, upload)| {
            upload.bucket == input.bucket && upload.key.starts_with(&prefix) && follows(id, &upload.key)
        })
        .collect();
    let is_truncated = found.len() > limit as usize;
    found.truncate(limit as usize);
    let encoding = input.encoding_type.as_ref();
    let last = found.last().filter(|_| is_truncated);
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix.map(|prefix| encode(&prefix, encoding)),
        key_marker: input.key_marker.map(|marker| encode(&marker, encoding)),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: last.map(|(_, upload)| encode(&upload.key, encoding)),
        next_upload_id_marker: last.map(|(id, _)| id.clone()),
        max_uploads: Some(limit),
        is_truncated: Some(is_truncated),
        uploads: Some(
            found
                .into_iter()
                .map(|(id, upload)| MultipartUpload {
                    key: Some(encode(&upload.key, encoding)),
                    initiated: Some(time(upload.begun)),
                    upload_id: Some(id),
                    ..MultipartUpload::default()
                })
                .collect(),
        ),
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    })
}
