//! `envforge invite`: into the org, and out of a code into it.
//!
//! A code opens the org to whoever has it, so like a key it comes from a file, stdin or a hidden prompt.

use crate::args::InviteVerb;
use crate::ask;
use crate::commands::login;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render;
use envforge_api::http::orgs::{
    AcceptInvitation, AcceptedInvitation, CreateInvitation, CreatedInvitation, Invitation, InvitationState, Invitations,
};
use envforge_core::name::Slug;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The verbs of `envforge invite`.
pub(crate) async fn invite(ctx: &mut Context<'_>, verb: InviteVerb) -> Result<ExitCode, Refusal> {
    match verb {
        InviteVerb::Create { role, groups, address } => {
            let path = ctx.org_path("/invitations").await?;
            let made: CreatedInvitation = ctx.post(&path, &CreateInvitation { role, groups, address }).await?;
            ctx.printer.answer(&made, || made.token.clone());
            let until = render::time(made.invitation.expires_at);
            let note = match made.invitation.address.as_deref().map(printable) {
                Some(address) if made.mailed => format!(
                    "a mail is under way to {address}; until {until} whoever signs in with that address becomes {role}"
                ),
                Some(address) => format!(
                    "hand this code over; until {until} whoever signs in with {address} becomes {role}: \
                     `envforge invite accept`"
                ),
                None => format!(
                    "hand this code over in private; until {until} whoever has it becomes {role}: `envforge invite accept`"
                ),
            };
            ctx.printer.note(&note);
        }
        InviteVerb::List => {
            let path = ctx.org_path("/invitations").await?;
            let invitations: Invitations = ctx.get(&path).await?;
            ctx.printer.answer(&invitations, || list(&invitations.invitations));
        }
        InviteVerb::Revoke { invitation } => {
            let path = ctx.org_path(&format!("/invitations/{invitation}")).await?;
            let _: Value = ctx.delete(&path).await?;
            ctx.printer.answer(&json!({ "revoked": invitation }), || format!("{invitation} is revoked"));
        }
        InviteVerb::Accept { code_file, name } => accept(ctx, code_file, name).await?,
    }
    Ok(ExitCode::Ok)
}

async fn accept(ctx: &mut Context<'_>, code_file: Option<PathBuf>, name: Option<String>) -> Result<(), Refusal> {
    let code = match &code_file {
        Some(path) => crate::ask::secret_in(path)?,
        None if ctx.printer.is_interactive() => ask::secret("Invitation code (efi_…):")?,
        None => {
            return Err(Refusal::invalid("invitation.no_code", "nobody can be asked for the code here")
                .hint("`envforge invite accept --code-file FILE`, or `--code-file -` to read it from stdin"));
        }
    };
    if name.is_none() && ctx.key().is_none() {
        return Err(Refusal::invalid("invitation.name_missing", format!("you have no account at {} yet", ctx.server))
            .hint("`--name` makes one for you; `envforge login` signs in to one you have"));
    }
    let body = AcceptInvitation { token: code.expose().trim().to_owned(), name };
    // A name is for somebody new, whoever else has signed in here.
    let mut accepted: AcceptedInvitation = if body.name.is_some() {
        let call = ctx.anonymous()?;
        call.post("/v1/invitations/accept", &body).await.map_err(|error| ctx.refusal(error))?
    } else {
        ctx.post("/v1/invitations/accept", &body).await?
    };
    // The key is kept where `login` keeps it, and shown to nobody.
    if let Some(key) = accepted.api_key.take() {
        login::sign_in(ctx, Secret::new(key.value)).await?;
    }
    ctx.use_org(&accepted.slug)?;
    ctx.printer.answer(&accepted, || format!("you are {} of {} now", accepted.role, accepted.slug));
    Ok(())
}

fn list(invitations: &[Invitation]) -> String {
    if invitations.is_empty() {
        return "no invitations; `envforge invite create` makes one".to_owned();
    }
    let rows: Vec<_> = invitations.iter().map(row).collect();
    render::table(&["INVITATION", "STATE", "ROLE", "GROUPS", "FOR", "EXPIRES"], &rows)
}

fn row(invitation: &Invitation) -> Vec<String> {
    let state = match invitation.state {
        InvitationState::Open => "open",
        InvitationState::Accepted => "accepted",
        InvitationState::Revoked => "revoked",
        InvitationState::Expired => "expired",
    };
    let groups: Vec<_> = invitation.groups.iter().map(Slug::as_str).collect();
    vec![
        invitation.id.to_string(),
        state.to_owned(),
        invitation.role.to_string(),
        groups.join(" "),
        invitation.address.as_deref().map(printable).unwrap_or_default(),
        render::time(invitation.expires_at),
    ]
}
