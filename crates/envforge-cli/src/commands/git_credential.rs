//! `envforge git-credential`: one's own tokens for Git hosts, given to Git in one's workspaces.
//!
//! A token comes from a file, stdin or a hidden prompt, never from the command line, and can't be read back.

use crate::args::{GitCredentialSet, GitCredentialVerb};
use crate::ask;
use crate::context::{Context, segment};
use crate::exit::ExitCode;
use crate::render;
use envforge_api::http::git::{GitCredential, GitCredentials, SetGitCredential};
use envforge_core::refusal::Refusal;
use serde_json::{Value, json};

/// Sets, lists and removes.
pub(crate) async fn git_credential(ctx: &mut Context<'_>, verb: GitCredentialVerb) -> Result<ExitCode, Refusal> {
    match verb {
        GitCredentialVerb::Set(arguments) => set(ctx, arguments).await?,
        GitCredentialVerb::List => {
            let credentials: GitCredentials = ctx.get("/v1/git-credentials").await?;
            ctx.printer.answer(&credentials, || list(&credentials.git_credentials));
        }
        GitCredentialVerb::Remove { host } => {
            let _: Value = ctx.delete(&format!("/v1/git-credentials/{}", segment(&host))).await?;
            ctx.printer.answer(&json!({ "removed": host }), || format!("your token for {host} is removed"));
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

fn list(credentials: &[GitCredential]) -> String {
    if credentials.is_empty() {
        return "no credentials; `envforge git-credential set <host>` takes a token".to_owned();
    }
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), render::time);
    let rows: Vec<_> = credentials
        .iter()
        .map(|credential| {
            vec![
                credential.host.clone(),
                credential.username.clone(),
                render::time(credential.created_at),
                time(credential.expires_at),
                time(credential.last_used_at),
            ]
        })
        .collect();
    render::table(&["HOST", "USER NAME", "SET", "EXPIRES", "LAST USED"], &rows)
}
