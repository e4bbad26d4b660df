//! `envforge why`: why a runtime is awake or asleep, and what another idle rule would have made of past weeks.

use crate::args::Why;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::printer::printable;
use crate::render::{self, duration};
use envforge_api::http::activity::{self, Replayed};
use envforge_core::idle::IdleSource;
use envforge_core::refusal::Refusal;
use envforge_core::runtime::RuntimeState;
use std::fmt::Write as _;

/// Says it. Looking wakes nothing, and is no work.
pub(crate) async fn why(ctx: &mut Context<'_>, why: Why) -> Result<ExitCode, Refusal> {
    let slug = ctx.workspace(why.name.as_deref())?;
    if let Some(seconds) = why.if_idle {
        let days = why.days.map(|days| format!("&days={days}")).unwrap_or_default();
        let path = ctx.workspace_path(&slug, &format!("/why/replay?freeze_after={seconds}{days}")).await?;
        let replayed: Replayed = ctx.get(&path).await?;
        ctx.printer.answer(&replayed, || replay(&replayed));
        return Ok(ExitCode::Ok);
    }
    let path = ctx.workspace_path(&slug, "/why").await?;
    let answer: activity::Why = ctx.get(&path).await?;
    ctx.printer.answer(&answer, || text(slug.as_str(), &answer));
    Ok(ExitCode::Ok)
}

fn text(name: &str, why: &activity::Why) -> String {
    let since = u64::try_from(why.now.duration_since(why.since).as_secs()).unwrap_or(0);
    let cause = why.cause.as_deref().map(printable);
    let mut text = match why.state {
        RuntimeState::Awake => format!("{name} is awake since {}", duration(since)),
        RuntimeState::Waking => format!("{name} is waking since {}", duration(since)),
        RuntimeState::Frozen => format!("{name} is asleep since {}, paused", duration(since)),
        RuntimeState::Asleep => format!("{name} is asleep since {}, stopped", duration(since)),
        RuntimeState::Stopping => format!("{name} is falling asleep"),
        RuntimeState::Blocked => format!("{name} is blocked since {}; `envforge status` says by what", duration(since)),
    };
    text.push('\n');
    let is_awake = matches!(why.state, RuntimeState::Awake | RuntimeState::Waking);
    match cause {
        Some(cause) if is_awake => drop(writeln!(text, "  woken by     {cause}")),
        Some(cause) => drop(writeln!(text, "  because      {cause}")),
        None if is_awake => {}
        None => text.push_str("  because      nobody woke it yet\n"),
    }
    if let Some(verdict) = &why.idle {
        let _ = writeln!(text, "  now          {}", render::idle(verdict, why.now));
    }
    if let Some(at) = why.last_work {
        let ago = u64::try_from(why.now.duration_since(at).as_secs()).unwrap_or(0);
        let _ = writeln!(text, "  last work    {} ago", duration(ago));
    }
    let policy = &why.policy;
    let _ = write!(
        text,
        "  the rule     asleep after {} without work, {}; stopped {} later; services do nothing up to {}.{} s of a processor a minute",
        duration(policy.freeze_after.into()),
        rule_of(why.rule_of),
        duration(policy.stop_after.into()),
        policy.cpu / 1_000,
        policy.cpu % 1_000 / 100
    );
    text
}

fn rule_of(source: IdleSource) -> &'static str {
    match source {
        IdleSource::Manifest => "by envforge.yml",
        IdleSource::Project => "by the project's limit",
        IdleSource::Org => "by the organization's limit",
        IdleSource::QuietHours => "in quiet hours",
    }
}

fn replay(replayed: &Replayed) -> String {
    let told = &replayed.replay;
    let after = duration(replayed.policy.freeze_after.into());
    let mut text = format!(
        "had it slept after {after} without work:\n  awake        {}, instead of {}\n  wakes        {}, instead of {}",
        duration(told.would_be_awake),
        duration(told.was_awake),
        told.wakes_would_be,
        told.wakes_were
    );
    if told.minutes_put_off > 0 {
        let _ = write!(
            text,
            "\n  put off      {} min of work of services that nobody asked for: it wakes nothing",
            told.minutes_put_off
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use envforge_core::idle::{Holder, IdlePolicy, IdleVerdict, Replay};
    use jiff::Timestamp;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn answer(state: RuntimeState) -> activity::Why {
        activity::Why {
            state,
            since: at(0),
            cause: Some("link visit to /".to_owned()),
            idle: None,
            last_work: None,
            policy: IdlePolicy::default(),
            rule_of: IdleSource::Manifest,
            now: at(3_725),
        }
    }

    // proves COST-6
    #[test]
    fn what_holds_it_is_named() {
        let held = IdleVerdict::Busy {
            reason: "1 job running".to_owned(),
            holders: vec![Holder::Jobs { running: 1, names: Vec::new() }],
            earliest: Some(at(3_975)),
        };
        let awake = activity::Why {
            idle: Some(held.with_jobs(&["pytest -q".to_owned()])),
            last_work: Some(at(3_720)),
            ..answer(RuntimeState::Awake)
        };
        expect_test::expect![[r"
            main is awake since 1 h 2 min
              woken by     link visit to /
              now          sleeps in 4 min 10 s at the earliest; it is held by pytest -q running
              last work    5 s ago
              the rule     asleep after 10 min without work, by envforge.yml; stopped 30 min later; services do nothing up to 3.0 s of a processor a minute"]]
        .assert_eq(&text("main", &awake));
        let asleep = activity::Why { cause: Some("idle for 600 s".to_owned()), ..answer(RuntimeState::Frozen) };
        assert!(
            text("main", &asleep)
                .starts_with("main is asleep since 1 h 2 min, paused\n  because      idle for 600 s\n")
        );
        let never = activity::Why { cause: None, ..answer(RuntimeState::Asleep) };
        assert!(text("main", &never).contains("  because      nobody woke it yet\n"));
    }

    // proves COST-6
    #[test]
    fn another_rule_is_told_beside_what_was() {
        let replay =
            Replay { was_awake: 7_200, would_be_awake: 3_600, wakes_were: 2, wakes_would_be: 5, minutes_put_off: 3 };
        let policy = IdlePolicy { freeze_after: 300, ..IdlePolicy::default() };
        expect_test::expect![[r"
            had it slept after 5 min without work:
              awake        1 h, instead of 2 h
              wakes        5, instead of 2
              put off      3 min of work of services that nobody asked for: it wakes nothing"]]
        .assert_eq(&super::replay(&Replayed { from: at(0), policy, replay }));
    }
}
