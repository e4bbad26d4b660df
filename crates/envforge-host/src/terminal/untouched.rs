//! Whether anything in a shell is anybody's.

use super::list::{answer, ask};
use crate::ctx::HostContext;
use crate::engines::Layer;
use crate::init::client::InitClient;
use crate::place::Place;

/// A line for each session: when somebody last attached, when it was made, and when its window last printed something, in whole
/// seconds. A second window has a shell of its own, which is a process too many.
const FORMAT: &str = "#{session_last_attached}:#{session_created}:#{window_activity}";
/// How long, in seconds, a shell may take to print its prompt.
const PROMPT: u64 = 5;

/// Whether nothing runs in the shell whose init has this pid but tmux and at most one shell that nobody saw since it printed its prompt,
/// and no file would go with it. What can't be told is not so.
pub(crate) async fn is_so(ctx: &HostContext, place: &Place, shell: &InitClient, init: i32) -> bool {
    // Of most shells in use that alone tells.
    if others(ctx, place, init).is_none_or(|others| others > 2) {
        return false;
    }
    let find = format!(
        "find /tmp /dev/shm /run/user/{uid} -mindepth 1 ! -path '/run/user/{uid}/tmux*' -print -quit",
        uid = place.uid
    );
    let find = ["/bin/sh", "-c", &find].map(str::to_owned).to_vec();
    if !matches!(answer(ctx, shell, find).await, Ok((true, files)) if files.is_empty()) {
        return false;
    }
    let Ok((serves, sessions)) = ask(ctx, shell, place.uid, &["list-sessions", "-F", FORMAT]).await else {
        return false;
    };
    let shells: Vec<&str> = sessions.lines().collect();
    let expected = usize::from(serves) + shells.len();
    shells.len() <= 1
        && shells.into_iter().all(is_unseen)
        && others(ctx, place, init).is_some_and(|others| others <= expected)
}

/// Processes of the shell beside its init.
fn others(ctx: &HostContext, place: &Place, init: i32) -> Option<usize> {
    let processes = ctx.engine.processes(place, Layer::Shell).ok()?;
    Some(processes.into_iter().filter(|pid| *pid != init).count())
}

fn is_unseen(session: &str) -> bool {
    let mut parts = session.split(':');
    let mut next = || parts.next().map(str::parse::<u64>);
    match (next(), next(), next()) {
        // Nobody ever attached: it is empty, or 0 in older versions.
        (Some(Err(_) | Ok(0)), Some(Ok(made)), Some(Ok(printed))) => printed <= made + PROMPT,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_unseen;

    #[test]
    fn a_shell_that_was_seen_or_printed_more_than_its_prompt_is_somebodys() {
        for (session, unseen) in [
            (":1700000000:1700000000", true),
            (":1700000000:1700000005", true),
            ("0:1700000000:1700000001", true),
            (":1700000000:1700000006", false),
            ("1700000000:1700000000:1700000000", false),
            ("no server running on /run/user/1/tmux", false),
            ("", false),
        ] {
            assert_eq!(is_unseen(session), unseen, "{session}");
        }
    }
}
