//! From one connection to the next.
//!
//! Where the server keeps the terminal it goes on where it was: what came is not sent again, what was typed meanwhile is. Where it
//! does not (another server, a restart, more than a minute), the terminal is attached to anew and the remote side draws the
//! screen; then nothing typed is sent that may have been lost in part, for a command with its middle missing is worse than none.

use super::screen::Screen;
use super::session::Session;
use super::shell::Shell;
use super::socket::Socket;
use super::terminal::{RawMode, Terminal};
use super::{Attached, Over, Signals, any};
use crate::follow::Backoff;
use envforge_core::refusal::{Refusal, RefusalKind};
use std::io;

/// Ctrl-C, as it arrives in raw mode.
const CTRL_C: u8 = 3;
const LOST: &str = "connection lost, reconnecting; the shell goes on (Ctrl-C gives up)";
/// After attaching anew: what may be missing.
const OUTPUT_IN_DOUBT: &str = "attached anew; what scrolled by meanwhile is in the terminal's history";
const INPUT_IN_DOUBT: &str = "attached anew; what was typed last may be missing";

/// Another connection.
pub(super) enum Again {
    /// The terminal goes on, and this is to be typed first.
    Resumed(Socket, Vec<u8>),
    /// The shell was attached to anew.
    Anew(Socket),
    /// None: it is over.
    Over(Over),
}

enum Answer {
    Resumed(Socket, u64),
    Anew(Socket),
    Unknown,
}

impl Attached {
    /// Connects again; Ctrl-C gives up. The error is the server's final no.
    pub(super) async fn reconnect(&self, shell: &Shell, signals: &mut Signals) -> Result<Again, Refusal> {
        // What came before the connection was lost belongs before what is said about it.
        if self.terminal.write_rest(&self.rest).await.is_err() {
            return Ok(Again::Over(Over::TerminalGone));
        }
        let mut backoff = Backoff::default();
        let mut buffer = [0_u8; 1024];
        let mut is_dropped = false;
        loop {
            let pause = backoff.pause();
            let is_between = self.screen.borrow().is_between();
            say(&self.terminal, is_between, LOST).await;
            let resumed = {
                let mut session = self.session.borrow_mut();
                let received = session.received();
                session.token().cloned().map(|token| (token, received))
            };
            let attempt = async {
                tokio::time::sleep(pause).await;
                let size = self.terminal.size();
                match &resumed {
                    None => shell.connect(size).await.map(Answer::Anew),
                    Some((token, received)) => Ok(match shell.resume(size, token, *received).await? {
                        Some((socket, taken)) => Answer::Resumed(socket, taken),
                        None => Answer::Unknown,
                    }),
                }
            };
            let mut attempt = std::pin::pin!(attempt);
            let answer = loop {
                let room = self.session.borrow().room().min(buffer.len());
                tokio::select! {
                    answer = &mut attempt => break answer,
                    read = self.terminal.read(&mut buffer[..room]), if room > 0 => match read {
                        Ok(length @ 1..) if !buffer[..length].contains(&CTRL_C) => {
                            is_dropped |= resumed.is_none();
                            if resumed.is_some() {
                                self.session.borrow_mut().typed(&buffer[..length]);
                            }
                        }
                        Ok(1..) => return Ok(Again::Over(Over::Lost)),
                        _ => return Ok(Again::Over(Over::TerminalGone)),
                    },
                    _ = signals.resized.recv() => {}
                    _ = signals.continued.recv() => RawMode::renew(),
                    () = any(&mut signals.ended) => return Ok(Again::Over(Over::Signalled)),
                }
            };
            match answer {
                Ok(Answer::Resumed(socket, taken)) => {
                    let input = self.session.borrow_mut().resume(taken);
                    match input {
                        Ok(input) => return self.resumed(socket, input).await,
                        // It counts something else; it is not asked again.
                        Err(_) => self.forget(),
                    }
                }
                Ok(Answer::Anew(socket)) => {
                    if is_dropped || self.session.borrow().is_in_doubt() {
                        self.to_say.set(Some(INPUT_IN_DOUBT));
                    }
                    return self.anew(socket).await;
                }
                Ok(Answer::Unknown) => self.forget(),
                // Also what a server that is just going or coming makes of it: it is asked again, and Ctrl-C gives up.
                Err(refusal) if matches!(refusal.kind, RefusalKind::Unavailable | RefusalKind::Internal) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    /// The terminal as it was can't be had any more.
    fn forget(&self) {
        let is_in_doubt = self.session.replace(Session::plain()).is_in_doubt();
        self.to_say.set(Some(if is_in_doubt { INPUT_IN_DOUBT } else { OUTPUT_IN_DOUBT }));
    }

    /// The last line is cleared, and a sequence that was cut by what it said is begun again: its rest comes next.
    async fn resumed(&self, socket: Socket, input: Vec<u8>) -> Result<Again, Refusal> {
        let (_, rows) = self.terminal.size();
        let mut clear = format!("\x1b7\x1b[{rows};1H\x1b[0m\x1b[2K\x1b8").into_bytes();
        clear.extend_from_slice(self.screen.borrow().begun());
        let written = self.terminal.write_all(&clear).await;
        Ok(or_gone(&written, Again::Resumed(socket, input)))
    }

    /// The remote side draws everything from the beginning.
    async fn anew(&self, socket: Socket) -> Result<Again, Refusal> {
        self.session.replace(Session::asked());
        let undo = self.screen.replace(Screen::default()).undo();
        let written = self.terminal.write_all(&undo).await;
        Ok(or_gone(&written, Again::Anew(socket)))
    }
}

fn or_gone(written: &io::Result<()>, again: Again) -> Again {
    if written.is_ok() { again } else { Again::Over(Over::TerminalGone) }
}

/// Writes on the last line, and puts the cursor back. What is being written there may be between two sequences or not.
pub(super) async fn say(terminal: &Terminal, is_between: bool, text: &str) {
    let (cols, rows) = terminal.size();
    let text: String = text.chars().take(usize::from(cols).saturating_sub(2)).collect();
    // Whatever sequence the lost connection left half said is cancelled first.
    let cancel = if is_between { "" } else { "\x18" };
    let line = format!("{cancel}\x1b7\x1b[{rows};1H\x1b[0;7m {text} \x1b[0m\x1b[K\x1b8");
    let _ = terminal.write_all(line.as_bytes()).await;
}
