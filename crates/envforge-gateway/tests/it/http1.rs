//! HTTP/1.1 as it is on the wire: how messages are framed, kept apart, and refused.

use crate::support::scripted::{Do, say, soon};
use crate::support::{Plan, World};
use envforge_gateway::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const END: &str = "\r\n\r\n";

// proves LINK-3
#[tokio::test]
async fn requests_sent_at_once_are_answered_in_turn() {
    let world = World::awake().await;
    let (one, two) = (world.head("GET /one HTTP/1.1", ""), world.head("GET /two HTTP/1.1", "connection: close\r\n"));
    let answers = world.raw(&format!("{one}\r\n{two}\r\n"), |_| false).await;
    let (first, second) = (answers.find("web:GET:/one:"), answers.find("web:GET:/two:"));
    assert!(first.is_some() && first < second, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
}

// proves LINK-3
#[tokio::test]
async fn an_old_client_gets_what_it_can_read() {
    let world = World::awake().await;
    world
        .scripted(vec![
            Do::Until(END),
            say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ])
        .await;
    let answer = world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.0", "")), |_| false).await;
    assert!(answer.ends_with("\r\n\r\nabc") && answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains("chunked"));
    world.scripted(vec![Do::Until(END), say("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")]).await;
    let head = world.head("GET / HTTP/1.0", "connection: keep-alive\r\n");
    let answer = world.raw(&format!("{head}\r\n"), |got| got.ends_with("abc")).await;
    assert!(answer.contains("connection: keep-alive"), "{answer}");
}

// proves LINK-3
#[tokio::test]
async fn what_ends_with_its_connection_is_passed_on_in_chunks() {
    let world = World::awake().await;
    world.scripted(vec![Do::Until(END), say("HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nto the end")]).await;
    let answer =
        world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.1", "")), |got| got.ends_with("0\r\n\r\n")).await;
    assert!(answer.contains("transfer-encoding: chunked") && answer.contains("a\r\nto the end\r\n"), "{answer}");
}

// proves LINK-3
#[tokio::test]
async fn trailers_reach_who_takes_them() {
    let world = World::awake().await;
    let chunks =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\n\r\n";
    world.scripted(vec![Do::Until(END), say(chunks)]).await;
    let head = world.head("GET / HTTP/1.1", "te: trailers\r\n");
    let with = world.raw(&format!("{head}\r\n"), |got| got.contains("x-sum: 7\r\n\r\n")).await;
    assert!(with.contains("0\r\nx-sum: 7\r\n\r\n"));
    let without =
        world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.1", "")), |got| got.ends_with("0\r\n\r\n")).await;
    assert!(!without.contains("x-sum: 7"), "{without}");
}

// proves LINK-3
#[tokio::test]
async fn hints_come_before_the_answer() {
    let world = World::awake().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nset-cookie: envforge-session=stolen\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    world.scripted(vec![Do::Until(END), say("HTTP/1.1 100 Continue\r\n\r\n"), say(hint), say(answer)]).await;
    let got = world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.1", "")), |got| got.ends_with("ok")).await;
    assert!(
        got.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"),
        "{got}"
    );
    let old = world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.0", "")), |got| got.ends_with("ok")).await;
    assert!(old.starts_with("HTTP/1.1 200 OK"), "{old}");
}

// proves LINK-3
#[tokio::test]
async fn a_client_that_waits_for_a_word_gets_it_when_its_body_is_wanted() {
    let world = World::awake().await;
    let mut stream = world.connect().await;
    let head = world.head("POST /upload HTTP/1.1", "expect: 100-continue\r\ncontent-length: 3\r\n");
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("written");
    let mut word = [0; 25];
    soon("the word", stream.read_exact(&mut word)).await.expect("a word");
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.expect("written");
    let mut answer = vec![0; 1024];
    let length = soon("the answer", stream.read(&mut answer)).await.expect("an answer");
    assert!(String::from_utf8_lossy(&answer[..length]).starts_with("HTTP/1.1 200 OK"));
    // Without a session nobody wants it.
    let stranger =
        "POST / HTTP/1.1\r\nhost: web--fix--acme.localhost\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let refused = world.raw(stranger, |got| got.contains(END)).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
}

// proves LINK-3
#[tokio::test]
async fn a_service_may_answer_before_it_has_read_everything() {
    let world = World::awake().await;
    world.scripted(vec![Do::Until(END), say("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno")]).await;
    let mut stream = world.connect().await;
    let head = world.head("POST /upload HTTP/1.1", "content-length: 50000000\r\n");
    stream.write_all(format!("{head}\r\nbegin").as_bytes()).await.expect("written");
    let mut got = Vec::new();
    while !got.ends_with(b"no") {
        let mut bytes = [0; 1024];
        let length = soon("the answer", stream.read(&mut bytes)).await.expect("no reset before the answer");
        assert!(length > 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&bytes[..length]);
    }
    assert!(String::from_utf8_lossy(&got).starts_with("HTTP/1.1 413"));
}

// proves LINK-6
#[tokio::test]
async fn a_body_that_can_be_read_in_two_ways_is_refused_in_its_middle() {
    let world = World::awake().await;
    let read = world.scripted(vec![Do::Until("never")]).await;
    let head = world.head("POST / HTTP/1.1", "transfer-encoding: chunked\r\n");
    let answer = world.raw(&format!("{head}\r\n3\r\nabc\nGET /smuggled HTTP/1.1\r\n\r\n"), |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("request.malformed"), "{answer}");
    assert!(!read.text().contains("smuggled"));
}

// proves LINK-6
#[tokio::test]
async fn a_service_that_answers_in_two_ways_is_not_believed() {
    let world = World::awake().await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nx: a\nset-cookie: b=c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ] {
        world.scripted(vec![Do::Until(END), say(answer)]).await;
        let got = world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.1", "")), |got| got.contains("\r\n\r\n")).await;
        assert!(got.starts_with("HTTP/1.1 502"), "{answer:?}: {got}");
    }
}

