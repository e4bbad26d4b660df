//! How soon a prepared shell is there, and how soon it echoes a key.

use super::pty::Pty;
use super::report::{Better, Record, Target};
use super::world::{World, installed, timed};
use anyhow::Context as _;
use std::path::Path;
use std::process::Command;
use tokio::time::Instant;

const TMUX: &str = "/usr/bin/tmux";
const ATTACHES: usize = 40;
const KEYS: usize = 300;
const CREATES: usize = 6;
/// A prompt that nothing else shows.
const PROMPT: &str = "ef-ready>";
/// Typed in two pieces, so that its echo is not the prompt.
const SET_PROMPT: &str = "PROMPT_COMMAND=; P='ef-rea'; PS1=\"${P}dy> \"; clear\r";

/// CLI start to prompt, beside attaching to a local tmux.
pub(super) async fn attach(world: &World) -> anyhow::Result<Vec<Record>> {
    let slug = world.workspace.slug.as_str();
    let mut shell = world.shell(slug).await?;
    shell.answers().await?;
    shell.send(SET_PROMPT).await?;
    shell.expect(PROMPT).await?;
    drop(shell);
    let samples = attaches(|| Ok(world.installation.envforge_command(&world.repository, &["attach", slug])))?;
    let target = Target { p50: Some(30.0), p99: Some(100.0), text: "p50 < 30, p99 < 100" };
    let record = Record::of("attach", "ms", Better::Less, &samples, target);
    if !installed(TMUX) {
        return Ok(vec![record]);
    }
    let peer = LocalTmux::start()?;
    let samples = attaches(|| Ok(peer.command(&["attach"])))?;
    Ok(vec![record.beside("tmux attach, local", Better::Less, &samples)])
}

fn attaches(command: impl Fn() -> anyhow::Result<Command>) -> anyhow::Result<Vec<f64>> {
    let one = || {
        let command = command()?;
        let begun = Instant::now();
        let mut pty = Pty::spawn(command)?;
        pty.expect(PROMPT)?;
        anyhow::Ok(begun.elapsed().as_secs_f64() * 1_000.0)
    };
    // The first one warms caches that are warm in any use.
    one()?;
    (0..ATTACHES).map(|_| one()).collect()
}

/// One key there and back, beside a local tmux.
pub(super) async fn echo(world: &World) -> anyhow::Result<Vec<Record>> {
    let mut shell = world.shell(world.workspace.slug.as_str()).await?;
    shell.answers().await?;
    // `cat` would echo each line twice; the terminal's own echo is enough and is what a key press waits for.
    shell.send("clear; stty -icanon; exec cat > /dev/null\r").await?;
    shell.expect("").await?;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut samples = Vec::new();
    for key in keys() {
        let (milliseconds, ()) = timed(async {
            shell.send(&key).await?;
            shell.expect(&key).await
        })
        .await?;
        samples.push(milliseconds);
    }
    let target = Target { p50: Some(0.5), p99: None, text: "p50 < 0.5" };
    let record = Record::of("echo", "ms", Better::Less, &samples, target);
    if !installed(TMUX) {
        return Ok(vec![record]);
    }
    let peer = LocalTmux::start()?;
    let mut pty = Pty::spawn(peer.command(&["attach"]))?;
    pty.expect(PROMPT)?;
    pty.send("clear; stty -icanon; exec cat > /dev/null\r")?;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let mut samples = Vec::new();
    for key in keys() {
        let begun = Instant::now();
        pty.send(&key)?;
        pty.expect(&key)?;
        samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(vec![record.beside("tmux attach, local", Better::Less, &samples)])
}

/// Keys that follow one another without repeating, and that no terminal sequence ends with.
fn keys() -> impl Iterator<Item = String> {
    ['v', 'w', 'x', 'y', 'z'].into_iter().cycle().take(KEYS).map(String::from)
}

/// A new workspace of a warm project, to its prompt.
pub(super) async fn create(world: &World) -> anyhow::Result<Vec<Record>> {
    let (mut samples, mut made) = (Vec::new(), Vec::new());
    for number in 0..CREATES {
        let branch = format!("bench-{number}");
        let (milliseconds, slug) = timed(async {
            let workspace = world.create(&branch).await?;
            world.shell(workspace.slug.as_str()).await?.answers().await?;
            Ok(workspace.slug)
        })
        .await?;
        samples.push(milliseconds);
        made.push(slug);
    }
    for slug in made {
        world.delete(slug.as_str()).await?;
    }
    let target = Target { p50: Some(1_000.0), p99: None, text: "p50 < 1,000" };
    Ok(vec![Record::of("create", "ms", Better::Less, &samples, target)])
}

/// A tmux server of our own with one session.
struct LocalTmux {
    folder: tempfile::TempDir,
}

impl LocalTmux {
    fn start() -> anyhow::Result<Self> {
        let it = Self { folder: tempfile::tempdir()? };
        let status = it.command(&["new-session", "-d", "-x", "120", "-y", "30", "bash --norc --noprofile"]).status();
        anyhow::ensure!(status.context("tmux")?.success(), "tmux did not start");
        it.command(&["send-keys", SET_PROMPT.trim_end(), "Enter"]).status()?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok(it)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the peer that is measured")]
        let mut command = Command::new(TMUX);
        command.arg("-u").arg("-f").arg("/dev/null").arg("-S").arg(self.socket()).args(arguments).env_remove("TMUX");
        command
    }

    fn socket(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("tmux")
    }
}

impl Drop for LocalTmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).status();
    }
}
