//! How many sessions are kept without a connection, of all together.

use super::*;
use envforge_core::id::{ApiKeyId, Id as _};
use uuid::Uuid;

/// A session of one of many users, with nobody at its other end.
fn session(sessions: &Sessions, number: usize, user: u128) -> Arc<Session> {
    let (ours, _) = std::os::unix::net::UnixStream::pair().expect("sockets");
    let some = Uuid::from_u128;
    let session = Arc::new(Session {
        stream: FdStream::new(ours.into()).expect("a stream"),
        bound: Bound {
            user: UserId::from_uuid(some(user)),
            credential: CredentialId::Key(ApiKeyId::from_uuid(some(user))),
            org: OrgId::from_uuid(some(1)),
            workspace: WorkspaceId::from_uuid(some(1)),
            terminal: TerminalName::default(),
        },
        digest: number.to_string(),
        flow: Mutex::new(Flow { output: Sent::new(OUTPUT_MAX), input: Received::default(), detached: None }),
        stirred: Notify::new(),
        holder: Mutex::new(CancellationToken::new()),
        turn: Arc::default(),
        ended: CancellationToken::new(),
    });
    lock(&sessions.0).sessions.insert(session.digest.clone(), Arc::clone(&session));
    session
}

// proves UP-3
#[tokio::test]
async fn the_sessions_of_all_have_a_bound_and_the_oldest_makes_room() {
    let (sessions, now) = (Sessions::default(), Timestamp::UNIX_EPOCH);
    let users = DETACHED_MAX / DETACHED_PER_USER + 1;
    // Nobody has too many.
    let all: Vec<_> = (0..DETACHED_MAX)
        .map(|number| {
            let session = session(&sessions, number, (number % users) as u128);
            sessions.detach(&session, now);
            session
        })
        .collect();
    let connected = session(&sessions, DETACHED_MAX, 0);
    assert_eq!(sessions.detached(), DETACHED_MAX);
    assert!(all.iter().all(|session| !session.is_over(now)));

    // Who came back in between has the place of who lost their connection last.
    all[0].resume(0).expect("nothing was sent yet");
    sessions.detach(&all[0], now);
    let one_more = session(&sessions, DETACHED_MAX + 1, users as u128);
    sessions.detach(&one_more, now);
    let over =
        |session: &Arc<Session>| session.is_over(now) && !lock(&sessions.0).sessions.contains_key(&session.digest);
    let ended: Vec<_> = (0..DETACHED_MAX).filter(|number| over(&all[*number])).collect();
    assert_eq!(ended, [1], "the oldest, whoever has it");
    assert_eq!(sessions.detached(), DETACHED_MAX);
    assert!(!over(&one_more) && !over(&connected), "one with a connection is not counted");
}
