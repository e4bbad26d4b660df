//! Whose account it is, and who is given one.

use super::{Browser, World, give_owner, token_of, with_mail};
use crate::support::{TestServer, code};
use envforge_api::http::accounts::Me;
use envforge_api::http::orgs::{AcceptedInvitation, CreatedInvitation, InvitationState, Invitations};
use envforge_core::access::Role;
use envforge_core::login::SignUp;
use envforge_testkit::wait_until;
use reqwest::Method;
use serde_json::{Value, json};

// proves ORG-1
#[tokio::test]
async fn only_a_verified_address_joins_an_account() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let owner = give_owner(&world.server, "owner@example.org").await;
    let mut browser = Browser::new(&world.server);
    for verified in [json!(false), Value::Null] {
        let url = browser.leave("/").await;
        let mut claims = world.claims(&url, "owner");
        claims["email_verified"] = verified;
        let page = world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
        assert_eq!((page.status, page.code()), (403, "sign_in.not_admitted"));
    }
    let (_, page) = world.sign_in("stranger").await;
    assert_eq!((page.status, page.code()), (403, "sign_in.not_admitted"), "nobody signs up");
    let (browser, page) = world.sign_in("owner").await;
    assert_eq!(page.status, 303);
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, owner.user);
    // From now on by issuer and subject, whatever becomes of the address.
    let mut browser = Browser::new(&world.server);
    let url = browser.leave("/").await;
    let mut claims = world.claims(&url, "owner");
    claims["email"] = json!("renamed@example.org");
    world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, owner.user);
}

// proves ORG-1
#[tokio::test]
async fn somebody_signed_in_adds_an_identity() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let me: Me = world.server.owner.get("/v1/me").await.unwrap();
    let mut browser = Browser::with_key(&world.server, world.server.owner.key().unwrap().expose()).await;
    let elsewhere = browser.get("/sign-in/test/start?add=true").await;
    assert_eq!(elsewhere.status, 401, "a page from elsewhere adds nothing");
    let request = browser.request(Method::GET, "/sign-in/test/start?add=true").header("sec-fetch-site", "same-origin");
    let url = browser.send(request).await.location;
    let token = world.provider.sign(&world.claims(&url, "ada"), "JWT");
    assert_eq!(world.come_back(&mut browser, &url, token, "").await.status, 303);
    let (browser, _) = world.sign_in("ada").await;
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().user, me.user);
}

const INVITATIONS: &str = "/v1/orgs/acme/invitations";

pub(crate) async fn invite(server: &TestServer, address: &str) -> CreatedInvitation {
    server.owner.post(INVITATIONS, &json!({ "role": "reviewer", "address": address })).await.unwrap()
}

