//! A console's question, and how the answer begins.
//!
//! The subject of a ticket is a question's [`digest`], so what is opened is what the server signed, and nothing else. The answer is a
//! pipe: one line of JSON, and behind [`Answer::Content`] the bytes it announces. Who writes it is a process of the workspace's own user: it
//! is a stranger's word.

use crate::http::consoles::{Buckets, DatabaseRows, Mail, Mails, Objects};
use envforge_core::id::MailId;
use envforge_core::manifest::ResourceKind;
use serde::{Deserialize, Serialize};

/// Bytes of a question; a pipe takes it at once.
pub const QUESTION_MAX: usize = 32 * 1024;
/// Bytes of an answer's first line.
pub const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// What a ticket calls a question, given in JSON.
pub fn digest(question: &str) -> String {
    envforge_core::token::digest(question)
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// So many messages, the newest first.
    Mails {
        /// Only older ones than this.
        before: Option<MailId>,
        /// At most so many.
        limit: u32,
    },
    /// A message, read.
    Mail {
        /// Which.
        id: MailId,
    },
    /// A message as it was sent.
    RawMail {
        /// Which.
        id: MailId,
    },
    /// The buckets.
    Buckets,
    /// So many objects, by key.
    Objects {
        /// Of this bucket.
        bucket: String,
        /// Whose keys begin so.
        prefix: String,
        /// Only keys behind this one.
        after: String,
        /// At most so many.
        limit: u32,
    },
    /// An object's content.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
    /// A query of the database.
    Query {
        /// One that reads.
        query: String,
        /// At most so many rows.
        limit: u32,
    },
}

impl Question {
    /// The resource it is about.
    pub fn resource(&self) -> ResourceKind {
        match self {
            Self::Mails { .. } | Self::Mail { .. } | Self::RawMail { .. } => ResourceKind::Mail,
            Self::Buckets | Self::Objects { .. } | Self::Object { .. } => ResourceKind::ObjectStorage,
            Self::Query { .. } => ResourceKind::Postgres,
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Question::Mails`].
    Mails(Mails),
    /// To [`Question::Mail`].
    Mail(Box<Mail>),
    /// To [`Question::Buckets`].
    Buckets(Buckets),
    /// To [`Question::Objects`].
    Objects(Objects),
    /// To [`Question::RawMail`] and [`Question::Object`]: so many bytes follow.
    Content {
        /// How many.
        size: u64,
    },
    /// To [`Question::Query`].
    Rows(DatabaseRows),
    /// The database does not do it.
    Refused {
        /// In its words.
        message: String,
        /// What helps.
        hint: Option<String>,
    },
    /// There is no such message, object or bucket.
    Nothing,
}
