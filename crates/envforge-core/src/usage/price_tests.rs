//! Money: exact decimals, parts that add up, and the bill's cases.

use super::*;
use crate::usage::AwakeWindow;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(milli: i64) -> Timestamp {
    Timestamp::from_millisecond(milli).expect("in range")
}

fn priced(small: u64) -> Prices {
    Prices { currency: "EUR".to_owned(), small, medium: 2 * small, large: 4 * small, ..Prices::default() }
}

fn version(version: u64, milli: i64, small: u64) -> PriceVersion {
    PriceVersion { version, holds_from: Some(at(milli)), prices: priced(small) }
}

// proves COST-5
#[test]
fn amounts_are_read_and_printed_exactly() {
    for (text, micros) in [
        ("0.0125", 12_500),
        ("3", 3_000_000),
        ("0.000001", 1),
        ("1000000000", AMOUNT_MAX),
        ("0", 0),
        ("10.10", 10_100_000),
    ] {
        assert_eq!(parse_amount(text), Some(micros), "{text}");
    }
    assert_eq!([amount(12_500), amount(3_000_000), amount(1), amount(0)].join(" "), "0.0125 3 0.000001 0");
    for wrong in
        ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "1,5", "1000000000.000001", "99999999999", " 1", "١"]
    {
        assert_eq!(parse_amount(wrong), None, "{wrong}");
    }
}

// proves COST-5
#[test]
fn people_see_the_digits_of_the_currency() {
    let shown =
        |currency| format!("{} {}", format_bill(1_234_565_000, currency), format_money(1_234_565_000, currency));
    assert_eq!(shown("USD"), "1234.57 USD 1234.5650 USD");
    assert_eq!(shown("JPY"), "1235 JPY 1234.57 JPY");
    assert_eq!(shown("KWD"), "1234.565 KWD 1234.56500 KWD");
    assert_eq!(shown("CLF"), "1234.5650 CLF 1234.565000 CLF");
    assert_eq!((minor_digits("EURO"), minor_digits("eur"), minor_digits("")), (None, None, None));
    assert_eq!(format_bill(u64::MAX, "JPY"), "18446744073710 JPY");
}

// proves COST-5
#[test]
fn what_spans_a_change_is_priced_by_its_parts() {
    let prices = PriceList::new(priced(3_600_000), [version(1, 60_000, 7_200_000), version(2, 90_000, 0)]);
    let parts = prices.parts(Size::Small, at(500), at(100_400));
    let seconds: Vec<_> = parts.iter().map(|part| (part.price_version, part.seconds)).collect();
    assert_eq!(seconds, [(0, 59), (1, 30), (2, 10)], "99.9 seconds are 99");
    assert_eq!(cost(&parts), 59_000 + 60_000);
    assert_eq!(prices.cost(Size::Large, at(60_000), at(61_000)), 8_000);
    assert_eq!(prices.parts(Size::Small, at(5), at(3)), []);
}

// proves COST-5
#[test]
fn a_newer_version_takes_the_place_of_what_would_have_held_later() {
    let prices = PriceList::new(priced(1), [version(1, 500, 2), version(2, 300, 3), version(3, 900, 4)]);
    let held: Vec<_> = [0, 299, 300, 600, 900].map(|milli| prices.at(at(milli)).version).into();
    assert_eq!(held, [0, 0, 2, 2, 3]);
    assert_eq!(prices.changes(), [at(300), at(900)]);
}

// proves COST-5
#[test]
fn sums_are_of_one_currency() {
    let free = PriceList::new(Prices::default(), [version(1, 5, 7)]);
    assert_eq!((free.other_currency("EUR"), free.other_currency("USD")), (None, Some("EUR")));
}

// proves COST-5
#[test]
fn a_month_costs_what_was_used_less_the_credit_and_at_least_the_minimum() {
    let month: Month = "2026-11".parse().expect("a month");
    //   used, credit, minimum → credit taken, total
    for (used, credit, minimum, taken, total) in [
        (0, 0, 0, 0, 0),
        (0, 0, 9, 0, 9),
        (0, 5, 0, 0, 0),
        (0, 5, 9, 0, 9),
        (3, 5, 0, 3, 0),
        (5, 5, 0, 5, 0),
        (6, 5, 0, 5, 1),
        (6, 5, 9, 5, 9),
        (14, 5, 9, 5, 9),
        (15, 5, 9, 5, 10),
        (15, 0, 9, 0, 15),
        (u64::MAX, 0, u64::MAX, 0, u64::MAX),
    ] {
        let prices = Prices { included_credit: credit, month_minimum: minimum, ..priced(1) };
        let bill = PriceList::only(prices).bill(month, used);
        assert_eq!((bill.credit_micros, bill.total_micros), (taken, total), "{used} {credit} {minimum}");
    }
    let later = PriceVersion {
        version: 1,
        holds_from: Some(month.start() + SignedDuration::from_hours(1)),
        prices: Prices { month_minimum: 9, ..priced(1) },
    };
    let changed = PriceList::new(priced(1), [later]);
    let totals = [month, month.next()].map(|month| changed.bill(month, 1).total_micros);
    assert_eq!(totals, [1, 9], "terms of a month are those of its beginning");
    assert_eq!((changed.of_whole(month), changed.of_whole(month.next()).map(|held| held.version)), (None, Some(1)));
}

