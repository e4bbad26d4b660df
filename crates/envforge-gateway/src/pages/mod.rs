//! The few pages that are the gateway's own: the share card, the waiting page, and cards that say no.
//!
//! They stand on a host that belongs to somebody's app, so they take nothing from it and leave nothing behind: one file
//! each, with its style inside, readable without script, in light and dark. Strangers' cards say nothing about
//! what is behind them, not even whether there is anything.

mod script;
mod style;

use crate::phase::refused::{Refused, Waiting, Why};
use crate::sessions::Unverified;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::{Refusal, RefusalKind};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// SHA-256 of the style and the script, as a content security policy names them.
pub(crate) fn digests() -> (String, String) {
    let of = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()).as_ref());
    (of(style::STYLE), of(script::SCRIPT))
}

/// What the page's mark looks like.
#[derive(Clone, Copy)]
enum Mark {
    Open,
    Busy,
    Shut,
}

fn mark(mark: Mark) -> Markup {
    let class = match mark {
        Mark::Open => "mark open",
        Mark::Busy => "mark busy",
        Mark::Shut => "mark shut",
    };
    html! {
        div class=(class) aria-hidden="true" {
            svg viewBox="0 0 48 48" width="44" height="44" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" stroke-linejoin="round" {
                path class="branch" d="M15 12v24M15 29c0-9 18-5 18-15" {}
                circle cx="15" cy="8" r="4" {}
                circle cx="15" cy="40" r="4" {}
                circle class="tip" cx="33" cy="10" r="4" {}
            }
        }
    }
}

fn document(title: &str, head: &Markup, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex, nofollow";
                title { (title) }
                meta property="og:title" content="Preview on EnvForge";
                meta property="og:description" content="A preview that opens with its link.";
                meta property="og:type" content="website";
                style { (PreEscaped(style::STYLE)) }
                (head)
            }
            body {
                main { (content) }
                footer { "EnvForge preview" }
            }
        }
    }
    .into_string()
}

fn card(kind: Mark, title: &str, more: &Markup) -> String {
    let content = html! {
        (mark(kind))
        h1 { (title) }
        (more)
    };
    document(title, &html! {}, &content)
}

/// The card of a good link: one button, no effect until it is pressed.
pub(crate) fn share() -> String {
    let more = html! {
        p { "Someone shared a preview with you. It may take a moment to wake up." }
        form method="post" { button type="submit" autofocus { "Open preview" } }
        p.fine { "Opening it sets a cookie for this address only." }
    };
    card(Mark::Open, "You’re invited to a preview", &more)
}

/// The page of a refusal. Members sign in at `sign_in`, if they can; the line is on every stranger's card alike.
pub(crate) fn of(refused: &Refused, refusal: &Refusal, sign_in: Option<&str>) -> String {
    let simple = |kind, title: &str, text: &str| card(kind, title, &html! { p { (text) } });
    let strangers = |title: &str, text: &str| {
        let more = html! {
            p { (text) }
            @if let Some(place) = sign_in {
                p.fine { "On the team? " a href=(place) rel="nofollow" { "Sign in" } }
            }
        };
        card(Mark::Shut, title, &more)
    };
    match refused {
        Refused::WaitingPage(waiting) => self::waiting(waiting),
        Refused::Unverified(Unverified::UnknownLabel) | Refused::NoPreview => simple(
            Mark::Shut,
            "No preview here",
            "There is no preview at this address. Check the link, or ask whoever sent it.",
        ),
        Refused::Unverified(_) => strangers(
            "This preview opens with its link",
            "Open the share link you were sent. If it no longer works, ask its sender for a fresh one.",
        ),
        Refused::NoEntry(_) => card(
            Mark::Shut,
            "You are not signed in here",
            &html! {
                p { "Signing in took too long, was done before, or began in another browser." }
                @if let Some(place) = sign_in { a.button href=(place) rel="nofollow" { "Sign in again" } }
            },
        ),
        Refused::DeadLink { .. } => strangers(
            "This link does not open",
            "It may have ended, been withdrawn, or been copied incompletely. Ask its sender for a fresh one.",
        ),
        Refused::Blocked => card(
            Mark::Shut,
            "This preview can’t start right now",
            &html! {
                p { "The team can see why. Try again in a little while." }
                a.button href="" { "Try again" }
            },
        ),
        Refused::BlockedBecause(causes) => blocked(causes),
        Refused::Waking => again("The preview is still waking up", "Many are waiting for it. Give it a moment."),
        Refused::Asleep => again("The preview sleeps", "Reload its page to wake it."),
        Refused::Overdue => again("The preview takes too long", "Its service did not begin to answer in time."),
        Refused::Unreachable | Refused::NoWebSocket | Refused::NoHost => {
            again("The preview does not answer", "It is running, but did not take the request. It may be restarting.")
        }
        Refused::LeaseOver | Refused::Draining => {
            again("Previews are paused for a moment", "EnvForge is reconnecting and lets nobody in until it has.")
        }
        Refused::NoPath => simple(Mark::Shut, "Nothing at this path", "No service of this preview answers here."),
        Refused::TooMany(_) => again("Too many requests", "More are answered in a moment."),
        Refused::Server(_) => said(refusal),
        Refused::ServerToMember(_) => card(
            Mark::Shut,
            "This preview can’t be opened now",
            &html! {
                p { (sentence(&refusal.message)) @if let Some(hint) = &refusal.hint { " " (sentence(hint)) } }
                p.fine { code { (refusal.code) } }
            },
        ),
        Refused::BadRequest(_)
        | Refused::HeadTooLarge
        | Refused::Version
        | Refused::Method
        | Refused::CrossOrigin
        | Refused::BodyTooLarge
        | Refused::Fault => card(
            Mark::Shut,
            "That did not work",
            &html! {
                p { (sentence(&refusal.message)) }
                p.fine { code { (refusal.code) } }
            },
        ),
    }
}

