//! `envforge ledger`: search the record, take it out, and check it without the product.

use crate::args::{LedgerList, LedgerVerb, LedgerVerify, Moment};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::ambient::SystemClock;
use envforge_api::client::CallError;
use envforge_api::http::ledger::{LedgerEvents, LedgerState};
use envforge_core::clock::Clock as _;
use envforge_core::ledger::{ExportError, LINE_MAX, Trust, Verified, Verifier};
use envforge_core::refusal::Refusal;
use envforge_core::token::PublicKey;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

/// Runs a verb.
pub(crate) async fn ledger(ctx: &mut Context<'_>, verb: LedgerVerb) -> Result<ExitCode, Refusal> {
    match verb {
        LedgerVerb::List(list) => search(ctx, &list).await,
        LedgerVerb::State { installation } => state(ctx, installation).await,
        LedgerVerb::Export { file, installation } => export(ctx, &file, installation).await,
        LedgerVerb::Verify(arguments) => verify(ctx, &arguments),
    }
}

/// Path of the org's ledger, or the installation's.
async fn path(ctx: &Context<'_>, installation: bool, rest: &str) -> Result<String, Refusal> {
    if installation {
        return Ok(format!("/v1/installation/ledger{rest}"));
    }
    ctx.org_path(&format!("/ledger{rest}")).await
}

async fn search(ctx: &Context<'_>, list: &LedgerList) -> Result<ExitCode, Refusal> {
    let now = SystemClock.now();
    let time = |moment: Option<Moment>| moment.map(|moment| moment.instant(now).to_string());
    let mut query = format!("?limit={}&order={}", list.limit, if list.oldest { "oldest" } else { "newest" });
    let filters = [
        ("actor", list.actor.clone()),
        ("verb", list.verb.clone()),
        ("subject", list.subject.clone()),
        ("since", time(list.since)),
        ("until", time(list.until)),
        ("cursor", list.cursor.clone()),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            let _ = write!(query, "&{name}={}", segment(&value));
        }
    }
    let found: LedgerEvents = ctx.get(&path(ctx, false, &query).await?).await?;
    ctx.printer.answer(&found, || {
        if found.events.is_empty() {
            return "no events".to_owned();
        }
        let row = |listed: &envforge_api::http::ledger::ListedEvent| {
            let event = &listed.event;
            let texts = [&event.actor, &event.verb, &event.subject, &event.cause].map(|text| printable(text));
            [render::time(event.at)].into_iter().chain(texts).collect()
        };
        render::table(&["TIME", "ACTOR", "VERB", "SUBJECT", "CAUSE"], &found.events.iter().map(row).collect::<Vec<_>>())
    });
    if let Some(next) = &found.next {
        ctx.printer.note(&format!("there are more: --cursor {next}"));
    }
    Ok(ExitCode::Ok)
}

async fn state(ctx: &Context<'_>, installation: bool) -> Result<ExitCode, Refusal> {
    let state: LedgerState = ctx.get(&path(ctx, installation, "/state").await?).await?;
    ctx.printer.answer(&state, || state_text(&state));
    Ok(if state.broken.is_some() { ExitCode::Failed } else { ExitCode::Ok })
}

fn state_text(state: &LedgerState) -> String {
    let never = || "not yet".to_owned();
    let mut text = format!("{} events\n  head      {}", state.head.position, state.head.hash);
    let signed = state.checkpoint.as_ref().map_or_else(never, |checkpoint| render::time(checkpoint.at));
    let _ = write!(text, "\n  signed    {signed}\n  key       {}", state.key.key);
    let at = state.verified_at.map_or_else(never, render::time);
    let _ = write!(text, "\n  verified  up to position {}, {at}", state.verified_position);
    let _ = write!(text, "\n  whole     {}", state.whole_at.map_or_else(never, render::time));
    if let Some(anchor) = &state.anchor {
        let (position, before) = (anchor.position, render::time(anchor.before));
        let _ = write!(text, "\n  pruned    up to position {position}, older than {before}");
    }
    if let Some(broken) = &state.broken {
        let (position, at) = (broken.position, render::time(broken.at));
        let _ = write!(text, "\n  BROKEN    at position {position}, found {at}: {}", broken.reason);
    }
    text
}

