//! Two readings of the same bytes, as far apart as servers are: one refuses whatever RFC 9112 leaves open, the other takes
//! whatever some server somewhere takes. Where both find the same requests, nobody finds others.

/// One request as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Read {
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// What both readings have to agree on; white space around a value is nobody's meaning.
    fn meaning(&self) -> (&str, &str, Vec<(&str, &str)>, &[u8]) {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
        (&self.method, &self.target, headers, &self.body)
    }
}

/// A request and how many bytes it took; `None` while more bytes are needed.
type One = Option<(Read, usize)>;
/// Something read, and what follows it; `None` while more bytes are needed.
type Then<'a, T> = Option<(T, &'a [u8])>;

/// Every whole request of a connection, if both readings agree; a last one that never became whole is left out.
pub(crate) fn agreed(bytes: &[u8]) -> Result<Vec<Read>, String> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (strictly, loosely) = (strict(rest)?, lenient(rest));
        match (strictly, loosely) {
            (Some((one, length)), Some((other, also))) => {
                if length != also || one.meaning() != other.meaning() {
                    return Err(format!("{one:?} of {length} bytes for one, {other:?} of {also} for another"));
                }
                at += length;
                found.push(one);
            }
            (None, None) => break,
            (one, other) => return Err(format!("{one:?} for one, {other:?} for another")),
        }
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// A line that ends with CRLF and has neither alone; with what follows it.
fn strict_line(bytes: &[u8]) -> Result<Then<'_, &[u8]>, String> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else { return Ok(None) };
    match &bytes[end..] {
        [b'\r', b'\n', rest @ ..] => Ok(Some((&bytes[..end], rest))),
        [b'\r'] => Ok(None),
        _ => Err(format!("a line ends badly: {}", bytes[..bytes.len().min(end + 8)].escape_ascii())),
    }
}

fn strict_header(line: &[u8]) -> Result<(String, String), String> {
    let bad = || format!("no header: {}", line.escape_ascii());
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_plain = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    if !is_token(name) || !is_plain {
        return Err(bad());
    }
    Ok((text(name).to_ascii_lowercase(), text(value)))
}

/// As narrow as RFC 9112 allows a recipient to be.
pub(crate) fn strict(bytes: &[u8]) -> Result<One, String> {
    let Some((line, mut rest)) = strict_line(bytes)? else { return Ok(None) };
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(format!("no request: {}", line.escape_ascii())) };
    let is_visible = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    if !is_token(method) || !is_visible || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(format!("no request: {}", line.escape_ascii()));
    }
    let mut headers = Vec::new();
    loop {
        let Some((line, after)) = strict_line(rest)? else { return Ok(None) };
        rest = after;
        if line.is_empty() {
            break;
        }
        headers.push(strict_header(line)?);
    }
    let mut read = Read { method: text(method), target: text(target), headers, body: Vec::new() };
    let (hosts, lengths, codings): (Vec<&str>, Vec<&str>, Vec<&str>) =
        (read.all("host").collect(), read.all("content-length").collect(), read.all("transfer-encoding").collect());
    if hosts.len() != 1 || hosts[0].is_empty() {
        return Err(format!("hosts: {hosts:?}"));
    }
    let length = match (&lengths[..], &codings[..]) {
        ([], []) => 0,
        ([length], []) if !length.is_empty() && length.len() < 16 && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map_err(|_| "a length".to_owned())?
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => {
            let Some((body, after)) = strict_chunks(rest)? else { return Ok(None) };
            read.body = body;
            return Ok(Some((read, bytes.len() - after.len())));
        }
        other => return Err(format!("lengths: {other:?}")),
    };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    read.body = body.to_vec();
    Ok(Some((read, bytes.len() - rest.len() + length)))
}

fn strict_chunks(mut rest: &[u8]) -> Result<Then<'_, Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some((line, after)) = strict_line(rest)? else { return Ok(None) };
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_hex = !size.is_empty() && size.len() < 9 && size.iter().all(u8::is_ascii_hexdigit);
        if !is_hex || !line.iter().all(|byte| *byte >= b' ' && *byte != 0x7f) {
            return Err(format!("no chunk: {}", line.escape_ascii()));
        }
        let size = usize::from_str_radix(&text(size), 16).map_err(|error| error.to_string())?;
        rest = after;
        if size == 0 {
            break;
        }
        let Some(data) = rest.get(..size) else { return Ok(None) };
        body.extend_from_slice(data);
        match &rest[size..] {
            [b'\r', b'\n', after @ ..] => rest = after,
            [] | [b'\r'] => return Ok(None),
            _ => return Err("a chunk is longer than it says".to_owned()),
        }
    }
    loop {
        let Some((line, after)) = strict_line(rest)? else { return Ok(None) };
        rest = after;
        if line.is_empty() {
            return Ok(Some((body, rest)));
        }
        strict_header(line)?;
    }
}

/// A line that ends with CRLF, LF or CR.
fn lenient_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\r' || *byte == b'\n')?;
    let rest = bytes[end..].strip_prefix(b"\r\n").unwrap_or(&bytes[end + 1..]);
    Some((&bytes[..end], rest))
}

/// Takes any end of line, folded lines, space around names, the last of several lengths, and whatever holds `chunked`.
pub(crate) fn lenient(bytes: &[u8]) -> One {
    let mut rest = bytes;
    let line = loop {
        let (line, after) = lenient_line(rest)?;
        rest = after;
        if !line.is_empty() {
            break line;
        }
    };
    let mut words = line.split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b).filter(|word| !word.is_empty());
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let (line, after) = lenient_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        if let (Some((_, value)), b' ' | b'\t') = (headers.last_mut(), line[0]) {
            value.push_str(&text(line));
        } else {
            let line = text(line);
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut read = Read { method: text(method), target: text(target), headers, body: Vec::new() };
    if read.all("transfer-encoding").any(|coding| coding.to_ascii_lowercase().contains("chunked")) {
        let (body, after) = lenient_chunks(rest)?;
        read.body = body;
        return Some((read, bytes.len() - after.len()));
    }
    let length = read.all("content-length").last().map_or(0, |length| digits(length.trim_start_matches('+'), 10));
    read.body = rest.get(..length)?.to_vec();
    Some((read, bytes.len() - rest.len() + length))
}

fn digits(from: &str, radix: u32) -> usize {
    let end = from.find(|letter: char| !letter.is_digit(radix)).unwrap_or(from.len());
    usize::from_str_radix(&from[..end], radix).unwrap_or(0)
}

fn lenient_chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (line, after) = lenient_line(rest)?;
        rest = after;
        let size = text(line.trim_ascii()).to_ascii_lowercase();
        match digits(size.trim_start_matches("0x"), 16) {
            0 => break,
            size => {
                body.extend_from_slice(rest.get(..size)?);
                rest = &rest[size..];
                rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest);
            }
        }
    }
    loop {
        let (line, after) = lenient_line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((body, rest));
        }
    }
}

#[test]
fn the_readings_tell_what_is_ambiguous_from_what_is_not() {
    let good = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    let targets: Vec<String> = agreed(good).expect("clear").into_iter().map(|read| read.target).collect();
    assert_eq!(targets, ["/a", "/b"]);
    let chunked = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n";
    assert_eq!(agreed(chunked).expect("clear")[0].body, b"abc");
    assert!(agreed(&chunked[..chunked.len() - 3]).expect("clear").is_empty(), "not whole");
    for bad in [
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nX: y\nContent-Length: 3\r\n\r\nabc",
        "POST /a HTTP/1.1\r\nHost: h\r\nX: y\r\n Content-Length: 3\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    ] {
        assert!(agreed(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
