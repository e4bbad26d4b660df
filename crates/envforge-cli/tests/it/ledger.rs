//! Export and offline verification of the ledger.

use crate::support::{ORG_ID, Server, ok, run};
use envforge_core::ledger::{CHECKPOINT_DOMAIN, Checkpoint, Event, GENESIS, Seal, SealedEvent, link};
use envforge_core::token::Signer;
use expect_test::expect;
use serde_json::{Value, json};

fn export() -> Value {
    let signer = Signer::from_seed(&[3; 32]);
    let mut hash = GENESIS.to_owned();
    let events: Vec<_> = (1..=3_u64)
        .map(|position| {
            let event: Event = serde_json::from_value(json!({
                "id": format!("evt_{position:032}"), "org": ORG_ID, "at": "2026-11-21T06:00:00Z", "actor": "user:1",
                "verb": "runtime.woken", "subject": "ws_1", "cause": "test", "details": { "n": position },
            }))
            .expect("an event");
            hash = link(&hash, &event);
            SealedEvent { event, seal: Seal { position, hash: hash.clone() } }
        })
        .collect();
    let mut checkpoint = Checkpoint {
        org: Some(ORG_ID.parse().expect("an id")),
        position: 3,
        hash,
        at: "2026-11-21T06:00:01Z".parse().expect("a time"),
        key: signer.public_key().id,
        signature: String::new(),
    };
    checkpoint.signature = signer.sign_bytes(CHECKPOINT_DOMAIN, &checkpoint.signed_bytes());
    json!({ "events": events, "checkpoint": checkpoint, "keys": [signer.public_key()] })
}

fn verify(export: &Value, more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.json");
    fs_err::write(&file, export.to_string()).expect("written");
    let server = Server::start();
    let path = file.to_str().expect("UTF-8");
    let text = run(&server, &[&["ledger", "verify", path], more].concat());
    assert!(server.asked().is_empty(), "verifying asks no server");
    text.replace(path, "FILE")
}

// proves ORG-6
#[test]
fn an_export_verifies_offline_and_a_changed_one_does_not() {
    let server = Server::acme();
    server.route("GET /v1/orgs/acme/ledger", ok(&export()));
    let exported = run(&server, &["ledger", "export"]);
    assert!(exported.starts_with("exit: 0\n--- stdout\n{\"events\":"), "{exported}");

    expect![[r#"
        exit: 0
        --- stdout
        verified: 3 events, none missing, changed or reordered
          checkpoint  position 3 of 2026-11-21 06:00:01 UTC
          head        058f405f998457b4a012a7db6d9d63e6b17eda608a03610deb2cf8c6a55295d0
          signed by   7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E
        --- stderr
    "#]]
    .assert_eq(&verify(&export(), &[]));
    let mut changed = export();
    changed["events"][1]["event"]["cause"] = json!("another");
    expect![[r#"
        exit: 1
        --- stdout
        does not verify: the hash at position 2 does not fit its event: event evt_00000000000000000000000000000002 or one before it was changed
        --- stderr
    "#]].assert_eq(&verify(&changed, &[]));
    let mut cut = export();
    cut["events"].as_array_mut().expect("a list").pop();
    expect![[r#"
        exit: 1
        --- stdout
        {"verified":false,"cause":"the checkpoint is of position 3, but the events don't show that hash there: the export was cut or changed"}
        --- stderr
    "#]].assert_eq(&verify(&cut, &["--json"]));
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        error: the export is not signed by the key given
          hint: compare the key with the one noted at an earlier export
    "#]]
    .assert_eq(&verify(&export(), &["--key", "AAAA"]));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: FILE is not an export: missing field `events` at line 1 column 2
          hint: `envforge ledger export -o FILE` makes one
    "#]]
    .assert_eq(&verify(&json!({}), &[]));
}
