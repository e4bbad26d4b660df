//! What all slices stand on: configuration, database, bus, HTTP.

pub mod bus;
pub mod config;
pub mod db;
pub mod fault;
pub mod fd;
pub mod http;
pub mod keys;
pub mod jobs;
pub mod metrics;
pub mod schema;
pub mod secret_stores;
pub mod storable;
