//! Processes of others: the neighbour's, those of the other layer, the init of their own.

use super::attempt::{Attempt, Control, attempt, try_all};
use super::scene::{Scene, Standpoint};
use crate::support::is_root;

use Control::Host;

/// What is done to a process; `@P` is its number, as far as there is one.
const DONE: [(&str, &str); 9] = [
    ("traced", "$PROBE ptrace @P"),
    ("its memory read", "$PROBE vm-read @P"),
    ("its memory opened", ": < /proc/@P/mem"),
    ("its environment read", "cat /proc/@P/environ"),
    ("its open files listed", "ls /proc/@P/fd/."),
    ("its root entered", "ls /proc/@P/root/."),
    ("its directory entered", "ls /proc/@P/cwd/."),
    ("its program opened", ": < /proc/@P/exe"),
    ("one of its descriptors taken", "$PROBE pidfd-getfd @P"),
];

fn attempts() -> Vec<Attempt> {
    const FROM_OTHER_LAYERS: &[Standpoint] = &[Standpoint::Shell, Standpoint::RootTerminal];
    let all = |whose: &str, variable: &str, from: Option<&'static [Standpoint]>| -> Vec<Attempt> {
        let on = |(what, line): &(&str, &str)| {
            let attempt = attempt(format!("{whose}, {what}"), line.replace("@P", variable), Host);
            match from {
                Some(from) => attempt.from(from),
                None => attempt,
            }
        };
        DONE.iter().map(on).collect()
    };
    let mut attempts = all("a neighbour's process", "$VICTIM", None);
    attempts.push(attempt("a neighbour's process, signalled", "kill -0 $VICTIM", Host));
    attempts.extend(all("a service of its runtime", "$SERVICE", Some(FROM_OTHER_LAYERS)));
    attempts.push(attempt("a service of its runtime, signalled", "kill -0 $SERVICE", Host).from(FROM_OTHER_LAYERS));
    attempts.extend(all("the init of its sandbox", "$INIT", None));
    attempts.push(attempt("the host daemon, signalled", "kill -0 $DAEMON", Host));
    attempts.push(attempt("every process of the machine listed", "ls /proc | grep -qx $DAEMON", Host));
    attempts
}

// proves ORG-3 ORG-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes() {
    if is_root() {
        try_all(&Scene::new().await, &attempts()).await;
    }
}
