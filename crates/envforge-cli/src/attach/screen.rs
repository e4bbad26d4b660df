//! What the remote side did to this terminal, followed closely enough to undo it.
//!
//! Two questions are answered: is the output between two escape sequences and characters, so that something of
//! ours may be written there; and which modes were switched on and not off again, so that leaving, at any
//! moment, gives the person's terminal back as it was: main screen, visible cursor, no mouse reports.

/// Private modes worth undoing, in the order of undoing: reports first, the screen last.
const MODES: [u16; 14] = [1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 2004, 2026, 1, 47, 1047, 1049];

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// Inside a character of several bytes.
    Utf8(u8),
    Escape,
    /// After ESC and an intermediate byte, such as a character set.
    Intermediate,
    Control,
    /// OSC, DCS and their kin: text up to BEL or ST.
    Text,
    TextEscape,
}

/// Follows the output.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    state: State,
    parameters: Vec<u8>,
    modes: u16,
    cursor_hidden: bool,
    keypad: bool,
    keyboard_pushed: u8,
    other_keys: bool,
    /// What came of the sequence or character that is not complete, unless it is long.
    begun: Vec<u8>,
}

/// Longest parameter text that can matter.
const PARAMETERS_MAX: usize = 64;
/// The most that is kept of what is not complete, in bytes. A longer one is a clipboard or an image, not the screen.
const BEGUN_MAX: usize = 4096;

