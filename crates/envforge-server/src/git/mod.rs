//! Credentials for Git hosts: people's own tokens, a GitHub App's, and what Git in a workspace is given of them.
//!
//! A person's token is sealed in the installation's vault (people belong to no org) and can't be read back by anybody. It
//! leaves by one way: a host asks for a workspace of its own, names the address Git wants to reach, and gets what the
//! person who acts there may use. Who that is, the server knows by itself: whoever attached to the shell last, else
//! whoever made the workspace, as long as they may attach. Nothing a workspace or its host says names a person.
//!
//! First comes a token of the installation's app ([`crate::providers::git_host`]), for the workspace's own repository and
//! where the operator has said that the app is installed for the org; then the person's own. Only the host of the
//! workspace's own repository is served, reached as the project says. A submodule at the same host gets the person's
//! own: that is for the whole host. That a credential was given out is in the ledger, at most once a minute for a
//! workspace and person.

pub mod http;
pub mod ops;
pub(crate) mod store;
