//! The meter under duplicates, reordering and clocks that jump.

use super::*;
use crate::id::Id as _;
use proptest::prelude::*;
use uuid::Uuid;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn window(n: u128) -> WindowId {
    WindowId::from_uuid(Uuid::from_u128(n))
}

fn opened(n: u128, second: i64) -> WindowFact {
    WindowFact::Opened {
        window: window(n),
        session: UsageSessionId::from_uuid(Uuid::from_u128(1)),
        at: at(second),
        size: Size::Small,
        cause: "cli".to_owned(),
    }
}

fn closed(n: u128, second: i64) -> WindowFact {
    WindowFact::Closed { window: window(n), at: at(second), cause: "frozen".to_owned(), unproven_seconds: 0 }
}

// proves COST-1
#[test]
fn frozen_time_between_windows_costs_nothing() {
    let windows = fold(&[opened(1, 0), closed(1, 60), opened(2, 1_000), closed(2, 1_030)]);
    let prices = PriceList::only(Prices { small: 3_600_000, ..Prices::default() });
    let receipts = receipts(&windows, None, &prices, at(9_999));
    assert_eq!((receipts[0].awake_seconds, receipts[0].cost_micros, receipts[0].is_final), (90, 90_000, true));
    assert_eq!(format_money(receipts[0].cost_micros, "USD"), "0.0900 USD");
}

// proves COST-1
#[test]
fn a_window_that_opens_as_one_without_length_ends_keeps_its_own() {
    for (none, long) in [(1, 2), (2, 1)] {
        let windows = fold(&[opened(none, 5), closed(none, 5), opened(long, 5), closed(long, 65)]);
        let seconds: Vec<u64> = windows.iter().map(|window| window.seconds(at(100))).collect();
        assert_eq!(seconds, [0, 60]);
    }
}

// proves COST-3
#[test]
fn a_stop_cap_stops_at_a_hundred_percent() {
    let cap = Cap { mode: CapMode::Stop, minutes: 10, ..Cap::default() };
    let posture = |cap: Cap, seconds| cap.posture(Used { seconds, micros: 0 });
    assert_eq!(posture(cap, 0), CapPosture::Within { percent: 0 });
    assert_eq!(posture(cap, 480), CapPosture::Warning { percent: 80 });
    assert_eq!(posture(cap, 600), CapPosture::Stopped { percent: 100 });
    assert_eq!(posture(Cap::default(), 9_999), CapPosture::None);
}

fn facts() -> impl Strategy<Value = Vec<WindowFact>> {
    prop::collection::vec((1_u128..8, 0_i64..1_000, any::<bool>()), 0..40).prop_map(|steps| {
        steps.into_iter().map(|(n, t, open)| if open { opened(n, t) } else { closed(n, t) }).collect()
    })
}

proptest! {
    // proves COST-4
    #[test]
    fn windows_never_overlap_and_are_never_negative(facts in facts()) {
        let windows = fold(&facts);
        for pair in windows.windows(2) {
            let end = pair[0].closed_at.expect("only the last window may be open");
            prop_assert!(end <= pair[1].opened_at);
            prop_assert!(pair[0].opened_at <= end);
        }
        let total: u64 = windows.iter().map(|w| w.seconds(at(1_000))).sum();
        prop_assert!(total <= 1_000, "more seconds than passed");
    }

    #[test]
    fn duplicates_change_nothing(facts in facts()) {
        let doubled: Vec<_> = facts.iter().flat_map(|fact| [fact.clone(), fact.clone()]).collect();
        prop_assert_eq!(fold(&facts), fold(&doubled));
    }
}
