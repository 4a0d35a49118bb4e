//! The stage as the runner starts it.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

mod kit;

use std::path::Path;
use std::sync::{Arc, Mutex};

use fedact_clips::{ClipSet, Split};
use fedact_distill::run;
use fedact_nets::data::{Loader, LoaderSettings};
use fedact_nets::train::EpochRecord;
use fedact_nets::{Classifier, FloatModel, Model, NetsError, loss};
use fedact_stage::{Event, Input, Metrics, Reporter};
use serde_json::{Value, json};
use tch::Device;

use kit::{CLASSES, Execution, changed, params, write_clips};

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
    assert_eq!(told, ["train_seconds", "clips_per_second", "wait_share"]);
    let waited = metrics["wait_share"].as_f64().unwrap();
    assert!((0.0..1.0).contains(&waited), "{waited}");
    assert!((0.0..1.0).contains(&metrics["ece"].as_f64().unwrap()));
    assert_eq!(metrics["kept_epoch"], 6);
    let confusion: Value = serde_json::from_slice(&execution.output("confusion.json")).unwrap();
    assert_eq!(confusion["classes"], json!(CLASSES));
    let rows = confusion["confusion"].as_array().unwrap().iter();
    let sums = rows.map(|row| {
        row.as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .sum()
    });
    assert_eq!(sums.collect::<Vec<u64>>(), [4, 4, 4]);
    let curves = String::from_utf8(execution.output("curves.svg")).unwrap();
    for words in ["top-1 accuracy", "learning rate", "data-series=\"test\""] {
        assert!(curves.contains(words), "{words} in {curves}");
    }
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

/// The same clips with worthless labels: each is in the next class.
fn mislabelled(clips: &Path, wrong: &Path) {
    std::fs::create_dir(wrong).unwrap();
    for entry in std::fs::read_dir(clips).unwrap() {
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
}

/// Share of the test clips of `clips` that a model gets right.
fn top1(model: &Path, clips: &Path) -> f64 {
    let model = FloatModel::load(model, Device::Cpu).unwrap();
    let set = ClipSet::open(clips).unwrap();
    let test = set.indices(Split::Test);
    let predictions = fedact_nets::score::predict(&model, &set, &test, 4, |_| {}).unwrap();
    fedact_nets::score::Scores::from(&predictions).top1
}

#[test]
fn a_student_that_hears_only_its_teacher_comes_to_agree_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (clips, wrong) = (folder.path().join("clips"), folder.path().join("wrong"));
    write_clips(&clips, &CLASSES, 24, 12);
    mislabelled(&clips, &wrong);
    let teacher = Execution::new(params(), &clips, &[]);
    teacher.run().unwrap();
    let hears = |distillation: Value| {
        changed(|params| {
            params["seed"] = json!(11);
            params["epochs"] = json!(12);
            params["learning_rate"] = json!(0.03);
            params["distillation"] = distillation;
        })
    };
    let output = teacher.job.output.as_path();
    let alone = json!({"lambda": 1.0, "temperature": 2.0});
    // The labels are still heard beside it, and drowned out.
    let drowned =
        json!({"lambda": 0.0, "temperature": 2.0, "decoupled": {"weight": 30.0, "others": 1.0}});
    for distillation in [alone, drowned] {
        let obedient = Execution::new(hears(distillation.clone()), &wrong, &[output, output]);
        let metrics = obedient.run().unwrap();
        assert_eq!(metrics["teachers"], json!(["output", "output"]));
        // Measured against the wrong labels, whoever follows the teacher is wrong.
        assert!(
            metrics["top1"].as_f64().unwrap() < 0.2,
            "{distillation}: {metrics:?}"
        );
        let right = top1(&obedient.job.output, &clips);
        assert!(right > 0.6, "{distillation}: {right}");
    }
    let deaf = json!({"lambda": 0.0, "temperature": 2.0});
    let metrics = Execution::new(hears(deaf), &wrong, &[output])
        .run()
        .unwrap();
    assert!(metrics["top1"].as_f64().unwrap() > 0.6, "{metrics:?}");
}

#[test]
fn what_a_student_is_told_to_take_over_comes_nearer_to_its_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let clips = folder.path().join("clips");
    write_clips(&clips, &CLASSES, 24, 12);
    let wide = changed(|params| params["model"]["width"] = json!(8));
    let teacher = Execution::new(wide, &clips, &[]);
    teacher.run().unwrap();
    let set = ClipSet::open(&clips).unwrap();
    let test = set.indices(Split::Test);
    let taught = FloatModel::load(&teacher.job.output, Device::Cpu).unwrap();
    let settings = LoaderSettings::in_order(test.len(), taught.info());
    let loader = Loader::new(&set, &test, settings).unwrap();
    // How far a student is from its teacher: attention, features.
    let distances = |distillation: Value| {
        let params = changed(|params| {
            params["seed"] = json!(11);
            params["epochs"] = json!(16);
            params["distillation"] = distillation;
        });
        let student = Execution::new(params, &clips, &[&teacher.job.output]);
        student.run().unwrap();
        let student = FloatModel::load(&student.job.output, Device::Cpu).unwrap();
        let mut distances = [0.0; 2];
        loader
            .run(0, |batch| {
                let (student, teacher) =
                    (student.outputs(&batch.clips), taught.outputs(&batch.clips));
                distances = [
                    loss::attention(&student.stages, &teacher.stages).double_value(&[]),
                    loss::similarity(&student.features, &teacher.features).double_value(&[]),
                ];
                Ok::<(), NetsError>(())
            })
            .unwrap();
        distances
    };
    let deaf = distances(json!({"lambda": 0.0}));
    let attentive = distances(json!({"lambda": 0.0, "attention": 10.0}));
    let alike = distances(json!({"lambda": 0.0, "similarity": 3000.0}));
    assert!(attentive[0] < 0.7 * deaf[0], "{attentive:?} {deaf:?}");
    assert!(alike[1] < 0.7 * deaf[1], "{alike:?} {deaf:?}");
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
    // The long ones need epochs for it. With five seeds the mean of the last three losses was at most three quarters of the first.
    for (model, epochs) in [
        (json!({"arch": "mc3", "depth": 10, "width": 4}), 6),
        (json!({"arch": "r2plus1d", "depth": 10, "width": 4}), 6),
        (
            json!({"depth": 50, "width": 4, "stem": "hara", "shortcut": "pad"}),
            14,
        ),
        (json!({"arch": "x3d", "width": 8}), 6),
        (json!({"arch": "tsm", "width": 8}), 14),
    ] {
        let learning = changed(|params| {
            params["model"] = model.clone();
            params["epochs"] = json!(epochs);
        });
        let execution = Execution::new(learning, clips.path(), &[]);
        execution.run().unwrap();
        let text = String::from_utf8(execution.output("training.jsonl")).unwrap();
        let losses: Vec<f64> = text
            .lines()
            .map(|line| serde_json::from_str::<EpochRecord>(line).unwrap().loss)
            .collect();
        let last = losses[epochs - 3..].iter().sum::<f64>() / 3.0;
        assert!(last < 0.9 * losses[0], "{model}: {losses:?}");
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
    for words in [", accuracy ", ", top-1 ", " clips/s"] {
        assert!(detail.contains(words), "{detail}");
    }
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
