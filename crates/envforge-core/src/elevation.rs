//! Root in a workspace: the org's policy, and the life of one elevation.
//!
//! ```text
//!   requested ─approve─► approved ─first terminal─► active
//!       │ refuse            │                          │
//!       │ withdraw          └── revoke, expire, close ─┴─► ended
//!       └► refused, withdrawn; nobody answered: ended (expired)
//! ```
//!
//! An elevation is one person's right to root terminals in one workspace for so many minutes, from the approval on. It
//! says nothing about links: no link, session or gateway is ever a party to it. Under `workspace` the request is its own
//! approval; under `break_glass` somebody else approves, and another key of the requester is not somebody else.

use crate::id::UserId;
use crate::refusal::{Refusal, RefusalKind};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest time box, in minutes.
pub const MINUTES_MAX: u32 = 8 * 60;
/// Time box of a request that names none, in minutes; less where the policy allows less.
pub const DEFAULT_MINUTES: u32 = 30;
/// Longest reason, in characters.
pub const REASON_MAX: usize = 500;
/// How long a request waits for an answer.
pub const REQUEST_LIFE: SignedDuration = SignedDuration::from_mins(60);

/// Who may become root in an org's workspaces, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum RootPolicy {
    /// Nobody.
    #[default]
    Disabled,
    /// A member who asks with a reason, once somebody else has approved.
    BreakGlass {
        /// Longest time box, in minutes.
        max_minutes: u32,
    },
    /// A member who asks with a reason, at once.
    Workspace {
        /// Longest time box, in minutes.
        max_minutes: u32,
    },
}

impl RootPolicy {
    /// The mode in storage and JSON.
    pub const fn mode(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::BreakGlass { .. } => "break_glass",
            Self::Workspace { .. } => "workspace",
        }
    }

    /// Longest time box, in minutes; 0 when nobody may.
    pub const fn max_minutes(self) -> u32 {
        match self {
            Self::Disabled => 0,
            Self::BreakGlass { max_minutes } | Self::Workspace { max_minutes } => max_minutes,
        }
    }

    /// The policy of a stored mode; what is not known is `disabled`.
    pub fn from_storage(mode: &str, max_minutes: u32) -> Self {
        match mode {
            "break_glass" => Self::BreakGlass { max_minutes },
            "workspace" => Self::Workspace { max_minutes },
            _ => Self::Disabled,
        }
    }

    /// Whether its numbers are in range.
    pub fn check(self) -> Result<(), ElevationRefused> {
        let fits = matches!(self, Self::Disabled) || (1..=MINUTES_MAX).contains(&self.max_minutes());
        fits.then_some(()).ok_or(ElevationRefused::PolicyMinutes)
    }
}

/// Where an elevation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ElevationState {
    /// Waits for an approver.
    Requested,
    /// A terminal may be opened.
    Approved,
    /// One was.
    Active,
    /// An approver said no.
    Refused,
    /// The requester took it back before it was answered.
    Withdrawn,
    /// It is over.
    Ended,
}

impl ElevationState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Requested, Self::Approved, Self::Active, Self::Refused, Self::Withdrawn, Self::Ended];

    /// The name in storage and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Ended => "ended",
        }
    }

    /// The state of a stored name.
    pub fn from_storage(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether anything can still come of it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Approved | Self::Active)
    }

    /// Whether terminals may be opened.
    pub const fn is_granted(self) -> bool {
        matches!(self, Self::Approved | Self::Active)
    }
}

/// Why one is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// An approver, or a change of the policy, took it back.
    Revoked,
    /// Its time was over, or nobody answered the request.
    Expired,
    /// The requester was done, or the workspace is gone.
    Closed,
}

impl EndReason {
    /// The name in storage and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Closed => "closed",
        }
    }

    /// The reason of a stored name.
    pub fn from_storage(text: &str) -> Option<Self> {
        [Self::Revoked, Self::Expired, Self::Closed].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A step that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Asked for.
    Requested,
    /// Approved, by an approver or by the policy.
    Approved,
    /// An approver said no.
    Refused,
    /// Taken back before it was answered.
    Withdrawn,
    /// The first terminal is being opened.
    Activated,
    /// Over.
    Ended(EndReason),
}

impl Step {
    /// The ledger's verb.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Requested => "elevation.requested",
            Self::Approved => "elevation.approved",
            Self::Refused => "elevation.refused",
            Self::Withdrawn => "elevation.withdrawn",
            Self::Activated => "elevation.activated",
            Self::Ended(EndReason::Revoked) => "elevation.revoked",
            Self::Ended(EndReason::Expired) => "elevation.expired",
            Self::Ended(EndReason::Closed) => "elevation.closed",
        }
    }
}

