//! Consoles: what a host is asked, and what is made of its answer.

use crate::elevations::{Opened, uplink};
use crate::support::{MANIFEST, TestServer, raw, report};
use envforge_api::console::{Question, digest};
use envforge_api::host::ManifestReport;
use envforge_api::http::accounts::CreatedApiKey;
use envforge_api::uplink::Open;
use envforge_core::manifest;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use envforge_core::ticket::TicketKind;
use envforge_testkit::wait_until;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

const BASE: &str = "/v1/orgs/acme/workspaces/main";
const MAIL: &str = "mail_01934f4e5c7a7000a000000000000001";

/// A workspace with both resources, whose host answers what the test tells.
struct Scene {
    server: TestServer,
    opened: Opened,
    ends: Arc<Mutex<Vec<UnixStream>>>,
}

impl Scene {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let mut host = server.host().await;
        let workspace = server.workspace(&mut host).await;
        let (opened, ends) = uplink(&server, &host);
        let refused = server.owner.get::<Value>(&format!("{BASE}/mail")).await.unwrap_err().into_refusal();
        assert_eq!(refused.code, "console.no_resource");
        let resources = "mail: branch_scoped\n  object_storage: branch_scoped\n  postgres: branch_scoped";
        let parsed =
            manifest::parse(format!("{MANIFEST}resources:\n  {resources}\n").as_bytes(), "envforge.yml").unwrap();
        let mut reported = report(workspace.id, 0, ObservedPhase::Absent, false, ReadinessState::Asleep);
        reported.manifest = Some(ManifestReport::Valid { manifest: Box::new(parsed) });
        host.report(reported).await;
        Self { server, opened, ends }
    }

    async fn asked(&self, path: &str, answer: &[u8]) -> (Question, reqwest::Result<Response>) {
        self.sent(raw().get(self.url(path)), answer).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{BASE}{path}", self.server.server.local_addr)
    }

    /// Sends a request, answers what the host is asked for it with these bytes, and gives the question and the response.
    async fn sent(&self, request: RequestBuilder, answer: &[u8]) -> (Question, reqwest::Result<Response>) {
        let request = request.bearer_auth(self.server.owner.key().unwrap().expose());
        let before = self.opened.lock().unwrap().len();
        let response = tokio::spawn(request.send());
        wait_until("the host is asked", async || self.opened.lock().unwrap().len() > before).await;
        let (claims, open) = self.opened.lock().unwrap()[before].clone();
        let Open::Console { question } = open else { panic!("{open:?}") };
        assert_eq!((claims.kind, claims.subject), (TicketKind::Console, digest(&question)));
        let mut end = self.ends.lock().unwrap().remove(0);
        end.write_all(answer).unwrap();
        drop(end);
        (serde_json::from_str(&question).unwrap(), response.await.unwrap())
    }

    async fn refused(&self, path: &str, answer: &[u8]) -> String {
        let (_, response) = self.asked(path, answer).await;
        response.unwrap().json::<Value>().await.unwrap()["error"]["code"].as_str().unwrap().to_owned()
    }
}

