//! Mail out: one message to one address.
//!
//! Sending takes as long as the mail server takes, so nobody awaits it inside a transaction or where its duration would
//! tell a stranger something. Neither address nor text is ever logged.

mod smtp;

use crate::platform::fault::{Answer, Fault};
use envforge_core::email::EmailAddress;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_core::setting::Values;
use futures_util::future::BoxFuture;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};

/// A message.
#[derive(Debug, Clone)]
pub struct Mail {
    /// To whom.
    pub to: EmailAddress,
    /// One line.
    pub subject: String,
    /// The message as plain text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
}

/// Sends mail.
pub trait Mailer: Send + Sync {
    /// Whether there is a mail server to send through.
    fn is_configured(&self) -> bool;
    /// Hands a message to the mail server. Refusals: `mail.not_configured`, `mail.refused` (trying again can't help),
    /// `mail.unavailable` (it can).
    fn send(&self, mail: Mail) -> BoxFuture<'_, Answer<()>>;
    /// Whether the mail server would be spoken to: connection, TLS and sign-in, and no message. Refusals as of `send`.
    fn check(&self) -> BoxFuture<'_, Answer<()>>;
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (RFC 8314, 3).
    Implicit,
    /// TLS by STARTTLS, or no mail at all.
    StartTls,
    /// Plain; a mail server on this machine only.
    Loopback,
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: MailTls,
    /// User and password, when it asks for them.
    pub credentials: Option<(String, Secret)>,
    /// From whom mail comes.
    pub from: EmailAddress,
}

impl MailConfig {
    /// From `smtps://[user@]host[:465]` (TLS from the start) or `smtp://[user@]host[:587]` (STARTTLS; plain to
    /// loopback addresses).
    pub fn from_url(url: &str, password: Option<Secret>, from: EmailAddress) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
                (host, Some(port.parse().map_err(|_| "the mail server's port is not one".to_owned())?))
            }
            _ => (authority, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || host.contains(['/', '?', '#']) || user.is_some_and(|user| user.contains(':')) {
            return Err("give the mail server as `smtps://user@host:465` or `smtp://user@host:587`; \
                        its password is given in a file"
                .to_owned());
        }
        let (tls, default) = match scheme {
            "smtps" => (MailTls::Implicit, 465),
            "smtp" if is_loopback(&host) => (MailTls::Loopback, 25),
            "smtp" => (MailTls::StartTls, 587),
            _ => return Err("the mail server's URL begins with `smtps://` or `smtp://`".to_owned()),
        };
        let credentials = match (user, password) {
            (Some(user), Some(password)) => Some((user.to_owned(), password)),
            (None, None) => None,
            (Some(_), None) => return Err("the mail server's URL names a user, and no password was given".to_owned()),
            (None, Some(_)) => return Err("a mail password was given, and the URL names no user for it".to_owned()),
        };
        Ok(Self { host, port: port.unwrap_or(default), tls, credentials, from })
    }

    /// From the setting `mail`, or which of its fields does not fit.
    pub fn from_setting(values: &Values) -> Result<Self, Refusal> {
        let wrong = |field: &str, what: &str| Refusal::invalid("setting.value", format!("the field `{field}` {what}"));
        let host = values.text("host").unwrap_or_default().to_owned();
        let port = values.number("port").and_then(|port| u16::try_from(port).ok());
        let tls = match values.text("encryption") {
            Some("tls") => MailTls::Implicit,
            Some("starttls") => MailTls::StartTls,
            _ if is_loopback(&host) => MailTls::Loopback,
            _ => return Err(wrong("encryption", "is `none` for a mail server on this machine only")),
        };
        let credentials = match (values.text("username"), values.secret("password")) {
            (Some(user), Some(password)) => Some((user.to_owned(), password.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("password", "is missing: there is a username")),
            (None, Some(_)) => return Err(wrong("username", "is missing: there is a password")),
        };
        let from = values.text("from").unwrap_or_default().parse();
        let from = from.map_err(|error| wrong("from", &format!("takes the sender's address: {error}")))?;
        Ok(Self { host, port: port.ok_or_else(|| wrong("port", "is missing"))?, tls, credentials, from })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Sends through the mail server in use, which may change while the server runs.
pub struct ActiveMailer(RwLock<Arc<dyn Mailer>>);

impl ActiveMailer {
    /// Through this one.
    pub fn new(config: Option<&MailConfig>) -> anyhow::Result<Self> {
        Ok(Self(RwLock::new(mailer(config)?)))
    }

    /// Through this one from the next message on.
    pub fn replace(&self, config: Option<&MailConfig>) -> anyhow::Result<()> {
        *self.0.write().expect("no panic while the mailer is held") = mailer(config)?;
        Ok(())
    }

    fn current(&self) -> Arc<dyn Mailer> {
        Arc::clone(&self.0.read().expect("no panic while the mailer is held"))
    }
}

impl Mailer for ActiveMailer {
    fn is_configured(&self) -> bool {
        self.current().is_configured()
    }

    fn send(&self, mail: Mail) -> BoxFuture<'_, Answer<()>> {
        let current = self.current();
        Box::pin(async move { current.send(mail).await })
    }

    fn check(&self) -> BoxFuture<'_, Answer<()>> {
        let current = self.current();
        Box::pin(async move { current.check().await })
    }
}

