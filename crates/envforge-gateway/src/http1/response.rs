//! A service's answer: its head taken apart, and the head a client gets put together.
//!
//! Most answers are looked at no further than to where their body ends: the headers that are passed on are kept as the lines
//! in which they leave, and become a map for HTTP/2 alone.

use crate::http1::body::Framing;
use crate::http1::head::{
    HEADERS_MAX, HeadError, Slots, Told, headers_in, length_of, put_header, put_length, unreadable,
};
use crate::phase::headers;
use crate::phase::rewrite::ForClient;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::mem::MaybeUninit;

/// A response's head, understood.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
}

/// The headers of a service's response that are passed on, written as they leave: most responses are looked at no further.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    lines: Bytes,
    /// The length that is told, of this body or of the one a `HEAD` asks about.
    pub(crate) length: Option<u64>,
    /// It is a stream of events.
    pub(crate) is_event_stream: bool,
}

impl Fields {
    /// Of a response that did not come as lines.
    pub(crate) fn of(headers: &HeaderMap, rules: ForClient<'_>) -> Result<Self, HeadError> {
        if headers.len() > HEADERS_MAX {
            return Err(HeadError::TooLarge);
        }
        let pairs = headers.iter();
        let pairs: Vec<_> =
            pairs.map(|(name, value)| httparse::Header { name: name.as_str(), value: value.as_bytes() }).collect();
        let room = pairs.iter().map(|header| header.name.len() + header.value.len() + 4).sum();
        let mut read = Reading::new(&pairs, room, rules);
        for header in &pairs {
            read.take(header)?;
        }
        let told = read.told(false)?;
        Ok(read.fields(&told))
    }

    /// As a map, for whoever does not write lines.
    pub(crate) fn to_map(&self) -> HeaderMap {
        headers_in(&self.lines).unwrap_or_default()
    }
}

/// Takes a response's head, found whole, off the input. `to` is the method it answers.
pub(crate) fn take_response(
    input: &mut BytesMut,
    length: usize,
    to: &Method,
    rules: ForClient<'_>,
) -> Result<ResponseHead, HeadError> {
    let bytes = input.split_to(length).freeze();
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, &bytes, &mut slots) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HeadError::Malformed("the status line can't be read")),
        Err(error) => return Err(unreadable(error)),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let (Some(status), Some(minor)) = (status, parsed.version) else {
        return Err(HeadError::Malformed("the status line can't be read"));
    };
    let mut read = Reading::new(parsed.headers, bytes.len(), rules);
    for header in &*parsed.headers {
        read.take(header)?;
    }
    let told = read.told(minor == 0)?;
    let has_none = *to == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match told {
        _ if has_none => Framing::Empty,
        Told::Chunked => Framing::Chunked,
        Told::Length(0) => Framing::Empty,
        Told::Length(length) => Framing::Length(length),
        Told::Nothing => Framing::UntilEnd,
    };
    let keep_alive = if minor == 0 { read.says_keep_alive } else { !read.says_close };
    let fields = read.fields(&told);
    Ok(ResponseHead { status, fields, framing, keep_alive: keep_alive && framing != Framing::UntilEnd })
}

/// A response's headers while they are read.
struct Reading<'a> {
    lines: BytesMut,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    says_keep_alive: bool,
    says_close: bool,
    is_event_stream: bool,
    /// Headers that `Connection` names.
    named: Vec<&'a [u8]>,
    rules: ForClient<'a>,
}

impl<'a> Reading<'a> {
    fn new(headers: &[httparse::Header<'a>], room: usize, rules: ForClient<'a>) -> Self {
        let is_connection = |header: &&httparse::Header<'a>| header.name.eq_ignore_ascii_case("connection");
        let values = headers.iter().filter(is_connection).map(|header| header.value);
        let mut read = Self {
            lines: BytesMut::with_capacity(room),
            length: None,
            coding: None,
            says_keep_alive: false,
            says_close: false,
            is_event_stream: false,
            named: Vec::new(),
            rules,
        };
        for token in values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
            match token {
                _ if token.eq_ignore_ascii_case(b"close") => read.says_close = true,
                _ if token.eq_ignore_ascii_case(b"keep-alive") => read.says_keep_alive = true,
                _ => read.named.push(token),
            }
        }
        read
    }

