//! `envforge.yml` as it is in the checkout, watched.
//!
//! The file is the workspace user's to change at any time. It is looked at with every heartbeat and read when it changed; what
//! it says is reported, and takes effect at the next start, also one of a runtime that is awake. A broken file changes nothing
//! that runs.

use super::driver::Driver;
use crate::context::Context;
use crate::files::{self, Foreign};
use crate::place::Place;
use crate::trouble::{Blocked, blocked};
use envforge_api::host::ManifestReport;
use envforge_core::manifest::{self, FILE_NAME, Manifest};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Enough of a file's metadata to see that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

fn stamp(place: &Place) -> Option<FileStamp> {
    let file = files::open_beneath(&place.checkout(), Path::new(FILE_NAME)).ok()?;
    let metadata = file.metadata().ok()?;
    Some(FileStamp {
        inode: metadata.ino(),
        seconds: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
        size: metadata.len(),
    })
}

/// Reads the file.
pub(crate) fn read(place: &Place) -> ManifestReport {
    match files::read_beneath(&place.checkout(), Path::new(FILE_NAME), manifest::MAX_BYTES as u64) {
        Ok(Foreign::Bytes(bytes)) => match manifest::parse(&bytes, FILE_NAME) {
            Ok(manifest) => ManifestReport::Valid { manifest: Box::new(manifest) },
            Err(diagnostics) => {
                ManifestReport::Broken { diagnostics: diagnostics.iter().map(ToString::to_string).collect() }
            }
        },
        Ok(Foreign::Missing) => ManifestReport::Missing,
        Ok(Foreign::TooLarge(bytes)) => {
            ManifestReport::Broken { diagnostics: vec![manifest::too_large(bytes, FILE_NAME).to_string()] }
        }
        Ok(Foreign::Unfit(why)) => ManifestReport::Broken {
            diagnostics: vec![format!("{FILE_NAME}: {why}\n  hint: make it an ordinary file")],
        },
        Err(error) => ManifestReport::Broken {
            diagnostics: vec![format!("{FILE_NAME}: it can't be read: {error}\n  hint: see its permissions")],
        },
    }
}

/// The manifest to run, or what is wrong with it.
pub(crate) fn usable(report: &ManifestReport) -> Result<Manifest, Blocked> {
    match report {
        ManifestReport::Valid { manifest } => Ok((**manifest).clone()),
        ManifestReport::Broken { diagnostics } => Err(blocked(
            "manifest.broken",
            diagnostics.join("\n"),
            format!("correct {FILE_NAME}, then `envforge wake`"),
        )),
        ManifestReport::Missing => Err(blocked(
            "manifest.missing",
            format!("the checkout has no {FILE_NAME}, so there is nothing to run"),
            format!(
                "write one and commit it on this branch: a {FILE_NAME} that is only in your own working copy does not get here"
            ),
        )),
    }
}

impl Driver {
    /// Reads the file now and notes what is new.
    pub(crate) fn read_manifest(&mut self) -> ManifestReport {
        self.manifest_stamp = stamp(&self.place);
        let report = read(&self.place);
        if self.state.manifest_reported.as_ref() != Some(&report) {
            self.state.manifest_reported = Some(report.clone());
            self.news.manifest = true;
            self.refresh_context();
        }
        report
    }

    /// Reads the file if it changed.
    pub(crate) fn look_at_manifest(&mut self) {
        if (self.shell.sandbox.is_none() && !self.state.shell_rests) || stamp(&self.place) == self.manifest_stamp {
            return;
        }
        self.read_manifest();
        self.publish();
    }

    /// Writes `.envforge/` again, in the background, if it says anything new.
    pub(crate) fn refresh_context(&mut self) {
        let (Some(client), Some(prepared)) = (self.shell.client.clone(), &self.state.prepared) else { return };
        let none = BTreeMap::new();
        let context = Context {
            prepared,
            manifest: self.state.manifest_reported.as_ref(),
            public_urls: self.order().map_or(&none, |order| &order.public_urls),
        };
        let script = context.script();
        if self.context_written.as_ref() == Some(&script) {
            return;
        }
        self.context_written = Some(script.clone());
        self.ctx.tasks.spawn_loose("context", async move {
            if let Err(error) = script.run(&client).await {
                tracing::debug!(%error, "context: not written");
            }
        });
    }

    /// The manifest in force: what runs, or else the last good one seen.
    pub(crate) fn manifest_in_force(&self) -> Option<&Manifest> {
        match (&self.state.running, &self.state.manifest_reported) {
            (Some(running), _) if self.layer.sandbox.is_some() => Some(running),
            (_, Some(ManifestReport::Valid { manifest })) => Some(manifest),
            (running, _) => running.as_ref(),
        }
    }
}
