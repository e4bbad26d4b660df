//! A receipt of a session's events, its text and its hash.

use super::*;
use crate::id::Id;
use crate::usage::Prices;
use serde_json::json;
use uuid::Uuid;

fn id<T: Id>(n: u128) -> T {
    T::from_uuid(Uuid::from_u128(n))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn event(n: u128, second: i64, actor: &str, verb: &str, subject: &str, details: Value) -> Event {
    let (actor, verb, subject) = (actor.to_owned(), verb.to_owned(), subject.to_owned());
    Event { id: id(n), org: Some(id(1)), at: at(second), actor, verb, subject, cause: format!("cause {n}"), details }
}

fn windows() -> Vec<AwakeWindow> {
    let window = |n: u128, opened: i64, closed: Option<i64>, unproven_seconds| AwakeWindow {
        window: id(n),
        session: id(5),
        opened_at: at(opened),
        closed_at: closed.map(at),
        size: Size::Small,
        wake_cause: "link visit to /".to_owned(),
        end_cause: closed.map(|_| "idle".to_owned()),
        unproven_seconds,
    };
    vec![window(7, 100, Some(160), 0), window(8, 200, Some(230), 9)]
}

fn receipt(events: &[Event]) -> SessionReceipt {
    let later = PriceVersion {
        version: 4,
        holds_from: Some(at(220)),
        prices: Prices { small: 7_200_000, ..Prices::default() },
    };
    let facts = ReceiptFacts {
        org: id(1),
        workspace: id(2),
        workspace_slug: "main".parse().expect("a slug"),
        project: "planner".parse().expect("a slug"),
        branch: "=main".to_owned(),
        session: id(5),
        is_final: true,
        windows: &windows(),
        events,
        prices: &PriceList::new(Prices { small: 3_600_000, ..Prices::default() }, [later]),
        secrets: vec![SecretUse { name: "KEY".to_owned(), used_by: "web".to_owned(), count: 2 }],
        provider_billed: vec!["postgres".to_owned()],
    };
    SessionReceipt::new(facts, at(300))
}

fn events() -> Vec<Event> {
    let (ours, other) = (id::<UsageSessionId>(5).to_string(), id::<UsageSessionId>(6).to_string());
    let ws = id::<WorkspaceId>(2).to_string();
    let window = id::<WindowId>(7).to_string();
    vec![
        event(20, 90, "link_session:a", "link.visited", "link_x", json!({ "session": "ls_1", "workspace": ws })),
        event(21, 95, "link_session:a", "runtime.wake_asked", &ws, json!({ "session": ours })),
        event(22, 100, "host:h", "window.opened", &ws, json!({ "window": window, "session": ours })),
        event(23, 101, "host:h", "checkout.seen", &ws, json!({ "head": "aaaa" })),
        event(24, 110, "user:u", "run.asked", &ws, json!({ "job": "job_1", "program": "pytest" })),
        event(25, 120, "system:host", "run.ended", &ws, json!({ "job": "job_1", "exit_code": 3 })),
        event(26, 121, "user:u", "exec.started", &ws, json!({ "program": "git" })),
        event(30, 125, "user:u", "elevation.approved", "el_1", json!({ "workspace": ws })),
        event(31, 126, "user:u", "cap.warned", &ws, json!({ "percent": 80 })),
        event(32, 127, "link_session:b", "link.visited", "link_x", json!({ "workspace": ws })),
        event(33, 160, "host:h", "window.closed", &ws, json!({ "window": window })),
        event(34, 228, "host:h", "checkout.seen", &ws, json!({ "head": "bbbb", "commits": ["bb01", "bbbb", "bb01"] })),
        event(35, 230, "host:h", "session.ended", &ws, json!({ "session": ours })),
        event(36, 230, "user:v", "runtime.wake_asked", &ws, json!({ "session": other })),
    ]
}

// proves COST-2 COST-4
#[test]
fn a_receipt_says_who_opened_it_what_ran_and_what_it_cost() {
    let receipt = receipt(&events());
    assert_eq!(
        (receipt.awake_seconds, receipt.unproven_seconds, receipt.cost_micros),
        (90, 9, 60_000 + 20_000 + 20_000)
    );
    let versions: Vec<_> = receipt.prices.iter().map(|one| one.version).collect();
    assert_eq!(versions, [0, 4]);
    assert_eq!(receipt.opened.as_ref().map(|deed| deed.by.as_str()), Some("link_session:a"));
    assert_eq!(receipt.ended.as_ref().map(|deed| deed.event), Some(id(35)));
    assert_eq!(receipt.windows[0].evidence, [id(22), id(33)]);
    assert!(receipt.uncertain[0].contains("9 seconds") && receipt.uncertain.len() == 1, "{:?}", receipt.uncertain);
    let ran: Vec<_> = receipt.ran.iter().map(|ran| (ran.what.as_str(), ran.name.as_str(), ran.exit_code)).collect();
    assert_eq!(ran, [("run", "pytest", Some(3)), ("exec", "git", None)]);
    assert_eq!(
        receipt.commits,
        Some(Commits {
            from: "aaaa".to_owned(),
            to: "bbbb".to_owned(),
            made: vec!["bb01".to_owned(), "bbbb".to_owned()]
        })
    );
    let visits: Vec<_> = receipt.visits.iter().map(|visits| (visits.link.as_str(), visits.count)).collect();
    assert_eq!(visits, [("link_x", 2)]);
    assert_eq!(receipt.entries[0].subject.as_deref(), Some("el_1"));
    let verbs: Vec<_> = receipt.events.iter().map(|deed| deed.verb.as_str()).collect();
    assert_eq!(verbs, ["runtime.wake_asked", "cap.warned", "session.ended"], "what is another session's is not in it");
}

/// Receipts out there have these texts and hashes.
// proves ORG-6
#[test]
fn a_text_is_canonical_and_its_hash_never_changes() {
    let receipt = receipt(&events()[..4]);
    let text = receipt.to_text();
    assert!(
        text.starts_with(
            r#"{"awake_seconds":90,"branch":"=main","commits":{"from":"aaaa","made":[],"to":"aaaa"},"cost_micros":100000,"#
        ),
        "{text}"
    );
    let read: SessionReceipt = serde_json::from_str(&text).expect("a receipt");
    assert_eq!((read.to_text(), &read), (text.clone(), &receipt));
    assert!(!text.contains('.') || !text.contains("e+"), "whole numbers only");
    expect_test::expect!["cbe50316ea6c40ac9bf2cceb215adea0ab58a72acd55f8bb0aa474d7b3815ed0"]
        .assert_eq(&hash(&text).to_string());
    let dearer = SessionReceipt { cost_micros: receipt.cost_micros + 1, ..receipt };
    assert_ne!(hash(&dearer.to_text()), hash(&text));
}

// proves COST-5
#[test]
fn lists_are_bounded_and_say_what_they_leave_out() {
    let ws = id::<WorkspaceId>(2).to_string();
    let many: Vec<_> = (0..ENTRIES_MAX as u128 + 7)
        .map(|n| event(n, 100, "user:u", "exec.started", &ws, json!({ "program": "ls" })))
        .collect();
    let receipt = receipt(&many);
    assert_eq!((receipt.ran.len(), receipt.left_out), (ENTRIES_MAX, 7));
}

// proves COST-5
#[test]
fn a_line_of_csv_for_each_window() {
    let receipt = receipt(&events());
    let text = crate::usage::receipts_csv([(&receipt, Some("ab".to_owned()))]);
    let lines: Vec<_> = text.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.split(',').count() == 18), "{text}");
    assert!(lines[2].contains(",\"'=main\",") && lines[2].ends_with(",0 4,40000,0.04,USD,ab"), "{text}");
}
