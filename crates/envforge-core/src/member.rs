//! Changing who is a member of an org, and as what.
//!
//! One rule behind every way to gain or lose a role, invitations included: nobody hands out more than they have, nobody
//! acts on somebody who may do more than they, and an org never loses its last owner. What "more" means is read from
//! the permission table ([`crate::access`]), so a new action can't open a way around it.

use crate::access::{Action, Role, Scopes, allows};
use crate::email::EmailAddress;
use crate::refusal::{Refusal, RefusalKind};

/// How long an invitation can be accepted, in days.
pub const INVITATION_DAYS: i64 = 7;

/// Why a change of membership is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MembershipRefused {
    /// The actor may not manage members.
    #[error("you can't manage members")]
    NotYours,
    /// The one acted on may do more than the actor.
    #[error("you can't act on {0}s: they may do more than you")]
    Above(Role),
    /// The role wanted allows more than the actor, or their credential, may do.
    #[error("you can't make anyone {0}: that is more than you may do yourself")]
    Beyond(Role),
    /// Nobody would be left to own the org.
    #[error("this is the last owner: an organization can't be without one")]
    LastOwner,
}

impl From<MembershipRefused> for Refusal {
    fn from(refused: MembershipRefused) -> Self {
        let (kind, code, hint) = match refused {
            MembershipRefused::NotYours => {
                (RefusalKind::Forbidden, "access.denied", "ask an owner or admin of the organization")
            }
            MembershipRefused::Above(_) => (RefusalKind::Forbidden, "member.above_you", "ask an owner"),
            MembershipRefused::Beyond(_) => {
                (RefusalKind::Forbidden, "member.beyond_you", "ask an owner, or use a key without scopes")
            }
            MembershipRefused::LastOwner => {
                (RefusalKind::Conflict, "member.last_owner", "make somebody else owner first")
            }
        };
        Self::new(kind, code, refused.to_string()).hint(hint)
    }
}

/// Who changes something.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// Their role now.
    pub role: Role,
    /// What their credential is limited to.
    pub scopes: &'a Scopes,
}

impl Actor<'_> {
    /// Whether their role allows whatever `other` allows. Only owners are owners' equals, whatever the table says.
    fn equals(self, other: Role) -> bool {
        self.role == Role::Owner
            || other != Role::Owner
                && Action::ALL.iter().all(|action| allows(self.role, *action) || !allows(other, *action))
    }

    fn manages(self) -> Result<(), MembershipRefused> {
        let action = Action::ManageMembers;
        if allows(self.role, action) && self.scopes.allow(action) { Ok(()) } else { Err(MembershipRefused::NotYours) }
    }

    /// Whether they may make somebody this, who is nothing yet.
    pub fn gives(self, role: Role) -> Result<(), MembershipRefused> {
        self.manages()?;
        let is_within = |action: &Action| self.scopes.allow(*action) || !allows(role, *action);
        if self.equals(role) && Action::ALL.iter().all(is_within) {
            Ok(())
        } else {
            Err(MembershipRefused::Beyond(role))
        }
    }

    /// Whether they may change a member's role, in an org with so many owners.
    pub fn changes(self, from: Role, to: Role, owners: u64) -> Result<(), MembershipRefused> {
        self.manages()?;
        if !self.equals(from) {
            return Err(MembershipRefused::Above(from));
        }
        self.gives(to)?;
        if from == Role::Owner && to != Role::Owner { stays_owned(owners) } else { Ok(()) }
    }

    /// Whether they may remove a member; everybody may remove themselves.
    pub fn removes(self, whom: Role, is_self: bool, owners: u64) -> Result<(), MembershipRefused> {
        if !is_self {
            self.manages()?;
            if !self.equals(whom) {
                return Err(MembershipRefused::Above(whom));
            }
        }
        if whom == Role::Owner { stays_owned(owners) } else { Ok(()) }
    }
}

fn stays_owned(owners: u64) -> Result<(), MembershipRefused> {
    if owners > 1 { Ok(()) } else { Err(MembershipRefused::LastOwner) }
}

