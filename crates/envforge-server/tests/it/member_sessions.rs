//! Members on dev hosts at the server: who is given a code, how it is spent, what a session may, and what ends it.

use crate::sign_in::{Browser, Page, parameter};
use crate::support::{FakeHost, Feed, TestServer, code, report, unknown};
use envforge_api::client::{CallError, Client};
use envforge_api::gateway::{ENTER_PATH, Enter, Exchanged, FeedItem, WAKE_PATH, WakeAnswer, WakeRequest};
use envforge_api::http::accounts::Me;
use envforge_api::http::links::{CreatedLink, Links};
use envforge_api::http::sign_in::LoginSessions;
use envforge_core::access::{Action, Role, allows};
use envforge_core::clock::Clock as _;
use envforge_core::entry::{EntryClaims, state_of};
use envforge_core::id::{LinkSessionId, UserId};
use envforge_core::link::{Holder, SessionClaims};
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::{ObservedPhase, RuntimeState};
use envforge_testkit::wait_until;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const LABEL: &str = "web--main--acme";
const NONCE: &str = "a nonce";

fn key(client: &Client) -> &str {
    client.key().unwrap().expose()
}

fn path(label: &str) -> String {
    format!("/open/{label}?state={}&to=%2Fa%3Fb", state_of(NONCE))
}

impl Browser<'_> {
    /// Asks for the code of a dev host that it may open.
    async fn code(&mut self, label: &str) -> String {
        let page = self.get(&path(label)).await;
        assert_eq!(page.status, 303, "{}", page.body);
        parameter(&page.location, "code")
    }
}

impl TestServer {
    async fn enter(&self, label: &str, code: &str) -> Result<Exchanged, Refusal> {
        let request = Enter { label: label.to_owned(), code: code.to_owned(), user_agent: Some("test".to_owned()) };
        self.gateway().post(ENTER_PATH, &request).await.map_err(CallError::into_refusal)
    }

    /// A member signed in with a browser, on the dev host of `web`.
    async fn enters(&self, client: &Client) -> (Browser<'_>, SessionClaims, String) {
        let mut browser = Browser::with_key(self, key(client)).await;
        let code = browser.code(LABEL).await;
        let session = self.enter(LABEL, &code).await.unwrap().session;
        let app = self.server.app();
        let claims: SessionClaims = app.signing_keys.verify(&session, app.now()).unwrap();
        (browser, claims, session)
    }

    async fn wake_as(&self, session: &str) -> Result<WakeAnswer, CallError> {
        let session = session.to_owned();
        let request = WakeRequest { session, session_id: unknown::<LinkSessionId>(), path: "/in".to_owned() };
        self.gateway().post(WAKE_PATH, &request).await
    }
}

// proves LINK-8 LINK-10
#[tokio::test]
async fn a_member_is_sent_back_with_a_code_also_after_signing_in() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let mut browser = Browser::new(&server);
    let page = browser.get(&path(LABEL)).await;
    let return_to = parameter(&format!("http://server{}", page.location), "return_to");
    assert_eq!((page.status, return_to.as_str()), (303, path(LABEL).as_str()), "{}", page.location);
    let form = [("key", key(&server.owner)), ("return_to", &return_to)];
    let Page { status, refresh, body, .. } = browser.post("/sign-in/key", &form).await;
    // A redirect of a form may not leave for another site: a page stands in between.
    assert_eq!((status, refresh), (200, format!("0; url={}", path(LABEL))), "{body}");
    let page = browser.get(&path(LABEL)).await;
    let app = server.server.app();
    let there = format!("{}/.envforge/enter?code=efc1.", app.config.dev_url(LABEL));
    assert!(page.status == 303 && page.location.starts_with(&there), "{}", page.location);
    assert_eq!(parameter(&page.location, "to"), "/a?b");
    assert_eq!(page.referrer_policy, "no-referrer");
    let code = parameter(&page.location, "code");
    let claims: EntryClaims = app.signing_keys.verify(&code, app.now()).unwrap();
    assert_eq!((claims.label.as_str(), claims.state), (LABEL, state_of(NONCE)));
    assert_eq!(claims.expires, server.clock.now().as_second() + 60);
    for bad in ["", "state=x", "state=%2e%2e", &format!("state={}", "A".repeat(64))] {
        let page = browser.get(&format!("/open/{LABEL}?{bad}")).await;
        assert_eq!((page.status, page.code()), (400, "dev_host.request"), "{bad}");
    }
    let elsewhere = browser.get(&format!("/open/{LABEL}?state={}&to=//evil.example", state_of(NONCE))).await;
    assert_eq!(parameter(&elsewhere.location, "to"), "/");
}

