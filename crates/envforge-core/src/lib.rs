//! The domain of EnvForge, pure: no IO, no async, no clock.
//!
//! One file per noun: its types, its state machine, its refusals and its rules. Time and randomness
//! are parameters ([`clock`]); nothing here knows of PostgreSQL, HTTP or the operating system, so every
//! rule can be property-tested in microseconds. What crosses a process boundary is shaped in
//! `envforge-api`; who may do what is decided here ([`access`]) and asked everywhere.
#![warn(missing_docs)]

pub mod access;
pub mod address;
pub mod clock;
pub mod elevation;
pub mod email;
pub mod egress;
pub mod entry;
pub mod envelope;
pub mod git;
pub mod hostname;
pub mod id;
pub mod idle;
pub mod job;
pub mod ledger;
pub mod link;
pub mod login;
pub mod manifest;
pub mod member;
pub mod name;
pub mod pressure;
pub mod readiness;
pub mod refusal;
pub mod resume;
pub mod runtime;
pub mod schedule;
pub mod secret;
pub mod setting;
pub mod signing;
pub mod size;
pub mod ssh;
pub mod terminal;
pub mod ticket;
pub mod timetable;
pub mod token;
pub mod usage;
