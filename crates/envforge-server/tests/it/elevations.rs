//! Root: who may ask, who answers, when it is over, and that no link ever is a way to it.

use crate::support::{FakeHost, TestServer, code, raw};
use envforge_api::client::{CallError, Client};
use envforge_api::gateway::{ROUTES_PATH, Route};
use envforge_api::host::{EndElevation, HostCommand, HostPass, Order};
use envforge_api::http::elevations::{Elevation, Elevations, OrgRootPolicy};
use envforge_api::http::links::CreatedLink;
use envforge_api::uplink::{self, Open};
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::elevation::{ElevationState, EndReason};
use envforge_core::id::ElevationId;
use envforge_core::refusal::Refusal;
use envforge_core::ticket::{TicketClaims, TicketKind};
use envforge_testkit::wait_until;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const MAIN: &str = "/v1/orgs/acme/workspaces/main/elevations";

async fn set(server: &TestServer, policy: Value) {
    let body = json!({ "policy": policy });
    let _: OrgRootPolicy = server.owner.put("/v1/orgs/acme/root-policy", &body).await.unwrap();
}

async fn ask(who: &Client, minutes: u32) -> Result<Elevation, CallError> {
    who.post(MAIN, &json!({ "reason": "the disk is full", "minutes": minutes })).await
}

async fn act(who: &Client, id: ElevationId, verb: &str) -> Result<Elevation, CallError> {
    who.post(&format!("/v1/orgs/acme/elevations/{id}/{verb}"), &json!({})).await
}

async fn look(server: &TestServer) {
    envforge_server::elevations::jobs::round(server.server.app()).await.unwrap();
}

async fn state(server: &TestServer, id: ElevationId) -> (ElevationState, Option<EndReason>) {
    let all: Elevations = server.owner.get("/v1/orgs/acme/elevations").await.unwrap();
    let one = all.elevations.into_iter().find(|elevation| elevation.id == id).unwrap();
    (one.state, one.ended)
}

async fn ordered_end(host: &mut FakeHost, id: ElevationId) -> HostCommand {
    let command = host.command("END_ELEVATION").await;
    assert_eq!(command.order, Order::EndElevation(EndElevation { elevation: id }));
    command
}

/// A WebSocket to a root terminal, or the code it is refused with.
async fn enter(
    server: &TestServer,
    key: &str,
    id: ElevationId,
) -> Result<tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>, String> {
    let address = server.server.local_addr;
    let url = format!("ws://{address}/v1/orgs/acme/elevations/{id}/terminal?cols=90&rows=30");
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(WsError::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
            Err(body["error"]["code"].as_str().unwrap().to_owned())
        }
        Err(error) => panic!("{error}"),
    }
}

fn key(client: &Client) -> &str {
    client.key().unwrap().expose()
}

// proves ORG-4
#[tokio::test]
async fn root_is_disabled_until_an_owner_or_admin_says_how() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let developer = server.member("acme", Role::Developer).await;
    let policy: Value = server.owner.get("/v1/orgs/acme/root-policy").await.unwrap();
    assert_eq!(policy, json!({ "policy": { "mode": "disabled" } }));
    assert_eq!(code(ask(&server.owner, 10).await), "elevation.disabled");
    let wanted = json!({ "policy": { "mode": "workspace", "max_minutes": 481 } });
    let put = |who: &Client, body: &Value| {
        let (who, body) = (who.clone(), body.clone());
        async move { who.put::<_, OrgRootPolicy>("/v1/orgs/acme/root-policy", &body).await }
    };
    assert_eq!(code(put(&server.owner, &wanted).await), "root_policy.minutes");
    let wanted = json!({ "policy": { "mode": "workspace", "max_minutes": 30 } });
    assert_eq!(code(put(&developer, &wanted).await), "access.denied");
    put(&server.owner, &wanted).await.unwrap();
    put(&server.owner, &wanted).await.unwrap();
    assert_eq!(server.events("root_policy.changed").await, 1, "saying it twice changes nothing");
    assert_eq!(code(ask(&developer, 31).await), "elevation.minutes");
    let unreasoned = developer.post::<_, Elevation>(MAIN, &json!({ "reason": " " })).await;
    assert_eq!(code(unreasoned), "elevation.reason");
    let granted = ask(&developer, 10).await.unwrap();
    assert_eq!((granted.state, granted.decided_by), (ElevationState::Approved, None), "by the policy");
    assert_eq!(code(ask(&server.owner, 10).await), "elevation.open_already");
    let shown = server.show("main").await.elevation.unwrap();
    assert_eq!((shown.id, shown.opened, shown.until), (granted.id, false, granted.expires_at));
    // Any other policy ends it, at once.
    put(&server.owner, &json!({ "policy": { "mode": "disabled" } })).await.unwrap();
    assert_eq!(state(&server, granted.id).await, (ElevationState::Ended, Some(EndReason::Revoked)));
    ordered_end(&mut host, granted.id).await;
    assert_eq!(server.show("main").await.elevation, None);
    for verb in ["elevation.requested", "elevation.approved", "elevation.revoked"] {
        assert_eq!(server.events(verb).await, 1, "{verb}");
    }
}

