//! Searching the ledger, its state, export and offline verification.

use crate::support::{Answer, End, ORG_ID, Server, ok, run};
use envforge_core::ledger::{
    Anchor, Chain, Checkpoint, Event, Header, SealedEvent, checkpoint_line, event_line, header_line, kept_line,
};
use envforge_core::token::Signer;
use expect_test::expect;
use serde_json::{Value, json};

fn signer() -> Signer {
    Signer::from_seed(&[3; 32])
}

/// Three events, of which the first `pruned` are gone.
fn export(signer: &Signer, pruned: usize) -> String {
    let org = Some(ORG_ID.parse().expect("an id"));
    let mut chain = Chain::genesis();
    let events: Vec<_> = (1..=3_u64)
        .map(|position| {
            let event: Event = serde_json::from_value(json!({
                "id": format!("evt_{position:032}"), "org": ORG_ID, "at": "2026-11-21T06:00:00Z", "actor": "user:1",
                "verb": if position == 1 { "window.opened" } else { "runtime.woken" }, "subject": "ws_1",
                "cause": "test", "details": { "n": position },
            }))
            .expect("an event");
            SealedEvent { seal: chain.append(&event), event }
        })
        .collect();
    let at = "2026-11-21T06:00:01Z".parse().expect("a time");
    let (old, new) = events.split_at(pruned);
    let meter: Vec<_> = old.iter().filter(|sealed| sealed.event.is_meter()).collect();
    let mut kept = Chain::genesis();
    for sealed in &meter {
        kept.append(&sealed.event);
    }
    let anchor = old.last().map(|last| Anchor::sign(signer, org, last.seal, kept.head, at));
    let mut text = Vec::new();
    header_line(&Header::new(org, vec![signer.public_key()], anchor), &mut text);
    for sealed in meter {
        kept_line(&sealed.event, &mut text);
    }
    for sealed in new {
        event_line(sealed, &mut text);
    }
    checkpoint_line(&Checkpoint::sign(signer, org, chain.head, at), &mut text);
    String::from_utf8(text).expect("text")
}

fn verify(export: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.jsonl");
    fs_err::write(&file, export).expect("written");
    let server = Server::start();
    let path = file.to_str().expect("UTF-8");
    let text = run(&server, &[&["ledger", "verify", path], more].concat());
    assert!(server.asked().is_empty(), "verifying asks no server");
    text.replace(path, "FILE")
}

