//! Reports to the provider of metered billing, judged by what its documentation says of a request.

use crate::receipts::{final_receipt, stop};
use crate::support::TestServer;
use crate::usage::awake_for;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use envforge_core::clock::Clock as _;
use envforge_testkit::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A provider that counts as Stripe documents it: a form with exactly these fields, whole values, times of the last 35 days, one
/// event for each identifier; a second one is refused with 400.
#[derive(Default)]
struct Provider {
    counted: BTreeMap<String, (String, u64)>,
    asked: usize,
    /// What the next requests are answered, and whether they count all the same.
    next: Vec<(u16, bool)>,
    now: i64,
}

type Shared = Arc<Mutex<Provider>>;

async fn meter_event(State(shared): State<Shared>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    let mut provider = shared.lock().unwrap();
    provider.asked += 1;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let url = reqwest::Url::parse(&format!("http://form/?{body}")).unwrap();
    let fields: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let refuse = |status: StatusCode, message: String| {
        (status, Json(json!({ "error": { "type": "invalid_request_error", "message": message } })))
    };
    if header("authorization") != "Bearer sk_test_1" {
        return refuse(StatusCode::UNAUTHORIZED, "Invalid API Key provided".to_owned());
    }
    let wanted = ["event_name", "identifier", "payload[stripe_customer_id]", "payload[value]", "timestamp"];
    let value = fields.get("payload[value]").and_then(|value| value.parse().ok());
    let at: Option<i64> = fields.get("timestamp").and_then(|at| at.parse().ok());
    let is_now = at.is_some_and(|at| at <= provider.now + 300 && at >= provider.now - 35 * 86_400);
    let identifier = fields.get("identifier").cloned().unwrap_or_default();
    let is_form = header("content-type") == "application/x-www-form-urlencoded" && names == wanted;
    let (Some(value), true, true, true) = (value, is_form, is_now, identifier.len() <= 100) else {
        return refuse(StatusCode::BAD_REQUEST, format!("no meter event: {body}"));
    };
    if header("idempotency-key") != identifier || header("stripe-version").is_empty() || fields["event_name"] != "awake"
    {
        return refuse(StatusCode::BAD_REQUEST, "what is wanted of a client".to_owned());
    }
    let forced = if provider.next.is_empty() { None } else { Some(provider.next.remove(0)) };
    if let Some((status, false)) = forced {
        return refuse(StatusCode::from_u16(status).unwrap(), "No such customer".to_owned());
    }
    if provider.counted.contains_key(&identifier) {
        return refuse(StatusCode::BAD_REQUEST, format!("An event already exists with identifier {identifier}."));
    }
    let customer = fields["payload[stripe_customer_id]"].clone();
    provider.counted.insert(identifier.clone(), (customer, value));
    match forced {
        Some((status, _)) => refuse(StatusCode::from_u16(status).unwrap(), "lost on the way back".to_owned()),
        None => (StatusCode::OK, Json(json!({ "object": "billing.meter_event", "identifier": identifier }))),
    }
}

