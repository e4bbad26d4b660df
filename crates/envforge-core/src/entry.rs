//! Entering a dev host as a member: what binds the way from there to the product and back.
//!
//! ```text
//!  dev host  /.envforge/sign-in   a nonce in a host-only cookie ──► the product, with the nonce's digest
//!  product   /open/<label>        who is signed in here, and may they? ──► back, with a code
//!  dev host  /.envforge/enter     code and cookie belong together ──► a session for this host alone
//! ```
//!
//! No cookie is shared between the two sites. What crosses is a code that is signed, good for one label, one browser (the
//! digest of its nonce) and [`CODE_LIFE`], and spent once. Whoever reads it on its way has nothing without the cookie.

use crate::id::{LinkSessionId, LoginSessionId, OrgId, UserId, WorkspaceId};
use crate::login::{later, return_path};
use crate::token::{Claims, digest};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Where the product is asked who somebody is; the dev host's label follows.
pub const OPEN_PATH: &str = "/open/";
/// How long somebody may take from the dev host to the product and back, signing in there included.
pub const STATE_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// How long a code holds.
pub const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);
/// A member's session on a dev host lasts no longer than this, nor than their login session.
pub const SESSION_MAX: SignedDuration = SignedDuration::from_hours(12);
/// Cookie that carries the nonce over TLS.
pub const STATE_COOKIE: &str = "__Host-envforge-state";
/// The same on plain HTTP, where browsers refuse the `__Host-` prefix.
pub const STATE_COOKIE_PLAIN: &str = "envforge-state";
/// Longest place to go to, as it stands in a query: with all else it stays below what a sign-in returns to.
const TO_MAX: usize = 600;

/// What an entry code says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryClaims {
    /// The browser session it becomes; spent once.
    #[serde(rename = "ses")]
    pub session: LinkSessionId,
    /// Who enters.
    #[serde(rename = "usr")]
    pub user: UserId,
    /// Their session at the product.
    #[serde(rename = "lgn")]
    pub login: LoginSessionId,
    /// The org.
    pub org: OrgId,
    /// The workspace.
    #[serde(rename = "ws")]
    pub workspace: WorkspaceId,
    /// The dev host label it is good on.
    #[serde(rename = "lbl")]
    pub label: String,
    /// Digest of the nonce in the browser that began.
    #[serde(rename = "sta")]
    pub state: String,
    /// Expiry, seconds since 1970 UTC.
    #[serde(rename = "exp")]
    pub expires: i64,
}

impl Claims for EntryClaims {
    const PREFIX: &'static str = "efc1";
    fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.expires).unwrap_or(Timestamp::MIN)
    }
}

/// Why a code that is genuine and has not expired opens nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// It is for another dev host.
    OtherHost,
    /// It is for another browser, or its nonce is gone.
    OtherBrowser,
}

impl EntryClaims {
    /// Whether it opens `label` to a browser that shows these nonces. There may be several: without TLS another dev host can
    /// plant one.
    pub fn opens<'a>(&self, label: &str, mut nonces: impl Iterator<Item = &'a str>) -> Result<(), Misplaced> {
        if self.label != label {
            return Err(Misplaced::OtherHost);
        }
        if nonces.any(|nonce| state_of(nonce) == self.state) { Ok(()) } else { Err(Misplaced::OtherBrowser) }
    }
}

/// What the product is told of a nonce.
pub fn state_of(nonce: &str) -> String {
    digest(nonce)
}

/// Whether `text` can be what [`state_of`] makes.
pub fn is_state(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// The place on the dev host that `wanted` names, percent-encoded for a query when it is put there; its front when it names
/// anything else.
pub fn destination(wanted: Option<&str>) -> &str {
    let path = return_path(wanted);
    if crate::login::in_query(path).len() <= TO_MAX { path } else { "/" }
}

/// When a session that begins now ends, for a login session that ends at `login_ends`.
pub fn session_end(now: Timestamp, login_ends: Timestamp) -> Timestamp {
    later(now, SESSION_MAX).min(login_ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{LinkClaims, SessionClaims};
    use crate::login::in_query;
    use crate::token::{Keyring, Signer, TokenError};
    use proptest::prelude::*;

    fn claims(label: &str, nonce: &str) -> EntryClaims {
        serde_json::from_value(serde_json::json!({
            "ses": "ls_00000000000000000000000000000001", "usr": "user_00000000000000000000000000000001",
            "lgn": "sess_00000000000000000000000000000001", "org": "org_00000000000000000000000000000001",
            "ws": "ws_00000000000000000000000000000001", "lbl": label, "sta": state_of(nonce), "exp": 100,
        }))
        .expect("valid claims")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    // proves LINK-10
    #[test]
    fn a_code_is_no_session_and_no_link() {
        let signer = Signer::from_seed(&[7; 32]);
        let ring = Keyring::new(&[signer.public_key()]);
        let code = signer.sign(&claims("web--a--b", "n"));
        assert_eq!(ring.verify(&code, at(99)), Ok(claims("web--a--b", "n")));
        assert_eq!(ring.verify::<EntryClaims>(&code, at(100)), Err(TokenError::Expired));
        assert_eq!(ring.verify::<SessionClaims>(&code, at(1)), Err(TokenError::Malformed));
        assert_eq!(ring.verify::<LinkClaims>(&code, at(1)), Err(TokenError::Malformed));
    }

    // proves LINK-10
    #[test]
    fn a_session_ends_with_the_login_or_after_half_a_day() {
        let half_a_day = 12 * 3600;
        assert_eq!(session_end(at(0), at(5)), at(5));
        assert_eq!(session_end(at(0), at(half_a_day + 1)), at(half_a_day));
    }

    // proves LINK-10
    #[test]
    fn one_goes_to_a_path_of_the_host_and_nowhere_else() {
        for good in ["/", "/a/b?c=d&e=%20#", "/.envforge/readiness", "/a//b"] {
            assert_eq!(destination(Some(good)), good);
        }
        for bad in
            ["", "a", "//evil.example", "https://evil.example/", "/\\evil.example", "/\tx", "/a b", "javascript:1"]
        {
            assert_eq!(destination(Some(bad)), "/", "{bad}");
        }
        assert_eq!(destination(None), "/");
        assert_eq!(destination(Some(&format!("/{}", "x".repeat(600)))), "/");
    }

    proptest! {
        // proves LINK-10
        #[test]
        fn a_code_opens_its_own_host_to_its_own_browser_only(
            label in "[a-z]{1,9}", host in "[a-z]{1,9}", nonce in "[0-9a-f]{1,9}",
            shown in proptest::collection::vec("[0-9a-f]{1,9}", 0..4),
        ) {
            let opened = claims(&label, &nonce).opens(&host, shown.iter().map(String::as_str));
            prop_assert_eq!(opened.is_ok(), label == host && shown.contains(&nonce));
            prop_assert!(is_state(&state_of(&nonce)) && !is_state(&nonce));
        }

        // proves LINK-10
        #[test]
        fn a_destination_is_one_path_and_fits_into_a_query(wanted in ".{0,900}") {
            let to = destination(Some(&wanted));
            prop_assert!(to == "/" || to == wanted);
            prop_assert!(to.starts_with('/') && !to.starts_with("//") && in_query(to).len() <= TO_MAX);
            prop_assert!(to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
        }
    }
}
