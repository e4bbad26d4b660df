//! Object storage: a bucket that speaks the S3 API, with keys of its own.
//!
//! The process is `envforge-resources`' and keeps objects as files of its data directory. Its keys are made once per
//! workspace and kept by the daemon; the process is given them in its environment. The bucket is there before the
//! process listens.

use super::{Instance, Values, begin_next, keep_next, mark_of, own_program, saved_secret, values};
use crate::config::HostConfig;
use crate::engines::inside;
use crate::init::protocol::Program;
use crate::place::Place;
use envforge_core::clock::Entropy;
use std::collections::BTreeMap;
use std::io;

/// The port inside a workspace with a network of its own.
const PORT: u16 = 9000;
/// The bucket that is there from the beginning: the same name in every branch.
const BUCKET: &str = "workspace";
/// Where every client is at home that is not told otherwise.
const REGION: &str = "us-east-1";

/// The kind.
pub(crate) struct ObjectStorage;

/// Makes other keys than those with this mark. The process knows them when it is started next.
pub(crate) fn rotate(place: &Place, before: &str, entropy: &dyn Entropy) -> io::Result<()> {
    let path = place.object_storage_secret();
    if mark_of(&path)?.as_deref() == Some(before) {
        begin_next(&path, entropy)?;
        keep_next(&path)?;
    }
    Ok(())
}

impl Instance for ObjectStorage {
    fn title(&self) -> &'static str {
        "object storage"
    }

    fn program(&self, _config: &HostConfig, place: &Place) -> Program {
        own_program("object_storage", self.port(place), &format!("{}/object_storage", inside::DATA))
    }

    fn environment(&self, place: &Place, entropy: &dyn Entropy) -> io::Result<BTreeMap<String, String>> {
        let secret = saved_secret(&place.object_storage_secret(), entropy)?.secret;
        let told = [
            ("S3_BUCKET", BUCKET.to_owned()),
            ("S3_REGION", REGION.to_owned()),
            ("S3_ACCESS_KEY_ID", place.workspace.to_string()),
            ("S3_SECRET_ACCESS_KEY", secret.expose().to_owned()),
        ];
        Ok(told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn port(&self, place: &Place) -> u16 {
        place.resource_port(PORT)
    }

    /// A request that nobody signed is refused, once everything is read from the disk.
    fn hello(&self) -> (&'static [u8], &'static [u8]) {
        (b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n", b"HTTP/1.1 403 ")
    }

    fn values(&self, place: &Place, entropy: &dyn Entropy) -> io::Result<Values> {
        let secret = saved_secret(&place.object_storage_secret(), entropy)?.secret;
        let (id, secret, port) = (place.workspace.to_string(), secret.expose(), self.port(place));
        let url = format!("s3://{id}:{secret}@127.0.0.1:{port}/{BUCKET}?region={REGION}");
        Ok(values([
            ("object_storage_url", url.clone()),
            ("s3_url", url),
            ("s3_endpoint", format!("http://127.0.0.1:{port}")),
            ("s3_bucket", BUCKET.to_owned()),
            ("s3_region", REGION.to_owned()),
            ("s3_access_key_id", id),
            ("s3_secret_access_key", secret.to_owned()),
        ]))
    }
}
