//! A value in every channel that takes one.

use super::Story;
use crate::stories::git_server::GitServer;
use crate::stories::sample::{commit, repository, secrets_of};
use crate::support::TestBox;
use envforge_testkit::{MailSink, free_port};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a service declares; it has them all, and nobody else has.
pub(super) const DECLARED: [(&str, &str); 3] = [
    ("the org's secret", "planted-secret-org+ä/?\"="),
    ("the project's secret", "planted-secret-project:42"),
    ("the workspace's secret", "planted-secret-workspace"),
];
/// What is held and given to no process.
const HELD: [(&str, &str); 9] = [
    ("the org's secret's former version", "planted-secret-former"),
    ("a secret nobody declares", "planted-secret-undeclared"),
    ("a workspace's secret nobody declares", "planted-secret-undeclared-here"),
    ("a lent credential", "planted-secret-lent"),
    ("a Git token", "planted-secret-git-token"),
    ("the mail server's password", "planted-secret-mail"),
    ("an identity provider's client secret", "planted-secret-client"),
    ("a model provider's key", "planted-secret-llm"),
    ("an integration's key", "planted-secret-integration"),
];
/// What somebody sends to the wrong place.
pub(super) const MISTYPED: &str = "planted-secret-mistyped";
/// Where the credential is lent to; no name leads there.
pub(super) const DESTINATION: &str = "api.planted.invalid";

fn value(what: &str) -> &'static str {
    DECLARED.iter().chain(&HELD).find(|(name, _)| *name == what).unwrap().1
}

const FILE: &str = "\
services:
  keeper:
    command: node keeper.mjs
    port: 3000
    inputs: { stripe_key: required, project_key: required, workspace_key: required }
    environment: { STRIPE_KEY: input.stripe_key, PROJECT_KEY: input.project_key, WORKSPACE_KEY: input.workspace_key }
  other:
    command: node other.mjs
    port: 3001
    routes: [/other]
    inputs: { database_url: required }
    environment: { DATABASE_URL: input.database_url }
resources:
  postgres: branch_scoped
";
/// Writes what it has in every way a program would, and some.
const KEEPER: &str = r#"
import { createServer } from "node:http";
const has = ["STRIPE_KEY", "PROJECT_KEY", "WORKSPACE_KEY"].map((name) => process.env[name]);
for (const value of has) {
  console.log(`with ${value}`, JSON.stringify({ value }));
  console.error(encodeURIComponent(value), Buffer.from(`u:${value}`).toString("base64"), Buffer.from(value).toString("hex"));
}
createServer((request, response) => response.end(has.every(Boolean) ? "has all" : "has none")).listen(Number(process.env.PORT), "127.0.0.1");
"#;
const OTHER: &str = r#"
import { createServer } from "node:http";
console.log(Object.keys(process.env).join(" "), process.env.STRIPE_KEY);
createServer((request, response) => response.end("other")).listen(Number(process.env.PORT), "127.0.0.1");
"#;

/// What must live as long as the story.
pub(super) struct World {
    pub(super) mail: MailSink,
    _git: GitServer,
}

/// The private key of a GitHub App, in a file that only the server's user reads.
pub(super) fn app_key(the_box: &TestBox) -> PathBuf {
    let file = the_box.scratch("app").join("key.pem");
    #[expect(clippy::disallowed_methods, reason = "GitHub makes the key")]
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["genrsa", "-traditional", "-out"]).arg(&file).arg("2048").stderr(std::process::Stdio::null());
    assert!(openssl.status().unwrap().success());
    std::os::unix::fs::chown(&file, Some(61_190), Some(61_190)).unwrap();
    file
}

/// Has PostgreSQL write down every statement with its parameters, as somebody who looks for a fault would.
fn log_statements(the_box: &TestBox) {
    let file = the_box.path().join("postgres/data/postgresql.auto.conf");
    let settings = fs_err::read_to_string(&file).unwrap() + "log_statement = 'all'\nlog_min_duration_statement = 0\n";
    fs_err::write(&file, settings).unwrap();
    crate::support::signal(the_box.postgres(), rustix::process::Signal::HUP);
}

