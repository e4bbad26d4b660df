//! Which of the ports that are listened on is a service's, and at which address.

use super::driver::Driver;
use super::events::Heard;
use super::runtime::Unit;
use crate::services::health::Mode;
use crate::services::supervisor::Event as Change;
use envforge_core::manifest::Port;
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr};

/// Where debuggers listen as a rule (Node, the JVM, Python, Go): not where a service answers, if it listens elsewhere too.
const DEBUGGERS: [u16; 4] = [9229, 5005, 5678, 2345];

/// How long a service that listens elsewhere, or for a debugger only, may still come to where it is going to: some open a
/// port for a debugger first.
const ELSEWHERE_AFTER: SignedDuration = SignedDuration::from_secs(2);

/// A port, and where it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) port: u16,
    /// `None` for 127.0.0.1.
    pub(super) address: Option<IpAddr>,
}

/// What was found of a service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It listens where it was declared, or was not declared and listens.
    Declared(Bound),
    /// It listens, and perhaps not yet where it is going to: `detail` says what is wrong with the port.
    Elsewhere { bound: Bound, detail: String },
    /// It does not listen.
    Nowhere,
}

/// Finds a service's port; `current` is the one it had.
pub(super) fn find(service: &str, port: Port, current: Option<u16>, heard: &[Heard]) -> Found {
    let owned: Vec<u16> =
        heard.iter().filter(|heard| heard.service.as_deref() == Some(service)).map(|heard| heard.port).collect();
    // A process that left its service listens for it still.
    let is_free = |wanted: u16| heard.iter().any(|heard| heard.port == wanted && heard.service.is_none());
    let bound = |port: u16| Bound { port, address: address(service, port, heard) };
    let is_debuggers = |port: &u16| DEBUGGERS.contains(port);
    let kept = current.filter(|port| owned.contains(port) && !is_debuggers(port));
    let no_debugger = owned.iter().copied().find(|port| !is_debuggers(port));
    let likeliest = no_debugger.or_else(|| owned.first().copied());
    match port {
        Port::Declared(declared) if owned.contains(&declared) || is_free(declared) => Found::Declared(bound(declared)),
        Port::Declared(declared) => kept
            .or(likeliest)
            .map_or(Found::Nowhere, |port| Found::Elsewhere { bound: bound(port), detail: elsewhere(declared, port) }),
        Port::Discover { suggested_port } => {
            let suggested = owned.contains(&suggested_port).then_some(suggested_port);
            match kept.or(suggested).or(likeliest) {
                Some(port) if is_debuggers(&port) && suggested != Some(port) => Found::Elsewhere {
                    bound: bound(port),
                    detail: format!("it listens on {port} only, as debuggers do"),
                },
                Some(port) => Found::Declared(bound(port)),
                None => Found::Nowhere,
            }
        }
    }
}

/// The address others reach it at, unless that is 127.0.0.1.
fn address(service: &str, port: u16, heard: &[Heard]) -> Option<IpAddr> {
    let its = |heard: &&Heard| heard.port == port && heard.service.as_deref().is_none_or(|owner| owner == service);
    let mut addresses: Vec<IpAddr> = heard.iter().filter(its).map(|heard| heard.address).collect();
    if addresses.iter().any(|address| address.is_unspecified() || *address == Ipv4Addr::LOCALHOST) {
        return None;
    }
    addresses.sort_unstable_by_key(|address| (!address.is_loopback(), *address));
    addresses.first().copied()
}

/// That a service listens where it was not declared.
pub(super) fn elsewhere(declared: u16, port: u16) -> String {
    format!("envforge.yml says port {declared}, it listens on {port}")
}

impl Unit {
    /// Whether it listens where it was not declared, and may still come to where it was.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere_since.is_some() && self.port.is_none()
    }

    /// Takes what was found of its port; what is wrong, if it is not to be used there yet.
    fn hear(&mut self, found: Found, now: Timestamp) -> Option<String> {
        let (bound, detail) = match found {
            Found::Declared(bound) => {
                self.elsewhere_since = None;
                (Some(bound), None)
            }
            Found::Elsewhere { bound, detail } => {
                let since = *self.elsewhere_since.get_or_insert(now);
                let is_used = self.port == Some(bound.port) || now.duration_since(since) >= ELSEWHERE_AFTER;
                (is_used.then_some(bound), (!is_used).then_some(detail))
            }
            Found::Nowhere => {
                self.elsewhere_since = None;
                (None, None)
            }
        };
        (self.port, self.address) = (bound.map(|bound| bound.port), bound.and_then(|bound| bound.address));
        self.port_seen.send_if_modified(|seen| std::mem::replace(seen, self.port) != self.port);
        detail
    }

    /// There is no process that could listen.
    pub(super) fn hear_nothing(&mut self) {
        (self.port, self.address, self.elsewhere_since) = (None, None, None);
        self.port_seen.send_replace(None);
    }
}

