//! Databases as files: whole, broken off, refused.

use crate::support::{TestServer, raw};
use crate::terminals::uplink;
use envforge_api::uplink::Open;
use envforge_api::uplink::transfer::{self, PIECE_MAX, Piece, Pieces};
use envforge_core::access::Role;
use envforge_core::refusal::Refusal;
use envforge_testkit::wait_until;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the host is to do with the next stream.
#[derive(Clone, Copy, PartialEq)]
enum Host {
    Whole,
    BreaksOff,
    Refuses,
}

/// What a host hears of a dump: bytes, and how it ended.
type Heard = Arc<Mutex<Vec<(Vec<u8>, Option<bool>)>>>;

fn asleep() -> Refusal {
    Refusal::conflict("dump.asleep", "the runtime is asleep").hint("wake it")
}

fn take(mut socket: UnixStream, does: Host, heard: &Heard) {
    let (mut pieces, mut bytes, mut buffer) = (Pieces::default(), Vec::new(), vec![0; PIECE_MAX]);
    let ended = loop {
        match pieces.take().unwrap() {
            Some(Piece::Data(data)) => bytes.extend(data),
            Some(Piece::End(result)) => break Some(result.is_ok()),
            None => match socket.read(&mut buffer).unwrap() {
                0 => break None,
                length => pieces.push(&buffer[..length]),
            },
        }
    };
    heard.lock().unwrap().push((bytes, ended));
    let result = if ended == Some(true) && does == Host::Whole { Ok(()) } else { Err(asleep()) };
    drop(socket.write_all(&transfer::end(&result)));
}

// proves RUN-6
#[tokio::test]
async fn dumps_pass_through_and_say_whether_they_are_whole() {
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let (does, heard) = (Arc::new(Mutex::new(Host::Whole)), Heard::default());
    let (next, hears) = (Arc::clone(&does), Arc::clone(&heard));
    let opens = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&opens);
    uplink(&server, &host, move |_, open| {
        let (mut mine, theirs) = UnixStream::pair().unwrap();
        opened.fetch_add(1, Ordering::SeqCst);
        let (does, hears) = (*next.lock().unwrap(), Arc::clone(&hears));
        std::thread::spawn(move || {
            if open == Open::DatabaseRestore {
                return take(mine, does, &hears);
            }
            if does != Host::Refuses {
                mine.write_all(&transfer::data(b"PGDMP and more")).unwrap();
            }
            if does != Host::BreaksOff {
                let result = if does == Host::Whole { Ok(()) } else { Err(asleep()) };
                mine.write_all(&transfer::end(&result)).unwrap();
            }
        });
        Ok(theirs.into())
    });
    let url = format!("http://{}/v1/orgs/acme/workspaces/main/database", server.server.local_addr);
    let key = server.owner.key().unwrap().expose().to_owned();
    let dump = async || raw().get(format!("{url}/dump")).bearer_auth(&key).send().await;
    let restore = async |body: reqwest::Body| {
        raw().post(format!("{url}/restore")).bearer_auth(&key).body(body).send().await.unwrap()
    };
    assert_eq!(dump().await.unwrap().bytes().await.unwrap(), "PGDMP and more");
    // More than any other body may have.
    let long = vec![b'x'; 1 << 20];
    let restored = restore(long.clone().into()).await;
    assert_eq!((restored.status().as_u16(), restored.text().await.unwrap()), (200, "{\"bytes\":1048576}".to_owned()));
    assert!(*heard.lock().unwrap() == [(long.clone(), Some(true))]);

    *does.lock().unwrap() = Host::BreaksOff;
    let half = async { dump().await?.bytes().await };
    assert!(half.await.is_err(), "half a dump looks like no whole one");

    *does.lock().unwrap() = Host::Refuses;
    for answer in [dump().await.unwrap(), restore(long.into()).await] {
        assert_eq!(answer.status(), 409);
        let body = answer.text().await.unwrap();
        assert!(body.contains("dump.asleep") && body.contains("wake it"), "{body}");
    }
    let mut cut = std::net::TcpStream::connect(server.server.local_addr).unwrap();
    let head = format!(
        "POST /v1/orgs/acme/workspaces/main/database/restore HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\
         content-length: 100\r\n\r\nPGDMP",
        server.server.local_addr
    );
    cut.write_all(head.as_bytes()).unwrap();
    wait_until("the restore begins", async || opens.load(Ordering::SeqCst) == 6).await;
    drop(cut);
    wait_until("the host heard of it", async || heard.lock().unwrap().len() == 3).await;
    assert_ne!(heard.lock().unwrap()[2].1, Some(true), "what broke off is not told to be whole");
    assert_eq!((server.events("database.dumped").await, server.events("database.restored").await), (2, 1));

    let reviewer = server.member("acme", Role::Reviewer).await;
    let key = reviewer.key().unwrap().expose();
    assert_eq!(raw().get(format!("{url}/dump")).bearer_auth(key).send().await.unwrap().status(), 403);
}
