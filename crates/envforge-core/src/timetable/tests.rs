//! Due times across zones and clock changes, quiet hours, and what a late server makes of them.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn entry(action: DueAction, text: &str) -> TimetableEntry {
    TimetableEntry::parse(action, text).expect("days and a time")
}

fn berlin(wakes: &[&str], sleeps: &[&str]) -> Week {
    let wakes = wakes.iter().map(|text| entry(DueAction::Wake, text));
    let entries = wakes.chain(sleeps.iter().map(|text| entry(DueAction::Sleep, text))).collect();
    Timetable { zone: "Europe/Berlin".to_owned(), entries }.check().expect("a timetable")
}

fn due(action: DueAction, text: &str) -> Due {
    Due { at: at(text), action }
}

fn facts(is_awake: bool, since: Timestamp, jobs_running: u32) -> DueFacts {
    let minute = (since, idle::Activity::default());
    let idle = IdleFacts { requests_in_flight: 0, jobs_running, minute, last_work: since };
    DueFacts { is_awake, since, idle, policy: IdlePolicy::default() }
}

// proves UP-9
#[test]
fn a_working_week_has_its_due_times_and_the_weekend_none() {
    let week = berlin(&["Mon-Fri 08:30"], &["Mon-Fri 19:00"]);
    // 2026-11-27 is a Friday, Berlin an hour ahead.
    assert_eq!(week.latest(at("2026-11-27T07:29:59Z")), Some(due(DueAction::Sleep, "2026-11-26T18:00:00Z")));
    assert_eq!(week.latest(at("2026-11-27T07:30:00Z")), Some(due(DueAction::Wake, "2026-11-27T07:30:00Z")));
    assert_eq!(week.next(at("2026-11-27T07:30:00Z")), Some(due(DueAction::Sleep, "2026-11-27T18:00:00Z")));
    assert_eq!(week.next(at("2026-11-27T18:00:00Z")), Some(due(DueAction::Wake, "2026-11-30T07:30:00Z")));
    assert_eq!(week.latest(at("2026-11-29T12:00:00Z")), Some(due(DueAction::Sleep, "2026-11-27T18:00:00Z")));
    // In summer two.
    assert_eq!(week.next(at("2026-07-01T00:00:00Z")), Some(due(DueAction::Wake, "2026-07-01T06:30:00Z")));
    // One day a week is still known nearly a week later.
    let weekly = berlin(&["Sun 12:00"], &[]);
    assert_eq!(weekly.latest(at("2026-11-29T10:59:59Z")), Some(due(DueAction::Wake, "2026-11-22T11:00:00Z")));
}

// proves UP-9
#[test]
fn a_time_left_out_is_due_later_and_one_that_comes_twice_once() {
    // On 2026-03-29 Berlin goes from 02:00 to 03:00, on 2026-10-25 from 03:00 back to 02:00; both are Sundays.
    let week = berlin(&["Sun 02:30"], &[]);
    assert_eq!(week.latest(at("2026-03-29T12:00:00Z")), Some(due(DueAction::Wake, "2026-03-29T01:30:00Z")));
    assert_eq!(week.latest(at("2026-10-25T01:45:00Z")), Some(due(DueAction::Wake, "2026-10-25T00:30:00Z")));
    assert_eq!(week.pending(at("2026-10-25T00:30:00Z"), at("2026-10-25T12:00:00Z")), None, "once");
    // A wake at 02:30 and a sleep at 03:30 are then due at once: the one written later counts.
    let both = berlin(&["Sun 02:30"], &["Sun 03:30"]);
    assert_eq!(both.latest(at("2026-03-29T12:00:00Z")), Some(due(DueAction::Sleep, "2026-03-29T01:30:00Z")));
    assert_eq!(both.next(at("2026-03-29T01:00:00Z")), Some(due(DueAction::Sleep, "2026-03-29T01:30:00Z")));
    // Samoa had no 30 December 2011, a Friday: it is due when the day after it is.
    let samoa = Timetable { zone: "Pacific/Apia".to_owned(), entries: vec![entry(DueAction::Wake, "Fri 08:30")] };
    let samoa = samoa.check().expect("a timetable");
    assert_eq!(samoa.latest(at("2012-01-01T00:00:00Z")), Some(due(DueAction::Wake, "2011-12-30T18:30:00Z")));
}

