//! Heads of HTTP/1.1 messages, taken apart and put together.
//!
//! Taken apart strictly: lines end in CR LF, names are tokens, nothing is folded, a body's length is told once and in
//! one way (RFC 9112, sections 2.2, 5 and 6). Two readers of the same bytes must not come to different messages, and
//! what would let them is refused rather than repaired.

use crate::http1::body::Framing;
use crate::phase::headers::ForService;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use std::mem::MaybeUninit;

/// Headers a message may have; a client's are limited further by the gateway's limits.
pub(super) const HEADERS_MAX: usize = 256;
/// Empty lines before a request, which some clients send after a body (RFC 9112, section 2.2).
const EMPTY_LINES: usize = 2;

/// Why a head can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// It is longer than allowed, or has too many headers.
    #[error("the head is too large")]
    TooLarge,
    /// It can't be read in one way only.
    #[error("{0}")]
    Malformed(&'static str),
    /// It asks for a version that is not spoken.
    #[error("this version of HTTP is not spoken here")]
    Version,
}

/// A request's head, understood.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) request: Request<()>,
    pub(crate) framing: Framing,
    /// The client may send another request on the connection.
    pub(crate) keep_alive: bool,
    /// It waits for a word before it sends the body.
    pub(crate) expects_continue: bool,
    /// It takes trailers.
    pub(crate) takes_trailers: bool,
}

/// The headers in lines that were written here.
pub(crate) fn headers_in(lines: &[u8]) -> Result<HeaderMap, HeadError> {
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let text = Bytes::from([b"GET / HTTP/1.1\r\n", lines, b"\r\n"].concat());
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(&text, &mut slots) {
        Ok(_) => headers_of(&text, parsed.headers),
        Err(error) => Err(unreadable(error)),
    }
}

/// Looks for the end of a head in bytes that arrive piece by piece; no byte is looked at twice.
#[derive(Debug, Default)]
pub(crate) struct HeadEnd {
    scanned: usize,
    line: usize,
}

impl HeadEnd {
    /// The length of the head, once it is whole.
    pub(crate) fn find(&mut self, input: &mut BytesMut, limit: usize) -> Result<Option<usize>, HeadError> {
        if self.line == 0 {
            for _ in 0..EMPTY_LINES {
                if input.starts_with(b"\r\n") {
                    input.advance(2);
                    self.scanned = self.scanned.saturating_sub(2);
                }
            }
        }
        let begin = self.scanned;
        for at in memchr::memchr_iter(b'\n', &input[begin..]).map(|at| begin + at) {
            if at == 0 || input[at - 1] != b'\r' {
                return Err(HeadError::Malformed("a line does not end in CR LF"));
            }
            if at - self.line == 1 && self.line > 0 {
                if at >= limit {
                    return Err(HeadError::TooLarge);
                }
                *self = Self::default();
                return Ok(Some(at + 1));
            }
            self.line = at + 1;
        }
        self.scanned = input.len();
        if input.len() >= limit { Err(HeadError::TooLarge) } else { Ok(None) }
    }
}

pub(super) type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

pub(super) fn unreadable(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::HeaderName => HeadError::Malformed("a header's name can't be read"),
        httparse::Error::HeaderValue => HeadError::Malformed("a header's value can't be read"),
        httparse::Error::NewLine => HeadError::Malformed("a line does not end in CR LF"),
        httparse::Error::Status => HeadError::Malformed("the status line can't be read"),
        httparse::Error::Token => HeadError::Malformed("the first line can't be read"),
    }
}

/// Takes a request's head, found whole, off the input.
pub(crate) fn take_request(input: &mut BytesMut, length: usize, headers_max: usize) -> Result<RequestHead, HeadError> {
    let bytes = input.split_to(length).freeze();
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let room = headers_max.min(HEADERS_MAX);
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(&bytes, &mut slots[..room]) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::Malformed("the first line can't be read")),
        Err(error) => return Err(unreadable(error)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(HeadError::Malformed("the first line can't be read"));
    };
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Malformed("the method can't be read"))?;
    let uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes()))
        .map_err(|_| HeadError::Malformed("the target can't be read"))?;
    let headers = headers_of(&bytes, parsed.headers)?;
    let framing = match length_of_request(&headers, version)? {
        Told::Chunked => Framing::Chunked,
        Told::Length(0) | Told::Nothing => Framing::Empty,
        Told::Length(length) => Framing::Length(length),
    };
    let mut head = RequestHead {
        request: Request::new(()),
        framing,
        keep_alive: keeps_alive(&headers, version),
        expects_continue: version == Version::HTTP_11
            && headers
                .get(http::header::EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
        takes_trailers: has_token(&headers, &TE, "trailers"),
    };
    *head.request.method_mut() = method;
    *head.request.uri_mut() = uri;
    *head.request.version_mut() = version;
    *head.request.headers_mut() = headers;
    Ok(head)
}

fn headers_of(bytes: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| HeadError::Malformed("a header's name can't be read"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value))
            .map_err(|_| HeadError::Malformed("a header's value can't be read"))?;
        headers.try_append(name, value).map_err(|_| HeadError::TooLarge)?;
    }
    Ok(headers)
}

/// What a head tells of its body's length.
pub(super) enum Told {
    Nothing,
    Length(u64),
    Chunked,
}

