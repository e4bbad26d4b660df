//! What is refused at the door is noted in the ledger, in one place for every endpoint.
//!
//! Somebody signed in who asks for what they may not, for an org that is not theirs, or for an id that names nothing of
//! theirs is noted by name; a credential that does not hold, a name or a page that is not ours, by the refusal alone.
//! Whoever shows nothing is not noted: the internet knocks all day. All of it is summed up by [`ledger::refused`].

use super::auth;
use crate::app::App;
use crate::ledger::{self, Refused};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use envforge_core::id::{KINDS, OrgId, UserId};
use std::sync::{Arc, OnceLock};

/// What became known about a request while it was answered.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    user: OnceLock<UserId>,
    org: OnceLock<OrgId>,
    cause: OnceLock<String>,
}

impl Known {
    /// Who asks.
    pub fn user(&self, user: UserId) {
        let _ = self.0.user.set(user);
    }

    /// In which of their orgs.
    pub fn org(&self, org: OrgId) {
        let _ = self.0.org.set(org);
    }

    /// More about why than the refusal's code says; the first one counts.
    pub fn cause(&self, cause: String) {
        let _ = self.0.cause.set(cause);
    }
}

/// The stable code of an answer that is a refusal.
#[derive(Debug, Clone)]
pub struct Code(pub String);

/// Whether a part of a path has the form of an id.
fn is_id(part: &str) -> bool {
    part.rsplit_once('_').is_some_and(|(prefix, digits)| {
        digits.len() == 32
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            && KINDS.iter().any(|(_, known)| *known == prefix)
    })
}

/// Notes a request that was refused.
pub async fn note(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let known = Known::default();
    request.extensions_mut().insert(known.clone());
    let has_id = request.uri().path().split('/').any(is_id);
    let headers = request.headers();
    let shows_something = headers.contains_key(header::AUTHORIZATION) || auth::session_token(headers, &app).is_some();
    let response = next.run(request).await;
    let Some(Code(code)) = response.extensions().get::<Code>() else { return response };
    let user = known.0.user.get();
    let matters = match response.status() {
        StatusCode::FORBIDDEN => true,
        StatusCode::UNAUTHORIZED => shows_something,
        StatusCode::NOT_FOUND => user.is_some() && (has_id || code == auth::NO_ORG),
        _ => false,
    };
    if matters {
        let org = known.0.org.get().copied();
        let refused = Refused {
            org,
            actor: user.map_or_else(|| "stranger".to_owned(), |user| format!("user:{user}")),
            verb: "access.denied",
            subject: org.map_or_else(|| "installation".to_owned(), |org| org.to_string()),
            cause: known.0.cause.get().unwrap_or(code).clone(),
        };
        ledger::refused(&app, refused);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_by_their_form() {
        assert!(is_id("link_0197c2ab54d07d3c8a5e1f2b3c4d5e6f"));
        assert!(is_id("ws_00000000000000000000000000000000"));
        for other in ["link_0197", "my_branch", "tree_0197c2ab54d07d3c8a5e1f2b3c4d5e6f", "main", ""] {
            assert!(!is_id(other), "{other}");
        }
    }
}
