//! Members on dev hosts: signed in with their account, and out again within a second.
//!
//! `GET /open/<label>` is where a dev host sends a member. Whoever is signed in here, and may open that dev host, is sent
//! back with a code; whoever may not is told the same of every label. The code is signed and bound (see
//! `envforge_core::entry`); its row is spent once and is the session from then on.
//!
//! A session is never told to end by whoever ended its cause: signing out, leaving a group, restricting a project are all
//! earlier slices, which know nothing of dev hosts. Whether a session holds is read from what they wrote, for each wake in
//! its transaction, and for the feed of gateways whenever the bus says that something of the kind changed and with every
//! beat. So nothing can be forgotten on the way, and a gateway that was cut off is told all of it at once.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;
