//! Many visitors at once while parts are killed: each gets the application, or is told to come back; never anything else.

use super::{Random, kill};
use crate::bench::world::World;
use anyhow::ensure;
use envforge_testkit::Browser;
use futures_util::future::join_all;
use reqwest::StatusCode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many ask at the same time; every fourth of them has no session.
const VISITORS: usize = 20;
/// How long they ask; an answer may be held a while longer.
const TIME: Duration = Duration::from_secs(10);
const KILLS: u64 = 4;
const VICTIMS: [&str; 4] = ["server", "gateway", "host", "postgres"];
const PATHS: [&str; 3] = ["/", "/api/notes", "/api/count"];

/// One crowd; what was killed meanwhile.
pub(super) async fn round(world: &World, random: &mut Random) -> anyhow::Result<Vec<(&'static str, i32)>> {
    let plan: Vec<_> = (0..KILLS).map(|_| (random.below(2_000), random.pick(&VICTIMS))).collect();
    let end = Instant::now() + TIME;
    let seen: RefCell<BTreeMap<(bool, StatusCode), u32>> = RefCell::default();
    let visits = (0..VISITORS).map(|number| {
        let is_stranger = number % 4 == 0;
        let (browser, seen) = (if is_stranger { stranger(world) } else { Ok(world.browser.clone()) }, &seen);
        async move {
            let browser = browser?;
            for path in PATHS.iter().cycle().skip(number) {
                if Instant::now() > end {
                    break;
                }
                // A gateway that was just killed gives no answer at all: then they come back.
                match browser.status(path).await {
                    Ok(status) => *seen.borrow_mut().entry((is_stranger, status)).or_default() += 1,
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
            anyhow::Ok(())
        }
    });
    let killing = async {
        let mut killed = Vec::new();
        for (pause, victim) in plan {
            sleep(Duration::from_millis(pause)).await;
            killed.extend(kill(world, victim).map(|pid| (victim, pid)));
        }
        killed
    };
    let (visited, killed) = tokio::join!(join_all(visits), killing);
    visited.into_iter().collect::<anyhow::Result<()>>()?;
    let seen = seen.into_inner();
    for (is_stranger, status) in seen.keys() {
        let is_let_in = status.is_success() || status.is_redirection();
        let is_expected = match *status {
            StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE => true,
            _ => is_let_in && !is_stranger,
        };
        ensure!(is_expected, "a crowd (stranger, status) was answered {seen:?}");
    }
    ensure!(seen.keys().any(|(_, status)| status.is_success()), "no visitor of a crowd was let in: {seen:?}");
    Ok(killed)
}

fn stranger(world: &World) -> anyhow::Result<Browser> {
    Browser::at(&format!("http://{}", world.browser.host()))
}
