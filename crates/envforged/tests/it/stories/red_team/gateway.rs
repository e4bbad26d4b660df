//! A gateway in the wrong hands: what it holds opens the ports of services, and nothing else on a host.
//!
//! The attacker listens in its place, and the host dials there. Tickets that no gateway is ever given, such as one for a
//! terminal, are what somebody recorded on its way elsewhere: signed as the server signs.

use super::super::sample::PATIENCE;
use super::{World, on_socket};
use crate::support::kill;
use envforge_api::gateway::{ROUTES_PATH, Route};
use envforge_api::uplink::{LogFilter, Open, OpenError, Uplinks};
use envforge_core::ticket::{TicketClaims, TicketKind};
use envforge_core::token::{Keyring, Signer};
use envforge_testkit::{Browser, wait_until_within};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::Duration;

const TERMINAL: Open = Open::Terminal { cols: 80, rows: 24 };
const ROOT: Open = Open::Elevation { cols: 80, rows: 24 };
const LOGS: Open = Open::Logs { tail: 1, follow: false, filter: LogFilter { grep: None, since: None } };

/// Takes the gateway's place in the host's eyes.
async fn instead_of_the_gateway(world: &World, told: &Route, keys: &Keyring) -> (Arc<Uplinks>, JoinHandle<()>) {
    let (uplinks, path) = (Arc::new(Uplinks::default()), world.the_box.path().join("run/gateway/uplink.sock"));
    for _ in 0..5 {
        let (ours, at, keys) = (Arc::clone(&uplinks), path.clone(), keys.clone());
        let serving = tokio::spawn(async move {
            let _ = ours.serve(&at, move || keys.clone(), || jiff::Timestamp::UNIX_EPOCH, drop).await;
        });
        tokio::task::yield_now().await;
        let gateway = world.the_box.children()["gateway"];
        kill(gateway);
        // Its successor listens at the same path: whoever the host dials first has it.
        let has_it = uplinks.connected(told.host, Duration::from_secs(2)).await;
        world.the_box.successor("gateway", gateway).await;
        if has_it {
            return (uplinks, serving);
        }
        serving.abort();
    }
    panic!("the host never dialled the attacker");
}

pub(super) async fn as_a_gateway(world: &World) {
    let the_box = &world.the_box;
    let kept =
        |name: &str| fs_err::read_to_string(the_box.path().join("secrets").join(name)).unwrap().trim().to_owned();
    let gateway = on_socket(the_box, &kept("gateway/key"));
    let told: Route = gateway.get(&format!("{ROUTES_PATH}/web--main--local")).await.unwrap();
    let seed = hex::decode(kept("server/signing-seed")).unwrap();
    let signer = Signer::from_seed(&seed.try_into().unwrap());
    let keys = Keyring::new(&[signer.public_key()]);
    let service = &told.rules[0].ticket;
    let given: TicketClaims = keys.verify(service, jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!((given.kind, given.person.clone()), (TicketKind::Service, None), "all that it is ever given");
    let (uplinks, serving) = instead_of_the_gateway(world, &told, &keys).await;

    let of = |kind, nonce| TicketClaims { kind, nonce, subject: "web".to_owned(), ..given.clone() };
    let (theirs, once) = (world.theirs.registered(), signer.sign(&of(TicketKind::Logs, 1)));
    let elsewhere = TicketClaims { host: theirs.host, org: theirs.org, ..of(TicketKind::Terminal, 2) };
    let of_theirs = TicketClaims { workspace: world.theirs.workspace(), ..of(TicketKind::Terminal, 3) };
    let before = TicketClaims { generation: given.generation - 1, ..of(TicketKind::Terminal, 4) };
    let over = TicketClaims { expires: 1, ..of(TicketKind::Terminal, 5) };
    let mut changed = service.clone();
    let last = changed.pop().unwrap();
    changed.insert(changed.len() - 5, last);
    uplinks.open(told.host, &once, LOGS).await.expect("as its holder would");
    for (what, ticket, open, wanted) in [
        ("used again", once, LOGS, "ticket.spent"),
        ("of a service, for a shell", service.clone(), TERMINAL, "ticket.other_kind"),
        ("of a service, for root", service.clone(), ROOT, "ticket.other_kind"),
        ("of a service, for logs", service.clone(), LOGS, "ticket.other_kind"),
        ("of a service, for a recording", service.clone(), Open::Recording, "ticket.other_kind"),
        (
            "of a shell, for a recording",
            signer.sign(&of(TicketKind::Terminal, 7)),
            Open::Recording,
            "ticket.other_kind",
        ),
        ("of a shell, for root", signer.sign(&of(TicketKind::Terminal, 6)), ROOT, "ticket.other_kind"),
        ("for another host", signer.sign(&elsewhere), TERMINAL, "ticket.other_host"),
        ("for another's workspace", signer.sign(&of_theirs), TERMINAL, "workspace.not_here"),
        ("of a registration before", signer.sign(&before), TERMINAL, "ticket.other_host"),
        ("that has expired", signer.sign(&over), TERMINAL, "ticket.expired"),
        ("of a key of its own", Signer::from_seed(&[9; 32]).sign(&given), Open::Service, "ticket.unknown_key"),
        ("changed", changed, Open::Service, "ticket.invalid"),
        ("that is a link", world.first().link("web").await.token, Open::Service, "ticket.invalid"),
    ] {
        let refused = match uplinks.open(told.host, &ticket, open).await {
            Ok(_) => "it was allowed".to_owned(),
            Err(OpenError::Refused(refusal)) => refusal.code,
            Err(error) => error.to_string(),
        };
        assert_eq!(refused, wanted, "a ticket {what}");
    }
    for code in ["ticket.spent", "ticket.other_kind", "ticket.other_host", "ticket.unknown_key", "ticket.invalid"] {
        world.noted("orgs/local", &["host.ticket_refused", &format!("host:{}", told.host), code]);
    }

    serving.abort();
    drop(uplinks);
    let link = world.first().link("web").await;
    let mut browser = Browser::at(&link.url).unwrap();
    wait_until_within("the gateway has its host again", PATIENCE, async || {
        (browser.cookie().is_some() || browser.open(&link.url).await.is_ok())
            && browser.status("/").await.is_ok_and(|status| status == 200)
    })
    .await;
}
