//! The sessions admitted so far, the keys they were checked with, the links that were revoked and members' sessions that ended.
//!
//! A cookie's signature is checked once; afterwards the cookie is known by its digest until it expires, its link
//! is revoked, its member is signed out or the keys change. Everything that stays open on behalf of a session holds its
//! [`Admitted`] and ends with it, and with the lease. Two rules make that safe: an admission and the revocation of its link are decided
//! under one lock, so neither can miss the other; and a session that something holds open is never evicted.

use crate::alarm::Alarms;
use crate::polls::Polls;
use crate::rates::Pace;
use envforge_core::id::{LinkId, LinkSessionId};
use envforge_core::link::{Holder, SessionClaims};
use envforge_core::refusal::Refusal;
use envforge_core::token::{Claims as _, Keyring, PublicKey};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a link the server refused to exchange is refused without asking.
const NEGATIVE: Duration = Duration::from_secs(1);

/// Why a request counts as unverified; the words the server counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unverified {
    NoSession,
    Forged,
    Expired,
    Revoked,
    /// A member's session that ended before its time: signed out, or without the right to it.
    SignedOut,
    WrongHost,
    /// An entry code without the cookie of the browser that it was made for.
    OtherBrowser,
    UnknownLabel,
}

impl Unverified {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::NoSession,
        Self::Forged,
        Self::Expired,
        Self::Revoked,
        Self::SignedOut,
        Self::WrongHost,
        Self::OtherBrowser,
        Self::UnknownLabel,
    ];

    /// What a session counts as that ended before its time.
    fn ended(holder: Holder) -> Self {
        if holder.is_member() { Self::SignedOut } else { Self::Revoked }
    }

    /// As in `UnverifiedCount::reason`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoSession => "no_session",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::SignedOut => "signed_out",
            Self::WrongHost => "wrong_host",
            Self::OtherBrowser => "other_browser",
            Self::UnknownLabel => "unknown_label",
        }
    }
}

/// SHA-256 of what was shown, with its kind: a link token sent as a cookie must not meet the entry of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    fn of(kind: &[u8], token: &str) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(kind);
        context.update(token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// Of a session cookie.
    pub(crate) fn of_session(token: &str) -> Self {
        Self::of(b"session\0", token)
    }

    /// Of a link token sent as a header.
    pub(crate) fn of_link(token: &str) -> Self {
        Self::of(b"link\0", token)
    }
}

/// A verified session.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// What it says.
    pub(crate) claims: SessionClaims,
    /// The signed session, for a wake.
    pub(crate) token: String,
    expires_at: Timestamp,
    ends: CancellationToken,
    /// The same, where looking at it costs nothing.
    ended: AtomicBool,
    /// How often its link's sessions ask.
    pub(crate) pace: Arc<Pace>,
    /// What of it a page asks by itself.
    pub(crate) polls: Polls,
    /// Of the requests under way on its behalf.
    pub(crate) alarms: Alarms,
    used: AtomicBool,
}

impl Admitted {
    fn new(claims: SessionClaims, token: String, pace: Arc<Pace>) -> Self {
        let expires_at = claims.expires_at();
        Self {
            claims,
            token,
            expires_at,
            ends: CancellationToken::new(),
            ended: AtomicBool::new(false),
            pace,
            polls: Polls::default(),
            alarms: Alarms::default(),
            used: AtomicBool::new(true),
        }
    }

    /// Whether it holds at `now`.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Unverified> {
        if self.expires_at <= now {
            return Err(Unverified::Expired);
        }
        if self.has_ended() {
            return Err(Unverified::ended(self.claims.holder));
        }
        Ok(())
    }

    /// Whether it is a member's, who may be told causes and fixes.
    pub(crate) fn is_member(&self) -> bool {
        self.claims.holder.is_member()
    }

    /// Whether it has ended: revoked, expired, or no longer known to hold.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.ends.cancel();
        self.alarms.ring();
    }

    /// Returns once the session ends: revoked, signed out, expired, or no longer known to hold. Streams end with it.
    pub(crate) fn ends(&self) -> &CancellationToken {
        &self.ends
    }

    /// Why it ended.
    pub(crate) fn why(&self, now: Timestamp) -> Unverified {
        self.check(now).err().unwrap_or(Unverified::ended(self.claims.holder))
    }
}

