//! A token, with parts of good ones written as `@…@`: only the one whole token that was signed is ever believed.

use super::Random;
use super::damage::joined;
use anyhow::ensure;
use envforge_core::link::{LinkClaims, SessionClaims};
use envforge_core::token::{Keyring, Signer};
use jiff::Timestamp;
use serde_json::json;
use std::sync::LazyLock;

const PIECES: [&str; 24] = [
    "@token@",
    "@session@",
    "@other@",
    "@expired@",
    "@head@",
    "@body@",
    "@signature@",
    "@foreign@",
    ".",
    ".",
    "efl1",
    "efs1",
    "efl2",
    "=",
    "==",
    "-",
    "_",
    "+",
    "/",
    "A",
    "e30",
    "\n",
    " ",
    "\0",
];

struct Good {
    keyring: Keyring,
    link: String,
    session: String,
    /// Each placeholder, and what it stands for.
    parts: Vec<(&'static str, String)>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let (signer, stranger) = (Signer::from_seed(&[7; 32]), Signer::from_seed(&[8; 32]));
    let (link, session) = (signer.sign(&link(4_000_000_000)), signer.sign(&session()));
    let part = |token: &str, number: usize| token.split('.').nth(number).unwrap_or_default().to_owned();
    let parts = vec![
        ("@token@", link.clone()),
        ("@session@", session.clone()),
        ("@other@", stranger.sign(&self::link(4_000_000_000))),
        ("@expired@", signer.sign(&self::link(-1))),
        ("@head@", part(&link, 0)),
        ("@body@", part(&link, 1)),
        ("@signature@", part(&link, 2)),
        ("@foreign@", part(&session, 2)),
    ];
    Good { keyring: Keyring::new(&[signer.public_key()]), link, session, parts }
});

fn link(expires: i64) -> LinkClaims {
    let id = |kind: &str| format!("{kind}_01a217cf96eb71358ae0137d1f3adca2");
    let claims = json!({ "lnk": id("link"), "org": id("org"), "ws": id("ws"), "svc": "web", "lbl": "web--fix--acme", "exp": expires });
    serde_json::from_value(claims).expect("the claims of a link")
}

fn session() -> SessionClaims {
    let mut claims = serde_json::to_value(link(4_000_000_000)).expect("plain data");
    claims["ses"] = json!("ls_01a217cf96eb71358ae0137d1f3adca2");
    serde_json::from_value(claims).expect("the claims of a session")
}

pub(super) fn made(random: &mut Random) -> Vec<u8> {
    joined(random, &PIECES, 6).into_bytes()
}

pub(super) fn check(input: &[u8]) -> anyhow::Result<()> {
    let good = &*GOOD;
    let mut text = String::from_utf8_lossy(input).into_owned();
    for (name, part) in &good.parts {
        text = text.replace(name, part);
    }
    let link = good.keyring.verify::<LinkClaims>(&text, Timestamp::UNIX_EPOCH).is_ok();
    let session = good.keyring.verify::<SessionClaims>(&text, Timestamp::UNIX_EPOCH).is_ok();
    ensure!(
        link == (text == good.link),
        "a link is {}",
        if link { "believed that nobody signed" } else { "not believed" }
    );
    ensure!(
        session == (text == good.session),
        "a session is {}",
        if session { "believed that nobody signed" } else { "not believed" }
    );
    Ok(())
}
