//! Who this host is: one exchange of a one-time token for a key, then a file.
//!
//! The file also says which org the host obeys. It is written once and never overwritten: a host that belongs to
//! another org is a new data directory. The token is spent by the first exchange, so the file is on disk before
//! anything else happens.

use crate::config::HostConfig;
use crate::files;
use envforge_api::client::{CallError, Client};
use envforge_api::host::{REGISTER_PATH, Register, Registered};
use envforge_core::id::{HostId, OrgId};
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Who the host is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) host: HostId,
    pub(crate) org: OrgId,
    pub(crate) key: Secret,
}

/// The file; the key in it is why only root may read it.
#[derive(Serialize, Deserialize)]
struct IdentityFile {
    host: HostId,
    org: OrgId,
    key: String,
}

/// Why a host has no identity.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// There is neither a saved identity nor a token.
    #[error("this host is not registered and was given no registration token")]
    NoToken,
    /// The token could not be read.
    #[error("the registration token {path} can't be read: {source}")]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server says no.
    #[error("the server refused to register this host: {0}")]
    Refused(Refusal),
    /// The identity could not be read or saved.
    #[error("the host's identity: {0}")]
    File(#[from] io::Error),
    /// The daemon was told to end before the server answered.
    #[error("stopped while waiting for the server")]
    Stopped,
}

/// The saved identity, or a fresh one. Waits for a server that is still starting.
pub(crate) async fn identify(config: &HostConfig, cancel: &CancellationToken) -> Result<Identity, RegistrationError> {
    let path = config.data_dir.join("host.json");
    match fs_err::read(&path) {
        Ok(bytes) => {
            let saved: IdentityFile = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
            return Ok(Identity { host: saved.host, org: saved.org, key: Secret::new(saved.key) });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let token_path = config.registration_token.as_ref().ok_or(RegistrationError::NoToken)?;
    let registered = tokio::select! {
        registered = register(config, token_path) => registered?,
        () = cancel.cancelled() => return Err(RegistrationError::Stopped),
    };
    let file = IdentityFile { host: registered.host, org: registered.org, key: registered.key };
    let bytes = serde_json::to_vec_pretty(&file).map_err(io::Error::other)?;
    files::replace(&path, &bytes, 0o600, files::Durability::Machine)?;
    tracing::info!(host = %file.host, org = %file.org, "host registered");
    Ok(Identity { host: file.host, org: file.org, key: Secret::new(file.key) })
}

async fn register(config: &HostConfig, token_path: &PathBuf) -> Result<Registered, RegistrationError> {
    let mut pause = Duration::from_millis(50);
    loop {
        // Read again at each try: on the one box the server writes it while this waits.
        let token = match fs_err::read_to_string(token_path) {
            Ok(token) => Some(token.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(RegistrationError::Token { path: token_path.clone(), source }),
        };
        let answer = match token {
            Some(token) => {
                let client = Client::new(&config.server, None);
                match client {
                    Ok(client) => client.post::<_, Registered>(REGISTER_PATH, &Register { token }).await,
                    Err(error) => Err(error),
                }
            }
            None => Err(CallError::Transport {
                message: "the registration token is not there yet".to_owned(),
                is_connect: true,
            }),
        };
        match answer {
            Ok(registered) => return Ok(registered),
            Err(CallError::Refused(refusal)) if refusal.retry_after.is_none() => {
                return Err(RegistrationError::Refused(refusal));
            }
            Err(error) => tracing::debug!(%error, "registration: the server does not answer yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
