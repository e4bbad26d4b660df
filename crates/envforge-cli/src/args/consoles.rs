//! What a workspace's resources take: their consoles, their credentials, and its database as a file.

use clap::{Args, Subcommand};
use envforge_core::id::MailId;
use std::path::PathBuf;

/// `envforge mail …`.
#[derive(Debug, Subcommand)]
pub enum MailVerb {
    /// List messages, the newest first
    List(MailList),
    /// Show a message: headers, text, what is attached
    Show {
        /// The message
        id: MailId,
        /// Write it to stdout as it was sent
        #[arg(long)]
        raw: bool,
    },
}

/// `envforge mail list`.
#[derive(Debug, Args)]
pub struct MailList {
    /// Only messages older than this one
    #[arg(long, value_name = "ID")]
    pub before: Option<MailId>,
    /// Messages to list
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// `envforge objects …`.
#[derive(Debug, Subcommand)]
pub enum ObjectsVerb {
    /// List buckets, or the objects of one
    List(ObjectsList),
    /// Write an object's content to stdout as it is
    Get {
        /// The bucket
        bucket: String,
        /// The object's key
        key: String,
    },
}

/// `envforge objects list`.
#[derive(Debug, Args)]
pub struct ObjectsList {
    /// The bucket; without one, buckets are listed
    pub bucket: Option<String>,
    /// Only keys that begin so
    #[arg(long, default_value = "", requires = "bucket", value_name = "KEY")]
    pub prefix: String,
    /// Only keys behind this one
    #[arg(long, default_value = "", requires = "bucket", value_name = "KEY")]
    pub after: String,
    /// Objects to list
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// `envforge resource …`.
#[derive(Debug, Subcommand)]
pub enum ResourceVerb {
    /// Have it ask for a new password or key; the one from before is refused, services start again with the new one
    Rotate(ResourceRotate),
}

/// `envforge resource rotate`.
#[derive(Debug, Args)]
pub struct ResourceRotate {
    /// The resource, as envforge.yml names it: postgres or object_storage
    #[arg(value_name = "KIND")]
    pub resource: String,
    /// Don't wait until the services are ready, or blocked
    #[arg(long)]
    pub no_wait: bool,
}

/// `envforge database …`.
#[derive(Debug, Subcommand)]
pub enum DatabaseVerb {
    /// Run one query that reads: SELECT, VALUES, TABLE or WITH
    Query {
        /// The query
        query: String,
        /// Rows to show
        #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Dump it, in pg_dump's custom format
    Dump {
        /// Where to; stdout when absent
        #[arg(long, short = 'o', value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make it what a dump holds, all of it or nothing; what is in it now is gone
    Restore {
        /// The dump
        file: PathBuf,
        /// Restore without asking
        #[arg(long, short = 'y')]
        yes: bool,
    },
}
