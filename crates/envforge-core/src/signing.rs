//! The keys that sign tokens: how one takes over from another without ending what is in use.
//!
//! ```text
//!   announced ──signs_from──► signing ──the next one's signs_from──► verifying ──verifies_until──► dropped
//!       └──────────────────────────────┴── revoked: gone at once ────────┘
//! ```
//!
//! A rotation writes down, in one step, when the new key begins and when the old one ends; from then on time alone
//! decides. So there is no step that a crash can be missing, and servers that read the same keys agree without a word.
//! Until a new key signs, gateways and hosts have long been told of it; until an old one is dropped, the last of what it
//! signed has expired. A server may be behind by [`SLACK`] in what it knows, or with its clock.
//!
//! Revoking waits for nobody: the keys before are no more, and neither is anything they signed.

use crate::link;
use crate::login::later;
use crate::token::PublicKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long a key is known before it signs: several times what a gateway or a host that is cut off takes to be refused,
/// or to come again and be told.
pub const ANNOUNCED_FOR: SignedDuration = SignedDuration::from_secs(60);
/// Longest life of anything that is signed.
pub const LONGEST_LIFE: SignedDuration = link::MAX_EXPIRY;
/// How far a server may be behind and still sign with the key before.
pub const SLACK: SignedDuration = SignedDuration::from_hours(1);
/// Most keys at a time: each is told to every gateway and host.
pub const KEYS_MAX: usize = 8;

/// A signing key, without its private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// What verifiers hold.
    pub public: PublicKey,
    /// When it was made, and told to everybody.
    pub announced_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Until when it verifies; without end while no other one is to follow.
    pub verifies_until: Option<Timestamp>,
}

/// What a key is for at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SigningState {
    /// It is told to gateways and hosts, and signs nothing yet.
    Announced,
    /// It signs.
    Signing,
    /// Another one signs; what it signed still holds.
    Verifying,
    /// Nothing that it signed holds.
    Dropped,
}

/// Why keys are not rotated now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationRefused {
    /// A new key was announced and does not sign yet.
    #[error("the key {id} was announced already and signs from {signs_from} on")]
    UnderWay {
        /// That key.
        id: String,
        /// When it begins.
        signs_from: Timestamp,
    },
    /// Too many old ones still verify.
    #[error("there are {KEYS_MAX} signing keys already, and the first is dropped at {dropped_at}")]
    TooMany {
        /// When there is room again.
        dropped_at: Timestamp,
    },
}

/// All keys of the installation. There is always one that signs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningKeys(Vec<SigningKey>);

impl SigningKeys {
    /// Keys as they were stored, in any order.
    pub fn new(mut keys: Vec<SigningKey>) -> Self {
        keys.sort_by(|a, b| (a.signs_from, &a.public.id).cmp(&(b.signs_from, &b.public.id)));
        Self(keys)
    }

    /// Those of an installation that had none: one that has been signing for ever.
    pub fn first(public: PublicKey, now: Timestamp) -> Self {
        Self(vec![SigningKey { public, announced_at: now, signs_from: Timestamp::UNIX_EPOCH, verifies_until: None }])
    }

    /// All of them, in the order in which they sign.
    pub fn all(&self) -> &[SigningKey] {
        &self.0
    }

    /// What a key of these is for.
    pub fn state(&self, key: &SigningKey, now: Timestamp) -> SigningState {
        if key.verifies_until.is_some_and(|until| until <= now) {
            SigningState::Dropped
        } else if self.signer(now, |_| true).is_some_and(|signer| signer.public.id == key.public.id) {
            SigningState::Signing
        } else if key.signs_from > now {
            SigningState::Announced
        } else {
            SigningState::Verifying
        }
    }

    /// The key that signs: the one that began last, of those whose private half is at hand. A server whose clock is
    /// behind a revocation has none that began, and takes the first that will.
    pub fn signer(&self, now: Timestamp, is_at_hand: impl Fn(&str) -> bool) -> Option<&SigningKey> {
        let at_hand = || self.0.iter().filter(|key| is_at_hand(&key.public.id));
        at_hand().rfind(|key| key.signs_from <= now).or_else(|| at_hand().next())
    }

