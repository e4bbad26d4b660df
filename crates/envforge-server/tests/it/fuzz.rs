//! An independent fuzzer reads the API's document and tries whatever it allows and forbids.
//!
//! A short slice runs always; `ENVFORGE_FUZZ_EXAMPLES` asks for more per endpoint, `ENVFORGE_FUZZ_SEED` for the same again.

use crate::support::TestServer;
use envforge_testkit::python_judge;
use std::process::Stdio;

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,unsupported_method,ignored_auth";
/// Endless answers, and those that wait for a host's uplink, which a scripted host does not have.
const STREAMS: &str = "(/events|/exec|/terminal|/terminals.*|/logs.*|/mail.*|/objects.*|/database/.*|/recordings.*)$";

// proves ORG-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_fuzzer_finds_no_fault_and_no_answer_that_is_not_in_the_document() {
    let Some(fuzzer) = python_judge("schemathesis") else { return };
    let server = TestServer::start().await;
    let mut host = server.host().await;
    server.workspace(&mut host).await;
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let folder = tempfile::tempdir().unwrap();
    let key = server.owner.key().unwrap().expose().to_owned();
    // The key is of a database that lives as long as this test.
    let settings = format!(
        "headers = {{ Authorization = \"Bearer {key}\" }}\n\
         parameters = {{ org = \"acme\", workspace = \"main\" }}\n"
    );
    std::fs::write(folder.path().join("schemathesis.toml"), settings).unwrap();
    #[expect(clippy::disallowed_methods, reason = "an independent program judges ours")]
    let output = tokio::process::Command::new(fuzzer)
        .arg("run")
        .arg(format!("http://{}/v1/openapi.json", server.server.local_addr))
        .args(["--checks", CHECKS, "--exclude-path-regex", STREAMS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", &variable("ENVFORGE_FUZZ_EXAMPLES", "8")])
        .args(["--seed", &variable("ENVFORGE_FUZZ_SEED", "1"), "--generation-database", "none"])
        .args(["--workers", "2", "--max-failures", "20", "--no-color", "--suppress-health-check", "all"])
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (told, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{trouble}");
}
