//! The stage as the runner starts it.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_nets::data::{Augmentation, Loader, LoaderSettings};
use fedact_nets::{
    Answers, Architecture, Classifier, FloatModel, InputGeometry, ModelInfo, NetsError, weights,
};
use fedact_stage::{Input, Job, Metrics, Reporter, StageError};
use fedact_teach::{DEFINITION, TeachParams, run};
use serde_json::{Value, json};
use tch::{Device, Kind};

const CLASSES: [&str; 3] = ["a", "b", "c"];
const TRAIN: usize = 7;

/// Noise, in sources of which every third is a test clip.
fn write_clips(folder: &Path, salt: usize) {
    let dataset = Dataset::new(CLASSES.map(str::to_owned).to_vec(), 4, 12, 12);
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for index in 0..TRAIN + 3 {
        let pixels = (0..4 * 12 * 12 * 3).map(|at| ((at * 31 + (index + salt) * 977) % 251) as u8);
        let clip = Clip {
            id: format!("clip-{index:03}"),
            video: format!("video-{index:03}.mp4"),
            video_digest: format!("{:064x}", index + salt),
            label: index % 3,
            group: format!("g{index}"),
            split: match index % 3 {
                2 if index < 9 => Split::Test,
                _ => Split::Train,
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

fn write_model(folder: &Path, classes: &[&str], seed: u64) {
    std::fs::create_dir(folder).unwrap();
    let input = InputGeometry {
        frames: 4,
        height: 12,
        width: 12,
    };
    let classes = classes.iter().map(|name| (*name).to_owned()).collect();
    let info = ModelInfo::new(Architecture::r3d(10, 2), classes, input);
    let model = FloatModel::new(info, seed, Device::Cpu).unwrap();
    model.save(folder).unwrap();
}

/// Clips and two teachers.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        write_clips(&house.path("clips"), 0);
        write_model(&house.path("first"), &CLASSES, 1);
        write_model(&house.path("second"), &CLASSES, 2);
        house
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn job(&self, name: &str, teachers: &[&str]) -> Job {
        let input = |name: &str| Input {
            name: name.to_owned(),
            path: self.path(name),
        };
        let params = json!({
            "views": 3, "batch_size": 4, "seed": 5, "threads": 1,
            "augmentation": {"scale": [0.5, 1.0], "flip": 0.5},
        });
        let job = Job {
            stage: "teach".to_owned(),
            step: "said".to_owned(),
            params: (DEFINITION.resolve)(&params).unwrap(),
            inputs: BTreeMap::from([
                ("clips".to_owned(), vec![input("clips")]),
                (
                    "teacher".to_owned(),
                    teachers.iter().map(|name| input(name)).collect(),
                ),
            ]),
            output: self.path(name),
            checkpoints: self.path(&format!("{name}-checkpoints")),
            pieces: None,
            threads: 1,
            fleet: None,
        };
        for path in [&job.output, &job.checkpoints] {
            std::fs::create_dir(path).unwrap();
        }
        job
    }
}

fn ask(job: &Job) -> Result<Metrics, StageError> {
    run(job, &Reporter::silent())
}

fn bytes(job: &Job) -> Vec<u8> {
    std::fs::read(job.output.join("answers.safetensors")).unwrap()
}

#[test]
fn answers_are_what_each_teacher_says_about_the_view_that_a_student_sees() {
    let house = House::new();
    let job = house.job("said", &["first", "second"]);
    let metrics = ask(&job).unwrap();
    assert_eq!(metrics["teachers"], json!(["first", "second"]));
    assert_eq!(
        (&metrics["clips"], &metrics["views"]),
        (&json!(TRAIN), &json!(3))
    );
    assert_eq!(metrics["bytes"], json!(2 * 3 * TRAIN * 3 * 4));

    let clips = ClipSet::open(&house.path("clips")).unwrap();
    let answers = Answers::load(&job.output, &clips).unwrap();
    let params: TeachParams = job.params().unwrap();
    let train = clips.indices(Split::Train);
    let (mut right, mut asked, mut views) = (0, 0, Vec::new());
    for (number, name) in ["first", "second"].iter().enumerate() {
        let teacher = FloatModel::load(&house.path(name), Device::Cpu).unwrap();
        // A student's loader: another order, other batches, its own seed.
        let settings = LoaderSettings {
            views: Some(params.drawn()),
            ..LoaderSettings::training(3, 99, params.augmentation.clone(), teacher.info())
        };
        let loader = Loader::new(&clips, &train, settings).unwrap();
        for epoch in 1..=4 {
            loader
                .run(epoch, |batch| {
                    let said = &answers.to(&batch, Device::Cpu)[number];
                    let now = teacher.classify(&batch.clips);
                    assert!(said.allclose(&now, 1e-4, 1e-5, false), "{name} {epoch}");
                    if epoch <= 3 && number == 0 {
                        views.push(batch.clips.mean(Kind::Float).double_value(&[]));
                    }
                    let hits = now.argmax(1, false).eq_tensor(&batch.labels);
                    right += hits.sum(Kind::Int64).int64_value(&[]);
                    asked += 1;
                    Ok::<(), NetsError>(())
                })
                .unwrap();
        }
    }
    assert_eq!(asked, 2 * 4 * 2);
    let top1 = metrics["top1"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&top1) && (right == 0) == (top1 == 0.0));
    views.sort_by(f64::total_cmp);
    views.dedup();
    assert_eq!(views.len(), 6, "views of different epochs differ");
}

#[test]
fn a_run_that_was_killed_goes_on_with_what_it_kept_and_ends_the_same() {
    let house = House::new();
    let whole = house.job("whole", &["first", "second"]);
    ask(&whole).unwrap();
    let resumed = house.job("resumed", &["first", "second"]);
    let kept = |job: &Job, file: &str| job.checkpoints.join(file);
    for file in ["0-1.safetensors", "1-2.safetensors"] {
        std::fs::copy(kept(&whole, file), kept(&resumed, file)).unwrap();
    }
    // Cut off by a full disk.
    let cut = std::fs::read(kept(&whole, "0-2.safetensors")).unwrap();
    std::fs::write(kept(&resumed, "0-2.safetensors"), &cut[..cut.len() / 2]).unwrap();
    let metrics = ask(&resumed).unwrap();
    assert_eq!(bytes(&resumed), bytes(&whole));
    assert_eq!(metrics["clips"], json!(TRAIN));

    // What was kept is used, and not asked again.
    let other = house.job("other", &["first", "second"]);
    let file = "0-1.safetensors";
    let mut tensors = weights::read(&kept(&whole, file)).unwrap();
    let changed = &tensors["logits"] + 1.0;
    tensors.insert("logits".to_owned(), changed);
    weights::write(&kept(&other, file), &tensors).unwrap();
    ask(&other).unwrap();
    assert_ne!(bytes(&other), bytes(&whole));

    let asked_to_stop = house.job("stopped", &["first"]);
    let reporter = Reporter::silent();
    reporter.ask_to_stop();
    assert!(run(&asked_to_stop, &reporter).unwrap_err().stopped);
}

#[test]
fn answers_to_other_clips_and_broken_ones_are_refused() {
    let house = House::new();
    let job = house.job("said", &["first"]);
    ask(&job).unwrap();
    write_clips(&house.path("others"), 40);
    let others = ClipSet::open(&house.path("others")).unwrap();
    let error = Answers::load(&job.output, &others).unwrap_err().to_string();
    assert!(
        error.contains("7 other clips than the training clips of"),
        "{error}"
    );

    let clips = ClipSet::open(&house.path("clips")).unwrap();
    let info = job.output.join("answers.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&info).unwrap()).unwrap();
    value["views"]["count"] = json!(4);
    std::fs::write(&info, value.to_string()).unwrap();
    let error = Answers::load(&job.output, &clips).unwrap_err().to_string();
    assert!(error.contains("not of the shape [1, 4, 7, 3]"), "{error}");
    value["format_version"] = json!(2);
    std::fs::write(&info, value.to_string()).unwrap();
    let error = Answers::load(&job.output, &clips).unwrap_err().to_string();
    assert!(error.contains("format version 2"), "{error}");
}

#[test]
fn teachers_of_other_classes_and_clips_without_a_train_split_are_refused() {
    let house = House::new();
    write_model(&house.path("stranger"), &["a", "b", "x"], 3);
    let error = ask(&house.job("said", &["first", "stranger"])).unwrap_err();
    assert!(
        error.invalid_input && error.message.contains("teacher `stranger`"),
        "{error}"
    );
    assert!(error.message.contains('x'), "{error}");

    let dataset = Dataset::new(CLASSES.map(str::to_owned).to_vec(), 4, 12, 12);
    std::fs::remove_dir_all(house.path("clips")).unwrap();
    ClipSetWriter::create(&house.path("clips"), dataset)
        .unwrap()
        .finish()
        .unwrap();
    let error = ask(&house.job("nothing", &["first"])).unwrap_err();
    assert!(error.message.contains("no training clips"), "{error}");
    assert!(!house.path("nothing/answers.json").exists());
}

#[test]
fn the_params_default_to_those_of_distill() {
    let params: TeachParams = serde_json::from_value(json!({})).unwrap();
    assert_eq!(params.augmentation, Augmentation::default());
}

/// On a machine with a GPU that this libtorch can use there is nothing to refuse.
#[test]
fn a_gpu_that_is_not_there_is_refused_with_the_way_out() {
    let house = House::new();
    let mut job = house.job("said", &["first"]);
    job.params["device"] = json!("cuda");
    match ask(&job) {
        Ok(_) => assert!(fedact_nets::gpu().is_ok(), "it ran without a GPU"),
        Err(error) => {
            assert!(error.message.contains("device: cpu"), "{}", error.message);
            assert!(error.invalid_input && !house.path("said/answers.json").exists());
        }
    }
}
