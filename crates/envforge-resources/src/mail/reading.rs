//! Messages as a console shows them, read by a process that is not the mail sink.

use super::mailbox::{About, MAGIC, SIZE_MAX};
use crate::console::fitting;
use crate::sealed;
use envforge_api::http::consoles::{Mail, MailAttachment, MailHeader, MailSummary, Mails};
use envforge_core::id::MailId;
use mail_parser::{MessageParser, MimeHeaders as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Characters of a text or of HTML that are shown. JSON makes six bytes of one at most, and all that is shown of a message fits
/// [`ANSWER_MAX`](envforge_api::console::ANSWER_MAX).
const TEXT_MAX: usize = 512 * 1024;
/// Characters of a header's value.
const VALUE_MAX: usize = 4 * 1024;
/// Characters of a header's name, a file's name, a media type.
const NAME_MAX: usize = 255;
/// Headers, and attachments.
const LISTED_MAX: usize = 200;

/// A page of messages, the newest first.
pub(crate) fn list(root: &Path, before: Option<MailId>, limit: usize) -> io::Result<Mails> {
    let mut ids: Vec<MailId> = match std::fs::read_dir(root.join("messages")) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    ids.retain(|id| before.is_none_or(|before| *id < before));
    ids.sort_unstable_by(|one, other| other.cmp(one));
    let mut more_before = if ids.len() > limit { ids.get(limit - 1).copied() } else { None };
    // One that has made room meanwhile is left out.
    let found = ids.into_iter().take(limit).filter_map(|id| open(root, id).ok().flatten().map(|found| (id, found)));
    let (mails, is_cut) = fitting(found.map(|(id, (_, about, size))| summary(id, about, size)))?;
    if is_cut {
        more_before = mails.last().map(|mail| mail.id);
    }
    Ok(Mails { mails, more_before })
}

/// A message's content, at its beginning, what is known of it, and how many bytes it has.
pub(crate) fn open(root: &Path, id: MailId) -> io::Result<Option<(File, About, u64)>> {
    let file = match File::open(root.join("messages").join(id.to_string())) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // What a power failure left is none.
    Ok(sealed::read(&file, MAGIC).ok().map(|(about, size)| (file, about, size)))
}

/// A message, read.
pub(crate) fn read(root: &Path, id: MailId) -> io::Result<Option<Mail>> {
    let Some((file, about, size)) = open(root, id)? else { return Ok(None) };
    let mut content = Vec::new();
    file.take(size.min(SIZE_MAX)).read_to_end(&mut content)?;
    let mut mail = Mail {
        summary: summary(id, about, size),
        headers: Vec::new(),
        text: None,
        html: None,
        attachments: Vec::new(),
    };
    let Some(message) = MessageParser::default().parse(&content) else { return Ok(Some(mail)) };
    let header =
        |(name, value): (&str, &str)| MailHeader { name: cut(name, NAME_MAX), value: cut(value.trim(), VALUE_MAX) };
    mail.headers = message.headers_raw().take(LISTED_MAX).map(header).collect();
    mail.text = message.body_text(0).map(|text| cut(&text, TEXT_MAX));
    mail.html = message
        .html_bodies()
        .find(|part| part.is_text_html())
        .and_then(|part| part.text_contents())
        .map(|html| cut(html, TEXT_MAX));
    let attachment = |part: &mail_parser::MessagePart<'_>| {
        let kind = part.content_type().map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*")));
        MailAttachment {
            name: part.attachment_name().map(|name| cut(name, NAME_MAX)),
            content_type: cut(&kind.unwrap_or_else(|| "application/octet-stream".to_owned()), NAME_MAX),
            size: part.len() as u64,
        }
    };
    mail.attachments = message.attachments().take(LISTED_MAX).map(attachment).collect();
    Ok(Some(mail))
}

