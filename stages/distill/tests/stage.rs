//! The stage as the runner starts it.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_distill::{DEFINITION, run};
use fedact_nets::train::EpochRecord;
use fedact_nets::{Classifier, FloatModel, Model};
use fedact_stage::{Event, Input, Job, Metrics, Reporter, StageError};
use serde_json::{Value, json};
use tch::Device;

const FRAMES: usize = 4;
const SIDE: usize = 12;

/// Clips whose brightness rises, falls or stays; the pattern differs from clip to clip.
fn write_clips(folder: &Path, classes: &[&str], train: usize, test: usize) {
    let names = classes.iter().map(|name| (*name).to_owned()).collect();
    let dataset = Dataset::new(names, FRAMES, SIDE, SIDE);
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for index in 0..train + test {
        let label = index % classes.len();
        let slope = [40, -40, 0][label % 3];
        let pixels = (0..FRAMES * SIDE * SIDE * 3).map(|at| {
            let frame = (at / (SIDE * SIDE * 3)) as i64;
            let noise = (at * 31 + index * 17) % 41;
            (90 + noise as i64 + slope * (frame - 2)).clamp(0, 255) as u8
        });
        let clip = Clip {
            id: format!("clip-{index:03}"),
            video: format!("video-{index:03}.mp4"),
            video_digest: "00".repeat(32),
            label,
            group: format!("g{index}"),
            split: if index < train {
                Split::Train
            } else {
                Split::Test
            },
            start_seconds: 0.0,
            end_seconds: 0.3,
            shard: 0,
            row: 0,
        };
        writer.push(clip, &pixels.collect::<Vec<u8>>()).unwrap();
    }
    writer.finish().unwrap();
}

const CLASSES: [&str; 3] = ["rise", "fall", "stay"];

/// A run in a folder of its own.
struct Execution {
    folder: tempfile::TempDir,
    job: Job,
}

impl Execution {
    fn new(params: Value, clips: &Path, teachers: &[&Path]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = |path: &Path| Input {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            path: path.to_owned(),
        };
        let teachers: Vec<Input> = teachers.iter().map(|path| input(path)).collect();
        let job = Job {
            stage: "distill".to_owned(),
            step: "student".to_owned(),
            params: (DEFINITION.resolve)(&params).unwrap(),
            inputs: BTreeMap::from([
                ("clips".to_owned(), vec![input(clips)]),
                ("teacher".to_owned(), teachers),
            ]),
            output: folder.path().join("output"),
            checkpoints: folder.path().join("checkpoints"),
            pieces: None,
            threads: 2,
        };
        for path in [&job.output, &job.checkpoints] {
            std::fs::create_dir(path).unwrap();
        }
        Self { folder, job }
    }

    fn run(&self) -> Result<Metrics, StageError> {
        run(&self.job, &Reporter::silent())
    }

    fn output(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("output").join(file)).unwrap()
    }
}

fn params() -> Value {
    json!({
        "model": {"depth": 10, "width": 4}, "epochs": 6, "batch_size": 6, "learning_rate": 0.05,
        "warmup_epochs": 1, "seed": 5, "threads": 1, "label_smoothing": 0.0,
        "augmentation": {"brightness": 0.0, "contrast": 0.0, "shift": 0},
    })
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut params = params();
    change(&mut params);
    params
}

#[test]
fn a_run_without_a_teacher_learns_and_leaves_a_complete_folder() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 24, 12);
    let execution = Execution::new(params(), clips.path(), &[]);
    let metrics = execution.run().unwrap();
    assert!(metrics["top1"].as_f64().unwrap() > 0.6, "{metrics:?}");
    assert_eq!(metrics["top5"], 1.0);
    assert_eq!(metrics["epochs"], 6);
    assert_eq!(metrics["teachers"], serde_json::json!([]));
    let written: Metrics = serde_json::from_slice(&execution.output("metrics.json")).unwrap();
    assert_eq!(written["top1"], metrics["top1"]);
    let told: Vec<&String> = metrics
        .keys()
        .filter(|key| !written.contains_key(*key))
        .collect();
    assert_eq!(told, ["train_seconds", "clips_per_second"]);
    assert!(metrics["clips_per_second"].as_f64().unwrap() > 0.0);
    let text = String::from_utf8(execution.output("training.jsonl")).unwrap();
    let records: Vec<EpochRecord> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 6);
    assert_eq!(
        records[5].test.as_ref().unwrap().top1,
        metrics["top1"].as_f64().unwrap()
    );
    assert!(records.iter().all(|record| record.test.is_some()));
    let model = Model::load(&execution.job.output, Device::Cpu).unwrap();
    assert_eq!(model.info().classes, CLASSES);
    assert_eq!(metrics["parameters"], model.parameters());
}

