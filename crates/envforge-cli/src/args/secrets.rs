//! What secrets and settings take.

use clap::{Args, Subcommand};
use envforge_core::egress::EgressRule;
use envforge_core::name::Slug;
use envforge_core::secret::SecretName;

/// `envforge secret …`.
#[derive(Debug, Subcommand)]
pub enum SecretVerb {
    /// Set a secret: the value is asked for without showing it, or read from stdin
    Set(SecretSet),
    /// List the secrets of the org, its projects and workspaces
    List,
    /// Show the versions of a secret that are kept
    Versions(SecretPlace),
    /// Make an older version's value the newest version
    Restore(SecretRestore),
    /// Remove a secret with all its versions
    Remove(SecretRemove),
    /// Encrypt the org's secrets anew under a new data key
    RotateKey,
}

/// A secret: of the org, unless a project or a workspace is named.
#[derive(Debug, Args)]
pub struct SecretPlace {
    /// Its name: `STRIPE_KEY` is what the input `stripe_key` of a service takes
    pub name: SecretName,
    /// Of this project; with `--workspace` instead, of that workspace; of the whole org when both are absent
    #[arg(long, value_name = "PROJECT", conflicts_with = "workspace_flag")]
    pub project: Option<Slug>,
}

/// `envforge secret set`.
#[derive(Debug, Args)]
pub struct SecretSet {
    #[command(flatten)]
    pub place: SecretPlace,
    #[command(flatten)]
    pub egress: EgressArguments,
}

/// A secret that no service is given: it is added to requests for one destination.
#[derive(Debug, Args)]
pub struct EgressArguments {
    /// Give it to no service; add it to requests sent through the egress proxy to this host, such as `api.anthropic.com`
    #[arg(long, value_name = "HOST")]
    pub egress_host: Option<String>,
    /// The header it is sent in
    #[arg(long, value_name = "HEADER", default_value = "authorization", requires = "egress_host")]
    pub header: String,
    /// What stands before it in the header, such as `Bearer `
    #[arg(long, value_name = "TEXT", default_value = "", requires = "egress_host")]
    pub prefix: String,
}

impl EgressArguments {
    /// The rule they say, if any.
    pub fn rule(self) -> Option<EgressRule> {
        let header = self.header.to_ascii_lowercase();
        self.egress_host.map(|host| EgressRule { host, header, prefix: self.prefix })
    }
}

/// `envforge secret restore`.
#[derive(Debug, Args)]
pub struct SecretRestore {
    #[command(flatten)]
    pub secret: SecretPlace,
    /// The version
    #[arg(long)]
    pub version: u32,
}

/// `envforge secret remove`.
#[derive(Debug, Args)]
pub struct SecretRemove {
    #[command(flatten)]
    pub secret: SecretPlace,
    /// Remove without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `envforge setting …`.
#[derive(Debug, Subcommand)]
pub enum SettingVerb {
    /// List the settings there are
    List(SettingScope),
    /// Show a setting, without its secrets
    Show {
        /// Its name, such as `mail` or `oidc.auth0`
        name: String,
        #[command(flatten)]
        scope: SettingScope,
    },
    /// Change fields of a setting; every change is kept as a version
    Set(SettingChangeArguments),
    /// Show the versions of a setting and how they differ
    History {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: SettingScope,
    },
    /// Make an earlier version the newest again, with its secrets
    Restore {
        /// Its name
        name: String,
        /// The version
        version: u64,
        /// Why, for the history
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        scope: SettingScope,
    },
    /// Take a setting out of force; its history stays
    Clear {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: SettingScope,
    },
}

/// Whose settings.
#[derive(Debug, Clone, Copy, Args)]
pub struct SettingScope {
    /// The installation's instead of the org's
    #[arg(long)]
    pub installation: bool,
}

/// `envforge setting set`.
#[derive(Debug, Args)]
pub struct SettingChangeArguments {
    /// Its name, such as `mail` or `oidc.auth0`
    pub name: String,
    /// Fields to set
    #[arg(value_name = "FIELD=VALUE", value_parser = pair)]
    pub fields: Vec<(String, String)>,
    /// A secret field: asked for, or read from stdin or a file
    #[arg(long = "secret", value_name = "FIELD[=FILE]")]
    pub secrets: Vec<String>,
    /// A field to take away
    #[arg(long, value_name = "FIELD")]
    pub unset: Vec<String>,
    /// Why, for the history
    #[arg(long)]
    pub reason: String,
    #[command(flatten)]
    pub scope: SettingScope,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give FIELD=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
