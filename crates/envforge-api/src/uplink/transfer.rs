//! Bytes whose end is told: a dump on its way out of a host, or into one.
//!
//! A stream that breaks off looks like one that ends. So bytes travel in pieces, and what was whole, or why it was not, is
//! said by the last: four bytes of length (big-endian), then as many of the dump; with the highest bit set, as many of JSON,
//! nothing or a [`Refusal`], after which nothing comes.

use envforge_core::refusal::Refusal;
use std::io;

/// Bytes of a piece at most.
pub const PIECE_MAX: usize = 64 * 1024;
const END: u32 = 1 << 31;

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of it.
    Data(Vec<u8>),
    /// Its end: all of it was there, or this is why not.
    End(Result<(), Refusal>),
}

/// The pieces that bytes travel in.
pub fn data(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(PIECE_MAX).flat_map(|part| [&(part.len() as u32).to_be_bytes(), part].concat()).collect()
}

/// The last piece.
pub fn end(result: &Result<(), Refusal>) -> Vec<u8> {
    let mut text = serde_json::to_vec(&result.as_ref().err()).unwrap_or_else(|_| b"null".to_vec());
    if text.len() > PIECE_MAX {
        let refusal = Refusal::unavailable("transfer.failed", "it failed with more words than can be told");
        text = serde_json::to_vec(&refusal).unwrap_or_default();
    }
    [&(END | text.len() as u32).to_be_bytes(), text.as_slice()].concat()
}

/// Puts pieces together from however they arrive.
#[derive(Debug, Default)]
pub struct Pieces {
    rest: Vec<u8>,
}

impl Pieces {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next piece that is whole. An error if this is no such stream.
    pub fn take(&mut self) -> io::Result<Option<Piece>> {
        let Some((length, body)) = self.rest.split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        let (is_end, length) = (length & END != 0, (length & !END) as usize);
        if length > PIECE_MAX {
            return Err(io::Error::other("a piece is longer than any may be"));
        }
        let Some(body) = body.get(..length) else { return Ok(None) };
        let piece = if is_end {
            Piece::End(serde_json::from_slice::<Option<Refusal>>(body)?.map_or(Ok(()), Err))
        } else {
            Piece::Data(body.to_vec())
        };
        self.rest.drain(..4 + length);
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_however_they_arrive() {
        let long = vec![7; PIECE_MAX + 1];
        let failed = Err(Refusal::conflict("dump.asleep", "it sleeps").hint("wake it"));
        for result in [Ok(()), failed] {
            let sent = [data(&long), data(b""), end(&result)].concat();
            let (mut pieces, mut got, mut ended) = (Pieces::default(), Vec::new(), None);
            for chunk in sent.chunks(1_000) {
                assert!(ended.is_none());
                pieces.push(chunk);
                while let Some(piece) = pieces.take().expect("it is such a stream") {
                    match piece {
                        Piece::Data(bytes) => got.extend(bytes),
                        Piece::End(result) => ended = Some(result),
                    }
                }
            }
            assert!(got == long && ended == Some(result));
        }
    }

    #[test]
    fn what_is_no_such_stream_is_told_and_fills_no_memory() {
        let mut pieces = Pieces::default();
        pieces.push(&[0x7f, 0xff, 0xff, 0xff]);
        assert!(pieces.take().is_err());
        let mut pieces = Pieces::default();
        pieces.push(&[0x80, 0, 0, 1, b'x']);
        assert!(pieces.take().is_err());
    }
}
