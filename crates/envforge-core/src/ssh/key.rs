//! Ed25519 keys of SSH (RFC 8709).

use super::wire::{Reader, put_string};
use crate::clock::Entropy;
use crate::secret::Secret;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use ssh_key::PrivateKey;
use ssh_key::private::KeypairData;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The name of the algorithm, of its keys and of its signatures.
pub(super) const ALGORITHM: &str = "ssh-ed25519";
const LEN: usize = 32;

/// Why a private key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshKeyError {
    /// Not OpenSSH's format, or damaged.
    #[error("this is not a private key in OpenSSH's format")]
    Unreadable,
    /// It could be used by nobody without its passphrase.
    #[error("this key is protected by a passphrase, which nobody could type when Git asks")]
    Passphrase,
    /// RSA, ECDSA, DSA, or one on a token of hardware.
    #[error("only Ed25519 keys are taken")]
    Kind,
}

/// The public half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SshPublicKey([u8; LEN]);

impl SshPublicKey {
    /// From the bytes that stand for it in SSH's messages.
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(blob);
        let is_ours = reader.string()? == ALGORITHM.as_bytes();
        let bytes = reader.string()?.try_into().ok()?;
        (is_ours && reader.is_at_end()).then_some(Self(bytes))
    }

    /// The bytes that stand for it in SSH's messages.
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(8 + ALGORITHM.len() + LEN);
        put_string(&mut blob, ALGORITHM.as_bytes());
        put_string(&mut blob, &self.0);
        blob
    }

    /// As `ssh-keygen -l` and Git hosts show it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest(&SHA256, &self.blob())))
    }
}

/// The line to register at a host, without a comment.
impl fmt::Display for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM} {}", BASE64_STANDARD.encode(self.blob()))
    }
}

impl FromStr for SshPublicKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let blob = text.strip_prefix(ALGORITHM).and_then(|rest| BASE64_STANDARD.decode(rest.strip_prefix(' ')?).ok());
        blob.and_then(|blob| Self::from_blob(&blob)).ok_or("not an Ed25519 key of SSH")
    }
}

impl From<SshPublicKey> for String {
    fn from(key: SshPublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for SshPublicKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl schemars::JsonSchema for SshPublicKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SshPublicKey".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^ssh-ed25519 [A-Za-z0-9+/]+=*$" })
    }
}

/// Both halves; only the server holds one. The seed is wiped when it is dropped.
pub struct SshKey {
    seed: Zeroizing<[u8; LEN]>,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshKey({})", self.public().fingerprint())
    }
}

impl SshKey {
    /// A fresh key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; LEN]);
        entropy.fill(&mut *seed);
        Self::of(seed)
    }

    fn of(seed: Zeroizing<[u8; LEN]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("any 32 bytes are an Ed25519 seed");
        Self { seed, pair }
    }

    /// The key in a file that `ssh-keygen` made.
    pub fn import(text: &Secret) -> Result<Self, SshKeyError> {
        let key = PrivateKey::from_openssh(text.expose()).map_err(|error| match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => SshKeyError::Kind,
            _ => SshKeyError::Unreadable,
        })?;
        match key.key_data() {
            KeypairData::Ed25519(pair) => {
                let it = Self::of(Zeroizing::new(pair.private.to_bytes()));
                if it.public().0 == pair.public.0 { Ok(it) } else { Err(SshKeyError::Unreadable) }
            }
            KeypairData::Encrypted(_) => Err(SshKeyError::Passphrase),
            _ => Err(SshKeyError::Kind),
        }
    }

    /// What to keep of it, to be given to [`SshKey::kept`] again.
    pub fn to_keep(&self) -> Secret {
        Secret::new(hex::encode(self.seed.as_slice()))
    }

    /// A key that was kept; `None` for anything else.
    pub fn kept(text: &Secret) -> Option<Self> {
        let mut seed = Zeroizing::new([0; LEN]);
        hex::decode_to_slice(text.expose(), &mut *seed).ok()?;
        Some(Self::of(seed))
    }

    /// The public half.
    pub fn public(&self) -> SshPublicKey {
        SshPublicKey(self.pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes"))
    }

    /// A signature as it stands in SSH's messages (RFC 8709, section 6).
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        let mut signature = Vec::new();
        put_string(&mut signature, ALGORITHM.as_bytes());
        put_string(&mut signature, self.pair.sign(data).as_ref());
        signature
    }
}
