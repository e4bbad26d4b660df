//! Signing in: how long sessions last, who may sign up, where one may be sent afterwards, and the device flow.
//!
//! A session ends when it was not used for [`IDLE`], and in any case after [`ABSOLUTE`]. A device grant (RFC 8628) is
//! decided once by a person and answered to the device that polls for it; whoever polls too fast is slowed down.

use crate::clock::Entropy;
use crate::email::EmailAddress;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::str::FromStr;

/// A session that was not used for so long has ended.
pub const IDLE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A session ends after so long, used or not.
pub const ABSOLUTE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often a provider is asked whether it still vouches for somebody.
pub const ASKED_EVERY: SignedDuration = SignedDuration::from_mins(15);
/// A session whose provider did not vouch for its person for this long ends.
pub const UNVOUCHED_MAX: SignedDuration = SignedDuration::from_hours(24);
/// How exactly the last use of a session is known.
pub const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// How long somebody may take at the provider.
pub const ATTEMPT: SignedDuration = SignedDuration::from_mins(10);
/// How long a link in a mail works.
pub const MAGIC_LINK: SignedDuration = SignedDuration::from_mins(15);
/// How long a device may wait to be allowed.
pub const DEVICE: SignedDuration = SignedDuration::from_mins(10);
/// How long the code works that a browser hands to the program on the same machine.
pub const LOOPBACK_CODE: SignedDuration = SignedDuration::from_secs(60);
/// How long the key of a signed-in machine works.
pub const MACHINE_KEY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// When a session ends that was last used at `seen_at` and ends at `expires_at` in any case.
pub fn session_end(seen_at: Timestamp, expires_at: Timestamp) -> Timestamp {
    later(seen_at, IDLE).min(expires_at)
}

/// An instant later by `by`; the end of time when there is none.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Who may make an account by signing in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SignUp {
    /// Nobody: who signs in has an account already.
    #[default]
    Closed,
    /// Whoever has a verified address that an invitation which can be accepted is for.
    Invited,
    /// Whoever has a verified address in one of these domains.
    Domains(Vec<String>),
    /// Whoever a provider or a mailbox vouches for.
    Open,
}

impl SignUp {
    /// Whether somebody with this verified address, or none, may make an account; `is_invited` when an invitation that
    /// can be accepted is for that address.
    pub fn admits(&self, verified: Option<&EmailAddress>, is_invited: bool) -> bool {
        match self {
            Self::Closed => false,
            Self::Invited => verified.is_some() && is_invited,
            // The domain itself: whoever owns a name does not vouch for those below it.
            Self::Domains(domains) => {
                verified.is_some_and(|address| domains.iter().any(|domain| domain == address.domain()))
            }
            Self::Open => true,
        }
    }
}

impl FromStr for SignUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "closed" => Ok(Self::Closed),
            "invited" => Ok(Self::Invited),
            "open" => Ok(Self::Open),
            _ => {
                let domains =
                    text.strip_prefix("domain:").ok_or("give `closed`, `invited`, `domain:example.org` or `open`")?;
                let domains: Vec<_> = domains.split(',').map(|domain| domain.trim().to_ascii_lowercase()).collect();
                match domains.iter().find(|domain| format!("x@{domain}").parse::<EmailAddress>().is_err()) {
                    Some(bad) => Err(format!("`{bad}` is no domain")),
                    None => Ok(Self::Domains(domains)),
                }
            }
        }
    }
}

/// Longest place to return to.
const RETURN_MAX: usize = 1_000;

/// The path on this server that `wanted` names; `/` when it names anything else. Browsers read `\` as `/` and skip tabs
/// and line breaks, so neither passes.
pub fn return_path(wanted: Option<&str>) -> &str {
    wanted
        .filter(|path| {
            path.starts_with('/')
                && !path.starts_with("//")
                && path.len() <= RETURN_MAX
                && path.chars().all(|c| c.is_ascii_graphic() && c != '\\')
        })
        .unwrap_or("/")
}

/// A path as the value of a parameter in a query.
pub fn in_query(path: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Letters of user codes: no vowels, so that no words come out, and none that look alike (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters in a user code: 34 bits, of which a guesser has a few hundred tries at most while one is open.
const CODE_LEN: usize = 8;

/// What a person compares, or types, to allow a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// A fresh one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut code = String::with_capacity(CODE_LEN);
        while code.len() < CODE_LEN {
            let mut byte = [0_u8; 1];
            entropy.fill(&mut byte);
            // 240 is a multiple of 20: every letter is as likely.
            if byte[0] < 240 {
                code.push(char::from(LETTERS[usize::from(byte[0] % 20)]));
            }
        }
        Self(code)
    }

    /// As stored: letters only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", &self.0[..4], &self.0[4..])
    }
}

impl FromStr for UserCode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let letters = text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase());
        let code: String = letters.take(CODE_LEN + 1).collect();
        if code.len() == CODE_LEN && code.bytes().all(|byte| LETTERS.contains(&byte)) {
            Ok(Self(code))
        } else {
            Err(())
        }
    }
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The device may act as them.
    Approved,
    /// It may not.
    Denied,
}

/// What a device that polls is told (RFC 8628, 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Nobody decided yet.
    Pending,
    /// Nobody decided yet, and it polls too fast: this many seconds apart from now on.
    SlowDown(u32),
    /// It waited too long.
    Expired,
    /// Somebody said no.
    Denied,
    /// Somebody said yes.
    Approved,
}