// proves LINK-10 ORG-2
#[tokio::test]
async fn who_may_not_open_a_dev_host_is_not_told_whether_it_exists() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let stranger = server.member("rival", Role::Owner).await;
    let missing = Browser::with_key(&server, key(&stranger)).await.get(&path("web--none--acme")).await;
    assert_eq!((missing.status, missing.code()), (404, "dev_host.not_found"));
    let refused = async |client: &Client, label: &str| {
        let page = Browser::with_key(&server, key(client)).await.get(&path(label)).await;
        (page.status, page.location.as_str(), page.body.as_str()) == (404, "", missing.body.as_str())
    };
    assert!(refused(&stranger, LABEL).await, "another org");
    assert!(refused(&server.owner, "web--none--acme").await, "one of nobody");
    for role in Role::ALL {
        let member = server.member("acme", role).await;
        assert_eq!(refused(&member, LABEL).await, !allows(role, Action::OpenDevHost), "{role}");
        let _: Value = server.owner.put(ACCESS, &json!({ "is_restricted": true, "groups": [] })).await.unwrap();
        let sees = matches!(role, Role::Owner | Role::Admin);
        assert_eq!(refused(&member, LABEL).await, !sees, "{role} of a restricted project");
        let _: Value = server.owner.put(ACCESS, &json!({ "is_restricted": false })).await.unwrap();
    }
    // A key is no login session: whoever has one uses the API.
    let page = Browser::new(&server).request(reqwest::Method::GET, &path(LABEL)).bearer_auth(key(&server.owner));
    assert_eq!(page.send().await.unwrap().headers()["location"].to_str().unwrap().split('?').next(), Some("/sign-in"));
    let mut owner = Browser::with_key(&server, key(&server.owner)).await;
    for _ in 0..20 {
        owner.code(LABEL).await;
    }
    let page = owner.get(&path(LABEL)).await;
    assert_eq!((page.status, page.code()), (429, "dev_host.too_many"));
    server.advance(60);
    owner.code(LABEL).await;
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap();
    assert!(refused(&server.owner, LABEL).await, "one that is being deleted");
    // Whose dev host it is learns who asked.
    let user = TestServer::user(&stranger).await;
    let mut connection = server.database_owner().await;
    wait_until("it is noted", async || {
        let noted = "SELECT EXISTS (SELECT 1 FROM ledger_events e JOIN orgs o USING (org_id) WHERE o.slug = 'acme' \
                     AND verb = 'dev_host.refused' AND actor = $1 AND cause = 'dev_host.not_found')";
        sqlx::query_scalar(noted).bind(format!("user:{user}")).fetch_one(&mut connection).await.unwrap()
    })
    .await;
}

const ACCESS: &str = "/v1/orgs/acme/projects/planner/access";

