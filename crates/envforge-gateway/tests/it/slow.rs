//! Clients that take their time on purpose (slowhttptest): heads, bodies and readers that drip, ranges without number.
//! Everybody else is answered meanwhile as if nobody did.

use crate::support::{HOST, Plan, World, installed};
use envforge_gateway::Limits;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

const SLOWHTTPTEST: &str = "/usr/bin/slowhttptest";
/// Attackers of each kind.
const CONNECTIONS: &str = "200";
/// The slowest that a visitor may be answered meanwhile.
const LIMIT: Duration = Duration::from_secs(2);

/// Runs one attack for four seconds; what the program says.
async fn attack(world: &World, mode: &[&str], path: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "an independent attacker")]
    let mut command = Command::new(SLOWHTTPTEST);
    // As a proxy's client, so that it names the dev host and goes to the gateway.
    let (gateway, cookie) = (world.gateway.local_addr.to_string(), world.cookie(1));
    command.args(mode).args(["-c", CONNECTIONS, "-r", CONNECTIONS, "-i", "1", "-l", "4", "-v", "1", "-j", &cookie]);
    command.args(["-u", &format!("http://{HOST}{path}"), "-d", &gateway]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("slowhttptest runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

// proves LINK-3
#[tokio::test]
async fn whoever_drips_keeps_nobody_else_waiting() {
    if !installed(SLOWHTTPTEST) {
        return;
    }
    let limits = Limits { header_time: Duration::from_secs(1), ..Limits::default() };
    let world = World::new(Plan { limits, ..Plan::default() }).await;
    let attacks = async {
        let (heads, bodies, readers, ranges) = tokio::join!(
            attack(&world, &["-H"], "/x"),
            attack(&world, &["-B"], "/upload"),
            attack(&world, &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5"], "/large"),
            attack(&world, &["-R"], "/x"),
        );
        // Each was at work, and a head that drips is cut off while its client goes on.
        for said in [&heads, &bodies, &readers, &ranges] {
            assert!(said.contains("Exit status"), "{said}");
        }
        assert!(heads.contains("No open connections left"), "{heads}");
    };
    let visits = async {
        loop {
            let begun = Instant::now();
            let answer = world.visit("/x").await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "web:GET:/x:"));
            let (took, beside) = (begun.elapsed(), world.gateway.stats().connections);
            assert!(took < LIMIT, "a visitor waited for {took:?} beside {beside} connections");
        }
    };
    tokio::select! {
        () = attacks => {}
        () = visits => {}
    }
}
