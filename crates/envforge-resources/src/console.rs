//! Consoles: one question about what a workspace's resources hold, asked on stdin and answered on stdout.
//!
//! It is a process of its own, which lives for one answer. Mail and objects it reads from their files: so it works while the runtime
//! sleeps. What strangers sent is read by nobody but the workspace's user. It writes nothing.

use crate::database;
use crate::mail::reading as mail;
use crate::storage::reading as storage;
use envforge_api::console::{Answer, QUESTION_MAX, Question};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Entries of a page.
const PAGE_MAX: u32 = 1_000;
/// Bytes of the entries of a page.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of memory: what strangers sent may be made to take any amount of it.
const MEMORY: u64 = 512 * 1024 * 1024;
/// Seconds of computing, likewise; moving bytes takes next to none.
const SECONDS: u64 = 30;

/// Answers a question about what is in the workspace's data directory.
pub(crate) fn answer(data: &Path) -> io::Result<()> {
    for (resource, limit) in [(Resource::Data, MEMORY), (Resource::Cpu, SECONDS)] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    let mut question = Vec::new();
    io::stdin().lock().take(QUESTION_MAX as u64).read_to_end(&mut question)?;
    let question: Question = serde_json::from_slice(&question)?;
    let (mails, objects) = (data.join("mail"), data.join("object_storage"));
    match question {
        Question::Mails { before, limit } => say(&Answer::Mails(mail::list(&mails, before, page(limit))?)),
        Question::Mail { id } => {
            say(&mail::read(&mails, id)?.map_or(Answer::Nothing, |mail| Answer::Mail(Box::new(mail))))
        }
        Question::RawMail { id } => content(mail::open(&mails, id)?.map(|(file, _, size)| (file, size))),
        Question::Buckets => say(&Answer::Buckets(storage::buckets(&objects)?)),
        Question::Objects { bucket, prefix, after, limit } => {
            let found = storage::list(&objects, &bucket, &prefix, &after, page(limit))?;
            say(&found.map_or(Answer::Nothing, Answer::Objects))
        }
        Question::Query { query, limit } => say(&database::query(query, page(limit))?),
        Question::Object { bucket, key } => content(storage::open(&objects, &bucket, &key)?),
    }
}

fn page(limit: u32) -> usize {
    limit.clamp(1, PAGE_MAX) as usize
}

/// As many of these as one answer takes, one always, and whether some are left.
pub(crate) fn fitting<T: Serialize>(entries: impl Iterator<Item = T>) -> io::Result<(Vec<T>, bool)> {
    let (mut fitting, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += serde_json::to_vec(&entry)?.len();
        if bytes > PAGE_BYTES && !fitting.is_empty() {
            return Ok((fitting, true));
        }
        fitting.push(entry);
    }
    Ok((fitting, false))
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}

fn content(found: Option<(File, u64)>) -> io::Result<()> {
    let Some((file, size)) = found else { return say(&Answer::Nothing) };
    say(&Answer::Content { size })?;
    io::copy(&mut file.take(size), &mut io::stdout().lock()).map(drop)
}
