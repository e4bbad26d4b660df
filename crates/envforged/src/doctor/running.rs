//! The box itself: its directory, its ports, its database, whether it answers.

use super::Check;
use crate::args::DoctorArguments;
use crate::listen::reserve;
use crate::postgres::{Cluster, Postmaster, data_version};
use crate::roles::all::layout::Layout;
use crate::roles::all::operated::ROLES;
use crate::roles::all::{lock, probe};
use anyhow::Context as _;
use envforge_api::ambient::SystemClock;
use envforge_core::clock::Clock as _;
use jiff::Timestamp;
use std::net::ToSocketAddrs as _;

/// A backup older than this is too old to rely on.
const BACKUP_HOURS: i64 = 48;

pub(super) fn checks(arguments: &DoctorArguments, layout: &Layout) -> anyhow::Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let mut checks = vec![directory(layout)];
    let supervisor = lock::holder(layout);
    if let Some(pid) = supervisor {
        checks.push(Check::ok("supervisor", format!("process {pid}")));
        let fix = "`envforged all` writes why to its standard error; ENVFORGE_LOG=debug tells more";
        checks.extend(ROLES.iter().map(|role| runtime.block_on(readiness(layout, role))));
        checks.push(if runtime.block_on(probe::is_ready(arguments.listen)) {
            Check::ok("server", format!("answers on {}, and so does its database", arguments.listen))
        } else {
            Check::failed("server", format!("is not healthy on {}", arguments.listen), fix)
        });
        checks.push(if runtime.block_on(probe::answers(arguments.gateway_listen)) {
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
    checks.extend(last_backup(layout, SystemClock.now()));
    checks.push(names());
    Ok(checks)
}

/// What a role says of itself: its database, its schema, the ledger; its server; its drain.
async fn readiness(layout: &Layout, role: &str) -> Check {
    let name = match role {
        "server" => "server ready",
        "gateway" => "gateway ready",
        _ => "host ready",
    };
    let fix = "the log of `envforged all` says more; ENVFORGE_LOG=debug tells everything";
    match probe::operator(&layout.operator_socket(role), "/ready").await {
        Some((200, _)) => Check::ok(name, "it takes work"),
        Some((_, why)) => Check::failed(name, why.trim(), fix),
        None if crate::account::is_root() => Check::failed(name, "it does not answer its operator", fix),
        None => Check::ok(name, "only who started the box can ask"),
    }
}

/// How old the last backup of a box with data is.
fn last_backup(layout: &Layout, now: Timestamp) -> Option<Check> {
    let name = "backup";
    let fix =
        format!("`envforged backup FILE --data-dir {}`, every night and onto another disk", layout.root().display());
    if !layout.owner_key().exists() {
        return None;
    }
    let Ok(text) = fs_err::read(layout.last_backup()) else {
        return Some(Check::warning(name, "there is none: with this disk, everything would be lost", fix));
    };
    let last: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let made_at: Option<Timestamp> = last["made_at"].as_str().and_then(|text| text.parse().ok());
    let age = made_at.map(|made_at| now.duration_since(made_at).as_hours());
    let file = last["file"].as_str().unwrap_or_default();
    Some(match age {
        Some(hours) if hours <= BACKUP_HOURS => Check::ok(name, format!("{hours} h old: {file}")),
        Some(hours) => Check::warning(name, format!("the last one is {} days old: {file}", hours / 24), fix),
        None => Check::warning(name, "what the last one was can't be read", fix),
    })
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

#[cfg(test)]
mod tests {
    use super::{Layout, last_backup};
    use crate::args::BoxDirectory;
    use crate::doctor::Status;

    // proves OPS-4
    #[test]
    fn a_box_without_a_young_backup_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::of(&BoxDirectory { data_dir: Some(folder.path().to_owned()) }).unwrap();
        let now: jiff::Timestamp = "2026-05-03T12:00:00Z".parse().unwrap();
        assert_eq!(last_backup(&layout, now), None, "no box, no backup");
        fs_err::write(layout.owner_key(), "key").unwrap();
        let check = |text: Option<&str>| {
            if let Some(text) = text {
                fs_err::write(layout.last_backup(), text).unwrap();
            }
            let check = last_backup(&layout, now).unwrap();
            (check.status, check.found)
        };
        assert_eq!(check(None).0, Status::Warning);
        let young = check(Some(r#"{"file":"/b","made_at":"2026-05-03T02:00:00Z","bytes":1}"#));
        assert_eq!(young, (Status::Ok, "10 h old: /b".to_owned()));
        let old = check(Some(r#"{"file":"/b","made_at":"2026-04-23T02:00:00Z","bytes":1}"#));
        assert_eq!(old, (Status::Warning, "the last one is 10 days old: /b".to_owned()));
        assert_eq!(check(Some("{}")).0, Status::Warning);
    }
}
