//! Where in a pipeline file something stands, so that a message can point at it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Marker, Parser, ScanError, Span};

/// A position in a file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// The place of every key of a YAML document, by its path; items of a list count from 0.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    file: PathBuf,
    by_path: HashMap<Vec<String>, (usize, usize)>,
}

/// Why a document has no places.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is not YAML.
    Syntax { place: Place, message: String },
    /// A mapping has a key twice; the second is what a reader would silently obey.
    Duplicate {
        place: Place,
        path: Vec<String>,
        first_line: usize,
    },
}

/// The collection that the next event belongs to.
enum Frame {
    /// A mapping: the key whose value comes next, or `None` before a key.
    Mapping(Option<String>),
    /// A list: the index of the item that comes next.
    List(usize),
}

impl Places {
    /// Walks the parser's events and notes where each key and each item begins.
    pub(crate) fn read(text: &str, file: &Path) -> Result<Self, Fault> {
        let mut places = Self {
            file: file.to_owned(),
            by_path: HashMap::new(),
        };
        let mut frames: Vec<Frame> = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| places.syntax(&error))?;
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => {
                    places.enter_item(&frames, span);
                    frames.push(if matches!(event, Event::MappingStart(..)) {
                        Frame::Mapping(None)
                    } else {
                        Frame::List(0)
                    });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    frames.pop();
                    complete(&mut frames);
                }
                Event::Scalar(value, ..) => {
                    if let Some(Frame::Mapping(key @ None)) = frames.last_mut() {
                        *key = Some(value.into_owned());
                        places.enter_key(&frames, span)?;
                    } else {
                        places.enter_item(&frames, span);
                        complete(&mut frames);
                    }
                }
                Event::Alias(_) => {
                    places.enter_item(&frames, span);
                    complete(&mut frames);
                }
                _ => {}
            }
        }
        Ok(places)
    }

    /// The place of the key with this path, or of the nearest key around it that has one: what comes
    /// through an alias or a merge, or was left out, stands nowhere itself.
    pub(crate) fn of(&self, path: &[String]) -> Place {
        let (line, column) = (0..=path.len())
            .rev()
            .find_map(|length| self.by_path.get(&path[..length]))
            .copied()
            .unwrap_or((1, 1));
        self.place(line, column)
    }

    pub(crate) fn place(&self, line: usize, column: usize) -> Place {
        Place {
            file: self.file.clone(),
            line,
            column,
        }
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let (line, column) = position(error.marker());
        Fault::Syntax {
            place: self.place(line, column),
            message: error.info().to_owned(),
        }
    }

    /// Notes the place of a key, which its frame already holds.
    fn enter_key(&mut self, frames: &[Frame], span: Span) -> Result<(), Fault> {
        let path = path_of(frames);
        let (line, column) = position(&span.start);
        if let Some((first_line, _)) = self.by_path.insert(path.clone(), (line, column)) {
            return Err(Fault::Duplicate {
                place: self.place(line, column),
                path,
                first_line,
            });
        }
        Ok(())
    }

    /// Notes the place of an item of a list; the value of a key is found by its key.
    fn enter_item(&mut self, frames: &[Frame], span: Span) {
        if let Some(Frame::List(_)) = frames.last() {
            self.by_path.insert(path_of(frames), position(&span.start));
        }
    }
}

/// The parser counts lines from 1 and columns from 0.
fn position(marker: &Marker) -> (usize, usize) {
    (marker.line(), marker.col() + 1)
}

/// Moves the innermost collection on to its next key or item.
fn complete(frames: &mut [Frame]) {
    match frames.last_mut() {
        Some(Frame::Mapping(key)) => *key = None,
        Some(Frame::List(index)) => *index += 1,
        None => {}
    }
}

fn path_of(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Mapping(key) => key.clone(),
            Frame::List(index) => Some(index.to_string()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn keys_and_items_are_found_in_block_and_flow_style() {
        let text = "version: 1\nsteps:\n  a: {stage: x, inputs: {m: [b, {path: d}]}}\n  b:\n    params:\n      deep:\n        key: 1\n";
        let places = Places::read(text, Path::new("p.yaml")).unwrap();
        let at = |dotted: &str| {
            let place = places.of(&path(dotted));
            (place.line, place.column)
        };
        assert_eq!(at("version"), (1, 1));
        assert_eq!(at("steps.a"), (3, 3));
        assert_eq!(at("steps.a.stage"), (3, 7));
        assert_eq!(at("steps.a.inputs.m.1"), (3, 33));
        assert_eq!(at("steps.a.inputs.m.1.path"), (3, 34));
        assert_eq!(at("steps.b.params.deep.key"), (7, 9));
        assert_eq!(at("steps.b.params.deep.left-out.below"), (6, 7));
        assert_eq!(places.of(&path("steps.b.params")).to_string(), "p.yaml:5:5");
    }

    #[test]
    fn a_key_written_twice_is_named_with_both_lines() {
        let text = "steps:\n  a: {stage: x}\n  b: {stage: x}\n  a: {stage: y}\n";
        let Err(Fault::Duplicate {
            place,
            path,
            first_line,
        }) = Places::read(text, Path::new("p.yaml"))
        else {
            panic!("the second `a` passed");
        };
        assert_eq!(path, ["steps", "a"]);
        assert_eq!((first_line, place.line), (2, 4));
    }

    #[test]
    fn what_comes_through_an_alias_is_found_where_the_alias_stands() {
        let text = "base: &base {depth: 10}\nsteps:\n  a: *base\n  b: 1\n";
        let places = Places::read(text, Path::new("p.yaml")).unwrap();
        assert_eq!(places.of(&path("steps.a.depth")).line, 3);
        assert_eq!(places.of(&path("steps.b")).line, 4);
    }

    #[test]
    fn broken_yaml_is_placed() {
        let text = "version: 1\nsteps: [a, b\n";
        let Err(Fault::Syntax { place, .. }) = Places::read(text, Path::new("p.yaml")) else {
            panic!("an unclosed list passed");
        };
        assert!(place.line >= 2, "{place}");
    }
}
