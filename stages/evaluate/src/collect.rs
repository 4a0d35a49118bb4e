//! What stands in the inputs' folders beside weights and clips: classes, splits, training, histories.

use std::collections::BTreeSet;
use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_federation::history;
use fedact_nets::data::{Augmentation, mirrored_labels};
use fedact_nets::train::EpochRecord;
use fedact_nets::{files, score};
use fedact_stage::{Input, Reporter};
use serde_json::Value;

use crate::report::{ClipSetSummary, Epoch, FederatedRun, Strategy};
use crate::{EvaluateError, EvaluateParams, strips};

/// The history of a federated run within its artifact.
const HISTORY: &str = "history.jsonl";

/// Classes named in an error message before the rest is only counted.
const NAMED_CLASSES: usize = 12;

/// A name for each input that no other has: two folders given on a command line may end alike.
pub fn names(inputs: &[Input]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    inputs
        .iter()
        .map(|input| {
            let mut name = input.name.clone();
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{}-{number}", input.name);
                number += 1;
            }
            name
        })
        .collect()
}

/// What the report says about a clip set.
///
/// # Errors
/// No test clips, a damaged clip, or a picture that cannot be encoded.
pub fn summarize(
    name: &str,
    set: &ClipSet,
    params: &EvaluateParams,
) -> Result<ClipSetSummary, EvaluateError> {
    let dataset = set.dataset();
    let (train, test) = (set.indices(Split::Train), set.indices(Split::Test));
    if test.is_empty() {
        return Err(EvaluateError::NothingToTest {
            step: name.to_owned(),
        });
    }
    // Of each video the first clip.
    let tested = if params.test_views.videos {
        let videos = score::videos(set, &test).map_err(|source| EvaluateError::Testing {
            step: name.to_owned(),
            source,
        })?;
        videos.iter().map(|clips| test[clips[0]]).collect()
    } else {
        test.clone()
    };
    let groups = |indices: &[usize]| -> BTreeSet<&str> {
        indices.iter().map(|index| set.group(*index)).collect()
    };
    let (train_groups, test_groups) = (groups(&train), groups(&test));
    let count = |indices: &[usize], class: usize| {
        indices
            .iter()
            .filter(|index| set.label(**index) == class)
            .count()
    };
    // The class that a model which looks at nothing would name: the most frequent in training, the
    // first of equally frequent ones.
    let majority_class = (0..dataset.classes.len())
        .max_by_key(|&class| (count(&train, class), std::cmp::Reverse(class)))
        .unwrap_or(0);
    Ok(ClipSetSummary {
        name: name.to_owned(),
        classes: dataset.classes.clone(),
        train_clips: train.len(),
        test_clips: test.len(),
        tested: tested.len(),
        train_groups: train_groups.len(),
        test_groups: test_groups.len(),
        shared_groups: train_groups.intersection(&test_groups).count(),
        majority: count(&tested, majority_class) as f64 / tested.len() as f64,
        majority_class,
        frames: dataset.frames,
        size: (dataset.height, dataset.width),
        strips: strips::strips(name, set, params.frames_per_strip, params.seed)?,
    })
}

/// For each class of each clip set the class that a mirrored clip belongs to.
///
/// # Errors
/// A pair of which no set has both classes.
pub fn mirrored(
    sets: &[(String, ClipSet)],
    pairs: &[[String; 2]],
) -> Result<Vec<Vec<usize>>, EvaluateError> {
    let has = |set: &ClipSet, pair: &[String; 2]| {
        pair.iter()
            .all(|class| set.dataset().classes.contains(class))
    };
    if let Some([first, second]) = pairs
        .iter()
        .find(|pair| !sets.iter().any(|(_, set)| has(set, pair)))
    {
        return Err(EvaluateError::Mirror {
            first: first.clone(),
            second: second.clone(),
        });
    }
    sets.iter()
        .map(|(name, set)| {
            let flips = Augmentation {
                flip_pairs: pairs
                    .iter()
                    .filter(|pair| has(set, pair))
                    .cloned()
                    .collect(),
                ..Augmentation::default()
            };
            mirrored_labels(&flips, &set.dataset().classes).map_err(|source| {
                EvaluateError::Testing {
                    step: name.clone(),
                    source: source.into(),
                }
            })
        })
        .collect()
}

