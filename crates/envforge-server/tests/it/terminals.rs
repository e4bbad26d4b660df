//! Terminals: who is let in to which, and what of it is in the ledger; and what a host is asked for of a log.

use crate::support::{FakeHost, TestServer, code, raw};
use envforge_api::host::HostPass;
use envforge_api::http::recordings::{OrgTerminalPolicy, TerminalRecordings};
use envforge_api::http::terminal::Terminals;
use envforge_api::uplink::{self, LogFilter, Open};
use envforge_core::access::Role;
use envforge_core::clock::Clock as _;
use envforge_core::refusal::Refusal;
use envforge_core::terminal::not_found;
use envforge_core::ticket::{TicketClaims, TicketKind};
use envforge_testkit::{Shell, wait_until};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

const MAIN: &str = "/v1/orgs/acme/workspaces/main/terminals";

/// What a host was asked for: of which terminal, how.
type Asked = Arc<Mutex<Vec<(String, Open)>>>;

/// A host's uplink that answers as `answer` does.
pub(crate) fn uplink<F>(server: &TestServer, host: &FakeHost, answer: F)
where
    F: Fn(TicketClaims, Open) -> Result<OwnedFd, Refusal> + Send + Sync + 'static,
{
    let app = server.server.app();
    let now = server.clock.now();
    let pass = HostPass { host: host.registered.host, org: host.registered.org, expires: now.as_second() + 3600 };
    let pass = app.signing_keys.sign(&pass, now).unwrap();
    let (keyring, path) = (app.signing_keys.keyring(), server.path("uplink.sock"));
    tokio::spawn(async move {
        let dialled = uplink::dial(&path, &pass, move |ticket, open| {
            let claims: TicketClaims = keyring.verify(&ticket, now).unwrap();
            let kind = match open {
                Open::Logs { .. } => TicketKind::Logs,
                Open::Recording | Open::Recordings => TicketKind::Recording,
                Open::DatabaseDump | Open::DatabaseRestore => TicketKind::Database,
                _ => TicketKind::Terminal,
            };
            assert_eq!(claims.kind, kind);
            let answer = answer(claims, open);
            async move { answer }
        });
        drop(dialled.await);
    });
}

// proves UP-3
#[tokio::test]
async fn terminals_are_opened_listed_and_ended_by_name() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    uplink(&server, &host, move |claims, open| {
        let (mine, theirs) = UnixStream::pair().unwrap();
        seen.lock().unwrap().push((claims.subject.clone(), open.clone()));
        let main = json!({ "name": "main", "since": "2026-11-21T06:00:00Z", "clients": 1, "cols": 80, "rows": 24,
            "command": "bash" });
        match open {
            Open::Terminals => (&mine).write_all(json!({ "terminals": [main] }).to_string().as_bytes()).unwrap(),
            Open::EndTerminal if claims.subject == "gone" => return Err(not_found(&"gone".parse().unwrap())),
            Open::EndTerminal => (&mine).write_all(b"{\"terminals\":[]}").unwrap(),
            _ => {
                (&mine).write_all(b"prompt$ ").unwrap();
                std::mem::forget(mine);
            }
        }
        Ok(theirs.into())
    });
    let listed: Terminals = server.owner.get(MAIN).await.unwrap();
    assert_eq!(listed.terminals[0].name.as_str(), "main");
    let (url, key) = (format!("http://{}", server.server.local_addr), server.owner.key().unwrap().expose());
    let mut shell = Shell::attach_to(&url, key, "acme", "main", "build-2").await.unwrap();
    shell.expect("prompt$ ").await.unwrap();
    let left: Terminals = server.owner.delete(&format!("{MAIN}/build-2")).await.unwrap();
    assert!(left.terminals.is_empty());
    let opened = Open::Terminal { cols: 120, rows: 30 };
    let wanted = [("", Open::Terminals), ("build-2", opened), ("build-2", Open::EndTerminal)];
    assert_eq!(*asked.lock().unwrap(), wanted.map(|(name, open)| (name.to_owned(), open)));
    assert_eq!(code(server.owner.delete::<Value>(&format!("{MAIN}/gone")).await), "terminal.not_found");
    assert_eq!(code(server.owner.delete::<Value>(&format!("{MAIN}/-x")).await), "terminal.bad_name");
    let said = Shell::attach_to(&url, key, "acme", "main", "a.b").await.unwrap_err().to_string();
    assert!(said.contains("did not open"), "{said}");
    assert_eq!(asked.lock().unwrap().len(), 4, "what is no name asks no host");
    wait_until("the ledger", async || server.events("shell.attached").await == 1).await;
    assert_eq!(server.events("terminal.ended").await, 1, "what was refused ended nothing");
}

