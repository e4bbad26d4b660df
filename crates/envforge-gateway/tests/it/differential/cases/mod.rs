//! What is sent: requests of which some server reads something else than another, and their decent neighbours.

mod bodies;
mod heads;
mod meanings;

/// What has to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Must {
    /// Refused, and the connection closed: nobody knows where the next request begins.
    Refuse,
    /// Refused and closed, or passed on as one request that everybody reads alike.
    Settle,
    /// Never passed on whole: its body breaks off or is none.
    Break,
    /// Where it ends is clear, what it means is not: refused, the connection kept or not, or passed on as one request.
    Choose,
    /// Nothing is wrong with it: it arrives with this body.
    Pass(Vec<u8>),
}

/// One thing to send.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) must: Must,
}

/// What good requests of a visitor hold.
pub(crate) struct Kit {
    pub(crate) host: String,
    pub(crate) cookie: String,
}

impl Kit {
    /// `Host` and `Cookie`, as lines.
    fn usual(&self) -> String {
        format!("Host: {}\r\nCookie: {}\r\n", self.host, self.cookie)
    }

    /// A request with these lines and this body.
    fn post(&self, lines: &str, body: &str) -> Vec<u8> {
        format!("POST /case HTTP/1.1\r\n{}{lines}\r\n{body}", self.usual()).into_bytes()
    }

    fn get(&self, lines: &str) -> Vec<u8> {
        format!("GET /case HTTP/1.1\r\n{}{lines}\r\n", self.usual()).into_bytes()
    }

    /// A request with this first line.
    fn line(&self, line: &str) -> Vec<u8> {
        format!("{line}\r\n{}\r\n", self.usual()).into_bytes()
    }

    /// A request that must never be read as one: it lies in another's body.
    fn hidden(&self) -> String {
        format!("GET /hidden HTTP/1.1\r\n{}\r\n", self.usual())
    }

    /// The request that follows each case on its connection.
    pub(crate) fn next(&self) -> Vec<u8> {
        format!("GET /next HTTP/1.1\r\n{}Connection: close\r\n\r\n", self.usual()).into_bytes()
    }
}

/// All of them.
pub(crate) fn all(kit: &Kit) -> Vec<Case> {
    [bodies::lengths(kit), bodies::codings(kit), bodies::chunks(kit), heads::all(kit), meanings::all(kit)]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: impl Into<String>, must: Must, bytes: Vec<u8>) -> Case {
    Case { name: name.into(), bytes, must }
}