#[derive(Default)]
struct Known {
    keys: Vec<PublicKey>,
    keyring: Arc<Keyring>,
    revoked: HashSet<LinkId>,
    ended: HashSet<LinkSessionId>,
    by_digest: HashMap<Digest, Arc<Admitted>>,
    refused: HashMap<Digest, (Refusal, Instant)>,
    /// By link, or member: all its sessions share one.
    paces: HashMap<Holder, Weak<Pace>>,
}

impl Known {
    fn pace(&mut self, holder: Holder) -> Arc<Pace> {
        if let Some(pace) = self.paces.get(&holder).and_then(Weak::upgrade) {
            return pace;
        }
        if self.paces.len() == self.paces.capacity() {
            self.paces.retain(|_, pace| pace.strong_count() > 0);
        }
        let pace = Arc::default();
        self.paces.insert(holder, Arc::downgrade(&pace));
        pace
    }

    fn end(&mut self, ends: impl Fn(&SessionClaims) -> bool) {
        self.by_digest.retain(|_, admitted| {
            let holds = !ends(&admitted.claims);
            if !holds {
                admitted.end();
            }
            holds
        });
    }
}

/// Whether a session ended before its time.
fn has_ended(revoked: &HashSet<LinkId>, ended: &HashSet<LinkSessionId>, claims: &SessionClaims) -> bool {
    match claims.holder {
        Holder::Link(link) => revoked.contains(&link),
        Holder::Member { .. } => ended.contains(&claims.session),
    }
}

/// The sessions admitted so far.
pub(crate) struct Sessions {
    known: Mutex<Known>,
    capacity: usize,
}

