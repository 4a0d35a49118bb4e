use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fedact_clips::{Clip, ClipSetWriter, Dataset};
use fedact_federate_params::fleet::{Brief, TRAIN};
use fedact_federation::history::HistoryWriter;
use fedact_federation::simulation::Host;
use fedact_nets::quantize::CalibrationSettings;
use fedact_nets::{Architecture, FloatModel, InputGeometry};
use fedact_stage::Input;
use serde_json::json;
use tch::{Kind, Tensor};

use super::*;
use crate::worker::Worker;
use crate::{DEFINITION, FederateParams};

const FRAMES: usize = 4;
const SIDE: usize = 16;
const CLASSES: [&str; 4] = ["left", "right", "still", "wave"];

/// A clip of its own for every class, person and take.
fn pixels(class: &str, person: usize, take: usize) -> Vec<u8> {
    let class = class.len();
    (0..FRAMES * SIDE * SIDE * 3)
        .map(|place| ((place * (3 + class) + 31 * person + 7 * take) % 251) as u8)
        .collect()
}

/// What a person holds: not all hold all classes, nor equally many clips.
fn takes(class: &str, person: usize) -> usize {
    match (class, person) {
        ("still", 1) | ("wave" | "right", 2) => 0,
        ("left", 2) => 7,
        _ => 2 + person,
    }
}

/// Writes the clips of these persons, of these classes.
fn write_clips(folder: &Path, classes: &[&str], persons: &[usize], side: usize) {
    std::fs::create_dir_all(folder).unwrap();
    let names = classes.iter().map(|class| (*class).to_owned()).collect();
    let mut writer =
        ClipSetWriter::create(folder, Dataset::new(names, FRAMES, side, side)).unwrap();
    for (label, class) in classes.iter().enumerate() {
        for person in persons {
            for take in 0..takes(class, *person) {
                let video = format!("{class}/p{person}_{take}.avi");
                let clip = Clip {
                    id: format!("{video}#00"),
                    video,
                    video_digest: "0".repeat(64),
                    label,
                    group: format!("p{person}"),
                    split: match person {
                        3 => Split::Test,
                        _ => Split::Train,
                    },
                    start_seconds: 0.0,
                    end_seconds: 1.0,
                    shard: 0,
                    row: 0,
                };
                let mut bytes = pixels(class, *person, take);
                bytes.resize(FRAMES * side * side * 3, 0);
                writer.push(clip, &bytes).unwrap();
            }
        }
    }
    writer.finish().unwrap();
}

fn model() -> QuantizedModel {
    let input = InputGeometry {
        frames: FRAMES,
        height: SIDE,
        width: SIDE,
    };
    let classes = CLASSES.map(str::to_owned).to_vec();
    let info = ModelInfo::new(Architecture::r3d(10, 4), classes, input);
    let float = FloatModel::new(info, 1, Device::Cpu).unwrap();
    let shape = input.batch_shape(8);
    let count: i64 = shape.iter().product();
    let noise: Vec<f32> = (0..count)
        .map(|index| ((index * 7919) % 1000) as f32 / 250.0 - 2.0)
        .collect();
    let batch = Tensor::from_slice(&noise)
        .reshape(shape)
        .to_kind(Kind::Float);
    QuantizedModel::from_float(&float, [batch], &CalibrationSettings::default()).unwrap()
}

fn params() -> FederateParams {
    let given = json!({
        "clients": 3, "batch_size": 4, "learning_rate": 0.05, "threads": 1, "seed": 3,
        "augmentation": {"flip": 0.5, "flip_pairs": [["left", "right"]]},
    });
    serde_json::from_value((DEFINITION.resolve)(&given).unwrap()).unwrap()
}