/// Seconds between polls in the beginning.
pub const INTERVAL: u32 = 5;
/// Seconds added for each poll that came too early.
const SLOWER: u32 = 5;
/// Most seconds between polls.
const INTERVAL_MAX: u32 = 60;

/// A device that waits to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceGrant {
    /// Until when.
    pub expires_at: Timestamp,
    /// Seconds between polls.
    pub interval: u32,
    /// The last poll.
    pub polled_at: Option<Timestamp>,
    /// What a person decided.
    pub decision: Option<Decision>,
}

impl DeviceGrant {
    /// One that begins now.
    pub fn begin(now: Timestamp) -> Self {
        Self { expires_at: later(now, DEVICE), interval: INTERVAL, polled_at: None, decision: None }
    }

    /// The device asks.
    pub fn poll(&mut self, now: Timestamp) -> Poll {
        if self.expires_at <= now {
            return Poll::Expired;
        }
        match self.decision {
            Some(Decision::Approved) => return Poll::Approved,
            Some(Decision::Denied) => return Poll::Denied,
            None => {}
        }
        let wait = SignedDuration::from_secs(i64::from(self.interval));
        let is_early = self.polled_at.is_some_and(|last| now < later(last, wait));
        self.polled_at = Some(now);
        if is_early {
            self.interval = (self.interval + SLOWER).min(INTERVAL_MAX);
            return Poll::SlowDown(self.interval);
        }
        Poll::Pending
    }

    /// A person decides; `false` when it is too late, or was decided before.
    pub fn decide(&mut self, decision: Decision, now: Timestamp) -> bool {
        let is_open = self.decision.is_none() && now < self.expires_at;
        if is_open {
            self.decision = Some(decision);
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).unwrap()
    }

    // proves ORG-1
    #[test]
    fn a_session_ends_idle_or_old() {
        let ends = later(at(0), ABSOLUTE);
        assert_eq!(session_end(at(0), ends), later(at(0), IDLE));
        assert_eq!(session_end(at(80 * 86_400), ends), ends);
    }

    #[test]
    fn sign_up_is_closed_unless_said_otherwise() {
        let ada: EmailAddress = "ada@example.org".parse().unwrap();
        assert_eq!("closed".parse(), Ok(SignUp::default()));
        assert!(!SignUp::Closed.admits(Some(&ada), true) && SignUp::Open.admits(None, false));
        let invited: SignUp = "invited".parse().unwrap();
        assert!(invited.admits(Some(&ada), true) && !invited.admits(Some(&ada), false) && !invited.admits(None, true));
        let domains: SignUp = "domain:Example.org, example.net".parse().unwrap();
        assert!(domains.admits(Some(&ada), false) && !domains.admits(None, true));
        assert!(!domains.admits(Some(&"ada@sub.example.org".parse().unwrap()), true));
        for bad in ["", "anyone", "domain:", "domain:example", "domain:a b.org"] {
            assert!(bad.parse::<SignUp>().is_err(), "{bad}");
        }
    }

    // proves LINK-10
    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(return_path(Some("/orgs/acme?tab=1#x")), "/orgs/acme?tab=1#x");
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "evil",
            "/a\r\nb",
            "/é",
        ] {
            assert_eq!(return_path(Some(bad)), "/", "{bad:?}");
        }
        assert_eq!(return_path(None), "/");
    }

    struct Counting(std::sync::atomic::AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0.fetch_add(37, std::sync::atomic::Ordering::Relaxed));
        }
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = UserCode::generate(&Counting(9.into()));
        assert_eq!(code.to_string().to_lowercase().replace('-', " ").parse(), Ok(code.clone()));
        assert_eq!(code.to_string().len(), 9);
        for bad in ["", "AAAA-AAAA", "BCDF-GHJ", "BCDF-GHJKL"] {
            assert!(bad.parse::<UserCode>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever is polled and decided, in any order: one decision stays, none outlives the expiry, the interval only
        /// grows, and polling at the pace told is never slowed down.
        #[test]
        fn a_device_is_told_the_truth(steps in prop::collection::vec((0_u32..90, 0_u8..4), 0..40)) {
            let mut grant = DeviceGrant::begin(at(0));
            let (mut now, mut first, mut polled) = (at(0), None, None);
            for (seconds, what) in steps {
                now = later(now, SignedDuration::from_secs(i64::from(seconds)));
                let interval = grant.interval;
                match what {
                    0 => if grant.decide(Decision::Approved, now) { prop_assert!(first.replace(Decision::Approved).is_none()); },
                    1 => if grant.decide(Decision::Denied, now) { prop_assert!(first.replace(Decision::Denied).is_none()); },
                    _ => {
                        let answer = grant.poll(now);
                        let expected = if now >= later(at(0), DEVICE) { Some(Poll::Expired) } else {
                            first.map(|decision| if decision == Decision::Approved { Poll::Approved } else { Poll::Denied })
                        };
                        if let Some(expected) = expected {
                            prop_assert_eq!(answer, expected);
                        } else {
                            let pace = SignedDuration::from_secs(i64::from(interval));
                            let is_patient = polled.is_none_or(|last| now >= later(last, pace));
                            prop_assert_eq!(answer == Poll::Pending, is_patient);
                            polled = Some(now);
                        }
                    }
                }
                prop_assert!(grant.interval >= interval && grant.interval <= 60);
            }
        }
    }
}
