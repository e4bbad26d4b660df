//! `envforge mail`, `envforge objects` and `envforge database`: what a workspace's resources hold.

use crate::args::{MailList, MailVerb, ObjectsList, ObjectsVerb};
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render::{table, time};
use envforge_api::client::CallError;
use envforge_api::http::consoles as api;
use envforge_core::refusal::Refusal;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

/// Lists messages, or shows one.
pub(crate) async fn mail(ctx: &mut Context<'_>, verb: MailVerb) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let base = ctx.workspace_path(&slug, "/mail").await?;
    match verb {
        MailVerb::List(MailList { before, limit }) => {
            let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
            let path = format!("{base}?limit={limit}{before}");
            let mails: api::Mails = ctx.printer.slow("reading mail", ctx.get(&path)).await?;
            ctx.printer.answer(&mails, || listed(&mails));
            more(ctx, mails.more_before.map(|_| "give the last id to --before"));
        }
        MailVerb::Show { id, raw: true } => return download(ctx, &format!("{base}/{id}/raw")).await,
        MailVerb::Show { id, raw: false } => {
            let mail: api::Mail = ctx.printer.slow("reading mail", ctx.get(&format!("{base}/{id}"))).await?;
            ctx.printer.answer(&mail, || shown(&mail));
        }
    }
    Ok(ExitCode::Ok)
}

/// Lists buckets or objects, or writes an object's content to stdout.
pub(crate) async fn objects(ctx: &mut Context<'_>, verb: ObjectsVerb) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let base = ctx.workspace_path(&slug, "/objects").await?;
    match verb {
        ObjectsVerb::List(ObjectsList { bucket: None, .. }) => {
            let buckets: api::Buckets = ctx.printer.slow("reading buckets", ctx.get(&base)).await?;
            ctx.printer.answer(&buckets, || printable(&buckets.buckets.join("\n")));
        }
        ObjectsVerb::List(ObjectsList { bucket: Some(bucket), prefix, after, limit }) => {
            let (bucket, prefix, after) = (segment(&bucket), segment(&prefix), segment(&after));
            let path = format!("{base}/{bucket}?limit={limit}&prefix={prefix}&after={after}");
            let found: api::Objects = ctx.printer.slow("reading objects", ctx.get(&path)).await?;
            ctx.printer.answer(&found, || {
                let row = |object: &api::ObjectSummary| {
                    vec![one_line(&object.key), object.size.to_string(), time(object.modified_at)]
                };
                table(&["KEY", "BYTES", "MODIFIED"], &found.objects.iter().map(row).collect::<Vec<_>>())
            });
            more(ctx, found.more_after.map(|_| "give the last key to --after"));
        }
        ObjectsVerb::Get { bucket, key } => {
            return download(ctx, &format!("{base}/{}/content?key={}", segment(&bucket), segment(&key))).await;
        }
    }
    Ok(ExitCode::Ok)
}

/// Runs a query.
pub(crate) async fn query(ctx: &mut Context<'_>, query: String, limit: u32) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(None)?;
    let path = ctx.workspace_path(&slug, "/database/query").await?;
    let body = api::QueryDatabase { query, limit: Some(limit) };
    let found: api::DatabaseRows = ctx.printer.slow("asking the database", ctx.post(&path, &body)).await?;
    ctx.printer.answer(&found, || {
        let columns: Vec<String> = found.columns.iter().map(|name| one_line(name)).collect();
        let cell = |cell: &Option<String>| one_line(cell.as_deref().unwrap_or("NULL"));
        let rows: Vec<Vec<String>> = found.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        table(&columns.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
    });
    more(ctx, found.is_cut.then_some("rows or the ends of long values are left out"));
    Ok(ExitCode::Ok)
}

/// How to see the next page, if there is one.
fn more(ctx: &Context<'_>, how: Option<&str>) {
    if let Some(how) = how {
        ctx.printer.note(&format!("there is more: {how}"));
    }
}

/// Writes what is answered to stdout, as it is; a terminal is shown nothing that it would obey.
async fn download(ctx: &Context<'_>, path: &str) -> Result<ExitCode, Refusal> {
    let opening = ctx.client()?.stream(path);
    let mut response = ctx.printer.slow("opening", opening).await.map_err(|error| ctx.refusal(error))?;
    let is_shown = io::stdout().is_terminal();
    while let Some(chunk) = response.chunk().await.map_err(cut_off)? {
        if is_shown {
            ctx.printer.raw_out(printable(&String::from_utf8_lossy(&chunk)).as_bytes());
        } else {
            ctx.printer.raw_out(&chunk);
        }
        if ctx.printer.reader_gone() {
            break;
        }
    }
    Ok(ExitCode::Ok)
}

fn cut_off(error: impl Into<CallError>) -> Refusal {
    Refusal::unavailable("console.cut", format!("the content was cut off: {}", error.into()))
        .hint("what was written so far is not all of it; try again")
}

/// A cell that is on one line whatever it holds.
fn one_line(text: &str) -> String {
    printable(&text.replace(['\r', '\n', '\t'], " "))
}

fn listed(mails: &api::Mails) -> String {
    let row = |mail: &api::MailSummary| {
        let subject = mail.subject.clone().unwrap_or_default();
        let cells = [mail.id.to_string(), time(mail.received_at), mail.from.clone(), mail.to.join(", "), subject];
        cells.iter().map(|cell| one_line(cell)).collect()
    };
    table(&["ID", "RECEIVED", "FROM", "TO", "SUBJECT"], &mails.mails.iter().map(row).collect::<Vec<_>>())
}

fn shown(mail: &api::Mail) -> String {
    let mut text = String::new();
    for header in &mail.headers {
        let _ = writeln!(text, "{}: {}", one_line(&header.name), one_line(&header.value));
    }
    let _ = write!(text, "\n{}", printable(&mail.text.as_deref().unwrap_or_default().replace("\r\n", "\n")));
    for attachment in &mail.attachments {
        let name = one_line(attachment.name.as_deref().unwrap_or("without a name"));
        let _ = write!(text, "\nattached: {name} ({}, {} bytes)", one_line(&attachment.content_type), attachment.size);
    }
    text
}
