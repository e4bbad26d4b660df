//! A lost connection that goes on where it was, and one that can't.

use crate::attach::Window;
use crate::support::{Act, Server};

const SESSION: Act = Act::Notice(r#"{"type":"session","token":"t0"}"#);
const UNKNOWN: Act =
    Act::Refuse(404, r#"{"error":{"code":"terminal.session_unknown","message":"no such","kind":"not_found"}}"#);
const AWAY: Act = Act::Refuse(503, r#"{"error":{"code":"database.unavailable","message":"no","kind":"unavailable"}}"#);
const ATTACHED: &str = "GET /v1/orgs/acme/workspaces/fix-login/terminal?cols=100&rows=30&resumable=true";

fn opened() -> (Server, tempfile::TempDir) {
    (Server::acme(), tempfile::tempdir().expect("a folder"))
}

/// The connections of the terminal that were asked for.
fn asked(server: &Server) -> Vec<String> {
    server.asked().into_iter().filter(|asked| asked.contains("/terminal?")).collect()
}

// proves UP-3
#[test]
fn a_lost_connection_goes_on_where_it_was() {
    let (server, home) = opened();
    // Of three keys the server has one, and of its output the client has all that came; a sequence is cut in two.
    let first = vec![SESSION, Act::Say("\x1b[?1049h\x1b[?2004hone \x1b[3"), Act::ExpectOnly("abc"), Act::Cut];
    server.terminal(first);
    server.terminal(vec![Act::HangUp]);
    server.terminal(vec![AWAY]);
    server.terminal(vec![
        Act::Notice(r#"{"type":"resumed","received":1}"#),
        Act::Say("1mtwo "),
        Act::ExpectOnly("bcde"),
        Act::Say("three "),
        Act::ExpectOnly("f"),
        Act::End("exited"),
    ]);
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("one ");
    window.type_keys("abc");
    window.wait_for("connection lost, reconnecting");
    window.type_keys("de");
    window.wait_for("three ");
    window.type_keys("f");
    window.ends_with(0);
    let attached = [ATTACHED.to_owned()];
    let resumed = "GET /v1/orgs/acme/workspaces/fix-login/terminal?cols=100&rows=30&resume=t0&received=23".to_owned();
    assert_eq!(asked(&server), [&attached[..], &[resumed.clone(), resumed.clone(), resumed]].concat());
    let text = window.text();
    let line = text.rfind("connection lost").expect("said");
    let (clear, rest) = ("\x1b7\x1b[30;1H\x1b[0m\x1b[2K\x1b8", &text[line..]);
    assert!(rest.contains(&format!("{clear}\x1b[31mtwo three ")), "the cut sequence is whole again: {rest:?}");
    assert!(!text[..line].contains("\x1b[?1049l") && text.contains("\x1b[?2004l\x1b[r\x1b[?1049l"), "{text:?}");
}

// proves UP-3
#[test]
fn where_it_can_not_go_on_nothing_doubtful_is_typed() {
    let (server, home) = opened();
    server.terminal(vec![SESSION, Act::Say("\x1b[?1049hone "), Act::ExpectOnly("rm -r "), Act::Cut]);
    server.terminal(vec![AWAY]);
    server.terminal(vec![UNKNOWN]);
    server.terminal(vec![
        Act::Notice(r#"{"type":"session","token":"t1"}"#),
        Act::Say("\x1b[?1049hredrawn "),
        Act::Control(r#"{"type":"received","bytes":16}"#),
        Act::Control(r#"{"type":"redraw"}"#),
        Act::Say("drawn again "),
        Act::ExpectOnly("x"),
        Act::Cut,
    ]);
    // The next session is another, counted from its own beginning.
    server.terminal(vec![
        Act::Notice(r#"{"type":"resumed","received":0}"#),
        Act::Say("and on "),
        Act::ExpectOnly("x"),
        Act::End("exited"),
    ]);
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("one ");
    window.type_keys("rm -r ");
    window.wait_for("connection lost, reconnecting");
    window.type_keys("old/*\r");
    window.wait_for("redrawn ");
    window.wait_for("attached anew; what was typed last may be missing");
    window.wait_for("drawn again ");
    window.type_keys("x");
    window.wait_for("and on ");
    window.ends_with(0);
    let asked = asked(&server);
    assert_eq!((asked[0].as_str(), asked[3].as_str()), (ATTACHED, ATTACHED));
    assert!(asked[4].ends_with("&resume=t1&received=28"), "{asked:?}");
}

// proves UP-3
#[test]
fn a_server_of_before_sessions_is_attached_to_as_ever() {
    let (server, home) = opened();
    server.terminal(vec![Act::Say("one "), Act::ExpectOnly("a"), Act::Cut]);
    (0..3).for_each(|_| server.terminal(vec![AWAY]));
    server.terminal(vec![Act::Say("two "), Act::ExpectSize(100, 29), Act::ExpectSize(100, 30), Act::End("exited")]);
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("one ");
    window.type_keys("a");
    window.wait_for("connection lost, reconnecting");
    window.type_keys("b");
    window.wait_for("two ");
    window.wait_for("attached anew; what was typed last may be missing");
    window.ends_with(0);
    assert!(asked(&server).iter().all(|asked| asked == ATTACHED));

    // One that is older than the one before: it opens another client's terminal for whoever wants to resume.
    let (server, home) = opened();
    server.terminal(vec![SESSION, Act::Say("one "), Act::Cut]);
    server.terminal(vec![Act::Say("not this one "), Act::Cut]);
    server.terminal(vec![Act::Say("two "), Act::Expect("x"), Act::End("exited")]);
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("two ");
    window.wait_for("attached anew; what scrolled by meanwhile is in the terminal's history");
    window.type_keys("x");
    window.ends_with(0);
    assert!(!window.text().contains("not this one"));
}

// proves UP-3
#[test]
fn output_is_acknowledged_while_it_comes_and_leaving_is_told() {
    let (server, home) = opened();
    let flood: &'static str = "0123456789abcdef".repeat(2048).leak();
    server.terminal(vec![
        SESSION,
        Act::Say(flood),
        Act::Control(r#"{"type":"received","bytes":32768}"#),
        Act::Say("more "),
        Act::Control(r#"{"type":"received","bytes":32773}"#),
        Act::Say("end "),
        Act::Left,
    ]);
    let mut window = Window::open(home.path(), &server, &["attach", "fix-login"]);
    window.wait_for("end ");
    window.signal(rustix::process::Signal::TERM);
    window.ends_with(1);
    server.wait_until_asked("left");
}
