//! Signing in, by an identity provider or by a link in a mail, and who one is then.
//!
//! What is under way is bound three times: a state nobody can guess, a cookie of the browser that began, and ten minutes;
//! it is used by deleting it. Nonce and PKCE verifier wait sealed. Who comes back is who the provider's issuer and
//! subject say; an address joins somebody to an account that exists only when it was verified. A link in a mail opens a
//! page with a button, because mail scanners open links; the answer to asking for one is the same, in words and in
//! time, whether the address is known or not: a background job looks that up, and mails. Until then the token lies sealed
//! beside its digest, and in no job's arguments.
//!
//! What strangers do in vain is counted, and told to the ledger once a minute, not once a try.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
