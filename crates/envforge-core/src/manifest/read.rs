//! Reading one value: what it has to be, what it is, and what to say when these differ.
//!
//! Every function reports what is wrong and answers `None`; whoever asked decides what stands in for the value.

use super::diagnostic::quoted;
use super::hints;
use super::names::Unfit;
use super::parse::Report;
use super::scalar::{self, Kind};
use super::tree::{Entry, Node, Value};

/// A walk over the tree that collects mistakes.
pub(super) struct Reader<'report, 'source> {
    pub report: &'report mut Report<'source>,
    /// Something that may provide inputs could not be read: what seems to be missing may only be misspelt.
    pub unsure: bool,
}

impl<'report, 'source> Reader<'report, 'source> {
    pub(super) fn new(report: &'report mut Report<'source>) -> Self {
        Self { report, unsure: false }
    }

    /// Reports a refused name or path at its place.
    pub(super) fn refuse(&mut self, at: usize, unfit: Unfit) {
        self.report.add(at, unfit.code, unfit.message, unfit.fix);
    }

    /// The same, for a value that is left out.
    pub(super) fn unfit<T>(&mut self, at: usize, unfit: Unfit) -> Option<T> {
        self.refuse(at, unfit);
        None
    }

    fn wrong_type<T>(&mut self, at: usize, node: &Node, what: &str, wanted: &str, fix: &str) -> Option<T> {
        let found = match (scalar::kind(node), scalar::written(node)) {
            (kind @ (Kind::Text | Kind::Number), Some(text)) => format!("{} {}", kind.name(), quoted(text)),
            (Kind::Bool, Some(text)) => quoted(text),
            (Kind::Broken, _) => return None,
            (kind, _) => kind.name().to_owned(),
        };
        self.report.add(at, "manifest.wrong_type", format!("{what} must be {wanted}, this is {found}"), fix);
        None
    }

