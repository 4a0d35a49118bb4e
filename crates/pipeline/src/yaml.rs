//! YAML as a tree whose every key and item knows its line, read in one pass.
//!
//! Anchors, aliases and merge keys (`<<`) are carried out, and what came through them keeps the place where
//! it stands: a message about a value in a merged mapping points at the value, not at the merge. Keys that
//! stand twice are all found, and the rest is read nevertheless.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use crate::scalar;

/// How deep collections may nest: far more than any params do, far less than the stack holds.
const DEPTH: usize = 100;

/// How many nodes a document may have once its aliases are carried out, so that nine aliases of nine aliases
/// of nine aliases do not eat the memory.
const NODES: usize = 4_000_000;

/// A position, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) content: Content,
    /// How many nodes it is made of, itself included.
    size: usize,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// Anything but a collection.
    Scalar(Value),
    List(Vec<Arc<Node>>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) spot: Spot,
    pub(crate) value: Arc<Node>,
}

/// A document as read.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Arc<Node>,
    pub(crate) duplicates: Vec<Duplicate>,
}

/// A key that stands twice in one mapping: readers would silently obey one of the two.
#[derive(Debug, PartialEq)]
pub(crate) struct Duplicate {
    pub(crate) path: Vec<String>,
    pub(crate) spot: Spot,
    pub(crate) first: Spot,
}

/// Why a text is no document.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) spot: Spot,
    pub(crate) message: String,
}

impl Node {
    fn new(spot: Spot, content: Content) -> Self {
        let size = match &content {
            Content::Scalar(_) => 1,
            Content::List(items) => 1 + sum(items.iter().map(|item| item.size)),
            Content::Mapping(entries) => 1 + sum(entries.iter().map(|entry| entry.value.size)),
        };
        Self {
            spot,
            content,
            size,
        }
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Where the value at this path stands: its key, or the item of a list (counted from 0); the nearest
    /// one around it where the path goes on beyond what is there.
    pub(crate) fn find(&self, path: impl IntoIterator<Item = impl AsRef<str>>) -> Spot {
        let (mut node, mut spot) = (self, self.spot);
        for segment in path {
            let segment = segment.as_ref();
            let item = match &node.content {
                Content::List(items) => segment.parse().ok().and_then(|at: usize| items.get(at)),
                _ => None,
            };
            (node, spot) = match (item, node.get(segment)) {
                (Some(item), _) => (&**item, item.spot),
                (None, Some(entry)) => (&*entry.value, entry.spot),
                (None, None) => break,
            };
        }
        spot
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(|item| item.to_json()).collect(),
            Content::Mapping(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect(),
        }
    }
}

fn sum(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.fold(0, usize::saturating_add)
}

/// Reads a text.
///
/// # Errors
/// The first place where it is not YAML, or is more than data.
pub(crate) fn read(text: &str) -> Result<Document, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            spot: spot_of(error.marker()),
            message: error.info().to_owned(),
        })?;
        builder.hear(event, span)?;
    }
    let nothing = || {
        let start = Spot { line: 1, column: 1 };
        Arc::new(Node::new(start, Content::Scalar(Value::Null)))
    };
    Ok(Document {
        root: builder.root.unwrap_or_else(nothing),
        duplicates: builder.duplicates,
    })
}