/// Passes an export on as it comes. A file appears once it is whole.
async fn export(ctx: &Context<'_>, file: &Path, installation: bool) -> Result<ExitCode, Refusal> {
    let path = path(ctx, installation, "/export").await?;
    let opening = ctx.client()?.stream(&path);
    let mut response = ctx.printer.slow("exporting", opening).await.map_err(|error| ctx.refusal(error))?;
    let partial = file.with_added_extension("partial");
    let is_stdout = file == Path::new("-");
    let mut target = if is_stdout {
        None
    } else {
        Some(BufWriter::new(fs_err::File::create(&partial).map_err(|error| not_written(&error))?))
    };
    let mut bytes = 0;
    let passing = async {
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                let cause = CallError::from(error);
                Refusal::unavailable("ledger.broken_off", format!("the export broke off: {cause}")).hint("export again")
            })?;
            let Some(chunk) = chunk else { return Ok(()) };
            bytes += chunk.len();
            match &mut target {
                Some(target) => target.write_all(&chunk).map_err(|error| not_written(&error))?,
                None => ctx.printer.raw_out(&chunk),
            }
        }
    };
    let passed: Result<(), Refusal> = ctx.printer.slow("exporting", passing).await;
    if let Some(mut target) = target {
        let written = passed.and_then(|()| {
            target.flush().and_then(|()| fs_err::rename(&partial, file)).map_err(|error| not_written(&error))
        });
        if let Err(refusal) = written {
            let _ = fs_err::remove_file(&partial);
            return Err(refusal);
        }
        ctx.printer.answer(&json!({ "file": file, "bytes": bytes }), || {
            let file = file.display();
            format!("{bytes} bytes written to {file}; `envforge ledger verify {file} --key …` checks them, with the key that `envforge ledger state` shows")
        });
    } else {
        passed?;
    }
    Ok(ExitCode::Ok)
}

fn not_written(error: &io::Error) -> Refusal {
    Refusal::invalid("ledger.not_written", error.to_string())
}

fn verify(ctx: &Context<'_>, arguments: &LedgerVerify) -> Result<ExitCode, Refusal> {
    let trust = if arguments.trust_its_key {
        Trust::Export
    } else {
        let key = |text: &String| {
            PublicKey::from_text(text).ok_or_else(|| {
                Refusal::invalid("ledger.bad_key", format!("`{text}` is not a public key"))
                    .hint("`envforge ledger state` shows the server's")
            })
        };
        Trust::Keys(arguments.key.iter().map(key).collect::<Result<_, _>>()?)
    };
    let file = &arguments.file;
    let read = if file == Path::new("-") {
        read(io::stdin().lock(), trust)
    } else {
        fs_err::File::open(file).and_then(|file| read(BufReader::with_capacity(1 << 18, file), trust))
    };
    match read.map_err(|error| Refusal::invalid("ledger.unreadable", error.to_string()))? {
        Ok(verified) => {
            tell(ctx, &verified, arguments.trust_its_key);
            Ok(ExitCode::Ok)
        }
        Err(error) => {
            let (line, cause, fix) = (error.line, error.fault.to_string(), error.fix());
            ctx.printer.answer(&json!({ "verified": false, "line": line, "cause": cause, "fix": fix }), || {
                format!("does not verify: line {line}: {cause}\n  {fix}")
            });
            Ok(ExitCode::Failed)
        }
    }
}

/// Line by line, and never more than one in memory.
fn read(mut source: impl BufRead, trust: Trust) -> io::Result<Result<Verified, ExportError>> {
    let mut verifier = Verifier::new(trust);
    let mut line = Vec::new();
    loop {
        line.clear();
        // With its newline, and a byte that tells a line that is too long.
        if source.by_ref().take(LINE_MAX as u64 + 2).read_until(b'\n', &mut line)? == 0 {
            return Ok(verifier.finish());
        }
        if let Err(error) = verifier.line(line.strip_suffix(b"\n").unwrap_or(&line)) {
            return Ok(Err(error));
        }
    }
}

fn tell(ctx: &Context<'_>, verified: &Verified, trusts_export: bool) {
    let Verified { org, events, head, at, key, anchor } = verified;
    let pruned = anchor
        .as_ref()
        .map(|anchor| json!({ "position": anchor.position, "before": anchor.before, "kept": anchor.kept }));
    let answer = json!({
        "verified": true, "org": org, "events": events, "position": head.position, "hash": head.hash, "at": at,
        "key": key.key, "key_from": if trusts_export { "export" } else { "given" }, "pruned": pruned,
    });
    ctx.printer.answer(&answer, || {
        let whose = org.map_or_else(|| "the installation".to_owned(), |org| org.to_string());
        let mut text = format!(
            "verified: {events} events of {whose}, none missing, changed or reordered\n  checkpoint  position {} of {}\n  head        {}\n  signed by   {}",
            head.position,
            render::time(*at),
            head.hash,
            key.key
        );
        if trusts_export {
            text.push_str("\n              this key came with the export: it proves that the file is whole, not who made it");
        }
        if let Some(anchor) = anchor {
            let _ = write!(
                text,
                "\n  pruned      positions up to {}, all older than {}; {} events of the meter among them are kept",
                anchor.position,
                render::time(anchor.before),
                anchor.kept
            );
        }
        text
    });
}
