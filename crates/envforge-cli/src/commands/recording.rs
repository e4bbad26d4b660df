//! `envforge recording`: whether terminals are recorded, and what was.

use crate::args::{OnOff, RecordingVerb};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::recordings::{OrgTerminalPolicy, TerminalRecording, TerminalRecordings};
use envforge_core::refusal::Refusal;

/// The policy, the list, one recording.
pub(crate) async fn recording(ctx: &mut Context<'_>, verb: RecordingVerb) -> Result<ExitCode, Refusal> {
    match verb {
        RecordingVerb::Policy { record } => policy(ctx, record).await,
        RecordingVerb::List => {
            let slug = ctx.workspace(None)?;
            let path = ctx.workspace_path(&slug, "/recordings").await?;
            let all: TerminalRecordings = ctx.get(&path).await?;
            ctx.printer.answer(&all, || list(&all.recordings));
            Ok(ExitCode::Ok)
        }
        RecordingVerb::Show { recording } => {
            let slug = ctx.workspace(None)?;
            let path = ctx.workspace_path(&slug, &format!("/recordings/{}", segment(&recording))).await?;
            print(ctx, &path).await
        }
    }
}

async fn policy(ctx: &Context<'_>, record: Option<OnOff>) -> Result<ExitCode, Refusal> {
    let path = ctx.org_path("/terminal-policy").await?;
    let now: OrgTerminalPolicy = match record {
        Some(record) => ctx.put(&path, &OrgTerminalPolicy { record: matches!(record, OnOff::On) }).await?,
        None => ctx.get(&path).await?,
    };
    ctx.printer.answer(&now, || {
        let text = if now.record {
            "on: terminals opened from now on are recorded, and say so"
        } else {
            "off: terminals opened from now on are not recorded; root's always are"
        };
        text.to_owned()
    });
    Ok(ExitCode::Ok)
}

fn list(recordings: &[TerminalRecording]) -> String {
    if recordings.is_empty() {
        return "no terminal of this workspace was recorded; `envforge recording policy` says whether they are"
            .to_owned();
    }
    let row = |recording: &TerminalRecording| {
        vec![
            recording.id.to_string(),
            recording.terminal.to_string(),
            printable(&recording.person),
            render::time(recording.begun_at),
            recording.bytes.to_string(),
        ]
    };
    render::table(&["RECORDING", "TERMINAL", "FOR", "BEGUN", "BYTES"], &recordings.iter().map(row).collect::<Vec<_>>())
}

/// A recording as it is: asciicast v2 is JSON, a line each.
pub(crate) async fn print(ctx: &Context<'_>, path: &str) -> Result<ExitCode, Refusal> {
    let opening = ctx.client()?.stream(path);
    let mut response = ctx.printer.slow("opening the recording", opening).await.map_err(|error| ctx.refusal(error))?;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => ctx.printer.raw_out(&chunk),
            Ok(None) => return Ok(ExitCode::Ok),
            Err(error) => {
                return Err(Refusal::unavailable("recording.cut", format!("the recording was cut off: {error}")));
            }
        }
        if ctx.printer.reader_gone() {
            return Ok(ExitCode::Ok);
        }
    }
}
