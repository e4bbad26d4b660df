//! A ledger's export that somebody changed: checked offline, with the key noted from elsewhere.

use super::World;
use envforge_core::ledger::{Checkpoint, Hash, Seal};
use envforge_core::token::Signer;
use serde_json::Value;

/// An export, changed by one who knows the format.
pub(super) async fn with_a_tampered_export(world: &World) {
    let folder = world.the_box.scratch("exports");
    let export = async |org: &str| {
        let path = format!("/v1/orgs/{org}/ledger/export");
        world.owner().stream(&path).await.unwrap().text().await.unwrap()
    };
    let (whole, other) = (export("local").await, export("globex").await);
    let state: Value = world.owner().get("/v1/orgs/local/ledger/state").await.unwrap();
    let key = state["key"]["key"].as_str().unwrap();
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let count = lines.len();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        changed.join("\n") + "\n"
    };
    let issued = 1 + lines.iter().position(|line| line.contains("link.issued")).unwrap();
    let last_of = |text: &str| text.lines().last().unwrap().to_owned();
    let checkpoint: Value = serde_json::from_str(&last_of(&whole)).unwrap();
    let checkpoint: Checkpoint = serde_json::from_value(checkpoint["checkpoint"].clone()).unwrap();
    let head = Seal { position: checkpoint.position, hash: checkpoint.hash };
    // Of a chain that the forger made and signed, with the key that is trusted named in it.
    let mallory = Signer::from_seed(&[9; 32]);
    let forged = |name_ours: bool| {
        let mut forged = Checkpoint::sign(&mallory, checkpoint.org, head, checkpoint.at);
        if name_ours {
            forged.key.clone_from(&checkpoint.key);
        }
        serde_json::to_string(&serde_json::json!({ "checkpoint": forged })).unwrap()
    };
    let earlier = Checkpoint {
        position: checkpoint.position - 1,
        hash: serde_json::from_str::<Value>(&lines[count - 3])
            .ok()
            .and_then(|line| serde_json::from_value::<Hash>(line["hash"].clone()).ok())
            .unwrap(),
        ..checkpoint.clone()
    };
    let earlier = serde_json::to_string(&serde_json::json!({ "checkpoint": earlier })).unwrap();
    let renamed = whole.lines().next().unwrap().replace(key, &mallory.public_key().key);
    let renamed = renamed.replace(&checkpoint.key, &mallory.public_key().id);
    // What was done to it, the text, and the line at which it does not verify.
    let cases = [
        ("whole", whole.clone(), None),
        ("a detail changed", whole.replacen("link.issued", "link.isssed", 1), Some(issued)),
        (
            "a detail changed in case",
            with(&|lines| lines[issued - 1] = lines[issued - 1].replacen("link_", "Link_", 1)),
            Some(issued),
        ),
        ("a line removed", with(&|lines| drop(lines.remove(issued - 1))), Some(issued)),
        ("a line twice", with(&|lines| lines.insert(issued, lines[issued - 1].clone())), Some(issued + 1)),
        ("two lines swapped", with(&|lines| lines.swap(issued - 1, issued)), Some(issued)),
        ("the last event removed", with(&|lines| drop(lines.remove(count - 2))), Some(count - 1)),
        ("the tail and its end removed", with(&|lines| lines.truncate(count / 2)), Some(count / 2 + 1)),
        ("its end removed", with(&|lines| drop(lines.pop())), Some(count)),
        ("more after its end", with(&|lines| lines.push(lines[1].clone())), Some(count + 1)),
        ("another's event", with(&|lines| lines.insert(3, other.lines().nth(2).unwrap().to_owned())), Some(4)),
        ("another's end", with(&|lines| lines[count - 1] = last_of(&other)), Some(count)),
        ("another's beginning", with(&|lines| other.lines().next().unwrap().clone_into(&mut lines[0])), Some(count)),
        ("an end signed by another key", with(&|lines| lines[count - 1] = forged(false)), Some(count)),
        ("one that names the right key", with(&|lines| lines[count - 1] = forged(true)), Some(count)),
        (
            "a tail removed and the end's position changed",
            with(&|lines| {
                lines.remove(count - 2);
                lines[count - 2].clone_from(&earlier);
            }),
            Some(count - 1),
        ),
        (
            "a chain of the forger's own",
            with(&|lines| {
                lines[0].clone_from(&renamed);
                lines[count - 1] = forged(false);
            }),
            Some(1),
        ),
        ("a byte too many", format!("{whole}\n"), Some(count + 1)),
        ("nothing", String::new(), Some(1)),
    ];
    for (name, text, wanted) in cases {
        let file = folder.join(name);
        fs_err::write(&file, text).unwrap();
        // Without a server: whoever checks trusts the key alone.
        let arguments = ["ledger", "verify", file.to_str().unwrap(), "--key", key, "--server", "http://127.0.0.1:1"];
        let said = world.the_box.envforge(&folder, &arguments).await;
        let text = String::from_utf8_lossy(&said.stdout);
        let begins = wanted.map_or("verified: ".to_owned(), |line| format!("does not verify: line {line}: "));
        assert!(text.starts_with(&begins), "{name}: wanted `{begins}`: {said:?}");
        assert_eq!(said.status.code(), Some(i32::from(wanted.is_some())), "{name}");
    }
}
