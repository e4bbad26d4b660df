//! The messages on disk.
//!
//! The files are the truth and nothing else is kept: who reads or removes some is another process, which needs to ask nobody.
//! A name is an id, so names in order are messages in order of time. Everything here blocks.

use crate::sealed::{self, Magic};
use envforge_core::clock::{Clock, Entropy};
use envforge_core::id::{Id as _, MailId};
use fs_err as fs;
use jiff::Timestamp;
use mail_parser::MessageParser;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(super) const MAGIC: Magic = *b"efmail01";
/// Bytes of a message.
pub(super) const SIZE_MAX: u64 = 32 * 1024 * 1024;
/// What is kept; the oldest messages make room for more.
const KEPT: Kept = Kept { messages: 1_000, bytes: 256 * 1024 * 1024 };
/// Bytes of a message in which its subject is looked for.
const HEAD_MAX: usize = 64 * 1024;
/// Characters of a subject that are kept.
const SUBJECT_MAX: usize = 500;

/// Who sent a message to whom, as said beside it and not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// Empty for a message that nobody wants to hear of again, such as a bounce.
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// What is known of a message beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(super) received: Timestamp,
    #[serde(flatten)]
    pub(super) envelope: Envelope,
    /// From its header, decoded.
    pub(super) subject: Option<String>,
}

/// How many messages are kept, and how many bytes of them.
struct Kept {
    messages: usize,
    bytes: u64,
}

/// All messages of a workspace.
pub(super) struct Mailbox {
    root: PathBuf,
    kept: Kept,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The id given last: of two messages in one millisecond the later one has the higher.
    last: Mutex<Option<MailId>>,
    /// One makes room at a time.
    publishing: Mutex<()>,
}

/// A message that is being received; gone again unless it is published.
pub(super) struct Draft {
    id: MailId,
    path: PathBuf,
    file: File,
    size: u64,
    head: Vec<u8>,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Renamed away, when it was published.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Draft {
    /// Takes the next bytes; `false` when the message has become too large, and is not kept.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.size += bytes.len() as u64;
        if self.size > SIZE_MAX {
            return Ok(false);
        }
        let room = HEAD_MAX - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.file.write_all(bytes)?;
        Ok(true)
    }
}

impl Mailbox {
    /// What is there. What a killed process was receiving, and what a power failure left of a message, is cleared away.
    pub(super) fn open(root: &Path, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> io::Result<Self> {
        let unfinished = root.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let messages = root.join("messages");
        for directory in [&unfinished, &messages] {
            fs::create_dir_all(directory)?;
        }
        for entry in fs::read_dir(&messages)? {
            let path = entry?.path();
            if sealed::read::<About>(&File::open(&path)?, MAGIC).is_err() {
                crate::log(&format!("{} is not a whole message and is removed", path.display()));
                fs::remove_file(&path)?;
            }
        }
        let (last, publishing) = (Mutex::default(), Mutex::default());
        Ok(Self { root: root.to_owned(), kept: KEPT, clock, entropy, last, publishing })
    }

    fn messages(&self) -> PathBuf {
        self.root.join("messages")
    }

    fn next_id(&self) -> MailId {
        let mut last = self.last.lock().expect("no panic while it is held");
        let minted = MailId::mint(&*self.clock, &*self.entropy);
        let id = last.map_or(minted, |last| minted.max(last.successor()));
        *last = Some(id);
        id
    }

    /// A message to receive.
    pub(super) fn draft(&self) -> io::Result<Draft> {
        let id = self.next_id();
        let path = self.root.join("unfinished").join(id.to_string());
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Draft { id, path, file, size: 0, head: Vec::new() })
    }

    /// Keeps a message that is complete: when this returns it survives whatever happens.
    pub(super) fn publish(&self, draft: &Draft, envelope: Envelope) -> io::Result<MailId> {
        let subject = subject(&draft.head);
        let about = About { received: self.clock.now(), envelope, subject };
        sealed::seal(&draft.file, MAGIC, &about, draft.size)?;
        draft.file.sync_data()?;
        let _publishing = self.publishing.lock().expect("no panic while it is held");
        std::fs::rename(&draft.path, self.messages().join(draft.id.to_string()))?;
        self.make_room(draft.id)?;
        File::open(self.messages())?.sync_all()?;
        Ok(draft.id)
    }

