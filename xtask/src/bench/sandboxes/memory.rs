//! Somewhere for memory to go: the machine's own swap, or compressed memory made for as long as it is measured.

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const CONTROL: &str = "/sys/class/zram-control";
/// Its size before compression.
const BYTES: u64 = 1 << 30;

/// Swap, taken away again with this if it was made here.
pub(super) struct Swap {
    /// What it is, in a word.
    pub(super) kind: &'static str,
    made: Option<Zram>,
}

/// A block device of compressed memory.
struct Zram {
    number: u32,
}

impl Swap {
    /// What there is, or a zram device.
    pub(super) fn ensure() -> anyhow::Result<Self> {
        // The first line names the columns.
        let swaps = fs_err::read_to_string("/proc/swaps")?;
        if let Some(swap) = swaps.lines().nth(1) {
            let kind = if swap.contains("zram") { "zram" } else { "swap" };
            return Ok(Self { kind, made: None });
        }
        let zram = Zram::make().context("this machine has no swap, and no zram could be made")?;
        zram.use_as_swap().context("this machine has no swap, and zram could not be used as such")?;
        Ok(Self { kind: "zram", made: Some(zram) })
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if let Some(zram) = self.made.take()
            && let Err(error) = zram.remove()
        {
            crate::say(&format!("{} is left: {error:#}", zram.device().display()));
        }
    }
}

impl Zram {
    fn make() -> anyhow::Result<Self> {
        let number = fs_err::read_to_string(Path::new(CONTROL).join("hot_add"))?;
        Ok(Self { number: number.trim().parse()? })
    }

    fn device(&self) -> PathBuf {
        PathBuf::from(format!("/dev/zram{}", self.number))
    }

    fn use_as_swap(&self) -> anyhow::Result<()> {
        let set_up = || -> anyhow::Result<()> {
            fs_err::write(format!("/sys/block/zram{}/disksize", self.number), BYTES.to_string())?;
            run("mkswap", &self.device())?;
            run("swapon", &self.device())
        };
        let result = set_up();
        if result.is_err() {
            drop(self.remove());
        }
        result
    }

    fn remove(&self) -> anyhow::Result<()> {
        let swaps = fs_err::read_to_string("/proc/swaps")?;
        if swaps.contains(&*self.device().to_string_lossy()) {
            run("swapoff", &self.device())?;
        }
        fs_err::write(Path::new(CONTROL).join("hot_remove"), self.number.to_string())?;
        Ok(())
    }
}

fn run(program: &str, device: &Path) -> anyhow::Result<()> {
    let mut command = crate::installation::command(Path::new(program)).into_std();
    let output = command.arg(device).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