// proves RUN-8
#[tokio::test]
async fn logs_are_searched_by_the_host() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    uplink(&server, &host, move |claims, open| {
        let (mine, theirs) = UnixStream::pair().unwrap();
        (&mine).write_all(b"found\n").unwrap();
        seen.lock().unwrap().push((claims.subject, open.clone()));
        match open {
            Open::Logs { filter: LogFilter { grep: Some(pattern), .. }, .. } if pattern == "a(" => {
                Err(Refusal::invalid("logs.pattern_invalid", "unclosed").hint("close it"))
            }
            _ => Ok(theirs.into()),
        }
    });
    let get = async |query: &str| {
        let url = format!("http://{}/v1/orgs/acme/workspaces/main/logs/setup{query}", server.server.local_addr);
        let answer = raw().get(url).bearer_auth(server.owner.key().unwrap().expose()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("").await, (200, "found\n".to_owned()));
    assert_eq!(get("?grep=a%20%2Bb&since=2026-11-21T06:00:00Z&follow=true").await.0, 200);
    assert_eq!(get("?grep=b&tail=3").await.0, 200);
    let (status, body) = get("?grep=a(").await;
    assert!(status == 400 && body.contains("logs.pattern_invalid") && body.contains("close it"), "{body}");
    let filter = |grep: &str| LogFilter { grep: Some(grep.to_owned()), since: None };
    let since = Some("2026-11-21T06:00:00Z".parse().unwrap());
    let wanted = [
        Open::Logs { tail: 200, follow: false, filter: LogFilter::default() },
        Open::Logs { tail: u32::MAX, follow: true, filter: LogFilter { since, ..filter("a +b") } },
        Open::Logs { tail: 3, follow: false, filter: filter("b") },
        Open::Logs { tail: u32::MAX, follow: false, filter: filter("a(") },
    ];
    assert_eq!(*asked.lock().unwrap(), wanted.map(|open| ("setup".to_owned(), open)));
    let (status, body) = get(&format!("?grep={}", "a".repeat(1025))).await;
    assert!(status == 400 && body.contains("logs.pattern_too_big"), "{body}");
    assert_eq!(get("?since=yesterday").await.0, 400);
    assert_eq!(asked.lock().unwrap().len(), 4, "what is refused here asks no host");
}

// proves UP-3 ORG-6
#[tokio::test]
async fn terminals_are_recorded_where_the_org_wants_it() {
    const POLICY: &str = "/v1/orgs/acme/terminal-policy";
    const RECORDINGS: &str = "/v1/orgs/acme/workspaces/main/recordings";
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let opened = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&opened);
    uplink(&server, &host, move |claims, open| {
        let (mine, theirs) = UnixStream::pair().unwrap();
        match open {
            Open::Recordings => (&mine).write_all(b"{\"recordings\":[]}").unwrap(),
            Open::Recording => (&mine).write_all(b"a line\n").unwrap(),
            _ => {
                seen.lock().unwrap().push(claims.recording);
                (&mine).write_all(b"prompt$ ").unwrap();
                std::mem::forget(mine);
            }
        }
        Ok(theirs.into())
    });
    let (url, key) = (format!("http://{}", server.server.local_addr), server.owner.key().unwrap().expose());
    let attach = async || {
        let mut shell = Shell::attach_to(&url, key, "acme", "main", "main").await.unwrap();
        shell.expect("prompt$ ").await.unwrap();
    };
    attach().await;
    let developer = server.member("acme", Role::Developer).await;
    let on = OrgTerminalPolicy { record: true };
    assert_eq!(code(developer.put::<_, OrgTerminalPolicy>(POLICY, &on).await), "access.denied");
    for _ in 0..2 {
        assert_eq!(server.owner.put::<_, OrgTerminalPolicy>(POLICY, &on).await.unwrap(), on);
    }
    assert_eq!(server.events("terminal_policy.changed").await, 1);
    assert_eq!(developer.get::<OrgTerminalPolicy>(POLICY).await.unwrap(), on, "everybody may know");
    attach().await;
    let recordings = opened.lock().unwrap().clone();
    let [None, Some(recording)] = recordings[..] else { panic!("{recordings:?}") };
    let noted: String = sqlx::query_scalar(
        "SELECT string_agg(details->>'recording', ',') FROM ledger_events WHERE verb = 'shell.attached'",
    )
    .fetch_one(&mut server.database_owner().await)
    .await
    .unwrap();
    assert_eq!(noted, recording.to_string());

    let none: TerminalRecordings = server.owner.get(RECORDINGS).await.unwrap();
    assert!(none.recordings.is_empty());
    let one = format!("{RECORDINGS}/{recording}");
    let response = raw().get(format!("{url}{one}")).bearer_auth(key).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "a line\n");
    assert_eq!(server.events("terminal.recording_read").await, 1);
    for path in [RECORDINGS, &one] {
        assert_eq!(code(developer.get::<Value>(path).await), "access.denied");
    }
}