/// What keeps it from running, for members.
fn blocked(causes: &[Why]) -> String {
    let more = html! {
        @for why in causes {
            p {
                @if let Some(part) = &why.part { strong { (part) } ": " }
                (sentence(&why.cause))
                @if let Some(fix) = &why.fix { " " (sentence(fix)) }
            }
        }
        a.button href="" { "Try again" }
    };
    card(Mark::Shut, "This preview can’t start", &more)
}

fn again(title: &str, text: &str) -> String {
    let more = html! {
        p { (text) }
        a.button href="" { "Try again" }
    };
    card(Mark::Shut, title, &more)
}

/// What the server said no to. Limits are told in its words; faults are nobody's business here.
fn said(refusal: &Refusal) -> String {
    match refusal.kind {
        RefusalKind::Internal | RefusalKind::Unavailable => again(
            "The preview can’t be opened right now",
            "Something did not work on our side. Try again in a little while.",
        ),
        _ => card(
            Mark::Shut,
            "This preview can’t be opened now",
            &html! {
                p { (sentence(&refusal.message)) }
                p.fine { code { (refusal.code) } }
            },
        ),
    }
}

fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// The page that becomes the app.
fn waiting(waiting: &Waiting) -> String {
    let head = html! {
        noscript { meta http-equiv="refresh" content="2"; }
        script { (PreEscaped(script::SCRIPT)) }
    };
    let content = html! {
        (mark(Mark::Busy))
        h1 { "Waking up " span.name { (waiting.slug) } }
        p #text role="status" { "It opens by itself as soon as " strong { (waiting.service) } " answers." }
        ul #parts {
            @for (name, state) in &waiting.parts {
                li data-state=(word(*state)) data-name=(name) {
                    span.dot {}
                    span.part { (name) }
                    span.state { (word(*state)) }
                }
            }
        }
        a.button #again href="" hidden { "Wake it again" }
    };
    document(&format!("Waking up {}", waiting.slug), &head, &content)
}

fn word(state: ReadinessState) -> &'static str {
    match state {
        ReadinessState::Ready => "ready",
        ReadinessState::Waking => "waking",
        ReadinessState::Blocked => "blocked",
        ReadinessState::Asleep => "asleep",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_escaped() {
        let hostile = "<script>alert(1)</script>".to_owned();
        let page = waiting(&Waiting {
            slug: hostile.clone(),
            service: hostile.clone(),
            parts: vec![(hostile.clone(), ReadinessState::Waking)],
        });
        assert!(!page.contains(&hostile));
    }

    // proves LINK-5
    #[test]
    fn a_fault_of_the_server_is_told_in_our_words() {
        let secret = Refusal::new(RefusalKind::Internal, "server.fault", "disk /dev/sda1 on host-7 is full");
        assert!(!said(&secret).contains("host-7"));
        let cap = Refusal::new(RefusalKind::Limit, "usage.cap", "the org's awake minutes are used up");
        assert!(
            said(&cap).contains("The org&#39;s awake minutes are used up.")
                || said(&cap).contains("The org's awake minutes are used up.")
        );
    }
}