/// A device with a clip set, and its job.
fn job(folder: &Path, clips: &Path, base: &[f32], task: &Assignment) -> Job {
    let base_path = folder.join("base");
    write_numbers(&base_path, base).unwrap();
    let request = TrainRequest {
        brief: Brief {
            model: serde_json::to_value(&model().info).unwrap(),
            extract: json!({}),
            params: params(),
        },
        base: base_path,
        samples: task.samples,
        samples_before: task.samples_before,
        progress: task.progress,
        client: task.client as u32,
    };
    let input = |path: &Path| Input {
        name: "clips".into(),
        path: path.to_owned(),
    };
    let output = folder.join("output");
    std::fs::create_dir_all(&output).unwrap();
    Job {
        stage: TRAIN.name.into(),
        step: "nano".into(),
        params: serde_json::to_value(&request).unwrap(),
        inputs: BTreeMap::from([("clips".to_owned(), vec![input(clips)])]),
        output,
        checkpoints: folder.join("checkpoints"),
        pieces: None,
        threads: 1,
        fleet: None,
    }
}

fn parameters(model: &QuantizedModel) -> Vec<f32> {
    let mut flat = vec![0.0; model.parameter_count()];
    model.copy_parameters_to(&mut flat).unwrap();
    flat
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn a_device_makes_of_a_task_bit_for_bit_what_the_simulation_makes_of_it() {
    set_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    write_clips(&whole, &CLASSES, &[0, 1, 2, 3], SIDE);
    let clips = ClipSet::open(&whole).unwrap();
    let (params, model) = (params(), model());
    let clients = params.shares(&clips, params.clients);
    assert_eq!(clients.len(), 3);
    let pooled = clips.indices(Split::Train);
    let history = HistoryWriter::create(&folder.path().join("history.jsonl")).unwrap();
    let silent = Reporter::silent();
    let progress = silent.task("", 0, "");
    let base = parameters(&model);
    let mut worker = Worker::new(
        model, &params, &clips, &clients, &pooled, history, &progress,
    )
    .unwrap();
    let mut results = Vec::new();
    for (client, share) in clients.iter().enumerate() {
        let person: usize = share.id[1..].parse().unwrap();
        let held: Vec<&str> = CLASSES
            .into_iter()
            .filter(|class| takes(class, person) > 0)
            .collect();
        let own: PathBuf = folder.path().join(&share.id);
        write_clips(&own.join("clips"), &held, &[person], SIDE);
        // From within an epoch into the one after the next, as an earlier task of another length leaves it.
        let count = share.indices.len() as u64;
        let task = Assignment {
            client,
            nth: 1,
            samples_before: 3,
            base_version: 0,
            samples: 2 * count,
            progress: 0.37,
        };
        let expected = worker.train(&task, &base).unwrap();
        assert!(bits(&expected) != bits(&base));
        let job = job(&own, &own.join("clips"), &base, &task);
        train_task(&job, &silent).unwrap();
        let trained = read_numbers(&job.output.join(TRAINED)).unwrap();
        assert!(bits(&trained) == bits(&expected), "{}", share.id);
        results.push(trained);
    }
    assert!(bits(&results[0]) != bits(&results[1]));
}

#[test]
fn a_task_that_the_clips_or_the_base_do_not_fit_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let base = parameters(&model());
    let task = Assignment {
        client: 0,
        nth: 0,
        samples_before: 0,
        base_version: 0,
        samples: 4,
        progress: 0.0,
    };
    let refusal = |classes: &[&str], persons: &[usize], side: usize, base: &[f32]| {
        let clips = folder.path().join("clips");
        let _ = std::fs::remove_dir_all(&clips);
        write_clips(&clips, classes, persons, side);
        let job = job(folder.path(), &clips, base, &task);
        train_task(&job, &Reporter::silent()).unwrap_err()
    };
    let strange = refusal(&["jump", "left"], &[0], SIDE, &base);
    assert!(strange.invalid_input);
    assert!(strange.message.contains("clips of jump"), "{strange:?}");
    let large = refusal(&["left"], &[0], 24, &base);
    assert!(large.message.contains("24x24"), "{large:?}");
    let tested = refusal(&["left"], &[3], SIDE, &base);
    assert!(tested.message.contains("train split"), "{tested:?}");
    let short = refusal(&["left"], &[0], SIDE, &base[1..]);
    assert!(short.message.contains("parameters"), "{short:?}");
}
