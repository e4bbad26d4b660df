//! A fork of a workspace of an ordinary size, where files can share their blocks and where they can't.
//!
//! On filesystems of its own, each an image that is mounted for as long as it is measured: what a machine's own can do is
//! the machine's affair, and both are worth knowing.

use super::report::{Better, Record, Target};
use super::world::{World, app, installed, timed, told};
use crate::installation::Which;
use anyhow::{Context as _, bail, ensure};
use envforge_api::http::workspaces::{ForkWorkspace, ForkedWorkspaces, Workspace};
use envforge_core::name::Slug;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::SleepTier;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FORKS: usize = 8;
/// Grows as it is written to.
const IMAGE_BYTES: u64 = 12 << 30;
const PATIENCE: Duration = Duration::from_mins(2);
/// 500 MB in 25,000 files in 250 folders, and a table of 100 MB.
const FILL: &str = r#"set -e
perl -e 'my $text = join "", map { chr(32 + rand 95) } 1 .. 40000;
    for my $folder (1 .. 250) {
        system("mkdir", "-p", "modules/$folder");
        for my $file (1 .. 100) {
            open my $out, ">", "modules/$folder/$file.js" or die;
            print $out substr($text, rand 20000, 20000);
        }
    }'
psql -q -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "CREATE TABLE filler AS
    SELECT i, repeat(md5(i::text), 6) AS text FROM generate_series(1, 430000) AS i"
"#;

/// From the order to fork until the copy has its shell, on XFS, which shares blocks, and on ext4, which copies them.
pub(super) async fn fork(which: &Which) -> anyhow::Result<Vec<Record>> {
    let shared = Target { p50: Some(1_000.0), p99: None, text: "p50 < 1,000" };
    let copied = Target { p50: None, p99: None, text: "-" };
    let kinds: [(_, _, &[&str], _); 2] = [
        ("fork", "/usr/sbin/mkfs.xfs", &["-q", "-m", "reflink=1"], shared),
        ("fork_copied", "/usr/sbin/mkfs.ext4", &["-q", "-F"], copied),
    ];
    let mut records = Vec::new();
    for (name, mkfs, arguments, target) in kinds {
        if !installed(mkfs) {
            records.push(Record::not_run(name, "ms", target, &format!("{mkfs} is not installed")));
            continue;
        }
        let disk = match Disk::make(mkfs, arguments) {
            Ok(disk) => disk,
            Err(why) => {
                records.push(Record::not_run(name, "ms", target, &format!("{why:#}")));
                continue;
            }
        };
        let samples = on(which, &disk).await.with_context(|| mkfs.to_owned())?;
        records.push(Record::of(name, "ms", Better::Less, &samples, target));
    }
    Ok(records)
}

/// Forks on one filesystem, one after another.
async fn on(which: &Which, disk: &Disk) -> anyhow::Result<Vec<f64>> {
    let box_there = Which { data_dir: Some(disk.mount.join("box")), port: Some(0), bin_dir: which.bin_dir.clone() };
    let world = World::begin_with(&box_there, &app(), "/api/health").await?;
    let slug = world.workspace.slug.clone();
    let fill = ["run", "-w", slug.as_str(), "--", "sh", "-c", FILL];
    let filled = world.installation.envforge(&world.repository, &fill).await?;
    ensure!(filled.status.success(), "filling it: {}", String::from_utf8_lossy(&filled.stderr).trim());
    world.sleep(SleepTier::Stopped).await?;
    rustix::fs::sync();
    let mut samples = Vec::new();
    for number in 0..FORKS {
        let slug: Slug = format!("fork-{number}").parse().map_err(|_| anyhow::anyhow!("a slug"))?;
        let (milliseconds, ()) = timed(forked(&world, slug.clone())).await?;
        samples.push(milliseconds);
        world.delete(slug.as_str()).await?;
    }
    world.end().await?;
    Ok(samples)
}

async fn forked(world: &World, slug: Slug) -> anyhow::Result<()> {
    let body = ForkWorkspace { slugs: vec![slug.clone()] };
    told::<ForkedWorkspaces>(world.client.post(&world.path("/forks"), &body).await)?;
    let path = format!("/v1/orgs/{}/workspaces/{slug}", world.workspace.org_slug);
    let end = Instant::now() + PATIENCE;
    loop {
        let copy: Workspace = told(world.client.get(&path).await)?;
        match copy.shell.state {
            ReadinessState::Ready => return Ok(()),
            ReadinessState::Blocked => bail!("{slug} is blocked: {}", copy.shell.cause.unwrap_or_default()),
            ReadinessState::Waking | ReadinessState::Asleep => {}
        }
        ensure!(Instant::now() < end, "{slug} has no shell within {PATIENCE:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A filesystem in a file, unmounted and removed with this.
struct Disk {
    mount: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn make(mkfs: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = envforge_testkit::temp_dir("disk");
        let (image, mount) = (folder.path().join("image"), folder.path().join("mount"));
        fs_err::File::create(&image)?.set_len(IMAGE_BYTES)?;
        fs_err::create_dir(&mount)?;
        run(mkfs, arguments, &[&image])?;
        run("mount", &["-o", "loop"], &[&image, &mount])?;
        Ok(Self { mount, _folder: folder })
    }
}

impl Drop for Disk {
    /// Unmounts it too, once nobody uses it any more.
    fn drop(&mut self) {
        envforge_testkit::end_leftovers(&self.mount);
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let mut command = crate::installation::command(Path::new(program)).into_std();
    let output = command.args(arguments).args(paths).stdin(Stdio::null()).output().context(program.to_owned())?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
