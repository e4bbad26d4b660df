//! `POST …/wake`, `POST …/sleep`.

use super::ops;
use crate::app::App;
use crate::platform::fault::Answer;
use crate::platform::http::auth::Member;
use crate::platform::http::extract::{Json, Path};
use crate::workspaces;
use axum::extract::State;
use envforge_api::http::ErrorBody;
use envforge_api::http::workspaces::{Sleep, Wake, Workspace};
use envforge_core::access::Action;
use envforge_core::name::Slug;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(wake)).routes(routes!(sleep))
}

/// Wake a runtime. Of one that is awake or waking, what is blocked is started again with `envforge.yml` as it is now; if nothing
/// is blocked, it is left as it is.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/wake", tag = "runtimes", security(("api_key" = ["runtime.wake"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = Wake, responses((status = 200, body = Workspace), (status = "default", body = ErrorBody)))]
async fn wake(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    body: Option<Json<Wake>>,
) -> Answer<Json<Workspace>> {
    let (_, slug) = path;
    let permit = member.permit(Action::Wake)?;
    let size = body.and_then(|Json(body)| body.size);
    ops::wake(&app, &permit, &slug, size, "member").await?;
    Ok(Json(workspaces::ops::view(&app, &permit, &slug).await?))
}

/// Put a runtime to sleep: billing stops, the shell stays, links can wake it later.
#[utoipa::path(post, path = "/v1/orgs/{org}/workspaces/{workspace}/sleep", tag = "runtimes", security(("api_key" = ["runtime.sleep"])),
    params(("org" = String, Path, description = "Org slug"), ("workspace" = String, Path, description = "Workspace slug")),
    request_body = Sleep, responses((status = 200, body = Workspace), (status = "default", body = ErrorBody)))]
async fn sleep(
    State(app): State<App>,
    member: Member,
    Path(path): Path<(Slug, Slug)>,
    body: Option<Json<Sleep>>,
) -> Answer<Json<Workspace>> {
    let (_, slug) = path;
    let permit = member.permit(Action::Sleep)?;
    let tier = body.map_or_else(Default::default, |Json(body)| body.tier);
    ops::sleep(&app, &permit, &slug, tier).await?;
    Ok(Json(workspaces::ops::view(&app, &permit, &slug).await?))
}
