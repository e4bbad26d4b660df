//! `envforge database`: the workspace's database as a file; queries are a console's.

use crate::args::DatabaseVerb;
use crate::ask;
use crate::commands::consoles;
use crate::context::Context;
use crate::exit::ExitCode;
use envforge_api::client::CallError;
use envforge_api::http::databases::Restored;
use envforge_core::refusal::Refusal;
use serde_json::json;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

/// Runs a verb.
pub(crate) async fn database(ctx: &mut Context<'_>, verb: DatabaseVerb) -> Result<ExitCode, Refusal> {
    match verb {
        DatabaseVerb::Query { query, limit } => consoles::query(ctx, query, limit).await,
        DatabaseVerb::Dump { output } => dump(ctx, output.as_deref()).await,
        DatabaseVerb::Restore { file, yes } => restore(ctx, &file, yes).await,
    }
}

/// Passes a dump on as it comes. A file appears once it is whole, and is its owner's alone.
async fn dump(ctx: &Context<'_>, output: Option<&Path>) -> Result<ExitCode, Refusal> {
    if output.is_none() && (ctx.printer.is_json() || io::stdout().is_terminal()) {
        return Err(Refusal::invalid("dump.no_file", "a dump is not for a terminal, and no JSON")
            .hint("say where to with `-o FILE`, or send stdout somewhere"));
    }
    let slug = ctx.workspace(None)?;
    let path = ctx.workspace_path(&slug, "/database/dump").await?;
    let opening = ctx.client()?.stream(&path);
    let mut response = ctx.printer.slow("dumping", opening).await.map_err(|error| ctx.refusal(error))?;
    let partial = output.map(|file| file.with_added_extension("partial"));
    let mut target = partial.as_deref().map(create).transpose()?;
    let mut bytes = 0_u64;
    let passing = async {
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                let cause = CallError::from(error);
                Refusal::unavailable("dump.cut_off", format!("the dump broke off: {cause}")).hint("dump again")
            })?;
            let Some(chunk) = chunk else { return Ok(()) };
            bytes += chunk.len() as u64;
            match &mut target {
                Some(target) => target.write_all(&chunk).map_err(|error| not_written(&error))?,
                None => ctx.printer.raw_out(&chunk),
            }
        }
    };
    let passed: Result<(), Refusal> = ctx.printer.slow("dumping", passing).await;
    let (Some(file), Some(partial)) = (output, partial) else {
        return passed.map(|()| ExitCode::Ok);
    };
    if let Err(refusal) = passed.and_then(|()| fs_err::rename(&partial, file).map_err(|error| not_written(&error))) {
        let _ = fs_err::remove_file(&partial);
        return Err(refusal);
    }
    ctx.printer
        .answer(&json!({ "file": file, "bytes": bytes }), || format!("{bytes} bytes written to {}", file.display()));
    Ok(ExitCode::Ok)
}

/// A dump holds what the database does: nobody else may read it.
fn create(partial: &Path) -> Result<fs_err::File, Refusal> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(partial).map_err(|error| not_written(&error))
}

fn not_written(error: &io::Error) -> Refusal {
    Refusal::invalid("dump.not_written", error.to_string())
}

async fn restore(ctx: &Context<'_>, file: &Path, yes: bool) -> Result<ExitCode, Refusal> {
    let dump = fs_err::File::open(file).map_err(|error| Refusal::invalid("restore.unreadable", error.to_string()))?;
    let slug = ctx.workspace(None)?;
    if !yes {
        if !ctx.printer.is_interactive() {
            let message = format!("what is in the database of {slug} is replaced, and nobody can be asked here");
            return Err(Refusal::invalid("restore.unconfirmed", message).hint("`--yes` restores without asking"));
        }
        if !ask::confirm(&format!("Replace all that is in the database of {slug}?"))? {
            return Err(Refusal::conflict("asked.cancelled", "cancelled"));
        }
    }
    let path = ctx.workspace_path(&slug, "/database/restore").await?;
    let sending = ctx.client()?.upload(&path, dump.into_parts().0);
    let restored: Restored = ctx.printer.slow("restoring", sending).await.map_err(|error| ctx.refusal(error))?;
    ctx.printer.answer(&restored, || format!("the database of {slug} is what {} holds", file.display()));
    Ok(ExitCode::Ok)
}