// proves LINK-8 LINK-10
#[tokio::test]
async fn a_code_is_spent_once_by_whoever_still_may() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let member = server.member("acme", Role::Reviewer).await;
    let (mut browser, user) = (Browser::with_key(&server, key(&member)).await, TestServer::user(&member).await);
    let code = browser.code(LABEL).await;
    let (one, two) = tokio::join!(server.enter(LABEL, &code), server.enter(LABEL, &code));
    let (made, refused) = match (one, two) {
        (Ok(made), Err(refused)) | (Err(refused), Ok(made)) => (made, refused),
        both => panic!("once, and once only: {both:?}"),
    };
    assert_eq!(refused.code, "entry.spent");
    let app = server.server.app();
    let claims: SessionClaims = app.signing_keys.verify(&made.session, app.now()).unwrap();
    let sessions: LoginSessions = browser.api("/v1/sessions").await.unwrap();
    assert_eq!(claims.holder, Holder::Member { user, login: sessions.sessions[0].id });
    assert_eq!((claims.workspace, claims.service.as_str(), claims.label.as_str()), (workspace.id, "web", LABEL));
    let half_a_day = server.clock.now().checked_add(SignedDuration::from_hours(12)).unwrap();
    assert_eq!((claims.expires, made.expires_at), (half_a_day.as_second(), half_a_day));
    let refused = async |label: &str, code: &str| server.enter(label, code).await.unwrap_err().code;
    assert_eq!(refused(LABEL, &made.session).await, "entry.invalid", "a session is no code");
    let other = browser.code(LABEL).await;
    assert_eq!(refused("api--main--acme", &other).await, "entry.wrong_host");
    let expired = browser.code(LABEL).await;
    server.advance(60);
    assert_eq!(refused(LABEL, &expired).await, "entry.invalid");
    // Signed out, or without the right, between the code and its use.
    let late = browser.code(LABEL).await;
    let card = browser.get("/sign-out").await;
    let form_token = card.field("form_token").to_owned();
    browser.post("/sign-out", &[("form_token", &form_token)]).await;
    assert_eq!(refused(LABEL, &late).await, "entry.denied");
    let mut browser = Browser::with_key(&server, key(&member)).await;
    let late = browser.code(LABEL).await;
    server.owner.delete::<Value>(&format!("/v1/orgs/acme/members/{user}")).await.unwrap();
    assert_eq!(refused(LABEL, &late).await, "entry.denied");
    assert_eq!(server.events("dev_host.entered").await, 1);
    wait_until("what was refused is noted", async || server.events("dev_host.refused").await == 3).await;
    let mut owner = server.database_owner().await;
    let entered: (String, String, Value) =
        sqlx::query_as("SELECT actor, subject, details FROM ledger_events WHERE verb = 'dev_host.entered'")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!((entered.0, entered.1), (format!("user:{user}"), workspace.id.to_string()));
    assert_eq!(entered.2["service"], "web");
    let noted: Vec<(String, String)> = sqlx::query_as(
        "SELECT actor, cause FROM ledger_events WHERE verb = 'dev_host.refused' AND subject = $1 ORDER BY cause",
    )
    .bind(workspace.id.to_string())
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let by = |cause: &str| (format!("user:{user}"), cause.to_owned());
    assert_eq!(noted, [by("entry.denied"), by("entry.spent"), by("entry.wrong_host")]);
}

// proves LINK-8
#[tokio::test]
async fn a_session_lasts_no_longer_than_the_login() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let soon = server.clock.now().checked_add(SignedDuration::from_mins(30)).unwrap();
    let request = json!({ "name": "short", "expires_at": soon });
    let made: Value = server.owner.post("/v1/api-keys", &request).await.unwrap();
    let short = server.with_key(made["value"].as_str().unwrap());
    let (_, claims, _) = server.enters(&short).await;
    assert_eq!(claims.expires, soon.as_second());
}

