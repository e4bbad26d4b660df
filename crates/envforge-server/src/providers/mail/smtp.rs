//! Mail by SMTP, one connection a message: mail is rare here, and an idle connection is one more thing that breaks.

use super::{Mail, MailConfig, MailTls, Mailer};
use crate::platform::fault::{Answer, Fault};
use anyhow::Context as _;
use envforge_core::refusal::Refusal;
use futures_util::future::BoxFuture;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use std::time::Duration;

/// How long each step of the conversation may take.
const STEP: Duration = Duration::from_secs(20);

/// A mail server.
pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    pub(super) fn new(config: &MailConfig) -> anyhow::Result<Self> {
        let parameters = || TlsParameters::new(config.host.clone()).context("TLS to the mail server");
        let tls = match config.tls {
            MailTls::Implicit => Tls::Wrapper(parameters()?),
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::Loopback => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(tls)
            .timeout(Some(STEP))
            .hello_name(ClientId::Domain(config.from.domain().to_owned()));
        if let Some((user, password)) = &config.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let from = Mailbox::new(Some("EnvForge".to_owned()), config.from.as_str().parse()?);
        Ok(Self { transport: builder.build(), from })
    }

    fn message(&self, mail: Mail) -> anyhow::Result<Message> {
        let builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, mail.to.as_str().parse()?))
            .subject(mail.subject);
        Ok(match mail.html {
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(mail.text, html))?,
            None => builder.body(mail.text)?,
        })
    }
}

impl Mailer for Smtp {
    fn is_configured(&self) -> bool {
        true
    }

    fn send(&self, mail: Mail) -> BoxFuture<'_, Answer<()>> {
        Box::pin(async move {
            let message = self.message(mail).context("a message could not be made")?;
            self.transport.send(message).await.map(drop).map_err(|error| refused(&error))
        })
    }

    fn check(&self) -> BoxFuture<'_, Answer<()>> {
        Box::pin(async move {
            match self.transport.test_connection().await {
                Ok(true) => Ok(()),
                Ok(false) => Err(unavailable("does not answer as it should", "")),
                Err(error) => Err(unavailable("can't be used", &cause(&error))),
            }
        })
    }
}

/// What a mail server says quotes the address, so only its code is passed on.
fn refused(error: &lettre::transport::smtp::Error) -> Fault {
    let cause = cause(error);
    if error.is_permanent() {
        return Refusal::conflict("mail.refused", format!("the mail server refused the message{cause}"))
            .hint("is the address right, and may this installation send mail from its own?")
            .into();
    }
    unavailable("did not take the message", &cause)
}

/// Of an error of the connection the kind is safe to show, and says what is wrong.
fn cause(error: &lettre::transport::smtp::Error) -> String {
    error.status().map_or_else(|| format!(": {error}"), |code| format!(" ({code})"))
}

fn unavailable(what: &str, cause: &str) -> Fault {
    Refusal::unavailable("mail.unavailable", format!("the mail server {what}{cause}")).retry_after(60).into()
}