impl Sessions {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { known: Mutex::default(), capacity }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while held")
    }

    /// The keys to check signatures with.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.known().keyring)
    }

    /// How many are remembered.
    pub(crate) fn count(&self) -> usize {
        self.known().by_digest.len()
    }

    /// Whether a link is known to be revoked.
    pub(crate) fn is_revoked(&self, link: LinkId) -> bool {
        self.known().revoked.contains(&link)
    }

    /// Whether a session of this digest was admitted before.
    pub(crate) fn knows(&self, digest: &Digest) -> bool {
        self.known().by_digest.contains_key(digest)
    }

    /// The session of this digest, if it was admitted before.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Arc<Admitted>> {
        let admitted = Arc::clone(self.known().by_digest.get(digest)?);
        admitted.used.store(true, Ordering::Relaxed);
        Some(admitted)
    }

    /// Remembers a session whose signature was just found good.
    pub(crate) fn admit(
        &self,
        digest: Digest,
        claims: SessionClaims,
        token: String,
    ) -> Result<Arc<Admitted>, Unverified> {
        let mut known = self.known();
        if has_ended(&known.revoked, &known.ended, &claims) {
            return Err(Unverified::ended(claims.holder));
        }
        if let Some(present) = known.by_digest.get(&digest).filter(|present| !present.has_ended()) {
            return Ok(Arc::clone(present));
        }
        if known.by_digest.len() >= self.capacity {
            make_room(&mut known.by_digest, self.capacity);
        }
        let pace = known.pace(claims.holder);
        let admitted = Arc::new(Admitted::new(claims, token, pace));
        known.by_digest.insert(digest, Arc::clone(&admitted));
        Ok(admitted)
    }

    /// What the server answered a moment ago when it was asked to exchange this link.
    pub(crate) fn refused_link(&self, digest: &Digest) -> Option<Refusal> {
        let known = self.known();
        let (refusal, at) = known.refused.get(digest)?;
        (at.elapsed() < NEGATIVE).then(|| refusal.clone())
    }

    /// The server does not exchange this link; it is not asked again at once.
    pub(crate) fn refuse_link(&self, digest: Digest, refusal: Refusal) {
        let mut known = self.known();
        if known.refused.len() >= self.capacity {
            known.refused.clear();
        }
        known.refused.insert(digest, (refusal, Instant::now()));
    }

    /// Takes a snapshot of keys, revoked links and ended members' sessions in; what no longer holds ends.
    pub(crate) fn replace(
        &self,
        keys: Vec<PublicKey>,
        revoked: Vec<LinkId>,
        ended: Vec<LinkSessionId>,
        now: Timestamp,
    ) {
        let mut known = self.known();
        known.revoked = revoked.into_iter().collect();
        known.ended = ended.into_iter().collect();
        let rotated = known.keys != keys;
        if rotated {
            known.keyring = Arc::new(Keyring::new(&keys));
            known.keys = keys;
        }
        let Known { revoked, ended, keyring, by_digest, .. } = &mut *known;
        by_digest.retain(|_, admitted| {
            let holds = !has_ended(revoked, ended, &admitted.claims)
                && (!rotated || keyring.verify::<SessionClaims>(&admitted.token, now).is_ok());
            if !holds {
                admitted.end();
            }
            holds
        });
    }

    /// A link and all its sessions end now.
    pub(crate) fn revoke(&self, link: LinkId) {
        let mut known = self.known();
        known.revoked.insert(link);
        known.end(|claims| claims.holder == Holder::Link(link));
    }

    /// A member's session ends now.
    pub(crate) fn end(&self, session: LinkSessionId) {
        let mut known = self.known();
        known.ended.insert(session);
        known.end(|claims| claims.holder.is_member() && claims.session == session);
    }

    /// Ends what has expired.
    pub(crate) fn expire(&self, now: Timestamp) {
        let mut known = self.known();
        known.refused.retain(|_, (_, at)| at.elapsed() < NEGATIVE);
        known.by_digest.retain(|_, admitted| {
            let holds = admitted.expires_at > now;
            if !holds {
                admitted.end();
            }
            holds
        });
    }

    /// Ends everything that is open: the lease is over, so a revocation may have been missed. The sessions stay known,
    /// though nobody is let in with them until the lease is back, and it comes back with all that was missed: the same
    /// feed goes on in order, a new one begins with a snapshot, and both end what no longer holds. A link sent as a header would otherwise be exchanged again, which spends another of its visits;
    /// after a restart of the gateway, which keeps nothing, it is.
    pub(crate) fn end_open(&self) {
        for admitted in self.known().by_digest.values_mut() {
            if Arc::strong_count(admitted) > 1 {
                admitted.end();
                *admitted = Arc::new(Admitted::new(
                    admitted.claims.clone(),
                    admitted.token.clone(),
                    Arc::clone(&admitted.pace),
                ));
            }
        }
    }
}