    fn take(&mut self, header: &httparse::Header<'a>) -> Result<(), HeadError> {
        const TWICE: HeadError = HeadError::Malformed("the length of the body is told twice");
        let mut buffer = [0; headers::LONGEST];
        let name = headers::lower_case(header.name, &mut buffer);
        match name {
            "content-length" if self.length.replace(header.value).is_some() => return Err(TWICE),
            "transfer-encoding" if self.coding.replace(header.value).is_some() => return Err(TWICE),
            "content-length" | "transfer-encoding" => return Ok(()),
            "content-type" => self.is_event_stream = header.value.starts_with(b"text/event-stream"),
            _ if self.named.iter().any(|named| named.eq_ignore_ascii_case(name.as_bytes())) => return Ok(()),
            _ => {}
        }
        headers::put_for_client(&mut self.lines, name, header.value, self.rules);
        Ok(())
    }

    fn told(&self, is_old: bool) -> Result<Told, HeadError> {
        length_of(self.length, self.coding, is_old)
    }

    fn fields(self, told: &Told) -> Fields {
        let length = match told {
            Told::Length(length) => Some(*length),
            Told::Chunked | Told::Nothing => None,
        };
        Fields { lines: self.lines.freeze(), length, is_event_stream: self.is_event_stream }
    }
}

/// How a response's body is told to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// By its length.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    UntilEnd,
    /// Not at all: there is none, and a length in the headers is another request's to come true.
    None,
}

/// Whose words a response is.
#[derive(Clone, Copy)]
pub(crate) enum Said<'a> {
    /// Ours.
    Ours(&'a HeaderMap),
    /// A service's.
    Theirs(&'a Fields),
}

/// Writes a response's head.
pub(crate) fn put_response(
    out: &mut BytesMut,
    said: Said<'_>,
    status: StatusCode,
    announced: Announced,
    connection: Option<&'static str>,
    hsts: Option<&HeaderValue>,
) {
    out.reserve(512);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or("-").as_bytes());
    out.put_slice(b"\r\n");
    match said {
        Said::Theirs(fields) => out.extend_from_slice(&fields.lines),
        Said::Ours(headers) => {
            for (name, value) in headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
                put_header(out, name.as_str(), value.as_bytes());
            }
        }
    }
    match announced {
        Announced::Length(length) => put_length(out, length),
        Announced::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Announced::UntilEnd => {}
        Announced::None => {
            // A 204 has none to tell (RFC 9110, section 8.6).
            if let Said::Theirs(Fields { length: Some(length), .. }) = said
                && status != StatusCode::NO_CONTENT
            {
                put_length(out, *length);
            }
        }
    }
    if let Some(hsts) = hsts {
        put_header(out, "strict-transport-security", hsts.as_bytes());
    }
    if let Some(connection) = connection {
        out.put_slice(b"connection: ");
        out.put_slice(connection.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::HeadEnd;

    #[test]
    fn a_response_without_a_length_ends_with_its_connection() {
        let response = |text: &str, to: Method| {
            let mut input = BytesMut::from(text);
            let length = HeadEnd::default().find(&mut input, 8192).expect("readable").expect("whole");
            take_response(&mut input, length, &to, ForClient::default()).map(|head| (head.framing, head.keep_alive))
        };
        assert_eq!(response("HTTP/1.1 200 OK\r\na: b\r\n\r\n", Method::GET), Ok((Framing::UntilEnd, false)));
        assert_eq!(response("HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n", Method::GET), Ok((Framing::Length(3), true)));
        assert_eq!(response("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Method::HEAD), Ok((Framing::Empty, true)));
        assert_eq!(response("HTTP/1.1 304 N\r\ncontent-length: 3\r\n\r\n", Method::GET), Ok((Framing::Empty, true)));
        assert!(
            response("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", Method::GET)
                .is_err()
        );
    }
}
