//! The product's stories: the real programs, a small real application, and a person who uses it.
//!
//! The application needs nothing but Node, so a story runs without the internet. Each story has a box of its own.

mod asleep;
mod backup;
mod browser;
mod caps;
mod chaos;
mod closed_surfaces;
mod fleet;
mod git_server;
mod logs;
mod meter_chaos;
mod members;
mod mistakes;
mod neighbours;
mod no_secret_leaks;
mod ordinary;
mod private_repository;
mod receipts;
mod reconnect;
mod red_team;
mod repository_over_ssh;
mod sample;
mod secret;
mod smallest;
mod ssh_server;
mod the_loop;
mod traces;
mod two_orgs;
mod why;