#[test]
fn equal_params_give_equal_outputs() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 12, 3);
    let short = || changed(|params| params["epochs"] = json!(2));
    let first = Execution::new(short(), clips.path(), &[]);
    let second = Execution::new(short(), clips.path(), &[]);
    first.run().unwrap();
    second.run().unwrap();
    for entry in std::fs::read_dir(&first.job.output).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(first.output(&name), second.output(&name), "{name}");
    }
}

#[test]
fn a_student_that_hears_only_its_teacher_comes_to_agree_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let clips = folder.path().join("clips");
    write_clips(&clips, &CLASSES, 24, 12);
    let teacher = Execution::new(params(), &clips, &[]);
    teacher.run().unwrap();
    // The student's own labels are worthless: each clip is in the next class.
    let wrong = folder.path().join("wrong");
    std::fs::create_dir(&wrong).unwrap();
    for entry in std::fs::read_dir(&clips).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, wrong.join(path.file_name().unwrap())).unwrap();
    }
    let lines = wrong.join("clips.jsonl");
    let mut text = String::new();
    for line in std::fs::read_to_string(&lines).unwrap().lines() {
        let mut clip: Value = serde_json::from_str(line).unwrap();
        let label = (clip["label"].as_u64().unwrap() + 1) % 3;
        (clip["label"], clip["class"]) = (json!(label), json!(CLASSES[label as usize]));
        text.push_str(&format!("{clip}\n"));
    }
    std::fs::write(&lines, text).unwrap();
    // Of the lines as they were: without it, those that are there are read.
    std::fs::remove_file(wrong.join("index.safetensors")).unwrap();
    let hears = |lambda: f64| {
        changed(|params| {
            params["seed"] = json!(11);
            params["distillation"] = json!({"lambda": lambda, "temperature": 2.0});
        })
    };
    let output = teacher.job.output.as_path();
    let obedient = Execution::new(hears(1.0), &wrong, &[output, output]);
    let metrics = obedient.run().unwrap();
    assert_eq!(metrics["teachers"], json!(["output", "output"]));
    // Measured against the wrong labels, whoever follows the teacher is wrong.
    assert!(metrics["top1"].as_f64().unwrap() < 0.2, "{metrics:?}");
    let deaf = Execution::new(hears(0.0), &wrong, &[output]);
    let metrics = deaf.run().unwrap();
    assert!(metrics["top1"].as_f64().unwrap() > 0.6, "{metrics:?}");
    let model = FloatModel::load(&obedient.job.output, Device::Cpu).unwrap();
    let set = ClipSet::open(&clips).unwrap();
    let test = set.indices(Split::Test);
    let predictions = fedact_nets::score::predict(&model, &set, &test, 4, |_| {}).unwrap();
    let scores = fedact_nets::score::Scores::from(&predictions);
    assert!(scores.top1 > 0.6, "{scores:?}");
}

/// What a run said, beginning with `pretrained`.
fn beginning_with(pretrained: &Path, params: Value, clips: &Path) -> (Execution, Metrics, String) {
    let mut execution = Execution::new(params, clips, &[]);
    let input = Input {
        name: "weights".to_owned(),
        path: pretrained.to_owned(),
    };
    execution
        .job
        .inputs
        .insert("pretrained".to_owned(), vec![input]);
    let told = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&told);
    let reporter = Reporter::to_function(move |event| {
        if let Event::Message { text, .. } = event {
            sink.lock().unwrap().push_str(text);
        }
    });
    let metrics = run(&execution.job, &reporter).unwrap();
    let told = told.lock().unwrap().clone();
    (execution, metrics, told)
}

