//! A certificate with its key, read from files and checked before anybody sees it.
//!
//! What is checked is what a browser or an attacker would find first: that the key belongs to the certificate, that the
//! certificate is for every dev host, that the key is not open to every user of the machine.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError, Error};
use x509_cert::der::Decode as _;

/// Largest file read: chains are of some kilobytes.
const FILE_MAX: u64 = 1024 * 1024;
/// Bits of a key file's mode that are too much: its group may read it, nobody else may do anything.
const TOO_OPEN: u32 = 0o037;

/// Where a certificate and its key are; one file may be both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM: the certificate, then those it is signed by.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// From.
    pub not_before: Timestamp,
    /// Until.
    pub not_after: Timestamp,
}

impl Lifetime {
    /// Whether less than a fifth of it is left; whoever renews does so when a third is.
    pub fn ends_soon(self, now: Timestamp) -> bool {
        let whole = self.not_after.duration_since(self.not_before);
        self.not_after.duration_since(now) < whole / 5
    }
}

/// Why a certificate or its key is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key is open to others.
    #[error("the key in {} is open to other users (mode {mode:04o})", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// The file's mode.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("there is no {what} in {}: {source}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// A certificate or a private key.
        what: &'static str,
        /// What is there instead.
        source: pem::Error,
    },
    /// Certificate and key are not each other's.
    #[error("the key in {} does not belong to the certificate in {}", files.key.display(), files.certificate.display())]
    Mismatch {
        /// Both.
        files: Files,
    },
    /// The certificate is not for dev hosts.
    #[error("the certificate in {} is not for *.{domain}, but for: {}", path.display(), names.join(", "))]
    Names {
        /// Where it is.
        path: PathBuf,
        /// The dev domain.
        domain: String,
        /// What it is for.
        names: Vec<String>,
    },
    /// The certificate or its key can't be used.
    #[error("the certificate in {} or its key can't be used: {source}", path.display())]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS itself can't be set up.
    #[error("TLS can't be set up: {0}")]
    Setup(Error),
}

impl TlsError {
    /// What helps.
    pub fn fix(&self) -> String {
        match self {
            Self::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("let the gateway's user read it and its folders: `chown USER {}`", path.display())
            }
            Self::Read { .. } => "give the paths of a certificate and its key, both as PEM".to_owned(),
            Self::Open { path, .. } => {
                format!("`chmod 600 {}`, owned by the gateway's user (0640 for its group alone)", path.display())
            }
            Self::Missing { what: "certificate", .. } => {
                "give the whole chain as PEM: `-----BEGIN CERTIFICATE-----`, the server's own first".to_owned()
            }
            Self::Missing { .. } => {
                "give the key as PEM, without a passphrase: `-----BEGIN PRIVATE KEY-----`".to_owned()
            }
            Self::Mismatch { .. } => {
                "give the key that the certificate was requested with, or request another".to_owned()
            }
            Self::Names { domain, .. } if !domain.contains('.') => {
                format!(
                    "no browser takes a wildcard of the whole of `{domain}`: give a dev domain like dev.example.org"
                )
            }
            Self::Names { domain, .. } => {
                format!("request one for *.{domain}, `envforged acme` does; or give its domain with --dev-domain")
            }
            Self::Unusable { .. } | Self::Setup(_) => {
                "give an X.509 certificate with an ECDSA, RSA or Ed25519 key".to_owned()
            }
        }
    }
}

/// A certificate that may be shown, with its key.
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// Of the text of both, so that a change is seen.
    pub(super) digest: [u8; 32],
    /// When the certificate is good.
    pub lifetime: Lifetime,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl Pair {
    /// The pair in the files, if all of it is right.
    pub fn read(files: &Files, dev_domain: &str) -> Result<Self, TlsError> {
        let key = read(&files.key, true)?;
        if files.key == files.certificate {
            // One file changes at once: it is read once.
            return Self::from_pem(files, &key, &key, dev_domain);
        }
        let certificate = read(&files.certificate, false)?;
        Self::from_pem(files, &certificate, &key, dev_domain)
    }

    /// The pair in these texts; `files` say where they are from, or are to go.
    pub fn from_pem(files: &Files, certificate: &[u8], key: &[u8], dev_domain: &str) -> Result<Self, TlsError> {
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Unusable {
            path: files.certificate.clone(),
            source,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| missing(&files.certificate, "certificate", error))?;
        let Some(first) = chain.first().cloned() else {
            return Err(missing(&files.certificate, "certificate", pem::Error::NoItemsFound));
        };
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| missing(&files.key, "private key", error))?;
        let certified = CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsError::Mismatch { files: files.clone() },
            other => unusable(other.into()),
        })?;
        let parsed = ParsedCertificate::try_from(&first).map_err(|error| unusable(error.into()))?;
        covers(&parsed, dev_domain).map_err(|names| TlsError::Names {
            path: files.certificate.clone(),
            domain: dev_domain.to_owned(),
            names,
        })?;
        let lifetime = lifetime(&first).map_err(|error| unusable(error.into()))?;
        let mut digest = Context::new(&SHA256);
        digest.update(certificate);
        digest.update(key);
        let digest = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok(Self { certified: Arc::new(certified), digest, lifetime })
    }
}

