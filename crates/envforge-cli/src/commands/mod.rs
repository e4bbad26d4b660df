//! A file per verb. Each takes the context and its arguments, and returns how the program ends, or the refusal.

pub(crate) mod admin;
pub(crate) mod attach;
pub(crate) mod doctor;
pub(crate) mod group;
pub(crate) mod invite;
pub(crate) mod git_credential;
pub(crate) mod ledger;
pub(crate) mod link;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod member;
pub(crate) mod org;
pub(crate) mod project;
pub(crate) mod root;
pub(crate) mod run;
pub(crate) mod secret;
pub(crate) mod setting;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod sleep;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod wake;
pub(crate) mod workspace;
