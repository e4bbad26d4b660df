//! Asking, and reading how the answer begins.

use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Permit;
use crate::streams::ops::{Opened, Wanted, open, usable};
use envforge_api::console::{self, ANSWER_MAX, QUESTION_MAX, Question};
use envforge_api::http::consoles::{Buckets, DatabaseRows, Mail, Mails, Objects};
use envforge_api::uplink::Open;
use envforge_core::id::MailId;
use envforge_core::manifest::{ResourceKind, ResourceMode};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::ticket::TicketKind;
use std::time::Duration;

/// How long an answer may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// Characters of what is told of a refusal in a workspace's words.
const SAID_MAX: usize = 2_000;

/// A page of messages.
pub async fn mails(app: &App, permit: &Permit, slug: &Slug, before: Option<MailId>, limit: u32) -> Answer<Mails> {
    match ask(app, permit, slug, &Question::Mails { before, limit }).await?.answer {
        console::Answer::Mails(mails) => Ok(mails),
        _ => Err(no_answer().into()),
    }
}

/// A message, read.
pub async fn mail(app: &App, permit: &Permit, slug: &Slug, id: MailId) -> Answer<Mail> {
    match ask(app, permit, slug, &Question::Mail { id }).await?.answer {
        console::Answer::Mail(mail) => Ok(*mail),
        console::Answer::Nothing => Err(no_mail(id).into()),
        _ => Err(no_answer().into()),
    }
}

/// A message as it was sent.
pub async fn raw_mail(app: &App, permit: &Permit, slug: &Slug, id: MailId) -> Answer<Content> {
    content(ask(app, permit, slug, &Question::RawMail { id }).await?, || no_mail(id))
}

/// The buckets.
pub async fn buckets(app: &App, permit: &Permit, slug: &Slug) -> Answer<Buckets> {
    match ask(app, permit, slug, &Question::Buckets).await?.answer {
        console::Answer::Buckets(buckets) => Ok(buckets),
        _ => Err(no_answer().into()),
    }
}

/// A page of objects.
pub async fn objects(app: &App, permit: &Permit, slug: &Slug, question: &Question) -> Answer<Objects> {
    match ask(app, permit, slug, question).await?.answer {
        console::Answer::Objects(objects) => Ok(objects),
        console::Answer::Nothing => Err(no_object("bucket").into()),
        _ => Err(no_answer().into()),
    }
}

/// An object's content.
pub async fn object(app: &App, permit: &Permit, slug: &Slug, bucket: String, key: String) -> Answer<Content> {
    content(ask(app, permit, slug, &Question::Object { bucket, key }).await?, || no_object("object"))
}

/// What a query of the database finds.
pub async fn query(app: &App, permit: &Permit, slug: &Slug, query: String, limit: u32) -> Answer<DatabaseRows> {
    match ask(app, permit, slug, &Question::Query { query, limit }).await?.answer {
        console::Answer::Rows(rows) => Ok(rows),
        console::Answer::Refused { message, hint } => {
            let cut = |text: String| text.chars().take(SAID_MAX).collect::<String>();
            let refusal = Refusal::invalid("database.query_refused", cut(message));
            Err(hint.map(cut).into_iter().fold(refusal, Refusal::hint).into())
        }
        _ => Err(no_answer().into()),
    }
}

/// What was answered, and the stream behind it.
struct Asked {
    answer: console::Answer,
    /// Read from the stream already.
    begun: Vec<u8>,
    opened: Opened,
}

/// Bytes to give away.
pub struct Content {
    /// The first of them.
    pub begun: Vec<u8>,
    /// The others.
    pub opened: Opened,
    /// How many they are together.
    pub size: u64,
}

async fn ask(app: &App, permit: &Permit, slug: &Slug, question: &Question) -> Answer<Asked> {
    let kind = question.resource();
    let question = serde_json::to_string(question).map_err(anyhow::Error::new)?;
    if question.len() > QUESTION_MAX {
        let message = format!("what is asked has {} bytes of JSON, and {QUESTION_MAX} may be", question.len());
        return Err(Refusal::invalid("console.too_long", message).hint("ask for less at once").into());
    }
    let (row, generation) = usable(app, permit, slug).await?;
    let declared = row.manifest.as_ref().and_then(|manifest| manifest.resources.get(&kind));
    check(declared, kind, slug)?;
    let digest = console::digest(&question);
    let opened =
        open(app, &row, generation, Wanted::of(TicketKind::Console, &digest), Open::Console { question }).await?;
    let (answer, begun) = tokio::time::timeout(BEGINS_WITHIN, first_line(&opened))
        .await
        .ok()
        .flatten()
        .and_then(|(line, begun)| Some((serde_json::from_slice(&line).ok()?, begun)))
        .ok_or_else(no_answer)?;
    Ok(Asked { answer, begun, opened })
}

fn check(declared: Option<&ResourceMode>, kind: ResourceKind, slug: &Slug) -> Result<(), Refusal> {
    let refused = |message: String| Refusal::conflict("console.no_resource", message);
    match declared {
        Some(ResourceMode::BranchScoped { .. }) => Ok(()),
        Some(ResourceMode::CustomerCloud { .. }) => {
            Err(refused(format!("`{kind}` of `{slug}` is run by a provider of yours; look there")))
        }
        None => Err(refused(format!("`{slug}` declares no resource `{kind}`"))
            .hint(format!("write `{kind}: branch_scoped` under `resources` in envforge.yml, and wake it"))),
    }
}

/// The first line of an answer, and what was read behind it; `None` if there is none of a decent length.
async fn first_line(opened: &Opened) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut line, mut chunk) = (Vec::new(), vec![0_u8; 64 * 1024]);
    loop {
        let length = opened.stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        let read = &chunk[..length];
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&read[..end]);
            return Some((line, read[end + 1..].to_vec()));
        }
        line.extend_from_slice(read);
        if line.len() > ANSWER_MAX {
            return None;
        }
    }
}

fn content(asked: Asked, none: impl FnOnce() -> Refusal) -> Answer<Content> {
    match asked.answer {
        console::Answer::Content { size } => Ok(Content { begun: asked.begun, opened: asked.opened, size }),
        console::Answer::Nothing => Err(none().into()),
        _ => Err(no_answer().into()),
    }
}

fn no_answer() -> Refusal {
    Refusal::unavailable("console.no_answer", "the workspace gave no answer that can be read")
        .hint("try again; the log of the workspace's host may tell more")
        .retry_after(1)
}

fn no_mail(id: MailId) -> Refusal {
    Refusal::not_found("mail.not_found", format!("there is no message {id}"))
        .hint("`envforge mail list` shows them; the oldest make room for new ones")
}

fn no_object(what: &str) -> Refusal {
    Refusal::not_found("object.not_found", format!("there is no such {what}"))
        .hint("`envforge objects list` shows what there is")
}
