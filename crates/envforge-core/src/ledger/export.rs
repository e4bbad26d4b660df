//! An export: JSON lines, one reader's pass from top to bottom, whatever its length.
//!
//! ```text
//! {"format":"envforge-ledger-1","org":"org_…","keys":[…],"anchor":null}
//! {"kept":{…}}                                     the meter's events below the anchor, if there is one
//! {"position":1,"hash":"…","event":{…}}            every event after it
//! {"checkpoint":{…}}                               signs the last position and hash
//! ```
//!
//! The event in a line is its canonical text, byte for byte what is hashed, so a verifier needs no JSON parser to check
//! it; nor could two parsers read it differently. Every other line has exactly one spelling too: it is read, written
//! anew and compared. So a file verifies only if no byte of it was changed.
//!
//! Keys travel with an export for those who have none noted, but prove nothing about whose they are: [`Trust`] says.

use super::{Anchor, Chain, Checkpoint, Event, Hash, LedgerError, Seal, SealedEvent, write_canonical};
use crate::id::OrgId;
use crate::token::{Keyring, PublicKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Names the format and its version.
const FORMAT: &str = "envforge-ledger-1";
/// Longest line accepted, in bytes; an export may come from anywhere.
pub const LINE_MAX: usize = 1 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name and version of the format.
    format: String,
    /// The chain; absent for the installation's.
    pub org: Option<OrgId>,
    /// Keys that signed what follows.
    pub keys: Vec<PublicKey>,
    /// Where the chain goes on, if its beginning was pruned.
    pub anchor: Option<Anchor>,
}

impl Header {
    /// A header.
    pub fn new(org: Option<OrgId>, keys: Vec<PublicKey>, anchor: Option<Anchor>) -> Self {
        Self { format: FORMAT.to_owned(), org, keys, anchor }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    checkpoint: Checkpoint,
}

/// Appends the first line.
pub fn header_line(header: &Header, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, header).expect("plain data fits a buffer");
    out.push(b'\n');
}

/// Appends the line of an event of the meter below the anchor.
pub fn kept_line(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kept\":");
    write_canonical(event, out);
    out.extend_from_slice(b"}\n");
}

/// Appends the line of a sealed event.
pub fn event_line(sealed: &SealedEvent, out: &mut Vec<u8>) {
    let SealedEvent { event, seal } = sealed;
    out.extend_from_slice(format!("{{\"position\":{},\"hash\":\"{}\",\"event\":", seal.position, seal.hash).as_bytes());
    write_canonical(event, out);
    out.extend_from_slice(b"}\n");
}

/// Appends the last line.
pub fn checkpoint_line(checkpoint: &Checkpoint, out: &mut Vec<u8>) {
    let last = Last { checkpoint: checkpoint.clone() };
    serde_json::to_writer(&mut *out, &last).expect("plain data fits a buffer");
    out.push(b'\n');
}

/// Whose signature counts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// These keys', noted from elsewhere: the server itself, an earlier export.
    Keys(Vec<PublicKey>),
    /// Whichever key came with the export: it proves that the file is whole, not who made it.
    Export,
}

/// What does not hold in an export, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct ExportError {
    /// Counted from 1.
    pub line: u64,
    /// What.
    pub fault: ExportFault,
}

/// What does not hold in an export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// Not an export at all, or of another version.
    #[error("this is not an export of format {FORMAT}")]
    Format,
    /// A line that no export has.
    #[error("this is not the {wanted} line that must stand here: it was edited, or lines before it are missing")]
    Line {
        /// What must stand here.
        wanted: &'static str,
    },
    /// A line nobody could have written.
    #[error("the line is longer than {LINE_MAX} bytes")]
    TooLong,
    /// An event, an anchor or a checkpoint of another chain.
    #[error("this belongs to the chain of another organization")]
    Stranger,
    /// A key other than those trusted.
    #[error("the export names the key {0}, which is not one that was given")]
    OtherKey(String),
    /// The chain does not hold.
    #[error("{0}")]
    Chain(#[from] LedgerError),
    /// The checkpoint is of another position than the last event.
    #[error(
        "the checkpoint is of position {checkpoint}, the events before it end at {last}: the export was cut or spliced"
    )]
    Head {
        /// In the checkpoint.
        checkpoint: u64,
        /// Of the last event.
        last: u64,
    },
    /// The file ends too early.
    #[error("the export ends without its checkpoint: the end was cut off")]
    Cut,
    /// Something stands after the end.
    #[error("something stands after the checkpoint, with which an export ends")]
    Trailing,
}

