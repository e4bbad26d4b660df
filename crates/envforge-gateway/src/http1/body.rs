//! Where a body ends, and chunks.
//!
//! A [`Decoder`] takes a body off the bytes that arrive, without copying them. Chunks are read strictly (RFC 9112,
//! section 7.1) and written anew, so extensions, leading zeros and whatever else only some readers see end here.

use crate::phase::headers::may_trail;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest line that tells a chunk's size, with its extensions.
const SIZE_LINE_MAX: usize = 256;
/// Longest trailer section, and most trailers.
const TRAILERS_MAX: usize = 8 * 1024;
const TRAILERS: usize = 32;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the connection's end; responses only.
    UntilEnd,
}

/// A body that can't be read in one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadBody(pub(crate) &'static str);

/// What was taken off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// Headers after it; the end comes next.
    Trailers(HeaderMap),
    /// It is over.
    End,
    /// Nothing yet.
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So much is left of it.
    Length(u64),
    UntilEnd,
    /// The line that tells the next chunk's size.
    Size,
    /// So much is left of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers,
    Over,
}

/// Takes a body off the bytes that arrive.
#[derive(Debug)]
pub(crate) struct Decoder(State);

impl Decoder {
    /// For a body that ends so.
    pub(crate) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Empty | Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilEnd => State::UntilEnd,
        })
    }

    /// Whether all of it was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.0 == State::Over
    }

    /// The bytes end here; whether the body may.
    pub(crate) fn ends(&mut self) -> Result<(), BadBody> {
        match self.0 {
            State::Over | State::UntilEnd => {
                self.0 = State::Over;
                Ok(())
            }
            _ => Err(BadBody("the body broke off")),
        }
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, input: &mut BytesMut) -> Result<Piece, BadBody> {
        loop {
            match self.0 {
                State::Over => return Ok(Piece::End),
                State::UntilEnd if input.is_empty() => return Ok(Piece::More),
                State::UntilEnd => return Ok(Piece::Data(input.split().freeze())),
                State::Length(left) => {
                    let Some((data, left)) = part(input, left) else { return Ok(Piece::More) };
                    self.0 = if left == 0 { State::Over } else { State::Length(left) };
                    return Ok(Piece::Data(data));
                }
                State::Chunk(left) => {
                    let Some((data, left)) = part(input, left) else { return Ok(Piece::More) };
                    self.0 = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(Piece::Data(data));
                }
                State::ChunkEnd => match &input[..] {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.0 = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Piece::More),
                    _ => return Err(BadBody("a chunk does not end where it said")),
                },
                State::Size => match line(input, SIZE_LINE_MAX)? {
                    None => return Ok(Piece::More),
                    Some(line) => {
                        let size = size_of(&line)?;
                        self.0 = if size == 0 { State::Trailers } else { State::Chunk(size) };
                    }
                },
                State::Trailers => {
                    let Some(trailers) = trailers(input)? else { return Ok(Piece::More) };
                    self.0 = State::Over;
                    return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
                }
            }
        }
    }
}

/// As much of `left` bytes as is there, and what is left then.
fn part(input: &mut BytesMut, left: u64) -> Option<(Bytes, u64)> {
    if input.is_empty() {
        return None;
    }
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    Some((input.split_to(length).freeze(), left - length as u64))
}

/// Takes a line off, without its end.
fn line(input: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, BadBody> {
    let Some(at) = memchr::memchr(b'\n', input) else {
        return if input.len() > limit { Err(BadBody("a chunk's size line is too long")) } else { Ok(None) };
    };
    if at == 0 || input[at - 1] != b'\r' || at > limit {
        return Err(BadBody("a chunk's size line can't be read"));
    }
    let line = input.split_to(at - 1);
    input.advance(2);
    Ok(Some(line))
}

fn size_of(line: &[u8]) -> Result<u64, BadBody> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    let is_extension = extension.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    let is_plain = extension.iter().all(|byte| *byte == b'\t' || (b' '..0x7f).contains(byte));
    if digits.is_empty() || digits.len() > 15 || !is_extension || !is_plain {
        return Err(BadBody("a chunk's size can't be read"));
    }
    let text = std::str::from_utf8(digits).map_err(|_| BadBody("a chunk's size can't be read"))?;
    u64::from_str_radix(text, 16).map_err(|_| BadBody("a chunk's size can't be read"))
}

fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, BadBody> {
    const BAD: BadBody = BadBody("the trailers can't be read");
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > TRAILERS_MAX { Err(BAD) } else { Ok(None) };
    };
    let section = input.split_to(end + 4).freeze();
    let mut bare = memchr::memchr_iter(b'\n', &section);
    if section.len() > TRAILERS_MAX || bare.any(|at| at == 0 || section[at - 1] != b'\r') {
        return Err(BAD);
    }
    let mut slots = [httparse::EMPTY_HEADER; TRAILERS];
    let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(&section, &mut slots) else {
        return Err(BAD);
    };
    let mut trailers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| BAD)?;
        let value = HeaderValue::from_maybe_shared(section.slice_ref(header.value)).map_err(|_| BAD)?;
        trailers.append(name, value);
    }
    Ok(Some(trailers))
}

/// Writes a chunk.
pub(crate) fn put_chunk(out: &mut BytesMut, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    put_chunk_size(out, data.len());
    out.extend_from_slice(data);
    out.put_slice(b"\r\n");
}

fn put_chunk_size(out: &mut BytesMut, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.put_u8(DIGITS[(size >> (digit * 4)) & 0xF]);
    }
    out.put_slice(b"\r\n");
}

/// Writes the last chunk, with trailers or without.
pub(crate) fn put_last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_trail(name.as_str())) {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A body, its trailers, and what is left of the bytes.
    type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    fn all(framing: Framing, text: &[u8]) -> Result<Whole, BadBody> {
        let (mut decoder, mut input) = (Decoder::new(framing), BytesMut::from(text));
        let (mut data, mut after) = (Vec::new(), None);
        loop {
            match decoder.take(&mut input)? {
                Piece::Data(bytes) => data.extend_from_slice(&bytes),
                Piece::Trailers(trailers) => after = Some(trailers),
                Piece::End => return Ok((data, after, input.to_vec())),
                Piece::More => {
                    decoder.ends()?;
                }
            }
        }
    }

    #[test]
    fn a_body_ends_where_it_says_and_what_follows_is_left() {
        assert_eq!(all(Framing::Length(3), b"abcGET /"), Ok((b"abc".to_vec(), None, b"GET /".to_vec())));
        assert_eq!(all(Framing::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET"), Ok((b"abc".to_vec(), None, b"GET".to_vec())));
        assert_eq!(all(Framing::Chunked, b"003;a=b\r\nabc\r\n0;x\r\n\r\n"), Ok((b"abc".to_vec(), None, Vec::new())));
        assert_eq!(all(Framing::UntilEnd, b"abc"), Ok((b"abc".to_vec(), None, Vec::new())));
        let (_, trailers, _) = all(Framing::Chunked, b"1\r\na\r\n0\r\nx-sum: 7\r\n\r\n").expect("good");
        assert_eq!(trailers.expect("trailers")["x-sum"], "7");
        assert!(all(Framing::Length(4), b"abc").is_err());
    }

    // proves LINK-6
    #[test]
    fn a_chunk_that_can_be_read_in_two_ways_is_refused() {
        for wrong in [
            &b"3\nabc\r\n0\r\n\r\n"[..],
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-1\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 a\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"3;\0\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nabc",
            b"3\r\nabc\r\n0\r\nx: a\ny: b\r\n\r\n",
            b"3\r\nabc\r\n0\r\n : b\r\n\r\n",
        ] {
            assert!(all(Framing::Chunked, wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_chunks_is_read_again(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
            cut in 1_usize..50,
        ) {
            let mut out = BytesMut::new();
            for chunk in &chunks {
                put_chunk(&mut out, chunk);
            }
            put_last_chunk(&mut out, None);
            let (mut decoder, mut input, mut data) = (Decoder::new(Framing::Chunked), BytesMut::new(), Vec::new());
            for piece in out.chunks(cut) {
                input.extend_from_slice(piece);
                while let Piece::Data(bytes) = decoder.take(&mut input).expect("good") {
                    data.extend_from_slice(&bytes);
                }
            }
            prop_assert!(decoder.is_over() && input.is_empty());
            prop_assert_eq!(data, chunks.concat());
        }
    }
}
