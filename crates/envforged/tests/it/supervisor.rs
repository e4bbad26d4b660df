//! The one box under its supervisor: what comes up, what is refused, and what is left when something is killed.

use crate::support::{TestBox, gone, is_alive, kill};
use envforge_testkit::{TestDatabase, wait_until_within};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

const ROLES: [&str; 3] = ["gateway", "host", "server"];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

// proves OPS-1
#[tokio::test]
async fn a_box_comes_up_and_drains() {
    let mut it = TestBox::started().await;
    assert_eq!(it.children().into_keys().collect::<Vec<_>>(), ROLES);
    let url = fs_err::read_to_string(it.path().join("run/server.url")).unwrap();
    assert_eq!(url.trim(), format!("http://{}", it.listen));
    let key = fs_err::metadata(it.path().join("owner.key")).unwrap();
    // Behind `sudo` it is the person's.
    let person = std::env::var("SUDO_UID").ok().filter(|_| is_root()).and_then(|uid| uid.parse().ok());
    let starter = person.unwrap_or(rustix::process::geteuid().as_raw());
    assert_eq!((key.permissions().mode() & 0o777, key.uid()), (0o600, starter));
    let (children, postgres) = (it.children(), it.postgres());

    assert!(it.stop().await.success(), "{}", it.words());
    for (role, pid) in children {
        assert!(!is_alive(pid), "the {role} is left");
    }
    assert!(!is_alive(postgres), "PostgreSQL is left");
    assert!(!it.path().join("run/server.url").exists());

    it.start().await;
    assert!(it.stop().await.success(), "{}", it.words());
}

#[tokio::test]
async fn a_second_supervisor_and_ports_in_use_are_refused_before_anything_starts() {
    let it = TestBox::started().await;
    let output = it.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let wanted =
        format!("error: another `envforged all` runs on {} (process {})", it.path().display(), it.supervisor());
    assert!(said.contains(&wanted) && said.contains("fix: use it, stop it with `envforged admin stop"), "{said}");

    for (is_gateway, flag) in [(false, "--listen"), (true, "--gateway-listen")] {
        let mut other = TestBox::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        *if is_gateway { &mut other.gateway } else { &mut other.listen } = address;
        let output = other.command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(&format!("port {} of 127.0.0.1 is in use by `", address.port())), "{said}");
        assert!(
            said.contains(&format!("(process {})", std::process::id())) && said.contains(&format!("with {flag}")),
            "{said}"
        );
        assert!(!other.path().join("postgres/data").exists(), "something was started");
    }
}

// proves OPS-1
#[tokio::test]
async fn a_killed_child_is_restarted_alone() {
    let it = TestBox::started().await;
    for role in ROLES {
        let before = it.children();
        kill(before[role]);
        let successor = it.successor(role, before[role]).await;
        let after = it.children();
        for other in ROLES.into_iter().filter(|other| *other != role) {
            assert_eq!(after[other], before[other], "the {other} was restarted with the {role}");
        }
        assert_eq!(after[role], successor);
        wait_until_within("the box is healthy again", Duration::from_secs(15), async || it.is_healthy().await).await;
    }
    let postgres = it.postgres();
    kill(postgres);
    gone("PostgreSQL", postgres).await;
    let is_other = || it.postmaster("postgres").is_some_and(|pid| pid != postgres);
    let is_back = async || is_other() && it.is_healthy().await;
    wait_until_within("another database runs", Duration::from_secs(20), is_back).await;
}

// proves UP-7
#[tokio::test]
async fn a_killed_supervisor_takes_its_children_along_and_leaves_the_database() {
    let mut it = TestBox::started().await;
    let (children, postgres) = (it.children(), it.postgres());
    it.kill_supervisor().await;
    for (role, pid) in children {
        gone(&format!("the {role}"), pid).await;
    }
    assert!(is_alive(postgres));
    it.start().await;
    assert_eq!(it.postgres(), postgres, "the database was adopted");
    assert!(it.words().contains("adopted, version"), "{}", it.words());
}

#[tokio::test]
async fn a_start_that_is_killed_anywhere_is_begun_again() {
    for after_ms in [20, 300, 1_200] {
        let mut it = TestBox::new();
        it.launch();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        it.kill_supervisor().await;
        it.start().await;
        assert!(it.client().get::<serde_json::Value>("/v1/me").await.is_ok(), "the owner's key does not work");
    }
}

