//! How fast a service may write before its log holds it up.

use super::super::report::{Better, Record, Target};
use super::super::world::timed;
use super::{LIMIT, Place, process};
use anyhow::ensure;
use std::path::Path;
use std::process::Stdio;

const RUNS: usize = 8;
const MEGABYTES: f64 = 537.0;
/// Writes lines of a hundred bytes, 64 KiB with each call, as a program does that is in a hurry.
const WRITER: &str = "my $text = substr(('x' x 99 . \"\\n\") x 656, 0, 65536);
for (1 .. 8192) { my $at = 0; while ($at < 65536) { $at += syswrite(STDOUT, $text, 65536 - $at, $at) // die } }";

/// What one sandbox's log takes of one writer, beside the same writer into a file of its own.
pub(in super::super) async fn log_capture(program: &Path) -> anyhow::Result<Vec<Record>> {
    let place = Place::new(program)?;
    let running = place.start(0).await?;
    let (mut ours, mut into_file) = (Vec::new(), Vec::new());
    for number in 0..RUNS {
        let mut spawn = process(&format!("writer{number}"), &["perl", "-e", WRITER]);
        spawn.log = Some("writer".to_owned());
        let (milliseconds, ()) = timed(running.run(spawn)).await?;
        ours.push(MEGABYTES * 1_000.0 / milliseconds);
        let file = fs_err::File::create(place.path("plain"))?.into_parts().0;
        let mut command = crate::installation::command(Path::new("perl"));
        command.args(["-e", WRITER]).stdin(Stdio::null()).stdout(file).kill_on_drop(true);
        let mut writer = command.spawn()?;
        let (milliseconds, status) = timed(async { Ok(tokio::time::timeout(LIMIT, writer.wait()).await??) }).await?;
        ensure!(status.success(), "the writer ended with {status}");
        into_file.push(MEGABYTES * 1_000.0 / milliseconds);
    }
    let lost = running.client.list().await?.dropped_log_lines;
    ensure!(lost == 0, "{lost} lines were lost");
    let target = Target { p50: Some(200.0), p99: None, text: "≥ 200" };
    let record = Record::of("log_capture", "MB/s", Better::More, &ours, target);
    Ok(vec![record.along("into a file of its own", Better::More, &into_file)])
}