/// The mailer for a configuration.
fn mailer(config: Option<&MailConfig>) -> anyhow::Result<Arc<dyn Mailer>> {
    Ok(match config {
        Some(config) => Arc::new(smtp::Smtp::new(config)?),
        None => Arc::new(NoMail),
    })
}

/// There is no mail server.
struct NoMail;

impl Mailer for NoMail {
    fn is_configured(&self) -> bool {
        false
    }

    fn send(&self, _: Mail) -> BoxFuture<'_, Answer<()>> {
        Box::pin(std::future::ready(Err(not_configured())))
    }

    fn check(&self) -> BoxFuture<'_, Answer<()>> {
        Box::pin(std::future::ready(Err(not_configured())))
    }
}

fn not_configured() -> Fault {
    Refusal::conflict("mail.not_configured", "this installation sends no mail")
        .hint("its operator gives a mail server by the setting `mail`, or with `--mail-server` and `--mail-from`")
        .into()
}

#[cfg(test)]
mod tests {
    use super::{MailConfig, MailTls, Secret};

    #[test]
    fn tls_is_left_out_on_this_machine_only() {
        let parse = |url, password: Option<&str>| {
            let password = password.map(|text| Secret::new(text.to_owned()));
            MailConfig::from_url(url, password, "envforge@example.org".parse().unwrap())
        };
        let read = |url| parse(url, None).map(|config| (config.host, config.port, config.tls)).unwrap();
        assert_eq!(read("smtps://mail.example"), ("mail.example".to_owned(), 465, MailTls::Implicit));
        assert_eq!(read("smtp://mail.example"), ("mail.example".to_owned(), 587, MailTls::StartTls));
        assert_eq!(read("smtp://127.0.0.1:1025"), ("127.0.0.1".to_owned(), 1025, MailTls::Loopback));
        assert_eq!(read("smtp://[::1]:1025"), ("::1".to_owned(), 1025, MailTls::Loopback));
        assert_eq!(read("smtp://127.0.0.1.example").2, MailTls::StartTls);
        let with_user = parse("smtps://ada@example.org@mail.example:2465", Some("pw")).unwrap();
        assert_eq!((with_user.port, with_user.credentials.unwrap().0.as_str()), (2465, "ada@example.org"));
        for (url, password) in [
            ("mail.example", None),
            ("http://mail.example", None),
            ("smtps://user:password@mail.example", None),
            ("smtps://user@mail.example", None),
            ("smtps://mail.example", Some("pw")),
            ("smtps://mail.example:x", None),
            ("smtps://", None),
        ] {
            assert!(parse(url, password).is_err(), "{url}");
        }
    }
}
