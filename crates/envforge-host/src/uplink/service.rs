//! A service's own socket, opened inside the workspace.
//!
//! Also while the runtime is frozen: the kernel accepts for a paused listener, so the gateway may connect and send
//! first, and the wake goes on meanwhile.

use crate::ctx::HostContext;
use crate::workspace::view::View;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::os::fd::OwnedFd;

/// Connects to the port a service listens on.
pub(super) async fn open(ctx: &HostContext, view: &View, service: &str) -> Result<OwnedFd, Refusal> {
    let (place, port) = {
        let now = view.get();
        if !now.services.contains(service) {
            return Err(Refusal::not_found("service.unknown", format!("the workspace has no service `{service}`")));
        }
        if !now.runs {
            return Err(Refusal::conflict("service.asleep", format!("service `{service}` is asleep")));
        }
        let port = now.ports.get(service).copied();
        let port = port.ok_or_else(|| {
            Refusal::unavailable("service.not_bound", format!("service `{service}` does not listen yet"))
        })?;
        (now.place.clone(), port)
    };
    let stream = ctx.engine.connect(&place, port).await.map_err(|error| {
        Refusal::unavailable(
            "service.not_bound",
            format!("service `{service}` does not answer on port {port}: {error}"),
        )
    })?;
    let ready = stream.set_nodelay(true).and_then(|()| stream.into_std());
    ready.map(OwnedFd::from).map_err(|error| {
        Refusal::new(RefusalKind::Internal, "service.socket", format!("the connection can't be handed over: {error}"))
    })
}
