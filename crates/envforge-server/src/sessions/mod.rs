//! Sessions of people signed in with a browser.
//!
//! A session is 256 random bits in a cookie that no script can read; only their SHA-256 is stored. It ends when it was not
//! used for 14 days, after 90 days, when its owner revokes it, when the provider signs its person out, and with the
//! API key it was opened by: at the next request, and within a second or two on streams that are open.
//!
//! Where a provider is set to be asked again, it is asked every quarter of an hour whether it still vouches for the person,
//! with a refresh token that is sealed and deleted with the session. A no ends the session at once; a provider that
//! is away, or says what does not hold, ends it after a day.

pub mod http;
pub mod jobs;
pub mod ops;
pub(crate) mod store;

use crate::providers::identity::Standing;
use envforge_core::id::ApiKeyId;
use envforge_core::login::ABSOLUTE;

/// The cookie over TLS: host-only and secure by its name (RFC 6265bis, 4.1.3.2).
const COOKIE: &str = "__Host-envforge";
/// The cookie on a plain loopback address.
const COOKIE_PLAIN: &str = "envforge";

/// How somebody signed in.
#[derive(Debug, Clone, Copy)]
pub enum Method<'a> {
    /// By an identity provider.
    Provider {
        /// Its name.
        name: &'a str,
        /// Its issuer.
        issuer: &'a str,
        /// The person's name there.
        subject: &'a str,
        /// The provider's own session.
        session: Option<&'a str>,
        /// What lets it be asked again.
        standing: Option<&'a Standing>,
    },
    /// By a link in a mail.
    Mail,
    /// By an API key.
    Key(ApiKeyId),
}

impl Method<'_> {
    /// The name in storage and answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Provider { .. } => "provider",
            Self::Mail => "mail",
            Self::Key(_) => "key",
        }
    }
}

/// The cookie's name for the way people reach the server.
pub fn cookie_name(public_url: &str) -> &'static str {
    if public_url.starts_with("https://") { COOKIE } else { COOKIE_PLAIN }
}

/// A `Set-Cookie` for `name`; an empty value takes it away.
pub fn set_cookie(public_url: &str, name: &str, value: &str, seconds: i64) -> String {
    let secure = if public_url.starts_with("https://") { "; Secure" } else { "" };
    let seconds = if value.is_empty() { 0 } else { seconds };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

/// The `Set-Cookie` of a session; an empty token takes it away.
pub fn session_cookie(public_url: &str, token: &str) -> String {
    set_cookie(public_url, cookie_name(public_url), token, ABSOLUTE.as_secs())
}
