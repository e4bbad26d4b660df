//! YAML as a tree of nodes that know their place.
//!
//! The file is hostile until proven otherwise, so the tree is built by hand from the parser's events: serde would stop at
//! the first mistake, forget how a scalar was written (`1.10` is not `1.1`) and drop one of two equal keys. Depth, the number
//! of values and what aliases expand to are counted before anything is copied; recursion over a finished tree is therefore safe.
//!
//! Anchors, aliases and merge keys (`<<`) work as people know them from compose files. Tags other than the core ones do not.
//!
//! This module and `syntax` are the only ones that know the YAML library.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

use super::diagnostic::quoted;
use super::parse::Report;
use super::syntax;

/// Deepest nesting, in collections. The format itself needs five.
const MAX_DEPTH: usize = 32;
/// Most values in a file after aliases are expanded.
const MAX_VALUES: usize = 20_000;

/// A value of the file and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Byte offset of its first character.
    pub at: usize,
    /// What it is.
    pub value: Value,
    values: usize,
    depth: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text as written, escapes resolved. `plain` when unquoted: only then it can be a number, `true` or nothing.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in file order, without duplicates.
    Map(Vec<Entry>),
    /// An alias that leads nowhere: reported, and not to be reported again as something else.
    Broken,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key.
    pub key: String,
    /// Byte offset of the key.
    pub at: usize,
    /// The value.
    pub node: Node,
}

impl Entry {
    /// Where to point for this entry's value: at the key when nothing is written.
    pub(super) fn value_at(&self) -> usize {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text.is_empty() => self.at,
            _ => self.node.at,
        }
    }
}

impl Node {
    /// The entry under a key, if this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::List(_) | Value::Scalar { .. } | Value::Broken => None,
        }
    }

    /// The entry at the end of a path of keys, or the last one on the way that exists.
    pub(super) fn nearest(&self, path: &[&str]) -> Option<&Entry> {
        let mut here = self;
        let mut last = None;
        for key in path {
            let Some(entry) = here.entry(key) else { break };
            last = Some(entry);
            here = &entry.node;
        }
        last
    }
}

/// A collection that is still open.
struct Frame {
    at: usize,
    anchor: usize,
    values: usize,
    depth: usize,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<Pair>, key: Option<Key> },
}

/// An entry as written; a plain `<<` is not a key but an order to merge.
struct Pair {
    entry: Entry,
    merge: bool,
}

/// A key waiting for its value; without text when it was not a scalar, which has been reported.
struct Key {
    text: Option<String>,
    plain: bool,
    at: usize,
}

/// The tree of the only document in `text`; `None` when there is none, or when a report makes it meaningless.
pub(super) fn build(text: &str, report: &mut Report<'_>) -> Option<Node> {
    let mut parser_options = options! {
        emit_unresolved_aliases: true,
        // One more than ours, so that the report is ours.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
    parser_options.set_emit_comments(false);
    let mut builder =
        Builder { report, stack: Vec::new(), anchors: HashMap::new(), root: None, documents: 0, total: 0 };
    for event in Parser::new_from_str_with_options(text, parser_options) {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                syntax::report(&error, text, builder.report);
                return None;
            }
        };
        if !builder.take(event, &span) {
            return None;
        }
    }
    builder.root
}

struct Builder<'report, 'source> {
    report: &'report mut Report<'source>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    documents: usize,
    total: usize,
}