// proves ORG-4
#[tokio::test]
async fn breaking_the_glass_takes_another_person() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server, json!({ "mode": "break_glass", "max_minutes": 60 })).await;
    let (admin, developer) = (server.member("acme", Role::Admin).await, server.member("acme", Role::Developer).await);
    let asked = ask(&admin, 10).await.unwrap();
    assert_eq!((asked.state, asked.reason.as_str()), (ElevationState::Requested, "the disk is full"));
    assert_eq!(server.show("main").await.elevation, None, "nobody is root yet");
    assert_eq!(enter(&server, key(&admin), asked.id).await.unwrap_err(), "elevation.not_approved");
    assert_eq!(code(act(&admin, asked.id, "approve").await), "elevation.own_request");
    // Not with another key of theirs either.
    let made: Value = admin.post("/v1/api-keys", &json!({ "name": "another" })).await.unwrap();
    let same = server.with_key(made["value"].as_str().unwrap());
    assert_eq!(code(act(&same, asked.id, "approve").await), "elevation.own_request");
    assert_eq!(code(act(&developer, asked.id, "approve").await), "access.denied");
    assert_eq!(code(act(&developer, asked.id, "revoke").await), "elevation.not_approver");
    server.advance(30);
    let approved = act(&server.owner, asked.id, "approve").await.unwrap();
    assert_eq!(approved.expires_at, server.clock.now() + jiff::SignedDuration::from_mins(10));
    assert_ne!(approved.decided_by.unwrap().user, approved.requested_by.user);
    assert_eq!(code(act(&server.owner, asked.id, "approve").await), "elevation.answered");
    assert_eq!(enter(&server, key(&server.owner), asked.id).await.unwrap_err(), "elevation.not_requester");
    act(&server.owner, asked.id, "revoke").await.unwrap();
    assert_eq!(state(&server, asked.id).await, (ElevationState::Ended, Some(EndReason::Revoked)));
    ordered_end(&mut host, asked.id).await;
    assert_eq!(enter(&server, key(&admin), asked.id).await.unwrap_err(), "elevation.over");
    // Refused and withdrawn ones never were anything the host knows of.
    let refused = ask(&developer, 5).await.unwrap();
    assert_eq!(act(&admin, refused.id, "refuse").await.unwrap().state, ElevationState::Refused);
    let withdrawn = ask(&developer, 5).await.unwrap();
    assert_eq!(act(&developer, withdrawn.id, "revoke").await.unwrap().state, ElevationState::Withdrawn);
    let waiting = ask(&developer, 5).await.unwrap();
    server.advance(3601);
    assert_eq!(code(act(&admin, waiting.id, "approve").await), "elevation.over");
    look(&server).await;
    assert_eq!(state(&server, waiting.id).await, (ElevationState::Ended, Some(EndReason::Expired)));
    assert_eq!(host.pending(), 0);
    for (verb, count) in [
        ("elevation.requested", 4),
        ("elevation.approved", 1),
        ("elevation.revoked", 1),
        ("elevation.refused", 1),
        ("elevation.withdrawn", 1),
        ("elevation.expired", 1),
    ] {
        assert_eq!(server.events(verb).await, count, "{verb}");
    }
}

