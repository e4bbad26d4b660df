//! The smallest useful `envforge.yml`, as it stands, for an application that knows nothing of EnvForge.

use super::sample::{Member, commit, repository};
use crate::support::TestBox;
use envforge_testkit::Browser;

/// To the letter what the product promises to run.
const FILE: &str = "\
repo: github.com/acme/planner
prepare_pr: true
services:
  web:
    command: npm run dev
    inputs: { api_url: required }
    environment: { API_URL: input.api_url }
  api:
    command: npm run api
    inputs: { database_url: required }
    environment: { DATABASE_URL: input.database_url }
resources:
  postgres: branch_scoped
";

const PACKAGE: &str =
    r#"{ "name": "planner", "private": true, "scripts": { "dev": "node dev.mjs", "api": "node server.mjs" } }"#;

/// Each listens where it always did, whatever it is told.
const DEV: &str = r#"
import { createServer } from "node:http";
createServer(async (request, response) => {
  const plans = await fetch(`${process.env.API_URL}/api/plans`).then((answer) => answer.text());
  response.setHeader("content-type", "text/html").end(`<h1>Planner</h1><p>${request.url} ${plans}</p>`);
}).listen(5180, "127.0.0.1");
"#;

const SERVER: &str = r#"
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
const sql = (text) => execFileSync("psql", [process.env.DATABASE_URL, "-qAtX", "-c", text], { encoding: "utf8" }).trim();
createServer((request, response) => response.end(`plans of ${sql("select current_user")} at ${request.url}`)).listen(8190);
"#;

// proves REPO-3 REPO-4 RUN-1 RUN-6 LINK-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_file_runs_as_it_stands() {
    let the_box = TestBox::started().await;
    let folder = repository(&the_box.scratch("planner"));
    for (name, text) in [("envforge.yml", FILE), ("package.json", PACKAGE), ("dev.mjs", DEV), ("server.mjs", SERVER)] {
        fs_err::write(folder.join(name), text).unwrap();
    }
    commit(&folder, "The smallest file");
    let opened = the_box.json(&folder, &["up", "--yes", "--no-attach"]).await;
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.all_ready().await;
    let link = opened["link"]["url"].as_str().expect("a link to `web`, without being told which service that is");
    let mut browser = Browser::at(link).unwrap();
    browser.open(link).await.unwrap();
    let user = opened["workspace"]["id"].as_str().unwrap();
    let page = browser.get("/some/page").await.unwrap();
    assert!(page.contains(&format!("/some/page plans of {user} at /api/plans")), "{page}");
    let plans = browser.get("/api/plans?of=today").await.unwrap();
    assert_eq!(plans, format!("plans of {user} at /api/plans?of=today"), "the same origin reaches the api under /api");
}
