//! Prices that change: none from the past, each second at its own, and months that are exact.

use crate::receipts::{final_receipt, stop};
use crate::support::{TestServer, code};
use crate::usage::awake_for;
use envforge_api::http::usage::{OrgUsage, WorkspaceUsage};
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::usage::{Month, SessionReceipt};
use jiff::SignedDuration;
use serde_json::{Value, json};

const PRICES: &str = "/v1/operator/settings/prices";
const USAGE: &str = "/v1/orgs/acme/workspaces/main/usage";

fn form(small: &str, more: &Value) -> Value {
    let mut values = json!({ "currency": "EUR", "small": small, "medium": "7.2", "large": "14.4" });
    values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "values": values, "reason": "a test" })
}

// proves COST-5
#[tokio::test]
async fn a_change_of_prices_holds_from_its_instant_and_never_from_the_past() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    awake_for(&server, &mut host, &workspace, 60).await;
    let now = server.clock.now();
    let past = form("7.2", &json!({ "from": (now - SignedDuration::from_secs(1)).to_string() }));
    assert_eq!(code(server.owner.put::<_, Value>(PRICES, &past).await), "prices.past");
    assert_eq!(code(server.owner.put::<_, Value>(PRICES, &form("0.0000001", &json!({}))).await), "setting.value");
    let other = form("1", &json!({ "currency": "USD" }));
    assert_eq!(code(server.owner.put::<_, Value>(PRICES, &other).await), "prices.currency");
    assert_eq!(
        code(server.owner.put::<_, Value>(PRICES, &form("1", &json!({ "currency": "EURO" }))).await),
        "setting.value"
    );
    let member = server.member("acme", Role::Owner).await;
    assert_ne!(code(member.put::<_, Value>(PRICES, &form("1", &json!({}))).await), "setting.value");
    // Twice as much from in 90 s on: a window of 120 s, from in 30 s on, is half and half.
    let from = now + SignedDuration::from_secs(90);
    let _: Value = server.owner.put(PRICES, &form("7.2", &json!({ "from": from.to_string() }))).await.unwrap();
    server.advance(30);
    awake_for(&server, &mut host, &workspace, 120).await;
    let usage: WorkspaceUsage = server.owner.get(USAGE).await.unwrap();
    assert_eq!(usage.receipts[0].cost_micros, 60_000 + 60_000 + 120_000);
    assert_eq!(usage.estimate_micros, usage.receipts[0].cost_micros);
    let org: OrgUsage = server.owner.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!((org.cost_micros, org.workspaces[0].cost_micros), (240_000, 240_000));
    stop(&server, &mut host, &workspace).await;
    let kept = final_receipt(&server).await;
    let receipt: SessionReceipt = serde_json::from_value(kept.receipt.clone()).unwrap();
    let parts: Vec<_> = receipt.windows[1].parts.iter().map(|part| (part.price_version, part.seconds)).collect();
    assert_eq!(parts, [(0, 60), (1, 60)]);
    // One made now holds in a minute, and what is over stays as it was.
    let _: Value = server.owner.put(PRICES, &form("3600", &json!({ "from": null }))).await.unwrap();
    assert_eq!(final_receipt(&server).await.receipt, kept.receipt);
    awake_for(&server, &mut host, &workspace, 59).await;
    let org: OrgUsage = server.owner.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!(org.cost_micros, 240_000 + 118_000);
    awake_for(&server, &mut host, &workspace, 3).await;
    let org: OrgUsage = server.owner.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!(org.cost_micros, 240_000 + 120_000 + 2_000_000);
}

// proves COST-5
#[tokio::test]
async fn a_bill_is_used_less_credit_and_at_least_the_minimum_of_the_months_beginning() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    let workspace = server.workspace(&mut host).await;
    let terms = json!({ "included_credit": "0.05", "month_minimum": "0.02" });
    let _: Value = server.owner.put(PRICES, &form("3.6", &terms)).await.unwrap();
    awake_for(&server, &mut host, &workspace, 60).await;
    let this = Month::of(server.clock.now());
    let bill = async |month: Month| {
        let usage: OrgUsage = server.owner.get(&format!("/v1/orgs/acme/usage?month={month}")).await.unwrap();
        let bill = usage.bill.unwrap();
        (bill.used_micros, bill.credit_micros, bill.minimum_micros, bill.total_micros)
    };
    assert_eq!(bill(this).await, (60_000, 0, 0, 60_000), "the terms are of the next month on");
    let next = this.next();
    server.advance(next.start().duration_since(server.clock.now()).as_secs() + 5);
    assert_eq!(bill(next).await, (0, 0, 20_000, 20_000));
    awake_for(&server, &mut host, &workspace, 60).await;
    assert_eq!(bill(next).await, (60_000, 50_000, 20_000, 20_000));
    awake_for(&server, &mut host, &workspace, 60).await;
    assert_eq!(bill(next).await, (120_000, 50_000, 20_000, 70_000));
    let seen: OrgUsage = server.member("acme", Role::Developer).await.get("/v1/orgs/acme/usage").await.unwrap();
    assert_eq!(seen.bill, None, "who does not see all of it sees no bill");
    // Taken out of force: the configuration's again, in a minute.
    let _: Value = server.owner.delete(PRICES).await.unwrap();
    assert_eq!(bill(next.next()).await, (0, 0, 0, 0));
}
