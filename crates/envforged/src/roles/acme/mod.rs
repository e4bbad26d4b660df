//! ACME: obtains and renews the wildcard certificate that the gateway shows (RFC 8555).
//!
//! ```text
//!   not due ──► wait ──► due ──► order ──► hook present ──► the CA looks ──► hook cleanup ──► checked ──► one file
//!                 ▲        ▲                     │ refused                                              │
//!                 │        └──── pause, doubled ─┘                                                      │
//!                 └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A role of its own, and no part of the gateway: what may write a zone is not what strangers talk to, many gateways need one
//! of it, and it never needs root. Only DNS proves a wildcard, and every zone has another API: a program of the operator's
//! sets and removes the record. The two processes share a file and nothing else.
//!
//! Key and chain are one file that is renamed into place, so nobody ever sees one without the other; what the CA gave is
//! looked at with the gateway's own eyes before. Nothing that is good is ever replaced by what is not.

mod due;
mod hook;
mod order;

use crate::advice::advised;
use crate::args::{AcmeArguments, Supervised};
use crate::private;
use anyhow::Context as _;
use due::Roll;
use envforge_api::ambient::{SystemClock, SystemEntropy};
use envforge_core::clock::Clock as _;
use envforge_core::secret::Secret;
use envforge_gateway::tls::{Files, Lifetime, Pair, TlsError};
use hook::Hook;
use instant_acme::{Account, AccountBuilder, AccountCredentials, NewAccount};
use order::{Issued, OrderError};
use rustix::fs::Mode;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_util::sync::CancellationToken;

/// Orders that are begun again at once when the CA's last word was about a nonce: that heals by asking again.
const ATTEMPTS: u32 = 3;
/// Longest sleep: the clock is looked at again, which may have been set, or have stood still with the machine.
const NAP: Duration = Duration::from_hours(1);

/// Obtains and renews until told to stop; or once.
pub(crate) fn run(arguments: &AcmeArguments) -> anyhow::Result<ExitCode> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // The CA's client takes the process's own; another one would be a second.
    let _ = aws_lc_rs::default_provider().install_default();
    let alone = Supervised { supervisor: None };
    super::run("acme", &alone, Duration::ZERO, async |stop| {
        let issuer = Issuer::new(arguments, stop.clone())?;
        if arguments.once {
            issuer.once().await?;
            stop.cancel();
        } else {
            issuer.keep().await;
        }
        Ok(())
    })
}

/// One dev domain, one CA, one folder.
struct Issuer<'a> {
    arguments: &'a AcmeArguments,
    hook: Hook,
    file: PathBuf,
    account_file: PathBuf,
    stop: CancellationToken,
    /// Held while this lives.
    _lock: File,
}

impl<'a> Issuer<'a> {
    fn new(arguments: &'a AcmeArguments, stop: CancellationToken) -> anyhow::Result<Self> {
        let folder = &arguments.output;
        fs_err::create_dir_all(folder)?;
        let directory = reqwest::Url::parse(&arguments.directory).ok().filter(|url| url.scheme() == "https");
        let authority = directory.as_ref().and_then(|url| {
            let port = url.port().map_or_else(String::new, |port| format!("-{port}"));
            Some(format!("{}{port}", url.host_str()?))
        });
        let Some(authority) = authority else {
            let cause = format!("`{}` is no CA's directory", arguments.directory);
            return Err(advised(cause, "give an https:// URL with --directory"));
        };
        let domain = &arguments.dev_domain;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !domain.contains('.') || !domain.chars().all(is_name) || domain.starts_with('.') {
            let cause = format!("no CA certifies `*.{domain}`");
            return Err(advised(cause, "give a domain of yours in lower case, such as dev.example.org"));
        }
        Ok(Self {
            arguments,
            hook: Hook { program: arguments.hook.clone(), domain: domain.clone() },
            file: folder.join(format!("{domain}.pem")),
            account_file: folder.join(format!("account-{authority}.json")),
            stop,
            _lock: lock(folder)?,
        })
    }

    fn files(&self) -> Files {
        Files { certificate: self.file.clone(), key: self.file.clone() }
    }