#[tokio::test]
async fn a_body_cut_short_is_not_taken_for_whole() {
    let world = World::awake().await;
    world.scripted(vec![Do::Until(END), say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")]).await;
    let got = world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.1", "")), |_| false).await;
    assert!(got.contains("content-length: 100") && got.ends_with("part"), "{got}");
    world.scripted(vec![Do::Until(END), say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab")]).await;
    let got = world.raw(&format!("{}\r\n", world.head("GET / HTTP/1.1", "")), |_| false).await;
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
}

// proves LINK-6
#[tokio::test]
async fn heads_have_limits_in_size_number_and_time() {
    let world = World::awake().await;
    let large = format!("{}x: {}\r\n\r\n", world.head("GET / HTTP/1.1", ""), "y".repeat(70_000));
    assert!(world.raw(&large, |got| got.contains(END)).await.starts_with("HTTP/1.1 431"));
    let many = format!("{}{}\r\n", world.head("GET / HTTP/1.1", ""), "x: y\r\n".repeat(200));
    assert!(world.raw(&many, |got| got.contains(END)).await.starts_with("HTTP/1.1 431"));
    let other = world.raw("GET / HTTP/3.0\r\nhost: a\r\n\r\n", |got| got.contains(END)).await;
    assert!(other.starts_with("HTTP/1.1 505"), "{other}");
    let limits = Limits { header_time: Duration::from_millis(200), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    assert_eq!(world.raw("GET / HTTP/1.1\r\nhost: a\r\nx: ", |_| false).await, "", "too slow, and hung up on");
    assert_eq!(world.raw("", |_| false).await, "", "silent, and hung up on");
}

// proves LINK-6
#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let head = world.head("POST /upload HTTP/1.1", "content-length: 100\r\n");
    let answer = world.raw(&format!("{head}\r\nbegin"), |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
