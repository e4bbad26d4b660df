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
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Requests of one connection: a login has two or three.
const REQUESTS_MAX: usize = 32;
/// How long a connection may stay without a request: a login waits for the other side in between.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Answers one connection.
pub(super) async fn answer(asker: Asker, mut stream: UnixStream) -> io::Result<()> {
    for _ in 0..REQUESTS_MAX {
        let Some(message) = tokio::time::timeout(IDLE_LIMIT, read(&mut stream)).await?? else { return Ok(()) };
        let answer = match Request::parse(&message) {
            Request::Identities => {
                // Why there is none is said to the person by who started SSH: an agent has no words.
                let key = identity(&asker).await.ok().map(|identity| (identity.public_key, identity.comment));
                identities(key.as_slice())
            }
            Request::Sign { key, data } => match sign(&asker, key, data).await {
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
    asker.client.post(GIT_IDENTITY_PATH, &ask).await.map_err(envforge_api::client::CallError::into_refusal)
}

async fn sign(asker: &Asker, public_key: SshPublicKey, data: &[u8]) -> Option<Vec<u8>> {
    let data = BASE64_STANDARD.encode(data);
    let (host_generation, workspace) = (asker.host_generation(), asker.workspace);
    let ask = AskGitSignature { host_generation, workspace, public_key, data };
    match asker.client.post::<_, GitSignature>(GIT_SIGNATURE_PATH, &ask).await {
        Ok(given) => BASE64_STANDARD.decode(given.signature).ok(),
        Err(error) => {
            tracing::debug!(%workspace, %error, "git: a signature was refused");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_whole_and_short_or_the_connection_ends() {
        let message = |bytes: &'static [u8]| async move { read(&mut &*bytes).await };
        assert_eq!(message(&[0, 0, 0, 1, 11, 99]).await.expect("read"), Some(vec![11]));
        assert_eq!(message(&[]).await.expect("the end"), None);
        assert!(message(&[0, 0, 0, 2, 11]).await.is_err(), "cut");
        assert!(message(&[0xff, 0xff, 0xff, 0xff, 11]).await.is_err(), "too long, and nothing is reserved for it");
    }
}