    /// Removes the oldest messages until the others may stay; never the newest.
    fn make_room(&self, newest: MailId) -> io::Result<()> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.messages())? {
            let entry = entry?;
            // Its reader may have removed it just now.
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
            if let Ok(id) = name.parse::<MailId>() {
                found.insert(id, metadata.len());
            }
        }
        let mut total: u64 = found.values().sum();
        let mut count = found.len();
        for (id, size) in found.into_iter().filter(|(id, _)| *id != newest) {
            if count <= self.kept.messages && total <= self.kept.bytes {
                break;
            }
            remove(&self.messages().join(id.to_string()))?;
            (count, total) = (count - 1, total - size);
        }
        Ok(())
    }
}

/// Removes a message; one that is not there is removed already.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The subject of a message that begins so, on one line.
fn subject(head: &[u8]) -> Option<String> {
    let message = MessageParser::default().parse_headers(head)?;
    let subject = message.subject()?;
    Some(subject.chars().map(|each| if each.is_control() { ' ' } else { each }).take(SUBJECT_MAX).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use envforge_api::ambient::{SystemClock, SystemEntropy};

    pub(crate) fn mailbox(root: &Path) -> Mailbox {
        Mailbox::open(root, Arc::new(SystemClock), Arc::new(SystemEntropy)).expect("opened")
    }

    /// The content of every message, the oldest first.
    pub(crate) fn contents(root: &Path) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(root.join("messages")).expect("listed");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let content = |path: &PathBuf| {
            let (_, size) = sealed::read::<About>(&File::open(path).expect("opened"), MAGIC).expect("whole");
            let mut content = fs::read(path).expect("read");
            content.truncate(usize::try_from(size).expect("small"));
            content
        };
        paths.iter().map(content).collect()
    }

    fn keep(mailbox: &Mailbox, content: &[u8]) -> MailId {
        let mut draft = mailbox.draft().expect("a draft");
        assert!(draft.write(content).expect("written"));
        mailbox.publish(&draft, Envelope::default()).expect("kept")
    }

    // proves RUN-6
    #[test]
    fn messages_of_one_moment_keep_their_order() {
        let root = tempfile::tempdir().expect("directory");
        let clock = Arc::new(envforge_core::clock::FixedClock::new(Timestamp::UNIX_EPOCH));
        let mailbox = Mailbox::open(root.path(), clock, Arc::new(SystemEntropy)).expect("opened");
        let ids: Vec<MailId> = (0..100).map(|_| mailbox.next_id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    }

    #[test]
    fn the_oldest_make_room() {
        let root = tempfile::tempdir().expect("directory");
        let mut mailbox = mailbox(root.path());
        mailbox.kept = Kept { messages: 3, bytes: 4_000 };
        let texts = |contents: &[Vec<u8>]| contents.iter().map(|content| content[0]).collect::<Vec<u8>>();
        for content in [b"1", b"2", b"3", b"4"] {
            keep(&mailbox, content);
        }
        let kept = contents(root.path());
        assert_eq!(kept.len(), 3);
        assert!(!texts(&kept).contains(&b'1'), "the first one is gone");
        // One that is larger than all may be together stays until the next one comes.
        keep(&mailbox, &[b'5'; 5_000]);
        assert_eq!(texts(&contents(root.path())), b"5");
        keep(&mailbox, b"6");
        assert_eq!(texts(&contents(root.path())), b"6");
    }

    #[test]
    fn what_is_no_whole_message_is_cleared_away_at_the_start() {
        let root = tempfile::tempdir().expect("directory");
        let first = mailbox(root.path());
        let (whole, cut) = (keep(&first, b"whole"), keep(&first, b"cut"));
        let path = root.path().join("messages").join(cut.to_string());
        let length = fs::metadata(&path).expect("there").len();
        File::options().write(true).open(&path).expect("opened").set_len(length - 1).expect("cut");
        std::mem::forget(first.draft().expect("begun, and its process killed"));
        drop(mailbox(root.path()));
        assert_eq!(contents(root.path()), [b"whole"]);
        assert!(root.path().join("messages").join(whole.to_string()).exists());
        assert_eq!(fs::read_dir(root.path().join("unfinished")).expect("listed").count(), 0);
    }

    #[test]
    fn subjects_are_decoded_and_on_one_line() {
        let of = |head: &[u8]| subject(head);
        assert_eq!(of(b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\nx").as_deref(), Some("Gr\u{fc}\u{df}e"));
        assert_eq!(of(b"Subject: a\r\n b\x1b[31m\r\n\r\n").as_deref(), Some("a b [31m"));
        assert_eq!(of(b"From: x\r\n\r\nSubject: in the text"), None);
        assert_eq!(
            of(format!("Subject: {}\r\n\r\n", "y".repeat(9_000)).as_bytes()).map(|it| it.len()),
            Some(SUBJECT_MAX)
        );
    }
}