    /// The entries of a mapping. Nothing at all is a mapping without entries.
    pub(super) fn mapping<'node>(
        &mut self,
        node: &'node Node,
        at: usize,
        what: &str,
        fix: &str,
    ) -> Option<&'node [Entry]> {
        match (&node.value, scalar::kind(node)) {
            (Value::Map(entries), _) => Some(entries),
            (_, Kind::Nothing) => Some(&[]),
            _ => self.wrong_type(at, node, what, "a mapping", fix),
        }
    }

    /// Reports every key that is not known here; `true` when all are.
    pub(super) fn only_known(&mut self, entries: &[Entry], place: &str, known: &[&'static str]) -> bool {
        let mut all = true;
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            all = false;
            self.unknown_key(entry, place, known);
        }
        all
    }

    /// Reports one unknown key.
    pub(super) fn unknown_key(&mut self, entry: &Entry, place: &str, known: &[&'static str]) {
        if !self.report.is_full() {
            let fix = hints::instead_of_key(&entry.key, known);
            self.report.add(
                entry.at,
                "manifest.unknown_key",
                format!("unknown key {} {place}", quoted(&entry.key)),
                fix,
            );
        }
    }

    /// The field of that name, which has to be there.
    pub(super) fn required<'node>(
        &mut self,
        entry: &'node Entry,
        key: &str,
        place: &str,
        fix: &str,
    ) -> Option<&'node Entry> {
        let field = entry.node.entry(key);
        if field.is_none() {
            self.report.add(entry.at, "manifest.missing_key", format!("{place} has no `{key}`"), fix);
        }
        field
    }

    /// Text that says something.
    pub(super) fn text<'node>(&mut self, entry: &'node Entry, what: &str, fix: &str) -> Option<&'node str> {
        match (scalar::kind(&entry.node), scalar::written(&entry.node)) {
            (Kind::Text, Some(text)) => self.printable(entry, what, text),
            (Kind::Number | Kind::Bool, Some(text)) => {
                let fix = format!("put quotes around it: `\"{text}\"`");
                self.wrong_type(entry.value_at(), &entry.node, what, "text", &fix)
            }
            _ => self.wrong_type(entry.value_at(), &entry.node, what, "text", fix),
        }
    }

    fn printable<'node>(&mut self, entry: &Entry, what: &str, text: &'node str) -> Option<&'node str> {
        let (message, fix) = if text.trim().is_empty() {
            (format!("{what} is empty"), "write a value, or remove the key")
        } else if text.contains('\0') {
            (format!("{what} contains a NUL character"), "remove `\\0`: no program can be given one")
        } else {
            return Some(text);
        };
        self.report.add(entry.value_at(), "manifest.wrong_value", message, fix);
        None
    }

    /// A value that is passed on as text whatever it looks like: text, a number, or true or false; may be empty if quoted.
    pub(super) fn literal<'node>(&mut self, entry: &'node Entry, what: &str) -> Option<&'node str> {
        match (scalar::kind(&entry.node), scalar::written(&entry.node)) {
            (Kind::Text, Some("")) => Some(""),
            (Kind::Text, Some(text)) if !text.contains('\0') => Some(text),
            (Kind::Text, Some(text)) => self.printable(entry, what, text),
            (Kind::Number | Kind::Bool, Some(text)) => Some(text),
            (Kind::Nothing, _) => {
                let fix = "write `\"\"` for an empty value";
                self.report.add(entry.at, "manifest.wrong_type", format!("{what} has no value"), fix);
                None
            }
            _ => self.wrong_type(
                entry.value_at(),
                &entry.node,
                what,
                "text, a number, or true or false",
                "write one value",
            ),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, entry: &Entry, what: &str) -> Option<bool> {
        let text = scalar::written(&entry.node).unwrap_or_default();
        if scalar::kind(&entry.node) == Kind::Bool {
            return Some(text.eq_ignore_ascii_case("true"));
        }
        let fix = match text.to_ascii_lowercase().as_str() {
            "yes" | "y" | "on" | "1" | "true" => "write `true`",
            "no" | "n" | "off" | "0" | "false" => "write `false`",
            _ => "write `true` or `false`",
        };
        self.wrong_type(entry.value_at(), &entry.node, what, "true or false", fix)
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, entry: &Entry, what: &str, least: u64, most: u64, wanted: &str) -> Option<u64> {
        let text = scalar::written(&entry.node).unwrap_or_default();
        let number = text.parse::<u64>().ok();
        match (scalar::kind(&entry.node), number) {
            (Kind::Number, Some(number)) if (least..=most).contains(&number) => Some(number),
            (Kind::Number, _) => {
                let message = format!("{what} must be {wanted}, this is {}", quoted(text));
                self.report.add(entry.value_at(), "manifest.wrong_value", message, format!("write {wanted}"));
                None
            }
            (Kind::Text, Some(number)) => {
                let fix = format!("write {number} without quotes");
                self.wrong_type(entry.value_at(), &entry.node, what, wanted, &fix)
            }
            _ => self.wrong_type(entry.value_at(), &entry.node, what, wanted, &format!("write {wanted}")),
        }
    }

    /// A duration in seconds, within bounds.
    pub(super) fn duration(&mut self, entry: &Entry, what: &str, least: u64, most: u64, example: &str) -> Option<u32> {
        let at = entry.value_at();
        let wanted = "a duration such as";
        let (kind, Some(text)) = (scalar::kind(&entry.node), scalar::written(&entry.node)) else {
            return self.wrong_type(
                at,
                &entry.node,
                what,
                &format!("{wanted} `{example}`"),
                &format!("write `{example}`"),
            );
        };
        let (message, fix) = match (kind, scalar::seconds(text)) {
            (Kind::Text, Some(seconds)) if (least..=most).contains(&seconds) => return u32::try_from(seconds).ok(),
            (Kind::Text, Some(_)) => {
                let (least, most) = (scalar::duration(least), scalar::duration(most));
                (
                    format!("{what} is {}, which is not between {least} and {most}", quoted(text)),
                    format!("write a duration between `{least}` and `{most}`"),
                )
            }
            (Kind::Number, _) => {
                let fix = match text.parse::<u64>() {
                    Ok(_) => format!("write `{text}s` for seconds or `{text}m` for minutes"),
                    Err(_) => format!("write whole numbers with a unit, as in `{example}`"),
                };
                (format!("{what} is {}, which has no unit", quoted(text)), fix)
            }
            (Kind::Nothing, _) => (format!("{what} has no value"), format!("write `{example}`")),
            _ => (
                format!("{what} is {}, which is not a duration", quoted(text)),
                format!("write a number with `s`, `m` or `h`, as in `{example}`"),
            ),
        };
        self.report.add(at, "manifest.bad_duration", message, fix);
        None
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, entry: &Entry, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let wanted = format!("one of {}", hints::list(words()));
        let Some(text) = scalar::written(&entry.node).filter(|_| scalar::kind(&entry.node) == Kind::Text) else {
            return self.wrong_type(entry.value_at(), &entry.node, what, &wanted, &format!("write {wanted}"));
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let fix = match hints::nearest(text, words()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {wanted}"),
        };
        self.report.add(
            entry.value_at(),
            "manifest.unknown_value",
            format!("{what} must be {wanted}, not {}", quoted(text)),
            fix,
        );
        None
    }

    /// The texts of a list, with their places.
    pub(super) fn texts(&mut self, entry: &Entry, what: &str, fix: &str) -> Vec<(usize, String)> {
        let items = match (&entry.node.value, scalar::kind(&entry.node)) {
            (Value::List(items), _) => items.as_slice(),
            (_, Kind::Nothing) => &[],
            _ => {
                self.wrong_type::<()>(entry.value_at(), &entry.node, what, "a list", fix);
                &[]
            }
        };
        let mut texts = Vec::new();
        for item in items {
            match (scalar::kind(item), scalar::written(item)) {
                (Kind::Text, Some(text)) => texts.push((item.at, text.to_owned())),
                _ => {
                    self.wrong_type::<()>(item.at, item, &format!("every entry of {what}"), "text", fix);
                }
            }
        }
        texts
    }
}
