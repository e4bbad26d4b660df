//! KMS as moto plays it, with its checks of signatures and policies switched on.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::Credentials;
use envforge_api::ambient::SystemEntropy;
use envforge_api::keys::{KeyError, KeyWrapper as _};
use envforge_aws::{KmsKey, KmsKeyError};
use envforge_core::envelope::{DataKey, EnvelopeError};
use envforge_testkit::{free_port, python_judge, wait_until};
use std::process::{Child, Command, Stdio};
use uuid::Uuid;

const POLICY: &str = include_str!("../../../../docs/aws-kms-policy.json");

struct Moto {
    url: String,
    process: Child,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "an independent program stands in for AWS")]
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Moto {
    async fn start() -> Option<Self> {
        let program = python_judge("moto_server")?;
        let port = free_port();
        let text = port.to_string();
        #[expect(clippy::disallowed_methods, reason = "an independent program stands in for AWS")]
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &text])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { url: format!("http://127.0.0.1:{port}"), process };
        wait_until("moto answers", async || {
            http().get(format!("{}/moto-api/data.json", moto.url)).send().await.is_ok()
        })
        .await;
        Some(moto)
    }

    fn config(&self, key: &str, secret: &str) -> SdkConfig {
        let credentials = Credentials::new(key, secret, None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&self.url)
            .region(Region::new("us-east-1"))
            .credentials_provider(aws_sdk_kms::config::SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// A call of IAM's query protocol, while nothing is checked yet; the answer is XML.
    async fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let scope = "AKIATEST/20260101/us-east-1/iam/aws4_request";
        let call = http()
            .post(&self.url)
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
            .form(parameters)
            .send()
            .await
            .unwrap();
        let (status, text) = (call.status(), call.text().await.unwrap());
        assert!(status.is_success(), "{text}");
        text
    }

    /// A user who may do what this policy allows: access key and its secret. From then on signatures and policies are checked.
    async fn user(&self, policy: &str) -> (String, String) {
        self.iam(&[("Action", "CreateUser"), ("UserName", "envforge")]).await;
        let policy = [("PolicyName", "envforge"), ("PolicyDocument", policy)];
        self.iam(&[[("Action", "PutUserPolicy"), ("UserName", "envforge")], policy].concat()).await;
        let made = self.iam(&[("Action", "CreateAccessKey"), ("UserName", "envforge")]).await;
        let within = |tag: &str| {
            let (_, rest) = made.split_once(&format!("<{tag}>")).unwrap();
            rest.split_once("</").unwrap().0.to_owned()
        };
        let checked = http().post(format!("{}/moto-api/reset-auth", self.url)).body("0").send().await.unwrap();
        assert!(checked.status().is_success());
        (within("AccessKeyId"), within("SecretAccessKey"))
    }
}

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
    let port = free_port();
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_sdk_kms::config::SharedCredentialsProvider::new(Credentials::new(
            "a", "b", None, None, "t",
        )))
        .build();
    let key = KmsKey::with_config("1234", &config).unwrap();
    let answer = key.wrap(&data_key(), "here", &SystemEntropy).await;
    assert!(matches!(answer, Err(KeyError::Unavailable(_))), "{answer:?}");
    assert!(matches!(KmsKey::with_config("alias/envforge", &config), Err(KmsKeyError::Alias(_))));
}
