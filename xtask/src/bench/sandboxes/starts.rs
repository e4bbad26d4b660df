//! From nothing to the first program that ran in a sandbox, and a program in one that is there.

use super::super::report::{Better, Record, Target};
use super::super::world::{installed, timed};
use super::{Place, process};
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

const BWRAP: &str = "/usr/bin/bwrap";
const BUSYBOX: &str = "/bin/busybox";
const STARTS: usize = 100;
/// One of Docker's takes a quarter of a second.
const DOCKER_STARTS: usize = 12;
const IMAGE: &str = "envforge-bench:busybox";
/// Does nothing, so that all that is timed is its start.
const NOTHING: &str = "/bin/true";

/// A sandbox made and a program run in it to its end, beside bubblewrap and Docker.
pub(in super::super) async fn sandbox(program: &Path) -> anyhow::Result<Vec<Record>> {
    let place = Place::new(program)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let has_bwrap = installed(BWRAP);
    for number in 0..=STARTS {
        let started = timed(async {
            let running = place.start(number).await?;
            running.run(process("first", &[NOTHING])).await?;
            Ok(running)
        });
        let (milliseconds, running) = started.await?;
        drop(running);
        ours.push(milliseconds);
        if has_bwrap {
            theirs.push(timed(run(bwrap(&place))).await?.0);
        }
    }
    // The first one warms caches that are warm in any use.
    ours.remove(0);
    let target = Target { p50: Some(5.0), p99: None, text: "p50 < 5" };
    let record = Record::of("sandbox", "ms", Better::Less, &ours, target);
    let record = if has_bwrap {
        theirs.remove(0);
        record.beside("bwrap, no limits", Better::Less, &theirs)
    } else {
        record
    };
    let target = Target { p50: None, p99: None, text: "-" };
    let docker = match docker().await {
        Ok(theirs) => Record::of("sandbox_docker", "ms", Better::Less, &ours, target).beside(
            "docker run, no network",
            Better::Less,
            &theirs,
        ),
        Err(why) => Record::not_run("sandbox_docker", "ms", target, &format!("{why:#}")),
    };
    Ok(vec![record, docker])
}

/// The same isolation as far as it goes: every namespace, a user of its own, no capability, the machine's programs read-only.
fn bwrap(place: &Place) -> Command {
    let mut command = crate::installation::command(Path::new(BWRAP));
    command.args(["--unshare-all", "--new-session", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "bench"]);
    let uid = place.uid().to_string();
    command.args(["--uid", &uid, "--gid", &uid]);
    for folder in ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/etc/ssl", "/etc/alternatives"] {
        command.args(["--ro-bind-try", folder, folder]);
    }
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    command.arg("--bind").arg(place.path("checkout")).arg("/workspace");
    command.arg("--bind").arg(place.path("home")).arg("/home/dev");
    command.args(["--chdir", "/workspace", NOTHING]);
    command
}

/// Docker, if an engine runs, with the smallest image there is and without the network it would set up first.
async fn docker() -> anyhow::Result<Vec<f64>> {
    const DOCKER: &str = "docker";
    let docker = || crate::installation::command(Path::new(DOCKER));
    let mut asked = docker();
    asked.args(["version", "--format", "{{.Server.Version}}"]);
    run(asked).await.context("no Docker engine answers")?;
    ensure!(installed(BUSYBOX), "{BUSYBOX} is not installed, to make an image of");
    let folder = tempfile::tempdir()?;
    fs_err::create_dir(folder.path().join("bin"))?;
    for name in ["busybox", "true"] {
        fs_err::copy(BUSYBOX, folder.path().join("bin").join(name))?;
    }
    let archive = folder.path().join("image.tar");
    let mut tar = crate::installation::command(Path::new("tar"));
    tar.arg("-C").arg(folder.path()).arg("-cf").arg(&archive).arg("bin");
    run(tar).await?;
    let mut import = docker();
    import.arg("import").arg(&archive).arg(IMAGE);
    run(import).await?;
    let mut samples = Vec::new();
    for _ in 0..DOCKER_STARTS {
        let mut command = docker();
        command.args(["run", "--rm", "--network", "none", IMAGE, NOTHING]);
        samples.push(timed(run(command)).await?.0);
    }
    let mut remove = docker();
    remove.args(["image", "rm", IMAGE]);
    run(remove).await?;
    Ok(samples)
}

/// Runs it to its end, which must be a good one.
async fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).output().await?;
    let name = Path::new(command.as_std().get_program()).display();
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// What starting a program in a running sandbox adds to starting it.
pub(in super::super) async fn service(program: &Path) -> anyhow::Result<Vec<Record>> {
    const LINE: &str = "exec /bin/true";
    let place = Place::new(program)?;
    let running = place.start(0).await?;
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for number in 0..=STARTS {
        let mut spawn = process(&format!("s{number}"), &["/bin/sh", "-c", LINE]);
        spawn.log = Some("service".to_owned());
        spawn.whole_tree = true;
        spawn.env = (0..20).map(|name| (format!("VARIABLE_{name}"), "a value of some length".to_owned())).collect();
        let started = timed(running.run(spawn));
        ours.push(started.await?.0);
        let mut command = crate::installation::command(Path::new("/bin/sh"));
        command.args(["-c", LINE]).current_dir(place.path("checkout"));
        by_hand.push(timed(run(command)).await?.0);
    }
    let (ours, by_hand) = (&ours[1..], &by_hand[1..]);
    let mut sorted = by_hand.to_vec();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() / 2];
    let samples: Vec<f64> = ours.iter().map(|took| (took - usual).max(0.0)).collect();
    let target = Target { p50: Some(10.0), p99: None, text: "p50 < 10 more" };
    let record = Record::of("service", "ms", Better::Less, &samples, target);
    Ok(vec![record.along("fork and exec (not ours)", Better::Less, by_hand)])
}
