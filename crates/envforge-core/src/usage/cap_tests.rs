//! Caps under all uses of a month: what stops, what is told, and what lifts a stop.

use super::*;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn cap() -> impl Strategy<Value = Cap> {
    let mode = prop_oneof![Just(CapMode::None), Just(CapMode::Warn), Just(CapMode::Stop)];
    (mode, 0_u64..2_000, prop::option::of(0_u64..5_000_000), 1_u8..=100, 0_u32..30).prop_map(
        |(mode, minutes, micros, warn_at, grace_minutes)| Cap {
            mode,
            minutes: if micros.is_some() { 0 } else { minutes },
            micros,
            warn_at,
            grace_minutes,
        },
    )
}

fn used() -> impl Strategy<Value = Used> {
    (0_u64..200_000, 0_u64..8_000_000).prop_map(|(seconds, micros)| Used { seconds, micros })
}

// proves COST-3
#[test]
fn a_cap_of_an_older_client_is_read_and_one_of_minutes_is_written_as_they_know_it() {
    let read: Cap = serde_json::from_str(r#"{"mode":"stop","minutes":600}"#).expect("as older clients write it");
    assert_eq!(read, Cap { mode: CapMode::Stop, minutes: 600, ..Cap::default() });
    assert_eq!(serde_json::to_string(&read).expect("plain data"), r#"{"mode":"stop","minutes":600}"#);
    let all = Cap { mode: CapMode::Warn, minutes: 0, micros: Some(7), warn_at: 50, grace_minutes: 0 };
    let text = serde_json::to_string(&all).expect("plain data");
    assert_eq!(serde_json::from_str::<Cap>(&text).expect("as it was written"), all);
}

// proves COST-3
#[test]
fn what_can_not_be_meant_is_refused_with_its_place() {
    let stop = Cap { mode: CapMode::Stop, minutes: 600, ..Cap::default() };
    for (cap, code) in [
        (Cap { micros: Some(1), ..stop }, "cap.limit"),
        (Cap { minutes: MONTH_MINUTES + 1, ..stop }, "cap.minutes"),
        (Cap { minutes: 0, micros: Some(u64::MAX), ..stop }, "cap.micros"),
        (Cap { warn_at: 0, ..stop }, "cap.warn_at"),
        (Cap { warn_at: 101, ..stop }, "cap.warn_at"),
        (Cap { grace_minutes: GRACE_MINUTES_MAX + 1, ..stop }, "cap.grace"),
    ] {
        let refused = cap.check(Some(MONTH_MINUTES)).expect_err(code);
        assert_eq!((refused.code.as_str(), refused.hint.is_some()), (code, true));
    }
    assert_eq!(stop.check(Some(MONTH_MINUTES)), Ok(()));
    assert_eq!(Cap { minutes: MONTH_MINUTES + 1, ..stop }.check(None), Ok(()), "many workspaces together use more");
}

// proves COST-3
#[test]
fn an_override_is_for_a_stop_and_within_the_month() {
    let (now, end) = (at(1_000), at(5_000));
    let stop = Cap { mode: CapMode::Stop, minutes: 10, ..Cap::default() };
    let used = Used { seconds: 700, micros: 7_000 };
    let wish = Wish::default();
    assert_eq!(stop.lifted(wish, used, now, end), Ok(CapOverride { until: end, up_to: None }));
    let five = stop.lifted(Wish { minutes: Some(5), ..wish }, used, now, end).expect("it may");
    assert_eq!(five.up_to, Some(Limit::Seconds(1_000)), "from what was used, when that is past the cap");
    let early = stop.lifted(Wish { minutes: Some(5), ..wish }, Used::default(), now, end).expect("it may");
    assert_eq!(early.up_to, Some(Limit::Seconds(900)), "from the cap");
    let money = stop.lifted(Wish { micros: Some(5), ..wish }, used, now, end).expect("it may");
    assert_eq!(money.up_to, Some(Limit::Micros(7_005)));
    for (cap, wish, code) in [
        (Cap { mode: CapMode::Warn, ..stop }, wish, "cap.stops_nothing"),
        (stop, Wish { until: Some(now), ..wish }, "cap.until"),
        (stop, Wish { until: Some(at(5_001)), ..wish }, "cap.until"),
        (stop, Wish { minutes: Some(1), micros: Some(1), ..wish }, "cap.limit"),
        (stop, Wish { minutes: Some(0), ..wish }, "cap.limit"),
    ] {
        assert_eq!(cap.lifted(wish, used, now, end).expect_err(code).code, code);
    }
}

#[test]
fn money_is_read_exactly() {
    assert_eq!(parse_money("25.00"), Ok(25_000_000));
    assert_eq!(parse_money("25.5"), Ok(25_500_000));
    assert_eq!(parse_money("0.000001"), Ok(1));
    assert_eq!(parse_money("7"), Ok(7_000_000));
    for wrong in ["", ".", "1.", ".5", "-1", "1,50", "1.0000001", "1e3", "25 EUR", "9999999999999"] {
        assert!(parse_money(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    // proves COST-3
    #[test]
    fn it_stops_exactly_from_the_limit_on_and_only_a_stop_does(cap in cap(), used in used()) {
        let (limit, count) = match cap.limit() {
            Limit::Seconds(limit) => (limit, used.seconds),
            Limit::Micros(limit) => (limit, used.micros),
        };
        let stops = matches!(cap.posture(used), CapPosture::Stopped { .. });
        prop_assert_eq!(stops, cap.mode == CapMode::Stop && count >= limit);
        prop_assert_eq!(cap.posture(used) == CapPosture::None, cap.mode == CapMode::None);
        prop_assert_eq!(cap.steps(used).is_empty(), !cap.posture(used).is_news());
        prop_assert_eq!(cap.steps(used).contains(&CapStep::Reached), cap.mode != CapMode::None && count >= limit);
    }

    // proves COST-3
    #[test]
    fn more_use_never_gives_more_room(cap in cap(), less in used(), more in used()) {
        let sum = Used { seconds: less.seconds + more.seconds, micros: less.micros + more.micros };
        let rank = |posture| match posture {
            CapPosture::None => 0,
            CapPosture::Within { .. } => 1,
            CapPosture::Warning { .. } => 2,
            CapPosture::Stopped { .. } => 3,
        };
        prop_assert!(rank(cap.posture(less)) <= rank(cap.posture(sum)));
        prop_assert!(cap.steps(sum).starts_with(cap.steps(less)), "what was told stays told");
    }

    // proves COST-3
    #[test]
    fn an_override_lifts_a_stop_while_it_holds_and_nothing_else(
        cap in cap(), used in used(), now in 0_i64..100, until in 0_i64..100, up_to in prop::option::of(0_u64..200_000),
    ) {
        let lifted = CapOverride { until: at(until), up_to: up_to.map(Limit::Seconds) };
        let holds = now < until && up_to.is_none_or(|limit| used.seconds < limit);
        match (cap.posture(used), cap.posture_with(used, Some(lifted), at(now))) {
            (CapPosture::Stopped { percent }, told) if holds => prop_assert_eq!(told, CapPosture::Warning { percent }),
            (posture, told) => prop_assert_eq!(posture, told),
        }
    }

    // proves COST-3
    #[test]
    fn grace_is_for_jobs_and_never_longer_than_it_says(minutes in 0_u32..2_000, since in 0_i64..100_000, later in 0_i64..200_000) {
        prop_assert_eq!(grace(minutes, false, Some(at(since)), at(since + later)), Grace::NoJobs);
        let length = i64::from(minutes.min(GRACE_MINUTES_MAX)) * 60;
        let expected = if later < length { Grace::Until(at(since + length)) } else { Grace::Over };
        prop_assert_eq!(grace(minutes, true, Some(at(since)), at(since + later)), expected);
        let begins = if length == 0 { Grace::Over } else { Grace::Until(at(since + length)) };
        prop_assert_eq!(grace(minutes, true, None, at(since)), begins);
    }
}
