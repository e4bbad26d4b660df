//! Mail that was promised survives a mail server that is away and the death of the server that promised it, and is not
//! sent when it is of no use any more.

use crate::sign_in::{Browser, give_owner, invite, token_of};
use crate::support::{TestServer, raw};
use envforge_core::job::Queue;
use envforge_core::token::digest;
use envforge_server::ServerConfig;
use envforge_server::providers::mail::{MailConfig, MailTls};
use envforge_testkit::{MailSink, wait_until};
use serde_json::json;

/// A mail server at this port of loopback.
pub(crate) fn at(port: u16) -> MailConfig {
    MailConfig {
        host: "127.0.0.1".to_owned(),
        port,
        tls: MailTls::Loopback,
        credentials: None,
        from: "box@envforge.example".parse().unwrap(),
    }
}

/// A server whose mail server listens nowhere.
async fn without_mail_server() -> TestServer {
    TestServer::configured(|config| config.mail = Some(at(1))).await
}

/// A server that leaves its jobs to whichever comes after it.
async fn without_workers(sink: &MailSink) -> TestServer {
    let mail = at(sink.address.port());
    TestServer::configured(|config| {
        config.mail = Some(mail);
        config.queue_concurrency = Queue::ALL.map(|queue| (queue, 0)).into();
    })
    .await
}

fn with_workers(config: &mut ServerConfig) {
    config.queue_concurrency.clear();
}

/// Asks for a link to sign in with.
async fn ask(server: &TestServer, address: &str) -> (u16, String) {
    let url = format!("http://{}/v1/sign-in/mail", server.server.local_addr);
    let response = raw().post(url).json(&json!({ "address": address })).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Waits until an attempt to send failed.
async fn was_tried(server: &TestServer, kind: &str) {
    let mut owner = server.database_owner().await;
    wait_until("it was tried", async || {
        sqlx::query_scalar(
            "SELECT coalesce(bool_or(state = 'waiting' AND error IS NOT NULL), false) FROM jobs WHERE kind = $1",
        )
        .bind(kind)
        .fetch_one(&mut owner)
        .await
        .unwrap()
    })
    .await;
}

/// Waits until nothing is left to send.
async fn is_quiet(server: &TestServer) {
    let mut owner = server.database_owner().await;
    wait_until("every job ended", async || {
        sqlx::query_scalar("SELECT count(*) = 0 FROM jobs WHERE kind LIKE '%.send' AND state IN ('waiting', 'running')")
            .fetch_one(&mut owner)
            .await
            .unwrap()
    })
    .await;
}

/// All of some tables, as text.
async fn stored(server: &TestServer) -> String {
    let rows = "SELECT coalesce(string_agg(row, ' '), '') FROM (SELECT j::text AS row FROM jobs j UNION ALL SELECT m::text FROM magic_links m) AS rows";
    sqlx::query_scalar(rows).fetch_one(&mut server.database_owner().await).await.unwrap()
}

// proves OPS-3
#[tokio::test]
async fn an_invitation_waits_for_the_mail_server() {
    let mut sink = MailSink::start().await.unwrap();
    let mut server = without_mail_server().await;
    let invited = invite(&server, "ada@example.org").await;
    assert!(invited.mailed);
    was_tried(&server, "invitation.send").await;
    let port = sink.address.port();
    server.restart_with(|config| config.mail = Some(at(port))).await;
    server.advance(3_600);
    assert!(
        sink.next().await.decoded().contains(&invited.token),
        "after the server died and the mail server came back"
    );
}

// proves ORG-1 OPS-3
#[tokio::test]
async fn a_link_waits_for_the_mail_server() {
    let mut sink = MailSink::start().await.unwrap();
    let mut server = without_mail_server().await;
    give_owner(&server, "owner@example.org").await;
    assert_eq!(ask(&server, "owner@example.org").await.0, 202);
    was_tried(&server, "sign_in_link.send").await;
    let port = sink.address.port();
    server.restart_with(|config| config.mail = Some(at(port))).await;
    server.advance(300);
    let mail = sink.next().await;
    assert!(mail.decoded().contains("for 10 minutes"), "what is left of its time");
    let page = Browser::new(&server).post("/sign-in/mail/open", &[("token", &token_of(&mail))]).await;
    assert_eq!(page.status, 303, "{}", page.body);
}

// proves ORG-1 OPS-3
#[tokio::test]
async fn mail_survives_the_server_that_promised_it() {
    let mut sink = MailSink::start().await.unwrap();
    let mut server = without_workers(&sink).await;
    give_owner(&server, "owner@example.org").await;
    let invited = invite(&server, "ada@example.org").await;
    let known = ask(&server, "owner@example.org").await;
    assert_eq!(ask(&server, "nobody@example.org").await, known, "the same answer, and the same work for it");
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'sign_in_link.send'")
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
    assert_eq!(waiting, 2);
    assert!(sink.arrived().is_none());
    let before = stored(&server).await;
    server.restart_with(with_workers).await;
    let mut mails = [sink.next().await, sink.next().await];
    mails.sort_by(|one, other| one.to.cmp(&other.to));
    assert!(mails[0].to == "ada@example.org" && mails[0].decoded().contains(&invited.token));
    assert_eq!(mails[1].to, "owner@example.org");
    let token = token_of(&mails[1]);
    is_quiet(&server).await;
    let after = stored(&server).await;
    let is_noted = |text: &str| text.contains(&digest(&token));
    assert!(is_noted(&before) && is_noted(&after), "the digest is what a link is known by");
    assert!(!before.contains(&token) && !after.contains(&token), "and nothing else of it can be read");
    assert!(!before.contains(&hex::encode(&token)), "not even as bytes");
    assert!(!after.contains("sign_in_link.send"), "what strangers cause leaves no history");
    assert!(sink.arrived().is_none(), "nobody else had mail");
}

// proves ORG-1
#[tokio::test]
async fn a_link_that_works_no_more_is_not_sent() {
    let server = without_mail_server().await;
    give_owner(&server, "owner@example.org").await;
    ask(&server, "owner@example.org").await;
    was_tried(&server, "sign_in_link.send").await;
    server.advance(901);
    // Its job ends without the mail server, which would still say no.
    is_quiet(&server).await;
}