/// The one length a request tells. Told twice, even alike, it is refused: whoever stands behind may count differently.
fn length_of_request(headers: &HeaderMap, version: Version) -> Result<Told, HeadError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    if lengths.next().is_some() || codings.next().is_some() {
        return Err(HeadError::Malformed("the length of the body is told twice"));
    }
    let (length, coding) = (length.map(HeaderValue::as_bytes), coding.map(HeaderValue::as_bytes));
    length_of(length, coding, version == Version::HTTP_10)
}

pub(super) fn length_of(length: Option<&[u8]>, coding: Option<&[u8]>, is_old: bool) -> Result<Told, HeadError> {
    if length.is_some() && coding.is_some() {
        return Err(HeadError::Malformed("the length of the body is told twice"));
    }
    if let Some(coding) = coding {
        if is_old || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Malformed("the body is coded in a way that is not spoken here"));
        }
        return Ok(Told::Chunked);
    }
    let Some(length) = length else { return Ok(Told::Nothing) };
    let digits = length;
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::Malformed("the length of the body is no number"));
    }
    Ok(Told::Length(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
}

fn keeps_alive(headers: &HeaderMap, version: Version) -> bool {
    if !headers.contains_key(CONNECTION) {
        return version == Version::HTTP_11;
    }
    if version == Version::HTTP_10 {
        has_token(headers, &CONNECTION, "keep-alive")
    } else {
        !has_token(headers, &CONNECTION, "close")
    }
}

/// Whether a header that is a list has this word in it.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// Writes a request's head. How long the body is, is told by `framing` alone.
pub(crate) fn put_request(out: &mut BytesMut, request: &ForService<'_>, framing: Framing) {
    let (method, target) = (&request.head.method, request.head.uri.path_and_query());
    let target = target.map_or("/", |target| target.as_str());
    out.reserve(256 + target.len());
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    request.put(out);
    match framing {
        // Some servers wait for a body unless told that there is none.
        Framing::Empty if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => put_length(out, 0),
        Framing::Empty | Framing::UntilEnd => {}
        Framing::Length(length) => put_length(out, length),
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.put_slice(b"\r\n");
}

/// Writes one header.
pub(crate) fn put_header(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

pub(super) fn put_length(out: &mut BytesMut, length: u64) {
    out.put_slice(b"content-length: ");
    put_number(out, length);
    out.put_slice(b"\r\n");
}

fn put_number(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str) -> Result<RequestHead, HeadError> {
        let mut input = BytesMut::from(text);
        let length = HeadEnd::default().find(&mut input, 8192)?.expect("a whole head");
        take_request(&mut input, length, 100)
    }

    fn framing(headers: &str) -> Result<Framing, HeadError> {
        request(&format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")).map(|head| head.framing)
    }

    // proves LINK-6
    #[test]
    fn a_body_has_one_length_or_the_request_is_refused() {
        assert_eq!(framing("content-length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("content-length: 0\r\n"), Ok(Framing::Empty));
        assert_eq!(framing(""), Ok(Framing::Empty));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for wrong in [
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length: -5\r\n",
            "content-length: 0x5\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length:\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding:\u{b}chunked\r\n",
            "transfer-encoding : chunked\r\n",
            " transfer-encoding: chunked\r\n",
            "x: a\r\n transfer-encoding: chunked\r\n",
            "x: a\r\n\tb\r\n",
            ": x\r\n",
            "a\0b: x\r\n",
            "a: x\0y\r\n",
            "a: x\ry\r\n",
            "a: x\ny: z\r\n",
        ] {
            assert!(framing(wrong).is_err(), "{wrong:?}");
        }
        assert!(request("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn the_first_line_is_read_in_one_way() {
        let head = request("\r\nGET /a?b HTTP/1.1\r\nHost: x\r\n\r\n").expect("good");
        assert_eq!(head.request.uri(), "/a?b");
        for wrong in [
            "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
            "GET /\r\nhost: a\r\n\r\n",
            "GE(T / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n host: a\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
        ] {
            assert!(request(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn connections_are_kept_as_the_client_wants() {
        let keeps = |version: &str, connection: &str| {
            request(&format!("GET / {version}\r\nhost: a\r\n{connection}\r\n")).expect("good").keep_alive
        };
        assert!(keeps("HTTP/1.1", "") && !keeps("HTTP/1.0", ""));
        assert!(!keeps("HTTP/1.1", "connection: x, Close\r\n") && keeps("HTTP/1.0", "connection: Keep-Alive\r\n"));
    }

    proptest! {
        #[test]
        fn a_head_is_found_wherever_its_pieces_are_cut(cuts in proptest::collection::vec(1_usize..40, 0..20)) {
            let text = b"GET /path HTTP/1.1\r\nhost: web--a--b.localhost\r\naccept: */*\r\n\r\nrest";
            let (mut input, mut end, mut found, mut at) = (BytesMut::new(), HeadEnd::default(), None, 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                let to = (at + cut).min(text.len());
                input.extend_from_slice(&text[at..to]);
                at = to;
                if found.is_none() {
                    found = end.find(&mut input, 8192).expect("readable");
                }
            }
            prop_assert_eq!(found, Some(text.len() - 4));
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut input = BytesMut::from(&bytes[..]);
            if let Ok(Some(length)) = HeadEnd::default().find(&mut input, 4096) {
                drop(take_request(&mut input, length, 16));
            }
        }
    }
}
