//! The one place that writes: data to stdout, everything said about it to stderr.
//!
//! With `--json` stdout carries one JSON document, or JSON lines for what streams, and errors become
//! `{"error": {…}}` there too, so that a program reads one stream and one format. People's sentences then stay
//! away altogether. A reader that went away (`envforge logs web | head`) ends the program quietly: a write to a
//! closed pipe is not an error worth a line.
//!
//! What must make sense without colour has none: the only decoration is the spinner, on a terminal, and only
//! once something takes longer than half a second.

use crate::exit::ExitCode;
use envforge_core::refusal::Refusal;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long something may take before a spinner says that it goes on.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes results, notes and errors.
#[derive(Debug)]
pub(crate) struct Printer {
    json: bool,
    spinner: ProgressBar,
    reader_gone: AtomicBool,
    /// Whether something slow is waited for.
    is_slow: AtomicBool,
}

/// Something slow that is waited for; the spinner goes with it, also when nobody waits any more.
struct Waiting<'a>(&'a Printer);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let spinner = &self.0.spinner;
        spinner.disable_steady_tick();
        spinner.finish_and_clear();
        spinner.set_draw_target(ProgressDrawTarget::hidden());
        spinner.reset();
        self.0.is_slow.store(false, Ordering::Relaxed);
    }
}

impl Printer {
    /// A printer for people, or for programs.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            spinner: ProgressBar::hidden(),
            reader_gone: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
        }
    }

    /// Whether stdout carries JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether one can be asked: a terminal on both sides, and no `--json`.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether a shell can be attached here.
    pub(crate) fn has_terminal(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Whether whoever read stdout has gone; a pipe tells so before anything is written to it.
    pub(crate) fn reader_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_closed = poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::ERR);
        is_closed || self.reader_gone.load(Ordering::Relaxed)
    }

    fn write_out(&self, bytes: &[u8]) {
        self.spinner.suspend(|| {
            let mut out = io::stdout().lock();
            if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
                self.reader_gone.store(true, Ordering::Relaxed);
            }
        });
    }

    fn write_err(&self, bytes: &[u8]) {
        self.spinner.suspend(|| {
            // Nobody is left to tell that stderr is gone.
            let _ = io::stderr().lock().write_all(bytes);
        });
    }

    /// The answer, for people: to stdout, unless stdout carries JSON.
    pub(crate) fn text(&self, text: &str) {
        if !self.json {
            self.write_out(format!("{}\n", text.trim_end_matches('\n')).as_bytes());
        }
    }

    /// The answer, for programs: one JSON value on one line.
    pub(crate) fn value<T: Serialize + ?Sized>(&self, value: &T) {
        let mut line = serde_json::to_vec(value).expect("answers are plain data");
        line.push(b'\n');
        self.write_out(&line);
    }

    /// The answer in the format asked for.
    pub(crate) fn answer<T: Serialize + ?Sized>(&self, value: &T, text: impl FnOnce() -> String) {
        if self.json { self.value(value) } else { self.text(&text()) }
    }

    /// Bytes that are data themselves: a log line, the output of a run.
    pub(crate) fn raw_out(&self, bytes: &[u8]) {
        self.write_out(bytes);
    }

    /// The stderr half of a run's output.
    pub(crate) fn raw_err(&self, bytes: &[u8]) {
        self.write_err(bytes);
    }

    /// A remark for people; never part of the answer.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            self.write_err(format!("{text}\n").as_bytes());
        }
    }

    /// A refusal, with its hint, and the code to end with.
    pub(crate) fn refusal(&self, refusal: &Refusal) -> ExitCode {
        self.spinner.finish_and_clear();
        if self.json {
            self.value(&serde_json::json!({ "error": refusal }));
        } else {
            self.write_err(refusal_text(refusal).as_bytes());
        }
        ExitCode::from(refusal.kind)
    }

    /// Waits for `future`; says `what` beside a spinner if it takes a while and someone looks. A part of something slow
    /// says nothing of its own.
    pub(crate) async fn slow<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        if self.json || !io::stderr().is_terminal() || self.is_slow.swap(true, Ordering::Relaxed) {
            return future.await;
        }
        let _waiting = Waiting(self);
        tokio::select! {
            value = &mut future => return value,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        self.spinner.set_draw_target(ProgressDrawTarget::stderr());
        self.spinner.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a valid template"));
        self.spinner.set_message(what.to_owned());
        self.spinner.reset_elapsed();
        self.spinner.enable_steady_tick(Duration::from_millis(100));
        future.await
    }
}

/// `error: …` and, where there is advice, `  hint: …`.
fn refusal_text(refusal: &Refusal) -> String {
    use std::fmt::Write as _;
    let mut text = format!("error: {}\n", printable(&refusal.message));
    for (number, line) in refusal.hint.iter().flat_map(|hint| hint.lines()).enumerate() {
        let label = if number == 0 { "hint:" } else { "     " };
        let _ = writeln!(text, "  {label} {}", printable(line));
    }
    text
}

/// Text from elsewhere without what a terminal would obey: a cause may quote a process's own output.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{printable, refusal_text};
    use envforge_core::refusal::Refusal;

    #[test]
    fn a_refusal_is_a_sentence_and_advice() {
        let refusal = Refusal::not_found("workspace.not_found", "no workspace `x`").hint("`envforge workspace list`");
        assert_eq!(refusal_text(&refusal), "error: no workspace `x`\n  hint: `envforge workspace list`\n");
    }

    #[test]
    fn a_quoted_escape_sequence_is_not_obeyed() {
        assert_eq!(printable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
