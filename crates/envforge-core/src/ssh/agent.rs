//! What an SSH client and its agent say to each other (draft-ietf-sshm-ssh-agent, sections 3.5 and 3.6).
//!
//! An agent that only lends: which keys there are, and a signature. Whatever else a client may ask for (adding and
//! removing keys, locking, extensions) fails, which clients take as "not here".

use super::SshPublicKey;
use super::wire::{Reader, put_string};

/// Longest message that is read, in bytes, its length not counted.
pub const MESSAGE_MAX: usize = 16 * 1024;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// The answer to what can't or must not be done, with its length.
pub const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which keys there are.
    Identities,
    /// A signature.
    Sign {
        /// With which key.
        key: SshPublicKey,
        /// Of what.
        data: &'a [u8],
    },
    /// Something that fails here, or is malformed.
    Other,
}

impl<'a> Request<'a> {
    /// Reads a message, without its length.
    pub fn parse(message: &'a [u8]) -> Self {
        Self::read(message).unwrap_or(Self::Other)
    }

    fn read(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let request = match reader.byte()? {
            REQUEST_IDENTITIES => Self::Identities,
            SIGN_REQUEST => {
                let request = Self::Sign { key: SshPublicKey::from_blob(reader.string()?)?, data: reader.string()? };
                // Flags choose among the digests of RSA.
                reader.number()?;
                request
            }
            _ => return None,
        };
        reader.is_at_end().then_some(request)
    }
}

/// The keys there are, each with a comment for people.
pub fn identities(keys: &[(SshPublicKey, String)]) -> Vec<u8> {
    let mut body = vec![IDENTITIES_ANSWER];
    body.extend((keys.len() as u32).to_be_bytes());
    for (key, comment) in keys {
        put_string(&mut body, &key.blob());
        put_string(&mut body, comment.as_bytes());
    }
    framed(&body)
}

/// The signature asked for.
pub fn signature(signature: &[u8]) -> Vec<u8> {
    let mut body = vec![SIGN_RESPONSE];
    put_string(&mut body, signature);
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(4 + body.len());
    put_string(&mut message, body);
    message
}
