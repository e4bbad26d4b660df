//! Digests of what is received: the tag every object has, and the checksums that clients ask for.
//!
//! A client says a digest in a header, in a trailer behind the content, or names an algorithm alone. What was said must be
//! what was computed, or nothing of the request is kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{self, ChecksumAlgorithm};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// Checksums in base64, where there are any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sums {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crc32: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crc64nvme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
}

impl Sums {
    fn pairs(&self) -> [(&'static str, Option<&String>); 5] {
        [
            ("x-amz-checksum-crc32", self.crc32.as_ref()),
            ("x-amz-checksum-crc32c", self.crc32c.as_ref()),
            ("x-amz-checksum-crc64nvme", self.crc64nvme.as_ref()),
            ("x-amz-checksum-sha1", self.sha1.as_ref()),
            ("x-amz-checksum-sha256", self.sha256.as_ref()),
        ]
    }
}

impl From<dto::Checksum> for Sums {
    fn from(sums: dto::Checksum) -> Self {
        Self {
            crc32: sums.checksum_crc32,
            crc32c: sums.checksum_crc32c,
            crc64nvme: sums.checksum_crc64nvme,
            sha1: sums.checksum_sha1,
            sha256: sums.checksum_sha256,
        }
    }
}

/// What a client says of the content it sends.
#[derive(Default)]
pub(super) struct Said {
    pub(super) algorithm: Option<ChecksumAlgorithm>,
    /// Base64.
    pub(super) md5: Option<String>,
    pub(super) sums: Sums,
}

/// Computes what was asked for.
pub(super) struct Digest {
    md5: Md5,
    sums: ChecksumHasher,
}

impl Digest {
    pub(super) fn new(said: &Said, trailer: Option<&str>) -> S3Result<Self> {
        let mut sums = ChecksumHasher::default();
        let named = said.algorithm.iter().map(|algorithm| algorithm.as_str().to_ascii_lowercase());
        let given = said.sums.pairs().into_iter().filter(|(_, sum)| sum.is_some()).map(|(name, _)| name.to_owned());
        let trailing = trailer.into_iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_lowercase());
        for name in named.chain(given).chain(trailing) {
            match name.strip_prefix("x-amz-checksum-").unwrap_or(&name) {
                "crc32" => sums.crc32 = Some(Crc32::default()),
                "crc32c" => sums.crc32c = Some(Crc32c::default()),
                "crc64nvme" => sums.crc64nvme = Some(Crc64Nvme::default()),
                "sha1" => sums.sha1 = Some(Sha1::default()),
                "sha256" => sums.sha256 = Some(Sha256::default()),
                _ => return Err(s3_error!(InvalidRequest, "this checksum algorithm is not supported")),
            }
        }
        Ok(Self { md5: Md5::new(), sums })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    /// The MD5 and the checksums, if they are what was said before and behind the content.
    pub(super) fn finish(self, said: &Said, trailers: Option<&HeaderMap>) -> S3Result<([u8; 16], Sums)> {
        let (md5, sums) = (self.md5.finalize(), Sums::from(self.sums.finalize()));
        if said.md5.as_ref().is_some_and(|said| STANDARD.decode(said).ok().as_deref() != Some(md5.as_slice())) {
            return Err(s3_error!(BadDigest, "Content-MD5 is not that of the content"));
        }
        let computed = sums.pairs();
        for ((name, said), (_, computed)) in said.sums.pairs().into_iter().zip(computed) {
            let trailing = trailers.and_then(|trailers| trailers.get(name)).and_then(|value| value.to_str().ok());
            let mut expected = said.map(String::as_str).into_iter().chain(trailing);
            if expected.any(|expected| computed.map(String::as_str) != Some(expected)) {
                return Err(s3_error!(BadDigest, "{name} is not that of the content"));
            }
        }
        Ok((md5, sums))
    }
}