#[test]
fn training_goes_on_from_pretrained_weights_and_says_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let (clips, others) = (folder.path().join("clips"), folder.path().join("others"));
    write_clips(&clips, &CLASSES, 24, 12);
    write_clips(&others, &["up", "down"], 12, 6);
    let first = Execution::new(params(), &clips, &[]);
    let learned = first.run().unwrap();
    let barely = || {
        changed(|params| {
            (params["epochs"], params["warmup_epochs"]) = (json!(1), json!(0));
            (params["learning_rate"], params["seed"]) = (json!(1e-7), json!(99));
        })
    };
    // A folder of the user's, with nothing but weights: what `first` knew is still known.
    let weights = folder.path().join("weights");
    std::fs::create_dir(&weights).unwrap();
    std::fs::write(
        weights.join("net.safetensors"),
        first.output("model.safetensors"),
    )
    .unwrap();
    let (_, metrics, told) = beginning_with(&weights, barely(), &clips);
    assert!(
        told.contains("tensors of net.safetensors; the last layer with them"),
        "{told}"
    );
    let (before, after) = (learned["top1"].as_f64(), metrics["top1"].as_f64());
    assert!(
        after.unwrap() > 0.6 && before.unwrap() > 0.6,
        "{before:?} became {after:?}"
    );

    // The step before, for other classes.
    let (second, metrics, told) = beginning_with(&first.job.output, barely(), &others);
    assert!(
        told.contains("the last layer is new: the file's 3 classes"),
        "{told}"
    );
    assert!(metrics["top1"].is_number());
    let model = FloatModel::load(&second.job.output, Device::Cpu).unwrap();
    assert_eq!(model.info.classes, ["up", "down"]);

    let deeper = changed(|params| params["model"]["depth"] = json!(18));
    let mut execution = Execution::new(deeper, &clips, &[]);
    let input = execution.job.inputs["clips"][0].clone();
    let input = Input {
        path: weights,
        ..input
    };
    execution
        .job
        .inputs
        .insert("pretrained".to_owned(), vec![input]);
    let error = execution.run().unwrap_err();
    assert!(error.invalid_input);
    assert!(
        error.message.contains("missing: layer1.1.conv1.0.weight"),
        "{}",
        error.message
    );
}

#[test]
fn every_family_learns() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 24, 12);
    for model in [
        json!({"arch": "mc3", "depth": 10, "width": 4}),
        json!({"arch": "r2plus1d", "depth": 10, "width": 4}),
        json!({"depth": 50, "width": 2, "stem": "hara", "shortcut": "pad"}),
        json!({"arch": "x3d", "width": 8}),
        json!({"arch": "tsm", "width": 8}),
    ] {
        let learning = changed(|params| params["model"] = model.clone());
        let execution = Execution::new(learning, clips.path(), &[]);
        execution.run().unwrap();
        let text = String::from_utf8(execution.output("training.jsonl")).unwrap();
        let losses: Vec<f64> = text
            .lines()
            .map(|line| serde_json::from_str::<EpochRecord>(line).unwrap().loss)
            .collect();
        assert!(losses[5] < 0.9 * losses[0], "{model}: {losses:?}");
    }
}

#[test]
fn progress_counts_all_clips_to_the_end_and_says_how_it_goes() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 13, 3);
    let every_second = changed(|params| {
        params["epochs"] = json!(3);
        params["test_every"] = json!(2);
    });
    let execution = Execution::new(every_second, clips.path(), &[]);
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
    run(&execution.job, &reporter).unwrap();
    let events = events.lock().unwrap();
    let Some(Event::Progress {
        done,
        total,
        unit,
        detail,
        ..
    }) = events.last()
    else {
        panic!("no progress at the end: {events:?}");
    };
    // Three epochs of two full batches, and the test clips after the second and the last.
    assert_eq!(
        (*done, *total, unit.as_str()),
        (3 * 12 + 2 * 3, 42, "clips")
    );
    assert!(detail.starts_with("epoch 3/3 loss "), "{detail}");
    let text = String::from_utf8(execution.output("training.jsonl")).unwrap();
    let tested: Vec<bool> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line)
                .unwrap()
                .get("test")
                .is_some()
        })
        .collect();
    assert_eq!(tested, [false, true, true]);
}