    /// What verifiers are to trust: all that are not dropped, announced ones too.
    pub fn trusted(&self, now: Timestamp) -> Vec<PublicKey> {
        let living = self.0.iter().filter(|key| key.verifies_until.is_none_or(|until| until > now));
        living.map(|key| key.public.clone()).collect()
    }

    /// When the oldest of them began: what was signed before that was signed by a key that is no more.
    pub fn since(&self) -> Timestamp {
        self.0.first().map_or(Timestamp::UNIX_EPOCH, |key| key.signs_from)
    }

    /// Announces a key, which will sign after [`ANNOUNCED_FOR`]; the one in use gets its end.
    pub fn rotate(&mut self, public: PublicKey, now: Timestamp) -> Result<(), RotationRefused> {
        if let Some(next) = self.0.iter().find(|key| key.signs_from > now) {
            return Err(RotationRefused::UnderWay { id: next.public.id.clone(), signs_from: next.signs_from });
        }
        if let Some(dropped_at) = self.0.iter().filter_map(|key| key.verifies_until).min()
            && self.0.len() >= KEYS_MAX
        {
            return Err(RotationRefused::TooMany { dropped_at });
        }
        let signs_from = later(now, ANNOUNCED_FOR);
        if let Some(last) = self.0.last_mut() {
            last.verifies_until = Some(later(signs_from, LONGEST_LIFE.saturating_add(SLACK)));
        }
        self.0.push(SigningKey { public, announced_at: now, signs_from, verifies_until: None });
        Ok(())
    }

    /// Puts a key in the place of all others, at once.
    pub fn revoke(&mut self, public: PublicKey, now: Timestamp) {
        self.0 = vec![SigningKey { public, announced_at: now, signs_from: now, verifies_until: None }];
    }

    /// Keys that nobody signs with any more, however far behind: their private halves are to be destroyed.
    pub fn spent(&self, now: Timestamp) -> impl Iterator<Item = &SigningKey> {
        self.0.windows(2).filter(move |pair| later(pair[1].signs_from, SLACK) <= now).map(|pair| &pair[0])
    }

