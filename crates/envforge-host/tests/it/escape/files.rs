//! Files of others: of the neighbour, of the daemon, of the machine.

use super::attempt::{Attempt, Control, Who, attempt, try_all};
use super::scene::{Scene, Standpoint};
use crate::support::is_root;
use envforge_host::sys::sandbox::Protection;

use Control::{As, Host, RootTerminal, Without};

fn attempts() -> Vec<Attempt> {
    vec![
        attempt("a neighbour's checkout", "grep -q of-the-neighbour $NEIGHBOUR/checkout/secret", Host),
        attempt("a neighbour's home", "grep -q of-the-neighbour $NEIGHBOUR/home/secret", Host),
        attempt("a neighbour's data", "ls $NEIGHBOUR/data/.", Host),
        attempt("a neighbour's logs", "ls $NEIGHBOUR/logs/.", Host),
        attempt("the host's identity", "grep -q efhk_ $DATA/host.json", Host),
        attempt("a journal", "cat $NEIGHBOUR/state.json", Host),
        attempt("its own journal", "cat $OWN/state.json", Host),
        attempt("what lies beside its checkout", "cat $CHECKOUT/../state.json", Host),
        attempt("what lies beside its home", "cat $HOME_DIR/../state.json", Host),
        attempt("all workspaces", "ls $DATA/workspaces/.", Host),
        attempt("the machine's passwords", "cat /etc/shadow", Host),
        attempt("the machine's control groups", "ls /sys/fs/cgroup/.", Host),
        attempt("the machine's devices", "ls /sys/devices/.", Host),
        attempt("a neighbour's control socket", "$PROBE unix $NEIGHBOUR/run/runtime.sock", Host),
        attempt("its own control socket", "$PROBE unix $OWN/run/shell.sock", Host),
        attempt("the server's socket", "$PROBE unix $SERVER", Host),
        attempt("a neighbour's network", "$PROBE open-read $NEIGHBOUR/run/net", Host),
        attempt("a file by its handle", "$PROBE handle $CHECKOUT $HANDLE", Host),
        // The standard input of each line is a directory of the machine that everybody may read.
        attempt("a directory left open", "cat /proc/self/fd/0/left", Without(Protection::Landlock)).landlock(2),
        attempt("what lies above a directory left open", "ls /proc/self/fd/0/..", Without(Protection::Landlock))
            .landlock(2),
        attempt(
            "a file made below a directory left open",
            "echo x > /proc/self/fd/0/open-to-all/$$",
            Without(Protection::Landlock),
        )
        .landlock(2),
        attempt("a file run from a directory left open", "/proc/self/fd/0/true", Without(Protection::Landlock))
            .landlock(2),
        attempt("a device made", "mknod $TMP/disk b 7 0", Host),
        attempt("a device somebody made in its checkout", "echo x > $CHECKOUT/planted-null", Host),
        attempt("root by a set-user-ID program", "test \"$($CHECKOUT/planted-id -u)\" = 0", As(Who::Own))
            .from(&[Standpoint::Shell, Standpoint::Runtime]),
        attempt("a hard link to a file of the machine", "ln $FOREIGN $CHECKOUT/hard-link", Host),
        attempt("a program put among the system's", "echo > /usr/bin/planted", RootTerminal)
            .from(&[Standpoint::Shell, Standpoint::Runtime]),
        attempt("another owner", "chown 5000 $CHECKOUT/mine", Host),
        attempt("a log of its services", "echo x > $LOGS/planted.log", Host).from(&[Standpoint::Shell]),
    ]
}

// proves ORG-3 UP-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files() {
    if is_root() {
        try_all(&Scene::new().await, &attempts()).await;
    }
}
