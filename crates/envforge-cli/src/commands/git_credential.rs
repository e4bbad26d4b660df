//! `envforge git-credential`: one's own tokens and SSH keys for Git hosts, lent to Git in one's workspaces.
//!
//! A token comes from a file, stdin or a hidden prompt, a private key from a file or stdin; neither ever comes from the
//! command line nor can be read back.

use crate::args::{GitCredentialSet, GitCredentialVerb};
use crate::ask;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::git::{
    GenerateGitKey, GitCredential, GitCredentials, GitKey, GitKeys, ImportGitKey, SetGitCredential,
};
use envforge_core::refusal::Refusal;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Sets, makes, lists and removes.
pub(crate) async fn git_credential(ctx: &mut Context<'_>, verb: GitCredentialVerb) -> Result<ExitCode, Refusal> {
    match verb {
        GitCredentialVerb::Set(arguments) => set(ctx, arguments).await?,
        GitCredentialVerb::List => {
            let credentials: GitCredentials = ctx.get("/v1/git-credentials").await?;
            let keys: GitKeys = ctx.get("/v1/git-keys").await?;
            let both = json!({ "git_credentials": credentials.git_credentials, "git_keys": keys.git_keys });
            ctx.printer.answer(&both, || list(&credentials.git_credentials, &keys.git_keys));
        }
        GitCredentialVerb::GenerateKey { host } => {
            let key: GitKey = ctx.post("/v1/git-keys", &GenerateGitKey { host }).await?;
            ctx.printer.answer(&key, || format!("{}\nregister this line at {}", line_of(&key), key.host));
        }
        GitCredentialVerb::ImportKey { host, file } => {
            let private_key = ask::secret_in(&file)?.expose().to_owned();
            let key: GitKey = ctx.put("/v1/git-keys", &ImportGitKey { host, private_key }).await?;
            ctx.printer
                .answer(&key, || format!("Git in your workspaces reaches {} with {}", key.host, key.fingerprint));
        }
        GitCredentialVerb::Remove { host } => {
            let _: Value = ctx.delete(&format!("/v1/git-credentials/{}", segment(&host))).await?;
            ctx.printer.answer(&json!({ "removed": host }), || format!("your token for {host} is removed"));
        }
        GitCredentialVerb::RemoveKey { host } => {
            let _: Value = ctx.delete(&format!("/v1/git-keys/{}", segment(&host))).await?;
            ctx.printer.answer(&json!({ "removed": host }), || format!("your SSH key for {host} is removed"));
        }
    }
    Ok(ExitCode::Ok)
}

async fn set(ctx: &Context<'_>, arguments: GitCredentialSet) -> Result<(), Refusal> {
    let GitCredentialSet { host, username, token_file, expires_at } = arguments;
    let token = match &token_file {
        Some(path) => ask::secret_in(path)?,
        None if ctx.printer.is_interactive() => ask::secret(&format!("Token for {host}:"))?,
        None => {
            return Err(Refusal::invalid("git_credential.no_token", "nobody can be asked for a token here")
                .hint("give `--token-file FILE`, or `--token-file -` to read it from stdin"));
        }
    };
    let body = SetGitCredential { host, username, token: token.expose().trim().to_owned(), expires_at };
    let credential: GitCredential = ctx.put("/v1/git-credentials", &body).await?;
    ctx.printer.answer(&credential, || format!("Git in your workspaces reaches {} with your token", credential.host));
    Ok(())
}

/// As people register it, with a comment that says where it is from.
fn line_of(key: &GitKey) -> String {
    format!("{} envforge", key.public_key)
}

fn list(credentials: &[GitCredential], keys: &[GitKey]) -> String {
    if credentials.is_empty() && keys.is_empty() {
        return "no credentials; `envforge git-credential set <host>` takes a token, `generate-key <host>` makes an SSH key"
            .to_owned();
    }
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), render::time);
    let tokens = credentials.iter().map(|credential| {
        vec![
            credential.host.clone(),
            "token".to_owned(),
            credential.username.clone(),
            render::time(credential.created_at),
            time(credential.expires_at),
            time(credential.last_used_at),
        ]
    });
    let keys_shown = keys.iter().map(|key| {
        let (set, used) = (render::time(key.created_at), time(key.last_used_at));
        vec![key.host.clone(), "ssh-key".to_owned(), key.fingerprint.clone(), set, "-".to_owned(), used]
    });
    let rows: Vec<_> = tokens.chain(keys_shown).collect();
    let mut text = render::table(&["HOST", "KIND", "USER NAME OR KEY", "SET", "EXPIRES", "LAST USED"], &rows);
    for (number, key) in keys.iter().enumerate() {
        let apart = if number == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{apart}to register at {}: {}", key.host, line_of(key));
    }
    text
}
