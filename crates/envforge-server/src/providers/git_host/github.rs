//! A GitHub App, at github.com or an Enterprise server.
//!
//! The App signs a JWT with its private key (RS256, ten minutes at most) and gets an installation token for it, limited to one
//! repository and to its contents, good for an hour ("Generating an installation access token for a GitHub App" in GitHub's
//! documentation). Tokens are kept in memory until a minute before they end.

use super::{GitApp, RepositoryToken};
use crate::platform::config::GithubApp;
use crate::platform::fault::Answer;
use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use envforge_core::git::{GitHost, Repository};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long GitHub may take.
const LIMIT: Duration = Duration::from_secs(15);
/// What a token must have left to be given again, and how long one is kept that was rejected.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// The App.
pub struct Github {
    host: GitHost,
    api: String,
    app_id: String,
    key: KeyPair,
    http: reqwest::Client,
    kept: Mutex<HashMap<(u64, String), Kept>>,
}

struct Kept {
    token: RepositoryToken,
    since: Timestamp,
}

#[derive(Deserialize)]
struct Minted {
    token: String,
    expires_at: Timestamp,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

impl Github {
    /// Fails when the key or the address is none.
    pub fn new(config: &GithubApp) -> anyhow::Result<Self> {
        let host =
            Repository::parse(&config.url).context("the address of GitHub must be like https://github.com")?.host;
        #[expect(clippy::disallowed_methods, reason = "GitHub's refusals are not ours, which our client expects")]
        let http = reqwest::Client::builder()
            .timeout(LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("envforge/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the HTTP client for GitHub")?;
        let api = config.api_url.trim_end_matches('/').to_owned();
        let key = private_key(&config.private_key)?;
        Ok(Self { host, api, app_id: config.app_id.clone(), key, http, kept: Mutex::default() })
    }

    /// Who we are, for the next minutes. GitHub advises to allow for clocks that differ by a minute.
    fn jwt(&self, now: Timestamp) -> anyhow::Result<Secret> {
        let second = now.as_second();
        let claims = json!({ "iat": second - 60, "exp": second + 540, "iss": self.app_id });
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .context("signing as the GitHub App")?;
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    fn kept(&self, key: &(u64, String), now: Timestamp) -> Option<RepositoryToken> {
        let mut kept = self.kept.lock().expect("no panic while the tokens are held");
        kept.retain(|_, kept| kept.token.expires_at.duration_since(now) > MINUTE);
        kept.get(key).map(|kept| kept.token.clone())
    }

    async fn mint(&self, installation: u64, repository: &str, now: Timestamp) -> Answer<RepositoryToken> {
        // The account is the installation's; the API names its repositories without it.
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let request = self
            .http
            .post(format!("{}/app/installations/{installation}/access_tokens", self.api))
            .header(ACCEPT, "application/vnd.github+json, application/json")
            .header("X-GitHub-Api-Version", "2022-11-28")
            .bearer_auth(self.jwt(now)?.expose())
            .json(&json!({ "repositories": [name], "permissions": { "contents": "write" } }));
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status() != StatusCode::CREATED {
            return Err(self.refused(response, repository).await.into());
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let minted: Minted = serde_json::from_slice(&body).context("GitHub's answer to a request for a token")?;
        Ok(RepositoryToken { token: Secret::new(minted.token), expires_at: minted.expires_at })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Refusal {
        let what = if error.is_timeout() { "does not answer" } else { "can't be reached" };
        tracing::warn!(host = %self.host, %error, "GitHub can't be asked for a token");
        Refusal::unavailable("git.host_unreachable", format!("{} {what}", self.host)).hint("try again in a moment")
    }

    /// Statuses as GitHub's reference names them for this call.
    async fn refused(&self, response: Response, repository: &str) -> Refusal {
        let (status, headers) = (response.status(), response.headers().clone());
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.unwrap_or_default();
        let problem: Problem = serde_json::from_slice(&body[..body.len().min(ANSWER_MAX)]).unwrap_or_default();
        let said: String = problem.message.chars().filter(|c| !c.is_control()).take(200).collect();
        let conflict = |code: &str, message: String| Refusal::conflict(code, format!("{message}: {said}"));
        let spent = header("x-ratelimit-remaining").is_some_and(|left| left == "0");
        if status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::FORBIDDEN && (spent || headers.contains_key(RETRY_AFTER)))
        {
            let seconds = header("retry-after").and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
            let message = format!("{} takes no more requests for tokens now", self.host);
            return Refusal::new(RefusalKind::Limit, "git.rate_limited", message)
                .hint("try again later, or use a token of one's own meanwhile")
                .retry_after(seconds);
        }
        match status {
            StatusCode::UNAUTHORIZED => conflict(
                "git.app_rejected",
                format!("{} does not accept the GitHub App's key", self.host),
            )
            .hint(
                "the operator compares --github-app-id and the file of --github-app-key-file with the App's settings",
            ),
            StatusCode::FORBIDDEN => {
                conflict("git.app_suspended", format!("{} lets the GitHub App do nothing there", self.host))
                    .hint("an owner of the account lifts the suspension in its settings, under GitHub Apps")
            }
            StatusCode::NOT_FOUND => {
                conflict("git.app_not_installed", format!("the GitHub App is not installed for {repository}"))
                    .hint("an owner of the account installs it, and the operator sets the new installation's number")
            }
            StatusCode::UNPROCESSABLE_ENTITY => {
                conflict("git.app_no_access", format!("the GitHub App may not write {repository}")).hint(
                    "an owner of the account adds the repository to the App's installation, with `contents: write`",
                )
            }
            status if status.is_server_error() => {
                Refusal::unavailable("git.host_unreachable", format!("{} answers {status}", self.host))
                    .hint("try again in a moment")
            }
            status => conflict("git.app_refused", format!("{} answers {status}", self.host))
                .hint("see the App's settings at the Git host"),
        }
    }
}

impl GitApp for Github {
    fn host(&self) -> &GitHost {
        &self.host
    }

    fn username(&self) -> &'static str {
        "x-access-token"
    }

    fn token<'a>(
        &'a self,
        installation: u64,
        repository: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Answer<RepositoryToken>> {
        Box::pin(async move {
            let key = (installation, repository.to_ascii_lowercase());
            if let Some(token) = self.kept(&key, now) {
                return Ok(token);
            }
            let token = self.mint(installation, repository, now).await?;
            let mut kept = self.kept.lock().expect("no panic while the tokens are held");
            kept.insert(key, Kept { token: token.clone(), since: now });
            Ok(token)
        })
    }

    fn rejected(&self, installation: u64, repository: &str, now: Timestamp) {
        let key = (installation, repository.to_ascii_lowercase());
        let mut kept = self.kept.lock().expect("no panic while the tokens are held");
        if kept.get(&key).is_some_and(|kept| now.duration_since(kept.since) >= MINUTE) {
            kept.remove(&key);
        }
    }
}

/// From PEM, as GitHub gives it out (PKCS #1) or as `openssl` converts it (PKCS #8).
fn private_key(pem: &Secret) -> anyhow::Result<KeyPair> {
    let mut text = Zeroizing::new(String::new());
    for line in pem.expose().lines().filter(|line| !line.starts_with("-----")) {
        text.push_str(line.trim());
    }
    let der = STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
    let key = der.ok().and_then(|der| KeyPair::from_pkcs8(&der).or_else(|_| KeyPair::from_der(&der)).ok());
    key.context("the GitHub App's private key must be the PEM file with an RSA key that GitHub gave out")
}