/// Who takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// The person, whichever key they hold.
    pub user: UserId,
    /// Whether the permission table lets them approve.
    pub may_approve: bool,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElevationRefused {
    /// The policy is `disabled`.
    #[error("the organization's root policy is `disabled`")]
    Disabled,
    /// No reason, or too long a one.
    #[error("a reason of 1 to 500 characters is needed")]
    Reason,
    /// A time box out of range.
    #[error("the time box is 1 to {0} minutes here")]
    Minutes(u32),
    /// A policy's time box out of range.
    #[error("a policy's longest time box is 1 to 480 minutes")]
    PolicyMinutes,
    /// The requester would approve, or refuse, their own request.
    #[error("another person has to answer this request")]
    OwnRequest,
    /// Not an approver.
    #[error("only an approver may do this")]
    NotApprover,
    /// Somebody else's terminal.
    #[error("a root terminal is only for the person who asked for it")]
    NotRequester,
    /// Nobody has approved yet.
    #[error("nobody has approved this request yet")]
    NotApproved,
    /// It was answered before.
    #[error("this request was answered already")]
    Answered,
    /// It is over.
    #[error("this elevation is over")]
    Over,
}

impl ElevationRefused {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Disabled => "elevation.disabled",
            Self::Reason => "elevation.reason",
            Self::Minutes(_) => "elevation.minutes",
            Self::PolicyMinutes => "root_policy.minutes",
            Self::OwnRequest => "elevation.own_request",
            Self::NotApprover => "elevation.not_approver",
            Self::NotRequester => "elevation.not_requester",
            Self::NotApproved => "elevation.not_approved",
            Self::Answered => "elevation.answered",
            Self::Over => "elevation.over",
        }
    }

    const fn kind(self) -> RefusalKind {
        match self {
            Self::Reason | Self::Minutes(_) | Self::PolicyMinutes => RefusalKind::Invalid,
            Self::Disabled | Self::OwnRequest | Self::NotApprover | Self::NotRequester => RefusalKind::Forbidden,
            Self::NotApproved | Self::Answered | Self::Over => RefusalKind::Conflict,
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Disabled => "an owner or admin sets it with `envforge root policy`",
            Self::Reason => "say what root is needed for: it is kept in the ledger",
            Self::Minutes(_) | Self::PolicyMinutes => "give it with `--minutes`",
            Self::OwnRequest | Self::NotApprover | Self::NotApproved => {
                "an owner or admin who is not the requester answers it with `envforge root approve` or `refuse`"
            }
            Self::NotRequester => "ask for your own with `envforge root request`",
            Self::Answered | Self::Over => "`envforge root list` shows how it stands",
        }
    }
}

impl From<ElevationRefused> for Refusal {
    fn from(refused: ElevationRefused) -> Self {
        Self::new(refused.kind(), refused.code(), refused.to_string()).hint(refused.hint())
    }
}

/// One elevation, as the rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elevation {
    /// Where it stands.
    pub state: ElevationState,
    /// Why it is over, once ended.
    pub ended: Option<EndReason>,
    /// Who asked, and whose terminals they are.
    pub requester: UserId,
    /// The time box in minutes.
    pub minutes: u32,
    /// End of the time box; before the approval, end of the wait for one.
    pub expires_at: Timestamp,
}

impl Elevation {
    /// A request under a policy; the second step, if any, is the approval that the policy gives by itself.
    pub fn request(
        policy: RootPolicy,
        requester: UserId,
        reason: &str,
        minutes: Option<u32>,
        now: Timestamp,
    ) -> Result<(Self, Option<Step>), ElevationRefused> {
        let most = policy.max_minutes();
        if matches!(policy, RootPolicy::Disabled) {
            return Err(ElevationRefused::Disabled);
        }
        let length = reason.chars().count();
        if reason.trim().is_empty() || length > REASON_MAX || reason.chars().any(char::is_control) {
            return Err(ElevationRefused::Reason);
        }
        let minutes = minutes.unwrap_or(DEFAULT_MINUTES.min(most));
        if minutes == 0 || minutes > most {
            return Err(ElevationRefused::Minutes(most));
        }
        let mut elevation = Self {
            state: ElevationState::Requested,
            ended: None,
            requester,
            minutes,
            expires_at: now.saturating_add(REQUEST_LIFE).unwrap_or(Timestamp::MAX),
        };
        let approved = matches!(policy, RootPolicy::Workspace { .. }).then(|| elevation.grant(now));
        Ok((elevation, approved))
    }

    fn grant(&mut self, now: Timestamp) -> Step {
        self.state = ElevationState::Approved;
        let minutes = SignedDuration::from_mins(i64::from(self.minutes));
        self.expires_at = now.saturating_add(minutes).unwrap_or(Timestamp::MAX);
        Step::Approved
    }