impl ExportError {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match &self.fault {
            ExportFault::Format => "`envforge ledger export FILE` makes one",
            ExportFault::OtherKey(_) => {
                "`envforge ledger state` shows the server's own key; if that is another one, the file is not this server's"
            }
            ExportFault::Chain(LedgerError::Signature { .. }) => {
                "only the server that sealed the chain signs it: export it again, and compare the key"
            }
            ExportFault::Cut => "the transfer may have broken off: export again",
            ExportFault::Trailing => "an export is one whole file: don't append to it or join two",
            _ => "export again; if that differs from here on, this file was changed after it was made",
        }
    }
}

/// What a whole export proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The chain; absent for the installation's.
    pub org: Option<OrgId>,
    /// Events shown, those kept below the anchor not counted.
    pub events: u64,
    /// The head that is signed.
    pub head: Seal,
    /// When it was signed.
    pub at: Timestamp,
    /// The key that signed it.
    pub key: PublicKey,
    /// What it can't show any more.
    pub anchor: Option<Anchor>,
}

enum State {
    Header,
    Kept { anchor: Box<Anchor>, chain: Chain },
    Events(Chain),
    Done(Box<Verified>),
}

/// Verifies an export line by line, in constant memory.
pub struct Verifier {
    trust: Trust,
    line: u64,
    header: Header,
    keyring: Keyring,
    state: State,
}

impl Verifier {
    /// Begins before the first line.
    pub fn new(trust: Trust) -> Self {
        let header = Header::new(None, Vec::new(), None);
        Self { trust, line: 0, header, keyring: Keyring::default(), state: State::Header }
    }

    /// Takes in the next line, without its newline.
    pub fn line(&mut self, line: &[u8]) -> Result<(), ExportError> {
        self.line += 1;
        self.take(line).map_err(|fault| ExportError { line: self.line, fault })
    }

