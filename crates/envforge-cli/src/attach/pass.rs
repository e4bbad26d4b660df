//! One connection: bytes in both directions, and what the two sides tell each other beside them.

use super::again::say;
use super::socket::Socket;
use super::terminal::RawMode;
use super::{Attached, Over, Signals, any};
use bytes::Bytes;
use envforge_api::http::terminal::{TerminalControl, TerminalNotice};
use futures_util::{SinkExt as _, StreamExt as _};
use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

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
/// How long it is shown.
const SHOWN: Duration = Duration::from_secs(3);

impl Attached {
    /// Passes bytes both ways over one connection; `begun` is typed first.
    pub(super) async fn pass(&mut self, socket: Socket, begun: Vec<u8>, signals: &mut Signals) -> Over {
        let (mut to, mut from) = socket.split();
        let (heard, drawn) = (Cell::new(Instant::now()), Cell::new(None::<Instant>));
        let (stirred, redraw, to_say) = (Notify::new(), Cell::new(false), self.to_say.take());
        let (terminal, screen, writing, title) = (&self.terminal, &self.screen, &self.writing, &mut self.title);
        let (session, rest) = (&self.session, &self.rest);
        let input = async {
            for piece in begun.chunks(PIECE) {
                if to.send(Message::Binary(Bytes::copy_from_slice(piece))).await.is_err() {
                    return Over::Lost;
                }
            }
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
                    () = stirred.notified() => {
                        let (is_untold, is_due) = session.borrow().untold();
                        if redraw.take() {
                            if session.borrow().token().is_some() {
                                control(TerminalControl::Redraw)
                            } else {
                                // A server that does not know of redrawing: what runs there draws a window of another size.
                                let (cols, rows) = terminal.size();
                                if to.send(resize((cols, rows.saturating_sub(1)))).await.is_err() {
                                    return Over::Lost;
                                }
                                resize((cols, rows))
                            }
                        } else if is_due {
                            is_set = false;
                            control(session.borrow_mut().tell())
                        } else {
                            if is_untold && !is_set {
                                tell.as_mut().reset(Instant::now() + TELL_WITHIN);
                                is_set = true;
                            }
                            continue;
                        }
                    }
                    () = &mut tell, if is_set => {
                        is_set = false;
                        control(session.borrow_mut().tell())
                    }
                    _ = alive.tick() => {
                        if heard.get().elapsed() > DEAD_AFTER {
                            return Over::Lost;
                        }
                        Message::Ping(Bytes::new())
                    }
                };
                if to.send(message).await.is_err() {
                    return Over::Lost;
                }
            }
        };
        let output = async {
            while let Some(Ok(message)) = from.next().await {
                heard.set(Instant::now());
                match message {
                    Message::Binary(bytes) => {
                        let was_untold = session.borrow().untold().0;
                        session.borrow_mut().shown(bytes.len());
                        writing.set(true);
                        screen.borrow_mut().push(&bytes);
                        rest.replace(bytes);
                        if terminal.write_rest(rest).await.is_err() {
                            return Over::TerminalGone;
                        }
                        writing.set(false);
                        drawn.set(Some(Instant::now()));
                        let (is_untold, is_due) = session.borrow().untold();
                        if is_due || is_untold && !was_untold {
                            stirred.notify_one();
                        }
                    }
                    Message::Text(text) => match serde_json::from_str(&text) {
                        Ok(TerminalNotice::Ended { reason }) => return Over::Ended(reason),
                        Ok(TerminalNotice::Session { token }) => session.borrow_mut().begun(token.0),
                        Ok(TerminalNotice::Received { bytes }) => {
                            // One that counts something else is left, and found out when it is to go on.
                            if session.borrow_mut().acknowledge(bytes).is_err() {
                                return Over::Lost;
                            }
                            stirred.notify_one();
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
        };
        let between = async || {
            while writing.get() || !screen.borrow().is_between() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let titles = async {
            loop {
                let sequence = title.changed().await;
                between().await;
                writing.set(true);
                let written = terminal.write_all(&sequence).await;
                writing.set(false);
                if written.is_err() {
                    return Over::TerminalGone;
                }
            }
        };
        // What attaching anew may have cost, once the remote side has drawn its screen, for a moment.
        let words = async {
            if let Some(text) = to_say {
                let begun = Instant::now();
                let is_quiet = || drawn.get().is_some_and(|at| at.elapsed() > QUIET);
                while !is_quiet() && begun.elapsed() < QUIET_MAX {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                between().await;
                writing.set(true);
                say(terminal, true, text).await;
                writing.set(false);
                tokio::time::sleep(SHOWN).await;
                redraw.set(true);
                stirred.notify_one();
            }
            std::future::pending().await
        };
        let over = tokio::select! {
            biased;
            over = output => over,
            over = input => over,
            over = titles => over,
            over = words => over,
        };
        self.writing.set(false);
        if !matches!(over, Over::Lost) {
            // So that the terminal is not kept for somebody who will not come back.
            let _ = tokio::time::timeout(GOODBYE, to.close()).await;
        }
        over
    }
}

fn control(control: TerminalControl) -> Message {
    Message::Text(serde_json::to_string(&control).expect("plain data").into())
}

fn resize((cols, rows): (u16, u16)) -> Message {
    control(TerminalControl::Resize { cols, rows })
}