// proves ORG-1 ORG-2
#[tokio::test]
async fn who_is_invited_gets_an_account_and_is_a_member() {
    let world = World::start(SignUp::Invited, |_| ()).await;
    let not_admitted = async |subject: &str| {
        let (_, page) = world.sign_in(subject).await;
        assert_eq!((page.status, page.code()), (403, "sign_in.not_admitted"), "{subject}");
    };
    not_admitted("ada").await;
    let invited = invite(&world.server, "Ada@Example.org").await;
    assert!(!invited.mailed, "there is no mail server");
    // Only for a verified address, and only while it can be accepted.
    let mut browser = Browser::new(&world.server);
    let url = browser.leave("/").await;
    let mut claims = world.claims(&url, "ada");
    claims["email_verified"] = json!(false);
    let page = world.come_back(&mut browser, &url, world.provider.sign(&claims, "JWT"), "").await;
    assert_eq!(page.code(), "sign_in.not_admitted");
    let revoked = invite(&world.server, "eve@example.org").await;
    world.server.owner.delete::<Value>(&format!("{INVITATIONS}/{}", revoked.invitation.id)).await.unwrap();
    not_admitted("eve").await;
    let admin = world.server.member("acme", Role::Admin).await;
    let _: CreatedInvitation =
        admin.post(INVITATIONS, &json!({ "role": "admin", "address": "joe@example.org" })).await.unwrap();
    let gone = TestServer::user(&admin).await;
    world.server.owner.delete::<Value>(&format!("/v1/orgs/acme/members/{gone}")).await.unwrap();
    not_admitted("joe").await;
    assert_eq!(world.server.events("user.created").await, 0, "a refusal makes nobody");

    let (browser, page) = world.sign_in("ada").await;
    assert_eq!(page.status, 303, "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.orgs.len(), me.orgs[0].role), (1, Role::Reviewer));
    let listed: Invitations = world.server.owner.get(INVITATIONS).await.unwrap();
    let state = |id| listed.invitations.iter().find(|it| it.id == id).map(|it| it.state);
    assert_eq!(state(invited.invitation.id), Some(InvitationState::Accepted));
    // Who has an account is asked: signing in accepts nothing.
    let again: CreatedInvitation = {
        let rival = world.server.member("rival", Role::Owner).await;
        let body = json!({ "role": "owner", "address": "ada@example.org" });
        rival.post("/v1/orgs/rival/invitations", &body).await.unwrap()
    };
    let (browser, _) = world.sign_in("ada").await;
    assert_eq!(browser.api::<Me>("/v1/me").await.unwrap().orgs.len(), 1);
    let accept = browser.request(Method::POST, "/v1/invitations/accept").header("sec-fetch-site", "same-origin");
    let accept = accept.header("x-envforge-csrf", "1").json(&json!({ "token": again.token }));
    let accepted: AcceptedInvitation = accept.send().await.unwrap().json().await.unwrap();
    assert_eq!((accepted.user, accepted.role), (me.user, Role::Owner));
}

// proves ORG-2
#[tokio::test]
async fn an_addressed_invitation_is_accepted_by_its_addressee_alone() {
    let world = World::start(SignUp::Closed, |_| ()).await;
    let rival = world.server.member("rival", Role::Owner).await;
    let invited = invite(&world.server, "ada@example.org").await;
    let accept = async |token: &str| {
        rival.post::<_, AcceptedInvitation>("/v1/invitations/accept", &json!({ "token": token })).await
    };
    let verify = async |address: &str| {
        sqlx::query("INSERT INTO user_emails (address, user_id, verified_at) VALUES ($1, $2, now())")
            .bind(address)
            .bind(envforge_core::id::Id::uuid(TestServer::user(&rival).await))
            .execute(&mut world.server.database_owner().await)
            .await
            .unwrap();
    };
    let unknown = accept(&format!("efi_{}", "0".repeat(64))).await.unwrap_err().into_refusal();
    assert_eq!(unknown.code, "invitation.not_valid");
    assert_eq!(accept(&invited.token).await.unwrap_err().into_refusal(), unknown, "no address at all");
    verify("eve@example.org").await;
    assert_eq!(accept(&invited.token).await.unwrap_err().into_refusal(), unknown, "another address");
    verify("ada@example.org").await;
    assert_eq!(accept(&invited.token).await.unwrap().role, Role::Reviewer);
    // Where people can sign in, they do before they accept.
    let open: CreatedInvitation = world.server.owner.post(INVITATIONS, &json!({ "role": "reviewer" })).await.unwrap();
    let address = envforge_api::client::Address::Url(format!("http://{}", world.server.server.local_addr));
    let nobody = envforge_api::client::Client::new(&address, None).unwrap();
    let body = json!({ "token": open.token, "name": "Ada" });
    assert_eq!(code(nobody.post::<_, Value>("/v1/invitations/accept", &body).await), "invitation.sign_in");
    // And commits are by the address proved first.
    let app = world.server.server.app();
    let mut tx = app.db.begin_installation().await.unwrap();
    let user = TestServer::user(&rival).await;
    let person = envforge_server::git::ops::person(app, &mut tx, user, "Ada").await.unwrap();
    assert_eq!(person.email, "eve@example.org");
    let owner = TestServer::user(&world.server.owner).await;
    let person = envforge_server::git::ops::person(app, &mut tx, owner, "Owner").await.unwrap();
    assert_eq!(person.email, format!("{owner}@users.noreply.127.0.0.1"));
}

// proves ORG-1 ORG-2
#[tokio::test]
async fn an_invitation_is_mailed_and_opens_the_way_in() {
    let (server, mut sink) = with_mail(SignUp::Invited).await;
    let invited = invite(&server, "ada@example.org").await;
    assert!(invited.mailed);
    let mail = sink.next().await;
    assert_eq!(mail.to, "ada@example.org");
    let text = mail.decoded();
    assert!(text.contains(&invited.token) && text.contains("http://127.0.0.1:7080/sign-in"), "{text}");
    wait_until("it is noted", async || server.events("invitation.mailed").await == 1).await;
    let mut database = server.database_owner().await;
    let kept: bool = sqlx::query_scalar("SELECT bool_or(sealed_token IS NOT NULL) FROM invitations")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert!(!kept, "the token is forgotten once it is sent");
    let jobs: String = sqlx::query_scalar("SELECT string_agg(j::text, '') FROM jobs j WHERE kind = 'invitation.send'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert!(jobs.contains(&invited.invitation.id.to_string()) && !jobs.contains(&invited.token[4..]), "{jobs}");
    // The address is let in by a link, and nobody else's.
    let mut browser = Browser::new(&server);
    for address in ["eve@example.org", "ada@example.org"] {
        assert_eq!(browser.post("/sign-in/mail", &[("address", address)]).await.status, 202);
    }
    let link = sink.next().await;
    assert_eq!(link.to, "ada@example.org");
    let page = browser.post("/sign-in/mail/open", &[("token", &token_of(&link))]).await;
    assert_eq!(page.status, 303, "{}", page.body);
    let me: Me = browser.api("/v1/me").await.unwrap();
    assert_eq!((me.orgs.len(), me.orgs[0].role), (1, Role::Reviewer));
    assert!(sink.arrived().is_none());
}