    /// There are no more lines.
    pub fn finish(self) -> Result<Verified, ExportError> {
        match self.state {
            State::Done(verified) => Ok(*verified),
            State::Header if self.line == 0 => Err(ExportError { line: 1, fault: ExportFault::Format }),
            _ => Err(ExportError { line: self.line + 1, fault: ExportFault::Cut }),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ExportFault> {
        if line.len() > LINE_MAX {
            return Err(ExportFault::TooLong);
        }
        match &mut self.state {
            State::Header => self.header(line),
            State::Kept { anchor, chain } => {
                let event = inside(line, b"{\"kept\":").ok_or(ExportFault::Line { wanted: "kept" })?;
                let Seal { position, hash } = chain.head;
                chain.head = Seal { position: position + 1, hash: hash.link(event) };
                if chain.head.position < anchor.kept {
                    return Ok(());
                }
                if chain.head.hash != anchor.kept_hash {
                    return Err(LedgerError::Kept { position: anchor.position }.into());
                }
                self.state = State::Events(Chain::after(anchor.end()));
                Ok(())
            }
            State::Events(chain) => {
                if line.starts_with(b"{\"checkpoint\":") {
                    return self.last(line);
                }
                let (seal, event) = taken_apart(line).ok_or(ExportFault::Line { wanted: "event" })?;
                let expected = chain.head.position + 1;
                if seal.position != expected {
                    return Err(LedgerError::Gap { expected, found: seal.position }.into());
                }
                if chain.head.hash.link(event) != seal.hash {
                    let theirs =
                        format!("\"org\":\"{}\"", self.header.org.map_or_else(String::new, |org| org.to_string()));
                    let is_stranger = self.header.org.is_some() && !contains(event, theirs.as_bytes());
                    return Err(if is_stranger {
                        ExportFault::Stranger
                    } else {
                        LedgerError::Broken { position: expected }.into()
                    });
                }
                chain.head = seal;
                Ok(())
            }
            State::Done(_) => Err(ExportFault::Trailing),
        }
    }

    fn header(&mut self, line: &[u8]) -> Result<(), ExportFault> {
        let header: Header = serde_json::from_slice(line).map_err(|_| ExportFault::Format)?;
        if header.format != FORMAT {
            return Err(ExportFault::Format);
        }
        let mut again = Vec::with_capacity(line.len() + 1);
        header_line(&header, &mut again);
        let is_derived = |key: &PublicKey| PublicKey::from_text(&key.key).as_ref() == Some(key);
        if again.strip_suffix(b"\n") != Some(line) || !header.keys.iter().all(is_derived) {
            return Err(ExportFault::Line { wanted: "header" });
        }
        if let Trust::Keys(trusted) = &self.trust
            && let Some(other) = header.keys.iter().find(|key| !trusted.contains(key))
        {
            return Err(ExportFault::OtherKey(other.key.clone()));
        }
        self.keyring = Keyring::new(&header.keys);
        self.state = match &header.anchor {
            None => State::Events(Chain::genesis()),
            Some(anchor) => {
                if anchor.org != header.org {
                    return Err(ExportFault::Stranger);
                }
                anchor.check(&self.keyring)?;
                match anchor.kept {
                    0 => State::Events(Chain::after(anchor.end())),
                    _ => State::Kept { anchor: Box::new(anchor.clone()), chain: Chain::genesis() },
                }
            }
        };
        self.header = header;
        Ok(())
    }

    fn last(&mut self, line: &[u8]) -> Result<(), ExportFault> {
        let State::Events(chain) = &self.state else { return Err(ExportFault::Trailing) };
        let wrong = ExportFault::Line { wanted: "checkpoint" };
        let Ok(Last { checkpoint }) = serde_json::from_slice(line) else { return Err(wrong) };
        let mut again = Vec::with_capacity(line.len() + 1);
        checkpoint_line(&checkpoint, &mut again);
        if again.strip_suffix(b"\n") != Some(line) || checkpoint.at != super::whole_milliseconds(checkpoint.at) {
            return Err(wrong);
        }
        if checkpoint.org != self.header.org {
            return Err(ExportFault::Stranger);
        }
        checkpoint.check(&self.keyring)?;
        let head = chain.head;
        if checkpoint.position != head.position {
            return Err(ExportFault::Head { checkpoint: checkpoint.position, last: head.position });
        }
        if checkpoint.hash != head.hash {
            return Err(LedgerError::Rewritten { position: head.position }.into());
        }
        let key = self.header.keys.iter().find(|key| key.id == checkpoint.key).cloned().ok_or(wrong)?;
        let anchor = self.header.anchor.clone();
        let events = head.position - anchor.as_ref().map_or(0, |anchor| anchor.position);
        self.state =
            State::Done(Box::new(Verified { org: checkpoint.org, events, head, at: checkpoint.at, key, anchor }));
        Ok(())
    }
}

/// What stands between `before` and the closing brace.
fn inside<'a>(line: &'a [u8], before: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(before)?.strip_suffix(b"}")
}

/// Seal and canonical event of an event's line.
fn taken_apart(line: &[u8]) -> Option<(Seal, &[u8])> {
    let rest = inside(line, b"{\"position\":")?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    let (digits, rest) = rest.split_at(end);
    let position = digits.iter().try_fold(0_u64, |position, digit| match digit {
        b'0'..=b'9' => position.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })?;
    let (hash, rest) = rest.strip_prefix(b",\"hash\":\"")?.split_at_checked(64)?;
    let event = rest.strip_prefix(b"\",\"event\":")?;
    // A leading zero would be a second spelling.
    (!digits.starts_with(b"0")).then_some((Seal { position, hash: Hash::from_hex(hash)? }, event))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EventId, Id as _};
    use crate::token::{Signer, TokenError};
    use proptest::prelude::*;
    use serde_json::json;

