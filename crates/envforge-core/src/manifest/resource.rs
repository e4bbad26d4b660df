//! Reading the resources.

use std::collections::BTreeMap;

use super::extensions;
use super::model::{ResourceKind, ResourceMode};
use super::names;
use super::read::Reader;
use super::scalar::{self, Kind};
use super::tree::Entry;

pub(super) const RESOURCE_KEYS: &[&str] = &["mode", "secret", "from", "extensions"];

/// What may be said of a resource besides who runs it.
#[derive(Clone, Copy, Default)]
struct Said<'entry> {
    secret: Option<&'entry Entry>,
    from: Option<&'entry Entry>,
    extensions: Option<&'entry Entry>,
}

impl Reader<'_, '_> {
    pub(super) fn resources(&mut self, entry: &Entry) -> BTreeMap<ResourceKind, ResourceMode> {
        let mut resources = BTreeMap::new();
        let example = "write `postgres: branch_scoped` below it";
        let Some(listed) = self.mapping(&entry.node, entry.value_at(), "`resources`", example) else {
            self.unsure = true;
            return resources;
        };
        for entry in listed {
            let key = entry.key.as_str();
            let Some(kind) = ResourceKind::ALL.into_iter().find(|kind| kind.as_str() == key) else {
                self.unknown_key(entry, "under `resources`", &ResourceKind::ALL.map(ResourceKind::as_str));
                self.unsure = true;
                continue;
            };
            let mode = self.resource_mode(entry, kind);
            resources.insert(kind, mode.unwrap_or_default());
        }
        resources
    }

    fn resource_mode(&mut self, entry: &Entry, kind: ResourceKind) -> Option<ResourceMode> {
        let what = format!("the mode of resource `{kind}`");
        let secret_fix =
            format!("write `{kind}: {{ mode: customer_cloud, secret: {}_URL }}`", kind.as_str().to_uppercase());
        let modes = [("branch_scoped", false), ("customer_cloud", true)];
        let (in_cloud, said) = if scalar::kind(&entry.node) == Kind::Map {
            let fields = self.mapping(&entry.node, entry.value_at(), &format!("resource `{kind}`"), &secret_fix)?;
            self.only_known(fields, &format!("in resource `{kind}`"), RESOURCE_KEYS);
            let said = |key| entry.node.entry(key);
            let mode = said("mode").map(|mode| self.choice(mode, &what, &modes));
            let said = Said { secret: said("secret"), from: said("from"), extensions: said("extensions") };
            (mode.unwrap_or(Some(false))?, said)
        } else {
            (self.choice(entry, &what, &modes)?, Said::default())
        };
        self.only_of_a_database(kind, in_cloud, said)?;
        match (in_cloud, said.secret) {
            (false, None) => self.branch_scoped(kind, said),
            (false, Some(secret)) => {
                let message = format!("resource `{kind}` is `branch_scoped`, which takes no `secret`");
                self.report.add(
                    secret.at,
                    "manifest.wrong_value",
                    message,
                    "remove `secret`, or write `mode: customer_cloud`",
                );
                None
            }
            (true, None) => {
                let message = format!(
                    "resource `{kind}` is in the customer's cloud, and `secret` does not say where its address is"
                );
                self.report.add(entry.at, "manifest.missing_key", message, secret_fix);
                None
            }
            (true, Some(secret)) => {
                let name = self.text(secret, &format!("`secret` of resource `{kind}`"), &secret_fix)?;
                match names::environment("secret", name) {
                    Ok(()) => Some(ResourceMode::CustomerCloud { secret: name.to_owned() }),
                    Err(unfit) => self.unfit(secret.node.at, unfit),
                }
            }
        }
    }

    /// Refuses what is said of another resource than a database of the branch's own, where only that takes it.
    fn only_of_a_database(&mut self, kind: ResourceKind, in_cloud: bool, said: Said<'_>) -> Option<()> {
        let (from, extensions) = match kind {
            _ if in_cloud => (
                "is in the customer's cloud, where nothing is copied to",
                "is in the customer's cloud, where nothing is installed",
            ),
            ResourceKind::Postgres => return Some(()),
            _ => ("always starts empty; only `postgres` takes `from`", "has no extensions; only `postgres` has"),
        };
        let refused = [(said.from, from, "remove `from`"), (said.extensions, extensions, "remove `extensions`")];
        let mut fits = Some(());
        for (entry, why, fix) in refused {
            if let Some(entry) = entry {
                self.report.add(entry.at, "manifest.wrong_value", format!("resource `{kind}` {why}"), fix);
                fits = None;
            }
        }
        fits
    }

    fn branch_scoped(&mut self, kind: ResourceKind, said: Said<'_>) -> Option<ResourceMode> {
        let mut from = None;
        if let Some(entry) = said.from {
            let fix = format!("write the branch, as in `{kind}: {{ from: main }}`");
            let name = self.text(entry, &format!("`from` of resource `{kind}`"), &fix)?;
            match names::branch(name) {
                Ok(()) => from = Some(name.to_owned()),
                Err(unfit) => return self.unfit(entry.node.at, unfit),
            }
        }
        let extensions = said.extensions.map(|entry| self.extensions(entry, kind)).unwrap_or_default();
        Some(ResourceMode::BranchScoped { from, extensions })
    }

    fn extensions(&mut self, entry: &Entry, kind: ResourceKind) -> Vec<String> {
        let what = format!("`extensions` of resource `{kind}`");
        let mut listed = Vec::new();
        for (at, name) in self.texts(entry, &what, "write a list, as in `extensions: [pg_trgm, vector]`") {
            if let Err(unfit) = extensions::check(&name) {
                self.refuse(at, unfit);
            } else if listed.contains(&name) {
                let message = format!("extension `{name}` is listed twice");
                self.report.add(at, "manifest.duplicate_key", message, "keep one of the two");
            } else {
                listed.push(name);
            }
        }
        listed
    }
}
