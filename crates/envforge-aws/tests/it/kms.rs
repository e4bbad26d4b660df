//! A KMS key as a key-encryption key.

use crate::moto::{Moto, config_at};
use aws_sdk_kms::Client;
use envforge_api::ambient::SystemEntropy;
use envforge_api::keys::{KeyError, KeyWrapper as _};
use envforge_aws::{KmsKey, KmsKeyError};
use envforge_core::envelope::{DataKey, EnvelopeError};
use envforge_testkit::free_port;
use uuid::Uuid;

const POLICY: &str = include_str!("../../../../docs/aws-kms-policy.json");

fn data_key() -> DataKey {
    DataKey::generate(Uuid::from_u128(7), &SystemEntropy)
}

// proves ORG-8
#[tokio::test]
async fn a_kms_key_wraps_for_one_place_and_its_policy_is_enough() {
    let Some(moto) = Moto::start().await else { return };
    let admin = Client::new(&moto.config("AKIATEST", "x"));
    let made = admin.create_key().send().await.unwrap().key_metadata.unwrap();
    // moto judges actions; of resources and conditions it knows nothing.
    let policy = POLICY.replace("arn:aws:kms:REGION:ACCOUNT:key/KEY-ID", "*");
    assert_ne!(policy, POLICY, "the policy names the key");
    let (id, secret) = moto.user(&policy).await;
    let key = KmsKey::with_config(made.key_id(), &moto.config(&id, &secret)).unwrap();
    let data = data_key();
    let wrapped = key.wrap(&data, "org_1/data-key/7", &SystemEntropy).await.unwrap();
    assert!(!wrapped.windows(32).any(|window| window == data.expose()), "not in clear");
    assert_eq!(key.unwrap(data.id(), &wrapped, "org_1/data-key/7").await.unwrap().expose(), data.expose());
    // For another org, or changed.
    let elsewhere = key.unwrap(data.id(), &wrapped, "org_2/data-key/7").await;
    assert!(matches!(elsewhere, Err(KeyError::Envelope(EnvelopeError::Forged))), "{elsewhere:?}");
    // Credentials that are wrong, and those of nobody.
    for (id, secret) in [(id.as_str(), "wrong"), ("AKIANOBODY", "x")] {
        let key = KmsKey::with_config(made.key_id(), &moto.config(id, secret)).unwrap();
        match key.unwrap(data.id(), &wrapped, "org_1/data-key/7").await {
            Err(KeyError::Unavailable(cause)) => {
                assert!(cause.contains(made.key_id()) && cause.ends_with("it answered with status 403"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
    }
    // The policy allows nothing else: the same user makes no key.
    let more = Client::new(&moto.config(&id, &secret)).create_key().send().await;
    assert!(format!("{more:?}").contains("AccessDenied"), "{more:?}");
}

// proves ORG-8
#[tokio::test]
async fn a_kms_that_is_out_of_reach_is_unavailable() {
    let config = config_at(&format!("http://127.0.0.1:{}", free_port()), "a", "b");
    let key = KmsKey::with_config("1234", &config).unwrap();
    let answer = key.wrap(&data_key(), "here", &SystemEntropy).await;
    assert!(matches!(answer, Err(KeyError::Unavailable(_))), "{answer:?}");
    assert!(matches!(KmsKey::with_config("alias/envforge", &config), Err(KmsKeyError::Alias(_))));
}
