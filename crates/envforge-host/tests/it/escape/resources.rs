//! Databases and caches of others.

use super::attempt::{Attempt, Control, Who, attempt, try_all};
use super::scene::{SECRET, Scene};
use crate::support::is_root;

use Control::{As, Host, Neighbour};

const QUERY: &str = "-w -Atc 'select secret from secrets' | grep -q of-the-neighbour";

const CONNECT: &str =
    r#"python3 -c "import socket; socket.socket(socket.AF_UNIX).connect('$SOCKET/.s.PGSQL.5432')" < /dev/null"#;

fn attempts() -> Vec<Attempt> {
    let through_port = "psql -h 127.0.0.1";
    vec![
        // With the password of whoever tries: the neighbour's own is the neighbour's.
        attempt(
            "a neighbour's database as its role",
            format!("{through_port} -U $THEIRS -d $THEIRS {QUERY}"),
            Neighbour,
        ),
        attempt(
            "a neighbour's database as one's own role",
            format!("{through_port} -U $MINE -d $THEIRS {QUERY}"),
            Neighbour,
        ),
        attempt("the cluster's socket, past what counts connections", CONNECT, Host),
        attempt(
            "the cluster as its administrator",
            "psql -h $SOCKET -U envforge -d postgres -w -Atc 'select 1'",
            As(Who::Postgres),
        ),
        attempt(
            "a neighbour's database as the administrator",
            "psql -h $SOCKET -U envforge -d $THEIRS -w -Atc 'select 1'",
            As(Who::Postgres),
        ),
        attempt("the cluster's files", "ls $DATA/resources/postgres/data/.", Host),
        attempt("the cluster's socket beside its directory", "ls $SOCKET/../data/.", Host),
        attempt("a neighbour's password", "cat $NEIGHBOUR/postgres.password", Host),
        attempt("a neighbour's cache", "redis-cli -p 6379 get planted | grep -q of-the-neighbour", Neighbour),
    ]
}

// proves RUN-6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources() {
    if !is_root() {
        return;
    }
    let Some(mut scene) = Scene::with_stores().await else { return };
    let (one, two) = (scene.one.id.to_string(), scene.two.id.to_string());
    let passwords = [scene.one, scene.two].map(|ws| scene.machine.read(ws, "postgres.password"));
    scene.name("THEIRS", two.clone());
    scene.name_apart("MINE", one, two.clone());
    scene.name_apart("PGPASSWORD", &passwords[0], &passwords[1]);
    let socket = scene.machine.config.data_dir.join("resources/postgres/socket");
    scene.name_apart("SOCKET", "/run/envforge/postgres", socket.to_string_lossy());
    let fill = format!(
        "PGPASSWORD={} psql -h 127.0.0.1 -U {two} -d {two} -c 'create table secrets(secret text)' -c \"insert into secrets values ('{SECRET}')\" && redis-cli set planted {SECRET}",
        passwords[1]
    );
    let filled = scene.neighbours_runtime().run(&fill).await;
    assert_eq!(filled.code, Some(0), "{filled:?}");
    try_all(&scene, &attempts()).await;
}