    /// Whether `party` may answer the request at `now`.
    fn answerable(&self, party: Party, now: Timestamp) -> Result<(), ElevationRefused> {
        match self.state {
            ElevationState::Requested if self.expires_at <= now => Err(ElevationRefused::Over),
            ElevationState::Requested if !party.may_approve => Err(ElevationRefused::NotApprover),
            ElevationState::Requested if party.user == self.requester => Err(ElevationRefused::OwnRequest),
            ElevationState::Requested => Ok(()),
            ElevationState::Ended => Err(ElevationRefused::Over),
            _ => Err(ElevationRefused::Answered),
        }
    }

    /// Approves; the time box begins.
    pub fn approve(&mut self, party: Party, now: Timestamp) -> Result<Step, ElevationRefused> {
        self.answerable(party, now)?;
        Ok(self.grant(now))
    }

    /// Says no.
    pub fn refuse(&mut self, party: Party, now: Timestamp) -> Result<Step, ElevationRefused> {
        self.answerable(party, now)?;
        self.state = ElevationState::Refused;
        Ok(Step::Refused)
    }

    /// Takes it back: the requester withdraws or closes, an approver refuses or revokes.
    pub fn revoke(&mut self, party: Party, now: Timestamp) -> Result<Step, ElevationRefused> {
        let own = party.user == self.requester;
        match self.state {
            ElevationState::Requested if own => {
                self.state = ElevationState::Withdrawn;
                Ok(Step::Withdrawn)
            }
            ElevationState::Requested => self.refuse(party, now),
            ElevationState::Approved | ElevationState::Active if own => Ok(self.end(EndReason::Closed)),
            ElevationState::Approved | ElevationState::Active if party.may_approve => Ok(self.end(EndReason::Revoked)),
            ElevationState::Approved | ElevationState::Active => Err(ElevationRefused::NotApprover),
            _ => Err(ElevationRefused::Over),
        }
    }

    /// Whether `user` may open a terminal at `now`; the step, if it is the first.
    pub fn open(&mut self, user: UserId, now: Timestamp) -> Result<Option<Step>, ElevationRefused> {
        if user != self.requester {
            return Err(ElevationRefused::NotRequester);
        }
        match self.state {
            ElevationState::Requested => Err(ElevationRefused::NotApproved),
            ElevationState::Approved | ElevationState::Active if self.expires_at <= now => Err(ElevationRefused::Over),
            ElevationState::Approved => {
                self.state = ElevationState::Active;
                Ok(Some(Step::Activated))
            }
            ElevationState::Active => Ok(None),
            _ => Err(ElevationRefused::Over),
        }
    }

    /// Ends it if its time, or the wait for an answer, is over.
    pub fn expire(&mut self, now: Timestamp) -> Option<Step> {
        (self.state.is_open() && self.expires_at <= now).then(|| self.end(EndReason::Expired))
    }

    /// Ends it whatever its time: the policy changed, or the workspace goes.
    pub fn cut(&mut self, why: EndReason) -> Option<Step> {
        self.state.is_open().then(|| self.end(why))
    }

