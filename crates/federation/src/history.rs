//! `history.jsonl`: what happened in a federated run, one JSON object a line, in the order in which it
//! happened.
//!
//! Times are virtual seconds since the start of the run: how long this machine took is no result, and would
//! make equal runs differ. A complete history opens with one [`Record::Start`], holds an [`Record::Evaluation`] at time 0 before anything
//! was learned, and closes with one [`Record::End`].

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

/// One client as the history introduces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientSummary {
    /// The subjects whose clips it holds, joined with `+`.
    pub id: String,
    /// The device profile it runs on.
    pub device: String,
    /// How many clips of the train split it holds.
    pub clips: u64,
    /// Clips a second that its device trains on with this run's model, before jitter.
    pub clips_per_second: f64,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Record {
    /// The first line: who takes part and under which rules.
    Start {
        /// `fedasync`, `fedavg`, `fedbuff`, `fadas`, `ca2fl`, `ace`, `fedcompass` or `central`.
        strategy: String,
        /// `constant`, `polynomial` or `hinge`, for `fedasync` alone.
        mixing: Option<String>,
        /// What all randomness derives from.
        seed: u64,
        /// How many numbers the model has that are trained.
        parameters: u64,
        /// Bytes of the model as it is sent, header included.
        model_bytes: u64,
        /// The clients, in the order of their indices.
        clients: Vec<ClientSummary>,
        /// The params of the run, for the reader's eyes.
        settings: serde_json::Value,
    },
    /// One local task of one client from its download to the end of its upload.
    Task {
        /// The client's id.
        client: String,
        /// The version of the model it started from.
        base_version: u64,
        /// When the download began.
        start: f64,
        /// When the download ended and training began.
        download_end: f64,
        /// When training ended and the upload began.
        training_end: f64,
        /// When the update was at the server.
        upload_end: f64,
        /// Clips processed, repeats counted.
        samples: u64,
        /// Steps of stochastic gradient descent taken.
        steps: u64,
        /// Bytes downloaded for it.
        bytes_down: u64,
        /// Bytes uploaded by it: those of the encoded message.
        bytes_up: u64,
        /// What it cost the device in joules, modelled; 0 in histories from before that was known.
        #[serde(default)]
        joules: f64,
    },
    /// An update counted or was refused.
    Update {
        /// When the server decided.
        time: f64,
        /// The client's id.
        client: String,
        /// The version it was trained from.
        base_version: u64,
        /// The version after it was mixed in (unchanged by a refused one).
        version: u64,
        /// Versions made since `base_version`.
        staleness: u64,
        /// The weight it got: `α_t` for `fedasync`, its share of the combined change for all others, 0 if refused.
        weight: f64,
        /// Bytes it took to upload.
        bytes_up: u64,
        /// The reason code of a refusal.
        refused: Option<String>,
    },
    /// The model was tested on the test split; takes no virtual time.
    Evaluation {
        /// When, in virtual time.
        time: f64,
        /// The version tested.
        version: u64,
        /// Clips processed so far by tasks that reached the server, repeats counted.
        samples: u64,
        /// The same in passes of a mean client over its clips.
        client_epochs: f64,
        /// Bytes uploaded so far.
        bytes_up: u64,
        /// Bytes downloaded so far.
        bytes_down: u64,
        /// Share of test clips whose most likely class is right, 0 to 1.
        top1: f64,
        /// Mean cross-entropy; NaN (`null` in the file) when the model has diverged.
        #[serde(deserialize_with = "number_or_null")]
        loss: f64,
    },
    /// The last line.
    End {
        /// Why the run ended, as in `budget-spent`.
        reason: String,
        /// When, in virtual time.
        time: f64,
        /// The final version.
        version: u64,
        /// Clips processed by tasks that reached the server, repeats counted.
        samples: u64,
        /// The same in passes of a mean client over its clips.
        client_epochs: f64,
        /// Bytes uploaded in all.
        bytes_up: u64,
        /// Bytes downloaded in all.
        bytes_down: u64,
        /// Accuracy of the final model on the test split, 0 to 1.
        top1: f64,
    },
}

/// JSON has no NaN; the writer leaves `null` in its place.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Why a history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is no record.
    #[error("{path}:{line}: not a history record: {source}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The file lacks its first or last record, so its run did not finish.
    #[error("{path}: not a complete history: {what}", path = path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
}

/// Reads all records of a file, complete or not. Blank lines are skipped.
///
/// # Errors
/// The file cannot be read, or a line is no record: the line's number is in the message.
pub fn read(path: &Path) -> Result<Vec<Record>, HistoryError> {
    let io = |source| HistoryError::Io {
        path: path.to_owned(),
        source,
    };
    let mut records = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(io)?)
        .lines()
        .enumerate()
    {
        let line = line.map_err(io)?;
        if line.trim().is_empty() {
            continue;
        }
        let record = serde_json::from_str(&line).map_err(|source| HistoryError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        records.push(record);
    }
    Ok(records)
}