    /// Forgets what is dropped.
    pub fn forget_dropped(&mut self, now: Timestamp) -> Vec<SigningKey> {
        self.0.extract_if(.., |key| key.verifies_until.is_some_and(|until| until <= now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(n: u32) -> PublicKey {
        PublicKey { id: format!("{n:08x}"), key: String::new() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + second).expect("in range")
    }

    fn states(keys: &SigningKeys, now: Timestamp) -> Vec<SigningState> {
        keys.all().iter().map(|key| keys.state(key, now)).collect()
    }

    // proves LINK-2
    #[test]
    fn a_key_is_announced_signs_verifies_and_is_dropped() {
        use SigningState::{Announced, Dropped, Signing, Verifying};
        let mut keys = SigningKeys::first(public(1), at(0));
        keys.rotate(public(2), at(0)).expect("nothing is under way");
        assert_eq!(states(&keys, at(59)), [Signing, Announced]);
        let again = keys.clone().rotate(public(3), at(59));
        assert_eq!(again, Err(RotationRefused::UnderWay { id: "00000002".to_owned(), signs_from: at(60) }));
        assert_eq!(states(&keys, at(60)), [Verifying, Signing]);
        assert_eq!((keys.spent(at(3_659)).count(), keys.spent(at(3_660)).count()), (0, 1));
        let end = 60 + 30 * 86_400 + 3_600;
        assert_eq!(states(&keys, at(end - 1)), [Verifying, Signing]);
        assert_eq!(states(&keys, at(end)), [Dropped, Signing]);
        assert_eq!(keys.trusted(at(end)), [public(2)]);
        assert_eq!(keys.forget_dropped(at(end)).len(), 1);
        assert_eq!(states(&keys, at(end)), [Signing]);
    }

    #[test]
    fn keys_do_not_pile_up() {
        let mut keys = SigningKeys::first(public(0), at(0));
        for n in 1..KEYS_MAX {
            keys.rotate(public(n as u32), at(n as i64 * 100)).expect("there is room");
        }
        let refused = keys.rotate(public(99), at(10_000)).expect_err("no room");
        assert_eq!(refused, RotationRefused::TooMany { dropped_at: at(160 + 30 * 86_400 + 3_600) });
        keys.revoke(public(99), at(10_000));
        assert_eq!(states(&keys, at(10_000)), [SigningState::Signing]);
    }

    /// What may happen to an installation, and what a server does.
    #[derive(Debug, Clone)]
    enum Step {
        Wait(i64),
        Rotate,
        Revoke,
        /// Keys are rotated, and the server is killed before the commit.
        Killed,
        Tidy,
        /// A server signs for so long, with its clock off by so much; it may not have read the keys since the last change.
        Sign {
            life: i64,
            skew: i64,
            is_behind: bool,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            prop_oneof![0_i64..5, 0_i64..200, 0_i64..3_000_000].prop_map(Step::Wait),
            Just(Step::Rotate),
            Just(Step::Killed),
            Just(Step::Tidy),
            Just(Step::Revoke),
            (0_i64..=30 * 86_400, -5_i64..=5, any::<bool>()).prop_map(|(life, skew, is_behind)| Step::Sign {
                life,
                skew,
                is_behind
            }),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// Whatever comes in whatever order: what was signed holds until it expires or its key is revoked, everybody who
        /// heard of the keys half a minute ago can verify it, and after a revocation nothing of before holds.
        // proves LINK-2
        #[test]
        fn what_was_signed_holds_until_it_expires_or_is_revoked(steps in steps()) {
            let (mut now, mut made) = (0_i64, 1_u32);
            let mut keys = SigningKeys::first(public(0), at(-100));
            // What a server that missed the last change still goes by, and since when.
            let (mut before, mut changed) = (keys.clone(), 0);
            let mut tokens: Vec<(String, i64)> = Vec::new();
            let mut revoked_at = -1_000;
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Killed => drop(keys.clone().rotate(public(u32::MAX), at(now))),
                    Step::Rotate => {
                        let last = keys.clone();
                        if keys.rotate(public(made), at(now)).is_ok() {
                            (before, changed, made) = (last, now, made + 1);
                        }
                    }
                    Step::Revoke => {
                        keys.revoke(public(made), at(now));
                        (before, changed, revoked_at, made) = (keys.clone(), now, now, made + 1);
                        for (id, _) in &tokens {
                            prop_assert!(keys.trusted(at(now)).iter().all(|key| key.id != *id));
                        }
                        tokens.clear();
                    }
                    Step::Tidy => {
                        for dropped in keys.forget_dropped(at(now)) {
                            prop_assert!(tokens.iter().all(|(id, until)| *id != dropped.public.id || *until <= now));
                        }
                    }
                    Step::Sign { life, skew, is_behind } => {
                        let goes_by = if is_behind && now - changed < 1_800 { &before } else { &keys };
                        let spent: Vec<_> = goes_by.spent(at(now)).map(|key| key.public.id.clone()).collect();
                        let signer = goes_by.signer(at(now + skew), |_| true).expect("one signs").public.id.clone();
                        prop_assert!(!spent.contains(&signer), "its private half is destroyed");
                        let mut heard = keys.all().iter().filter(|key| key.announced_at <= at(now - 30));
                        let is_known = heard.any(|key| key.public.id == signer);
                        prop_assert!(is_known || now - revoked_at < 60);
                        tokens.push((signer, now + life));
                    }
                }
                let signing = states(&keys, at(now)).into_iter().filter(|state| *state == SigningState::Signing);
                prop_assert_eq!(signing.count(), 1);
                prop_assert!(keys.all().len() <= KEYS_MAX);
                for (id, until) in &tokens {
                    let is_trusted = keys.trusted(at(now)).iter().any(|key| key.id == *id);
                    prop_assert!(is_trusted || *until <= now, "{} must hold until {}, it is {}", id, until, now);
                }
            }
        }
    }
}
