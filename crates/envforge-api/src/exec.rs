//! A command in the shell layer, as frames: its streams apart, signals, its end.
//!
//! A frame is a byte that says what it is, and what it is about: bytes as they are, anything else as JSON. On the WebSocket
//! it is one binary message; on the socket between server and host its length stands before it, as four bytes, most
//! significant first.
//!
//! Output is held back by whoever reads it, as through a pipe. Input is not sent before there is room for it: at most
//! [`INPUT_WINDOW`] bytes are on their way that [`FromCommand::Taken`] has not told of, so that a signal never waits behind
//! input that nobody reads.

use envforge_core::refusal::Refusal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest frame, in bytes.
pub const FRAME_MAX: usize = 256 * 1024;
/// Most bytes of a stream in one frame.
pub const DATA_MAX: usize = 32 * 1024;
/// Most bytes of input on their way.
pub const INPUT_WINDOW: usize = 256 * 1024;
/// Longest command line, in bytes.
pub const ARGV_MAX: usize = 32 * 1024;

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Program and arguments; no shell reads them.
    pub argv: Vec<String>,
    /// In a terminal of this size, which stands for all three streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Size>,
}

impl Start {
    /// Whether it can be run at all.
    pub fn check(&self) -> Result<(), Refusal> {
        let bytes: usize = self.argv.iter().map(|argument| argument.len() + 1).sum();
        let empty = self.argv.first().is_none_or(String::is_empty);
        if empty || bytes > ARGV_MAX || self.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(Refusal::invalid(
                "exec.argv",
                "a command needs a program, and at most 32 KiB of arguments without NUL bytes",
            ));
        }
        Ok(())
    }
}

/// Of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A signal that can be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Ctrl-C, to everything the command runs.
    Interrupt,
    /// Ctrl-\\, the same.
    Quit,
    /// To the command alone.
    Terminate,
    /// To the command alone.
    Hangup,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// By itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// By a signal.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// It never ran.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// Nobody saw how.
    Unseen {
        /// Why not, in words.
        reason: String,
    },
}

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToCommand {
    /// First, and once.
    Start(Start),
    /// Input.
    Input(Vec<u8>),
    /// There is no more input.
    InputEnded,
    /// A signal.
    Signal(Signal),
    /// Its terminal has another size.
    Resize(Size),
}

/// To the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromCommand {
    /// Its standard output, or its terminal's.
    Output(Vec<u8>),
    /// Its standard error.
    Errors(Vec<u8>),
    /// So many bytes of input more were taken.
    Taken(u32),
    /// The last: how it ended.
    Ended(End),
}

/// A frame that can't be understood.
#[derive(Debug, thiserror::Error)]
#[error("not a frame of a command")]
pub struct BadFrame;

fn with(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + data.len());
    frame.push(kind);
    frame.extend_from_slice(data);
    frame
}

fn json<T: Serialize>(kind: u8, value: &T) -> Vec<u8> {
    with(kind, &serde_json::to_vec(value).expect("plain data"))
}

fn read<T: DeserializeOwned>(data: &[u8]) -> Result<T, BadFrame> {
    serde_json::from_slice(data).map_err(|_| BadFrame)
}

fn data(bytes: &[u8]) -> Result<Vec<u8>, BadFrame> {
    if bytes.len() > DATA_MAX { Err(BadFrame) } else { Ok(bytes.to_vec()) }
}

impl ToCommand {
    /// As a frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Start(start) => json(0, start),
            Self::Input(bytes) => with(1, bytes),
            Self::InputEnded => with(2, &[]),
            Self::Signal(signal) => json(3, signal),
            Self::Resize(size) => json(4, size),
        }
    }

    /// From a frame.
    pub fn decode(frame: &[u8]) -> Result<Self, BadFrame> {
        let (kind, rest) = frame.split_first().ok_or(BadFrame)?;
        match kind {
            0 => Ok(Self::Start(read(rest)?)),
            1 => Ok(Self::Input(data(rest)?)),
            2 if rest.is_empty() => Ok(Self::InputEnded),
            3 => Ok(Self::Signal(read(rest)?)),
            4 => Ok(Self::Resize(read(rest)?)),
            _ => Err(BadFrame),
        }
    }
}

impl FromCommand {
    /// As a frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Output(bytes) => with(16, bytes),
            Self::Errors(bytes) => with(17, bytes),
            Self::Taken(bytes) => with(18, &bytes.to_be_bytes()),
            Self::Ended(end) => json(19, end),
        }
    }

    /// From a frame.
    pub fn decode(frame: &[u8]) -> Result<Self, BadFrame> {
        let (kind, rest) = frame.split_first().ok_or(BadFrame)?;
        match kind {
            16 => Ok(Self::Output(data(rest)?)),
            17 => Ok(Self::Errors(data(rest)?)),
            18 => Ok(Self::Taken(u32::from_be_bytes(rest.try_into().map_err(|_| BadFrame)?))),
            19 => Ok(Self::Ended(read(rest)?)),
            _ => Err(BadFrame),
        }
    }
}

/// A frame with its length before it.
pub fn delimited(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a frame is short");
    [&length.to_be_bytes()[..], frame].concat()
}

/// Cuts what comes from a socket into frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes in what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, BadFrame> {
        let Some(head) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > FRAME_MAX {
            return Err(BadFrame);
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let frame = self.bytes[4..4 + length].to_vec();
        self.bytes.drain(..4 + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves UP-11
    #[test]
    fn frames_come_out_as_they_went_in_wherever_they_were_cut() {
        let start =
            Start { argv: vec!["sh".to_owned(), "a b".to_owned()], terminal: Some(Size { cols: 80, rows: 24 }) };
        let sent = [
            ToCommand::Start(start),
            ToCommand::Input(b"\x00\xff".to_vec()),
            ToCommand::InputEnded,
            ToCommand::Signal(Signal::Interrupt),
            ToCommand::Resize(Size { cols: 1, rows: 2 }),
        ];
        let whole: Vec<u8> = sent.iter().flat_map(|frame| delimited(&frame.encode())).collect();
        for cut in 0..whole.len() {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for part in [&whole[..cut], &whole[cut..]] {
                frames.push(part);
                while let Some(frame) = frames.take().expect("fine") {
                    got.push(ToCommand::decode(&frame).expect("fine"));
                }
            }
            assert_eq!(got, sent);
        }
        let told = [
            FromCommand::Output(vec![0; DATA_MAX]),
            FromCommand::Errors(Vec::new()),
            FromCommand::Taken(70_000),
            FromCommand::Ended(End::Exited { code: 7 }),
        ];
        for frame in told {
            assert_eq!(FromCommand::decode(&frame.encode()).expect("fine"), frame);
            assert!(ToCommand::decode(&frame.encode()).is_err(), "it is for the other side");
        }
        for bad in [&b""[..], b"\x02x", b"\x03\"kill\"", b"\x12abc", b"\xff", &vec![1; DATA_MAX + 2]] {
            assert!(ToCommand::decode(bad).is_err() && FromCommand::decode(bad).is_err());
        }
        let mut endless = Frames::default();
        endless.push(&[0xff; 4]);
        assert!(endless.take().is_err());
    }
}
