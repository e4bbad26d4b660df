//! AWS as moto plays it, with its checks of signatures and policies switched on.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod kms;
mod moto;
mod ssm;