fn list() -> impl Strategy<Value = PriceList> {
    prop::collection::vec((0_i64..100_000, 0_u64..50_000_000), 0..6).prop_map(|made| {
        let made = (1..).zip(made).map(|(number, (milli, small))| version(number, milli, small));
        PriceList::new(priced(7_000_000), made)
    })
}

proptest! {
    // proves COST-5
    #[test]
    fn an_amount_survives_its_text(micros in 0_u64..=AMOUNT_MAX) {
        prop_assert_eq!(parse_amount(&amount(micros)), Some(micros));
    }

    /// Every second has one price, whichever way the changes cut a time.
    // proves COST-5
    #[test]
    fn parts_add_up_and_each_is_at_the_price_of_its_time(prices in list(), from in 0_i64..100_000, length in 0_i64..100_000) {
        let (opened, closed) = (at(from), at(from + length));
        let parts = prices.parts(Size::Medium, opened, closed);
        prop_assert_eq!(parts.iter().map(|part| part.seconds).sum::<u64>(), length as u64 / 1_000);
        let mut model: Vec<(u64, u64)> = Vec::new();
        for second in 0..length / 1_000 {
            // A second belongs to the version in force as it ends.
            let held = prices.at(at(from + second * 1_000 + 999)).version;
            match model.last_mut() {
                Some((version, seconds)) if *version == held => *seconds += 1,
                _ => model.push((held, 1)),
            }
        }
        let told: Vec<_> = parts.iter().map(|part| (part.price_version, part.seconds)).collect();
        prop_assert_eq!(told, model);
    }

    /// Rounding once over all parts is never further from the exact sum than half a micro-unit.
    // proves COST-5
    #[test]
    fn a_cost_is_the_exact_sum_rounded_once(prices in list(), from in 0_i64..100_000, length in 0_i64..100_000) {
        let parts = prices.parts(Size::Small, at(from), at(from + length));
        let exact: u128 = parts.iter().map(|part| u128::from(part.per_hour_micros) * u128::from(part.seconds)).sum();
        let told = u128::from(cost(&parts)) * 3_600;
        prop_assert!(told <= exact + 1_800 && exact < told + 1_800, "{exact} {told}");
    }

    /// A month's sum is exact however its windows lie: per version and size, seconds are added before anything is rounded.
    // proves COST-5
    #[test]
    fn a_month_is_the_sum_of_its_windows_parts(prices in list(), windows in prop::collection::vec((0_i64..50_000, 0_i64..50_000), 0..6)) {
        let mut spent: BTreeMap<u64, SizeSeconds> = BTreeMap::new();
        let mut exact = 0_u128;
        for (from, length) in windows {
            for part in prices.parts(Size::Small, at(from), at(from + length)) {
                spent.entry(part.price_version).or_default().add(Size::Small, part.seconds);
                exact += u128::from(part.per_hour_micros) * u128::from(part.seconds);
            }
        }
        let spent: SpentSeconds = spent.into_iter().collect();
        prop_assert_eq!(u128::from(prices.cost_of(&spent)), (exact + 1_800) / 3_600);
    }
}

#[test]
fn a_window_and_its_parts_have_the_same_seconds() {
    let window = AwakeWindow {
        window: crate::id::Id::from_uuid(uuid::Uuid::nil()),
        session: crate::id::Id::from_uuid(uuid::Uuid::nil()),
        opened_at: at(900),
        closed_at: Some(at(10_100)),
        size: Size::Small,
        wake_cause: String::new(),
        end_cause: None,
        unproven_seconds: 0,
    };
    let parts = PriceList::new(priced(1), [version(1, 5_000, 2)]).parts(window.size, at(900), at(10_100));
    assert_eq!(window.seconds(at(0)), parts.iter().map(|part| part.seconds).sum::<u64>());
}