/// Second chance: what nobody holds and nobody used since the last time goes; if that frees nothing, all that
/// nobody holds.
fn make_room(by_digest: &mut HashMap<Digest, Arc<Admitted>>, capacity: usize) {
    by_digest.retain(|_, admitted| Arc::strong_count(admitted) > 1 || admitted.used.swap(false, Ordering::Relaxed));
    if by_digest.len() >= capacity {
        by_digest.retain(|_, admitted| Arc::strong_count(admitted) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(link: &str, expires: i64) -> SessionClaims {
        serde_json::from_value(serde_json::json!({
            "ses": "ls_00000000000000000000000000000001", "lnk": link, "org": "org_00000000000000000000000000000001",
            "ws": "ws_00000000000000000000000000000001", "svc": "web", "lbl": "web--a--b", "exp": expires,
        }))
        .expect("valid claims")
    }

    fn link_of(admitted: &Admitted) -> LinkId {
        match admitted.claims.holder {
            Holder::Link(link) => link,
            Holder::Member { .. } => panic!("a member's session"),
        }
    }

    fn members(session: &str) -> SessionClaims {
        let holder = serde_json::json!({
            "usr": "user_00000000000000000000000000000001", "lgn": "sess_00000000000000000000000000000001",
        });
        let session = session.parse().expect("an id");
        SessionClaims {
            session,
            holder: serde_json::from_value(serde_json::json!({ "mbr": holder })).expect("one"),
            ..claims(ONE, 100)
        }
    }

    const ONE: &str = "link_00000000000000000000000000000001";
    const TWO: &str = "link_00000000000000000000000000000002";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    // proves LINK-2
    #[test]
    fn a_revoked_link_ends_its_sessions_and_admits_no_new_one() {
        let sessions = Sessions::new(10);
        let one = sessions.admit(Digest::of_session("a"), claims(ONE, 100), "a".to_owned()).expect("admitted");
        let two = sessions.admit(Digest::of_session("b"), claims(TWO, 100), "b".to_owned()).expect("admitted");
        sessions.revoke(link_of(&one));
        assert_eq!(one.check(at(1)), Err(Unverified::Revoked));
        assert_eq!(two.check(at(1)), Ok(()));
        assert!(sessions.find(&Digest::of_session("a")).is_none());
        let again = sessions.admit(Digest::of_session("c"), claims(ONE, 100), "c".to_owned());
        assert_eq!(again.expect_err("refused"), Unverified::Revoked);
    }

    // proves LINK-10
    #[test]
    fn a_members_session_that_ended_stays_out_and_others_go_on() {
        let (one, two) = ("ls_00000000000000000000000000000001", "ls_00000000000000000000000000000002");
        let sessions = Sessions::new(10);
        let admit =
            |cookie: &str, session| sessions.admit(Digest::of_session(cookie), members(session), cookie.to_owned());
        let (ends, goes_on) = (admit("a", one).expect("admitted"), admit("b", two).expect("admitted"));
        let of_link = sessions.admit(Digest::of_session("c"), claims(ONE, 100), "c".to_owned()).expect("admitted");
        sessions.end(ends.claims.session);
        assert_eq!(ends.check(at(1)), Err(Unverified::SignedOut));
        assert_eq!(admit("a", one).expect_err("refused"), Unverified::SignedOut);
        assert_eq!((goes_on.check(at(1)), of_link.check(at(1))), (Ok(()), Ok(())));
        // What ended while the feed was lost.
        sessions.replace(Vec::new(), Vec::new(), vec![goes_on.claims.session], at(1));
        assert_eq!((goes_on.check(at(1)), of_link.check(at(1))), (Err(Unverified::SignedOut), Ok(())));
    }

    #[test]
    fn expiry_ends_what_is_open() {
        let sessions = Sessions::new(10);
        let one = sessions.admit(Digest::of_session("a"), claims(ONE, 100), "a".to_owned()).expect("admitted");
        sessions.expire(at(99));
        assert!(!one.ends().is_cancelled());
        sessions.expire(at(100));
        assert!(one.ends().is_cancelled());
        assert_eq!(one.why(at(100)), Unverified::Expired);
    }

    // proves LINK-2
    #[test]
    fn a_lost_lease_ends_what_is_open_and_forgets_nobody() {
        let sessions = Sessions::new(10);
        let digest = Digest::of_link("a");
        let open = sessions.admit(digest, claims(ONE, 100), "a".to_owned()).expect("admitted");
        sessions.end_open();
        assert!(open.ends().is_cancelled());
        let again = sessions.find(&digest).expect("still known");
        assert_eq!(again.check(at(1)), Ok(()));
        sessions.end_open();
        assert!(again.ends().is_cancelled(), "whoever slipped in while the lease is over ends too");
        let again = sessions.find(&digest).expect("still known");
        sessions.replace(Vec::new(), vec![link_of(&again)], Vec::new(), at(1));
        assert!(again.ends().is_cancelled() && sessions.find(&digest).is_none(), "revoked meanwhile");
    }

    #[test]
    fn it_stays_bounded_but_keeps_what_is_held() {
        let sessions = Sessions::new(4);
        let held = sessions.admit(Digest::of_session("held"), claims(ONE, 100), String::new()).expect("admitted");
        for n in 0..50 {
            let token = format!("t{n}");
            sessions.admit(Digest::of_session(&token), claims(TWO, 100), token).expect("admitted");
        }
        assert!(sessions.known().by_digest.len() <= 4);
        sessions.revoke(link_of(&held));
        assert!(held.ends().is_cancelled(), "a session in use is still found by its revocation");
    }

    #[test]
    fn a_link_token_is_no_cookie() {
        assert_ne!(Digest::of_session("x"), Digest::of_link("x"));
    }
}