// proves ORG-4
#[tokio::test]
async fn what_expires_while_the_server_is_down_is_ended_when_it_is_back() {
    let mut server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server, json!({ "mode": "workspace", "max_minutes": 60 })).await;
    let granted = ask(&server.owner, 10).await.unwrap();
    server.advance(601);
    server.restart().await;
    host.reconnect().await;
    wait_until("the job has looked", async || {
        state(&server, granted.id).await == (ElevationState::Ended, Some(EndReason::Expired))
    })
    .await;
    ordered_end(&mut host, granted.id).await;
    look(&server).await;
    look(&server).await;
    assert_eq!(server.events("elevation.expired").await, 1, "once, however often it looks");
    // Who may no longer ask is no longer root.
    let developer = server.member("acme", Role::Developer).await;
    let granted = ask(&developer, 10).await.unwrap();
    let demote = "UPDATE memberships SET role = 'reviewer' WHERE user_id = $1";
    let user = envforge_core::id::Id::uuid(granted.requested_by.user);
    sqlx::query(demote).bind(user).execute(&mut server.database_owner().await).await.unwrap();
    look(&server).await;
    assert_eq!(state(&server, granted.id).await, (ElevationState::Ended, Some(EndReason::Revoked)));
    ordered_end(&mut host, granted.id).await;
    // A workspace that goes takes it along.
    let granted = ask(&server.owner, 10).await.unwrap();
    let _: Value = server.owner.delete("/v1/orgs/acme/workspaces/main").await.unwrap_or_default();
    look(&server).await;
    assert_eq!(state(&server, granted.id).await, (ElevationState::Ended, Some(EndReason::Closed)));
}

// proves ORG-4
#[tokio::test]
async fn a_host_that_opens_no_root_terminals_is_not_asked_for_any() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    set(&server, json!({ "mode": "workspace", "max_minutes": 60 })).await;
    // The box that also runs the control plane, with less than full isolation.
    host.machine.reductions = vec!["no CPU limits".to_owned()];
    host.reconnect().await;
    let refused = ask(&server.owner, 10).await.unwrap_err().into_refusal();
    assert_eq!(refused.code, "elevation.control_plane_machine");
    assert!(refused.message.contains("no CPU limits"), "{refused}");
    host.machine.elevation = false;
    host.reconnect().await;
    assert_eq!(code(ask(&server.owner, 10).await), "elevation.host_refuses");
    assert_eq!(server.events("elevation.requested").await, 0);
    // Another machine may be reduced: it is nobody's control plane.
    let mut owner = server.database_owner().await;
    sqlx::query("UPDATE hosts SET is_local = false, allows_elevation = true").execute(&mut owner).await.unwrap();
    let granted = ask(&server.owner, 10).await.unwrap();
    sqlx::query("UPDATE hosts SET allows_elevation = false").execute(&mut owner).await.unwrap();
    assert_eq!(enter(&server, key(&server.owner), granted.id).await.unwrap_err(), "elevation.host_refuses");
}

pub(crate) type Opened = Arc<Mutex<Vec<(TicketClaims, Open)>>>;

/// A host's uplink that hands over one end of a socket pair and keeps what it was shown; the other ends.
pub(crate) fn uplink(server: &TestServer, host: &FakeHost) -> (Opened, Arc<Mutex<Vec<UnixStream>>>) {
    let app = server.server.app();
    let expires = server.clock.now().as_second() + 3600;
    let pass = app
        .signing_keys
        .sign(&HostPass { host: host.registered.host, org: host.registered.org, expires }, server.clock.now())
        .unwrap();
    let (opened, ends): (Opened, Arc<Mutex<Vec<UnixStream>>>) = Default::default();
    let (shown, kept, keyring, now) =
        (Arc::clone(&opened), Arc::clone(&ends), app.signing_keys.keyring(), server.clock.now());
    let path = server.path("uplink.sock");
    tokio::spawn(async move {
        let dialled = uplink::dial(&path, &pass, move |ticket, open| {
            let claims: TicketClaims = keyring.verify(&ticket, now).unwrap();
            let (mine, theirs) = UnixStream::pair().unwrap();
            shown.lock().unwrap().push((claims, open));
            kept.lock().unwrap().push(mine);
            async move { Ok::<_, Refusal>(std::os::fd::OwnedFd::from(theirs)) }
        });
        drop(dialled.await);
    });
    (opened, ends)
}