fn summary(id: MailId, about: About, size: u64) -> MailSummary {
    let About { received, envelope, subject } = about;
    MailSummary { id, received_at: received, from: envelope.from, to: envelope.to, subject, size }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mailbox::Envelope;
    use envforge_api::ambient::{SystemClock, SystemEntropy};
    use envforge_api::console::{ANSWER_MAX, Answer};
    use envforge_core::id::Id as _;
    use jiff::Timestamp;
    use std::io::Write as _;

    fn put(root: &Path, content: &[u8], to: Vec<String>) -> MailId {
        let messages = root.join("messages");
        std::fs::create_dir_all(&messages).expect("made");
        let id = MailId::mint(&SystemClock, &SystemEntropy);
        let mut file = File::create(messages.join(id.to_string())).expect("created");
        file.write_all(content).expect("written");
        let envelope = Envelope { from: "a@b".to_owned(), to };
        let about = About { received: Timestamp::UNIX_EPOCH, envelope, subject: None };
        sealed::seal(&file, MAGIC, &about, content.len() as u64).expect("sealed");
        id
    }

    #[test]
    fn whatever_was_sent_what_is_shown_of_it_fits_an_answer() {
        let root = tempfile::tempdir().expect("directory");
        let long = "\u{1}".repeat(2 * TEXT_MAX);
        let headers = format!("X{}: {}\r\n", "y".repeat(900), "\u{1}".repeat(9_000)).repeat(300);
        let (kind, name) = ("y".repeat(900), "\u{1}".repeat(9_000));
        let attached = format!(
            "--b\r\nContent-Type: application/x-{kind}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\nx\r\n"
        )
        .repeat(300);
        let content = format!(
            "{headers}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{long}\r\n\
             --b\r\nContent-Type: text/html\r\n\r\n{long}\r\n{attached}--b--\r\n"
        );
        let id = put(root.path(), content.as_bytes(), vec!["\u{1}".repeat(40_000)]);
        let mail = read(root.path(), id).expect("read").expect("there");
        assert_eq!((mail.headers.len(), mail.attachments.len()), (LISTED_MAX, LISTED_MAX));
        assert_eq!(mail.text.as_ref().map(|text| text.chars().count()), Some(TEXT_MAX));
        assert_eq!(mail.html.as_ref().map(|html| html.chars().count()), Some(TEXT_MAX));
        let answer = serde_json::to_vec(&Answer::Mail(Box::new(mail))).expect("JSON");
        assert!(answer.len() < ANSWER_MAX, "{} bytes", answer.len());
    }

    #[test]
    fn a_page_too_big_for_an_answer_is_cut_and_goes_on_behind() {
        let root = tempfile::tempdir().expect("directory");
        let to = vec!["x".repeat(200_000)];
        let mut ids: Vec<MailId> = (0..100).map(|_| put(root.path(), b"x", to.clone())).collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = list(root.path(), before, 1_000).expect("listed");
            let bytes = serde_json::to_vec(&Answer::Mails(page.clone())).expect("JSON").len();
            assert!(bytes < ANSWER_MAX, "{bytes} bytes");
            seen.extend(page.mails.iter().map(|mail| mail.id));
            before = page.more_before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, ids);
    }

    #[test]
    fn what_is_no_whole_message_is_not_shown() {
        let root = tempfile::tempdir().expect("directory");
        assert_eq!(list(root.path(), None, 10).expect("no mail yet").mails.len(), 0);
        let (whole, cut) = (put(root.path(), b"x", Vec::new()), put(root.path(), b"y", Vec::new()));
        File::options()
            .write(true)
            .open(root.path().join("messages").join(cut.to_string()))
            .expect("opened")
            .set_len(9)
            .expect("cut");
        std::fs::write(root.path().join("messages/other"), b"no id").expect("written");
        let page = list(root.path(), None, 10).expect("listed");
        assert_eq!(page.mails.iter().map(|mail| mail.id).collect::<Vec<_>>(), [whole]);
        assert!(read(root.path(), cut).expect("read").is_none());
    }
}