    fn org(n: u128) -> OrgId {
        OrgId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn events(org: Option<OrgId>, length: u64) -> Vec<SealedEvent> {
        let mut chain = Chain::genesis();
        (1..=length)
            .map(|n| {
                let event = Event {
                    id: EventId::from_uuid(uuid::Uuid::from_u128(u128::from(n))),
                    org,
                    at: at(n as i64),
                    actor: "user:1".to_owned(),
                    verb: if n % 2 == 0 { "window.opened" } else { "runtime.woken" }.to_owned(),
                    subject: "ws_1".to_owned(),
                    cause: "test".to_owned(),
                    details: json!({"b": n, "a": ["x", true]}),
                };
                SealedEvent { seal: chain.append(&event), event }
            })
            .collect()
    }

    /// The lines of an export whose first `pruned` events are gone.
    fn export(signer: &Signer, org: Option<OrgId>, length: u64, pruned: u64) -> Vec<Vec<u8>> {
        let all = events(org, length);
        let (old, new) = all.split_at(pruned as usize);
        let mut kept = Chain::genesis();
        let meter: Vec<_> = old.iter().filter(|sealed| sealed.event.is_meter()).collect();
        for sealed in &meter {
            kept.append(&sealed.event);
        }
        let anchor = old.last().map(|last| Anchor::sign(signer, org, last.seal, kept.head, at(1_000)));
        let mut text = Vec::new();
        header_line(&Header::new(org, vec![signer.public_key()], anchor), &mut text);
        for sealed in meter {
            kept_line(&sealed.event, &mut text);
        }
        for sealed in new {
            event_line(sealed, &mut text);
        }
        let head = all.last().map_or(Chain::genesis().head, |last| last.seal);
        checkpoint_line(&Checkpoint::sign(signer, org, head, at(2_000)), &mut text);
        text.split_inclusive(|byte| *byte == b'\n').map(|line| line[..line.len() - 1].to_vec()).collect()
    }

    fn verify(lines: &[Vec<u8>], trust: Trust) -> Result<Verified, ExportError> {
        let mut verifier = Verifier::new(trust);
        for line in lines {
            verifier.line(line)?;
        }
        verifier.finish()
    }

    fn signer() -> Signer {
        Signer::from_seed(&[3; 32])
    }

    fn pinned() -> Trust {
        Trust::Keys(vec![signer().public_key()])
    }

    // proves ORG-6
    #[test]
    fn a_whole_export_verifies_also_when_its_beginning_was_pruned() {
        let whole = verify(&export(&signer(), Some(org(1)), 5, 0), pinned()).expect("whole");
        assert_eq!((whole.events, whole.head.position, whole.anchor), (5, 5, None));
        let pruned = verify(&export(&signer(), None, 9, 4), pinned()).expect("whole");
        assert_eq!((pruned.events, pruned.head.position, pruned.key), (5, 9, signer().public_key()));
        assert_eq!(pruned.anchor.map(|anchor| (anchor.position, anchor.kept)), Some((4, 2)));
        assert!(verify(&export(&signer(), None, 1, 1), pinned()).is_ok(), "nothing of the meter to keep");
        assert!(verify(&export(&signer(), None, 3, 0), Trust::Export).is_ok());
    }

    // proves ORG-6
    #[test]
    fn each_kind_of_forgery_is_named_with_its_line() {
        let mine = export(&signer(), Some(org(1)), 5, 0);
        let theirs = export(&signer(), Some(org(2)), 5, 0);
        let told = |lines: &[Vec<u8>]| {
            let error = verify(lines, pinned()).expect_err("a forgery");
            assert!(!error.fix().is_empty());
            (error.line, error.fault)
        };
        let with = |index: usize, line: &[u8]| {
            let mut lines = mine.clone();
            lines[index] = line.to_vec();
            lines
        };
        assert_eq!(told(&with(3, &theirs[3])), (4, ExportFault::Stranger), "spliced");
        assert_eq!(told(&with(6, &theirs[6])), (7, ExportFault::Stranger), "another org's checkpoint");
        assert_eq!(told(&with(0, &theirs[0])), (7, ExportFault::Stranger), "another org's header");
        assert_eq!(told(&mine[..6]), (7, ExportFault::Cut));
        assert_eq!(told(&[]), (1, ExportFault::Format));
        assert_eq!(told(&[b"{\"events\":[]}".to_vec()]), (1, ExportFault::Format));
        assert_eq!(told(&[mine.clone(), vec![Vec::new()]].concat()), (8, ExportFault::Trailing));
        let short = [&mine[..5], &mine[6..]].concat();
        assert_eq!(told(&short), (6, ExportFault::Head { checkpoint: 5, last: 4 }));
        let resigned = export(&Signer::from_seed(&[4; 32]), Some(org(1)), 5, 0);
        assert!(matches!(told(&resigned), (1, ExportFault::OtherKey(_))));
        let unknown = LedgerError::Signature { position: 5, error: TokenError::UnknownKey };
        assert_eq!(told(&with(6, &resigned[6])), (7, ExportFault::Chain(unknown)));
        let rewritten = String::from_utf8(mine[3].clone()).expect("text").replace("user:1", "user:2");
        assert_eq!(told(&with(3, rewritten.as_bytes())), (4, LedgerError::Broken { position: 3 }.into()));
        assert_eq!(told(&with(2, &vec![b' '; LINE_MAX + 1])), (3, ExportFault::TooLong));
    }

    proptest! {
        // proves ORG-6
        #[test]
        fn no_changed_byte_survives(pruned in 0_u64..6, line in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
            let mut lines = export(&signer(), Some(org(1)), 6, pruned);
            let line = line.index(lines.len());
            let at = at.index(lines[line].len());
            lines[line][at] ^= flip;
            let error = verify(&lines, pinned()).expect_err("a changed byte");
            // Whose chain it is, which the first line says, a checkpoint says again, and nothing before it.
            let names_another = serde_json::from_slice::<Header>(&lines[0]).is_ok_and(|header| header.org != Some(org(1)));
            let bound = if names_another { lines.len() } else { line + 2 };
            prop_assert!(error.line <= bound as u64, "{error} for a change in line {}", line + 1);
        }

        // proves ORG-6
        #[test]
        fn no_lost_repeated_swapped_or_cut_line_survives(pruned in 0_u64..6, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), how in 0..5) {
            let mut lines = export(&signer(), Some(org(1)), 6, pruned);
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            match how {
                0 => drop(lines.remove(a)),
                1 => lines.insert(b, lines[a].clone()),
                2 => {
                    prop_assume!(a != b);
                    lines.swap(a, b);
                }
                3 => lines.truncate(a),
                _ => {
                    let shorter = lines[a].len().saturating_sub(1 + b);
                    lines[a].truncate(shorter);
                }
            }
            prop_assert!(verify(&lines, pinned()).is_err());
        }

        // proves ORG-6
        #[test]
        fn no_line_of_another_chain_survives(pruned in 0_u64..6, at in any::<prop::sample::Index>(), is_of_installation in any::<bool>()) {
            let mut lines = export(&signer(), Some(org(1)), 6, pruned);
            let other = export(&signer(), (!is_of_installation).then(|| org(2)), 6, pruned);
            let at = at.index(lines.len());
            lines[at].clone_from(&other[at]);
            prop_assert!(verify(&lines, pinned()).is_err());
        }

        #[test]
        fn garbage_never_panics(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
            prop_assert!(verify(&lines, Trust::Export).is_err());
        }
    }
}
