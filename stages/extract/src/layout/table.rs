//! Lists with columns: csv with a header, and `,`, `;` or a tab between the columns.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use super::text::{fault, read};
use crate::error::ExtractError;

/// A list of records, with or without a header.
pub(super) struct Records {
    path: PathBuf,
    reader: Reader<Cursor<String>>,
    record: StringRecord,
}

impl Records {
    /// `header` says whether the first line names the columns, and every other must have as many.
    fn of(path: &Path, text: String, delimiter: u8, header: bool) -> Self {
        Self {
            path: path.to_owned(),
            reader: ReaderBuilder::new()
                .delimiter(delimiter)
                .has_headers(header)
                .flexible(!header)
                .trim(Trim::All)
                .from_reader(Cursor::new(text)),
            record: StringRecord::new(),
        }
    }

    /// A list without a header.
    pub(super) fn open(path: &Path, delimiter: u8) -> Result<Self, ExtractError> {
        Ok(Self::of(path, read(path)?, delimiter, false))
    }

    /// Reads the next record that is not empty, and says on which line, counted from 1, it begins.
    pub(super) fn advance(&mut self) -> Result<Option<usize>, ExtractError> {
        let line = self.line();
        let more = self
            .reader
            .read_record(&mut self.record)
            .map_err(|error| unreadable(&self.path, line, &error))?;
        Ok(more.then_some(line))
    }

    /// The record that was read last.
    pub(super) fn record(&self) -> &StringRecord {
        &self.record
    }

    /// The line on which the next record begins. The parser counts the empty lines before it as part of it.
    fn line(&self) -> usize {
        let position = self.reader.position();
        let text = self.reader.get_ref().get_ref().as_bytes();
        let rest = text.get(position.byte() as usize..).unwrap_or_default();
        let empty = rest
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .filter(|byte| **byte == b'\n');
        position.line() as usize + empty.count()
    }
}

/// A list with a header.
pub(super) struct Table {
    records: Records,
    columns: Vec<String>,
}

/// A line of a table.
pub(super) struct Row<'a> {
    pub(super) path: &'a Path,
    /// Counted from 1, the header included.
    pub(super) line: usize,
    columns: &'a [String],
    record: &'a StringRecord,
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self, ExtractError> {
        let text = read(path)?;
        let delimiter = delimiter(&text);
        let mut records = Records::of(path, text, delimiter, true);
        let header = records
            .reader
            .headers()
            .map_err(|error| unreadable(path, 1, &error))?;
        Ok(Self {
            columns: header.iter().map(str::to_owned).collect(),
            records,
        })
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|one| one == column)
    }

    /// The next row that is not empty.
    pub(super) fn next_row(&mut self) -> Result<Option<Row<'_>>, ExtractError> {
        Ok(self.records.advance()?.map(|line| Row {
            path: &self.records.path,
            line,
            columns: &self.columns,
            record: &self.records.record,
        }))
    }
}

impl<'a> Row<'a> {
    /// The value of a column; `None` where it is empty or the column is not there.
    pub(super) fn get(&self, column: &str) -> Option<&'a str> {
        let index = self.columns.iter().position(|one| one == column)?;
        self.record.get(index).filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, column: &str) -> Result<&'a str, ExtractError> {
        self.get(column).ok_or_else(|| {
            fault(
                self.path,
                self.line,
                format!("`{column}` is empty"),
                "fill it in, or remove the line",
            )
        })
    }
}

/// A number of seconds in a column; `None` where it is empty.
pub(super) fn seconds(row: &Row<'_>, column: &str) -> Result<Option<f64>, ExtractError> {
    let Some(text) = row.get(column) else {
        return Ok(None);
    };
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(Some(value)),
        _ => Err(fault(
            row.path,
            row.line,
            format!("`{column}` is `{text}`, which is not a number of seconds"),
            "write seconds from the start of the video, as in 12.5",
        )),
    }
}

/// What stands between the columns, by the header.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default().as_bytes();
    [b',', b';', b'\t']
        .into_iter()
        .find(|byte| header.contains(byte))
        .unwrap_or(b',')
}

/// What the parser says about a line of a list.
fn unreadable(path: &Path, line: usize, error: &csv::Error) -> ExtractError {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => fault(
            path,
            line,
            format!("it has {len} columns, and the header has {expected_len}"),
            "give every line as many columns as the header, and put values with a comma into quotes",
        ),
        _ => fault(
            path,
            line,
            format!("it cannot be read ({error})"),
            "see that it is a csv file",
        ),
    }
}