// proves LINK-4 LINK-8 COST-1
#[tokio::test]
async fn a_member_wakes_in_their_own_name_while_they_may() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    let link: CreatedLink = server
        .owner
        .post("/v1/orgs/acme/workspaces/main/links", &json!({ "service": "web", "wake_budget": 1 }))
        .await
        .unwrap();
    let visitor = server.exchange(LABEL, &link.token).await.unwrap().session;
    let (developer, reviewer) =
        (server.member("acme", Role::Developer).await, server.member("acme", Role::Reviewer).await);
    let user = TestServer::user(&developer).await;
    let ((_, _, member), (_, _, looks)) = (server.enters(&developer).await, server.enters(&reviewer).await);
    let sleep = async |host: &mut FakeHost| {
        let _: Value = server.owner.post("/v1/orgs/acme/workspaces/main/sleep", &json!({})).await.unwrap();
        let freeze = host.command("FREEZE_RUNTIME").await;
        host.done(&freeze).await;
        host.report(report(workspace.id, freeze.generation, ObservedPhase::Frozen, true, ReadinessState::Ready)).await;
    };
    let budget = async || {
        let links: Links = server.owner.get("/v1/orgs/acme/workspaces/main/links").await.unwrap();
        (links.links[0].wakes, links.links[0].minutes)
    };
    sleep(&mut host).await;
    let refused = server.wake_as(&looks).await.unwrap_err().into_refusal();
    assert_eq!(refused.code, "access.denied");
    assert!(refused.message.contains("as reviewer"), "{}", refused.message);
    let woken = server.wake_as(&member).await.unwrap();
    assert_eq!((woken.runtime.state, budget().await.0), (RuntimeState::Waking, 0));
    let on_its_way = server.wake_as(&looks).await.unwrap();
    assert_eq!(on_its_way.runtime.state, RuntimeState::Waking, "who may not wake sees what others woke");
    let thaw = host.command("START_RUNTIME").await;
    host.done(&thaw).await;
    host.up(&thaw).await;
    let mut owner = server.database_owner().await;
    let (actor, cause): (String, String) = sqlx::query_as(
        "SELECT actor, cause FROM ledger_events WHERE verb = 'runtime.wake_asked' ORDER BY seq DESC LIMIT 1",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!((actor, cause), (format!("user:{user}"), format!("dev host visit by user:{user} to /in")));
    // What a link's visitor woke costs the link nothing once a member wants it.
    sleep(&mut host).await;
    server.wake_as(&visitor).await.unwrap();
    let thaw = host.command("START_RUNTIME").await;
    host.done(&thaw).await;
    host.up(&thaw).await;
    server.wake_as(&member).await.unwrap();
    server.advance(15);
    sleep(&mut host).await;
    assert_eq!(budget().await, (1, 0));
    // The right is asked for at each wake, whatever gateways have heard.
    let _: Value = server.owner.put(ACCESS, &json!({ "is_restricted": true, "groups": [] })).await.unwrap();
    assert_eq!(code(server.wake_as(&member).await), "session.ended");
    let _: Value = server.owner.put(ACCESS, &json!({ "is_restricted": false })).await.unwrap();
    server.advance(12 * 3_600);
    assert_eq!(code(server.wake_as(&member).await), "session.invalid");
}

/// A gateway's feed, and the members' sessions that it says have ended.
async fn listen(server: &TestServer) -> (Feed, HashSet<LinkSessionId>) {
    let mut feed = Feed::open(&server.gateway(), unknown(), 7081).await;
    let Some(FeedItem::Snapshot { ended, .. }) = feed.next().await else { panic!("no snapshot") };
    (feed, ended.into_iter().collect())
}

/// The next session that ends.
async fn ended(feed: &mut Feed) -> LinkSessionId {
    loop {
        match feed.next().await.expect("the feed goes on") {
            FeedItem::SessionEnded { session } => return session,
            FeedItem::Snapshot { ended, .. } if !ended.is_empty() => panic!("a snapshot tells of it: {ended:?}"),
            _ => {}
        }
    }
}