    /// When the certificate that is there is good; `None` if there is none that can be shown.
    fn current(&self) -> Option<Lifetime> {
        match Pair::read(&self.files(), &self.arguments.dev_domain) {
            Ok(pair) => Some(pair.lifetime),
            Err(TlsError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, "acme: what is there can't be shown and is replaced");
                None
            }
        }
    }

    /// One look: a certificate that is due is renewed.
    async fn once(&self) -> anyhow::Result<()> {
        if let Some(lifetime) = self.current() {
            let due = due::renewal(lifetime, Roll::new(&SystemEntropy));
            if SystemClock.now() < due {
                let not_after = lifetime.not_after;
                tracing::info!(%not_after, %due, "acme: the certificate is good, and not due yet");
                return Ok(());
            }
        }
        match self.obtain().await {
            Ok(_) | Err(OrderError::Stopped) => Ok(()),
            Err(error) => Err(advised(format!("no certificate: {error}"), error.fix(&self.account_file))),
        }
    }

    /// Renews whenever it is due, until told to stop.
    async fn keep(&self) {
        let (mut current, mut roll, mut failures) = (self.current(), Roll::new(&SystemEntropy), 0);
        while !self.stop.is_cancelled() {
            let wait = current.map_or(Duration::ZERO, |lifetime| {
                let left = due::renewal(lifetime, roll).duration_since(SystemClock.now());
                Duration::try_from(left).unwrap_or_default()
            });
            if !wait.is_zero() {
                self.sleep(wait.min(NAP)).await;
                continue;
            }
            match self.obtain().await {
                Ok(lifetime) => (current, roll, failures) = (Some(lifetime), Roll::new(&SystemEntropy), 0),
                Err(OrderError::Stopped) => {}
                Err(error) => {
                    failures += 1;
                    let pause = due::pause(failures, error.is_limit(), Roll::new(&SystemEntropy));
                    let (fix, pause_s) = (error.fix(&self.account_file), pause.as_secs());
                    tracing::error!(%error, fix, failures, pause_s, "acme: no certificate; it is tried again");
                    self.sleep(pause).await;
                }
            }
        }
    }

    async fn sleep(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// A new certificate in its place.
    async fn obtain(&self) -> Result<Lifetime, OrderError> {
        let mut attempt = 1;
        let issued = loop {
            match self.order().await {
                Err(error) if error.is_nonce() && attempt < ATTEMPTS => attempt += 1,
                ended => break ended?,
            }
        };
        let Issued { chain, key } = issued;
        let pair =
            Pair::from_pem(&self.files(), chain.as_bytes(), key.expose().as_bytes(), &self.arguments.dev_domain)?;
        let whole = Secret::new(format!("{}\n{}", key.expose().trim_end(), chain.trim_end()));
        private::write(&self.file, &whole, None).map_err(OrderError::Write)?;
        let not_after = pair.lifetime.not_after;
        tracing::info!(%not_after, file = %self.file.display(), "acme: a new certificate is in its place");
        Ok(pair.lifetime)
    }

    async fn order(&self) -> Result<Issued, OrderError> {
        let account = tokio::select! {
            account = tokio::time::timeout(order::PATIENCE, self.account()) => {
                account.map_err(|_| OrderError::Late("the CA"))??
            }
            () = self.stop.cancelled() => return Err(OrderError::Stopped),
        };
        let propagation = Duration::from_secs(self.arguments.propagation);
        order::order(&account, &self.hook, propagation, &self.stop).await
    }

    /// The account in its file; a new one the first time.
    async fn account(&self) -> Result<Account, OrderError> {
        if self.account_file.exists() {
            let text = private::read(&self.account_file).map_err(OrderError::Account)?;
            let credentials: AccountCredentials = serde_json::from_str(text.expose())
                .map_err(|_| OrderError::Account(anyhow::anyhow!("{} is damaged", self.account_file.display())))?;
            return Ok(self.builder()?.from_credentials(credentials).await?);
        }
        let contacts: Vec<String> =
            self.arguments.contacts.iter().map(|address| format!("mailto:{}", address.as_str())).collect();
        let contact: Vec<&str> = contacts.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.arguments.agree_to_terms,
            only_return_existing: false,
        };
        let (account, credentials) = self.builder()?.create(&new, self.arguments.directory.clone(), None).await?;
        let text = serde_json::to_string(&credentials).expect("plain data");
        private::write(&self.account_file, &Secret::new(text), None).map_err(OrderError::Write)?;
        tracing::info!(account = account.id(), "acme: the CA made an account");
        Ok(account)
    }

    fn builder(&self) -> Result<AccountBuilder, instant_acme::Error> {
        self.arguments.directory_root.as_ref().map_or_else(Account::builder, Account::builder_with_root)
    }
}

/// Two of these in one folder would order twice, and spend the CA's limits.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(advised(format!("another `envforged acme` works in {}", folder.display()), "one is enough: stop one"))
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}