// proves ORG-4
#[tokio::test]
async fn the_requester_enters_with_a_ticket_that_says_until_when() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    set(&server, json!({ "mode": "workspace", "max_minutes": 60 })).await;
    let developer = server.member("acme", Role::Developer).await;
    let granted = ask(&developer, 10).await.unwrap();
    let (opened, ends) = uplink(&server, &host);
    let mut socket = enter(&server, key(&developer), granted.id).await.unwrap();
    let (claims, open) = opened.lock().unwrap()[0].clone();
    assert_eq!(open, Open::Elevation { cols: 90, rows: 30 });
    assert_eq!((claims.kind, claims.workspace), (TicketKind::Elevation, workspace.id));
    assert_eq!((claims.subject, claims.until), (granted.id.to_string(), Some(granted.expires_at.as_second())));
    assert_eq!(state(&server, granted.id).await.0, ElevationState::Active);
    assert!(server.show("main").await.elevation.unwrap().opened);
    let end = ends.lock().unwrap().remove(0);
    (&end).write_all(b"root@main# ").unwrap();
    let printed = loop {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            break bytes;
        }
    };
    assert_eq!(printed, b"root@main# "[..]);
    socket.send(Message::Binary(b"id\r".to_vec().into())).await.unwrap();
    let typed = tokio::task::spawn_blocking(move || {
        let mut typed = [0; 3];
        (&end).read_exact(&mut typed).unwrap();
        typed
    });
    assert_eq!(&typed.await.unwrap(), b"id\r");
    assert_eq!((server.events("elevation.activated").await, server.events("elevation.terminal_opened").await), (1, 1));
    // What it printed is for owners and admins, and reading it is in the ledger.
    let path = format!("/v1/orgs/acme/elevations/{}/recording", granted.id);
    assert_eq!(code(developer.get::<Value>(&path).await), "access.denied");
    let url = format!("http://{}{path}", server.server.local_addr);
    let response = raw().get(url).bearer_auth(key(&server.owner));
    let reading = tokio::spawn(async move { response.send().await.unwrap() });
    wait_until("it is asked for", async || opened.lock().unwrap().len() == 2).await;
    assert_eq!(opened.lock().unwrap()[1].0.kind, TicketKind::Recording);
    let end = ends.lock().unwrap().remove(0);
    (&end).write_all(b"{\"version\":2}\n").unwrap();
    drop(end);
    let response = reading.await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-asciicast");
    assert_eq!(response.text().await.unwrap(), "{\"version\":2}\n");
    assert_eq!(server.events("elevation.recording_read").await, 1);
}

// proves ORG-4 LINK-6
#[tokio::test]
async fn no_link_session_or_gateway_is_a_way_to_root() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    server.awake(&mut host, &workspace).await;
    set(&server, json!({ "mode": "workspace", "max_minutes": 60 })).await;
    let granted = ask(&server.owner, 10).await.unwrap();
    let links = "/v1/orgs/acme/workspaces/main/links";
    let link: CreatedLink = server.owner.post(links, &json!({ "service": "web" })).await.unwrap();
    let session = server.exchange("web--main--acme", &link.token).await.unwrap().session;
    let (opened, _ends) = uplink(&server, &host);
    for credential in [&*link.token, &session, crate::support::GATEWAY_KEY, &host.registered.key] {
        let client = server.with_key(credential);
        assert_eq!(enter(&server, credential, granted.id).await.unwrap_err(), "access.unauthenticated");
        assert_eq!(code(ask(&client, 10).await), "access.unauthenticated");
        let recording = format!("/v1/orgs/acme/elevations/{}/recording", granted.id);
        assert_eq!(code(client.get::<Value>(&recording).await), "access.unauthenticated");
    }
    // What a gateway is told of a label is the service's ticket, elevation or not.
    let told: Route = server.gateway().get(&format!("{ROUTES_PATH}/web--main--acme")).await.unwrap();
    assert!(!told.rules.is_empty());
    for rule in told.rules {
        let claims: TicketClaims = server.server.app().signing_keys.verify(&rule.ticket, server.clock.now()).unwrap();
        assert_eq!((claims.kind, claims.until), (TicketKind::Service, None));
    }
    assert!(opened.lock().unwrap().is_empty(), "no host was asked for anything");
}
