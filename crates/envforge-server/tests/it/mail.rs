//! Mail goes through a mail server that really speaks SMTP; without one it is refused by name.

use crate::support::TestServer;
use envforge_api::http::settings::Setting;
use envforge_core::refusal::Refusal;
use envforge_server::platform::fault::Fault;
use envforge_server::providers::mail::{Mail, MailConfig, MailTls, Mailer as _};
use envforge_testkit::{MailSink, wait_until};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn config(sink: &MailSink, tls: MailTls) -> MailConfig {
    let (host, port) = (sink.address.ip().to_string(), sink.address.port());
    MailConfig { host, port, tls, credentials: None, from: "box@envforge.example".parse().unwrap() }
}

fn mail(to: &str) -> Mail {
    let text = "a = b\n.\nthe end".to_owned();
    Mail { to: to.parse().unwrap(), subject: "Grüße".to_owned(), text, html: Some("<p>a = b</p>".to_owned()) }
}

async fn send(server: &TestServer, to: &str) -> Result<(), Refusal> {
    server.server.app().mailer.send(mail(to)).await.map_err(Fault::into_refusal)
}

// proves ORG-1
#[tokio::test]
async fn a_message_arrives_whole() {
    let mut sink = MailSink::start().await.unwrap();
    let tls = config(&sink, MailTls::Loopback);
    let server = TestServer::configured(|config| config.mail = Some(tls)).await;
    send(&server, "ada@example.org").await.unwrap();
    let received = sink.next().await;
    assert_eq!(received.to, "ada@example.org");
    let text = received.decoded();
    for part in ["From: EnvForge <box@envforge.example>", "a = b\n.\nthe end", "<p>a = b</p>"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let refused = send(&server, "refused@example.org").await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.message.contains("example.org")), ("mail.refused", false));
}

#[tokio::test]
async fn nothing_is_sent_in_clear_where_tls_is_wanted() {
    for tls in [MailTls::StartTls, MailTls::Implicit] {
        let mut sink = MailSink::start().await.unwrap();
        let wanted = config(&sink, tls);
        let server = TestServer::configured(|config| config.mail = Some(wanted)).await;
        assert_eq!(send(&server, "ada@example.org").await.unwrap_err().code, "mail.unavailable");
        assert!(sink.arrived().is_none());
    }
}

#[tokio::test]
async fn without_a_mail_server_that_is_said() {
    let server = TestServer::start().await;
    assert!(!server.server.app().mailer.is_configured());
    assert_eq!(send(&server, "ada@example.org").await.unwrap_err().code, "mail.not_configured");
}

// proves ORG-9
#[tokio::test]
async fn the_setting_comes_before_the_configured_server_and_at_once() {
    let (mut configured, mut set) = (MailSink::start().await.unwrap(), MailSink::start().await.unwrap());
    let first = config(&configured, MailTls::Loopback);
    let mut server = TestServer::configured(|config| config.mail = Some(first)).await;
    let path = "/v1/operator/settings/mail";
    let values =
        json!({ "host": "127.0.0.1", "port": set.address.port(), "encryption": "none", "from": "set@example.org" });
    let _: Setting = server.owner.put(path, &json!({ "values": values, "reason": "a test" })).await.unwrap();
    send(&server, "ada@example.org").await.unwrap();
    assert!(set.next().await.decoded().contains("From: EnvForge <set@example.org>"));
    server.restart().await;
    send(&server, "ada@example.org").await.unwrap();
    assert_eq!(set.next().await.to, "ada@example.org");
    server.owner.delete::<Setting>(path).await.unwrap();
    send(&server, "ada@example.org").await.unwrap();
    assert_eq!(configured.next().await.to, "ada@example.org");
    assert!(set.arrived().is_none() && configured.arrived().is_none());
}

// proves ORG-9
#[tokio::test]
async fn other_servers_hear_of_a_changed_setting() {
    let server = TestServer::start().await;
    let cancel = CancellationToken::new();
    let other = server.another(Arc::clone(&server.clock), cancel.clone()).await;
    let path = "/v1/operator/settings/mail";
    let values = json!({ "host": "mail.example.org", "port": 465, "encryption": "tls", "from": "set@example.org" });
    let _: Setting = server.owner.put(path, &json!({ "values": values, "reason": "a test" })).await.unwrap();
    wait_until("the other server sends mail", async || other.app().mailer.is_configured()).await;
    server.owner.delete::<Setting>(path).await.unwrap();
    wait_until("it sends none any more", async || !other.app().mailer.is_configured()).await;
    cancel.cancel();
}
