//! The resources as programs of their own, asked by clients nobody here wrote.

mod mail;
mod storage;
mod support;
