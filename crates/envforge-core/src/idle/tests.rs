//! The table of cases that people read, the forecast, limits, and replays of made-up weeks.

use super::*;
use crate::id::{Id as _, UsageSessionId, WindowId};
use crate::size::Size;
use crate::usage::AwakeWindow;
use proptest::prelude::*;
use std::collections::BTreeMap;
use uuid::Uuid;

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).expect("in range")
}

fn policy(freeze_after: u32) -> IdlePolicy {
    IdlePolicy { freeze_after, ..IdlePolicy::default() }
}

fn quiet(last_work: i64) -> IdleFacts {
    let minute = (at(0), Activity::default());
    IdleFacts { requests_in_flight: 0, jobs_running: 0, minute, last_work: at(last_work) }
}

/// What is seen of a runtime when this happens, named as in `docs/sleep.md`, and whether it keeps it awake.
fn cases() -> Vec<(&'static str, IdleFacts, bool)> {
    let nothing = Activity::default();
    let seen = |done: Activity| IdleFacts { minute: (at(600), done), ..quiet(0) };
    let job = |done: Activity| IdleFacts { jobs_running: 1, ..seen(done) };
    let request = |done: Activity| IdleFacts { requests_in_flight: 1, ..seen(done) };
    vec![
        ("a build with no connection", job(Activity { cpu: 55_000, disk: 1 << 30, ..nothing }), true),
        ("a build in a service, which nobody asked for", seen(Activity { cpu: 20_000, ..nothing }), true),
        ("a test run, also one that waits", job(nothing), true),
        ("an agent waiting for a person", seen(nothing), false),
        ("a request of a browser or an API client", request(nothing), true),
        ("a long poll of a program", request(nothing), true),
        // Two pings a minute, framed, and their answers; hot reload is as quiet.
        ("an open idle tab", seen(Activity { realtime: 4 * 11, network: 900, cpu: 20, ..nothing }), false),
        // Twelve polls a minute as the gateway tells them: not at all. Their answers take a little of a processor.
        (
            "a forgotten tab that polls, or connects its socket again",
            seen(Activity { cpu: 600, network: 60_000, ..nothing }),
            false,
        ),
        ("a socket on which something happens", seen(Activity { realtime: 40_000, ..nothing }), true),
        ("a background worker with work", seen(Activity { cpu: 30_000, disk: 1 << 20, ..nothing }), true),
        ("a background worker that copies", seen(Activity { cpu: 900, disk: 300 << 20, ..nothing }), true),
        ("a background worker that downloads", seen(Activity { cpu: 900, network: 80 << 20, ..nothing }), true),
        // Celery, as measured: 2.3 % of a core, in bursts of more.
        (
            "a background worker that looks for work",
            seen(Activity { cpu: 1_400, disk: 1 << 20, network: 200_000, ..nothing }),
            false,
        ),
        // A knock without a session reaches no service.
        ("a bot knocking", seen(nothing), false),
    ]
}

// proves RUN-4
#[test]
fn the_table_of_cases_holds() {
    for (what, facts, holds) in cases() {
        match decide(&facts, &policy(600), at(630)) {
            IdleVerdict::Busy { reason, holders, earliest } => {
                assert!(holds, "{what}: {reason}");
                assert!(!holders.is_empty() && !reason.is_empty(), "{what}");
                assert!(earliest.is_some_and(|at| at > self::at(630 + 600 - 1)), "{what}: {earliest:?}");
            }
            IdleVerdict::Sleep { reason } => {
                assert!(!holds, "{what}: {reason}");
                assert_eq!(reason, "idle for 630 s", "{what}");
                assert!(is_idle_sleep(&reason));
            }
            IdleVerdict::Idle { sleeps_at } => panic!("{what}: sleeps at {sleeps_at}"),
        }
    }
}

/// What people read is what is tested.
// proves RUN-4
#[test]
fn the_table_people_read_is_the_one_that_is_tested() {
    let page = include_str!("../../../../docs/sleep.md");
    let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| a")).collect();
    let row = |(what, _, holds): (&str, IdleFacts, bool)| format!("| {what} | {} |", if holds { "yes" } else { "no" });
    let cases: Vec<String> = cases().into_iter().map(row).collect();
    assert_eq!(table.len(), cases.len(), "{table:#?}");
    for (line, case) in table.iter().zip(cases) {
        assert!(line.starts_with(&case), "{line}\n{case}");
    }
}

