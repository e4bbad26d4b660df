//! `/v1/orgs/{org}/invitations`, `POST /v1/invitations/accept`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Caller, Member};
use crate::platform::http::extract::{Json, Path};
use axum::extract::State;
use axum::http::StatusCode;
use envforge_api::http::ErrorBody;
use envforge_api::http::orgs::{
    AcceptInvitation, AcceptedInvitation, CreateInvitation, CreatedInvitation, Invitations,
};
use envforge_core::access::Action;
use envforge_core::id::InvitationId;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(accept))
}

/// Invitations, without their tokens.
#[utoipa::path(get, path = "/v1/orgs/{org}/invitations", tag = "invitations", security(("api_key" = ["member.manage"])), params(("org" = String, Path, description = "Org slug")),
    responses((status = 200, body = Invitations), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, member: Member) -> Answer<Json<Invitations>> {
    Ok(Json(ops::list(&app, &member.permit(Action::ManageMembers)?).await?))
}

/// Invite somebody; the token is shown only here.
#[utoipa::path(post, path = "/v1/orgs/{org}/invitations", tag = "invitations", security(("api_key" = ["member.manage"])), params(("org" = String, Path, description = "Org slug")),
    request_body = CreateInvitation, responses((status = 201, body = CreatedInvitation), (status = "default", body = ErrorBody)))]
async fn create(
    State(app): State<App>,
    member: Member,
    Json(body): Json<CreateInvitation>,
) -> Answer<(StatusCode, Json<CreatedInvitation>)> {
    let permit = member.permit(Action::ManageMembers)?;
    Ok((StatusCode::CREATED, Json(ops::create(&app, &permit, &body).await?)))
}

/// Revoke an invitation.
#[utoipa::path(delete, path = "/v1/orgs/{org}/invitations/{invitation}", tag = "invitations", security(("api_key" = ["member.manage"])),
    params(("org" = String, Path, description = "Org slug"), ("invitation" = InvitationId, Path, description = "Invitation id")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn revoke(State(app): State<App>, member: Member, Path(path): Path<(Slug, InvitationId)>) -> Answer<StatusCode> {
    let (_, invitation) = path;
    ops::revoke(&app, &member.permit(Action::ManageMembers)?, invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accept an invitation: signed in as oneself, else as a new user of the name given, whose API key is shown only here.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "invitations", security(()), request_body = AcceptInvitation,
    responses((status = 200, body = AcceptedInvitation), (status = "default", body = ErrorBody)))]
async fn accept(
    State(app): State<App>,
    caller: Option<Caller>,
    Json(body): Json<AcceptInvitation>,
) -> Answer<Json<AcceptedInvitation>> {
    let identity = caller.map(|Caller(identity)| identity);
    Ok(Json(ops::accept(&app, identity.as_ref(), &body).await?))
}