async fn provider(server: &TestServer, next: &[(u16, bool)]) -> Shared {
    let now = server.clock.now().as_second();
    let shared = Shared::new(Mutex::new(Provider { next: next.to_vec(), now, ..Provider::default() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/billing/meter_events", post(meter_event)).with_state(Arc::clone(&shared));
    server.server.app().spawn("a provider", async move { axum::serve(listener, router).await.unwrap() });
    let values = json!({ "provider": "stripe", "base_url": format!("http://{address}"), "api_key": "sk_test_1", "event_name": "awake" });
    let _: Value = server
        .owner
        .put("/v1/operator/settings/billing", &json!({ "values": values, "reason": "a test" }))
        .await
        .unwrap();
    shared
}

async fn customer(server: &TestServer) {
    let change = json!({ "values": { "customer": "cus_1" }, "reason": "a test" });
    let _: Value = server.owner.put("/v1/operator/settings/billing_customer.acme", &change).await.unwrap();
}

/// A session of a minute that has ended.
async fn used(server: &TestServer) -> String {
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    awake_for(server, &mut host, &workspace, 60).await;
    stop(server, &mut host, &workspace).await;
    let kept = final_receipt(server).await;
    kept.receipt["session"].as_str().unwrap().to_owned()
}

/// State and error of the report's job.
async fn job(server: &TestServer) -> Option<(String, Option<String>)> {
    sqlx::query_as("SELECT state, error FROM jobs WHERE kind = 'billing.report'")
        .fetch_optional(&mut server.database_owner().await)
        .await
        .unwrap()
}

fn counted(shared: &Shared) -> Vec<(String, String, u64)> {
    let provider = shared.lock().unwrap();
    provider.counted.iter().map(|(id, (customer, value))| (id.clone(), customer.clone(), *value)).collect()
}

// proves COST-5
#[tokio::test]
async fn a_final_receipt_is_reported_once_also_when_an_answer_is_lost() {
    let server = TestServer::start().await;
    // Busy, then counted without an answer that says so, then a duplicate.
    let provider = provider(&server, &[(429, false), (500, true)]).await;
    customer(&server).await;
    let session = used(&server).await;
    let expected = [(format!("envforge-{session}"), "cus_1".to_owned(), 60_000)];
    for asked in 1..=2 {
        wait_until("it was asked", async || provider.lock().unwrap().asked == asked).await;
        wait_until("it waits", async || {
            job(&server).await.is_some_and(|(state, error)| state == "waiting" && error.is_some())
        })
        .await;
        server.advance(3_600);
    }
    wait_until("it was reported", async || server.events("billing.reported").await == 1).await;
    wait_until("the job is done", async || job(&server).await.is_none()).await;
    assert_eq!(counted(&provider), expected);
    assert_eq!(provider.lock().unwrap().asked, 3);
    // Whoever has it run again sends nothing.
    let (app, scope) = (server.server.app(), server.scope("acme").await);
    envforge_server::receipts::ops::report(app, scope, session.parse().unwrap()).await.unwrap();
    assert_eq!(provider.lock().unwrap().asked, 3);
}

// proves COST-5
#[tokio::test]
async fn what_a_provider_refuses_is_parked_and_shown_and_goes_on_when_a_person_says_so() {
    let server = TestServer::start().await;
    let provider = provider(&server, &[(404, false)]).await;
    let session = used(&server).await;
    let parked = async |text: &str| {
        wait_until(text, async || {
            job(&server)
                .await
                .is_some_and(|(state, error)| state == "failed" && error.is_some_and(|error| error.contains(text)))
        })
        .await;
    };
    parked("billing_customer.acme").await;
    assert_eq!(provider.lock().unwrap().asked, 0);
    customer(&server).await;
    let retry = async || {
        let jobs: Value = server.owner.get("/v1/operator/jobs?state=failed").await.unwrap();
        let found =
            jobs["jobs"].as_array().unwrap().iter().find(|job| job["kind"] == "billing.report").unwrap().clone();
        let path = format!("/v1/operator/jobs/{}/retry", found["id"].as_str().unwrap());
        let _: Value = server.owner.post(&path, &json!({})).await.unwrap();
    };
    retry().await;
    parked("No such customer").await;
    retry().await;
    wait_until("it was reported", async || server.events("billing.reported").await == 1).await;
    assert_eq!(counted(&provider), [(format!("envforge-{session}"), "cus_1".to_owned(), 60_000)]);
}

// proves COST-5
#[tokio::test]
async fn what_may_have_arrived_longer_ago_than_a_provider_remembers_waits_for_a_person() {
    let server = TestServer::start().await;
    let provider = provider(&server, &[(500, true)]).await;
    customer(&server).await;
    used(&server).await;
    wait_until("it waits", async || {
        job(&server).await.is_some_and(|(state, error)| state == "waiting" && error.is_some())
    })
    .await;
    server.advance(24 * 3_600);
    wait_until("it is parked", async || {
        job(&server).await.is_some_and(|(state, error)| {
            state == "failed" && error.is_some_and(|error| error.contains("may have arrived"))
        })
    })
    .await;
    assert_eq!(server.events("billing.reported").await, 0);
    assert_eq!(provider.lock().unwrap().asked, 1);
}