// proves UP-9
#[test]
fn a_wake_comes_in_time_or_not_and_a_sleep_ends_no_work() {
    let (wake, sleep) = (Due { at: at("2026-11-27T07:30:00Z"), action: DueAction::Wake }, DueAction::Sleep);
    let asleep = facts(false, wake.at, 0);
    assert_eq!(decide(wake, None, &asleep, wake.at + LATE_MAX), Step::Wake);
    let too_late = wake.at + LATE_MAX + SignedDuration::from_secs(1);
    assert_eq!(decide(wake, None, &asleep, too_late), Step::Skip(Skip::Late));
    let sleep = Due { action: sleep, ..wake };
    let before = wake.at - SignedDuration::from_hours(5);
    assert_eq!(decide(sleep, None, &facts(true, before, 0), too_late), Step::Sleep, "however late");
    let hold = Step::Hold { reason: "1 job running".to_owned() };
    assert_eq!(decide(sleep, None, &facts(true, before, 1), too_late), hold);
    assert_eq!(decide(sleep, None, &asleep, too_late), Step::Skip(Skip::Asleep));
    // Who woke it after the hour wants it.
    assert_eq!(decide(sleep, None, &facts(true, too_late, 0), too_late), Step::Skip(Skip::WokenSince));
}

fn quiet(days: &str, from: &str, to: &str) -> Quiet {
    let days = parse_days(days).expect("days");
    let (from, to) = (from.to_owned(), to.to_owned());
    let hours = QuietHours { zone: "Europe/Berlin".to_owned(), days, from, to, quiet_idle: 60 };
    hours.check().expect("quiet hours")
}

// proves UP-9
#[test]
fn no_schedule_wakes_in_quiet_hours() {
    let nights = quiet("Mon-Fri", "20:00", "07:00");
    // Friday's last into Saturday; Saturday and Sunday begin none.
    for (text, is_quiet) in [
        ("2026-11-27T18:59:59Z", false),
        ("2026-11-27T19:00:00Z", true),
        ("2026-11-28T05:59:59Z", true),
        ("2026-11-28T06:00:00Z", false),
        ("2026-11-28T20:00:00Z", false),
        ("2026-11-30T03:00:00Z", false),
    ] {
        assert_eq!(nights.covers(at(text)), is_quiet, "{text}");
    }
    let weekend = quiet("Sat,Sun", "00:00", "00:00");
    assert!(weekend.covers(at("2026-11-28T12:00:00Z")) && weekend.covers(at("2026-11-29T22:59:59Z")));
    assert!(!weekend.covers(at("2026-11-29T23:00:00Z")), "the same time again is a whole day");
    let asleep = facts(false, at("2026-11-01T00:00:00Z"), 0);
    let wake = |text| Due { at: at(text), action: DueAction::Wake };
    let (early, last) = (wake("2026-11-27T05:59:00Z"), at("2026-11-27T06:01:00Z"));
    assert_eq!(decide(early, Some(&nights), &asleep, last), Step::Skip(Skip::Quiet), "due in them, seen after");
    let late = wake("2026-11-27T18:59:00Z");
    assert_eq!(decide(late, Some(&nights), &asleep, at("2026-11-27T19:01:00Z")), Step::Skip(Skip::Quiet));
    assert_eq!(decide(late, Some(&nights), &asleep, late.at), Step::Wake);
}

// proves UP-9
#[test]
fn what_cant_be_meant_is_refused_by_name() {
    let code = |zone: &str, entries: Vec<TimetableEntry>| {
        Timetable { zone: zone.to_owned(), entries }.check().map(drop).map_err(|refusal| refusal.code)
    };
    let wake = |text| entry(DueAction::Wake, text);
    let refused = |code: &str| Err(code.to_owned());
    assert_eq!(code("europe/berlin", vec![wake("8:30")]), Ok(()));
    for zone in ["", "Berlin", "CET-1CEST", "../etc/passwd", "Europe/Berlin\0", &"x".repeat(65)] {
        assert_eq!(code(zone, vec![wake("8:30")]), refused("schedule.zone"), "{zone}");
    }
    assert_eq!(code("UTC", Vec::new()), refused("schedule.empty"));
    assert_eq!(code("UTC", vec![wake("8:30"); 17]), refused("schedule.too_many"));
    let days = BTreeSet::new();
    assert_eq!(code("UTC", vec![TimetableEntry { days, ..wake("8:30") }]), refused("schedule.day"));
    for at in ["8:30", "24:00", "08:60", "+8:30", "08:30:00", "noon", ""] {
        assert_eq!(code("UTC", vec![TimetableEntry { at: at.to_owned(), ..wake("8:30") }]), refused("schedule.time"));
    }
    let clash = vec![wake("Mon-Wed 08:30"), entry(DueAction::Sleep, "Wed,Fri 08:30")];
    assert_eq!(code("UTC", clash), refused("schedule.conflict"));
    assert_eq!(code("UTC", vec![wake("Mon 08:30"), entry(DueAction::Sleep, "Tue 08:30")]), Ok(()));
    let typed = |text| TimetableEntry::parse(DueAction::Wake, text).map(drop).map_err(|refusal| refusal.code);
    assert_eq!(typed("Mon-Fri"), refused("schedule.time"));
    assert_eq!(typed("Moon 08:30"), refused("schedule.day"));
    assert_eq!(typed("Mon-Fri, 08:30"), refused("schedule.day"));
}

