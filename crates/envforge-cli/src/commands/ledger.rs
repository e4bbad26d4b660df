//! `envforge ledger`: take the record out, and check it without the product.

use crate::args::LedgerVerb;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::usage::LedgerExport;
use envforge_core::ledger;
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::token::{Keyring, PublicKey};
use serde_json::json;
use std::io::Read as _;
use std::path::Path;

/// Exports or verifies.
pub(crate) async fn ledger(ctx: &mut Context<'_>, verb: LedgerVerb) -> Result<ExitCode, Refusal> {
    match verb {
        LedgerVerb::Export { output } => {
            let path = ctx.org_path("/ledger").await?;
            let export: LedgerExport = ctx.printer.slow("exporting", ctx.get(&path)).await?;
            let Some(file) = output else {
                ctx.printer.value(&export);
                return Ok(ExitCode::Ok);
            };
            let bytes = serde_json::to_vec(&export).expect("an export is plain data");
            fs_err::write(&file, bytes).map_err(|error| Refusal::invalid("ledger.not_written", error.to_string()))?;
            let position = export.checkpoint.position;
            ctx.printer.answer(&json!({ "file": file, "events": export.events.len(), "position": position }), || {
                format!(
                    "{} events written to {}; `envforge ledger verify {0}` checks them",
                    export.events.len(),
                    file.display()
                )
            });
            Ok(ExitCode::Ok)
        }
        LedgerVerb::Verify { file, key } => verify(ctx, &file, key.as_deref()),
    }
}

/// Recomputes a chain. The keys travel in the export, so they prove that it is whole and signed by their holder;
/// whose they are is for the reader to compare, or to pin with `--key`.
fn verify(ctx: &Context<'_>, file: &Path, pinned: Option<&str>) -> Result<ExitCode, Refusal> {
    let bytes = read(file).map_err(|error| Refusal::invalid("ledger.unreadable", error.to_string()))?;
    let export: LedgerExport = serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::invalid("ledger.unreadable", format!("{} is not an export: {error}", file.display()))
            .hint("`envforge ledger export -o FILE` makes one")
    })?;
    let keys: Vec<PublicKey> =
        export.keys.iter().filter(|key| pinned.is_none_or(|pinned| key.key == pinned)).cloned().collect();
    if keys.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Conflict,
            "ledger.other_key",
            "the export is not signed by the key given",
        )
        .hint("compare the key with the one noted at an earlier export"));
    }
    let checkpoint = &export.checkpoint;
    let signer = keys.iter().find(|key| key.id == checkpoint.key).map(|key| key.key.clone());
    match ledger::verify(&export.events, checkpoint, &Keyring::new(&keys)) {
        Ok(events) => {
            let answer = json!({
                "verified": true, "events": events, "position": checkpoint.position, "hash": checkpoint.hash,
                "at": checkpoint.at, "key": signer,
            });
            ctx.printer.answer(&answer, || {
                let signer = signer.as_deref().unwrap_or(&checkpoint.key);
                format!(
                    "verified: {events} events, none missing, changed or reordered\n  checkpoint  position {} of {}\n  head        {}\n  signed by   {signer}",
                    checkpoint.position,
                    render::time(checkpoint.at),
                    checkpoint.hash
                )
            });
            Ok(ExitCode::Ok)
        }
        Err(error) => {
            ctx.printer.answer(&json!({ "verified": false, "cause": error.to_string() }), || {
                format!("does not verify: {error}")
            });
            Ok(ExitCode::Failed)
        }
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    fs_err::read(file)
}