#[tokio::test]
async fn a_role_reads_its_own_secrets_and_no_other_ones() {
    if !is_root() {
        return;
    }
    let it = TestBox::started().await;
    let (server, gateway) = (61_190, 61_191);
    let root = it.path();
    for (uid, path, may) in [
        (server, "secrets/server/signing-seed", true),
        (gateway, "secrets/gateway/key", true),
        (gateway, "secrets/server/signing-seed", false),
        (gateway, "secrets/server/database-url", false),
        (gateway, "run/postgres/.s.PGSQL.5432", false),
        (gateway, "run/internal/server.sock", true),
        (server, "run/postgres/.s.PGSQL.5432", true),
        (server, "secrets/database/owner.url", false),
        (server, "secrets/gateway/key", false),
        (server, "secrets/host", false),
        (server, "run/gateway/uplink.sock", false),
        (server, "host/host.json", false),
        (server, "owner.key", false),
    ] {
        #[expect(clippy::disallowed_methods, reason = "looks as another user would")]
        let mut test = std::process::Command::new("test");
        let sees = test.args(["-r", &root.join(path).to_string_lossy()]).uid(uid).gid(uid).status().unwrap().success();
        assert_eq!(sees, may, "user {uid} and {path}");
    }
    for (role, uid) in [("server", server), ("gateway", gateway), ("host", 0)] {
        let pid = it.children()[role];
        assert_eq!(fs_err::metadata(format!("/proc/{pid}")).unwrap().uid(), uid, "{role}");
    }
}

#[tokio::test]
async fn no_secret_is_in_an_argument_or_a_variable() {
    let it = TestBox::started().await;
    let mut secrets = vec![it.key().expose().to_owned()];
    for name in ["server/signing-seed", "server/gateway-key", "database/app.password", "database/owner.password"] {
        secrets.push(fs_err::read_to_string(it.path().join("secrets").join(name)).unwrap().trim().to_owned());
    }
    let pids = it.children().into_values().chain([it.supervisor(), it.postgres()]);
    for pid in pids {
        for file in ["cmdline", "environ"] {
            let text = fs_err::read(format!("/proc/{pid}/{file}")).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "a secret is in {file} of process {pid}");
        }
    }
    assert!(!secrets.iter().any(|secret| it.words().contains(secret)), "a secret is in the log");
}

// proves OPS-1
#[tokio::test]
async fn a_box_may_use_somebodys_own_database() {
    let database = TestDatabase::empty().await;
    // The test cluster's socket is open to its own user only.
    let user = if is_root() { "postgres" } else { "0" };
    let mut it = TestBox::new().with(&["--database-url", &database.owner_url(), "--server-user", user]);
    it.start().await;
    assert!(!it.path().join("postgres/data").exists(), "no cluster of its own");
    let me: serde_json::Value = it.client().get("/v1/me").await.unwrap();
    assert_eq!(me["name"], "local owner");
    assert!(it.stop().await.success(), "{}", it.words());
    it.start().await;
    let again: serde_json::Value = it.client().get("/v1/me").await.unwrap();
    assert_eq!(again["user"], me["user"], "and keeps what was in it");
}

// proves OPS-2 RUN-7
#[tokio::test]
async fn two_boxes_that_would_share_users_and_networks_are_told_apart() {
    if !is_root() {
        return;
    }
    let it = TestBox::started().await;
    let mut other = TestBox::new().named(it.instance());
    other.launch();
    envforge_testkit::wait_until_within("it says why", Duration::from_secs(30), async || {
        other.words().contains(&format!("has the instance name `{}`", it.instance()))
            && other.words().contains("which nobody has")
    })
    .await;
    assert!(it.is_healthy().await);
}

// proves OPS-2 UP-7
#[tokio::test]
async fn a_stopped_box_can_be_cleared_from_its_machine() {
    let mut it = TestBox::started().await;
    let clear = |it: &TestBox| it.admin("clear");
    let refused = clear(&it);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fix: stop it first: `envforged admin stop"));
    assert!(it.stop().await.success());
    for _ in 0..2 {
        let done = clear(&it);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    it.start().await;
}
