//! What the machine says of its memory: how much there is, and whether somebody waits for it.
//!
//! `/proc/meminfo`, and PSI where the kernel has it (`/proc/pressure/memory`, Linux 4.20 and later; absent without
//! `CONFIG_PSI`, refused when it is switched off at boot).

use envforge_core::pressure::MemoryReading;
use std::io;
use std::path::Path;

/// What is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// In all, in bytes.
    pub(crate) total: u64,
    /// What can be had without swapping, in bytes.
    pub(crate) available: u64,
    /// Swap in all, zram included, in bytes.
    pub(crate) swap: u64,
}

/// Reads how much there is; `proc` is `/proc`.
pub(crate) fn read(proc: &Path) -> io::Result<Memory> {
    let text = fs_err::read_to_string(proc.join("meminfo"))?;
    parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "meminfo does not say how much memory there is"))
}

fn parse(meminfo: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { total: bytes("MemTotal")?, available: bytes("MemAvailable")?, swap: bytes("SwapTotal").unwrap_or(0) })
}

/// Reads how short memory is.
pub(crate) fn reading(proc: &Path) -> io::Result<MemoryReading> {
    let Memory { total, available, .. } = read(proc)?;
    let stalled = fs_err::read_to_string(proc.join("pressure/memory")).ok().and_then(|text| stalled(&text));
    Ok(MemoryReading { total, available, stalled })
}

/// `some avg10=1.23 …`: the share of the last ten seconds in which some process waited, in percent (kernel documentation,
/// accounting/psi); here in thousandths.
fn stalled(pressure: &str) -> Option<u16> {
    let line = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f64 = line.split(' ').find_map(|part| part.strip_prefix("avg10="))?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then(|| (percent * 10.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let meminfo = "MemTotal:       24683864 kB\nMemFree:         100 kB\nMemAvailable:   20000000 kB\nSwapTotal:             0 kB\n";
        let memory = Memory { total: 24_683_864 * 1024, available: 20_000_000 * 1024, swap: 0 };
        assert_eq!(parse(meminfo), Some(memory));
        assert_eq!(parse("MemTotal: x kB\n"), None);
        let pressure = "some avg10=12.34 avg60=0.01 avg300=0.00 total=224004226\nfull avg10=99.00 avg60=0.01 avg300=0.00 total=1\n";
        assert_eq!(stalled(pressure), Some(123));
        assert_eq!(stalled("some avg10=nan\n"), None);
        assert_eq!(stalled("full avg10=1.00\n"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        let reading = reading(Path::new("/proc")).expect("read");
        assert!(reading.total > 0 && reading.available <= reading.total);
    }

    #[test]
    fn a_kernel_without_psi_is_no_trouble() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::write(dir.path().join("meminfo"), "MemTotal: 8 kB\nMemAvailable: 2 kB\n").expect("written");
        let reading = reading(dir.path()).expect("read");
        assert_eq!(reading, MemoryReading { total: 8192, available: 2048, stalled: None });
    }
}