/// The parser counts lines from 1 and columns from 0.
fn spot_of(marker: &Marker) -> Spot {
    Spot {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// A collection that is not at its end yet.
struct Frame {
    spot: Spot,
    anchor: usize,
    content: Open,
}

enum Open {
    List(Vec<Arc<Node>>),
    Mapping {
        entries: Vec<Entry>,
        /// The key whose value comes next.
        key: Option<(String, Spot)>,
        /// Whether that key is `<<`, and what stood under such a key.
        merging: bool,
        merged: Option<(Spot, Arc<Node>)>,
    },
}

/// Puts the parser's events together.
#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
    anchors: HashMap<usize, Arc<Node>>,
    root: Option<Arc<Node>>,
    duplicates: Vec<Duplicate>,
}

impl Builder {
    fn hear(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let spot = spot_of(&span.start);
        match event {
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", spot)?;
                let content = Open::Mapping {
                    entries: Vec::new(),
                    key: None,
                    merging: false,
                    merged: None,
                };
                self.open(spot, anchor, content)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", spot)?;
                self.open(spot, anchor, Open::List(Vec::new()))
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                if let Some(Frame {
                    content: Open::Mapping { key, merging, .. },
                    ..
                }) = self.frames.last_mut()
                    && key.is_none()
                {
                    *merging = plain && text == "<<";
                    *key = Some((text.into_owned(), spot));
                    return Ok(());
                }
                let value = scalar_value(&text, plain, tag.as_deref(), spot)?;
                self.place(Arc::new(Node::new(spot, Content::Scalar(value))), anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(error(spot, "an alias within its own anchor has no end"));
                };
                self.place(Arc::clone(node), 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => Err(error(
                spot,
                "a second document begins here; there may be one",
            )),
            _ => Ok(()),
        }
    }

    fn open(&mut self, spot: Spot, anchor: usize, content: Open) -> Result<(), SyntaxError> {
        self.refuse_as_key(spot)?;
        if self.frames.len() == DEPTH {
            return Err(error(spot, "this nests too deep"));
        }
        self.frames.push(Frame {
            spot,
            anchor,
            content,
        });
        Ok(())
    }

    fn refuse_as_key(&self, spot: Spot) -> Result<(), SyntaxError> {
        match self.frames.last() {
            Some(Frame {
                content: Open::Mapping { key: None, .. },
                ..
            }) => Err(error(spot, "a key must be a word")),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let content = match frame.content {
            Open::List(items) => Content::List(items),
            Open::Mapping {
                mut entries,
                merged,
                ..
            } => {
                self.note_duplicates(&mut entries);
                if let Some((spot, merged)) = merged {
                    merge(&mut entries, &merged, spot)?;
                }
                Content::Mapping(entries)
            }
        };
        let node = Node::new(frame.spot, content);
        if node.size > NODES {
            return Err(error(frame.spot, "the aliases in here make it too large"));
        }
        self.place(Arc::new(node), frame.anchor)
    }

    /// Gives a finished node to the collection around it.
    fn place(&mut self, node: Arc<Node>, anchor: usize) -> Result<(), SyntaxError> {
        self.refuse_as_key(node.spot)?;
        if anchor > 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Mapping {
                entries,
                key,
                merging,
                merged,
            }) => match key.take() {
                Some((_, spot)) if *merging && merged.is_some() => {
                    return Err(error(
                        spot,
                        "a second `<<`; merge a list of mappings with one",
                    ));
                }
                Some((_, spot)) if *merging => *merged = Some((spot, node)),
                Some((key, spot)) => entries.push(Entry {
                    key,
                    spot,
                    value: node,
                }),
                None => {}
            },
        }
        Ok(())
    }

    /// Takes out every key that is there already, and notes it.
    fn note_duplicates(&mut self, entries: &mut Vec<Entry>) {
        let mut first: HashMap<&str, Spot> = HashMap::with_capacity(entries.len());
        let mut again = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = first.get(entry.key.as_str()) {
                again.push((index, *first));
            } else {
                first.insert(&entry.key, entry.spot);
            }
        }
        for (index, first) in again.into_iter().rev() {
            let entry = entries.remove(index);
            let mut path = self.path();
            path.push(entry.key);
            self.duplicates.push(Duplicate {
                path,
                spot: entry.spot,
                first,
            });
        }
    }

    /// The path of the collection that was taken off last.
    fn path(&self) -> Vec<String> {
        let segment = |frame: &Frame| match &frame.content {
            Open::List(items) => Some(items.len().to_string()),
            Open::Mapping { key, .. } => key.as_ref().map(|(key, _)| key.clone()),
        };
        self.frames.iter().filter_map(segment).collect()
    }
}

/// Adds the entries of the mappings under a `<<`: what is there already stays, and of several mappings the
/// first wins.
fn merge(entries: &mut Vec<Entry>, merged: &Node, spot: Spot) -> Result<(), SyntaxError> {
    let refusal = || error(spot, "`<<` takes a mapping or a list of mappings");
    let sources = match &merged.content {
        Content::Mapping(source) => vec![source],
        Content::List(items) => items
            .iter()
            .map(|item| match &item.content {
                Content::Mapping(source) => Ok(source),
                _ => Err(refusal()),
            })
            .collect::<Result<_, _>>()?,
        Content::Scalar(_) => return Err(refusal()),
    };
    for entry in sources.into_iter().flatten() {
        if !entries.iter().any(|known| known.key == entry.key) {
            entries.push(entry.clone());
        }
    }
    Ok(())
}

fn scalar_value(
    text: &str,
    plain: bool,
    tag: Option<&Tag>,
    spot: Spot,
) -> Result<Value, SyntaxError> {
    match tag {
        None if plain => Ok(scalar::plain(text)),
        None => Ok(Value::String(text.to_owned())),
        Some(tag) => {
            refuse_tag(Some(tag), "str", spot)?;
            Ok(Value::String(text.to_owned()))
        }
    }
}

/// A tag may say what a value is anyway, and make a text of a number; any other asks for more than data.
fn refuse_tag(tag: Option<&Tag>, known: &str, spot: Spot) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == known) => {
            Err(error(spot, &format!("the tag `{tag}` has no meaning here")))
        }
        _ => Ok(()),
    }
}

