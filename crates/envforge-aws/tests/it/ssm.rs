//! The SSM Parameter Store as a store of secrets.

use crate::moto::{Moto, config_at};
use envforge_api::values::{SecretValues as _, ValueError, ValuePlace};
use envforge_aws::{LOGS_BODIES, SsmStore};
use envforge_core::id::{Id as _, OrgId, SecretId};
use envforge_core::secret::Secret;
use envforge_testkit::free_port;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

const POLICY: &str = include_str!("../../../../docs/aws-ssm-policy.json");
const PREFIX: &str = "/envforge/test";

fn place(org: u128, secret: u128) -> ValuePlace {
    ValuePlace { org: OrgId::from_uuid(Uuid::from_u128(org)), secret: SecretId::from_uuid(Uuid::from_u128(secret)) }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// The policy for everything of moto's: it judges actions; of resources and conditions it knows nothing.
fn policy() -> String {
    let policy = POLICY
        .replace("arn:aws:ssm:REGION:ACCOUNT:parameter/PREFIX/*\"\n    }", "*\"\n    }")
        .replace("arn:aws:kms:REGION:ACCOUNT:key/KEY-ID", "*");
    assert_eq!(policy.matches("\"Resource\": \"*\"").count(), 2, "{policy}");
    policy
}

/// A key, made while nothing is checked yet.
async fn kms_key(moto: &Moto) -> String {
    let admin = aws_sdk_kms::Client::new(&moto.config("AKIATEST", "x"));
    admin.create_key().send().await.unwrap().key_metadata.unwrap().key_id
}

// proves ORG-5
#[tokio::test]
async fn a_parameter_keeps_the_versions_of_one_secret_and_its_policy_is_enough() {
    let Some(moto) = Moto::start().await else { return };
    let key = kms_key(&moto).await;
    let (id, password) = moto.user(&policy()).await;
    let config = moto.config(&id, &password);
    let store = SsmStore::with_config(PREFIX, &key, &config).unwrap();
    let (ours, other) = (place(1, 7), place(2, 7));
    let get = async |place, version| store.get(place, version).await.map(|value| value.expose().to_owned());
    assert!(matches!(get(ours, 1).await, Err(ValueError::Missing)));
    assert_eq!(store.put(ours, &secret("one")).await.unwrap(), 1);
    assert_eq!(store.put(ours, &secret("two")).await.unwrap(), 2);
    assert_eq!(store.put(other, &secret("another org's")).await.unwrap(), 1);
    // An older one is read, and put again as the newest.
    let older = store.get(ours, 1).await.unwrap();
    assert_eq!(store.put(ours, &older).await.unwrap(), 3);
    for (version, value) in [(1, "one"), (2, "two"), (3, "one")] {
        assert_eq!(get(ours, version).await.unwrap(), value);
    }
    assert!(matches!(get(ours, 4).await, Err(ValueError::Missing)));
    // The largest, and characters that a protocol might take for its own.
    let longest = "\u{e9}\n\"{}".repeat(store.value_max() / 6);
    let version = store.put(ours, &secret(&longest)).await.unwrap();
    assert_eq!(get(ours, version).await.unwrap(), longest);
    // AWS would take this for a reference to another parameter.
    assert!(matches!(store.put(ours, &secret("a{{b}}")).await, Err(ValueError::Unfit("{{"))));
    // Deleted as often as asked, and only there.
    for _ in 0..2 {
        store.delete(ours).await.unwrap();
    }
    assert!(matches!(get(ours, 1).await, Err(ValueError::Missing)));
    assert_eq!(get(other, 1).await.unwrap(), "another org's");
    // The policy allows nothing else: the same user lists no parameters and makes no key.
    let listed = aws_sdk_ssm::Client::new(&config).describe_parameters().send().await;
    assert!(format!("{listed:?}").contains("AccessDenied"), "{listed:?}");
    let made = aws_sdk_kms::Client::new(&config).create_key().send().await;
    assert!(format!("{made:?}").contains("AccessDenied"), "{made:?}");
}

// proves ORG-5
#[tokio::test]
async fn a_parameter_is_a_secure_string_under_the_key_that_was_given() {
    let Some(moto) = Moto::start().await else { return };
    let key = kms_key(&moto).await;
    let config = moto.config("AKIATEST", "x");
    let (store, place) = (SsmStore::with_config(PREFIX, &key, &config).unwrap(), place(1, 7));
    store.put(place, &secret("a planted value")).await.unwrap();
    let client = aws_sdk_ssm::Client::new(&config);
    let all = client.describe_parameters().send().await.unwrap().parameters.unwrap();
    let [parameter] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(parameter.name(), Some(format!("{PREFIX}/{}/{}", place.org, place.secret).as_str()));
    assert_eq!(parameter.r#type(), Some(&aws_sdk_ssm::types::ParameterType::SecureString));
    assert_eq!(parameter.key_id(), Some(key.as_str()));
    assert_eq!(parameter.tier(), Some(&aws_sdk_ssm::types::ParameterTier::IntelligentTiering));
}

// proves ORG-5
#[tokio::test]
async fn what_aws_denies_is_unavailable_and_changes_nothing() {
    let Some(moto) = Moto::start().await else { return };
    let key = kms_key(&moto).await;
    let place = place(1, 7);
    let store = |id: &str, password: &str| SsmStore::with_config(PREFIX, &key, &moto.config(id, password)).unwrap();
    assert_eq!(store("AKIATEST", "x").put(place, &secret("one")).await.unwrap(), 1);
    // May read, and neither put nor delete.
    let policy = policy().replace("\"ssm:PutParameter\", ", "").replace(", \"ssm:DeleteParameter\"", "");
    let (id, password) = moto.user(&policy).await;
    let reader = store(&id, &password);
    for denied in [reader.put(place, &secret("two")).await.map(drop), reader.delete(place).await] {
        let Err(ValueError::Unavailable(cause)) = denied else { panic!("{denied:?}") };
        assert!(cause.contains(&place.secret.to_string()), "{cause}");
        assert!(cause.contains("AccessDenied") || cause.ends_with("status 403"), "{cause}");
        assert!(!cause.contains("two"), "{cause}");
    }
    // Credentials that are wrong, and those of nobody.
    for (id, password) in [(id.as_str(), "wrong"), ("AKIANOBODY", "x")] {
        let refused = store(id, password).get(place, 1).await;
        assert!(matches!(refused, Err(ValueError::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(reader.get(place, 1).await.unwrap().expose(), "one");
    assert!(matches!(reader.get(place, 2).await, Err(ValueError::Missing)));
}

// proves ORG-5
#[tokio::test]
async fn a_store_that_is_out_of_reach_is_unavailable() {
    let config = config_at(&format!("http://127.0.0.1:{}", free_port()), "a", "b");
    let store = SsmStore::with_config(PREFIX, "1234", &config).unwrap();
    let place = place(1, 7);
    assert!(matches!(store.put(place, &secret("x")).await, Err(ValueError::Unavailable(_))));
    assert!(matches!(store.get(place, 1).await, Err(ValueError::Unavailable(_))));
    assert!(matches!(store.delete(place).await, Err(ValueError::Unavailable(_))));
}

#[test]
fn a_prefix_is_the_beginning_of_a_name() {
    let config = config_at("http://127.0.0.1:1", "a", "b");
    let made = |prefix: &str| SsmStore::with_config(prefix, "1234", &config).map(|store| store.name().to_owned());
    assert_eq!(made("/envforge/box-1").unwrap(), "aws-ssm:/envforge/box-1");
    for wrong in ["", "/", "envforge", "/envforge/", "//a", "/a b", "/aws/x", "/SSM", "/é", &"/a".repeat(14)] {
        assert!(made(wrong).is_err(), "{wrong}");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// proves ORG-5
#[tokio::test]
async fn a_planted_value_is_in_no_log_even_at_trace() {
    const PLANTED: &str = "a-planted-value-4711";
    let Some(moto) = Moto::start().await else { return };
    let key = kms_key(&moto).await;
    let store = SsmStore::with_config(PREFIX, &key, &moto.config("AKIATEST", "x")).unwrap();
    let log = Log::default();
    let filter = EnvFilter::new("trace").add_directive(format!("{LOGS_BODIES}=debug").parse().unwrap());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).finish();
    let logging = tracing::subscriber::set_default(subscriber);
    let version = store.put(place(1, 7), &secret(PLANTED)).await.unwrap();
    assert_eq!(store.get(place(1, 7), version).await.unwrap().expose(), PLANTED);
    drop(logging);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("TRACE") && log.contains("aws_"), "it was logged");
    assert!(!log.contains(PLANTED), "{log}");
}
