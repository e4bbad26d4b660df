//! One client's conversation.
//!
//! Commands may come many at a time (RFC 2920); what is answered to them goes out together, before more is read. Credentials
//! are asked for by nobody and accepted whatever they are, because programs that are given some refuse to go without.

use super::mailbox::{Draft, Envelope, Mailbox, SIZE_MAX};
use smtp_proto::request::receiver::{DataReceiver, DummyDataReceiver, LineReceiver, RequestReceiver};
use smtp_proto::{
    AUTH_LOGIN, AUTH_PLAIN, EXT_8BIT_MIME, EXT_AUTH, EXT_ENHANCED_STATUS_CODES, EXT_PIPELINING, EXT_SIZE,
    EXT_SMTP_UTF8, EhloResponse, Error, Request, Response,
};
use std::io;
use std::slice::Iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The name it goes by.
const NAME: &str = "mail.localhost";
/// How long a client may say nothing, or not read what it is told (RFC 5321, section 4.5.3.2.7).
const PATIENCE: Duration = Duration::from_mins(5);
/// Recipients of a message.
const RECIPIENTS_MAX: usize = 400;
/// Commands that made no sense, in one conversation.
const MISTAKES_MAX: usize = 20;
/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;
/// What a client is asked that authenticates by `PLAIN` (RFC 4616).
const PLAIN: &[&str] = &[""];
/// The same by `LOGIN`, as every server does it: `Username:` and `Password:` in base64.
const LOGIN: &[&str] = &["VXNlcm5hbWU6", "UGFzc3dvcmQ6"];

/// A conversation.
struct Session {
    mailbox: Arc<Mailbox>,
    /// The message that is being prepared, from its sender on.
    envelope: Option<Envelope>,
    mistakes: usize,
    /// What is to be said next.
    out: Vec<u8>,
}

/// What the next bytes are.
enum Expected {
    Commands,
    /// The answer to what was asked about credentials, and what is asked next.
    Credentials(LineReceiver<&'static [&'static str]>),
    Content(Box<Content>),
    /// The rest of a message that is not kept, and why not.
    Rest(DummyDataReceiver, Rejected),
    /// Nothing: it is over.
    Nothing,
}

/// A message that arrives.
struct Content {
    receiver: DataReceiver,
    draft: Draft,
    /// What was not written yet; the last byte may turn out to belong to the end of the message.
    pending: Vec<u8>,
}

/// Why a message is not kept.
#[derive(Clone, Copy)]
enum Rejected {
    TooLarge,
    NoRoom,
}

/// Talks with a client until either side has enough.
pub(super) async fn converse(mut stream: TcpStream, mailbox: Arc<Mailbox>) -> io::Result<()> {
    let mut session = Session { mailbox, envelope: None, mistakes: 0, out: Vec::new() };
    session.out.extend_from_slice(format!("220 {NAME} ESMTP, nothing is delivered\r\n").as_bytes());
    let (mut requests, mut expected) = (RequestReceiver::default(), Expected::Commands);
    let mut chunk = vec![0_u8; CHUNK];
    loop {
        tokio::time::timeout(PATIENCE, stream.write_all(&session.out)).await??;
        session.out.clear();
        if matches!(expected, Expected::Nothing) {
            return stream.shutdown().await;
        }
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await??;
        if length == 0 {
            return Ok(());
        }
        // Files are written here, where that may hold up nobody.
        expected = tokio::task::block_in_place(|| {
            let mut bytes = chunk[..length].iter();
            while !bytes.as_slice().is_empty() && !matches!(expected, Expected::Nothing) {
                expected = session.take(expected, &mut requests, &mut bytes);
            }
            expected
        });
    }
}