fn missing(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    TlsError::Missing { path: path.to_owned(), what, source }
}

fn read(path: &Path, is_key: bool) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let file = std::fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        let mut bytes = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    let (bytes, mode) = read().map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    if is_key && mode & TOO_OPEN != 0 {
        return Err(TlsError::Open { path: path.to_owned(), mode });
    }
    Ok(bytes)
}

/// Whether the certificate is for any dev host, asked as a browser asks; else what it is for.
fn covers(certificate: &ParsedCertificate<'_>, dev_domain: &str) -> Result<(), Vec<String>> {
    let any = ServerName::try_from(format!("web--any--workspace.{dev_domain}"));
    match any.map(|any| verify_server_name(certificate, &any)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))) => {
            // Told as `DnsName("…")`.
            let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            Err(presented.iter().map(plain).collect())
        }
        _ => Err(Vec::new()),
    }
}

fn lifetime(certificate: &CertificateDer<'_>) -> Result<Lifetime, x509_cert::der::Error> {
    let validity = x509_cert::Certificate::from_der(certificate)?.tbs_certificate.validity;
    let at = |time: x509_cert::time::Time| {
        let seconds = time.to_unix_duration().as_secs();
        Timestamp::from_second(seconds.cast_signed()).unwrap_or(Timestamp::MAX)
    };
    Ok(Lifetime { not_before: at(validity.not_before), not_after: at(validity.not_after) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate for these names, and its key, as PEM.
    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files() -> Files {
        Files { certificate: "/c.pem".into(), key: "/k.pem".into() }
    }

    fn refused(certificate: &str, key: &str, domain: &str) -> TlsError {
        Pair::from_pem(&files(), certificate.as_bytes(), key.as_bytes(), domain).expect_err("refused")
    }

    // proves LINK-9
    #[test]
    fn a_pair_is_taken_whole_or_not_at_all() {
        let (certificate, key) = made(&["*.dev.example"]);
        let pair = Pair::from_pem(&files(), certificate.as_bytes(), key.as_bytes(), "dev.example").expect("taken");
        assert!(pair.lifetime.not_before < pair.lifetime.not_after);
        let (_, other) = made(&["*.dev.example"]);
        let error = refused(&certificate, &other, "dev.example");
        assert_eq!(error.to_string(), "the key in /k.pem does not belong to the certificate in /c.pem");
        for half in [&certificate[..certificate.len() / 2], "", "nonsense"] {
            let error = refused(half, &key, "dev.example");
            assert!(error.to_string().starts_with("there is no certificate in /c.pem"), "{error}");
        }
        let error = refused(&certificate, &key[..key.len() / 2], "dev.example");
        assert!(error.to_string().starts_with("there is no private key in /k.pem"), "{error}");
    }

    // proves LINK-9
    #[test]
    fn a_certificate_is_for_every_dev_host() {
        let (certificate, key) = made(&["dev.example", "*.other.example"]);
        let error = refused(&certificate, &key, "dev.example");
        let said = error.to_string();
        let wanted = "the certificate in /c.pem is not for *.dev.example, but for: dev.example, *.other.example";
        assert_eq!(said, wanted);
        assert!(error.fix().contains("request one for *.dev.example"), "{}", error.fix());
        let (certificate, key) = made(&["*.localhost"]);
        assert!(refused(&certificate, &key, "localhost").fix().contains("no browser takes a wildcard"));
    }

    #[test]
    fn the_last_fifth_is_soon() {
        let at = |day: i64| Timestamp::from_second(day * 86_400).expect("in range");
        let lifetime = Lifetime { not_before: at(0), not_after: at(90) };
        assert!(!lifetime.ends_soon(at(71)) && lifetime.ends_soon(at(73)) && lifetime.ends_soon(at(91)));
    }
}