// proves RUN-6 DASH-2
#[tokio::test]
async fn members_read_what_the_host_answers_and_a_strangers_answer_is_only_data() {
    let scene = Scene::start().await;
    let page = json!({ "answer": "mails", "mails": [{ "id": MAIL, "received_at": "2026-01-01T00:00:00Z", "from": "a@b",
        "to": ["c@d"], "subject": "<b>", "size": 5 }], "unasked": "x" });
    let (question, response) =
        scene.asked(&format!("/mail?before={MAIL}&limit=5000"), format!("{page}\n").as_bytes()).await;
    assert_eq!(question, Question::Mails { before: Some(MAIL.parse().unwrap()), limit: 1000 });
    let got: Value = response.unwrap().json().await.unwrap();
    assert_eq!((&got["mails"][0]["subject"], got.get("unasked")), (&"<b>".into(), None));

    // Content is a file to save, and only so many bytes as were announced.
    let (_, response) =
        scene.asked("/objects/x/content?key=a%2F%3Cb", b"{\"answer\":\"content\",\"size\":6}\n<html>more").await;
    let response = response.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    assert!(header("content-disposition").starts_with("attachment;"));
    assert_eq!(response.text().await.unwrap(), "<html>");
    // Less than was announced is not taken for all of it.
    let (_, response) = scene.asked(&format!("/mail/{MAIL}/raw"), b"{\"answer\":\"content\",\"size\":6}\nabc").await;
    let content = async { response?.bytes().await };
    assert!(content.await.is_err());

    for wrong in [
        &b""[..],
        b"{}\n",
        b"no JSON\n",
        b"{\"answer\":\"buckets\",\"buckets\":[]}\n",
        b"{\"answer\":\"mails\",\"mails\":[{}]}\n",
    ] {
        assert_eq!(scene.refused(&format!("/mail/{MAIL}"), wrong).await, "console.no_answer");
    }
    assert_eq!(scene.refused(&format!("/mail/{MAIL}"), b"{\"answer\":\"nothing\"}\n").await, "mail.not_found");
    assert_eq!(scene.refused("/objects/x", b"{\"answer\":\"nothing\"}\n").await, "object.not_found");

    // What is never asked of a host.
    let code = async |path: &str| {
        let answer = scene.server.owner.get::<Value>(&format!("{BASE}{path}")).await;
        answer.unwrap_err().into_refusal().code
    };
    assert_eq!(code(&format!("/objects/x?prefix={}", "y".repeat(33_000))).await, "console.too_long");
    let asked = scene.opened.lock().unwrap().len();
    let made: CreatedApiKey =
        scene.server.owner.post("/v1/api-keys", &json!({ "name": "reads", "scopes": ["read"] })).await.unwrap();
    let refused = scene.server.with_key(&made.value).get::<Value>(&format!("{BASE}/mail")).await.unwrap_err();
    assert_eq!(refused.into_refusal().code, "access.scope");
    assert_eq!(scene.opened.lock().unwrap().len(), asked);
}

// proves RUN-6 DASH-2
#[tokio::test]
async fn a_query_is_the_hosts_to_answer_and_what_the_database_says_is_only_data() {
    let scene = Scene::start().await;
    let ask = async |body: Value, answer: Value| {
        let request = raw().post(scene.url("/database/query")).json(&body);
        let (question, response) = scene.sent(request, format!("{answer}\n").as_bytes()).await;
        let response = response.unwrap();
        (question, response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let rows = json!({ "answer": "rows", "columns": ["a"], "rows": [["<b>"], [null]], "is_cut": true, "unasked": "x" });
    let (question, status, got) = ask(json!({ "query": "select 1", "limit": 5000 }), rows).await;
    assert_eq!(question, Question::Query { query: "select 1".to_owned(), limit: 1000 });
    assert_eq!((status, got), (200, json!({ "columns": ["a"], "rows": [["<b>"], [null]], "is_cut": true })));

    let refused = json!({ "answer": "refused", "message": "x".repeat(9_000), "hint": "y".repeat(9_000) });
    let (_, status, got) = ask(json!({ "query": "selec" }), refused).await;
    assert_eq!((status, &got["error"]["code"]), (400, &"database.query_refused".into()));
    let length = |name: &str| got["error"][name].as_str().unwrap().len();
    assert_eq!((length("message"), length("hint")), (2_000, 2_000));

    let (_, _, got) = ask(json!({ "query": "x" }), json!({ "answer": "nothing" })).await;
    assert_eq!(got["error"]["code"], "console.no_answer");
    let asked = scene.opened.lock().unwrap().len();
    let long = json!({ "query": "x".repeat(33_000) });
    let path = format!("{BASE}/database/query");
    let refused = scene.server.owner.post::<_, Value>(&path, &long).await.unwrap_err().into_refusal();
    assert_eq!(refused.code, "console.too_long");
    assert_eq!(scene.opened.lock().unwrap().len(), asked);
}