// proves RUN-4, COST-6
#[test]
fn the_forecast_is_of_all_that_holds_it_ending_now() {
    let earliest = |facts: IdleFacts, now| match decide(&facts, &policy(250), at(now)) {
        IdleVerdict::Busy { earliest, .. } => earliest,
        other => panic!("{other:?}"),
    };
    let pytest = IdleFacts { jobs_running: 1, ..quiet(0) };
    assert_eq!(earliest(pytest, 630), Some(at(630 + 250)));
    // A minute with work counts to its end, whatever else ends before.
    let worked = IdleFacts { minute: (at(600), Activity { cpu: 9_000, ..Activity::default() }), ..quiet(0) };
    assert_eq!(earliest(worked, 630), Some(at(660 + 250)));
    assert_eq!(earliest(IdleFacts { requests_in_flight: 1, ..worked }, 630), Some(at(660 + 250)));
}

// proves COST-6
#[test]
fn jobs_are_named() {
    let facts = IdleFacts { jobs_running: 3, requests_in_flight: 1, ..quiet(0) };
    let say = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match decide(&facts, &policy(60), at(1)).with_jobs(&names) {
            IdleVerdict::Busy { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(say(&[]), "3 jobs running, 1 request in flight");
    assert_eq!(say(&["pytest -q", "make"]), "pytest -q, make, 1 job more running, 1 request in flight");
    assert_eq!(say(&["a", "b", "c"]), "a, b, c running, 1 request in flight");
    let idle = decide(&quiet(0), &policy(60), at(1));
    assert_eq!(idle.clone().with_jobs(&["make".to_owned()]), idle);
}

// proves RUN-4
#[test]
fn the_shortest_of_what_is_said_counts() {
    let said = IdleLimits { manifest: 600, project: None, org: None, quiet: None };
    assert_eq!(said.shortest(), (600, IdleSource::Manifest));
    assert_eq!(IdleLimits { org: Some(600), ..said }.shortest(), (600, IdleSource::Manifest), "the nearest of equals");
    assert_eq!(IdleLimits { org: Some(900), project: Some(300), ..said }.shortest(), (300, IdleSource::Project));
    assert_eq!(IdleLimits { org: Some(200), project: Some(300), ..said }.shortest(), (200, IdleSource::Org));
    assert_eq!(IdleLimits { org: Some(200), quiet: Some(120), ..said }.shortest(), (120, IdleSource::QuietHours));
    for (seconds, is_fine) in [(29, false), (30, true), (86_400, true), (86_401, false)] {
        assert_eq!(check_idle("idle_limit.seconds", seconds).is_ok(), is_fine, "{seconds}");
    }
}

// proves RUN-4, COST-6
#[test]
fn what_holds_is_told_in_words() {
    let busy = Activity { jobs: 2, requests: 1, realtime: 20_000, cpu: 12_345, disk: 1 << 30, network: 5 << 20 };
    let said: Vec<String> = busy.holders(&policy(600)).iter().map(Holder::say).collect();
    assert_eq!(
        said,
        [
            "2 jobs running",
            "1 request in flight",
            "19.5 KiB over realtime connections this minute",
            "services computed 12.3 s this minute",
            "services read and wrote 1.0 GiB this minute",
            "5.0 MiB over the network this minute",
        ]
    );
    let both = IdleFacts { requests_in_flight: 3, jobs_running: 1, ..quiet(0) };
    let IdleVerdict::Busy { reason, .. } = decide(&both, &policy(60), at(999)) else { panic!("two hold it") };
    assert_eq!(reason, "1 job running, 3 requests in flight");
}

// proves RUN-4
#[test]
fn silence_lets_it_sleep_to_the_second_after_the_last_work() {
    let facts = quiet(100);
    assert_eq!(decide(&facts, &policy(60), at(159)), IdleVerdict::Idle { sleeps_at: at(160) });
    assert_eq!(decide(&facts, &policy(60), at(160)), IdleVerdict::Sleep { reason: "idle for 60 s".to_owned() });
    // A minute that had work counts to its end, also when the next one was not seen yet.
    let worked = IdleFacts { minute: (at(120), Activity { cpu: 9_000, ..Activity::default() }), ..facts };
    assert!(matches!(decide(&worked, &policy(60), at(179)), IdleVerdict::Busy { .. }));
    assert_eq!(decide(&worked, &policy(60), at(180)), IdleVerdict::Idle { sleeps_at: at(240) });
    // Requests and jobs of the minute are not over and done with: when they ended is known to the second.
    let ended = Activity { requests: 9, jobs: 1, ..Activity::default() };
    let asked = IdleFacts { minute: (at(120), ended), ..facts };
    assert_eq!(decide(&asked, &policy(60), at(130)), IdleVerdict::Idle { sleeps_at: at(160) });
}

fn window(n: usize, from: i64, to: i64, cause: &str) -> AwakeWindow {
    AwakeWindow {
        window: WindowId::from_uuid(Uuid::from_u128(n as u128)),
        session: UsageSessionId::from_uuid(Uuid::nil()),
        opened_at: at(from),
        closed_at: Some(at(to)),
        size: Size::Small,
        wake_cause: String::new(),
        end_cause: Some(cause.to_owned()),
        unproven_seconds: 0,
    }
}

// proves COST-6
#[test]
fn a_shorter_policy_sleeps_earlier_and_wakes_for_what_comes() {
    let windows = [window(0, 0, 1_800, "idle for 600 s"), window(1, 7_200, 9_000, "asked by user:somebody")];
    let request = Activity { requests: 1, ..Activity::default() };
    let worker = Activity { cpu: 20_000, ..Activity::default() };
    let minutes: BTreeMap<_, _> =
        [(at(0), request), (at(1_140), request), (at(1_020), worker), (at(7_200), request)].into();
    let same = replay(&windows, &minutes, &policy(600), at(20_000));
    assert_eq!((same.was_awake, same.wakes_were), (3_600, 2));
    // 0 to 660; the worker's minute at 1,020 would have waited; 1,140 to 1,800; 7,200 to 7,860.
    assert_eq!((same.would_be_awake, same.wakes_would_be, same.minutes_put_off), (660 + 660 + 660, 3, 1));
    let short = replay(&windows, &minutes, &policy(60), at(20_000));
    assert_eq!((short.would_be_awake, short.wakes_would_be, short.minutes_put_off), (3 * 120, 3, 1));
    // A longer one: awake from the first request to the second window, which a person ended.
    let long = replay(&windows, &minutes, &policy(7_200), at(20_000));
    assert_eq!((long.would_be_awake, long.wakes_would_be, long.minutes_put_off), (9_000, 1, 0));
}

proptest! {
    /// Who sleeps later is awake at least as long, wakes at most as often and puts off no more.
    // proves COST-6
    #[test]
    fn patience_is_awake_longer_and_wakes_more_rarely(
        minutes in prop::collection::btree_map(0_i64..300, (0_u64..3, 0_u64..8_000), 0..60),
        cuts in prop::collection::btree_set(1_i64..300, 0..12),
        short in 1_u32..1_000,
        more in 0_u32..4_000,
    ) {
        let cuts: Vec<i64> = cuts.into_iter().map(|minute| minute * 60).collect();
        let windows: Vec<AwakeWindow> = cuts
            .chunks_exact(2)
            .enumerate()
            .map(|(n, cut)| window(n, cut[0], cut[1], if n % 3 == 2 { "asked" } else { "idle for 9 s" }))
            .collect();
        let minutes: BTreeMap<Timestamp, Activity> = minutes
            .into_iter()
            .map(|(minute, (requests, cpu))| (at(minute * 60), Activity { cpu, requests, ..Activity::default() }))
            .collect();
        let one = replay(&windows, &minutes, &policy(short), at(20_000));
        let other = replay(&windows, &minutes, &policy(short + more), at(20_000));
        prop_assert_eq!((one.was_awake, one.wakes_were), (other.was_awake, other.wakes_were));
        prop_assert!(one.would_be_awake <= other.would_be_awake, "{:?} {:?}", one, other);
        prop_assert!(one.minutes_put_off >= other.minutes_put_off, "{:?} {:?}", one, other);
    }

    /// Seeing something twice or late makes nothing idler.
    // proves RUN-4
    #[test]
    fn more_seen_never_holds_less(cpu: u64, disk: u64, realtime: u64, jobs in 0_u32..3, again: u64) {
        let seen = Activity { cpu, disk, realtime, jobs, network: again, requests: 0 };
        let twice = seen.plus(&Activity { cpu: again, ..seen });
        prop_assert!(twice.holders(&policy(1)).len() >= seen.holders(&policy(1)).len());
    }

    /// No verdict is of an instant that is past, and none changes without time or facts.
    // proves RUN-4
    #[test]
    fn a_forecast_is_kept(last in 0_i64..5_000, wait in 1_u32..2_000, now in 0_i64..9_000) {
        let facts = quiet(last);
        match decide(&facts, &policy(wait), at(now)) {
            IdleVerdict::Idle { sleeps_at } => {
                prop_assert!(sleeps_at > at(now));
                let is_sleep = |verdict| matches!(verdict, IdleVerdict::Sleep { .. });
                prop_assert!(is_sleep(decide(&facts, &policy(wait), sleeps_at)));
                prop_assert!(!is_sleep(decide(&facts, &policy(wait), sleeps_at - SignedDuration::from_nanos(1))));
            }
            IdleVerdict::Sleep { .. } => prop_assert!(now - last >= i64::from(wait)),
            IdleVerdict::Busy { reason, .. } => prop_assert!(false, "{}", reason),
        }
    }
}