/// What ends a member's session.
async fn end(server: &TestServer, what: &str, browser: &mut Browser<'_>, client: &Client, user: UserId) {
    let owner = &server.owner;
    match what {
        "signs out" => {
            let card = browser.get("/sign-out").await;
            let form_token = card.field("form_token").to_owned();
            assert_eq!(browser.post("/sign-out", &[("form_token", &form_token)]).await.status, 303);
        }
        "login session is revoked" => {
            let sessions: LoginSessions = browser.api("/v1/sessions").await.unwrap();
            let mine = sessions.sessions.iter().find(|session| session.is_current).unwrap().id;
            client.delete::<Value>(&format!("/v1/sessions/{mine}")).await.unwrap();
        }
        "key behind the login is revoked" => {
            let me: Me = client.get("/v1/me").await.unwrap();
            client.delete::<Value>(&format!("/v1/api-keys/{}", me.credential)).await.unwrap();
        }
        "may no longer by role" => {
            let role = json!({ "role": "billing" });
            owner.put::<_, Value>(&format!("/v1/orgs/acme/members/{user}"), &role).await.unwrap();
        }
        "leaves the group" => {
            owner.delete::<Value>(&format!("/v1/orgs/acme/groups/web/members/{user}")).await.unwrap();
        }
        "is removed" => {
            owner.delete::<Value>(&format!("/v1/orgs/acme/members/{user}")).await.unwrap();
        }
        _ => panic!("{what}"),
    }
}

// proves LINK-8 LINK-10
#[tokio::test]
async fn gateways_are_told_within_a_second_that_a_members_session_ended() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let _: Value = server.owner.post("/v1/orgs/acme/groups", &json!({ "name": "web" })).await.unwrap();
    let _: Value = server.owner.put(ACCESS, &json!({ "is_restricted": true, "groups": ["web"] })).await.unwrap();
    let join = async |user: UserId| {
        let path = format!("/v1/orgs/acme/groups/web/members/{user}");
        server.owner.put::<_, Value>(&path, &json!({})).await.unwrap();
    };
    let bystander = server.member("acme", Role::Developer).await;
    join(TestServer::user(&bystander).await).await;
    let (_bystanders, stays, _) = server.enters(&bystander).await;
    let (mut feed, before) = listen(&server).await;
    assert!(before.is_empty());
    let mut all = HashSet::new();
    for what in [
        "signs out",
        "login session is revoked",
        "key behind the login is revoked",
        "may no longer by role",
        "leaves the group",
        "is removed",
    ] {
        let client = server.member("acme", Role::Developer).await;
        let user = TestServer::user(&client).await;
        join(user).await;
        let (mut browser, claims, session) = server.enters(&client).await;
        end(&server, what, &mut browser, &client, user).await;
        let begun = Instant::now();
        let told = timeout(Duration::from_secs(5), ended(&mut feed)).await.expect(what);
        assert_eq!(told, claims.session, "{what}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}: {:?}", begun.elapsed());
        assert_eq!(code(server.wake_as(&session).await), "session.ended", "{what}");
        all.insert(told);
    }
    // A gateway that comes back hears of all of it at once, until it would have ended anyway.
    assert_eq!(listen(&server).await.1, all);
    // What nobody told of is found by the next beat.
    let (_browser, claims, _) = server.enters(&server.owner).await;
    let removed = "DELETE FROM login_sessions WHERE id = (SELECT login_id FROM member_sessions WHERE id = $1)";
    let id = envforge_core::id::Id::uuid(claims.session);
    sqlx::query(removed).bind(id).execute(&mut server.database_owner().await).await.unwrap();
    let told = timeout(Duration::from_secs(5), ended(&mut feed)).await.expect("a beat looks");
    assert_eq!(told, claims.session);
    // The group that let the bystander in is gone.
    server.owner.delete::<Value>("/v1/orgs/acme/groups/web").await.unwrap();
    assert_eq!(timeout(Duration::from_secs(5), ended(&mut feed)).await.expect("the group is gone"), stays.session);
    server.advance(12 * 3_600);
    assert_eq!(listen(&server).await.1, HashSet::new());
    assert!(Timestamp::from_second(stays.expires).unwrap() <= server.clock.now());
}
