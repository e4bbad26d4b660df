//! The SSM Parameter Store: each secret a SecureString, each version of its value a version of that.
//!
//! A parameter keeps its newest 100 versions; the server refers to 10 of them at most. A value of more than 4 KiB makes
//! the parameter an advanced one, which costs money, has up to 8 KiB and never becomes a standard one again
//! (<https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>). That is what
//! AWS's "intelligent tiering" decides, so it is left to it: asking for the standard tier would fail from then on.

use crate::{found, said};
use aws_config::SdkConfig;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use envforge_api::values::{SecretValues, ValueError, ValuePlace};
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;

/// Longest value of an advanced parameter, in bytes.
const VALUE_MAX: usize = 8 * 1024;
/// What begins a reference to another parameter, which no value may hold
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>).
const REFERENCE: &str = "{{";
/// Longest prefix, so that a parameter's name, of 1011 characters at most, has room for the two ids after it.
const PREFIX_MAX: usize = 800;
/// Most levels of a prefix: of the 15 that a name may have, two are for the ids.
const LEVELS_MAX: usize = 13;

/// Parameters under one prefix: `<prefix>/<org id>/<secret id>`.
#[derive(Debug)]
pub struct SsmStore {
    name: String,
    prefix: String,
    key: String,
    client: Client,
}

/// Why parameters can't lie where it was said.
#[derive(Debug, thiserror::Error)]
pub enum SsmError {
    /// Not the beginning of a parameter's name.
    #[error(
        "`{0}` can't begin names of parameters: give a path such as /envforge, of letters, digits, `.`, `-` and `_`, not under /aws or /ssm, without `/` at its end"
    )]
    Prefix(String),
}

impl SsmStore {
    /// The parameters under a prefix, encrypted with a KMS key from now on; credentials and region as AWS's chain finds
    /// them. Asks for nothing yet.
    pub async fn connect(prefix: &str, key: &str) -> Result<Self, SsmError> {
        Self::with_config(prefix, key, &found().await)
    }

    /// The same with another configuration.
    pub fn with_config(prefix: &str, key: &str, config: &SdkConfig) -> Result<Self, SsmError> {
        let refused = || SsmError::Prefix(prefix.to_owned());
        let levels: Vec<&str> = prefix.strip_prefix('/').ok_or_else(refused)?.split('/').collect();
        let fits = |next: u8| next.is_ascii_alphanumeric() || matches!(next, b'.' | b'-' | b'_');
        let well_formed = levels.iter().all(|level| !level.is_empty() && level.bytes().all(fits));
        let first = levels[0].to_ascii_lowercase();
        let reserved = first.starts_with("aws") || first.starts_with("ssm");
        if !well_formed || reserved || prefix.len() > PREFIX_MAX || levels.len() > LEVELS_MAX {
            return Err(refused());
        }
        let name = format!("aws-ssm:{prefix}");
        Ok(Self { name, prefix: prefix.to_owned(), key: key.to_owned(), client: Client::new(config) })
    }

    fn parameter(&self, place: ValuePlace) -> String {
        format!("{}/{}/{}", self.prefix, place.org, place.secret)
    }
}

fn failed<E>(parameter: &str, error: &SdkError<E>) -> ValueError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some("ParameterNotFound" | "ParameterVersionNotFound") => ValueError::Missing,
        _ => ValueError::Unavailable(format!("SSM parameter {parameter}: {}", said(error))),
    }
}

impl SecretValues for SsmStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn value_max(&self) -> usize {
        VALUE_MAX
    }

    fn put<'a>(&'a self, place: ValuePlace, value: &'a Secret) -> BoxFuture<'a, Result<i64, ValueError>> {
        Box::pin(async move {
            if value.expose().contains(REFERENCE) {
                return Err(ValueError::Unfit(REFERENCE));
            }
            let parameter = self.parameter(place);
            let call = self.client.put_parameter().name(&parameter).value(value.expose()).overwrite(true);
            let call =
                call.r#type(ParameterType::SecureString).key_id(&self.key).tier(ParameterTier::IntelligentTiering);
            let put = call.send().await.map_err(|error| failed(&parameter, &error))?;
            Ok(put.version())
        })
    }

    fn get(&self, place: ValuePlace, version: i64) -> BoxFuture<'_, Result<Secret, ValueError>> {
        Box::pin(async move {
            let parameter = format!("{}:{version}", self.parameter(place));
            let call = self.client.get_parameter().name(&parameter).with_decryption(true);
            let got = call.send().await.map_err(|error| failed(&parameter, &error))?;
            let value = got.parameter.and_then(|parameter| parameter.value).ok_or(ValueError::Missing)?;
            Ok(Secret::new(value))
        })
    }

    fn delete(&self, place: ValuePlace) -> BoxFuture<'_, Result<(), ValueError>> {
        Box::pin(async move {
            let parameter = self.parameter(place);
            let deleted = self.client.delete_parameter().name(&parameter).send().await;
            match deleted.map_err(|error| failed(&parameter, &error)) {
                Ok(_) | Err(ValueError::Missing) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }
}
