//! Dump and restore, as streams whose end is told.

use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::fault::Answer;
use crate::platform::fd::FdStream;
use crate::platform::http::auth::Permit;
use crate::streams::ops::{self as streams, Opened, Wanted};
use crate::workspaces::store::Row;
use envforge_api::uplink::Open;
use envforge_api::uplink::transfer::{self, Piece, Pieces};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::ticket::TicketKind;
use futures_util::{Stream, StreamExt as _};
use serde_json::json;
use std::io;

/// A dump on its way.
pub struct Dump {
    /// The workspace.
    pub row: Row,
    stream: FdStream,
    pieces: Pieces,
    /// What came first.
    first: Option<Vec<u8>>,
}

async fn opened(app: &App, permit: &Permit, slug: &Slug, open: Open) -> Answer<(Row, Opened)> {
    let (row, generation) = streams::usable(app, permit, slug).await?;
    let opened = streams::open(app, &row, generation, Wanted::of(TicketKind::Database, ""), open).await?;
    Ok((row, opened))
}

async fn noted(app: &App, permit: &Permit, verb: &'static str, row: &Row, bytes: Option<u64>) -> Answer<()> {
    let mut tx = app.db.begin(permit.scope).await?;
    let actor = permit.actor();
    let entry = Entry::new(&actor, verb, row.id, row.slug.as_str()).details(json!({ "bytes": bytes }));
    ledger::record(app, &mut tx, entry).await?;
    tx.commit().await
}

/// Begins a dump; what stands in its way is told before anything of it is.
pub async fn dump(app: &App, permit: &Permit, slug: &Slug) -> Answer<Dump> {
    let (row, Opened { stream, .. }) = opened(app, permit, slug, Open::DatabaseDump).await?;
    let mut dump = Dump { row, stream, pieces: Pieces::default(), first: None };
    dump.first = dump.next().await?;
    noted(app, permit, "database.dumped", &dump.row, None).await?;
    Ok(dump)
}

impl Dump {
    /// The next of it; nothing at its end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match piece(&self.stream, &mut self.pieces).await.map_err(|error| cut_off(&error))? {
            Piece::Data(bytes) => Ok(Some(bytes)),
            Piece::End(result) => result.map(|()| None),
        }
    }

    /// What is left of it, which ends with an error unless it is whole; also once the right to it is `lost`.
    pub fn bytes(self, lost: impl Future<Output = ()> + Send) -> impl Stream<Item = Result<Vec<u8>, Refusal>> {
        futures_util::stream::try_unfold((self, Box::pin(lost)), |(mut dump, mut lost)| async move {
            let next = tokio::select! {
                biased;
                () = &mut lost => return Err(not_any_more()),
                next = dump.next() => next?,
            };
            Ok(next.map(|bytes| (bytes, (dump, lost))))
        })
    }
}

fn not_any_more() -> Refusal {
    Refusal::conflict("dump.lost", "you may not have this workspace's database any more")
}

/// Restores what comes; how many bytes it was.
pub async fn restore<B, E>(
    app: &App,
    permit: &Permit,
    slug: &Slug,
    mut body: impl Stream<Item = Result<B, E>> + Unpin,
) -> Answer<u64>
where
    B: AsRef<[u8]>,
    E: std::fmt::Display,
{
    let (row, Opened { stream, .. }) = opened(app, permit, slug, Open::DatabaseRestore).await?;
    let mut bytes = 0;
    let mut sending = Box::pin(async {
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else {
                let refusal = Refusal::unavailable("restore.cut_off", "its sender broke off");
                return stream.write_all(&transfer::end(&Err(refusal))).await;
            };
            bytes += chunk.as_ref().len() as u64;
            stream.write_all(&transfer::data(chunk.as_ref())).await?;
        }
        stream.write_all(&transfer::end(&Ok(()))).await
    });
    let mut pieces = Pieces::default();
    let mut hearing = Box::pin(piece(&stream, &mut pieces));
    // The host has the last word, also on what it did not want to hear to its end.
    let both = async {
        tokio::select! {
            heard = &mut hearing => heard,
            _ = &mut sending => hearing.await,
        }
    };
    let heard = tokio::select! {
        heard = both => heard,
        () = streams::until_lost(app, permit, row.id, app.bus.listen()) => return Err(not_any_more().into()),
    };
    drop(sending);
    match heard.map_err(|error| cut_off(&error))? {
        Piece::End(Ok(())) => {}
        Piece::End(Err(refusal)) => return Err(refusal.into()),
        Piece::Data(_) => return Err(cut_off(&io::Error::other("the host said what makes no sense")).into()),
    }
    noted(app, permit, "database.restored", &row, Some(bytes)).await?;
    Ok(bytes)
}

/// The next piece a host says.
async fn piece(stream: &FdStream, pieces: &mut Pieces) -> io::Result<Piece> {
    let mut buffer = vec![0; transfer::PIECE_MAX];
    loop {
        if let Some(piece) = pieces.take()? {
            return Ok(piece);
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => pieces.push(&buffer[..length]),
        }
    }
}

fn cut_off(error: &io::Error) -> Refusal {
    Refusal::unavailable("dump.cut_off", format!("the workspace's host broke off: {error}")).hint("try again")
}
