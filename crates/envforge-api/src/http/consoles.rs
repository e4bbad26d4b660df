//! What consoles show: the messages in a workspace's mail sink, the objects in its object storage, rows of its database.

use envforge_core::id::MailId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a mail sink, the newest message first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mails {
    /// The messages.
    pub mails: Vec<MailSummary>,
    /// There are older ones than this one, which is the last of this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_before: Option<MailId>,
}

/// A message as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailSummary {
    /// Its id.
    pub id: MailId,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// Who sent it, as told to the mail server; empty for a bounce.
    pub from: String,
    /// Whom it was sent to, as told to the mail server.
    pub to: Vec<String>,
    /// Its subject, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

/// A message, read. Very long pieces are cut; the raw message has everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mail {
    /// As in the list.
    #[serde(flatten)]
    pub summary: MailSummary,
    /// Its headers, in their order.
    pub headers: Vec<MailHeader>,
    /// Its text; made from its HTML where it has only that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The source of its HTML. It is a stranger's: show it as text, or in a frame that may do nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// What is attached.
    pub attachments: Vec<MailAttachment>,
}

/// A header of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailHeader {
    /// Its name.
    pub name: String,
    /// Its value as it was sent.
    pub value: String,
}

/// Something attached to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailAttachment {
    /// Its file name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its media type.
    pub content_type: String,
    /// Its size in bytes, decoded.
    pub size: u64,
}

/// The buckets of an object storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Buckets {
    /// Their names, in order.
    pub buckets: Vec<String>,
}

/// A page of a bucket, by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Objects {
    /// The objects.
    pub objects: Vec<ObjectSummary>,
    /// There are more keys than this one, which is the last of this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_after: Option<String>,
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObjectSummary {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub modified_at: Timestamp,
    /// The media type it was stored with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// Asks a workspace's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryDatabase {
    /// One SELECT, VALUES, TABLE or WITH. Nothing else is done, and nothing is changed.
    pub query: String,
    /// At most so many rows, 100 when absent, up to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseRows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The cells of each row as PostgreSQL writes them; `null` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// More rows, or the ends of long cells, are left out.
    pub is_cut: bool,
}
