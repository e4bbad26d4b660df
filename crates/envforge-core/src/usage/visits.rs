//! What each visit through a link woke, folded from the ledger as receipts are.
//!
//! A window belongs to the visit whose wake was the last one asked for before it opened. When a member wants awake what a
//! visitor woke, the rest of the window is the member's, as it is for the link's minutes.

use super::{AwakeWindow, PriceList, WindowFact, fold};
use crate::id::{LinkSessionId, WindowId};
use crate::size::Size;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A ledger event about wakes and windows of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeFact {
    /// A wake was asked for: by a visit, or by anybody else.
    Asked(Option<LinkSessionId>),
    /// A member wants awake what is awake.
    TakenOver(Timestamp),
    /// A window opened or closed.
    Window(WindowFact),
}

/// An awake window, as far as it is a visit's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WokenWindow {
    /// The window.
    pub window: WindowId,
    /// When it opened.
    #[schema(value_type = String)]
    pub opened_at: Timestamp,
    /// When it closed, or a member took it over; absent while it is open.
    #[schema(value_type = Option<String>)]
    pub closed_at: Option<Timestamp>,
    /// The size billed.
    pub size: Size,
    /// Metered seconds.
    pub awake_seconds: u64,
    /// Their cost in micro-units of the currency.
    pub cost_micros: u64,
}

/// The windows of each visit, oldest first, from facts in the order of the ledger.
pub fn woken_by_visits(
    facts: &[WakeFact],
    prices: &PriceList,
    now: Timestamp,
) -> BTreeMap<LinkSessionId, Vec<WokenWindow>> {
    let (mut waker, mut last) = (None, None);
    let mut of: BTreeMap<WindowId, LinkSessionId> = BTreeMap::new();
    let mut taken: BTreeMap<WindowId, Timestamp> = BTreeMap::new();
    let mut of_windows = Vec::new();
    for fact in facts {
        match fact {
            WakeFact::Asked(by) => waker = *by,
            WakeFact::TakenOver(at) => {
                waker = None;
                if let Some(window) = last {
                    taken.entry(window).or_insert(*at);
                }
            }
            WakeFact::Window(fact) => {
                if let WindowFact::Opened { window, .. } = fact {
                    last = Some(*window);
                    if let Some(session) = waker {
                        of.entry(*window).or_insert(session);
                    }
                }
                of_windows.push(fact.clone());
            }
        }
    }
    let mut woken: BTreeMap<LinkSessionId, Vec<WokenWindow>> = BTreeMap::new();
    for window in fold(&of_windows) {
        let Some(session) = of.get(&window.window) else { continue };
        let closed_at = window.closed_at.into_iter().chain(taken.get(&window.window).copied()).min();
        let part = AwakeWindow { closed_at, ..window };
        let awake_seconds = part.seconds(now);
        woken.entry(*session).or_default().push(WokenWindow {
            window: part.window,
            opened_at: part.opened_at,
            closed_at,
            size: part.size,
            awake_seconds,
            cost_micros: prices.cost(part.size, part.opened_at, closed_at.unwrap_or(now)),
        });
    }
    woken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Id as _, UsageSessionId};
    use crate::usage::Prices;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn visit(n: u128) -> LinkSessionId {
        LinkSessionId::from_uuid(Uuid::from_u128(n))
    }

    fn opened(n: u128, second: i64) -> WakeFact {
        WakeFact::Window(WindowFact::Opened {
            window: WindowId::from_uuid(Uuid::from_u128(n)),
            session: UsageSessionId::from_uuid(Uuid::nil()),
            at: at(second),
            size: Size::Small,
            cause: String::new(),
        })
    }

    fn closed(n: u128, second: i64) -> WakeFact {
        let window = WindowId::from_uuid(Uuid::from_u128(n));
        WakeFact::Window(WindowFact::Closed { window, at: at(second), cause: String::new(), unproven_seconds: 0 })
    }

    fn seconds(facts: &[WakeFact], now: i64) -> Vec<(u128, Vec<u64>)> {
        let prices = PriceList::only(Prices { small: 3_600, ..Prices::default() });
        let woken = woken_by_visits(facts, &prices, at(now));
        let of = |windows: Vec<WokenWindow>| {
            assert!(windows.iter().all(|window| window.cost_micros == window.awake_seconds));
            windows.into_iter().map(|window| window.awake_seconds).collect()
        };
        woken.into_iter().map(|(session, windows)| (session.uuid().as_u128(), of(windows))).collect()
    }

    // proves LINK-8
    #[test]
    fn a_window_is_the_visits_that_asked_for_it() {
        let asked = |n| WakeFact::Asked(Some(visit(n)));
        let member = WakeFact::Asked(None);
        let facts = [
            asked(1),
            opened(1, 10),
            closed(1, 40),
            asked(2),
            opened(2, 50),
            closed(2, 60),
            asked(1),
            opened(3, 70),
            closed(3, 71),
            member,
            opened(4, 80),
            closed(4, 99),
            asked(2),
            opened(5, 100),
        ];
        assert_eq!(seconds(&facts, 130), [(1, vec![30, 1]), (2, vec![10, 30])]);
    }

    // proves LINK-8
    #[test]
    fn what_a_member_takes_over_is_the_visits_no_longer() {
        let facts = [
            WakeFact::Asked(Some(visit(1))),
            opened(1, 10),
            WakeFact::TakenOver(at(25)),
            WakeFact::TakenOver(at(30)),
            closed(1, 40),
            opened(2, 50),
            closed(2, 60),
        ];
        assert_eq!(seconds(&facts, 100), [(1, vec![15])]);
        let early = [WakeFact::Asked(Some(visit(1))), WakeFact::TakenOver(at(5)), opened(1, 10), closed(1, 20)];
        assert_eq!(seconds(&early, 100), []);
    }

    proptest! {
        /// Visits never have more than was metered, and no window is two visits'.
        // proves LINK-8
        #[test]
        fn visits_share_what_was_metered(steps in prop::collection::vec((0_u8..5, 0_u128..4), 0..60)) {
            let (mut facts, mut window) = (Vec::new(), 0);
            for (second, (kind, n)) in (0..).zip(steps) {
                match kind {
                    0 => facts.push(WakeFact::Asked((n > 0).then(|| visit(n)))),
                    1 => facts.push(WakeFact::TakenOver(at(second))),
                    2 | 3 => {
                        window += 1;
                        facts.push(opened(window, second));
                    }
                    _ => facts.push(closed(window, second)),
                }
            }
            let windows = fold(&facts.iter().filter_map(|fact| match fact {
                WakeFact::Window(fact) => Some(fact.clone()),
                _ => None,
            }).collect::<Vec<_>>());
            let metered: BTreeMap<_, _> = windows.iter().map(|one| (one.window, one.seconds(at(100)))).collect();
            let mut seen = std::collections::BTreeSet::new();
            for one in woken_by_visits(&facts, &PriceList::only(Prices::default()), at(100)).into_values().flatten() {
                prop_assert!(seen.insert(one.window));
                prop_assert!(one.awake_seconds <= metered[&one.window]);
            }
        }
    }
}
