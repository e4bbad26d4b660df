//! The agent that SSH in a workspace asks: it has no key, the server has.
//!
//! Which keys there are is one: of who acts in the workspace, if they have one for the host of its repository. What is to
//! be signed is handed on as it came: the server reads it and signs a login or nothing. Anything else a client may ask of
//! an agent fails ([`envforge_core::ssh::agent`]). A message too long, cut, or late ends the connection.

use super::socket::{ASKING_LIMIT, Asker};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envforge_api::host::{
    AskGitIdentity, AskGitSignature, GIT_IDENTITY_PATH, GIT_SIGNATURE_PATH, GitIdentity, GitSignature,
};
use envforge_core::refusal::Refusal;
use envforge_core::ssh::SshPublicKey;
use envforge_core::ssh::agent::{FAILURE, MESSAGE_MAX, Request, identities, signature};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Requests of one connection: a login has two or three.
const REQUESTS_MAX: usize = 32;
/// How long a connection may stay without a request: a login waits for the other side in between.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Who knows the key and signs with it.
trait Lender: Sync {
    /// The key there is. Why there is none is said to the person by who started SSH: an agent has no words.
    fn key(&self) -> impl Future<Output = Option<GitIdentity>> + Send;
    /// A signature of a login.
    fn sign(&self, key: SshPublicKey, data: &[u8]) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

impl Lender for Asker {
    async fn key(&self) -> Option<GitIdentity> {
        identity(self).await.ok()
    }

    async fn sign(&self, public_key: SshPublicKey, data: &[u8]) -> Option<Vec<u8>> {
        let data = BASE64_STANDARD.encode(data);
        let (host_generation, workspace) = (self.host_generation(), self.workspace);
        let ask = AskGitSignature { host_generation, workspace, public_key, data };
        match self.server().post::<_, GitSignature>(GIT_SIGNATURE_PATH, &ask).await {
            Ok(given) => BASE64_STANDARD.decode(given.signature).ok(),
            Err(error) => {
                tracing::debug!(%workspace, %error, "git: a signature was refused");
                None
            }
        }
    }
}

/// Answers one connection.
pub(super) async fn answer(asker: Asker, mut stream: UnixStream) -> io::Result<()> {
    converse(&mut stream, &asker).await
}

async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin + Send), lender: &impl Lender) -> io::Result<()> {
    for _ in 0..REQUESTS_MAX {
        let Some(message) = tokio::time::timeout(IDLE_LIMIT, read(stream)).await?? else { return Ok(()) };
        let answer = match Request::parse(&message) {
            Request::Identities => {
                let key = lender.key().await.map(|identity| (identity.public_key, identity.comment));
                identities(key.as_slice())
            }
            Request::Sign { key, data } => match lender.sign(key, data).await {
                Some(signed) => signature(&signed),
                None => FAILURE.to_vec(),
            },
            Request::Other => FAILURE.to_vec(),
        };
        tokio::time::timeout(ASKING_LIMIT, stream.write_all(&answer)).await??;
    }
    Ok(())
}

/// A message; `None` when there is no further one.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MESSAGE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// The key that may log in, or why there is none.
pub(super) async fn identity(asker: &Asker) -> Result<GitIdentity, Refusal> {
    let ask = AskGitIdentity { host_generation: asker.host_generation(), workspace: asker.workspace };
    asker.server().post(GIT_IDENTITY_PATH, &ask).await.map_err(envforge_api::client::CallError::into_refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../../envforge-core/src/ssh/testdata/id_ed25519.pub");

    /// Whether there is a key.
    struct Has(bool);

    impl Lender for Has {
        async fn key(&self) -> Option<GitIdentity> {
            self.0.then(|| GitIdentity { public_key: key(), comment: "c".to_owned() })
        }

        async fn sign(&self, asked: SshPublicKey, data: &[u8]) -> Option<Vec<u8>> {
            (self.0 && asked == key()).then(|| [b"signed ", data].concat())
        }
    }

    fn key() -> SshPublicKey {
        KEY.trim_end_matches(" test\n").parse().expect("a key")
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    /// What a client that says all this at once is answered, with how it ends.
    async fn said(words: Vec<u8>, has_key: bool) -> (Vec<u8>, io::Result<()>) {
        let (mut client, mut ours) = tokio::io::duplex(1 << 20);
        client.write_all(&words).await.expect("said");
        client.shutdown().await.expect("said");
        let ended = converse(&mut ours, &Has(has_key)).await;
        drop(ours);
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.expect("answers");
        (answers, ended)
    }

    // proves UP-10
    #[tokio::test]
    async fn the_agent_lends_one_key_and_refuses_the_rest() {
        let blob = key().blob();
        let sign = framed(&[&[13][..], &framed(&blob), &framed(b"data"), &[0; 4]].concat());
        let (add, bind) = (framed(&[17, 1, 2, 3]), framed(&[&[27][..], &framed(b"session-bind@openssh.com")].concat()));
        let words = [framed(&[11]), add, bind, sign.clone()].concat();
        let lent = [
            framed(&[&[12, 0, 0, 0, 1][..], &framed(&blob), &framed(b"c")].concat()),
            framed(&[5]),
            framed(&[5]),
            framed(&[&[14][..], &framed(b"signed data")].concat()),
        ];
        let (answers, ended) = said(words, true).await;
        assert_eq!(answers, lent.concat());
        ended.expect("a client that has what it wanted");
        let (answers, _) = said([framed(&[11]), sign].concat(), false).await;
        assert_eq!(answers, [framed(&[12, 0, 0, 0, 0]), framed(&[5])].concat());
    }

    #[tokio::test]
    async fn what_is_cut_too_long_or_endless_ends_the_connection() {
        let (answers, ended) = said(vec![0, 0, 0, 2, 11], true).await;
        assert!(answers.is_empty() && ended.is_err(), "cut");
        let (answers, ended) = said(vec![0xff, 0xff, 0xff, 0xff, 11], true).await;
        assert!(answers.is_empty() && ended.is_err(), "too long, and nothing is reserved for it");
        let (answers, _) = said(framed(&[11]).repeat(REQUESTS_MAX + 5), false).await;
        assert_eq!(answers, framed(&[12, 0, 0, 0, 0]).repeat(REQUESTS_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for() {
        let (_client, mut ours) = tokio::io::duplex(64);
        let ended = converse(&mut ours, &Has(false)).await;
        assert_eq!(ended.expect_err("late").kind(), io::ErrorKind::TimedOut);
    }
}
