//! moto, a separate program that plays AWS, with its checks of signatures and policies.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kms::config::{Credentials, SharedCredentialsProvider};
use envforge_testkit::{free_port, python_judge, wait_until};
use std::process::{Child, Command, Stdio};

/// An AWS of the test's own, until it is dropped.
pub(crate) struct Moto {
    pub(crate) url: String,
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
    pub(crate) async fn start() -> Option<Self> {
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

    pub(crate) fn config(&self, key: &str, secret: &str) -> SdkConfig {
        config_at(&self.url, key, secret)
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
    pub(crate) async fn user(&self, policy: &str) -> (String, String) {
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

/// What AWS's chain would have found, for an AWS elsewhere.
pub(crate) fn config_at(url: &str, key: &str, secret: &str) -> SdkConfig {
    let credentials = Credentials::new(key, secret, None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}
