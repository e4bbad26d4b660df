//! `envforged doctor` against a box that runs and one that does not.

use crate::support::TestBox;
use std::process::Command;

fn doctor(it: &TestBox) -> (Option<i32>, serde_json::Value) {
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_envforged"));
    command.args(["doctor", "--json", "--data-dir"]).arg(it.path());
    command.args(["--listen", &it.listen.to_string(), "--gateway-listen", &it.gateway.to_string()]);
    let output = command.output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn status<'a>(report: &'a serde_json::Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check `{name}` in {report}"));
    check["status"].as_str().unwrap()
}

#[tokio::test]
async fn doctor_sees_what_runs_and_what_is_broken() {
    let mut it = TestBox::new();
    let (code, report) = doctor(&it);
    assert_eq!((code, status(&report, "server port")), (Some(0), "ok"), "{report}");

    it.start().await;
    let (code, report) = doctor(&it);
    assert_eq!(code, Some(0), "{report}");
    for name in ["supervisor", "server", "gateway", "database", "data directory"] {
        assert_eq!(status(&report, name), "ok", "{report}");
    }
    it.stop().await;

    let taken = std::net::TcpListener::bind(it.listen).unwrap();
    let (code, report) = doctor(&it);
    assert_eq!((code, status(&report, "server port")), (Some(1), "failed"), "{report}");
    drop(taken);
}