/// Reads the records of a finished run: the first is a [`Record::Start`], the last a [`Record::End`].
///
/// # Errors
/// Those of [`read`], and a missing start or end.
pub fn read_complete(path: &Path) -> Result<Vec<Record>, HistoryError> {
    let records = read(path)?;
    let incomplete = |what| HistoryError::Incomplete {
        path: path.to_owned(),
        what,
    };
    if !matches!(records.first(), Some(Record::Start { .. })) {
        return Err(incomplete("its first line is not a `start` record"));
    }
    if !matches!(records.last(), Some(Record::End { .. })) {
        return Err(incomplete("its last line is not an `end` record"));
    }
    Ok(records)
}

/// Appends records to a file.
#[derive(Debug)]
pub struct HistoryWriter {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl HistoryWriter {
    /// Starts an empty history, replacing a file that is there.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Result<Self, HistoryError> {
        let file = File::create(path).map_err(|source| HistoryError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            bytes: 0,
        })
    }

    /// Carries on a history of which the first `bytes` are good: whatever a killed run wrote after
    /// its last checkpoint is cut off.
    ///
    /// # Errors
    /// The file cannot be opened, or is shorter than `bytes`.
    pub fn resume(path: &Path, bytes: u64) -> Result<Self, HistoryError> {
        let io = |source| HistoryError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::options().append(true).open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() < bytes {
            return Err(HistoryError::Incomplete {
                path: path.to_owned(),
                what: "it is shorter than its checkpoint says",
            });
        }
        file.set_len(bytes).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            bytes,
        })
    }

    /// Appends one record.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), HistoryError> {
        let mut line = serde_json::to_vec(record).map_err(|error| self.io(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| self.io(error))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Puts everything on the disk and says how long the file is.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&mut self) -> Result<u64, HistoryError> {
        self.file.flush().map_err(|error| self.io(error))?;
        self.file
            .get_ref()
            .sync_data()
            .map_err(|error| self.io(error))?;
        Ok(self.bytes)
    }

    fn io(&self, source: std::io::Error) -> HistoryError {
        HistoryError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Record {
        Record::Start {
            strategy: "fedasync".into(),
            mixing: Some("polynomial".into()),
            seed: 7,
            parameters: 10,
            model_bytes: 104,
            clients: vec![ClientSummary {
                id: "g01+g02".into(),
                device: "jetson-nano".into(),
                clips: 12,
                clips_per_second: 22.0,
            }],
            settings: serde_json::json!({"alpha": 0.6}),
        }
    }

    fn evaluation(loss: f64) -> Record {
        Record::Evaluation {
            time: 0.0,
            version: 0,
            samples: 0,
            client_epochs: 0.0,
            bytes_up: 0,
            bytes_down: 0,
            top1: 0.25,
            loss,
        }
    }

    fn end() -> Record {
        Record::End {
            reason: "budget-spent".into(),
            time: 10.0,
            version: 3,
            samples: 36,
            client_epochs: 3.0,
            bytes_up: 312,
            bytes_down: 312,
            top1: 0.5,
        }
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut writer = HistoryWriter::create(&path).unwrap();
        let records = [start(), evaluation(1.5), end()];
        for record in &records {
            writer.write(record).unwrap();
        }
        writer.sync().unwrap();
        assert_eq!(read_complete(&path).unwrap(), records);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"event\":\"start\","), "{text}");
    }

    #[test]
    fn a_diverged_loss_survives_the_file() {
        let line = serde_json::to_string(&evaluation(f64::NAN)).unwrap();
        let Record::Evaluation { loss, .. } = serde_json::from_str(&line).unwrap() else {
            panic!("another record");
        };
        assert!(loss.is_nan());
    }

    #[test]
    fn a_bad_line_is_named_by_file_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let good = serde_json::to_string(&end()).unwrap();
        std::fs::write(&path, format!("{good}\n{{\"event\":\"start\"}}\n")).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("history.jsonl:2"), "{message}");
    }

    #[test]
    fn a_history_cut_short_is_not_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut writer = HistoryWriter::create(&path).unwrap();
        writer.write(&start()).unwrap();
        writer.sync().unwrap();
        let message = read_complete(&path).unwrap_err().to_string();
        assert!(message.contains("`end`"), "{message}");
    }

    #[test]
    fn resuming_cuts_off_what_came_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut writer = HistoryWriter::create(&path).unwrap();
        writer.write(&start()).unwrap();
        let good = writer.sync().unwrap();
        writer.write(&evaluation(1.0)).unwrap();
        writer.sync().unwrap();
        let mut writer = HistoryWriter::resume(&path, good).unwrap();
        writer.write(&end()).unwrap();
        writer.sync().unwrap();
        assert_eq!(read(&path).unwrap(), [start(), end()]);
        assert!(HistoryWriter::resume(&path, 1 << 40).is_err());
    }
}
