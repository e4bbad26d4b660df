//! `DESTROY_WORKSPACE`: everything ends, then everything goes.
//!
//! Layers first, which is reported, so that the meter stops; then database, network and files. The journal goes last: as long as
//! it is there, a daemon that died on the way finds it and the command that comes again goes on. What stays is a small stone
//! that answers commands which come again even later.

use super::{Finished, begin, journaled, stop_runtime::clear};
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::faults::point;
use crate::files::{self, Durability};
use crate::journal::Gravestone;
use crate::place::Place;
use crate::removal;
use crate::resources::next;
use crate::trouble::{Blocked, blocked};
use crate::workspace::driver::Driver;
use crate::workspace::layers::Held;
use envforge_api::host::{HostCommand, Outcome};
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(super) fn obey(driver: &mut Driver, command: HostCommand) {
    if !journaled(driver, &command, Durability::Machine, |state| state.rotating = None) {
        return;
    }
    driver.drop_probes();
    driver.runtime.stopping = true;
    let (ctx, place) = (Arc::clone(&driver.ctx), driver.place.clone());
    begin(driver, command, async move {
        let ended = async {
            clear(&ctx, &place, Layer::Elevated).await?;
            clear(&ctx, &place, Layer::Runtime).await?;
            clear(&ctx, &place, Layer::Shell).await
        };
        Finished::Ended(ended.await)
    });
}

pub(super) fn ended(driver: &mut Driver, command: HostCommand, result: Result<(), Blocked>) {
    if let Err(block) = result {
        driver.runtime.stopping = false;
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    driver.let_go(Held::Shell);
    driver.fail_pending_jobs("the workspace was deleted");
    driver.runtime.trouble = None;
    driver.runtime_is_gone("the workspace was deleted");
    let (ctx, place, files) = (Arc::clone(&driver.ctx), driver.place.clone(), driver.view.files());
    begin(driver, command, async move {
        // A copy into it has been told to stop, and writes until it has; one of it is finished first.
        let _alone = files.write().await;
        Finished::Removed(remove(&ctx, &place).await)
    });
    driver.publish();
}

async fn remove(ctx: &HostContext, place: &Place) -> Result<(), Blocked> {
    let failed = |cause: String| {
        blocked("workspace.not_destroyed", cause, "see the host daemon's log, then delete the workspace again")
    };
    ctx.postgres.remove(place, ctx.entropy.as_ref()).await?;
    ctx.engine.remove_network(place).await.map_err(|error| failed(error.to_string()))?;
    let (place, removing) = (place.clone(), ctx.data.removing());
    let removed = tokio::task::spawn_blocking(move || remove_files(&place, &removing)).await;
    ctx.deleted.notify_one();
    removed.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| failed(error.to_string()))
}

/// Everything but the journal. Files themselves are removed behind it.
fn remove_files(place: &Place, removing: &Path) -> io::Result<()> {
    let of = place.workspace.to_string();
    for directory in [
        place.checkout(),
        place.unfinished_checkout(),
        place.home(),
        place.logs(),
        place.data(),
        place.git(),
        place.run(),
    ] {
        removal::take_away(&directory, removing, &of)?;
    }
    for file in [place.bundle(), place.proof(), next(&place.postgres_password()), place.postgres_password()] {
        files::remove_if_there(&file)?;
    }
    point("files.removed");
    Ok(())
}

pub(super) fn removed(driver: &mut Driver, command: &HostCommand, result: Result<(), Blocked>) {
    if let Err(block) = result {
        return driver.answer(command.id, Outcome::Failed(block.into()), Durability::Process);
    }
    driver.state.remember(command.id, Outcome::Done);
    let stone = Gravestone {
        generation: driver.state.generation,
        answered: driver.state.answered.clone(),
        at: driver.ctx.now(),
    };
    let buried = stone.write(&driver.ctx.data, driver.place.workspace, &driver.ctx.disk.spares).and_then(|()| {
        point("stone.written");
        // In one step: of a journal that is half gone, the older file would be taken for the whole.
        let of = driver.place.workspace.to_string();
        removal::take_away(driver.place.root(), &driver.ctx.data.removing(), &of)
    });
    if let Err(error) = buried {
        let block = blocked(
            "workspace.not_destroyed",
            error.to_string(),
            "see the host daemon's log, then delete the workspace again",
        );
        return driver.say_answer(command.id, Outcome::Failed(block.into()));
    }
    point("journal.removed");
    driver.ctx.deleted.notify_one();
    tracing::info!(workspace = %driver.place.workspace, "workspace destroyed");
    driver.abandon();
    driver.say_answer(command.id, Outcome::Done);
}
