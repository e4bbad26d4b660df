//! One order: from an account to a certificate, and what went wrong in the CA's own words.
//!
//! Whatever happens, the end of time and a stop included, a record that was set is removed again.

use super::hook::{Hook, HookError};
use envforge_core::secret::Secret;
use envforge_gateway::tls::TlsError;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a CA may take to look, and to sign.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);
/// What the types of a CA's problems begin with (RFC 8555, section 6.7).
const PROBLEM: &str = "urn:ietf:params:acme:error:";

/// What a CA gave.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: Secret,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("the CA refuses: {}", words(.0))]
    Refused(Problem),
    #[error("the CA can't be asked: {}", chain(.0))]
    Unreachable(Error),
    #[error("{0} took too long")]
    Late(&'static str),
    #[error("the CA offers no proof by DNS for this name")]
    NoDns,
    #[error("what the CA gave can't be shown: {0}")]
    Unusable(#[from] TlsError),
    #[error("the account can't be read: {0:#}")]
    Account(anyhow::Error),
    #[error("it can't be written: {0:#}")]
    Write(anyhow::Error),
    #[error("it was told to stop")]
    Stopped,
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(problem),
            Error::Timeout(_) => Self::Late("the CA"),
            other => Self::Unreachable(other),
        }
    }
}

/// A problem in the CA's words, with its type.
fn words(problem: &Problem) -> String {
    let mut said: Vec<&str> = problem.detail.iter().map(String::as_str).collect();
    said.extend(problem.subproblems.iter().filter_map(|part| part.detail.as_deref()));
    format!("{} ({})", said.join("; "), kind(problem))
}

/// A problem's type without what all have.
fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or("unknown");
    kind.strip_prefix(PROBLEM).unwrap_or(kind)
}

/// An error with what caused it: the outermost says too little.
fn chain(error: &Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        cause = error.source();
    }
    said
}

impl OrderError {
    fn kind(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(kind(problem)),
            _ => None,
        }
    }

    /// Whether the CA says that it is too much.
    pub(super) fn is_limit(&self) -> bool {
        self.kind() == Some("rateLimited")
    }

    /// Whether asking again heals it.
    pub(super) fn is_nonce(&self) -> bool {
        self.kind() == Some("badNonce")
    }

    /// What helps.
    pub(super) fn fix(&self, account_file: &Path) -> String {
        let text = match self {
            Self::Hook(_) => "its own words are above; run it by hand with the same arguments",
            Self::Unreachable(_) => {
                "check --directory and the way to it; a CA with a root of its own needs --directory-root"
            }
            Self::Late(_) => "it is tried again; the CA may tell of its state elsewhere",
            Self::NoDns => "choose a CA that takes DNS-01 for wildcards, with --directory",
            Self::Unusable(error) => return error.fix(),
            Self::Account(_) => {
                return format!("restore {}, or remove it: then the CA makes a new account", account_file.display());
            }
            Self::Write(_) => "let this user write in the folder that --output names",
            Self::Stopped => "start it again",
            Self::Refused(problem) => match kind(problem) {
                "rateLimited" => "wait: the CA has a limit for this; its staging directory has wider ones to try with",
                "dns" | "unauthorized" | "incorrectResponse" | "connection" => {
                    "the CA did not see the record: check that the hook sets it in the public zone, and give \
                     --propagation the seconds that every name server needs to know it"
                }
                "caa" => "let the domain's CAA record allow this CA to issue wildcards (`issuewild`)",
                "rejectedIdentifier" => "give a public domain of yours with --dev-domain",
                "invalidContact" | "unsupportedContact" => "give another address with --contact, or none",
                "externalAccountRequired" => "this CA serves its own customers only; choose another with --directory",
                "accountDoesNotExist" => {
                    return format!("remove {}: then the CA makes a new account", account_file.display());
                }
                _ => "the CA's documentation says more of this; it may be its own fault, and heal",
            },
        };
        text.to_owned()
    }
}

/// Orders a certificate for every name below the hook's domain.
pub(super) async fn order(
    account: &Account,
    hook: &Hook,
    propagation: Duration,
    stop: &CancellationToken,
) -> Result<Issued, OrderError> {
    let mut presented = Vec::new();
    let patience = PATIENCE + propagation;
    let outcome = tokio::select! {
        outcome = timeout(patience, work(account, hook, propagation, &mut presented)) => {
            outcome.unwrap_or(Err(OrderError::Late("the order")))
        }
        () = stop.cancelled() => Err(OrderError::Stopped),
    };
    for value in presented {
        if let Err(error) = hook.cleanup(&value).await {
            tracing::warn!(%error, "acme: the record is left in the zone; it harms nobody and may be removed by hand");
        }
    }
    outcome
}

async fn work(
    account: &Account,
    hook: &Hook,
    propagation: Duration,
    presented: &mut Vec<String>,
) -> Result<Issued, OrderError> {
    let name = [Identifier::Dns(format!("*.{}", hook.domain))];
    let mut order = account.new_order(&NewOrder::new(&name)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // Proven lately, some CAs remember.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::Dns01).ok_or(OrderError::NoDns)?;
        let value = challenge.key_authorization().dns_value();
        // Before it is set: a hook that dies half-way has perhaps set it.
        presented.push(value.clone());
        hook.present(&value).await?;
        sleep(propagation).await;
        challenge.set_ready().await?;
    }
    let policy = RetryPolicy::new().timeout(PATIENCE);
    match order.poll_ready(&policy).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(why(&mut order).await.unwrap_or(OrderError::Late("the CA"))),
        Err(error) => return Err(why(&mut order).await.unwrap_or_else(|| error.into())),
    }
    let key = Secret::new(order.finalize().await?);
    let chain = order.poll_certificate(&policy).await?;
    Ok(Issued { chain, key })
}

/// What the CA says of the proof: the order itself only says that there is none.
async fn why(order: &mut Order) -> Option<OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Some(OrderError::Refused(problem));
        }
    }
    None
}
