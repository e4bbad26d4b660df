//! What an operator does with a box: looks at it, upgrades its schema, saves and restores it.

use crate::support::{TestBox, kill};
use envforge_testkit::{TestDatabase, free_port, wait_until, wait_until_within};
use std::fmt::Write as _;
use std::process::{Command, Output};
use std::time::Duration;

async fn ask(address: &str, path: &str) -> (u16, String) {
    let answer = reqwest_client().get(format!("http://{address}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn reqwest_client() -> reqwest::Client {
    #[expect(clippy::disallowed_methods, reason = "a scraper is no client of the product")]
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The value of a line, by how it begins.
fn value(text: &str, begins: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(begins))?.rsplit(' ').next()?.parse().ok()
}

/// Whether a text is what a scraper reads: each family announced once, before its samples, and the end marked once.
fn check_open_metrics(text: &str) {
    let mut families: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().unwrap();
            assert!(!families.contains(&name), "{name} is announced twice");
            families.push(name);
        } else if !line.starts_with('#') {
            let family = families.last().unwrap_or_else(|| panic!("a sample before its family: {line}"));
            assert!(line.starts_with(family), "{line} is not of {family}");
        }
    }
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.ends_with("# EOF\n"));
}

/// Every family of a text as a table: `docs/reference/metrics.md`.
fn page(text: &str) -> String {
    let mut page = "# Metrics\n\nMade by a test from what a box serves; no label names an org, a workspace, a person or a path.\n\n\
        | metric | kind | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for line in text.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else { continue };
        let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
        let ends = ["{", " ", "_total", "_bucket"];
        let is_of =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| ends.iter().any(|end| rest.starts_with(end)));
        let sample = text.lines().find(is_of).unwrap();
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let labels: Vec<&str> = labels
            .split("\",")
            .filter_map(|label| label.split_once("=\"").map(|(name, _)| name))
            .filter(|name| *name != "le")
            .collect();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let (labels, help) = (labels.join(", "), help.trim_end_matches('.'));
        writeln!(page, "| `{name}{suffix}` | {kind} | {labels} | {help} |").unwrap();
    }
    page
}

// proves OPS-4
#[tokio::test]
async fn one_url_tells_of_the_whole_box() {
    let operator = format!("127.0.0.1:{}", free_port());
    let mut it = TestBox::new().with(&["--metrics-listen", &operator]);
    it.start().await;
    assert_eq!(ask(&operator, "/health").await.0, 200);
    wait_until("all roles are ready", async || ask(&operator, "/ready").await.0 == 200).await;
    let (status, text) = ask(&operator, "/metrics").await;
    assert_eq!(status, 200);
    check_open_metrics(&text);
    expect_test::expect_file!["../../../../docs/reference/metrics.md"].assert_eq(&page(&text));
    for role in ["server", "gateway", "host"] {
        assert_eq!(value(&text, &format!("envforge_box_role_up{{role=\"{role}\"}}")), Some(1.0), "{text}");
    }
    for line in ["envforge_server_hosts_online ", "envforge_gateway_connected ", "envforge_host_connected "] {
        // What needs the database is looked up twice a second at most.
        wait_until(line, async || value(&ask(&operator, "/metrics").await.1, line) == Some(1.0)).await;
    }
    assert_eq!(value(&text, "envforge_host_workspaces "), Some(0.0));
    // Not where strangers ask.
    let public = it.listen.to_string();
    assert_ne!(ask(&public, "/metrics").await.1, text);
    assert_eq!(ask(&public, "/v1/metrics").await.0, 404);
    assert_eq!(ask(&it.gateway.to_string(), "/.envforge/ready").await.0, 200);

    let gateway = it.children()["gateway"];
    kill(gateway);
    it.successor("gateway", gateway).await;
    let restarts = "envforge_box_role_restarts_total{role=\"gateway\"}";
    let limit = Duration::from_secs(20);
    wait_until_within("the restart is counted", limit, async || {
        value(&ask(&operator, "/metrics").await.1, restarts) == Some(1.0)
    })
    .await;
    wait_until_within("the box is ready again", limit, async || ask(&operator, "/ready").await.0 == 200).await;
    it.stop().await;
}

/// `envforged migrate` on a database of its own.
fn migrate(database: &TestDatabase, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_envforged"));
    command.arg("migrate").args(flags).env_remove("DATABASE_URL");
    command.arg("--database-url-file").arg(at("url", &database.owner_url()));
    command.arg("--app-password-file").arg(at("password", database.app_password()));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

// proves OPS-4
#[tokio::test]
async fn a_schema_is_planned_migrated_and_taken_back() {
    let database = TestDatabase::empty().await;
    let plan = said(&migrate(&database, &["--plan"]));
    assert!(plan.starts_with("+ 0001 foundation (expand)\n+ 0002 orders_again (expand)\n"), "{plan}");
    assert_eq!(said(&migrate(&database, &["--plan"])), plan, "a plan changes nothing");
    assert!(migrate(&database, &["--to", "3"]).status.success());
    let report: serde_json::Value = serde_json::from_slice(&migrate(&database, &["--plan", "--json"]).stdout).unwrap();
    assert_eq!((&report["from"], &report["up"][0]["version"], &report["done"]), (&3.into(), &4.into(), &false.into()));
    assert_eq!(migrate(&database, &["--to", "2"]).stdout, b"- 0003 order_and_presence\n");
    assert!(migrate(&database, &[]).status.success());
    assert!(said(&migrate(&database, &["--plan"])).contains("nothing to do: the schema is at version "));
    let refused = migrate(&database, &["--to", "3"]);
    assert!(!refused.status.success());
    let words = said(&refused);
    assert!(words.contains("has no way back") && words.contains("fix: restore a backup"), "{words}");
    assert!(said(&migrate(&database, &["--to", "4711"])).contains("there is no version 4711"));
}
