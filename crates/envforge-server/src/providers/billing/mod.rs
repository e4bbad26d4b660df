//! Metered billing: final receipts are reported to whoever writes the invoices.

mod stripe;

use envforge_core::refusal::Refusal;
use envforge_core::setting::Values;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

/// Usage to be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEvent {
    /// The same for the same usage, however often it is sent: the provider counts it once.
    pub identifier: String,
    /// Whose it is, as the provider knows them.
    pub customer: String,
    /// How much, in the meter's unit.
    pub value: u64,
    /// When it was used.
    pub at: Timestamp,
}

/// Why an event is not known to have arrived.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// It may have.
    #[error("{0}")]
    Unknown(String),
    /// It has not: the provider said so.
    #[error("{cause}")]
    Refused {
        /// Why, in the provider's words.
        cause: String,
        /// Whether the same may be accepted later, and from when, if that is known.
        again: Option<Option<SignedDuration>>,
    },
}

/// A provider of metered billing.
pub trait MeteredBilling: Send + Sync {
    /// Reports usage. One that arrived before under its identifier is no error.
    fn report<'a>(&'a self, event: &'a UsageEvent) -> BoxFuture<'a, Result<(), BillingError>>;
}

/// The provider of the setting `billing`.
pub fn of_setting(values: &Values) -> Result<Box<dyn MeteredBilling>, Refusal> {
    Ok(Box::new(stripe::Stripe::from_setting(values)?))
}