/// The clip set that has exactly the classes of a model: its index. Where several have them, that of a
/// federated model is the one whose training clips its clients held.
///
/// # Errors
/// Names both class lists.
pub fn matching(
    step: &str,
    classes: &[String],
    run: Option<&FederatedRun>,
    sets: &[ClipSetSummary],
) -> Result<usize, EvaluateError> {
    // A central run lists the centre, with all clips, beside its clients.
    let held = run.map(|run| {
        let all: u64 = run.clients.iter().map(|client| client.clips).sum();
        match run.strategy {
            Strategy::Central => all / 2,
            _ => all,
        }
    });
    let same = |set: &ClipSetSummary| set.classes == classes;
    sets.iter()
        .position(|set| same(set) && held == Some(set.train_clips as u64))
        .or_else(|| sets.iter().position(same))
        .ok_or_else(|| EvaluateError::NoClips {
            step: step.to_owned(),
            model: listed(classes),
            clips: sets
                .iter()
                .map(|set| format!("{} (`{}`)", listed(&set.classes), set.name))
                .collect::<Vec<_>>()
                .join("; "),
        })
}

fn listed(classes: &[String]) -> String {
    let mut text = classes
        .iter()
        .take(NAMED_CLASSES)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if classes.len() > NAMED_CLASSES {
        text.push_str(&format!(" and {} more", classes.len() - NAMED_CLASSES));
    }
    format!("[{text}]")
}

/// The federated run that a model came out of, if it did.
///
/// # Errors
/// A history that is damaged or not complete.
pub fn federated(step: &str, folder: &Path) -> Result<Option<FederatedRun>, EvaluateError> {
    let path = folder.join(HISTORY);
    if !path.exists() {
        return Ok(None);
    }
    let records = history::read_complete(&path).map_err(|source| EvaluateError::History {
        step: step.to_owned(),
        source,
    })?;
    let mut run = FederatedRun::from_records(step, &records);
    if let Some(run) = &mut run {
        run.bound = bound(folder);
    }
    Ok(run)
}

/// What the convergence bound says of a run, where its metrics tell; sentences as `fedact-federate` writes them.
fn bound(folder: &Path) -> Vec<String> {
    let told = metric(folder, "/bound/explanation");
    told.and_then(|told| serde_json::from_value(told).ok())
        .unwrap_or_default()
}

/// The training of a model, epoch by epoch. A record that cannot be read is worth a warning and not a
/// failure: the report is whole without it.
pub fn training(step: &str, folder: &Path, reporter: &Reporter) -> Vec<Epoch> {
    let path = folder.join(files::TRAINING);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Vec::new();
    };
    let mut epochs = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match serde_json::from_str::<EpochRecord>(line) {
            Ok(record) => epochs.push(Epoch {
                epoch: f64::from(record.epoch),
                train_loss: Some(record.loss),
                train_top1: Some(record.train_accuracy),
                test_top1: record.test.map(|test| test.top1),
            }),
            Err(error) => {
                reporter.warn(format!(
                    "the training of `{step}` is not shown: {}:{}: {error}",
                    path.display(),
                    index + 1
                ));
                return Vec::new();
            }
        }
    }
    epochs
}

/// Which steps a model was distilled from, as `teachers` in its `metrics.json` says; `None` where
/// nothing is said.
pub fn teachers(folder: &Path) -> Option<Vec<String>> {
    serde_json::from_value(metric(folder, "/teachers")?).ok()
}

/// What the metrics of an artifact have at a JSON pointer; `None` where they have nothing there.
fn metric(folder: &Path, pointer: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder.join(files::METRICS)).ok()?;
    let mut metrics: Value = serde_json::from_str(&text).ok()?;
    metrics.pointer_mut(pointer).map(Value::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_folder_names_are_told_apart() {
        let input = |name: &str| Input {
            name: name.into(),
            path: "x".into(),
        };
        let names = names(&[
            input("model"),
            input("model"),
            input("other"),
            input("model"),
        ]);
        assert_eq!(names, ["model", "model-2", "other", "model-3"]);
    }

    #[test]
    fn teachers_are_known_only_where_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(teachers(folder.path()), None);
        let write = |text: &str| std::fs::write(folder.path().join(files::METRICS), text).unwrap();
        write(r#"{"top1": 0.5}"#);
        assert_eq!(teachers(folder.path()), None);
        write(r#"{"teachers": []}"#);
        assert_eq!(teachers(folder.path()), Some(Vec::new()));
        write(r#"{"teachers": ["assistant"], "top1": 0.5}"#);
        assert_eq!(teachers(folder.path()), Some(vec!["assistant".to_owned()]));
    }

    #[test]
    fn a_training_record_that_cannot_be_read_is_left_out_aloud() {
        use std::sync::{Arc, Mutex};
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(files::TRAINING), "{\"epoch\": 1}\n").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let reporter =
            Reporter::to_function(move |event| sink.lock().unwrap().push(format!("{event:?}")));
        assert!(training("student", folder.path(), &reporter).is_empty());
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1);
        assert!(
            heard[0].contains("student") && heard[0].contains("training.jsonl:1"),
            "{heard:?}"
        );
    }
}
