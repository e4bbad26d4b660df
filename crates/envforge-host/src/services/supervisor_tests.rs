//! A service is never started twice, never given up without a reason, and never restarted without a pause.

use super::*;
use proptest::prelude::*;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).expect("in range")
}

fn crash() -> Event {
    Event::Exited { exit: Exit { code: Some(1), signal: None }, memory: None, lines: "boom".to_owned() }
}

fn started(policy: RestartPolicy) -> Supervisor {
    let mut supervisor = Supervisor::new(policy);
    assert_eq!(supervisor.handle(Event::InputsKnown, at(0)), Some(Effect::Start));
    supervisor
}

// proves RUN-8
#[test]
fn a_crash_is_followed_by_growing_pauses_and_five_in_a_minute_block() {
    let mut supervisor = started(RestartPolicy::OnFailure);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(supervisor.handle(crash(), at(now)), None);
        let until = supervisor.deadline().expect("a pause").as_millisecond();
        pauses.push(until - now);
        assert_eq!(supervisor.handle(Event::Tick, at(until - 1)), None);
        assert_eq!(supervisor.handle(Event::Tick, at(until)), Some(Effect::Start));
        now = until;
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
    assert_eq!(supervisor.restarts(), 4);
    supervisor.handle(crash(), at(now));
    let State::Blocked { code, cause, fix } = supervisor.state() else { panic!("{:?}", supervisor.state()) };
    assert_eq!(code, "service.crash_loop");
    assert!(cause.contains("exited with code 1") && cause.contains("boom") && !fix.is_empty(), "{cause}");
    assert_eq!(supervisor.handle(Event::Tick, at(now + 600_000)), None, "blocked stays blocked");
    supervisor.retry();
    assert_eq!(supervisor.handle(Event::InputsKnown, at(now)), Some(Effect::Start));
}

// proves RUN-8
#[test]
fn a_minute_of_health_forgives() {
    let mut supervisor = started(RestartPolicy::OnFailure);
    let mut now = 0;
    for _ in 0..20 {
        supervisor.handle(Event::Healthy, at(now));
        now += 60_000;
        supervisor.handle(crash(), at(now));
        assert_eq!(supervisor.deadline(), Some(at(now + 500)));
        now += 500;
        assert_eq!(supervisor.handle(Event::Tick, at(now)), Some(Effect::Start));
    }
}

// proves RUN-8
#[test]
fn a_command_that_is_not_there_blocks_at_once() {
    let mut supervisor = started(RestartPolicy::Always);
    let exit = Exit { code: Some(127), signal: None };
    supervisor.handle(Event::Exited { exit, memory: None, lines: "sh: nope: not found".to_owned() }, at(5));
    assert!(matches!(supervisor.state(), State::Blocked { code, .. } if code == "service.command_not_found"));
}

// proves RUN-2 RUN-8
#[test]
fn memory_that_ran_out_blocks_as_what_it_is_and_a_mere_kill_does_not() {
    let killed = Exit { code: None, signal: Some(9) };
    let short = || OutOfMemory { cause: "the runtime reached its limit".to_owned(), fix: "a larger size".to_owned() };
    let ended = |policy, memory: Option<OutOfMemory>, times| {
        let mut supervisor = started(policy);
        let mut now = 0;
        for _ in 0..times {
            supervisor.handle(Event::Exited { exit: killed, memory: memory.clone(), lines: String::new() }, at(now));
            if let Some(until) = supervisor.deadline() {
                now = until.as_millisecond();
                supervisor.handle(Event::Tick, at(now));
            }
        }
        supervisor.state
    };
    for (policy, times) in [(RestartPolicy::OnFailure, 5), (RestartPolicy::Always, 5), (RestartPolicy::Never, 1)] {
        let State::Blocked { code, cause, fix } = ended(policy, Some(short()), times) else { panic!("not blocked") };
        assert_eq!((code.as_str(), fix.as_str()), ("service.out_of_memory", "a larger size"));
        assert!(cause.contains("memory ran out: the runtime reached its limit"), "{cause}");
        let State::Blocked { code, cause, .. } = ended(policy, None, times) else { panic!("not blocked") };
        assert!(code != "service.out_of_memory" && !cause.contains("memory"), "{code}: {cause}");
    }
    // What ended well did not end for that.
    let mut supervisor = started(RestartPolicy::Never);
    let fine = Exit { code: Some(0), signal: None };
    supervisor.handle(Event::Exited { exit: fine, memory: Some(short()), lines: String::new() }, at(1));
    assert!(matches!(supervisor.state(), State::Ended { .. }));
}

#[test]
fn never_healthy_is_stopped_with_what_the_check_said() {
    let mut supervisor = started(RestartPolicy::OnFailure);
    supervisor.handle(Event::Unhealthy { detail: "GET / answered 500".to_owned(), sure: false }, at(10));
    assert_eq!(supervisor.handle(Event::Tick, at(119_999)), None);
    assert_eq!(supervisor.handle(Event::Tick, at(120_000)), Some(Effect::Stop));
    assert!(matches!(supervisor.state(), State::Blocked { cause, .. } if cause.contains("GET / answered 500")));
}

