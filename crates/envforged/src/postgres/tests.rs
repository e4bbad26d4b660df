//! The managed cluster against the real programs: made, adopted, killed, moved, and broken on purpose.

use super::{APP, Cluster, DATABASE, How, OWNER, PORT, Passwords};
use crate::account::{Account, give, is_root};
use envforge_core::secret::Secret;
use envforge_testkit::temp_dir;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn passwords() -> Passwords {
    Passwords { superuser: Secret::new("5afe".repeat(8)), owner: Secret::new("0e4e".repeat(8)) }
}

fn cluster(root: &Path) -> Cluster {
    let account = is_root().then(|| Account::resolve("postgres", "--postgres-user").unwrap());
    for name in ["home", "sockets"] {
        let path = root.join(name);
        fs_err::create_dir_all(&path).unwrap();
        give(&path, account).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    Cluster::find(root.join("home"), root.join("sockets"), account, None).unwrap()
}

async fn ask(cluster: &Cluster, role: &str, password: &str, statement: &str) -> (bool, String) {
    let url = format!("postgres://{role}:{password}@localhost:{PORT}/{DATABASE}?host={}", cluster.sockets.display());
    let output = cluster.run("psql", &["-XAtc", statement, &url], "").await.unwrap();
    (output.status.success(), super::said(&output))
}

#[tokio::test]
async fn a_cluster_is_made_adopted_and_outlives_kills() {
    let dir = temp_dir("pg");
    let cluster = cluster(dir.path());
    let (how, first) = cluster.ensure(&passwords()).await.unwrap();
    assert_eq!(how, How::Made);
    let owner = "0e4e".repeat(8);
    let facts = "SELECT rolsuper, rolcreaterole, current_setting('data_checksums'), current_setting('listen_addresses') FROM pg_roles WHERE rolname = current_user";
    assert_eq!(ask(&cluster, OWNER, &owner, facts).await, (true, "f|t|on|".to_owned()));
    let (is_in, said) = ask(&cluster, OWNER, "wrong", "SELECT 1").await;
    assert!(!is_in && said.contains("password authentication failed"), "{said}");
    assert!(!ask(&cluster, APP, "any", "SELECT 1").await.0, "the application's role comes with the migration");
    assert!(ask(&cluster, OWNER, &owner, "CREATE TABLE kept AS SELECT 1 AS n").await.0);

    let (how, again) = cluster.ensure(&passwords()).await.unwrap();
    assert_eq!((how, again.identity), (How::Adopted, first.identity));

    first.identity.signal(Signal::KILL);
    first.gone().await;
    assert!(!cluster.answers(&first).await.unwrap(), "nobody waits for the dead");
    let (how, second) = cluster.ensure(&passwords()).await.unwrap();
    assert_eq!(how, How::Started);
    assert_ne!(second.identity, first.identity);
    assert_eq!(ask(&cluster, OWNER, &owner, "SELECT n FROM kept").await, (true, "1".to_owned()));

    cluster.stop().await.unwrap();
    // What a crash leaves when its number was given to another process since.
    let me = std::process::id();
    let stale = format!("{me}\n{}\n0\n5432\n{}\n\n", cluster.data().display(), cluster.sockets.display());
    fs_err::write(cluster.data().join("postmaster.pid"), stale).unwrap();
    let (how, _) = cluster.ensure(&passwords()).await.unwrap();
    assert_eq!(how, How::Started);
    cluster.stop().await.unwrap();
    assert!(!cluster.data().join("postmaster.pid").exists());
}

#[tokio::test]
async fn a_cluster_that_was_not_finished_is_made_again() {
    let dir = temp_dir("pg");
    let cluster = cluster(dir.path());
    let half = cluster.home.join("data.new-1-1");
    fs_err::create_dir(&half).unwrap();
    fs_err::write(half.join("PG_VERSION"), "15\n").unwrap();
    assert_eq!(cluster.ensure(&passwords()).await.unwrap().0, How::Made);
    assert!(!half.exists());
    cluster.stop().await.unwrap();
}

#[test]
fn data_of_a_version_that_is_not_installed_are_refused() {
    let dir = temp_dir("pg");
    let home = dir.path().join("home");
    fs_err::create_dir_all(home.join("data")).unwrap();
    fs_err::write(home.join("data/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::find(home, dir.path().join("sockets"), None, None).unwrap_err();
    let text = crate::advice::render(&error);
    assert!(
        text.contains("were made by PostgreSQL 9, the programs in ")
            && text.contains("fix: apt-get install postgresql-9"),
        "{text}"
    );
}
