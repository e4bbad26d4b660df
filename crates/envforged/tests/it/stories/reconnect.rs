//! Somebody attached whose network comes and goes: what they typed and what they were shown is all there, once.

use super::sample::{Member, repository};
use crate::support::{TestBox, kill};
use envforge_testkit::{Wire, wait_until_within};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const LOST: &str = "connection lost, reconnecting";
/// Prints numbered lines for some seconds, writes down what is typed meanwhile, and says when both are done.
const SCRIPT: &str = "stty -echo -icanon
(i=1; while [ $i -le 400 ]; do echo \"line-$i-end\"; i=$((i+1)); sleep 0.01; done) &
head -c 90 > keys.txt
wait
echo \"over-$((40+2))\"
stty sane
";

/// The person's terminal: another tmux, which keeps all that scrolls by.
struct Window {
    folder: PathBuf,
}

impl Window {
    fn open(folder: PathBuf, program: &Command) -> Self {
        let it = Self { folder };
        // All there is to be seen is in one history; the remote side would draw on a screen without one.
        let config =
            "set -g history-limit 50000\nset -wg alternate-screen off\nset -g remain-on-exit on\nset -g status off\n";
        fs_err::write(it.folder.join("tmux.conf"), config).unwrap();
        let mut command = it.tmux(&["new-session", "-d", "-x", "100", "-y", "30"]);
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(program.get_current_dir().unwrap());
        assert!(command.status().unwrap().success());
        it
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the person's terminal")]
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-f").arg(self.folder.join("tmux.conf")).arg("-S").arg(self.folder.join("tmux"));
        command.args(arguments).env_remove("TMUX").stdin(Stdio::null());
        command
    }

    fn types(&self, keys: &str) {
        assert!(self.tmux(&["send-keys", "-l", keys]).status().unwrap().success());
    }

    fn enters(&self, line: &str) {
        self.types(line);
        assert!(self.tmux(&["send-keys", "Enter"]).status().unwrap().success());
    }

    /// What is on the screen, or all that ever was.
    fn text(&self, from: &str) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-J", "-S", from]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn shows(&self, text: &str) {
        wait_until_within(&format!("`{text}` is shown"), PATIENCE, async || self.text("0").contains(text)).await;
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = format!("the person's terminal:\n{}\n", self.text("-"));
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        }
        let _ = self.tmux(&["kill-server"]).status();
    }
}

/// The numbers of all lines the script printed, in the order in which they are there.
fn numbers(text: &str) -> Vec<u32> {
    let after = text.split("line-").skip(1);
    after.filter_map(|rest| rest.split_once("-end")?.0.parse().ok()).collect()
}

async fn attached(the_box: &TestBox, wire: &Wire, repository: &Path) -> Window {
    let mut program = the_box.envforge_command(repository, &["attach", "main"]);
    program.env("ENVFORGE_SERVER", format!("http://{}", wire.address()));
    program.env("ENVFORGE_KEY", the_box.key().expose()).env("ENVFORGE_ORG", "local");
    let window = Window::open(the_box.scratch("window"), &program);
    window.shows("$").await;
    // When the remote tmux has learned what terminal it draws on, it draws all of it again, and what came by in between it shows no more.
    let asked = "tmux -S /run/user/$(id -u)/tmux list-clients -F '#{client_termtype}'";
    wait_until_within("the terminals know each other", PATIENCE, async || {
        let told = the_box.envforge(repository, &["exec", "-w", "main", "--", "sh", "-c", asked]).await;
        String::from_utf8_lossy(&told.stdout).starts_with("tmux")
    })
    .await;
    window
}

// proves UP-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_lost_costs_no_line_and_no_key() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    fs_err::write(repository.join("flow.sh"), SCRIPT).unwrap();
    super::sample::commit(&repository, "Lines and keys");
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.shell_ready().await;
    let wire = Wire::tcp(the_box.listen).await;
    let window = attached(&the_box, &wire, &repository).await;

    let keys = (0..30).fold(String::new(), |keys, number| format!("{keys}k{number:02}"));
    window.enters("sh flow.sh");
    window.shows("line-20-end").await;
    window.types(&keys[..20]);
    // Gone without a word: what is under way in both directions is lost, and nobody knows yet.
    window.shows("line-60-end").await;
    wire.hold();
    window.types(&keys[20..40]);
    wire.cut();
    window.shows(LOST).await;
    window.types(&keys[40..60]);
    wire.restore();
    // Once more, in the middle of things.
    wait_until_within("it goes on", PATIENCE, async || !window.text("0").contains(LOST)).await;
    wire.cut();
    window.shows(LOST).await;
    wire.restore();
    window.types(&keys[60..]);
    window.shows("over-42").await;

    let typed = the_box.envforge(&repository, &["exec", "-w", "main", "--", "cat", "keys.txt"]).await;
    assert_eq!(String::from_utf8_lossy(&typed.stdout), keys, "{}", String::from_utf8_lossy(&typed.stderr));
    let all = window.text("-");
    assert_eq!(numbers(&all), (1..=400).collect::<Vec<_>>());
    assert!(!all.contains(LOST), "what was said over the last line is gone");

    // A server that is started again knows of nothing: the shell is attached to anew.
    window.types("half a com");
    window.shows("half a com").await;
    let before = the_box.children()["server"];
    kill(before);
    window.shows("attached anew").await;
    the_box.successor("server", before).await;
    wait_until_within("it is drawn again", PATIENCE, async || !window.text("0").contains("attached anew")).await;
    window.types("\u{15}");
    window.enters("echo back-$((40+3))");
    window.shows("back-43").await;
}
