//! One connection: bytes in both directions, and what the two sides tell each other beside them.

use super::again::say;
use super::screen::Screen;
use super::session::Session;
use super::socket::Socket;
use super::terminal::{RawMode, Terminal};
use super::title::Title;
use super::{Attached, Over, Signals, any};
use bytes::Bytes;
use envforge_api::http::terminal::{TerminalControl, TerminalNotice};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How often the other side is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without a sign of life for this long, the connection counts as lost.
const DEAD_AFTER: Duration = Duration::from_secs(25);
/// How soon the other side is told of output that came, in any case.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(250);
/// The most input in one message, in bytes.
const PIECE: usize = 16 * 1024;
/// A screen that was drawn anew is quiet for this long before something is said on it, or is not quiet at all for the other.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether something of our own may be written.
const LOOK: Duration = Duration::from_millis(20);
/// How long it is shown.
const SHOWN: Duration = Duration::from_secs(3);

impl Attached {
    /// Passes bytes both ways over one connection; `begun` is typed first.
    pub(super) async fn pass(&mut self, socket: Socket, begun: Vec<u8>, signals: &mut Signals) -> Over {
        let (mut to, mut from) = socket.split();
        let to_say = self.to_say.take();
        let passing = Passing {
            terminal: &self.terminal,
            screen: &self.screen,
            writing: &self.writing,
            rest: &self.rest,
            session: &self.session,
            heard: Cell::new(Instant::now()),
            drawn: Cell::new(None),
            stirred: Notify::new(),
            redraw: Cell::new(false),
        };
        let over = tokio::select! {
            biased;
            over = passing.output(&mut from) => over,
            over = passing.input(&mut to, begun, signals) => over,
            over = passing.titles(&mut self.title) => over,
            over = passing.words(to_say) => over,
        };
        self.writing.set(false);
        if !matches!(over, Over::Lost) {
            // So that the terminal is not kept for somebody who will not come back.
            let _ = tokio::time::timeout(GOODBYE, to.close()).await;
        }
        over
    }
}

/// What happens at once over one connection. Nothing of it waits for another, and each can be dropped at any moment.
struct Passing<'a> {
    terminal: &'a Terminal,
    screen: &'a RefCell<Screen>,
    writing: &'a Cell<bool>,
    rest: &'a RefCell<Bytes>,
    session: &'a RefCell<Session>,
    /// When the other side last gave a sign of life, and drew something.
    heard: Cell<Instant>,
    drawn: Cell<Option<Instant>>,
    /// Told when the other side should hear something, or there is room for keys again.
    stirred: Notify,
    /// Whether the screen should be drawn again.
    redraw: Cell<bool>,
}

