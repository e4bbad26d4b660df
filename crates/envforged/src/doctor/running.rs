//! The box itself: its directory, its ports, its database, whether it answers.

use super::Check;
use crate::args::DoctorArguments;
use crate::listen::reserve;
use crate::postgres::{Cluster, Postmaster, data_version};
use crate::roles::all::layout::Layout;
use crate::roles::all::{lock, probe};
use anyhow::Context as _;
use std::net::ToSocketAddrs as _;

pub(super) fn checks(arguments: &DoctorArguments, layout: &Layout) -> anyhow::Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let mut checks = vec![directory(layout)];
    let supervisor = lock::holder(layout);
    if let Some(pid) = supervisor {
        checks.push(Check::ok("supervisor", format!("process {pid}")));
        let fix = "`envforged all` writes why to its standard error; ENVFORGE_LOG=debug tells more";
        checks.push(if runtime.block_on(probe::is_healthy(arguments.listen)) {
            Check::ok("server", format!("answers on {}, and so does its database", arguments.listen))
        } else {
            Check::failed("server", format!("is not healthy on {}", arguments.listen), fix)
        });
        checks.push(if runtime.block_on(probe::accepts(arguments.gateway_listen)) {
            Check::ok("gateway", format!("answers on {}", arguments.gateway_listen))
        } else {
            Check::failed("gateway", format!("does not answer on {}", arguments.gateway_listen), fix)
        });
    } else {
        for (name, address, flag) in [
            ("server port", arguments.listen, "--listen"),
            ("gateway port", arguments.gateway_listen, "--gateway-listen"),
        ] {
            checks.push(match reserve(address, flag) {
                Ok(_) => Check::ok(name, format!("{address} is free")),
                Err(error) => Check::of_error(name, &error),
            });
        }
    }
    checks.push(database(arguments, layout, supervisor.is_some()));
    checks.push(names());
    Ok(checks)
}

fn directory(layout: &Layout) -> Check {
    if let Err(error) = layout.check_reachable() {
        return Check::of_error("data directory", &error);
    }
    let root = layout.root().display();
    Check::ok("data directory", if layout.root().exists() { root.to_string() } else { format!("{root}, not made yet") })
}

fn database(arguments: &DoctorArguments, layout: &Layout, is_up: bool) -> Check {
    let name = "database";
    let home = layout.database_home();
    if !matches!(data_version(&home.join("data")), Ok(Some(_))) {
        return Check::ok(name, "not made yet, not the managed one, or not ours to see");
    }
    match Cluster::find(home, layout.database_sockets(), None, arguments.postgres_bin.as_deref()) {
        Err(error) => Check::of_error(name, &error),
        Ok(cluster) => match Postmaster::find(&cluster.data()) {
            Some(postmaster) => Check::ok(name, format!("runs, process {}", postmaster.identity.pid)),
            None if is_up => {
                Check::failed(name, "does not run although the box does", format!("see {}", cluster.log().display()))
            }
            None => Check::ok(
                name,
                format!("made by version {}, does not run, and neither does the box", cluster.binaries.version),
            ),
        },
    }
}

fn names() -> Check {
    let name = "*.localhost";
    let is_here = ("web--a--b.localhost", 80)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.any(|address| address.ip().is_loopback()));
    if is_here {
        return Check::ok(name, "resolves to this machine");
    }
    // Browsers know by themselves; nothing is broken.
    Check::ok(name, "browsers resolve it themselves; other tools connect to 127.0.0.1 with the Host header")
}
