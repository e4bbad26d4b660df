//! Secrets in the services that declare them, and nowhere else.

use super::jobs::ended;
use super::machine::{Machine, Ws};
use crate::support::{is_root, wait_until};
use envforge_api::host::Outcome;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::ObservedPhase;
use std::path::Path;

const PLANTED: &str = "planted-4711/with+all?kinds";
const MANIFEST: &str = "services:
  web:
    command: printf 'key %s' \"$API_KEY\"; printf '\\nbasic '; printf %s \"u:$API_KEY\" | base64; exec python3 serve.py web
    port: 3000
    inputs: { api_key: required, dsn: optional }
    environment: { API_KEY: input.api_key, DSN: input.dsn }
  other:
    command: exec python3 serve.py other
    port: 4000
";

async fn variable(machine: &Machine, ws: Ws, service: &str, name: &str) -> String {
    machine.server.get(ws.id, service, &format!("/env/{name}")).await
}

/// The files below a directory that hold a text.
pub(super) fn files_with(dir: &Path, text: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            files_with(&path, text, found);
        } else if kind.is_file() && std::fs::read(&path).is_ok_and(|bytes| memchr::memmem::find(&bytes, text).is_some())
        {
            found.push(path.display().to_string());
        }
    }
}

// proves ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_the_service_that_declares_it_and_nowhere_else() {
    if !is_root() {
        return;
    }
    let machine = Machine::new(MANIFEST, &[]).await;
    let ws = machine.workspace().await;
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    // Nobody set it: the service says what helps, its neighbour runs.
    let part = machine.blocked(ws, "web", "service.input_missing").await;
    assert!(part.cause.is_some_and(|cause| cause.contains("no secret API_KEY")), "the cause names it");
    assert!(part.fix.is_some_and(|fix| fix.contains("envforge secret set API_KEY")), "so does the fix");
    machine.part(ws, "other", ReadinessState::Ready).await;
    // Set, and the service starts by itself.
    machine.server.keep_secret("API_KEY", PLANTED);
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert_eq!(variable(&machine, ws, "web", "API_KEY").await, PLANTED);
    assert_eq!(variable(&machine, ws, "web", "DSN").await, "-", "an optional one stays unset");
    assert_eq!(variable(&machine, ws, "other", "API_KEY").await, "-");
    let asked = machine.server.asked();
    let named = |ask: &envforge_api::host::AskSecrets| ask.services.keys().eq(["web"]) && ask.generation == 2;
    assert!(asked.iter().all(named), "for the service that declares it: {asked:?}");
    // Its log, and a job's.
    let log = machine.server.log(ws.id, "web", 20).await;
    assert!(log.contains("key [secret API_KEY]") && log.matches("[secret API_KEY]").count() == 2, "{log}");
    let (job, command) =
        machine.job(ws, 2, &["sh", "-c", "tr '\\0' '\\n' < /proc/$(pgrep -xf 'python3 serve.py web')/environ"]);
    assert_eq!(machine.server.obeyed(&command).await, Outcome::Done);
    assert_eq!(ended(&machine, ws.id, job).await.exit_code, Some(0));
    let log = machine.server.log(ws.id, &job.to_string(), 100).await;
    assert!(log.contains("API_KEY=[secret API_KEY]"), "{log}");
    // Not in any process list, nor in any file of the host: journal, logs, checkout, home.
    for pid in envforge_host::sys::process::all_pids() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(memchr::memmem::find(&line, PLANTED.as_bytes()).is_none(), "{}", String::from_utf8_lossy(&line));
    }
    let mut found = Vec::new();
    files_with(&machine.config.data_dir, PLANTED.as_bytes(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    let heard = machine.server.heard();
    assert!(!heard.contains(PLANTED), "the host reports it");
    // No process of the shell layer has it.
    let shell = machine.group(&ws.id.to_string(), envforge_host::sys::cgroup::Layer::Shell);
    let pids = shell.pids().expect("processes");
    assert!(!pids.is_empty());
    for pid in pids {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(memchr::memmem::find(&environment, PLANTED.as_bytes()).is_none(), "process {pid} of the shell has it");
    }
}

// proves ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_daemon_and_a_new_start_fetch_anew() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new(MANIFEST, &[]).await;
    machine.server.keep_secret("API_KEY", PLANTED);
    let ws = machine.workspace().await;
    assert_eq!(machine.wake(ws, 2).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    let before = machine.server.asked().len();
    machine.stop().await;
    machine.start().await;
    wait_until("it asks again", async || machine.server.asked().len() > before).await;
    // What runs was not touched; what is started again has the value.
    let (_, command) = machine.job(ws, 2, &["pkill", "-f", "serve.py web"]);
    machine.server.obeyed(&command).await;
    machine
        .server
        .report(ws.id, "a restart", |report| report.parts.iter().any(|part| part.name == "web" && part.restarts == 1))
        .await;
    machine.part(ws, "web", ReadinessState::Ready).await;
    assert_eq!(variable(&machine, ws, "web", "API_KEY").await, PLANTED);
    // Another version is there with the next start.
    machine.server.keep_secret("API_KEY", "another-planted-value");
    machine.order(ws, 3, envforge_api::host::Order::StopRuntime).await;
    machine.phase(ws, ObservedPhase::Absent).await;
    assert_eq!(machine.wake(ws, 4).await, Outcome::Done);
    machine.phase(ws, ObservedPhase::Up).await;
    assert_eq!(variable(&machine, ws, "web", "API_KEY").await, "another-planted-value");
    let generations: Vec<u64> = machine.server.asked().iter().map(|ask| ask.generation).collect();
    assert!(generations.contains(&2) && generations.contains(&4), "{generations:?}");
}