impl Driver {
    /// Who listens, perhaps as before.
    pub(crate) async fn listening(&mut self, heard: Vec<Heard>) {
        if !self.is_active() {
            return;
        }
        let now = self.ctx.now();
        let names: Vec<String> =
            self.runtime.units.iter().filter(|(_, unit)| unit.pid.is_some()).map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(port) = self.port_wanted(&name) else { continue };
            let Some(unit) = self.runtime.units.get_mut(&name) else { continue };
            let was_bound = unit.port.is_some();
            let change = match unit.hear(find(&name, port, unit.port, &heard), now) {
                Some(detail) if unit.mode.needs_port() => Change::Unhealthy { detail, sure: true },
                None if unit.mode == Mode::Bound && unit.port.is_some() => Change::Healthy,
                // Where a path or a connection is asked for, nobody asks without a port.
                None if unit.mode.needs_port() && was_bound && unit.port.is_none() => {
                    Change::Unhealthy { detail: "it no longer listens on its port".to_owned(), sure: true }
                }
                _ => continue,
            };
            self.change(&name, change).await;
        }
        self.settle().await;
    }

    /// The port a service is to listen on.
    pub(super) fn port_wanted(&self, service: &str) -> Option<Port> {
        Some(self.runtime.wiring.as_ref()?.services.get(service)?.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn heard(port: u16, address: impl Into<IpAddr>, service: Option<&str>) -> Heard {
        Heard { port, address: address.into(), service: service.map(str::to_owned) }
    }

    fn owned(port: u16, service: &str) -> Heard {
        heard(port, Ipv4Addr::LOCALHOST, Some(service))
    }

    fn usual(port: u16) -> Bound {
        Bound { port, address: None }
    }

    // proves RUN-1
    #[test]
    fn a_port_belongs_to_whoever_listens() {
        let listeners = [owned(3000, "web"), owned(4000, "api"), heard(5000, Ipv4Addr::UNSPECIFIED, None)];
        let find = |service, port| find(service, Port::Declared(port), None, &listeners);
        assert_eq!(find("web", 3000), Found::Declared(usual(3000)));
        assert_eq!(find("other", 5000), Found::Declared(usual(5000)), "a daemon that forked away");
        assert_eq!(find("other", 4000), Found::Nowhere, "another's port is not its own");
        let Found::Elsewhere { bound, detail } = find("web", 8080) else { panic!("it is not where it was declared") };
        assert_eq!(bound, usual(3000));
        assert!(detail.contains("8080") && detail.contains("3000"));
    }

    #[test]
    fn a_found_port_stays_while_it_is_there_and_a_debugger_is_not_the_service() {
        let two = [owned(2345, "api"), owned(4100, "api"), owned(9229, "api")];
        let discover = Port::Discover { suggested_port: 4000 };
        let find = |current, heard: &[Heard]| find("api", discover, current, heard);
        assert_eq!(find(None, &two), Found::Declared(usual(4100)));
        assert_eq!(find(Some(9229), &two), Found::Declared(usual(4100)), "a debugger's gives way");
        for current in [None, Some(2345)] {
            let found = find(current, &two[..1]);
            assert!(matches!(found, Found::Elsewhere { bound, .. } if bound == usual(2345)), "it is all there is yet");
        }
        assert_eq!(find(Some(4100), &[owned(3000, "api"), owned(4100, "api")]), Found::Declared(usual(4100)));
        assert_eq!(find(Some(1), &[owned(3000, "api"), owned(4000, "api")]), Found::Declared(usual(4000)));
        assert_eq!(find(Some(4000), &[]), Found::Nowhere);
    }

    #[test]
    fn the_address_is_told_where_the_usual_one_does_not_lead() {
        let own = Ipv4Addr::new(10, 213, 0, 2);
        let of = |addresses: &[IpAddr]| {
            let heard: Vec<Heard> = addresses.iter().map(|address| heard(80, *address, Some("web"))).collect();
            match find("web", Port::Declared(80), None, &heard) {
                Found::Declared(bound) => bound.address,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(&[Ipv6Addr::LOCALHOST.into()]), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(of(&[own.into()]), Some(own.into()));
        assert_eq!(of(&[own.into(), Ipv6Addr::LOCALHOST.into()]), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(of(&[Ipv6Addr::UNSPECIFIED.into()]), None);
        assert_eq!(of(&[own.into(), Ipv4Addr::LOCALHOST.into()]), None);
    }
}
