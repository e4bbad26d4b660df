//! Calls an address that an org chose: signed, and never where only this machine should reach.
//!
//! The server's network reaches what an org's members can't: its own loopback, private networks, the machine's metadata
//! service. So addresses are looked at after their names were resolved, redirections are not followed, and answers are not read.

use aws_lc_rs::hmac;
use envforge_core::address::{is_outside, is_public};
use envforge_core::secret::Secret;
use jiff::Timestamp;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where webhooks may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the internet.
    Internet,
    /// To private networks and this machine too; never to its link, where clouds answer it.
    PrivateToo,
}

impl Reach {
    fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Internet => is_public(address),
            Self::PrivateToo => is_outside(address) || address.to_canonical().is_loopback(),
        }
    }
}

/// Why a call was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It leads where it may not.
    #[error(
        "the address is this machine's or of a private network; the setting `webhook_network` would have to allow it"
    )]
    Closed,
    /// Nobody answered.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// The answer was not 2xx.
    #[error("it answered {0}")]
    Answered(u16),
}

impl WebhookError {
    /// Whether trying again can't help: its receiver says that it is gone.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Answered(410))
    }
}

/// Whether an address may be called, as far as it says itself: a name is looked at when it is called.
pub fn check(url: &str, reach: Reach) -> Result<(), WebhookError> {
    let parsed = reqwest::Url::parse(url).map_err(|error| WebhookError::Unreachable(error.to_string()))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local_name = host == "localhost" || host.ends_with(".localhost");
    let is_closed = match host.parse::<IpAddr>() {
        Ok(address) => !reach.allows(address),
        Err(_) => is_local_name && reach == Reach::Internet,
    };
    if is_closed { Err(WebhookError::Closed) } else { Ok(()) }
}

/// Resolves names to addresses that may be called.
struct Guard(Reach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| reach.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Box::new(WebhookError::Closed) as _);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The signature of a body sent at an instant (seconds since 1970 UTC): HMAC-SHA-256 of `<instant>.<body>`, in hexadecimal.
pub fn signature(secret: &Secret, instant: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hex::encode(hmac::sign(&key, format!("{instant}.{body}").as_bytes()))
}

/// Posts a JSON body once. Its id is the same each time it is tried.
pub async fn deliver(
    url: &str,
    secret: &Secret,
    id: &str,
    body: &str,
    reach: Reach,
    now: Timestamp,
) -> Result<(), WebhookError> {
    check(url, reach)?;
    let instant = now.as_second();
    #[expect(clippy::disallowed_methods, reason = "a client of others' APIs, not of ours")]
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Guard(reach)))
        .user_agent(concat!("envforge/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| WebhookError::Unreachable(error.to_string()))?;
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .header("envforge-event", id)
        .header("envforge-signature", format!("t={instant},v1={}", signature(secret, instant, body)))
        .body(body.to_owned())
        .send()
        .await
        // Without the URL: it may hold what nobody should read.
        .map_err(|error| WebhookError::Unreachable(causes(&error.without_url())))?;
    if answer.status().is_success() { Ok(()) } else { Err(WebhookError::Answered(answer.status().as_u16())) }
}

/// An error with what lies beneath it.
fn causes(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves COST-3
    #[test]
    fn the_signature_is_the_published_one() {
        let secret = Secret::new("whsec_test".to_owned());
        // `printf '1760000000.{}' | openssl dgst -sha256 -hmac whsec_test`
        let known = "36bd79465b49ac7ce6ef02dc49dc372557425a18a75801997a2c67271410b927";
        assert_eq!(signature(&secret, 1_760_000_000, "{}"), known);
        assert_ne!(signature(&secret, 1_760_000_000, "{}"), signature(&secret, 1_760_000_001, "{}"));
        assert_ne!(signature(&secret, 1, "{}"), signature(&Secret::new("other".to_owned()), 1, "{}"));
    }

    // proves COST-3
    #[test]
    fn only_the_internet_is_called_unless_the_installation_says_more_and_its_link_never() {
        for url in
            ["http://127.0.0.1:9/", "https://10.0.0.1/", "https://[::1]/", "http://localhost/x", "https://[fd12::1]/"]
        {
            assert!(matches!(check(url, Reach::Internet), Err(WebhookError::Closed)), "{url}");
            assert!(check(url, Reach::PrivateToo).is_ok(), "{url}");
        }
        for url in [
            "https://169.254.169.254/",
            "https://[fd00:ec2::254]/",
            "https://[::ffff:169.254.169.254]/",
            "https://0.0.0.0/",
        ] {
            assert!(matches!(check(url, Reach::PrivateToo), Err(WebhookError::Closed)), "{url}");
        }
        assert!(check("https://hooks.example.org/x", Reach::Internet).is_ok());
    }

    // proves COST-3
    #[tokio::test]
    async fn a_name_that_leads_here_is_not_called() {
        let name = || "localhost".parse::<Name>().expect("a name");
        assert!(Guard(Reach::Internet).resolve(name()).await.is_err());
        assert!(Guard(Reach::PrivateToo).resolve(name()).await.is_ok());
    }
}
