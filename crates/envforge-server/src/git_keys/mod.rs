//! People's SSH keys for Git hosts: made here or brought along, and lent to Git in a workspace a signature at a time.
//!
//! A private key is sealed in the installation's vault and leaves in no form. SSH in a workspace asks the agent that is its
//! host daemon; the daemon has no key and asks here, once for the public key and once for a signature. Whose key it is, the
//! server knows as for tokens ([`crate::git`]): of who acts in the workspace, for the host of the workspace's own
//! repository, if that is reached over SSH.
//!
//! What is signed is a request to log in with this key under the name in the repository's address, and nothing else: no
//! commit, no file, no certificate. The ledger has each workspace's and person's use once a minute; what was refused because
//! it was no such request is there as well.

pub mod http;
pub mod ops;
pub(crate) mod store;
