//! Clients that take their time on purpose (slowhttptest): heads, bodies and readers that drip, ranges without number.
//! Everybody else is answered meanwhile as if nobody did.

use crate::support::{HOST, Plan, World};
use envforge_gateway::Limits;
use envforge_testkit::system_judge;
use std::cell::Cell;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// How long the attacks go on: longer than a visitor may wait, so that whoever waits for their end is seen.
const SECONDS: &str = "10";
/// The slowest that a visitor may be answered meanwhile, on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(3);

/// Runs one attack for so many seconds, or until none of its connections is left; what the program says.
async fn attack(program: &Path, world: &World, mode: &[&str], connections: &str, seconds: &str, path: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "an independent attacker")]
    let mut command = Command::new(program);
    // As a proxy's client, so that it names the dev host and goes to the gateway.
    let (gateway, cookie) = (world.gateway.local_addr.to_string(), world.cookie(1));
    command.args(mode).args(["-c", connections, "-r", "200", "-i", "1", "-l", seconds, "-v", "1", "-j", &cookie]);
    command.args(["-u", &format!("http://{HOST}{path}"), "-d", &gateway]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("slowhttptest runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Exit status"), "{said}");
    said
}

// proves LINK-3
#[tokio::test]
async fn whoever_drips_keeps_nobody_else_waiting() {
    let Some(program) = &system_judge("slowhttptest") else { return };
    let world = World::awake().await;
    let over = Cell::new(false);
    let attacks = async {
        tokio::join!(
            attack(program, &world, &["-H"], "200", SECONDS, "/x"),
            attack(program, &world, &["-B"], "200", SECONDS, "/upload"),
            // Few: what each leaves unread are the app's five megabytes, and the app is this test.
            attack(program, &world, &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5"], "20", SECONDS, "/large"),
            attack(program, &world, &["-R"], "200", SECONDS, "/x"),
        );
        over.set(true);
    };
    let visits = async {
        let mut answered = 0;
        while !over.get() {
            let begun = Instant::now();
            let answer = world.visit("/x").await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "web:GET:/x:"));
            let (took, beside) = (begun.elapsed(), world.gateway.stats().connections);
            assert!(took < LIMIT, "a visitor waited for {took:?} beside {beside} connections");
            answered += 1;
        }
        answered
    };
    let ((), answered) = tokio::join!(attacks, visits);
    assert!(answered > 10, "{answered} visits beside the attacks");
}

// proves LINK-3
#[tokio::test]
async fn a_head_that_drips_is_cut_off_however_long_it_goes_on() {
    let Some(program) = &system_judge("slowhttptest") else { return };
    let limits = Limits { header_time: Duration::from_secs(1), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let said = attack(program, &world, &["-H"], "50", "20", "/x").await;
    assert!(said.contains("No open connections left"), "{said}");
}
