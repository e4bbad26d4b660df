//! The control plane against a real PostgreSQL, with hosts and gateways that speak the real protocols.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod access;
mod contract;
mod deletion;
mod devices;
mod documents;
mod fuzz;
mod git;
mod git_keys;
mod github;
mod elevations;
mod health_report;
mod host_stream;
mod ledger;
mod jobs;
mod links;
mod mail;
mod mail_by_queue;
mod meter;
mod orgs;
mod operating;
mod presence;
mod queues;
mod project_access;
mod provider;
mod runtimes;
mod secret_stores;
mod secrets;
mod settings;
mod sign_in;
mod sign_in_again;
mod sign_in_peer;
mod support;
mod tenancy;
mod vault;
mod workspaces;