impl Passing<'_> {
    /// Keys, and what else the other side should know.
    async fn input(&self, to: &mut SplitSink<Socket, Message>, begun: Vec<u8>, signals: &mut Signals) -> Over {
        for piece in begun.chunks(PIECE) {
            if to.send(Message::Binary(Bytes::copy_from_slice(piece))).await.is_err() {
                return Over::Lost;
            }
        }
        let (terminal, session) = (self.terminal, self.session);
        let mut buffer = vec![0_u8; PIECE];
        let mut alive = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        // The timer is set only while there is something to tell, and then once for all that comes until then.
        let (mut tell, mut is_set) = (pin!(tokio::time::sleep(TELL_WITHIN)), false);
        loop {
            let room = session.borrow().room().min(PIECE);
            let message = tokio::select! {
                biased;
                read = terminal.read(&mut buffer[..room]), if room > 0 => match read {
                    Ok(length @ 1..) => {
                        session.borrow_mut().typed(&buffer[..length]);
                        Message::Binary(Bytes::copy_from_slice(&buffer[..length]))
                    }
                    Ok(0) | Err(_) => return Over::TerminalGone,
                },
                _ = signals.resized.recv() => resize(terminal.size()),
                _ = signals.continued.recv() => {
                    RawMode::renew();
                    resize(terminal.size())
                }
                () = any(&mut signals.ended) => return Over::Signalled,
                () = self.stirred.notified() => {
                    let (is_untold, is_due) = session.borrow().untold();
                    if self.redraw.take() && self.draw_again(to).await.is_err() {
                        return Over::Lost;
                    }
                    if !is_due {
                        if is_untold && !is_set {
                            tell.as_mut().reset(Instant::now() + TELL_WITHIN);
                            is_set = true;
                        }
                        continue;
                    }
                    is_set = false;
                    control(session.borrow_mut().tell())
                }
                () = &mut tell, if is_set => {
                    is_set = false;
                    control(session.borrow_mut().tell())
                }
                _ = alive.tick() => {
                    if self.heard.get().elapsed() > DEAD_AFTER {
                        return Over::Lost;
                    }
                    Message::Ping(Bytes::new())
                }
            };
            if to.send(message).await.is_err() {
                return Over::Lost;
            }
        }
    }

    async fn draw_again(&self, to: &mut SplitSink<Socket, Message>) -> Result<(), Error> {
        if self.session.borrow().token().is_some() {
            return to.send(control(TerminalControl::Redraw)).await;
        }
        // A server that does not know of redrawing: what runs there draws a window of another size.
        let (cols, rows) = self.terminal.size();
        to.send(resize((cols, rows.saturating_sub(1)))).await?;
        to.send(resize((cols, rows))).await
    }

    /// What the other side shows and says.
    async fn output(&self, from: &mut SplitStream<Socket>) -> Over {
        while let Some(Ok(message)) = from.next().await {
            self.heard.set(Instant::now());
            match message {
                Message::Binary(bytes) => {
                    let (was_untold, _) = self.session.borrow().untold();
                    self.session.borrow_mut().shown(bytes.len());
                    self.writing.set(true);
                    self.screen.borrow_mut().push(&bytes);
                    self.rest.replace(bytes);
                    if self.terminal.write_rest(self.rest).await.is_err() {
                        return Over::TerminalGone;
                    }
                    self.writing.set(false);
                    self.drawn.set(Some(Instant::now()));
                    let (is_untold, is_due) = self.session.borrow().untold();
                    if is_due || is_untold && !was_untold {
                        self.stirred.notify_one();
                    }
                }
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(TerminalNotice::Ended { reason }) => return Over::Ended(reason),
                    Ok(TerminalNotice::Session { token }) => self.session.borrow_mut().begun(token.0),
                    Ok(TerminalNotice::Received { bytes }) => {
                        // One that counts something else is left, and found out when it is to go on.
                        if self.session.borrow_mut().acknowledge(bytes).is_err() {
                            return Over::Lost;
                        }
                        self.stirred.notify_one();
                    }
                    Ok(TerminalNotice::Resumed { .. }) | Err(_) => {}
                },
                Message::Close(Some(frame)) if matches!(frame.code, CloseCode::Normal | CloseCode::Policy) => {
                    return Over::Ended(frame.reason.to_string());
                }
                Message::Close(_) => return Over::Lost,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Over::Lost
    }

    /// Until something of our own may be written.
    async fn between(&self) {
        while self.writing.get() || !self.screen.borrow().is_between() {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn titles(&self, title: &mut Title) -> Over {
        loop {
            let sequence = title.changed().await;
            self.between().await;
            self.writing.set(true);
            let written = self.terminal.write_all(&sequence).await;
            self.writing.set(false);
            if written.is_err() {
                return Over::TerminalGone;
            }
        }
    }

    /// What attaching anew may have cost, for a moment, once the remote side has drawn its screen. Never ends.
    async fn words(&self, to_say: Option<&str>) -> Over {
        if let Some(text) = to_say {
            let begun = Instant::now();
            let is_quiet = || self.drawn.get().is_some_and(|at| at.elapsed() > QUIET);
            while !is_quiet() && begun.elapsed() < QUIET_MAX {
                tokio::time::sleep(LOOK).await;
            }
            self.between().await;
            self.writing.set(true);
            say(self.terminal, true, text).await;
            self.writing.set(false);
            tokio::time::sleep(SHOWN).await;
            self.redraw.set(true);
            self.stirred.notify_one();
        }
        std::future::pending().await
    }
}

fn control(control: TerminalControl) -> Message {
    Message::Text(serde_json::to_string(&control).expect("plain data").into())
}

fn resize((cols, rows): (u16, u16)) -> Message {
    control(TerminalControl::Resize { cols, rows })
}