impl Session {
    /// Takes what it can of these bytes; what the next ones are.
    fn take(&mut self, expected: Expected, requests: &mut RequestReceiver, bytes: &mut Iter<'_, u8>) -> Expected {
        match expected {
            Expected::Commands => match requests.ingest(bytes) {
                Ok(request) => self.obey(request.into_owned()),
                Err(Error::NeedsMoreData { .. }) => {
                    // It has them all, and waits for the rest of the line.
                    *bytes = [].iter();
                    Expected::Commands
                }
                Err(error) => self.mistake(&error),
            },
            Expected::Credentials(mut line) => {
                if !line.ingest(bytes) {
                    return Expected::Credentials(line);
                }
                if line.buf == b"*" {
                    self.say(501, [5, 7, 0], "given up, as you wish");
                    return Expected::Commands;
                }
                self.credentials(line.state)
            }
            Expected::Content(content) => self.content(content, bytes),
            Expected::Rest(mut rest, rejected) => {
                if !rest.ingest(bytes) {
                    return Expected::Rest(rest, rejected);
                }
                self.reject(rejected);
                Expected::Commands
            }
            Expected::Nothing => Expected::Nothing,
        }
    }

    fn obey(&mut self, request: Request<String>) -> Expected {
        match request {
            Request::Ehlo { .. } => {
                self.envelope = None;
                self.introduce();
            }
            Request::Helo { .. } => {
                self.envelope = None;
                self.out.extend_from_slice(format!("250 {NAME}\r\n").as_bytes());
            }
            Request::Mail { .. } if self.envelope.is_some() => {
                self.say(503, [5, 5, 1], "a message has one sender; RSET begins another");
            }
            Request::Mail { from } if from.size as u64 > SIZE_MAX => self.reject(Rejected::TooLarge),
            Request::Mail { from } => {
                self.envelope = Some(Envelope { from: from.address, to: Vec::new() });
                self.say(250, [2, 1, 0], "any sender is fine");
            }
            Request::Rcpt { to } => self.recipient(to.address),
            Request::Data => return self.begin(),
            Request::Auth { mechanism: AUTH_PLAIN, initial_response } => {
                return self.credentials(if initial_response.is_empty() { PLAIN } else { &[] });
            }
            Request::Auth { mechanism: AUTH_LOGIN, initial_response } => {
                return self.credentials(if initial_response.is_empty() { LOGIN } else { &LOGIN[1..] });
            }
            Request::Auth { .. } => self.say(504, [5, 5, 4], "AUTH PLAIN and AUTH LOGIN are known here"),
            Request::Rset => {
                self.envelope = None;
                self.say(250, [2, 0, 0], "forgotten");
            }
            Request::Noop { .. } => self.say(250, [2, 0, 0], "done"),
            Request::Vrfy { .. } => self.say(252, [2, 5, 0], "any recipient is fine"),
            Request::Help { .. } => {
                self.say(214, [2, 0, 0], "a mail sink: whatever is sent is kept, nothing is delivered");
            }
            Request::Quit => {
                self.say(221, [2, 0, 0], "bye");
                return Expected::Nothing;
            }
            Request::Lhlo { .. }
            | Request::Bdat { .. }
            | Request::Expn { .. }
            | Request::Etrn { .. }
            | Request::Atrn { .. }
            | Request::Burl { .. }
            | Request::StartTls => self.say(502, [5, 5, 1], "not done here"),
        }
        Expected::Commands
    }

    fn introduce(&mut self) {
        let mut hello = EhloResponse::new(NAME);
        hello.capabilities =
            EXT_8BIT_MIME | EXT_AUTH | EXT_ENHANCED_STATUS_CODES | EXT_PIPELINING | EXT_SIZE | EXT_SMTP_UTF8;
        hello.auth_mechanisms = AUTH_PLAIN | AUTH_LOGIN;
        hello.size = SIZE_MAX as usize;
        hello.write(&mut self.out).expect("a vector takes everything");
    }