// proves RUN-8
#[test]
fn a_service_has_the_time_to_start_that_it_asks_for_and_is_told_how_to_ask() {
    let blocked = |start_timeout: Option<u32>| {
        let mut supervisor = Supervisor::of_service(RestartPolicy::OnFailure, start_timeout, true);
        supervisor.handle(Event::InputsKnown, at(0));
        let end = i64::from(start_timeout.unwrap_or(DEFAULT_START_TIMEOUT)) * 1_000;
        assert_eq!(supervisor.deadline(), Some(at(end)));
        assert_eq!(supervisor.handle(Event::Tick, at(end - 1)), None);
        assert_eq!(supervisor.handle(Event::Tick, at(end)), Some(Effect::Stop));
        let State::Blocked { code, cause, fix } = supervisor.state.clone() else { panic!("{:?}", supervisor.state) };
        assert_eq!(code, "service.never_healthy");
        // It has as much time at the next try.
        supervisor.retry();
        supervisor.handle(Event::InputsKnown, at(0));
        assert_eq!(supervisor.deadline(), Some(at(end)));
        (cause, fix)
    };
    let (cause, fix) = blocked(None);
    assert!(cause.starts_with("it did not become ready within 2m: "), "{cause}");
    assert!(fix.contains("if it needs longer, write `start_timeout: 10m`"), "{fix}");
    let (cause, fix) = blocked(Some(20 * 60));
    assert!(cause.contains(" within 20m: ") && fix.contains("`start_timeout: 40m`"), "{cause} {fix}");
    let (_, fix) = blocked(Some(START_TIMEOUT_MAX));
    assert!(!fix.contains("start_timeout"), "there is no more: {fix}");
    // One that was ready is restarted as soon as ever.
    let mut supervisor = Supervisor::of_service(RestartPolicy::OnFailure, Some(600), true);
    supervisor.handle(Event::InputsKnown, at(0));
    supervisor.handle(Event::Healthy, at(0));
    supervisor.handle(Event::Unhealthy { detail: "gone".to_owned(), sure: true }, at(0));
    assert_eq!(supervisor.deadline(), Some(at(120_000)));
}

#[test]
fn a_journal_of_before_there_was_a_choice_is_read() {
    let written = serde_json::to_value(started(RestartPolicy::OnFailure)).expect("serializes");
    let serde_json::Value::Object(mut fields) = written else { panic!("no object") };
    assert!(fields.remove("start_timeout").is_some() && fields.remove("serves").is_some());
    let read: Supervisor = serde_json::from_value(fields.into()).expect("reads");
    assert_eq!(read, started(RestartPolicy::OnFailure));
}

// proves RUN-8
#[test]
fn a_service_that_is_to_answer_and_ends_well_is_started_again_and_blocked_unless_it_is_to_end() {
    let fine = || Event::Exited { exit: Exit { code: Some(0), signal: None }, memory: None, lines: "bye".to_owned() };
    let mut supervisor = Supervisor::of_service(RestartPolicy::OnFailure, None, true);
    let mut now = 0;
    supervisor.handle(Event::InputsKnown, at(now));
    for _ in 0..4 {
        supervisor.handle(fine(), at(now));
        assert!(matches!(supervisor.state(), State::BackOff { .. }), "{:?}", supervisor.state());
        now = supervisor.deadline().expect("a pause").as_millisecond();
        assert_eq!(supervisor.handle(Event::Tick, at(now)), Some(Effect::Start));
    }
    supervisor.handle(fine(), at(now));
    let State::Blocked { code, cause, fix } = supervisor.state() else { panic!("{:?}", supervisor.state()) };
    assert_eq!(code, "service.crash_loop");
    let expected = "it ended by itself with code 0, and a service is expected to go on running; it failed 5 times";
    assert!(cause.starts_with(expected) && cause.ends_with("bye"), "{cause}");
    assert!(fix.contains("restart: never"), "{fix}");
    // One that is to end, and a worker nobody connects to.
    for (policy, serves) in [(RestartPolicy::Never, true), (RestartPolicy::OnFailure, false)] {
        let mut supervisor = Supervisor::of_service(policy, None, serves);
        supervisor.handle(Event::InputsKnown, at(0));
        supervisor.handle(fine(), at(1));
        assert!(matches!(supervisor.state(), State::Ended { .. }), "{:?}", supervisor.state());
    }
}

#[test]
fn time_in_the_freezer_does_not_count() {
    let mut supervisor = started(RestartPolicy::OnFailure);
    supervisor.shift(SignedDuration::from_hours(3));
    assert_eq!(supervisor.handle(Event::Tick, at(3 * 3_600_000 + 119_999)), None);
    assert_eq!(supervisor.handle(Event::Tick, at(3 * 3_600_000 + 120_000)), Some(Effect::Stop));
}

