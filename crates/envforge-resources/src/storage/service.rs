//! The S3 operations there are; the library refuses every other as not implemented.

use super::answer::{Failed, blocking, encode, length, tag, time};
use super::file::Object;
use super::listing::{Listing, Page};
use super::store::{Answer, Store, StoreError};
use super::{multipart, object};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, BucketLocationConstraint, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, EncodingType, Error,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, ObjectStorageClass,
    PutObjectInput, PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;

/// Entries of a list at most.
const PAGE: i32 = 1_000;
/// The region that is written as none.
const UNNAMED_REGION: &str = "us-east-1";

/// What answers.
pub(super) struct Storage {
    pub(super) store: Arc<Store>,
    region: String,
}

impl Storage {
    pub(super) fn new(store: Store, region: String) -> Self {
        Self { store: Arc::new(store), region }
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Answer<T> + Send + 'static,
    ) -> S3Result<T> {
        let store = Arc::clone(&self.store);
        blocking(move || work(&store)).await
    }

    fn page(&self, bucket: &str, listing: &Listing) -> S3Result<Page> {
        self.store.list(bucket, listing).map_err(|error| Failed::from(error).0)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "stands where operations end")]
fn answer<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

/// Where the next page begins, in a form that any client hands back unchanged.
fn token(next: &str) -> String {
    hex::encode(next)
}

fn place_of(token: &str) -> S3Result<String> {
    let place = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    place.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is none of ours"))
}

fn entry(object: &Object, encoding: Option<&EncodingType>) -> s3s::dto::Object {
    s3s::dto::Object {
        key: Some(encode(&object.key, encoding)),
        size: Some(length(object.size)),
        e_tag: Some(tag(object)),
        last_modified: Some(time(object.modified)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..s3s::dto::Object::default()
    }
}

fn prefixes(page: &Page, encoding: Option<&EncodingType>) -> Vec<CommonPrefix> {
    page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix, encoding)) }).collect()
}

#[async_trait::async_trait]
impl S3 for Storage {
    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let prefix = request.input.prefix.clone().unwrap_or_default();
        let buckets = self.store.buckets().into_iter().filter(|(name, _)| name.starts_with(&prefix));
        let bucket =
            |(name, created)| Bucket { name: Some(name), creation_date: Some(time(created)), bucket_region: None };
        answer(ListBucketsOutput {
            buckets: Some(buckets.map(bucket).collect()),
            prefix: request.input.prefix,
            ..ListBucketsOutput::default()
        })
    }

    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = request.input.bucket;
        let location = format!("/{bucket}");
        self.with_store(move |store| match store.create_bucket(&bucket) {
            // As in the region where clients are at home by default: it is theirs already.
            Err(StoreError::BucketExists) => Ok(()),
            other => other,
        })
        .await?;
        answer(CreateBucketOutput { location: Some(location) })
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.store.has_bucket(&request.input.bucket).map_err(|error| Failed::from(error).0)?;
        answer(HeadBucketOutput { bucket_region: Some(self.region.clone()), ..HeadBucketOutput::default() })
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.store.has_bucket(&request.input.bucket).map_err(|error| Failed::from(error).0)?;
        let region = Some(&self.region).filter(|region| *region != UNNAMED_REGION);
        let location_constraint = region.map(|region| BucketLocationConstraint::from(region.clone()));
        answer(GetBucketLocationOutput { location_constraint })
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.store.has_bucket(&request.input.bucket).map_err(|error| Failed::from(error).0)?;
        answer(GetBucketVersioningOutput::default())
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.with_store(move |store| store.delete_bucket(&request.input.bucket)).await?;
        answer(DeleteBucketOutput {})
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let limit = input.max_keys.unwrap_or(PAGE).clamp(0, PAGE);
        let listing = Listing {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: input.marker.clone(),
            limit: limit as usize,
        };
        let page = self.page(&input.bucket, &listing)?;
        let encoding = input.encoding_type.as_ref();
        answer(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(&listing.prefix, encoding)),
            marker: Some(encode(&input.marker.unwrap_or_default(), encoding)),
            max_keys: Some(limit),
            is_truncated: Some(page.next.is_some()),
            contents: Some(page.objects.iter().map(|object| entry(object, encoding)).collect()),
            common_prefixes: Some(prefixes(&page, encoding)),
            delimiter: input.delimiter.map(|delimiter| encode(&delimiter, encoding)),
            next_marker: page.next.map(|next| encode(&next, encoding)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let limit = input.max_keys.unwrap_or(PAGE).clamp(0, PAGE);
        let place = input.continuation_token.as_deref().map(place_of).transpose()?;
        let listing = Listing {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: place.or_else(|| input.start_after.clone()),
            limit: limit as usize,
        };
        let page = self.page(&input.bucket, &listing)?;
        let encoding = input.encoding_type.as_ref();
        let count = page.objects.len() + page.prefixes.len();
        answer(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(&listing.prefix, encoding)),
            max_keys: Some(limit),
            key_count: i32::try_from(count).ok(),
            is_truncated: Some(page.next.is_some()),
            contents: Some(page.objects.iter().map(|object| entry(object, encoding)).collect()),
            common_prefixes: Some(prefixes(&page, encoding)),
            delimiter: input.delimiter.map(|delimiter| encode(&delimiter, encoding)),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next.as_deref().map(token),
            start_after: input.start_after.map(|after| encode(&after, encoding)),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        })
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        answer(object::put(self, request).await?)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        answer(object::get(self, request.input).await?)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        answer(object::head(self, request.input)?)
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        answer(object::copy(self, request.input).await?)
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.with_store(move |store| store.remove(&request.input.bucket, &request.input.key)).await?;
        answer(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        if input.delete.objects.len() > PAGE as usize {
            return Err(s3_error!(MalformedXML, "at most {PAGE} objects are deleted at once"));
        }
        let is_quiet = input.delete.quiet.unwrap_or_default();
        let output = self
            .with_store(move |store| {
                store.has_bucket(&input.bucket)?;
                let (mut deleted, mut errors) = (Vec::new(), Vec::new());
                for named in input.delete.objects {
                    match store.remove(&input.bucket, &named.key) {
                        Ok(()) => deleted.push(DeletedObject { key: Some(named.key), ..DeletedObject::default() }),
                        Err(error) => errors.push(Error {
                            key: Some(named.key),
                            code: Some("InternalError".to_owned()),
                            message: Some(error.to_string()),
                            version_id: None,
                        }),
                    }
                }
                let deleted = Some(deleted).filter(|_| !is_quiet);
                Ok(DeleteObjectsOutput { deleted, errors: Some(errors), ..DeleteObjectsOutput::default() })
            })
            .await?;
        answer(output)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        answer(multipart::create(self, request.input).await?)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        answer(multipart::upload_part(self, request).await?)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        answer(multipart::upload_part_copy(self, request.input).await?)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        answer(multipart::complete(self, request.input).await?)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.with_store(move |store| store.abort(&input.upload_id, &input.bucket, &input.key)).await?;
        answer(AbortMultipartUploadOutput::default())
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        answer(multipart::list_parts(self, request.input).await?)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        answer(multipart::list_uploads(self, request.input).await?)
    }
}
