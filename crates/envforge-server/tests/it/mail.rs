//! Mail goes through a mail server that really speaks SMTP; without one it is refused by name.

use crate::support::TestServer;
use envforge_core::refusal::Refusal;
use envforge_server::platform::fault::Fault;
use envforge_server::providers::mail::{Mail, MailConfig, MailTls};
use envforge_testkit::MailSink;

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