#[test]
fn one_missed_check_is_no_illness_and_a_long_one_is_a_restart() {
    let mut supervisor = started(RestartPolicy::OnFailure);
    supervisor.handle(Event::Healthy, at(0));
    let miss = || Event::Unhealthy { detail: "timed out".to_owned(), sure: false };
    supervisor.handle(miss(), at(1));
    supervisor.handle(miss(), at(2));
    assert!(matches!(supervisor.state(), State::Ready { misses: 2, .. }));
    supervisor.handle(miss(), at(3));
    assert!(matches!(supervisor.state(), State::Unwell { .. }));
    assert_eq!(supervisor.handle(Event::Tick, at(120_003)), Some(Effect::Stop));
    assert!(matches!(supervisor.state(), State::BackOff { .. }));
}

#[test]
fn policies_decide_what_follows_an_end() {
    let end = |policy, code| {
        let mut supervisor = started(policy);
        supervisor.handle(
            Event::Exited { exit: Exit { code: Some(code), signal: None }, memory: None, lines: String::new() },
            at(1),
        );
        supervisor.state
    };
    assert!(matches!(end(RestartPolicy::OnFailure, 0), State::Ended { .. }));
    assert!(matches!(end(RestartPolicy::Always, 0), State::BackOff { .. }));
    assert!(matches!(end(RestartPolicy::Never, 0), State::Ended { .. }));
    assert!(matches!(end(RestartPolicy::Never, 3), State::Blocked { .. }));
}

fn event() -> impl Strategy<Value = Event> {
    let exit = (prop::option::of(prop_oneof![Just(0), Just(1), Just(127)]), prop::option::of(1..16))
        .prop_map(|(code, signal)| Event::Exited { exit: Exit { code, signal }, memory: None, lines: String::new() });
    prop_oneof![
        2 => Just(Event::InputsKnown),
        2 => Just(Event::Healthy),
        2 => any::<bool>().prop_map(|sure| Event::Unhealthy { detail: "no".to_owned(), sure }),
        4 => exit,
        1 => Just(Event::NotStarted { cause: "no".to_owned() }),
        4 => Just(Event::Tick),
        1 => Just(Event::Stop),
    ]
}

fn policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![Just(RestartPolicy::OnFailure), Just(RestartPolicy::Always), Just(RestartPolicy::Never)]
}

proptest! {
    // proves RUN-8
    #[test]
    fn a_process_is_started_only_when_there_is_none(
        policy in policy(),
        start_timeout in prop::option::of(1..=START_TIMEOUT_MAX),
        serves in any::<bool>(),
        steps in prop::collection::vec((event(), 0_i64..40_000, prop::bool::weighted(0.05)), 0..200),
    ) {
        let mut supervisor = Supervisor::of_service(policy, start_timeout, serves);
        let (mut now, mut runs, mut starts) = (0, false, Vec::new());
        for (event, passed, retry) in steps {
            now += passed;
            if retry {
                supervisor.retry();
            }
            // An exit is told of a process that runs only; anything else may come at any time.
            let ended = matches!(event, Event::Exited { .. } | Event::NotStarted { .. });
            if ended && !runs {
                continue;
            }
            let effect = supervisor.handle(event, at(now));
            runs = runs && !ended;
            match effect {
                Some(Effect::Start) => {
                    prop_assert!(!runs, "a second process");
                    runs = true;
                    starts.push(now);
                }
                Some(Effect::Stop) => runs = false,
                None => {}
            }
            prop_assert_eq!(runs, supervisor.wants_process());
            if let State::Blocked { code, cause, fix } = supervisor.state() {
                prop_assert!(!code.is_empty() && !cause.is_empty() && !fix.is_empty());
            }
            if let State::BackOff { until, .. } = supervisor.state() {
                let pause = until.as_millisecond() - now;
                prop_assert!(pause <= 30_000, "{}", pause);
            }
            prop_assert_eq!(supervisor.deadline().is_none(), supervisor.is_settled() || supervisor.state == State::Waiting);
        }
        let json = serde_json::to_vec(&supervisor).expect("serializes");
        prop_assert_eq!(serde_json::from_slice::<Supervisor>(&json).expect("reads back"), supervisor);
    }

    // proves RUN-8
    #[test]
    fn a_service_that_always_crashes_is_given_up_within_a_minute(lifetimes in prop::collection::vec(0_i64..5_000, 5..6)) {
        let mut supervisor = started(RestartPolicy::OnFailure);
        let mut now = 0;
        for lifetime in lifetimes {
            now += lifetime;
            supervisor.handle(crash(), at(now));
            if let Some(until) = supervisor.deadline() {
                now = until.as_millisecond();
                supervisor.handle(Event::Tick, at(now));
            }
        }
        let given_up = matches!(supervisor.state(), State::Blocked { code, .. } if code == "service.crash_loop");
        prop_assert!(given_up, "{:?}", supervisor.state());
    }
}