/// Whether an invitation may be accepted by somebody with these verified addresses: one that was addressed by its
/// addressee alone, another by whoever holds its token.
pub fn is_addressee(invited: Option<&str>, verified: &[EmailAddress]) -> bool {
    invited.is_none_or(|invited| verified.iter().any(|address| invited.eq_ignore_ascii_case(address.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Give(usize, Role),
        Change(usize, usize, Role),
        Remove(usize, usize),
    }

    fn role() -> impl Strategy<Value = Role> {
        prop::sample::select(Role::ALL.to_vec())
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8_usize, role()).prop_map(|(actor, role)| Step::Give(actor, role)),
            (0..8_usize, 0..8_usize, role()).prop_map(|(actor, whom, role)| Step::Change(actor, whom, role)),
            (0..8_usize, 0..8_usize).prop_map(|(actor, whom)| Step::Remove(actor, whom)),
        ]
    }

    proptest! {
        // proves ORG-2
        #[test]
        fn no_sequence_loses_the_last_owner_or_raises_anyone_above_who_did_it(steps in prop::collection::vec(step(), 0..60)) {
            let mut members = vec![Role::Owner];
            for step in steps {
                let owners = members.iter().filter(|role| **role == Role::Owner).count() as u64;
                let actor = |index: usize| Actor { role: members[index % members.len()], scopes: &Scopes::Unlimited };
                match step {
                    Step::Give(by, role) => {
                        let actor = actor(by);
                        if actor.gives(role).is_ok() {
                            for action in Action::ALL {
                                prop_assert!(allows(actor.role, *action) || !allows(role, *action));
                            }
                            members.push(role);
                        }
                    }
                    Step::Change(by, whom, to) => {
                        let (actor, index) = (actor(by), whom % members.len());
                        if actor.changes(members[index], to, owners).is_ok() {
                            prop_assert!(allows(actor.role, Action::ManageMembers));
                            for action in Action::ALL {
                                prop_assert!(allows(actor.role, *action) || !allows(to, *action));
                                prop_assert!(allows(actor.role, *action) || !allows(members[index], *action));
                            }
                            members[index] = to;
                        }
                    }
                    Step::Remove(by, whom) => {
                        let (by, index) = (by % members.len(), whom % members.len());
                        if actor(by).removes(members[index], by == index, owners).is_ok() {
                            members.remove(index);
                        }
                    }
                }
                prop_assert!(members.contains(&Role::Owner));
            }
        }
    }

    // proves ORG-2
    #[test]
    fn only_owners_make_owners_and_a_limited_key_gives_no_more_than_it_has() {
        let admin = Actor { role: Role::Admin, scopes: &Scopes::Unlimited };
        assert_eq!(admin.gives(Role::Owner), Err(MembershipRefused::Beyond(Role::Owner)));
        assert_eq!(admin.changes(Role::Owner, Role::Reviewer, 2), Err(MembershipRefused::Above(Role::Owner)));
        assert_eq!(admin.removes(Role::Owner, false, 2), Err(MembershipRefused::Above(Role::Owner)));
        assert_eq!(admin.changes(Role::Developer, Role::Admin, 1), Ok(()));
        let scopes = Scopes::parse(&["member.manage", "read"]).expect("known");
        let limited = Actor { role: Role::Owner, scopes: &scopes };
        assert_eq!(limited.gives(Role::Developer), Err(MembershipRefused::Beyond(Role::Developer)));
        assert_eq!(
            limited.gives(Role::Reviewer),
            Err(MembershipRefused::Beyond(Role::Reviewer)),
            "who opens dev hosts"
        );
        let scopes = Scopes::parse(&["member.manage", "read", "dev_host.open"]).expect("known");
        assert_eq!(Actor { role: Role::Owner, scopes: &scopes }.gives(Role::Reviewer), Ok(()));
        let developer = Actor { role: Role::Developer, scopes: &Scopes::Unlimited };
        assert_eq!(developer.changes(Role::Developer, Role::Admin, 1), Err(MembershipRefused::NotYours));
        assert_eq!(developer.removes(Role::Developer, true, 1), Ok(()));
        let owner = Actor { role: Role::Owner, scopes: &Scopes::Unlimited };
        assert_eq!(owner.removes(Role::Owner, true, 1), Err(MembershipRefused::LastOwner));
        assert_eq!(owner.changes(Role::Owner, Role::Admin, 1), Err(MembershipRefused::LastOwner));
    }

    // proves ORG-2
    #[test]
    fn an_addressed_invitation_is_its_addressee_s_alone() {
        let ada: EmailAddress = "ada@example.org".parse().unwrap();
        let eve: EmailAddress = "eve@example.org".parse().unwrap();
        assert!(is_addressee(Some("Ada@Example.org"), &[eve.clone(), ada]));
        assert!(!is_addressee(Some("ada@example.org"), std::slice::from_ref(&eve)));
        assert!(!is_addressee(Some("ada@example.org"), &[]));
        assert!(is_addressee(None, &[eve]) && is_addressee(None, &[]));
    }
}