#[test]
fn a_finished_training_found_in_the_checkpoints_is_not_done_again() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 12, 3);
    let execution = Execution::new(params(), clips.path(), &[]);
    let first = execution.run().unwrap();
    let weights = execution.output("model.safetensors");
    std::fs::remove_dir_all(&execution.job.output).unwrap();
    std::fs::create_dir(&execution.job.output).unwrap();
    let second = execution.run().unwrap();
    assert_eq!(first["loss"], second["loss"]);
    assert_eq!(first["epochs"], second["epochs"]);
    assert_eq!(weights, execution.output("model.safetensors"));
}

#[test]
fn teachers_of_other_classes_or_clips_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (clips, others) = (folder.path().join("clips"), folder.path().join("others"));
    write_clips(&clips, &CLASSES, 6, 3);
    write_clips(&others, &["rise", "fall", "twist"], 6, 3);
    let short = || changed(|params| params["epochs"] = json!(1));
    let teacher = Execution::new(short(), &clips, &[]);
    teacher.run().unwrap();
    let error = Execution::new(short(), &others, &[&teacher.job.output])
        .run()
        .unwrap_err();
    assert!(
        error.message.contains("teacher `output`"),
        "{}",
        error.message
    );
    assert!(
        error.message.contains("only in the model: stay"),
        "{}",
        error.message
    );
    assert!(error.invalid_input);
}

#[test]
fn data_that_cannot_be_trained_or_tested_on_is_the_users_fault_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let few = folder.path().join("few");
    write_clips(&few, &CLASSES, 4, 3);
    let error = Execution::new(params(), &few, &[]).run().unwrap_err();
    assert!(
        error.message.contains("one batch of 6"),
        "{}",
        error.message
    );
    assert!(error.invalid_input);
    let untested = folder.path().join("untested");
    write_clips(&untested, &CLASSES, 12, 0);
    let error = Execution::new(params(), &untested, &[]).run().unwrap_err();
    assert!(error.message.contains("no test clips"), "{}", error.message);
    assert!(error.invalid_input);
    let error = Execution::new(params(), &folder.path().join("none"), &[])
        .run()
        .unwrap_err();
    assert!(error.message.contains("dataset.json"), "{}", error.message);
    assert!(error.invalid_input);
}

#[test]
fn a_student_that_computes_in_bfloat16_agrees_with_its_teacher_and_is_saved_in_32_bits() {
    let folder = tempfile::tempdir().unwrap();
    let clips = folder.path().join("clips");
    write_clips(&clips, &CLASSES, 24, 12);
    let half = || changed(|params| params["precision"] = json!("bfloat16"));
    let teacher = Execution::new(half(), &clips, &[]);
    let metrics = teacher.run().unwrap();
    assert!(metrics["top1"].as_f64().unwrap() > 0.6, "{metrics:?}");
    let student = Execution::new(half(), &clips, &[&teacher.job.output]);
    let metrics = student.run().unwrap();
    assert!(metrics["top1"].as_f64().unwrap() > 0.6, "{metrics:?}");
    let again = Execution::new(half(), &clips, &[&teacher.job.output]);
    again.run().unwrap();
    assert_eq!(
        student.output("model.safetensors"),
        again.output("model.safetensors")
    );
    let full = Execution::new(params(), &clips, &[&teacher.job.output]);
    full.run().unwrap();
    let sizes = [&student, &full].map(|run| run.output("model.safetensors").len());
    assert_eq!(sizes[0], sizes[1]);
    assert_ne!(
        student.output("model.safetensors"),
        full.output("model.safetensors")
    );
}

/// On a machine with a GPU that this libtorch can use there is nothing to refuse.
#[test]
fn a_gpu_that_is_not_there_is_refused_with_the_way_out() {
    let clips = tempfile::tempdir().unwrap();
    write_clips(clips.path(), &CLASSES, 6, 3);
    let params = changed(|params| {
        params["device"] = json!("cuda");
        params["epochs"] = json!(1);
    });
    let ran = Execution::new(params, clips.path(), &[]).run();
    match ran {
        Ok(_) => assert!(fedact_nets::gpu().is_ok(), "it ran without a GPU"),
        Err(error) => {
            assert!(error.message.contains("device: cpu"), "{}", error.message);
            assert!(error.invalid_input);
        }
    }
}