/// Plants all of it, and makes the project with its workspace.
pub(super) async fn everything(story: &Story<'_>, app_key: &Path) -> World {
    let the_box = story.the_box;
    log_statements(the_box);
    for (what, value) in DECLARED.iter().chain(&HELD) {
        story.plant(what, value);
    }
    story.plant("what was sent to the wrong place", MISTYPED);
    for (file, value) in secrets_of(&the_box.path()) {
        story.plant(file.strip_prefix(the_box.path()).unwrap().to_str().unwrap(), &value);
    }
    let pem = fs_err::read_to_string(app_key).unwrap();
    story.plant("the App's key", pem.lines().nth(9).unwrap());
    story.plant("the owner's key", the_box.key().expose());
    let host: Value = serde_json::from_slice(&fs_err::read(the_box.path().join("host/host.json")).unwrap()).unwrap();
    story.plant("the host's key", host["key"].as_str().unwrap());

    let mail = MailSink::start().await.unwrap();
    settings(story, mail.address.port()).await;
    let git = GitServer::start(&the_box.scratch("git"), value("a Git token")).await;
    let token_file = the_box.scratch("tokens").join("token");
    fs_err::write(&token_file, value("a Git token")).unwrap();
    let nowhere = the_box.scratch("nowhere");
    let token_flag = ["--token-file", token_file.to_str().unwrap()];
    let host = git.host();
    the_box.json(&nowhere, &[&["git-credential", "set", &host][..], &token_flag].concat()).await;
    fs_err::remove_file(&token_file).unwrap();

    let folder = repository(&the_box.scratch("notes"));
    for (name, text) in [("envforge.yml", FILE), ("keeper.mjs", KEEPER), ("other.mjs", OTHER)] {
        fs_err::write(folder.join(name), text).unwrap();
    }
    commit(&folder, "Services with secrets");
    let url = git.take(&folder, "notes");
    story.member().workspace(Path::new(&url), "main").await;
    secrets(story).await;
    World { mail, _git: git }
}

async fn settings(story: &Story<'_>, mail_port: u16) {
    let (owner, closed) = (story.the_box.client(), free_port());
    let mail = json!({ "host": "127.0.0.1", "port": mail_port, "encryption": "none", "username": "mailer",
        "password": value("the mail server's password"), "from": "envforge@example.org" });
    let provider = json!({ "title": "Theirs", "issuer": format!("http://127.0.0.1:{closed}"), "client_id": "envforge",
        "client_secret": value("an identity provider's client secret"), "sign_up": "closed" });
    let model = json!({ "protocol": "anthropic", "api_key": value("a model provider's key") });
    let integration = json!({ "api_key": value("an integration's key") });
    for (path, values) in [
        ("operator/settings/mail", mail),
        ("operator/settings/oidc.theirs", provider),
        ("operator/settings/llm.main", model),
        ("orgs/local/settings/integration.crm", integration),
    ] {
        let body = json!({ "values": values, "reason": "a story" });
        let changed: Value = owner.put(&format!("/v1/{path}"), &body).await.unwrap();
        story.keep(path, &changed.to_string());
    }
}

async fn secrets(story: &Story<'_>) {
    let owner = story.the_box.client();
    let egress = json!({ "host": DESTINATION, "header": "x-api-key", "prefix": "" });
    for (path, name, what, egress) in [
        ("", "STRIPE_KEY", "the org's secret's former version", None),
        ("", "STRIPE_KEY", "the org's secret", None),
        ("/projects/notes", "PROJECT_KEY", "the project's secret", None),
        ("/workspaces/main", "WORKSPACE_KEY", "the workspace's secret", None),
        ("", "UNDECLARED", "a secret nobody declares", None),
        ("/workspaces/main", "UNDECLARED_HERE", "a workspace's secret nobody declares", None),
        ("", "MODEL_KEY", "a lent credential", Some(egress)),
    ] {
        let mut body = json!({ "name": name, "value": value(what) });
        if let Some(egress) = egress {
            body["egress"] = egress;
        }
        let set: Value = owner.post(&format!("/v1/orgs/local{path}/secrets"), &body).await.unwrap();
        story.keep(what, &set.to_string());
    }
}
