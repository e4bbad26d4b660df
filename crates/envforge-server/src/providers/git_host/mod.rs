//! Hosts of Git repositories, as an app that people have installed there.

mod github;

pub use github::Github;

use crate::platform::fault::Answer;
use envforge_core::git::GitHost;
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// A token for one repository.
#[derive(Debug, Clone)]
pub struct RepositoryToken {
    /// The token.
    pub token: Secret,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An app at a Git host.
pub trait GitApp: Send + Sync {
    /// The host.
    fn host(&self) -> &GitHost;
    /// User name that goes with its tokens.
    fn username(&self) -> &str;
    /// A token that reads and writes the code of this one repository of an installation, and does nothing else. It may be
    /// one that was given before, with at least a minute left.
    fn token<'a>(
        &'a self,
        installation: u64,
        repository: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Answer<RepositoryToken>>;
    /// The host rejected what was given: the next is a new one, at most once a minute.
    fn rejected(&self, installation: u64, repository: &str, now: Timestamp);
}
