//! Signing in: providers, mail, sessions.

use envforge_core::email::EmailAddress;
use envforge_core::id::{ApiKeyId, LoginSessionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The header that pages of the server's own send with every change. A page from elsewhere can't send it.
pub const CSRF_HEADER: &str = "x-envforge-csrf";

/// How one may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInProviders {
    /// Identity providers, in the order configured.
    pub providers: Vec<SignInProvider>,
    /// Whether links are sent by mail.
    pub mail: bool,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInProvider {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The path that leads there.
    pub start: String,
}

/// Asks for a link by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInByMail {
    /// To whom.
    pub address: EmailAddress,
    /// The path to open then.
    #[serde(default)]
    pub return_to: Option<String>,
}

/// The answer, whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailUnderWay {
    /// What happens now.
    pub message: String,
}

/// A session of somebody signed in with a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginSession {
    /// The session.
    pub id: LoginSessionId,
    /// How one signed in: `provider`, `mail` or `key`.
    pub method: String,
    /// By which provider.
    pub provider: Option<String>,
    /// What the browser calls itself.
    pub user_agent: String,
    /// Since when.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// Last use, to the minute.
    #[schema(value_type = String)]
    pub last_seen_at: Timestamp,
    /// When it ends if it is not used again.
    #[schema(value_type = String)]
    pub ends_at: Timestamp,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// One's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginSessions {
    /// The one used last first.
    pub sessions: Vec<LoginSession>,
}

/// A machine asks to be signed in by somebody with a browser elsewhere (RFC 8628).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartDevice {
    /// What the machine is called; the key is named after it.
    pub machine: String,
}

/// What the machine shows, and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceStarted {
    /// Redeemed by polling; kept secret.
    pub device_code: String,
    /// What a person compares or types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code filled in.
    pub verification_uri_complete: String,
    /// Seconds until it is too late.
    pub expires_in: u32,
    /// Seconds between polls.
    pub interval: u32,
}

/// A machine polls. Refused with `device.authorization_pending`, `device.slow_down` (`retry_after` says how slow),
/// `device.access_denied` or `device.expired_token` (RFC 8628, 3.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemDevice {
    /// As started.
    pub device_code: String,
}

/// A program redeems the code its browser brought to it on the loopback address (RFC 8252, 7.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemLoopback {
    /// The code.
    pub code: String,
    /// PKCE's verifier (RFC 7636).
    pub code_verifier: String,
}

/// Decides about a machine that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideDevice {
    /// The code it shows.
    pub user_code: String,
    /// Whether it may act as you.
    pub approve: bool,
}

/// The key of a machine that was signed in; the only time its value is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineKey {
    /// The key.
    pub id: ApiKeyId,
    /// Its name: the machine's.
    pub name: String,
    /// The value to send as `Authorization: Bearer`.
    pub value: String,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
}
