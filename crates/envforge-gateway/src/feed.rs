//! The feed: how the gateway learns what changed, and that its server lives.
//!
//! One held response of newline-separated JSON. Its first line is a snapshot that replaces everything; each line after
//! renews the lease. When it breaks, or is silent for some beats, it is asked for again, with growing pauses; until the
//! lease ends, what was known goes on being used. A new snapshot drops all routes, because changes may have been
//! missed in between.

use crate::shared::Shared;
use envforge_api::client::CallError;
use envforge_api::gateway::{BEAT_SECONDS, FeedItem};
use std::sync::Arc;
use std::time::Duration;

/// Pause before the first new try, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Silence after which a feed is given up for dead.
const SILENCE: Duration = Duration::from_secs(BEAT_SECONDS * 4);
/// Longest line; a snapshot names every revoked link and ended session that has not expired.
const LINE_MAX: usize = 16 * 1024 * 1024;

/// Why a feed ended.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("it could not be opened: {0}")]
    Open(#[from] CallError),
    #[error("it broke: {0}")]
    Broken(String),
    #[error("it was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("it said something unknown: {0}")]
    Unknown(#[from] serde_json::Error),
    #[error("it did not begin with a snapshot")]
    NoSnapshot,
    #[error("a line of it is too long")]
    TooLong,
}

/// Listens until all that is under way has ended: until then links are revoked, sessions end and runtimes wake.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pause = PAUSE_MIN;
    let mut told = false;
    loop {
        let mut heard = false;
        let ended = tokio::select! {
            ended = listen(&shared, &mut heard) => ended,
            () = shared.over.cancelled() => return,
        };
        if heard {
            pause = PAUSE_MIN;
            told = false;
        }
        if let Err(error) = ended
            && !told
        {
            told = true;
            tracing::warn!(%error, "feed: lost; the gateway refuses everything once the lease is over");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.over.cancelled() => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn listen(shared: &Arc<Shared>, heard: &mut bool) -> Result<(), FeedError> {
    let opened = tokio::time::timeout(SILENCE, shared.server.stream(&shared.presence.feed())).await;
    let mut response = opened.map_err(|_| FeedError::Silent)??;
    let mut lines: Vec<u8> = Vec::new();
    loop {
        let chunk = tokio::time::timeout(SILENCE, response.chunk()).await.map_err(|_| FeedError::Silent)?;
        let Some(chunk) = chunk.map_err(|error| FeedError::Broken(error.to_string()))? else {
            return Err(FeedError::Broken("the server closed it".to_owned()));
        };
        lines.extend_from_slice(&chunk);
        let mut begin = 0;
        while let Some(length) = lines[begin..].iter().position(|byte| *byte == b'\n') {
            let line = lines[begin..begin + length].trim_ascii();
            begin += length + 1;
            if !line.is_empty() {
                apply(shared, serde_json::from_slice(line)?, heard)?;
            }
        }
        lines.drain(..begin);
        if lines.len() > LINE_MAX {
            return Err(FeedError::TooLong);
        }
    }
}

fn apply(shared: &Arc<Shared>, item: FeedItem, heard: &mut bool) -> Result<(), FeedError> {
    if !*heard && !matches!(item, FeedItem::Snapshot { .. }) {
        return Err(FeedError::NoSnapshot);
    }
    match item {
        FeedItem::Snapshot { keys, revoked, ended } => {
            *heard = true;
            shared.routes.forget();
            shared.sessions.replace(keys, revoked, ended, shared.now());
            shared.uplinks.end_unknown(&shared.sessions.keyring(), shared.now());
        }
        FeedItem::Beat => {}
        FeedItem::Revoked { link } => shared.sessions.revoke(link),
        FeedItem::SessionEnded { session } => shared.sessions.end(session),
        FeedItem::Workspace { workspace, runtime } => shared.routes.apply(workspace, runtime),
    }
    shared.lease.renew();
    Ok(())
}

/// Looks after what ends by time: sessions, the lease, routes, connections at rest.
pub(crate) async fn keep(shared: Arc<Shared>) {
    const EVERY: Duration = Duration::from_millis(250);
    let mut turn: u64 = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shared.over.cancelled() => return,
        }
        turn += 1;
        shared.sessions.expire(shared.now());
        if !shared.lease.holds() {
            shared.sessions.end_open();
        }
        if turn.is_multiple_of(4) {
            shared.routes.sweep(shared.now(), shared.config.limits.upstream_rest);
        }
    }
}