fn error(spot: Spot, message: &str) -> SyntaxError {
    SyntaxError {
        spot,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn json_of(text: &str) -> Value {
        read(text).unwrap().root.to_json()
    }

    fn refusal(text: &str) -> (usize, String) {
        let error = read(text).unwrap_err();
        (error.spot.line, error.message)
    }

    #[test]
    fn keys_and_items_are_found_in_block_and_flow_style() {
        let text = "version: 1\nsteps:\n  a: {stage: x, inputs: {m: [b, {path: d}]}}\n  b:\n    params:\n      deep:\n        key: 1\n";
        let root = read(text).unwrap().root;
        let at = |dotted: &str| {
            let spot = root.find(dotted.split('.'));
            (spot.line, spot.column)
        };
        assert_eq!(at("version"), (1, 1));
        assert_eq!(at("steps.a"), (3, 3));
        assert_eq!(at("steps.a.stage"), (3, 7));
        assert_eq!(at("steps.a.inputs.m.1"), (3, 33));
        assert_eq!(at("steps.a.inputs.m.1.path"), (3, 34));
        assert_eq!(at("steps.b.params"), (5, 5));
        assert_eq!(at("steps.b.params.deep.key"), (7, 9));
        assert_eq!(at("steps.b.params.deep.left-out.below"), (6, 7));
    }

    #[test]
    fn what_comes_through_an_alias_or_a_merge_is_found_where_it_stands() {
        let text = "\
steps:
  a: &a
    depth: 10
    <<: &base
      width: 4
      seed: 1
  b: *a
  c: {<<: [{rate: 2}, *a], seed: 3}
";
        let root = read(text).unwrap().root;
        let line = |path: &str| root.find(path.split('.')).line;
        assert_eq!(line("steps.a.width"), 5);
        assert_eq!(line("steps.b"), 7);
        assert_eq!(line("steps.b.depth"), 3);
        assert_eq!(line("steps.b.width"), 5);
        assert_eq!(line("steps.c.rate"), 8);
        assert_eq!(line("steps.c.seed"), 8);
        assert_eq!(line("steps.c.width"), 5);
        assert_eq!(
            root.to_json()["steps"]["c"],
            json!({"seed": 3, "rate": 2, "depth": 10, "width": 4})
        );
    }

    #[test]
    fn every_key_written_twice_is_found_and_the_first_one_holds() {
        let text = "a: {x: 1, y: [{k: 1, k: 2}], x: 2}\nb: 1\na: 3\n";
        let document = read(text).unwrap();
        let found: Vec<(String, usize)> = document
            .duplicates
            .iter()
            .map(|twice| (twice.path.join("."), twice.spot.column))
            .collect();
        assert_eq!(
            found,
            [
                ("a.y.0.k".to_owned(), 22),
                ("a.x".to_owned(), 30),
                ("a".to_owned(), 1)
            ]
        );
        assert_eq!(
            document.root.to_json(),
            json!({"a": {"x": 1, "y": [{"k": 1}]}, "b": 1})
        );
    }

    #[test]
    fn what_is_not_data_is_refused_by_place() {
        assert_eq!(refusal("version: 1\nsteps: [a, b\n").0, 3);
        for (text, words) in [
            ("a: 1\nb: &x [1, *x]\n", "within its own anchor"),
            ("a: 1\nb: !ruby/object 3\n", "has no meaning"),
            ("a: 1\n? [x]\n: 2\n", "must be a word"),
            ("a: 1\n<<: 3\n", "takes a mapping"),
            ("a: 1\n---\nb: 1\n", "second document"),
        ] {
            let (line, message) = refusal(text);
            assert_eq!(line, 2, "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
        let deep = "[".repeat(5000);
        assert!(read(&deep).is_err(), "the parser or we find it too deep");
    }

    #[test]
    fn aliases_of_aliases_do_not_eat_the_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        assert!(refusal(&text).1.contains("too large"));
    }

    #[test]
    fn a_tag_makes_text_of_a_number() {
        assert_eq!(
            json_of("a: !!str 5\nb: !!map {c: 1}"),
            json!({"a": "5", "b": {"c": 1}})
        );
        assert_eq!(json_of(""), Value::Null);
        assert_eq!(json_of("\"<<\": 1"), json!({"<<": 1}));
    }

    fn values() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9f64..1e9).prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            "(null|~|true|0x1f|0o7|1e3|\\.5|-|#|<<|[0-9]{1,3})".prop_map(Value::from),
        ];
        scalar.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,6}", inner, 0..5)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// Another implementation writes, in block style and as JSON (which is YAML in flow style).
        #[test]
        fn what_others_write_is_read_alike(value in values()) {
            prop_assert_eq!(json_of(&serde_yaml::to_string(&value).unwrap()), value.clone());
            prop_assert_eq!(json_of(&value.to_string()), value);
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[a-c:\\[\\]{},&*<\\-# \n'\"|>!?0-9]{0,60}") {
            let _ = read(&text);
        }
    }
}
