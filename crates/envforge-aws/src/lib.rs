//! AWS: a KMS key as a key-encryption key, and the SSM Parameter Store as a store of secrets.
//!
//! A crate of its own, because its clients cost minutes to compile and nothing else needs them: it knows the domain and
//! the traits it implements, the server knows neither it nor AWS, and `envforged` joins them. Credentials are found by
//! AWS's own chain: environment, profile, web identity, container, instance. What their user must be allowed to do
//! is in `docs/aws-kms-policy.json` and `docs/aws-ssm-policy.json`, and nothing more is asked for.
#![warn(missing_docs)]

mod ssm;

pub use ssm::{SsmError, SsmStore};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_smithy_types::timeout::TimeoutConfig;
use envforge_api::keys::{KeyError, KeyWrapper};
use envforge_core::clock::Entropy;
use envforge_core::envelope::{DataKey, EnvelopeError};
use futures_util::future::BoxFuture;
use std::error::Error as _;
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The one entry of the encryption context: what a data key is wrapped for. It is in CloudTrail with every use.
const CONTEXT: &str = "envforge";
/// How long a call may take, with what is tried again.
const LIMIT: Duration = Duration::from_secs(15);

/// Where AWS's client logs, at TRACE, requests with what is in them: keys and values in clear. Not to be logged below DEBUG.
pub const LOGS_BODIES: &str = "aws_smithy_runtime::client::orchestrator";

/// Credentials and region as AWS's chain finds them, and how long a call may take.
async fn found() -> SdkConfig {
    let limits = TimeoutConfig::builder().operation_timeout(LIMIT).build();
    aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(limits).load().await
}

/// A key in AWS KMS.
#[derive(Debug)]
pub struct KmsKey {
    name: String,
    key: String,
    client: Client,
}

/// Why a key is not one that can be used.
#[derive(Debug, thiserror::Error)]
pub enum KmsKeyError {
    /// An alias was given.
    #[error("`{0}` is an alias, which may come to mean another key; give the key's id or ARN")]
    Alias(String),
}

impl KmsKey {
    /// A key by its id or ARN, with credentials and region as AWS's chain finds them. Asks for nothing yet.
    pub async fn connect(key: &str) -> Result<Self, KmsKeyError> {
        Self::with_config(key, &found().await)
    }

    /// The same with another configuration.
    pub fn with_config(key: &str, config: &SdkConfig) -> Result<Self, KmsKeyError> {
        if key.contains("alias/") {
            return Err(KmsKeyError::Alias(key.to_owned()));
        }
        Ok(Self { name: format!("aws-kms:{key}"), key: key.to_owned(), client: Client::new(config) })
    }

    fn failed<E>(&self, error: &SdkError<E>) -> KeyError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        // Changed, or wrapped for another place: KMS does not tell which.
        if error.code() == Some("InvalidCiphertextException") {
            return EnvelopeError::Forged.into();
        }
        KeyError::Unavailable(format!("KMS key {}: {}", self.key, said(error)))
    }
}

/// What went wrong in one line: what the service says, or what keeps it from saying anything.
fn said<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message(), error.raw_response()) {
        (Some(code), message, _) => format!("{code}: {}", message.unwrap_or_default()),
        (None, _, Some(response)) => format!("it answered with status {}", response.status()),
        (None, _, None) => {
            let (mut all, mut source) = (error.to_string(), error.source());
            while let Some(cause) = source {
                all = format!("{all}: {cause}");
                source = cause.source();
            }
            all
        }
    }
}

impl KeyWrapper for KmsKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(
        &'a self,
        key: &'a DataKey,
        context: &'a str,
        _: &'a dyn Entropy,
    ) -> BoxFuture<'a, Result<Vec<u8>, KeyError>> {
        Box::pin(async move {
            let call = self.client.encrypt().key_id(&self.key).plaintext(Blob::new(key.expose().as_slice()));
            let wrapped =
                call.encryption_context(CONTEXT, context).send().await.map_err(|error| self.failed(&error))?;
            let blob =
                wrapped.ciphertext_blob.ok_or_else(|| KeyError::Unavailable("KMS answered nothing".to_owned()))?;
            Ok(blob.into_inner())
        })
    }

    fn unwrap<'a>(&'a self, id: Uuid, wrapped: &'a [u8], context: &'a str) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        Box::pin(async move {
            let call = self.client.decrypt().key_id(&self.key).ciphertext_blob(Blob::new(wrapped));
            let opened = call.encryption_context(CONTEXT, context).send().await.map_err(|error| self.failed(&error))?;
            let bytes = Zeroizing::new(opened.plaintext.map(Blob::into_inner).unwrap_or_default());
            let bytes = bytes.as_slice().try_into().map_err(|_| EnvelopeError::Malformed)?;
            Ok(DataKey::new(id, bytes))
        })
    }
}
