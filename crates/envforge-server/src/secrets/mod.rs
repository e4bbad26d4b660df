//! Secrets: set by people, sealed at once, given to the services that declare them, at their start.
//!
//! ```text
//!   set ─► version n, sealed for `secret/<id>/<n>` ─► a host asks for a workspace's services ─► given, and `secret.used`
//! ```
//!
//! Where the installation has a secret store ([`crate::platform::secret_stores`]), a value lies there and the version refers to
//! it. The two can't be one transaction, so the value is put before the row that refers to it is written, and deleted after
//! it: a crash leaves a value that nobody refers to, which a job deletes, and never a row without one.
//!
//! A secret is known in the org, in one project or in one workspace; where several of a name are, the narrowest counts.
//! Versions never change, the newest is in use, [`VERSIONS_KEPT`](envforge_core::secret::VERSIONS_KEPT) are kept, and
//! restoring one makes its value the newest. No answer of the API and no event holds a value or its length.
//!
//! A version with an egress rule is given to no service; the host lends it to requests for the rule's destination
//! ([`ops::lend`]), and restoring such a version restores its rule.
//!
//! Only an admin changes what reaches several workspaces. A workspace's own secrets are changed by whoever works in it:
//! those people can change the code of the service that is given them, and so read them, as they can read every secret
//! that their services declare.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
