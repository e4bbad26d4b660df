//! A descriptor really crosses the socket, and only with a good pass.

use super::*;
use envforge_core::id::{Id as _, OrgId};
use envforge_core::token::Signer;
use std::io::{Read as _, Write as _};

fn pass(signer: &Signer, host: HostId) -> String {
    signer.sign(&HostPass { host, org: OrgId::from_uuid(uuid::Uuid::nil()), expires: i64::from(i32::MAX) })
}

#[tokio::test]
async fn a_stream_is_handed_over_by_descriptor() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("uplink.sock");
    let signer = Signer::from_seed(&[1; 32]);
    let keys = Keyring::new(&[signer.public_key()]);
    let host = HostId::from_uuid(uuid::Uuid::from_u128(5));
    let uplinks = Arc::new(Uplinks::default());
    let server = tokio::spawn({
        let (uplinks, path) = (Arc::clone(&uplinks), path.clone());
        async move { uplinks.serve(&path, move || keys.clone(), || jiff::Timestamp::UNIX_EPOCH, drop).await }
    });
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(uplinks.open(host, "t", Open::Service).await, Err(OpenError::NotConnected)));

    let good = pass(&signer, host);
    let client = tokio::spawn(async move {
        dial(&path, &good, |ticket, open| async move {
            assert_eq!(open, Open::Service);
            if ticket == "no" {
                return Err(Refusal::not_found("test.no", "no"));
            }
            let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
            ours.write_all(ticket.as_bytes()).expect("written");
            Ok(OwnedFd::from(theirs))
        })
        .await
    });
    assert!(uplinks.connected(host, Duration::from_secs(5)).await);
    let fd = uplinks.open(host, "hello", Open::Service).await.expect("opened");
    let mut text = String::new();
    std::os::unix::net::UnixStream::from(fd).read_to_string(&mut text).expect("read");
    assert_eq!(text, "hello");
    assert!(matches!(uplinks.open(host, "no", Open::Service).await, Err(OpenError::Refused(_))));
    client.abort();
    server.abort();
}

#[tokio::test]
async fn a_forged_pass_gets_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("uplink.sock");
    let keys = Keyring::new(&[Signer::from_seed(&[1; 32]).public_key()]);
    let uplinks = Arc::new(Uplinks::default());
    let (heard, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn({
        let (uplinks, path) = (Arc::clone(&uplinks), path.clone());
        let refused = move |error| heard.send(error).expect("heard");
        async move { uplinks.serve(&path, move || keys.clone(), || jiff::Timestamp::UNIX_EPOCH, refused).await }
    });
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    let host = HostId::from_uuid(uuid::Uuid::from_u128(5));
    let forged = pass(&Signer::from_seed(&[2; 32]), host);
    let ended = dial(&path, &forged, |_, _| async { Err(Refusal::not_found("x", "x")) }).await;
    assert!(ended.is_err(), "the other end hangs up");
    assert_eq!(told.recv().await, Some(TokenError::UnknownKey));
    assert!(!uplinks.is_connected(host));
    server.abort();
}

#[tokio::test]
async fn who_comes_before_any_key_is_known_is_told_to_nobody_and_comes_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("uplink.sock");
    let signer = Signer::from_seed(&[1; 32]);
    let known = Arc::new(std::sync::Mutex::new(Keyring::default()));
    let uplinks = Arc::new(Uplinks::default());
    let (heard, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn({
        let (uplinks, path, known) = (Arc::clone(&uplinks), path.clone(), Arc::clone(&known));
        let refused = move |error| heard.send(error).expect("heard");
        let keys = move || known.lock().expect("no panic").clone();
        async move { uplinks.serve(&path, keys, || jiff::Timestamp::UNIX_EPOCH, refused).await }
    });
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    let host = HostId::from_uuid(uuid::Uuid::from_u128(5));
    let open = async |pass: &str| dial(&path, pass, |_, _| async { Err(Refusal::not_found("x", "x")) }).await;
    assert!(open(&pass(&signer, host)).await.is_err(), "the other end hangs up");
    *known.lock().expect("no panic") = Keyring::new(&[signer.public_key()]);
    assert!(told.try_recv().is_err(), "nobody knew any key");
    assert!(open(&pass(&Signer::from_seed(&[2; 32]), host)).await.is_err(), "a stranger");
    assert_eq!(told.recv().await, Some(TokenError::UnknownKey));
    let path = path.clone();
    let pass = pass(&signer, host);
    let client =
        tokio::spawn(async move { dial(&path, &pass, |_, _| async { Err(Refusal::not_found("x", "x")) }).await });
    assert!(uplinks.connected(host, Duration::from_secs(5)).await);
    client.abort();
    server.abort();
}

// proves LINK-2
#[tokio::test]
async fn a_pass_of_a_revoked_key_is_cut_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("uplink.sock");
    let (old, new) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
    let keys = Keyring::new(&[old.public_key(), new.public_key()]);
    let uplinks = Arc::new(Uplinks::default());
    let server = tokio::spawn({
        let (uplinks, path, keys) = (Arc::clone(&uplinks), path.clone(), keys.clone());
        async move { uplinks.serve(&path, move || keys.clone(), || jiff::Timestamp::UNIX_EPOCH, drop).await }
    });
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    let hosts = [5, 6].map(|n| HostId::from_uuid(uuid::Uuid::from_u128(n)));
    let dialled = [(&old, hosts[0]), (&new, hosts[1])].map(|(signer, host)| {
        let (path, pass) = (path.clone(), pass(signer, host));
        tokio::spawn(async move { dial(&path, &pass, |_, _| async { Err(Refusal::not_found("x", "x")) }).await })
    });
    for host in hosts {
        assert!(uplinks.connected(host, Duration::from_secs(5)).await);
    }
    let later = jiff::Timestamp::MAX;
    uplinks.end_unknown(&keys, later);
    uplinks.end_unknown(&Keyring::new(&[new.public_key()]), later);
    let [cut, held] = dialled;
    assert!(cut.await.expect("it ran").is_err(), "the other end hangs up");
    assert!(!uplinks.is_connected(hosts[0]) && uplinks.is_connected(hosts[1]), "the other one only");
    held.abort();
    server.abort();
}

#[test]
fn a_side_from_before_filters_is_understood_and_understands() {
    let without = r#"{"open":"logs","tail":5,"follow":true}"#;
    let open = Open::Logs { tail: 5, follow: true, filter: LogFilter::default() };
    assert_eq!(serde_json::from_str::<Open>(without).expect("it is understood"), open);
    assert_eq!(serde_json::to_string(&open).expect("written"), without);
}
