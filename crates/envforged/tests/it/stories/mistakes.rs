//! What people get wrong: each is blocked with cause and fix, never a hang, and mending it is enough.

use super::sample::{Member, commit, repository};
use crate::support::TestBox;
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::{Part, ReadinessState};
use envforge_core::runtime::RuntimeState;
use envforge_testkit::Shell;

fn part<'a>(workspace: &'a Workspace, name: &str) -> Option<&'a Part> {
    workspace.parts.iter().find(|part| part.name == name)
}

fn is_blocked(workspace: &Workspace, name: &str, code: &str) -> bool {
    part(workspace, name).is_some_and(|part| {
        part.state == ReadinessState::Blocked
            && part.code.as_deref() == Some(code)
            && part.cause.is_some()
            && part.fix.is_some()
    })
}

// proves REPO-3 RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_and_broken_services_say_what_helps() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    fs_err::write(
        repository.join("envforge.yml"),
        "services:\n  web:\n    command: no-such-program --serve\n    port: 3000\n  flaky:\n    command: echo I break; exit 3\n    port: 3001\n",
    )
    .unwrap();
    commit(&repository, "Broken services");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.shell_ready().await;
    member.wake().await;
    member
        .until("the missing program is told", |workspace| is_blocked(workspace, "web", "service.command_not_found"))
        .await;
    member
        .until("the crash loop is told", |workspace| {
            is_blocked(workspace, "flaky", "service.crash_loop")
                && part(workspace, "flaky").unwrap().cause.as_ref().unwrap().contains("I break")
        })
        .await;
    member.until("the runtime is blocked", |workspace| workspace.runtime.state == RuntimeState::Blocked).await;
    let usage = member.usage().await;
    assert!(usage.awake_since.is_none(), "nothing is metered while every service is blocked");

    // Captured logs stay readable.
    let logs = the_box.envforge(&repository, &["logs", "flaky", "-w", "main"]).await;
    assert!(String::from_utf8_lossy(&logs.stdout).contains("I break"));

    // A file that can't be read is told with its line, and the shell is there to mend it.
    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "main").await.unwrap();
    shell.send("printf 'services:\\n  web:\\n    comand: x\\n' > envforge.yml; echo written-$((1+1))\r").await.unwrap();
    shell.expect("written-2").await.unwrap();
    member.wake().await;
    member
        .until("the broken file is told", |workspace| {
            let runtime = &workspace.runtime;
            runtime.state == RuntimeState::Blocked
                && runtime.blocked_cause.as_ref().is_some_and(|cause| cause.contains("envforge.yml:3:5"))
        })
        .await;
}

// proves UP-2 RUN-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_file_is_read_by_a_wake_while_the_rest_runs() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let manifest = |api: &str| {
        format!(
            "services:\n  web:\n    command: echo $$ >> pids; exec python3 -m http.server $PORT\n    port: 3000\n  api:\n    command: {api}\n    port: 4000\n"
        )
    };
    fs_err::write(repository.join("envforge.yml"), manifest("no-such-program --serve")).unwrap();
    commit(&repository, "A service that is not there");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.shell_ready().await;
    let wake = async || {
        let output = the_box.envforge(&repository, &["wake", "main"]).await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let (is_ready, said) = wake().await;
    assert!(!is_ready && said.contains("then `envforge wake`"), "{said}");
    let write = async |text: &str| {
        let line = "printf %s \"$1\" > envforge.yml";
        let output = the_box.envforge(&repository, &["exec", "-w", "main", "--", "sh", "-c", line, "sh", text]).await;
        assert!(output.status.success(), "{output:?}");
    };
    write("services: {").await;
    let (is_ready, said) = wake().await;
    assert!(!is_ready && said.contains("envforge.yml:1:"), "a broken one is refused, with its place: {said}");
    write(&manifest("exec python3 -m http.server $PORT")).await;
    let (is_ready, said) = wake().await;
    assert!(is_ready && said.contains("main is awake and ready"), "{said}");
    let (code, pids) = member.run("cat pids").await;
    assert_eq!((code, pids.lines().count()), (0, 1), "what ran goes on: {pids}");
}
