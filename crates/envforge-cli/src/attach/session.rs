//! What this side knows of a terminal that goes on over another connection.

use envforge_api::http::terminal::TerminalControl;
use envforge_core::resume::{INPUT_MAX, NotKept, Received, Sent};
use envforge_core::secret::Secret;

/// What the server says of it.
#[derive(Debug)]
enum State {
    /// Nothing yet.
    Unknown,
    /// It can be resumed with this.
    Resumable(Secret),
    /// It ends with its connection: nothing is counted or kept.
    Plain,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    state: State,
    input: Sent,
    output: Received,
}

impl Session {
    /// A terminal whose server was asked for a session and has not answered.
    pub(super) fn asked() -> Self {
        Self { state: State::Unknown, input: Sent::new(INPUT_MAX), output: Received::default() }
    }

    /// One that ends with its connection.
    pub(super) fn plain() -> Self {
        Self { state: State::Plain, ..Self::asked() }
    }

    /// What to resume it with.
    pub(super) fn token(&self) -> Option<&Secret> {
        match &self.state {
            State::Resumable(token) => Some(token),
            State::Unknown | State::Plain => None,
        }
    }

    /// The server's first word.
    pub(super) fn begun(&mut self, token: Secret) {
        if matches!(self.state, State::Unknown) {
            self.state = State::Resumable(token);
        }
    }

    /// How many bytes may be typed now.
    pub(super) fn room(&self) -> usize {
        if matches!(self.state, State::Plain) { usize::MAX } else { self.input.room() }
    }

    /// Bytes are typed, no more than there was room for.
    pub(super) fn typed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Plain) {
            self.input.push(bytes);
        }
    }

    /// Whether something was typed of which the other side did not say that it has it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.input.unacknowledged() > 0
    }

    /// The other side has so many bytes of what was typed.
    pub(super) fn acknowledge(&mut self, bytes: u64) -> Result<(), NotKept> {
        if self.token().is_some() { self.input.acknowledge(bytes) } else { Ok(()) }
    }

    /// Output came. A server that knows of sessions would have said so first.
    pub(super) fn shown(&mut self, length: usize) {
        match self.state {
            State::Unknown => *self = Self::plain(),
            State::Resumable(_) => self.output.take(length),
            State::Plain => {}
        }
    }

    /// Whether the other side should hear of output that came: soon, and at once.
    pub(super) fn untold(&self) -> (bool, bool) {
        (self.output.is_untold(), self.output.is_due())
    }

    /// What to tell the other side.
    pub(super) fn tell(&mut self) -> TerminalControl {
        TerminalControl::Received { bytes: self.output.tell() }
    }

    /// How many bytes of output came, to ask for the rest over another connection.
    pub(super) fn received(&mut self) -> u64 {
        self.output.tell()
    }

    /// What is to be typed first over another connection, whose other side has so many bytes of it.
    pub(super) fn resume(&mut self, taken: u64) -> Result<Vec<u8>, NotKept> {
        self.input.resume(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::Session;
    use envforge_core::resume::INPUT_MAX;
    use envforge_core::secret::Secret;

    #[test]
    fn keys_typed_before_the_server_said_anything_are_counted() {
        let mut session = Session::asked();
        session.typed(b"ab");
        session.begun(Secret::new("token".to_owned()));
        session.typed(b"c");
        session.acknowledge(1).unwrap();
        assert_eq!(session.resume(1).unwrap(), b"bc");
        session.acknowledge(4).unwrap_err();
    }

    #[test]
    fn a_server_without_sessions_never_stops_the_keyboard() {
        let mut session = Session::asked();
        session.typed(&vec![b'x'; INPUT_MAX]);
        assert_eq!(session.room(), 0);
        session.shown(1);
        assert_eq!((session.room(), session.untold(), session.is_in_doubt()), (usize::MAX, (false, false), false));
        assert!(session.token().is_none());
    }
}