    fn recipient(&mut self, address: String) {
        match &mut self.envelope {
            None => self.say(503, [5, 5, 1], "MAIL comes first"),
            Some(envelope) if envelope.to.len() >= RECIPIENTS_MAX => {
                self.say(452, [4, 5, 3], "too many recipients; send the message again to the others");
            }
            Some(envelope) => {
                envelope.to.push(address);
                self.say(250, [2, 1, 5], "any recipient is fine");
            }
        }
    }

    /// Whatever was answered so far is right; this is asked next.
    fn credentials(&mut self, asked: &'static [&'static str]) -> Expected {
        let Some((first, rest)) = asked.split_first() else {
            self.say(235, [2, 7, 0], "any credentials are fine");
            return Expected::Commands;
        };
        self.out.extend_from_slice(format!("334 {first}\r\n").as_bytes());
        Expected::Credentials(LineReceiver::new(rest))
    }

    /// A message begins.
    fn begin(&mut self) -> Expected {
        if self.envelope.as_ref().is_none_or(|envelope| envelope.to.is_empty()) {
            self.say(503, [5, 5, 1], "MAIL and RCPT come first");
            return Expected::Commands;
        }
        match self.mailbox.draft() {
            Ok(draft) => {
                self.out.extend_from_slice(b"354 go on, and end with a line of one dot\r\n");
                let mut receiver = DataReceiver::new();
                // The line before the first one has ended; a dot at the very beginning begins a line.
                receiver.ingest(&mut b"\r\n".iter(), &mut Vec::new());
                Expected::Content(Box::new(Content { receiver, draft, pending: Vec::new() }))
            }
            Err(error) => {
                crate::log(&format!("a message can't be kept: {error}"));
                self.reject(Rejected::NoRoom);
                Expected::Commands
            }
        }
    }

    fn content(&mut self, mut content: Box<Content>, bytes: &mut Iter<'_, u8>) -> Expected {
        let is_complete = content.receiver.ingest(bytes, &mut content.pending);
        let whole = if is_complete { content.pending.len() } else { content.pending.len().saturating_sub(1) };
        let rejected = match content.draft.write(&content.pending[..whole]) {
            Ok(true) => None,
            Ok(false) => Some(Rejected::TooLarge),
            Err(error) => {
                crate::log(&format!("a message can't be kept: {error}"));
                Some(Rejected::NoRoom)
            }
        };
        content.pending.drain(..whole);
        match rejected {
            Some(rejected) if is_complete => self.reject(rejected),
            Some(rejected) => return Expected::Rest(DummyDataReceiver::new_data(&content.receiver), rejected),
            None if is_complete => self.keep(&content.draft),
            None => return Expected::Content(content),
        }
        Expected::Commands
    }

    fn keep(&mut self, draft: &Draft) {
        let envelope = self.envelope.take().unwrap_or_default();
        match self.mailbox.publish(draft, envelope) {
            Ok(id) => self.say(250, [2, 0, 0], &format!("kept as {id}")),
            Err(error) => {
                crate::log(&format!("a message can't be kept: {error}"));
                self.reject(Rejected::NoRoom);
            }
        }
    }

    fn reject(&mut self, rejected: Rejected) {
        self.envelope = None;
        match rejected {
            Rejected::TooLarge => self.say(552, [5, 3, 4], "the message is larger than what is kept here"),
            Rejected::NoRoom => self.say(452, [4, 3, 1], "no room for the message; see the log of `mail`"),
        }
    }

    /// What a command that can't be read is answered with; after too many of them, or one without an end, it is over.
    fn mistake(&mut self, error: &Error) -> Expected {
        self.mistakes += 1;
        match error {
            Error::ResponseTooLong => {
                self.say(500, [5, 5, 6], "the line is too long");
                return Expected::Nothing;
            }
            Error::UnknownCommand => self.say(500, [5, 5, 1], "there is no such command"),
            Error::InvalidSenderAddress => self.say(501, [5, 1, 7], "this is no address of a sender"),
            Error::InvalidRecipientAddress => self.say(501, [5, 1, 3], "this is no address of a recipient"),
            Error::UnsupportedParameter { .. } => self.say(555, [5, 5, 4], "a parameter is not known here"),
            Error::InvalidParameter { param } => self.say(501, [5, 5, 4], &format!("{param} can't be so")),
            Error::SyntaxError { syntax } => self.say(501, [5, 5, 2], &format!("write {syntax}")),
            Error::NeedsMoreData { .. } | Error::InvalidResponse { .. } => {
                self.say(501, [5, 5, 2], "this can't be read");
            }
        }
        if self.mistakes < MISTAKES_MAX {
            return Expected::Commands;
        }
        self.say(421, [4, 7, 0], "too many mistakes; the log of your program may tell why");
        Expected::Nothing
    }

    fn say(&mut self, code: u16, [class, subject, detail]: [u8; 3], text: &str) {
        Response::new(code, class, subject, detail, text).write(&mut self.out).expect("a vector takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::tests::{contents, mailbox};
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    /// What is answered to these bytes, which come in pieces of these lengths and then at once.
    fn answers(root: &Path, sent: &[u8], pieces: &[usize]) -> String {
        let mailbox = Arc::new(mailbox(root));
        let mut session = Session { mailbox, envelope: None, mistakes: 0, out: Vec::new() };
        let (mut requests, mut expected) = (RequestReceiver::default(), Expected::Commands);
        let (mut rest, mut pieces) = (sent, pieces.iter());
        while !rest.is_empty() {
            let length = pieces.next().map_or(rest.len(), |length| (*length).min(rest.len()));
            let (piece, after) = rest.split_at(length);
            rest = after;
            let mut bytes = piece.iter();
            while !bytes.as_slice().is_empty() && !matches!(expected, Expected::Nothing) {
                expected = session.take(expected, &mut requests, &mut bytes);
            }
        }
        String::from_utf8(session.out).expect("text")
    }

    fn codes(said: &str) -> Vec<&str> {
        said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
    }

    /// As RFC 5321 has it sent, section 4.5.2, by the book: a dot more where a line begins with one.
    fn stuffed(content: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        for (at, byte) in content.iter().enumerate() {
            let begins_a_line = at == 0 || content[..at].ends_with(b"\r\n");
            if begins_a_line && *byte == b'.' {
                sent.push(b'.');
            }
            sent.push(*byte);
        }
        sent
    }

    proptest! {
        // proves RUN-6
        #[test]
        fn a_message_is_kept_byte_by_byte_however_it_arrives(
            lines in prop::collection::vec("([.]{0,3}|[.a\r\n\u{e9}]{0,4})", 0..6),
            pieces in prop::collection::vec(1..6_usize, 0..80),
        ) {
            let mut content = lines.join("\r\n").into_bytes();
            content.extend_from_slice(b"\r\n");
            // Bare carriage returns before the end of a line are no line's end, but the end of a message has one of its own.
            prop_assume!(!content.windows(3).any(|three| three == b"\r\r\n"));
            let mut sent = b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n".to_vec();
            sent.extend(stuffed(&content));
            sent.extend_from_slice(b".\r\nNOOP\r\n");
            let root = tempfile::tempdir().expect("directory");
            let said = answers(root.path(), &sent, &pieces);
            prop_assert_eq!(codes(&said), ["250", "250", "354", "250", "250"], "{}", said);
            prop_assert_eq!(contents(root.path()), [content]);
        }

        #[test]
        fn whatever_is_said_it_answers_and_stays_sane(sent in any::<Vec<u8>>(), words in prop::collection::vec(
            prop::sample::select(vec!["MAIL FROM:", "RCPT TO:", "<a@b>", "<\"a b\"@[::1]>", "DATA", "\r\n", "\n", " ", ".", "AUTH LOGIN", "=", "*",
                "BDAT 3 LAST", "SIZE=99999999999999999999", "BODY=8BITMIME", "<>", "RSET", "EHLO x", "\r\n.\r\n", "\0"]), 0..40),
            pieces in prop::collection::vec(1..6_usize, 0..40)) {
            let root = tempfile::tempdir().expect("directory");
            let said = answers(root.path(), &[&words.concat().into_bytes(), &sent[..]].concat(), &pieces);
            prop_assert!(said.is_empty() || said.ends_with("\r\n"), "{}", said);
        }
    }

    #[test]
    fn commands_are_answered_in_order_and_mistakes_change_nothing() {
        let root = tempfile::tempdir().expect("directory");
        let sent = "DATA\r\nRCPT TO:<a@b>\r\nMAIL FROM:<x@y> SIZE=99999999\r\nMAIL FROM:<x@y> BODY=8BITMIME SMTPUTF8\r\nMAIL FROM:<z@y>\r\n\
                    DATA\r\nWHAT\r\nRCPT TO:<\u{e9}@\u{fc}>\r\nSTARTTLS\r\nRSET\r\nDATA\r\nVRFY a\r\nBDAT 3 LAST\r\nQUIT\r\n";
        let said = answers(root.path(), sent.as_bytes(), &[]);
        let expected =
            ["503", "503", "552", "250", "503", "503", "500", "250", "502", "250", "503", "252", "502", "221"];
        assert_eq!(codes(&said), expected, "{said}");
        assert!(contents(root.path()).is_empty());
    }

    #[test]
    fn any_credentials_are_accepted_however_they_are_given() {
        let root = tempfile::tempdir().expect("directory");
        let sent = b"AUTH PLAIN AGEAYg==\r\nAUTH PLAIN\r\nAGEAYg==\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nAUTH LOGIN YQ==\r\nYg==\r\n\
            AUTH LOGIN\r\n*\r\nAUTH CRAM-MD5\r\nNOOP\r\n";
        let said = answers(root.path(), sent, &[3, 1, 4, 1, 5]);
        let expected = ["235", "334", "235", "334", "334", "235", "334", "235", "334", "501", "504", "250"];
        assert_eq!(codes(&said), expected, "{said}");
        let asked: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("334 ")).collect();
        assert_eq!(asked, ["", "VXNlcm5hbWU6", "UGFzc3dvcmQ6", "UGFzc3dvcmQ6", "VXNlcm5hbWU6"]);
    }

    #[test]
    fn what_is_too_much_is_refused_and_the_conversation_goes_on() {
        let root = tempfile::tempdir().expect("directory");
        let mut sent = b"MAIL FROM:<>\r\n".to_vec();
        sent.extend(b"RCPT TO:<a@b>\r\n".repeat(RECIPIENTS_MAX + 1));
        sent.extend(b"DATA\r\n");
        sent.extend(vec![b'x'; usize::try_from(SIZE_MAX).expect("fits") + 1]);
        sent.extend(b"\r\n.\r\nNOOP\r\n");
        let said = answers(root.path(), &sent, &[]);
        let codes = codes(&said);
        assert_eq!(codes[..=RECIPIENTS_MAX], ["250"; RECIPIENTS_MAX + 1]);
        assert_eq!(codes[RECIPIENTS_MAX + 1..], ["452", "354", "552", "250"]);
        assert!(contents(root.path()).is_empty());
        assert_eq!(std::fs::read_dir(root.path().join("unfinished")).expect("listed").count(), 0);
        // A line without an end, and mistakes without one, end it.
        let said = answers(root.path(), &vec![b'x'; 100_000], &[]);
        assert!(said.starts_with("500 5.5.6 ") && said.lines().count() == 1, "{said}");
        let said = answers(root.path(), &b"WHAT\r\n".repeat(MISTAKES_MAX), &[]);
        assert!(said.ends_with("421 4.7.0 too many mistakes; the log of your program may tell why\r\n"), "{said}");
    }
}