// proves ORG-6
#[test]
fn an_export_passes_through_to_stdout_or_a_file() {
    let server = Server::acme();
    let (head, tail) =
        export(&signer(), 0).split_once('\n').map(|(a, b)| (format!("{a}\n"), b.to_owned())).expect("two");
    server.route("GET /v1/orgs/acme/ledger/export", Answer::Chunks(vec![head.clone(), tail.clone()], End::Clean));
    assert_eq!(run(&server, &["ledger", "export", "-"]), format!("exit: 0\n--- stdout\n{head}{tail}--- stderr\n"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.jsonl");
    let path = file.to_str().expect("UTF-8");
    expect![[r#"
        exit: 0
        --- stdout
        BYTES bytes written to FILE; `envforge ledger verify FILE --key …` checks them, with the key that `envforge ledger state` shows
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["ledger", "export", path]).replace(path, "FILE").replace(&format!("{} bytes", head.len() + tail.len()), "BYTES bytes"));
    assert_eq!(fs_err::read_to_string(&file).expect("written"), format!("{head}{tail}"));
    fs_err::remove_file(&file).expect("there");
    server.route("GET /v1/installation/ledger/export", Answer::Chunks(vec![head], End::Cut));
    let cut = run(&server, &["ledger", "export", path, "--installation"]);
    assert!(cut.starts_with("exit: 6\n"), "{cut}");
    assert_eq!(fs_err::read_dir(folder.path()).expect("a folder").count(), 0, "half an export is none");
}

// proves ORG-6
#[test]
fn an_export_verifies_offline_and_a_changed_one_does_not() {
    let key = signer().public_key().key;
    let whole = export(&signer(), 0);
    expect![[r#"
        exit: 0
        --- stdout
        verified: 3 events of org_00000000000000000000000000000001, none missing, changed or reordered
          checkpoint  position 3 of 2026-11-21 06:00:01 UTC
          head        9eeafaee6d248c60867a2d75d619eed91bc40698411464968a6e206dff72168d
          signed by   7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E
        --- stderr
    "#]]
    .assert_eq(&verify(&whole, &["--key", &key]));
    expect![[r#"
        exit: 0
        --- stdout
        verified: 1 events of org_00000000000000000000000000000001, none missing, changed or reordered
          checkpoint  position 3 of 2026-11-21 06:00:01 UTC
          head        9eeafaee6d248c60867a2d75d619eed91bc40698411464968a6e206dff72168d
          signed by   7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E
                      this key came with the export: it proves that the file is whole, not who made it
          pruned      positions up to 2, all older than 2026-11-21 06:00:01 UTC; 1 events of the meter among them are kept
        --- stderr
    "#]].assert_eq(&verify(&export(&signer(), 2), &["--trust-its-key"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"verified":true,"org":"org_00000000000000000000000000000001","events":1,"position":3,"hash":"9eeafaee6d248c60867a2d75d619eed91bc40698411464968a6e206dff72168d","at":"2026-11-21T06:00:01Z","key":"7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E","key_from":"given","pruned":{"position":2,"before":"2026-11-21T06:00:01Z","kept":1}}
        --- stderr
    "#]].assert_eq(&verify(&export(&signer(), 2), &["--json", "--key", &key]));
    expect![[r#"
        exit: 1
        --- stdout
        does not verify: line 2: the hash at position 1 does not fit its event: it or one before it was changed
          export again; if that differs from here on, this file was changed after it was made
        --- stderr
    "#]]
    .assert_eq(&verify(&whole.replacen("test", "tset", 2), &["--key", &key]));
    let cut = whole.lines().take(4).collect::<Vec<_>>().join("\n");
    expect![[r#"
        exit: 1
        --- stdout
        {"verified":false,"line":5,"cause":"the export ends without its checkpoint: the end was cut off","fix":"the transfer may have broken off: export again"}
        --- stderr
    "#]].assert_eq(&verify(&cut, &["--json", "--key", &key]));
    expect![[r#"
        exit: 1
        --- stdout
        does not verify: line 1: the export names the key ypOsFwUYcHHWe4PH_w7-gQjo7EUwV113JoeTM9vavnw, which is not one that was given
          `envforge ledger state` shows the server's own key; if that is another one, the file is not this server's
        --- stderr
    "#]].assert_eq(&verify(&export(&Signer::from_seed(&[4; 32]), 0), &["--key", &key]));
    expect![[r#"
        exit: 1
        --- stdout
        does not verify: line 6: something stands after the checkpoint, with which an export ends
          an export is one whole file: don't append to it or join two
        --- stderr
    "#]]
    .assert_eq(&verify(&format!("{whole}\n"), &["--key", &key]));
    expect![[r#"
        exit: 1
        --- stdout
        does not verify: line 1: this is not an export of format envforge-ledger-1
          `envforge ledger export FILE` makes one
        --- stderr
    "#]]
    .assert_eq(&verify("{}", &["--key", &key]));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: `AAAA` is not a public key
          hint: `envforge ledger state` shows the server's
    "#]]
    .assert_eq(&verify(&whole, &["--key", "AAAA"]));
    assert!(verify(&whole, &[]).starts_with("exit: 2\n"), "whose key counts is for the caller to say");
    let dashed = (0..=255).map(|byte| Signer::from_seed(&[byte; 32])).find(|it| it.public_key().key.starts_with('-'));
    let dashed = dashed.expect("one in 64");
    let verified = verify(&export(&dashed, 0), &["--key", &dashed.public_key().key]);
    assert!(verified.starts_with("exit: 0\n"), "a key may begin with a dash: {verified}");
}

fn state(broken: &Value) -> Value {
    let hash = "058f405f998457b4a012a7db6d9d63e6b17eda608a03610deb2cf8c6a55295d0";
    json!({
        "head": { "position": 3, "hash": hash }, "checkpoint": null, "anchor": null, "key": signer().public_key(),
        "verified_position": 3, "verified_at": "2026-11-21T06:00:05Z", "whole_at": null, "broken": broken,
    })
}

// proves ORG-6
#[test]
fn the_state_tells_a_break_and_fails() {
    let server = Server::acme();
    server.route("GET /v1/orgs/acme/ledger/state", ok(&state(&Value::Null)));
    expect![[r#"
        exit: 0
        --- stdout
        3 events
          head      058f405f998457b4a012a7db6d9d63e6b17eda608a03610deb2cf8c6a55295d0
          signed    not yet
          key       7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E
          verified  up to position 3, 2026-11-21 06:00:05 UTC
          whole     not yet
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["ledger", "state"]));
    let broken =
        json!({ "position": 2, "reason": "the hash at position 2 does not fit", "at": "2026-11-21T06:00:05Z" });
    server.route("GET /v1/installation/ledger/state", ok(&state(&broken)));
    expect![[r#"
        exit: 1
        --- stdout
        3 events
          head      058f405f998457b4a012a7db6d9d63e6b17eda608a03610deb2cf8c6a55295d0
          signed    not yet
          key       7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E
          verified  up to position 3, 2026-11-21 06:00:05 UTC
          whole     not yet
          BROKEN    at position 2, found 2026-11-21 06:00:05 UTC: the hash at position 2 does not fit
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["ledger", "state", "--installation"]));
}

// proves ORG-6
#[test]
fn events_are_searched_by_who_what_and_when() {
    let server = Server::acme();
    let event = json!({
        "id": format!("evt_{:032}", 1), "org": ORG_ID, "at": "2026-11-21T06:00:00Z", "actor": "user:1",
        "verb": "runtime.woken", "subject": "ws_1", "cause": "test", "details": {},
    });
    let query = "?limit=2&order=oldest&actor=user%3A1&verb=runtime%2E&since=2026-11-21T05%3A00%3A00Z";
    let path = format!("GET /v1/orgs/acme/ledger{query}");
    server.route(&path, ok(&json!({ "events": [{ "event": event }], "next": "1.evt_1" })));
    let list = [
        "ledger",
        "list",
        "--limit",
        "2",
        "--oldest",
        "--actor",
        "user:1",
        "--verb",
        "runtime.",
        "--since",
        "2026-11-21T05:00:00Z",
    ];
    expect![[r#"
        exit: 0
        --- stdout
        TIME                     ACTOR   VERB           SUBJECT  CAUSE
        2026-11-21 06:00:00 UTC  user:1  runtime.woken  ws_1     test
        --- stderr
        there are more: --cursor 1.evt_1
    "#]]
    .assert_eq(&run(&server, &list));
    expect![[r#"
        exit: 0
        --- stdout
        {"events":[{"event":{"id":"evt_00000000000000000000000000000001","org":"org_00000000000000000000000000000001","at":"2026-11-21T06:00:00Z","actor":"user:1","verb":"runtime.woken","subject":"ws_1","cause":"test","details":{}}}],"next":"1.evt_1"}
        --- stderr
    "#]].assert_eq(&run(&server, &[&list[..], &["--json"]].concat()));
    assert!(run(&server, &["ledger", "list", "--since", "soon"]).starts_with("exit: 2\n"));
}
