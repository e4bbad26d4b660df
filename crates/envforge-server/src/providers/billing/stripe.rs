//! Stripe's meter events ("Create a billing meter event" in Stripe's API reference, and "Record usage for billing with the API").
//!
//! Values are whole numbers, times at most 35 days old. Stripe refuses an identifier it has had in the last 24 hours at least with
//! status 400; the idempotency key repeats its first answer for as long.

use super::{BillingError, MeteredBilling, UsageEvent};
use anyhow::Context as _;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_core::setting::Values;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use std::time::Duration;

/// Where its API is.
const API: &str = "https://api.stripe.com";
/// The version of the API that this speaks.
const VERSION: &str = "2025-04-30.basil";
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

pub(super) struct Stripe {
    http: reqwest::Client,
    api: String,
    key: Secret,
    event_name: String,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    error: Cause,
}

#[derive(Default, Deserialize)]
struct Cause {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Stripe {
    pub(super) fn from_setting(values: &Values) -> Result<Self, Refusal> {
        let missing = |field: &str| Refusal::invalid("setting.missing", format!("`billing` needs the field `{field}`"));
        #[expect(clippy::disallowed_methods, reason = "Stripe's refusals are not ours, which our client expects")]
        let http = reqwest::Client::builder()
            .timeout(LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("envforge/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the HTTP client for Stripe")
            .map_err(|error| Refusal::unavailable("billing.client", format!("{error:#}")))?;
        Ok(Self {
            http,
            api: values.text("base_url").unwrap_or(API).trim_end_matches('/').to_owned(),
            key: values.secret("api_key").cloned().ok_or_else(|| missing("api_key"))?,
            event_name: values.text("event_name").ok_or_else(|| missing("event_name"))?.to_owned(),
        })
    }

    async fn send(&self, event: &UsageEvent) -> Result<(), BillingError> {
        let (value, at) = (event.value.to_string(), event.at.as_second().to_string());
        let fields = [
            ("event_name", self.event_name.as_str()),
            ("payload[stripe_customer_id]", &event.customer),
            ("payload[value]", &value),
            ("identifier", &event.identifier),
            ("timestamp", &at),
        ];
        let unknown = |error: reqwest::Error| {
            let what = if error.is_timeout() { "did not answer" } else { "could not be spoken to" };
            BillingError::Unknown(format!("the provider {what}"))
        };
        let request = self
            .http
            .post(format!("{}/v1/billing/meter_events", self.api))
            .bearer_auth(self.key.expose())
            .header("Stripe-Version", VERSION)
            .header("Idempotency-Key", &event.identifier)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(&fields));
        let response = request.send().await.map_err(unknown)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().await.unwrap_or_default();
        let problem: Problem = serde_json::from_slice(&body[..body.len().min(ANSWER_MAX)]).unwrap_or_default();
        let Cause { code, message } = problem.error;
        let said: String = message.chars().filter(|c| !c.is_control()).take(300).collect();
        let is_known =
            code == "duplicate_meter_event" || message.starts_with("An event already exists with identifier");
        let cause = format!("the provider answered {}: {said}", status.as_u16());
        match status {
            StatusCode::BAD_REQUEST if is_known => Ok(()),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(BillingError::Refused { cause, again: Some(after.map(SignedDuration::from_secs)) })
            }
            // Another of the same key is on its way.
            StatusCode::CONFLICT => Err(BillingError::Unknown(cause)),
            // A key that is none: whoever mends the setting does it for all that waits.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(BillingError::Refused { cause, again: Some(None) }),
            status if status.is_client_error() => Err(BillingError::Refused { cause, again: None }),
            _ => Err(BillingError::Unknown(cause)),
        }
    }
}

impl MeteredBilling for Stripe {
    fn report<'a>(&'a self, event: &'a UsageEvent) -> BoxFuture<'a, Result<(), BillingError>> {
        Box::pin(self.send(event))
    }
}

/// Fields as a form's body.
fn form(fields: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params("http://form/", fields).expect("a plain address");
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::form;

    // proves COST-5
    #[test]
    fn a_form_is_encoded() {
        let text = form(&[("payload[value]", "1"), ("a b", "ü&=+")]);
        assert_eq!(text, "payload%5Bvalue%5D=1&a+b=%C3%BC%26%3D%2B");
    }
}
