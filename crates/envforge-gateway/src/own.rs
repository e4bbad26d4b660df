//! `/.envforge/`: the gateway's own endpoints.
//!
//! By its own name, the dev domain itself, or by an address, `/.envforge/health` tells that it is alive and `/.envforge/ready`
//! whether requests should come here; for whoever balances load. No dev host has these.
//!
//! The rest is on a dev host, for those who are let in.
//! `GET /.envforge/readiness?path=/x` tells whether the service behind a path answers, and the parts on their way, by name
//! and state; causes and fixes are in it for members only. With `Accept: text/event-stream` it goes on telling
//! until the session ends. Looking wakes nothing and counts as no activity.

use crate::body::AnswerBody;
use crate::local::Held;
use crate::phase::answer::{self, Audience};
use crate::phase::refused::Refused;
use crate::phase::route;
use crate::phase::wake::{self, Step};
use crate::routes::{LabelRoute, Status};
use crate::serve::Client;
use crate::sessions::Admitted;
use crate::shared::Shared;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, Uri};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const PREFIX: &str = "/.envforge/";
const HEALTH: &str = "/.envforge/health";
const READY: &str = "/.envforge/ready";
const READINESS: &str = "/.envforge/readiness";
/// How often a silent stream says that it lives.
const STILL_HERE: Duration = Duration::from_secs(10);

/// Whether a path is the gateway's own.
pub(crate) fn is_own(path: &str) -> bool {
    path.starts_with(PREFIX) || path == PREFIX.trim_end_matches('/')
}

/// Answers health and readiness, when the request is for the gateway itself and no dev host.
pub(crate) fn of_gateway<B>(shared: &Shared, request: &Request<B>) -> Option<Response<AnswerBody>> {
    let path = request.uri().path();
    if !matches!(path, HEALTH | READY) || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let authority = Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes())).ok()?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    if name != shared.config.dev_domain && name.parse::<IpAddr>().is_err() {
        return None;
    }
    if path == READY
        && let Err(refused) = ready(shared)
    {
        return Some(answer::refuse(Audience::Program, &refused));
    }
    let mut response = Response::new(AnswerBody::own(json!({"version": env!("CARGO_PKG_VERSION")}).to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Whether requests should come to this gateway.
pub(crate) fn ready(shared: &Shared) -> Result<(), Refused> {
    if shared.drain.is_cancelled() {
        return Err(Refused::Draining);
    }
    if shared.lease.holds() { Ok(()) } else { Err(Refused::LeaseOver) }
}

/// Answers one of the gateway's own paths on a dev host.
pub(crate) async fn answer<B>(
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    label: &str,
    admitted: &Held<Admitted>,
    request: &Request<B>,
) -> Result<Response<AnswerBody>, Refused> {
    if request.uri().path() != READINESS {
        return Err(Refused::NoPath);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refused::Method);
    }
    let route = route::find(shared, client, label, admitted).await?;
    let path = parameter(request.uri(), "path").unwrap_or_else(|| "/".to_owned());
    let wants_events = request.headers().get(ACCEPT).is_some_and(|accept| accept == "text/event-stream");
    let (kind, body) = if wants_events && request.method() == Method::GET {
        (
            "text/event-stream",
            events(Arc::clone(shared), Arc::clone(client), label.to_owned(), route, admitted.clone(), path),
        )
    } else {
        let now = readiness(&route, &route.workspace.status(), &path, admitted.is_member());
        ("application/json", AnswerBody::own(now))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A parameter of a query, decoded.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let decoded = match (first, tail) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn readiness(route: &LabelRoute, status: &Status, path: &str, is_member: bool) -> String {
    let Status::Known(runtime) = status else {
        return json!({"state": "unknown", "ready": false, "parts": []}).to_string();
    };
    let step = route.rule(path).map_or(Step::Blocked, |rule| wake::decide(runtime, &route.rule_at(rule).service));
    let state = match step {
        Step::Forward => "ready",
        Step::Wait => "waking",
        Step::Blocked => "blocked",
        Step::Thaw | Step::Wake => "asleep",
    };
    let is_ready = step == Step::Forward;
    if is_member {
        let parts = wake::visible_parts(runtime);
        let parts =
            parts.map(|part| json!({"name": part.name, "state": part.state, "cause": part.cause, "fix": part.fix}));
        let parts: Vec<_> = parts.collect();
        let (cause, fix) = (&runtime.blocked_cause, &runtime.blocked_fix);
        return json!({"state": state, "ready": is_ready, "cause": cause, "fix": fix, "parts": parts}).to_string();
    }
    let parts = wake::visible_parts(runtime).map(|part| json!({"name": part.name, "state": part.state}));
    json!({"state": state, "ready": is_ready, "parts": parts.collect::<Vec<_>>()}).to_string()
}

struct Telling {
    shared: Arc<Shared>,
    client: Arc<Client>,
    label: String,
    route: Held<LabelRoute>,
    admitted: Held<Admitted>,
    path: String,
    changes: watch::Receiver<Status>,
    told: String,
}

fn events(
    shared: Arc<Shared>,
    client: Arc<Client>,
    label: String,
    route: Held<LabelRoute>,
    admitted: Held<Admitted>,
    path: String,
) -> AnswerBody {
    let changes = route.workspace.watch();
    let telling = Telling { shared, client, label, route, admitted, path, changes, told: String::new() };
    AnswerBody::Events(Box::pin(stream::unfold(telling, |mut telling| async move {
        let event = telling.next().await?;
        Some((event, telling))
    })))
}

impl Telling {
    async fn next(&mut self) -> Option<Bytes> {
        let (ends, stop) = (self.admitted.ends().clone(), self.shared.stop.clone());
        tokio::select! {
            event = self.news() => event,
            () = ends.cancelled() => None,
            () = stop.cancelled() => None,
        }
    }

    async fn news(&mut self) -> Option<Bytes> {
        loop {
            // What happened while the feed was lost is told by nobody: it is asked for.
            if matches!(*self.changes.borrow(), Status::Unknown)
                && let Ok(route) = route::find(&self.shared, &self.client, &self.label, &self.admitted).await
            {
                self.changes = route.workspace.watch();
                self.route = route;
            }
            let is_member = self.admitted.is_member();
            let now = readiness(&self.route, &self.changes.borrow_and_update(), &self.path, is_member);
            if now != self.told {
                let event = Bytes::from(format!("data: {now}\n\n"));
                self.told = now;
                return Some(event);
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(STILL_HERE) => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded() {
        let path = |uri: &'static str| parameter(&Uri::from_static(uri), "path");
        assert_eq!(path("/?path=%2Fapi%2Fx").as_deref(), Some("/api/x"));
        assert_eq!(path("/?a=b&path=/x%zz%2").as_deref(), Some("/x%zz%2"));
        assert_eq!((path("/"), path("/?pathx=1")), (None, None));
        assert!(is_own("/.envforge/anything") && is_own("/.envforge") && !is_own("/.envforgery"));
    }
}