impl Builder<'_, '_> {
    /// Takes one event in; `false` when there is no point in going on.
    fn take(&mut self, event: Event<'_>, span: &Span) -> bool {
        let at = span.start.byte_offset().unwrap_or_default();
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.report.add(
                        at,
                        "manifest.multiple_documents",
                        "a second YAML document starts here",
                        "keep everything in one document: remove the line `---`",
                    );
                    return false;
                }
                true
            }
            Event::Scalar(text, style, anchor, tag) => {
                let forced_text = self.check_tag(tag.as_deref(), span);
                let plain = style == ScalarStyle::Plain && !forced_text;
                // The parser says `~` where nothing is written.
                let written = !plain || span.start != span.end;
                let text = if written { text.into_owned() } else { String::new() };
                let node = Node { at, value: Value::Scalar { text, plain }, values: 1, depth: 0 };
                self.count(1, at) && self.place(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                self.open(at, anchor, Open::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                self.open(at, anchor, Open::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::UnresolvedAlias(name) => {
                self.report.add(
                    at,
                    "manifest.unknown_alias",
                    format!("alias {} points to nothing", quoted(&format!("*{name}"))),
                    format!(
                        "mark its target with {} first, or put quotes around text that starts with `*`",
                        quoted(&format!("&{name}"))
                    ),
                );
                self.place(broken(at), 0)
            }
            _ => true,
        }
    }

    fn count(&mut self, more: usize, at: usize) -> bool {
        self.total += more;
        if self.total > MAX_VALUES {
            self.report.add(
                at,
                "manifest.too_many_values",
                format!("the file holds more than {MAX_VALUES} values, counting what aliases repeat"),
                "repeat less: every `*alias` counts as much as what it points to",
            );
        }
        self.total <= MAX_VALUES
    }

    fn open(&mut self, at: usize, anchor: usize, open: Open) -> bool {
        if self.stack.len() >= MAX_DEPTH {
            return self.too_deep(at);
        }
        self.stack.push(Frame { at, anchor, values: 1, depth: 1, open });
        self.count(1, at)
    }

    fn too_deep(&mut self, at: usize) -> bool {
        self.report.add(
            at,
            "manifest.too_deep",
            format!("values are nested more than {MAX_DEPTH} deep"),
            "the format needs five levels: look for brackets that are not closed",
        );
        false
    }

    fn alias(&mut self, anchor: usize, at: usize) -> bool {
        let Some(target) = self.anchors.get(&anchor) else {
            self.report.add(
                at,
                "manifest.unknown_alias",
                "this alias is inside what it points to",
                "write the value out instead of the alias",
            );
            return self.place(broken(at), 0);
        };
        let (values, depth) = (target.values, target.depth);
        if self.stack.len() + depth > MAX_DEPTH {
            return self.too_deep(at);
        }
        if !self.count(values, at) {
            return false;
        }
        let Some(mut node) = self.anchors.get(&anchor).cloned() else { return false };
        node.at = at;
        self.place(node, 0)
    }

    fn close(&mut self) -> bool {
        let Some(frame) = self.stack.pop() else { return false };
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map { entries, .. } => Value::Map(self.settle(entries)),
        };
        let node = Node { at: frame.at, value, values: frame.values, depth: frame.depth };
        self.place(node, frame.anchor)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> bool {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return true;
        };
        frame.values += node.values;
        frame.depth = frame.depth.max(node.depth + 1);
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map { entries, key } => match key.take() {
                Some(Key { text: Some(text), plain, at }) => {
                    let merge = text == "<<" && plain;
                    entries.push(Pair { entry: Entry { key: text, at, node }, merge });
                }
                Some(Key { text: None, .. }) => {}
                None => {
                    let at = node.at;
                    *key = Some(match node.value {
                        Value::Scalar { text, plain } => Key { text: Some(text), plain, at },
                        Value::Broken => Key { text: None, plain: false, at },
                        Value::List(_) | Value::Map(_) => {
                            self.report.add(
                                at,
                                "manifest.wrong_type",
                                "a key must be text, this one is a list or a mapping",
                                "braces or brackets at the start of a value need quotes, as in `\"{name}\"`",
                            );
                            Key { text: None, plain: false, at }
                        }
                    });
                }
            },
        }
        true
    }

    /// Reports duplicate keys and carries merge keys out.
    fn settle(&mut self, pairs: Vec<Pair>) -> Vec<Entry> {
        let mut own: Vec<Entry> = Vec::with_capacity(pairs.len());
        let mut places: HashMap<String, usize> = HashMap::with_capacity(pairs.len());
        let mut merged: Vec<Node> = Vec::new();
        for Pair { entry, merge } in pairs {
            if merge {
                merged.push(entry.node);
            } else if let Some(first) = places.get(&entry.key) {
                let first = self.report.line(*first);
                self.report.add(
                    entry.at,
                    "manifest.duplicate_key",
                    format!("key {} is here a second time, first on line {first}", quoted(&entry.key)),
                    "keep one of the two",
                );
            } else {
                places.insert(entry.key.clone(), entry.at);
                own.push(entry);
            }
        }
        for node in merged {
            let at = node.at;
            let sources = match node.value {
                Value::List(items) => items,
                Value::Map(_) | Value::Scalar { .. } => vec![node],
                Value::Broken => Vec::new(),
            };
            for source in sources {
                let Value::Map(entries) = source.value else {
                    self.report.add(
                        at,
                        "manifest.wrong_type",
                        "`<<` takes a mapping, or a list of mappings",
                        "point it at a mapping, as in `<<: *defaults`",
                    );
                    continue;
                };
                for entry in entries {
                    if !places.contains_key(&entry.key) {
                        places.insert(entry.key.clone(), entry.at);
                        own.push(entry);
                    }
                }
            }
        }
        own
    }

    /// Reports tags that mean nothing here; `true` for `!!str`, which makes any scalar text.
    fn check_tag(&mut self, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema() {
            let at = span.tag_start().unwrap_or(span.start).byte_offset().unwrap_or_default();
            let written = quoted(&tag.original());
            self.report.add(
                at,
                "manifest.unsupported_tag",
                format!("tag {written} has no meaning in this file"),
                "remove it, or put quotes around text that starts with `!`",
            );
        }
        tag.is_yaml_core_schema_tag("str")
    }
}

fn broken(at: usize) -> Node {
    Node { at, value: Value::Broken, values: 1, depth: 0 }
}
