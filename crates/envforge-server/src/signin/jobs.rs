//! Links are handed to the mail server; what was not finished in time is forgotten, and refused sign-ins are told to the
//! ledger, summed up.

use super::{ops, store};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::fault::Answer;
use crate::platform::jobs::{Job, JobContext, JobError};
use envforge_core::id::MagicLinkId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// How often.
const ROUND: Duration = Duration::from_mins(1);

/// Refused sign-ins by way (a provider's name, or `mail`) and cause, since the ledger was told last.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Refusals {
    /// Counts one. Ways are names of configured providers, causes a fixed few, so this can't grow.
    pub fn count(&self, way: &str, cause: &'static str) {
        let mut counts = self.0.lock().expect("no panic while the counts are held");
        *counts.entry((way.to_owned(), cause)).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<(String, &'static str), u64> {
        std::mem::take(&mut *self.0.lock().expect("no panic while the counts are held"))
    }

    fn put_back(&self, taken: BTreeMap<(String, &'static str), u64>) {
        let mut counts = self.0.lock().expect("no panic while the counts are held");
        for (key, count) in taken {
            *counts.entry(key).or_default() += count;
        }
    }
}

/// Sends a link to its address. Twice, if the server dies between the mail server's answer and the note of it: whichever
/// is opened first, it works once.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendLink {
    /// Which.
    pub link: MagicLinkId,
}

impl Job for SendLink {
    const KIND: &'static str = "sign_in_link.send";
    const IS_KEPT: bool = false;
    const TIME_LIMIT: Duration = Duration::from_mins(2);

    async fn run(self, app: App, _ctx: JobContext) -> Result<(), JobError> {
        Ok(ops::send_link(&app, self.link).await?)
    }
}

/// Goes round for ever.
pub async fn run(app: App) {
    let mut tick = tokio::time::interval(ROUND);
    loop {
        tick.tick().await;
        if let Err(fault) = round(&app).await {
            tracing::warn!(%fault, "unfinished sign-ins could not be looked after now, it will be tried again");
        }
    }
}

/// One round. May run twice.
pub async fn round(app: &App) -> Answer<()> {
    store::delete_expired(&app.db, app.now()).await?;
    let taken = app.refusals.take();
    if taken.is_empty() {
        return Ok(());
    }
    let told = tell(app, &taken).await;
    if told.is_err() {
        app.refusals.put_back(taken);
    }
    told
}

async fn tell(app: &App, counts: &BTreeMap<(String, &'static str), u64>) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    for ((way, cause), count) in counts {
        let entry = Entry::new("system:sign_in", "sign_in.refused", way, cause).details(json!({ "count": count }));
        ledger::record(app, &mut tx, entry).await?;
    }
    tx.commit().await
}
