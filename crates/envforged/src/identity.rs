//! Identity providers, as an operator writes them down: a TOML file, and the environment's `AUTH0_…`.
//!
//! The file holds secrets, so it is read like one; a mistake in it is named by its place and stops the start.

use crate::advice::advised;
use crate::args::SignInArguments;
use crate::private;
use anyhow::Context as _;
use envforge_core::access::Role;
use envforge_core::login::SignUp;
use envforge_core::name::Slug;
use envforge_core::secret::Secret;
use envforge_server::providers::identity::{ClientAuth, OrgMapping, ProviderConfig};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    provider: Vec<Entry>,
}

/// A provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Slug,
    title: Option<String>,
    issuer: String,
    client_id: String,
    client_secret: Option<String>,
    #[serde(default)]
    client_auth: Auth,
    redirect_uri: Option<String>,
    #[serde(default)]
    refresh: bool,
    sign_up: Option<String>,
    orgs: Option<Orgs>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Auth {
    #[default]
    Basic,
    Post,
}

/// Which orgs its organizations are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Orgs {
    #[serde(default = "auth0_claim")]
    claim: String,
    role: Role,
    map: BTreeMap<String, Slug>,
}

/// The claim of Auth0's Organizations.
fn auth0_claim() -> String {
    "org_id".to_owned()
}

/// Who may make an account.
pub(crate) fn sign_up(text: &str) -> anyhow::Result<SignUp> {
    text.parse().map_err(|error: String| advised("who may sign up is not said right", &error))
}

/// All providers: those of the file, then the one of the environment.
pub(crate) fn providers(arguments: &SignInArguments) -> anyhow::Result<Vec<ProviderConfig>> {
    let standard = sign_up(&arguments.sign_up)?;
    let mut providers = match &arguments.identity_providers_file {
        Some(path) => {
            let text = private::read(path)?;
            read(&text, &standard).with_context(|| format!("{}", path.display()))?
        }
        None => Vec::new(),
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    providers.extend(auth0(variable, &standard)?);
    Ok(providers)
}

fn read(text: &Secret, standard: &SignUp) -> anyhow::Result<Vec<ProviderConfig>> {
    // Of an error only the message: the excerpt beside it may show a secret.
    let file: File = toml::from_str(text.expose()).map_err(|error| anyhow::anyhow!("{}", error.message()))?;
    let providers = file.provider.into_iter().map(|entry| {
        Ok(ProviderConfig {
            title: entry.title.unwrap_or_else(|| entry.name.to_string()),
            name: entry.name,
            issuer: entry.issuer,
            client_id: entry.client_id,
            client_secret: entry.client_secret.map(Secret::new),
            client_auth: match entry.client_auth {
                Auth::Basic => ClientAuth::Basic,
                Auth::Post => ClientAuth::Post,
            },
            redirect_uri: entry.redirect_uri,
            refresh: entry.refresh,
            sign_up: entry.sign_up.as_deref().map_or_else(|| Ok(standard.clone()), sign_up)?,
            orgs: entry.orgs.map(|orgs| OrgMapping { claim: orgs.claim, orgs: orgs.map, role: orgs.role }),
        })
    });
    providers.collect()
}

/// Auth0 as its own kits name it: `AUTH0_CLIENT_ID`, `AUTH0_CLIENT_SECRET`, `AUTH0_BASE_URL` (the tenant's) and
/// `AUTH0_REDIRECT_URI`.
fn auth0(variable: impl Fn(&str) -> Option<String>, standard: &SignUp) -> anyhow::Result<Option<ProviderConfig>> {
    let Some(client_id) = variable("AUTH0_CLIENT_ID") else { return Ok(None) };
    let base = variable("AUTH0_BASE_URL").ok_or_else(|| {
        advised("AUTH0_CLIENT_ID is set, AUTH0_BASE_URL is not", "set it to https://TENANT.auth0.com")
    })?;
    Ok(Some(ProviderConfig {
        name: "auth0".parse().context("a name")?,
        title: "Auth0".to_owned(),
        // Auth0 spells its issuer with a slash at the end.
        issuer: format!("{}/", base.trim_end_matches('/')),
        client_id,
        client_secret: variable("AUTH0_CLIENT_SECRET").map(Secret::new),
        client_auth: ClientAuth::Post,
        redirect_uri: variable("AUTH0_REDIRECT_URI"),
        refresh: false,
        sign_up: standard.clone(),
        orgs: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::{auth0, read};
    use envforge_core::login::SignUp;
    use envforge_core::secret::Secret;

    #[test]
    fn providers_are_read_and_mistakes_show_no_secret() {
        let text = "[[provider]]\nname = \"okta\"\nissuer = \"https://acme.okta.com\"\nclient_id = \"a\"\n\
                    client_secret = \"hunter2\"\nsign_up = \"domain:acme.example\"\n\
                    [provider.orgs]\nrole = \"developer\"\nmap = { org_1 = \"acme\" }\n";
        let providers = read(&Secret::new(text.to_owned()), &SignUp::Closed).unwrap();
        assert_eq!(providers[0].sign_up, SignUp::Domains(vec!["acme.example".to_owned()]));
        assert_eq!(providers[0].orgs.as_ref().unwrap().claim, "org_id");
        let broken = text.replace("client_id = \"a\"", "cliend_id = \"a\"");
        let error = format!("{:#}", read(&Secret::new(broken), &SignUp::Closed).unwrap_err());
        assert!(error.contains("cliend_id") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn auth0_is_a_provider_by_its_own_names() {
        let found = auth0(|name| Some(format!("https://{name}")), &SignUp::Open).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.issuer.as_str()), ("auth0", "https://AUTH0_BASE_URL/"));
        assert!(auth0(|_| None, &SignUp::Open).unwrap().is_none());
        assert!(auth0(|name| (name == "AUTH0_CLIENT_ID").then(String::new), &SignUp::Open).is_err());
    }
}
