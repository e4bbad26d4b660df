//! Object storage: the S3 API over files.
//!
//! ```text
//! <directory>/
//!   buckets/<bucket>/<sha-256 of the key>   an object: its content, and behind it what is known of it (`file`)
//!   uploads/<id>/                           a multipart upload: `about`, and its parts, files like objects
//!   unfinished/                             what is being written; emptied at the start
//! ```
//!
//! The protocol (requests, signatures, XML) is the `s3s` library's; what is stored and how is here. An object appears, changes
//! and disappears by one rename or unlink, so it is always whole, with the tags, checksums and metadata that belong to
//! this very content. Names are digests, so any key may stand beside any other. What is listed is an index in memory,
//! read from the files at the start ([`store`]).
//!
//! There is one key pair, and whoever signs with it may do everything. There are no versions, no policies and no lists of
//! access: what a branch stores is the branch's.

mod answer;
mod checksum;
mod condition;
mod file;
mod listing;
mod multipart;
mod object;
pub(crate) mod reading;
mod service;
mod store;
mod uploads;

use envforge_api::ambient::{SystemClock, SystemEntropy};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 512;
/// The pause after a connection could not be accepted: it is the machine that lacks something.
const AGAIN: Duration = Duration::from_millis(100);

/// What clients sign with, and where they are.
pub(crate) struct Keys {
    access_key_id: String,
    secret_access_key: String,
    bucket: String,
    region: String,
}

impl Keys {
    /// As the daemon gives them.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let get = |name: &str| std::env::var(name).map_err(|_| io::Error::other(format!("{name} is not set")));
        Ok(Self {
            access_key_id: get("S3_ACCESS_KEY_ID")?,
            secret_access_key: get("S3_SECRET_ACCESS_KEY")?,
            bucket: get("S3_BUCKET")?,
            region: get("S3_REGION")?,
        })
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let is_ours = access_key == self.access_key_id;
        if is_ours { Ok(self.secret_access_key.clone().into()) } else { Err(s3_error!(InvalidAccessKeyId)) }
    }
}

/// Answers clients until the process ends.
pub(crate) async fn serve(listener: TcpListener, directory: PathBuf, keys: Keys) -> io::Result<()> {
    let bucket = keys.bucket.clone();
    let store = tokio::task::spawn_blocking(move || open(&directory, &bucket)).await??;
    let service = service(store, keys);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        drop(stream.set_nodelay(true));
        let service = service.clone();
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .serve_connection(TokioIo::new(stream), service);
            // Its end is the client's to notice.
            drop(connection.await);
            drop(place);
        });
    }
}

/// What is there, and the bucket that is there from the beginning.
fn open(directory: &Path, bucket: &str) -> io::Result<Store> {
    let store = Store::open(directory, Arc::new(SystemClock), Arc::new(SystemEntropy))?;
    match store.create_bucket(bucket) {
        Ok(()) | Err(store::StoreError::BucketExists) => Ok(store),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

fn service(store: Store, keys: Keys) -> S3Service {
    let mut builder = S3ServiceBuilder::new(service::Storage::new(store, keys.region.clone()));
    builder.set_auth(keys);
    builder.set_host(Addressing);
    builder.build()
}

/// Buckets are named in the path; below `localhost`, which leads here under every name, in the host name too.
struct Addressing;

impl S3Host for Addressing {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        Ok(match name.strip_suffix(".localhost") {
            Some(bucket) => VirtualHost::new("localhost").with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}
