//! Every kind of id, in one list.
//!
//! An id is a UUIDv7 behind a readable prefix: a log line shows what kind of thing it names, sorting by id
//! is sorting by time, and handing a workspace id to something that wants an org id does not compile.
//! Parsing refuses a wrong prefix by name.

use crate::clock::{Clock, Entropy};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix names another kind, or none.
    #[error("expected an id that starts with `{expected}_`, got `{got}`")]
    WrongKind {
        /// The prefix wanted.
        expected: &'static str,
        /// The text received, cut to a printable length.
        got: String,
    },
    /// What follows the prefix is not 32 hexadecimal digits.
    #[error("`{got}` is not a valid id: 32 hexadecimal digits must follow `{expected}_`")]
    Malformed {
        /// The prefix wanted.
        expected: &'static str,
        /// The text received, cut to a printable length.
        got: String,
    },
}

/// What all id kinds share.
pub trait Id: Copy + fmt::Display + FromStr<Err = IdError> {
    /// The prefix before the underscore.
    const PREFIX: &'static str;
    /// Wraps a UUID read from storage.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The UUID inside, for storage.
    fn uuid(self) -> Uuid;

    /// The lowest id above this one: for what must be in order also within one millisecond.
    #[must_use]
    fn successor(self) -> Self {
        Self::from_uuid(Uuid::from_u128(self.uuid().as_u128().saturating_add(1)))
    }

    /// Makes a fresh, time-ordered id.
    fn mint(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
        let mut random = [0_u8; 10];
        entropy.fill(&mut random);
        let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
        Self::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(48).collect()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {
        /// Name and prefix of every kind.
        pub const KINDS: &[(&str, &str)] = &[$((stringify!($name), $prefix),)*];
    $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, schemars::JsonSchema)]
        #[schemars(with = "String")]
        #[serde(into = "String", try_from = "String")]
        #[schema(value_type = String)]
        pub struct $name(Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_uuid(uuid: Uuid) -> Self { Self(uuid) }
            fn uuid(self) -> Uuid { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let Some(digits) = text.strip_prefix(concat!($prefix, "_")) else {
                    return Err(IdError::WrongKind { expected: $prefix, got: shorten(text) });
                };
                if digits.len() != 32 {
                    return Err(IdError::Malformed { expected: $prefix, got: shorten(text) });
                }
                Uuid::try_parse(digits)
                    .map(Self)
                    .map_err(|_| IdError::Malformed { expected: $prefix, got: shorten(text) })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self { id.to_string() }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> { text.parse() }
        }
    )*};
}

ids! {
    /// An API key.
    ApiKeyId = "key";
    /// A key that encrypts values at rest.
    DataKeyId = "dk";
    /// A background job of the control plane.
    BackgroundJobId = "bgjob";
    /// A durable order from the control plane to a host daemon.
    CommandId = "cmd";
    /// One person's time-boxed right to root terminals in one workspace.
    ElevationId = "elv";
    /// What one client of a recorded terminal was shown.
    RecordingId = "rec";
    /// One ledger event.
    EventId = "evt";
    /// A gateway, from its start to its end.
    GatewayId = "gw";
    /// A group of an org's members.
    GroupId = "grp";
    /// A person's credential for a Git host.
    GitCredentialId = "gitcred";
    /// A person's SSH key for a Git host.
    GitKeyId = "gitkey";
    /// A host: a machine that runs one org's workspaces.
    HostId = "host";
    /// An invitation into an org.
    InvitationId = "inv";
    /// A test or job run by `envforge run`.
    JobId = "job";
    /// One server's hold on a background job it runs.
    LeaseId = "lease";
    /// A message in a workspace's mail sink.
    MailId = "mail";
    /// A link in a mail to sign in with.
    MagicLinkId = "ml";
    /// A signed link.
    LinkId = "link";
    /// A device that was signed in, or waits to be.
    DeviceId = "dev";
    /// A session of somebody signed in with a browser.
    LoginSessionId = "sess";
    /// An organization.
    OrgId = "org";
    /// A project: one repository with one `envforge.yml`.
    ProjectId = "proj";
    /// A secret that an org keeps.
    SecretId = "sec";
    /// A browser session on one dev host.
    LinkSessionId = "ls";
    /// A version of a setting.
    SettingVersionId = "set";
    /// A usage session: from one wake to the next full sleep.
    UsageSessionId = "us";
    /// A person or agent with an account.
    UserId = "user";
    /// An awake window.
    WindowId = "win";
    /// A workspace: one branch of one project.
    WorkspaceId = "ws";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_other_kinds() {
        let id = WorkspaceId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<WorkspaceId>(), Ok(id));
        let refused = id.to_string().parse::<OrgId>().expect_err("a workspace id is no org id");
        assert_eq!(
            refused.to_string(),
            "expected an id that starts with `org_`, got `ws_00000000000000000000000000000007`"
        );
        assert!("ws_zz".parse::<WorkspaceId>().is_err());
        assert!("ws_{00000000-0000-0000-0000-0000000}".parse::<WorkspaceId>().is_err());
    }
}