impl Screen {
    /// Takes output in.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if self.is_between() {
                from = at;
                self.begun.clear();
            }
            self.state = self.next(byte);
        }
        if self.is_between() {
            self.begun.clear();
        } else if self.begun.len() <= BEGUN_MAX {
            self.begun.extend_from_slice(&bytes[from..]);
        }
    }

    /// What has to be written again when something else was written where it was not between: the incomplete sequence or
    /// character, so that its rest has a meaning.
    pub(crate) fn begun(&self) -> &[u8] {
        if self.begun.len() <= BEGUN_MAX { &self.begun } else { &[] }
    }

    /// Whether something may be written between.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Ground
    }

    fn next(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (_, 0x18 | 0x1a) | (State::Text, 0x07) | (State::TextEscape, b'\\') => State::Ground,
            (State::Text, 0x1b) => State::TextEscape,
            (State::TextEscape, _) => {
                // Not the end of the text, so another sequence that cuts it off.
                self.state = State::Escape;
                self.next(byte)
            }
            (State::Text, _) | (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Text,
            (_, 0x1b) => State::Escape,
            (State::Escape, b'[') => {
                self.parameters.clear();
                State::Control
            }
            (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
            (State::Escape, _) => {
                match byte {
                    b'=' => self.keypad = true,
                    b'>' => self.keypad = false,
                    b'c' => *self = Self::default(),
                    _ => {}
                }
                State::Ground
            }
            (State::Intermediate, _) => State::Ground,
            (State::Control, 0x40..=0x7e) => {
                self.control(byte);
                State::Ground
            }
            (State::Control, _) => {
                if self.parameters.len() < PARAMETERS_MAX {
                    self.parameters.push(byte);
                }
                State::Control
            }
            (State::Utf8(left @ 2..), 0x80..=0xbf) => State::Utf8(left - 1),
            (_, 0xc0..=0xdf) => State::Utf8(1),
            (_, 0xe0..=0xef) => State::Utf8(2),
            (_, 0xf0..=0xf7) => State::Utf8(3),
            _ => State::Ground,
        }
    }

    fn control(&mut self, end: u8) {
        let parameters = std::str::from_utf8(&self.parameters).unwrap_or_default();
        match (end, parameters.as_bytes().first()) {
            (b'h' | b'l', Some(b'?')) => {
                let on = end == b'h';
                for mode in parameters[1..].split(';').filter_map(|mode| mode.parse::<u16>().ok()) {
                    if mode == 25 {
                        self.cursor_hidden = !on;
                    } else if let Some(bit) = MODES.iter().position(|known| *known == mode) {
                        self.modes = if on { self.modes | (1 << bit) } else { self.modes & !(1 << bit) };
                    }
                }
            }
            (b'u', Some(b'>')) => self.keyboard_pushed = self.keyboard_pushed.saturating_add(1),
            (b'u', Some(b'<')) => self.keyboard_pushed = self.keyboard_pushed.saturating_sub(1),
            (b'm', Some(b'>')) => self.other_keys = !matches!(parameters, ">4" | ">4;0"),
            _ => {}
        }
    }

    /// What gives the terminal back: ends a sequence cut short, then undoes what is still on.
    pub(crate) fn undo(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self.state {
            State::Ground | State::Utf8(_) => {}
            State::Text | State::TextEscape => out.extend_from_slice(b"\x1b\\"),
            _ => out.push(0x18),
        }
        if self.other_keys {
            out.extend_from_slice(b"\x1b[>4;0m");
        }
        for _ in 0..self.keyboard_pushed {
            out.extend_from_slice(b"\x1b[<u");
        }
        if self.keypad {
            out.extend_from_slice(b"\x1b>");
        }
        let screens = [47, 1047, 1049];
        for (bit, mode) in MODES.iter().enumerate().filter(|(bit, _)| self.modes & (1 << bit) != 0) {
            let _ = bit;
            if screens.contains(mode) {
                // Margins belong to the screen that is left; resetting them here does not move the cursor it restores.
                out.extend_from_slice(b"\x1b[r");
            }
            out.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
        }
        if self.cursor_hidden {
            out.extend_from_slice(b"\x1b[?25h");
        }
        out.extend_from_slice(b"\x1b[0m");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Screen;

    fn after(output: &[u8]) -> Screen {
        let mut screen = Screen::default();
        screen.push(output);
        screen
    }

    #[test]
    fn only_what_is_still_on_is_undone() {
        assert_eq!(after(b"plain\r\n").undo(), b"\x1b[0m");
        let cut = after(b"\x1b[?1049h\x1b[?25l\x1b[?1000;1006h\x1b=text");
        assert_eq!(cut.undo(), b"\x1b>\x1b[?1000l\x1b[?1006l\x1b[r\x1b[?1049l\x1b[?25h\x1b[0m");
        let left = after(b"\x1b[?1049h\x1b[?25l\x1b[?1049l\x1b[?25h");
        assert_eq!(left.undo(), b"\x1b[0m");
        assert_eq!(after(b"\x1b[>1u\x1b[>4;2m").undo(), b"\x1b[>4;0m\x1b[<u\x1b[0m");
    }

    #[test]
    fn nothing_is_written_inside_a_sequence_or_a_character() {
        for inside in ["\x1b", "\x1b[", "\x1b[?104", "\x1b]2;title", "\x1b]2;title\x1b", "\x1bP+q", "\x1b("] {
            assert!(!after(inside.as_bytes()).is_between(), "{inside:?}");
        }
        assert!(!after(&"\u{2713}".as_bytes()[..2]).is_between());
        for between in [
            "",
            "x",
            "\x1b[2J",
            "\x1b]2;title\x07",
            "\x1b]2;t\x1b\\",
            "\x1b]2;t\x1b[0m",
            "\x1b(B",
            "\u{2713}",
            "\u{1f600}",
        ] {
            assert!(after(between.as_bytes()).is_between(), "{between:?}");
        }
    }

    #[test]
    fn what_was_cut_short_can_be_begun_again() {
        for (output, begun) in [
            (&["text"][..], ""),
            (&["text\x1b[1"], "\x1b[1"),
            (&["\x1b[2J\x1b", "]2;ti", "tle"], "\x1b]2;title"),
            (&["\x1b]2;ti", "tle\x07x"], ""),
            (&["\x1b]2;ti", "tle\x07\x1b[3"], "\x1b[3"),
        ] {
            let mut screen = Screen::default();
            for part in output {
                screen.push(part.as_bytes());
            }
            assert_eq!(screen.begun(), begun.as_bytes(), "{output:?}");
        }
        let mut long = after(b"\x1b]52;c;");
        long.push(&[b'A'; 10_000]);
        assert_eq!(long.begun(), b"", "what was not kept whole is not begun again");
    }

    #[test]
    fn a_sequence_cut_short_is_ended_first() {
        assert!(after(b"\x1b]2;half").undo().starts_with(b"\x1b\\"));
        assert!(after(b"\x1b[12").undo().starts_with(b"\x18"));
    }
}
