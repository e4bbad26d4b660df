//! By a link in a mail.

use super::{Browser, give_owner, token_of, with_mail};
use crate::support::raw;
use envforge_api::http::accounts::Me;
use envforge_core::login::SignUp;
use envforge_server::signin;
use envforge_testkit::wait_until;
use serde_json::json;

// proves ORG-1
#[tokio::test]
async fn a_link_in_a_mail_signs_in_once() {
    let (server, mut sink) = with_mail(SignUp::Closed).await;
    let owner = give_owner(&server, "owner@example.org").await;
    let ask = async |address: &str| {
        let response = raw()
            .post(format!("http://{}/v1/sign-in/mail", server.server.local_addr))
            .json(&json!({ "address": address }))
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (known, unknown) = (ask("Owner@Example.org").await, ask("nobody@example.org").await);
    assert_eq!((known.0, &known), (202, &unknown), "the same answer");
    let mail = sink.next().await;
    assert_eq!(mail.to, "owner@example.org");
    let token = token_of(&mail);
    let mut browser = Browser::new(&server);
    for _ in 0..3 {
        let card = browser.get(&format!("/sign-in/mail?token={token}")).await;
        assert!(card.status == 200 && browser.cookies.is_empty(), "reading it does nothing");
        assert_eq!(card.field("token"), token);
    }
    let page = browser.post("/sign-in/mail/open", &[("token", &token)]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, owner.user);
    let again = Browser::new(&server).post("/sign-in/mail/open", &[("token", &token)]).await;
    assert_eq!((again.status, again.code()), (403, "sign_in.refused"));
    // Too old.
    ask("owner@example.org").await;
    let token = token_of(&sink.next().await);
    server.advance(901);
    assert_eq!(Browser::new(&server).post("/sign-in/mail/open", &[("token", &token)]).await.status, 403);
    // No more than three at a time to one address, whatever is answered.
    signin::jobs::round(server.server.app()).await.unwrap();
    for _ in 0..6 {
        assert_eq!(ask("owner@example.org").await, known);
    }
    for _ in 0..3 {
        sink.next().await;
    }
    wait_until("the others were not sent", async || {
        signin::jobs::round(server.server.app()).await.unwrap();
        let refused: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum((details->>'count')::bigint), 0)::bigint FROM ledger_events WHERE verb = 'sign_in.refused' AND cause = 'too_many'",
        )
        .fetch_one(&mut server.database_owner().await)
        .await
        .unwrap();
        refused == 3
    })
    .await;
    assert!(sink.arrived().is_none(), "nobody else had mail");
    // And a source asks for no more than twenty.
    for _ in 0..14 {
        ask("nobody@example.org").await;
    }
    assert_eq!(ask("nobody@example.org").await.0, 429);
}

// proves ORG-1
#[tokio::test]
async fn a_mail_makes_an_account_where_that_is_allowed() {
    let (server, mut sink) = with_mail(SignUp::Domains(vec!["example.org".to_owned()])).await;
    let mut browser = Browser::new(&server);
    let page = browser.post("/sign-in/mail", &[("address", "ada@example.org"), ("return_to", "/x")]).await;
    assert_eq!(page.status, 202, "{}", page.body);
    let token = token_of(&sink.next().await);
    let page = browser.post("/sign-in/mail/open", &[("token", &token)]).await;
    assert_eq!((page.status, page.location.as_str()), (303, "/x"), "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.name.as_str(), me.orgs.len(), me.is_operator), ("ada", 0, false));
}