    fn end(&mut self, why: EndReason) -> Step {
        self.state = ElevationState::Ended;
        self.ended = Some(why);
        Step::Ended(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id as _;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn user(number: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(number))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn requester() -> Party {
        Party { user: user(0), may_approve: true }
    }

    fn glass() -> Elevation {
        let policy = RootPolicy::BreakGlass { max_minutes: 60 };
        Elevation::request(policy, requester().user, "the disk is full", Some(10), at(0)).expect("asked").0
    }

    // proves ORG-4
    #[test]
    fn the_policy_decides_who_is_asked() {
        let ask = |policy, reason: &str, minutes| Elevation::request(policy, user(0), reason, minutes, at(0));
        assert_eq!(ask(RootPolicy::default(), "why", None), Err(ElevationRefused::Disabled));
        let workspace = RootPolicy::Workspace { max_minutes: 20 };
        let (granted, step) = ask(workspace, "why", None).expect("granted");
        assert_eq!((granted.state, step), (ElevationState::Approved, Some(Step::Approved)));
        assert_eq!((granted.minutes, granted.expires_at), (20, at(20 * 60)));
        for (reason, minutes, refused) in [
            ("", None, ElevationRefused::Reason),
            (" \t ", None, ElevationRefused::Reason),
            ("two\nlines", None, ElevationRefused::Reason),
            (&*"x".repeat(REASON_MAX + 1), None, ElevationRefused::Reason),
            ("why", Some(0), ElevationRefused::Minutes(20)),
            ("why", Some(21), ElevationRefused::Minutes(20)),
        ] {
            assert_eq!(ask(workspace, reason, minutes), Err(refused), "{reason:?} {minutes:?}");
        }
        assert_eq!(glass().state, ElevationState::Requested);
        assert!(RootPolicy::BreakGlass { max_minutes: 0 }.check().is_err());
        assert!(RootPolicy::Workspace { max_minutes: MINUTES_MAX + 1 }.check().is_err());
        assert!(RootPolicy::Disabled.check().is_ok());
    }

    // proves ORG-4
    #[test]
    fn another_person_approves_and_only_the_requester_enters() {
        let mut elevation = glass();
        assert_eq!(elevation.approve(requester(), at(1)), Err(ElevationRefused::OwnRequest));
        let bystander = Party { user: user(1), may_approve: false };
        let approver = Party { user: user(2), may_approve: true };
        assert_eq!(elevation.approve(bystander, at(1)), Err(ElevationRefused::NotApprover));
        assert_eq!(elevation.open(requester().user, at(1)), Err(ElevationRefused::NotApproved));
        assert_eq!(elevation.approve(approver, at(100)), Ok(Step::Approved));
        assert_eq!(elevation.expires_at, at(100 + 10 * 60), "the time box begins with the approval");
        assert_eq!(elevation.approve(approver, at(101)), Err(ElevationRefused::Answered));
        assert_eq!(elevation.open(approver.user, at(101)), Err(ElevationRefused::NotRequester));
        assert_eq!(elevation.open(requester().user, at(101)), Ok(Some(Step::Activated)));
        assert_eq!(elevation.open(requester().user, at(102)), Ok(None));
        assert_eq!(elevation.revoke(bystander, at(103)), Err(ElevationRefused::NotApprover));
        let mut closed = elevation;
        assert_eq!(closed.revoke(requester(), at(103)), Ok(Step::Ended(EndReason::Closed)));
        assert_eq!(elevation.revoke(approver, at(103)), Ok(Step::Ended(EndReason::Revoked)));
        assert_eq!(elevation.open(requester().user, at(104)), Err(ElevationRefused::Over));
        assert_eq!(glass().revoke(requester(), at(1)), Ok(Step::Withdrawn));
        assert_eq!(glass().approve(approver, at(3600)), Err(ElevationRefused::Over), "nobody answered in time");
    }

    #[derive(Debug, Clone, Copy)]
    enum Move {
        Approve(Party),
        Refuse(Party),
        Revoke(Party),
        Open(UserId),
        Expire,
        Cut,
    }

    fn moves() -> impl Strategy<Value = Vec<(Move, i64)>> {
        let party = (0_u128..3, any::<bool>()).prop_map(|(who, may_approve)| Party { user: user(who), may_approve });
        let one = prop_oneof![
            party.clone().prop_map(Move::Approve),
            party.clone().prop_map(Move::Refuse),
            party.prop_map(Move::Revoke),
            (0_u128..3).prop_map(|who| Move::Open(user(who))),
            Just(Move::Expire),
            Just(Move::Cut),
        ];
        proptest::collection::vec((one, 0_i64..1200), 0..20)
    }

    proptest! {
        // proves ORG-4
        #[test]
        fn whatever_happens_root_needs_another_person_and_ends(moves in moves()) {
            let mut elevation = glass();
            let (mut now, mut approved_by) = (0, None);
            for (step, pause) in moves {
                now += pause;
                let before = elevation;
                let done = match step {
                    Move::Approve(party) => elevation.approve(party, at(now)).inspect(|_| approved_by = Some(party)).is_ok(),
                    Move::Refuse(party) => elevation.refuse(party, at(now)).is_ok(),
                    Move::Revoke(party) => elevation.revoke(party, at(now)).is_ok(),
                    Move::Open(who) => {
                        let opened = elevation.open(who, at(now));
                        if opened.is_ok() {
                            let approver = approved_by.expect("approved before");
                            prop_assert!(approver.may_approve && approver.user != requester().user);
                            prop_assert!(who == requester().user && at(now) < before.expires_at && before.state.is_granted());
                        }
                        opened.is_ok()
                    }
                    Move::Expire => elevation.expire(at(now)).is_some(),
                    Move::Cut => elevation.cut(EndReason::Revoked).is_some(),
                };
                prop_assert!(done || elevation == before, "a refusal changes nothing");
                prop_assert!(before.state.is_open() || elevation == before, "what is over stays so");
                prop_assert_eq!(elevation.ended.is_some(), elevation.state == ElevationState::Ended);
                prop_assert!(elevation.minutes <= 60);
            }
            elevation.expire(at(now + 3600));
            prop_assert!(!elevation.state.is_open(), "time ends everything");
        }
    }
}