proptest! {
    // proves UP-9
    #[test]
    fn days_are_said_as_they_are_read(bits in 1_u8..128) {
        let days: BTreeSet<Day> = Day::ALL.into_iter().filter(|day| bits >> *day as u8 & 1 == 1).collect();
        prop_assert_eq!(parse_days(&say_days(&days)).expect("days"), days);
    }

    // proves UP-9
    #[test]
    fn due_times_are_in_order_and_none_is_between(
        second in 0_i64..4_000_000_000,
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"]),
        entries in timetable(),
    ) {
        let week = Timetable { zone: zone.to_owned(), entries }.check().expect("a timetable");
        let now = Timestamp::from_second(second).expect("in range");
        let (latest, next) = (week.latest(now).expect("a week has one"), week.next(now).expect("a week has one"));
        prop_assert!(latest.at <= now && now < next.at);
        prop_assert!(next.at.duration_since(latest.at) <= SignedDuration::from_hours(9 * 24));
        prop_assert_eq!(week.latest(latest.at), Some(latest), "a due time is its own");
        prop_assert_eq!(week.latest(next.at), Some(next));
        prop_assert_eq!(week.latest(next.at - SignedDuration::from_secs(1)), Some(latest), "none is between");
    }

    // A server that looks when it can, and is silent for a while now and then.
    // proves UP-9
    #[test]
    fn each_due_time_is_acted_on_once_the_latest_alone_and_no_wake_is_old(
        start in 0_i64..4_000_000_000,
        entries in timetable(),
        looks in prop::collection::vec((1_i64..200_000, 0_u32..2), 1..60),
    ) {
        let week = Timetable { zone: "Europe/Berlin".to_owned(), entries }.check().expect("a timetable");
        let mut now = Timestamp::from_second(start).expect("in range");
        let (mut acted, mut is_awake, mut since) = (now, false, now);
        for (silence, jobs) in looks {
            now += SignedDuration::from_secs(silence);
            let Some(due) = week.pending(acted, now) else { continue };
            prop_assert!(due.at > acted && due.at <= now, "not again, and not before it is due");
            prop_assert_eq!(week.latest(now), Some(due), "what came between is past");
            let step = decide(due, None, &facts(is_awake, since, jobs), now);
            match &step {
                Step::Wake => {
                    prop_assert!(due.action == DueAction::Wake && now.duration_since(due.at) <= LATE_MAX);
                    (is_awake, since) = (true, if is_awake { since } else { now });
                }
                Step::Sleep => {
                    prop_assert!(due.action == DueAction::Sleep && is_awake && jobs == 0 && since <= due.at);
                    (is_awake, since) = (false, now);
                }
                Step::Hold { .. } => prop_assert!(due.action == DueAction::Sleep && is_awake && jobs > 0),
                Step::Skip(_) => {}
            }
            if !matches!(step, Step::Hold { .. }) {
                acted = due.at;
                prop_assert_eq!(week.pending(acted, now), None, "it is done with");
            }
        }
    }
}

fn timetable() -> impl Strategy<Value = Vec<TimetableEntry>> {
    // Minutes of a wake are even and those of a sleep odd, so that none clash.
    let entry = (0..2_u8, 1_u8..128, 0_u8..24, 0_u8..30).prop_map(|(sleeps, bits, hour, half)| TimetableEntry {
        action: if sleeps == 1 { DueAction::Sleep } else { DueAction::Wake },
        days: Day::ALL.into_iter().filter(|day| bits >> *day as u8 & 1 == 1).collect(),
        at: format!("{hour:02}:{:02}", half * 2 + sleeps),
    });
    prop::collection::vec(entry, 1..=ENTRIES_MAX)
}
