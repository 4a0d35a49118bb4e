//! Weights to begin with. The checkpoints in `checkpoints/` are of a Hara network of ten layers and width 1; see
//! `reference/networks.py`.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fedact_nets::{
    Architecture, Classifier, FloatModel, InputGeometry, MEAN, ModelInfo, NetsError, Pretrained,
    STD, weights,
};
use proptest::prelude::*;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const INPUT: InputGeometry = InputGeometry {
    frames: 8,
    height: 24,
    width: 20,
};

fn checkpoint(name: &str) -> PathBuf {
    let checkpoints = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints");
    checkpoints.join(name)
}

/// A folder with one file in it.
fn folder_with(name: &str, content: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    folder
}

fn folder_of(name: &str) -> tempfile::TempDir {
    folder_with(name, &std::fs::read(checkpoint(name)).unwrap())
}

fn network(settings: serde_json::Value, classes: &[&str]) -> FloatModel {
    let architecture: Architecture = serde_json::from_value(settings).unwrap();
    let classes = classes.iter().map(|class| (*class).to_owned()).collect();
    let info = ModelInfo::new(architecture, classes, INPUT);
    FloatModel::new(info, 3, Device::Cpu).unwrap()
}

fn hara(classes: &[&str]) -> FloatModel {
    let settings = json!({"depth": 10, "width": 1, "stem": "hara", "shortcut": "pad"});
    network(settings, classes)
}

const CLASSES: [&str; 3] = ["Bend", "Jump", "Walk"];

fn state(model: &FloatModel) -> BTreeMap<String, Tensor> {
    let state = weights::of(model.var_store()).into_iter();
    state
        .map(|(name, tensor)| (name, tensor.detach().copy()))
        .collect()
}

#[test]
fn checkpoints_of_old_and_new_pytorch_answer_as_they_did_there() {
    let text = std::fs::read(checkpoint("logits.json")).unwrap();
    let expected: Vec<f32> = serde_json::from_slice(&text).unwrap();
    let expected = Tensor::from_slice(&expected).reshape([2, 3]);
    let count = 2 * INPUT.clip_values() as i64;
    let numbers = Tensor::arange(count, (Kind::Float, Device::Cpu));
    let clips = numbers.sin().reshape(INPUT.batch_shape(2));
    for name in ["zip.pth", "legacy.pth"] {
        let folder = folder_of(name);
        let model = hara(&CLASSES);
        assert!(!model.classify(&clips).allclose(&expected, 0.0, 1e-2, false));
        let pretrained = Pretrained::open(folder.path()).unwrap();
        assert_eq!(pretrained.normalisation(), None);
        let adopted = pretrained.give_to(&model).unwrap();
        assert!(adopted.file.ends_with(name));
        assert_eq!(
            (adopted.tensors, adopted.fresh_head),
            (model.var_store().len(), None)
        );
        let found = model.classify(&clips);
        assert!(
            found.allclose(&expected, 0.0, 1e-4, false),
            "{name}: {found}"
        );
    }
}

#[test]
fn other_classes_get_a_new_last_layer_and_everything_else_of_the_file() {
    let folder = folder_of("zip.pth");
    let pretrained = Pretrained::open(folder.path()).unwrap();
    let whole = hara(&CLASSES);
    pretrained.give_to(&whole).unwrap();
    let model = hara(&["Bend", "Jump"]);
    let before = state(&model);
    let adopted = pretrained.give_to(&model).unwrap();
    assert_eq!(adopted.tensors, before.len() - 2);
    let reason = adopted.fresh_head.unwrap();
    assert!(
        reason.contains("`fc.weight` is [3, 8] in the file and [2, 8]"),
        "{reason}"
    );
    let (after, all) = (state(&model), state(&whole));
    for (name, tensor) in &after {
        let source = if name.starts_with("fc.") {
            &before
        } else {
            &all
        };
        assert!(tensor.equal(&source[name]), "{name}");
    }
}

#[test]
fn another_network_than_the_files_is_refused_with_all_that_does_not_match() {
    let folder = folder_of("legacy.pth");
    let pretrained = Pretrained::open(folder.path()).unwrap();
    for (settings, expected) in [
        (
            json!({"depth": 10, "width": 1, "stem": "hara"}),
            "missing: layer2.0.downsample.0.weight",
        ),
        (
            json!({"depth": 10, "width": 1, "shortcut": "pad"}),
            "stem.0.weight is [1, 3, 7, 7, 7] in the file and [1, 3, 3, 7, 7] in the network",
        ),
        (json!({"arch": "tsm"}), "unexpected: "),
    ] {
        let model = network(settings, &CLASSES);
        let before = state(&model);
        let error = pretrained.give_to(&model).unwrap_err().to_string();
        assert!(
            error.contains("legacy.pth") && error.contains(expected),
            "{error}"
        );
        assert!(error.contains("set `model`"), "{error}");
        for (name, tensor) in state(&model) {
            assert!(tensor.equal(&before[&name]), "{name} was changed");
        }
    }
}

#[test]
fn a_model_of_this_program_brings_its_normalisation_and_keeps_its_head_for_its_own_classes() {
    let settings = || json!({"depth": 10, "width": 2});
    let mut teacher = network(settings(), &CLASSES);
    (teacher.info.mean, teacher.info.std) = ([0.5; 3], [0.25; 3]);
    let folder = tempfile::tempdir().unwrap();
    teacher.save(folder.path()).unwrap();
    // Beside a model, other files are not looked at.
    std::fs::write(folder.path().join("old.pth"), b"").unwrap();
    let pretrained = Pretrained::open(folder.path()).unwrap();
    assert_eq!(pretrained.normalisation(), Some(([0.5; 3], [0.25; 3])));
    let same = network(settings(), &CLASSES);
    assert_eq!(pretrained.give_to(&same).unwrap().fresh_head, None);
    let renamed = network(settings(), &["Bend", "Jump", "Swim"]);
    let reason = pretrained.give_to(&renamed).unwrap().fresh_head.unwrap();
    assert!(reason.contains("classes"), "{reason}");
}

#[test]
fn checkpoints_from_before_batches_were_counted_load() {
    let model = hara(&CLASSES);
    let mut tensors = state(&model);
    tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let folder = tempfile::tempdir().unwrap();
    weights::write(&folder.path().join("old.safetensors"), &tensors).unwrap();
    let adopted = Pretrained::open(folder.path()).unwrap().give_to(&model);
    assert_eq!(adopted.unwrap().tensors, tensors.len());
}

#[test]
fn families_are_normalised_as_their_published_weights_expect() {
    assert_eq!((network(json!({}), &CLASSES).info.mean, STD), (MEAN, STD));
    assert_eq!(hara(&CLASSES).info.std, [0.2768, 0.2713, 0.2737]);
    let x3d = network(json!({"arch": "x3d"}), &CLASSES);
    assert_eq!((x3d.info.mean, x3d.info.std), ([0.45; 3], [0.225; 3]));
    assert_eq!(
        network(json!({"arch": "tsm"}), &CLASSES).info.mean,
        [0.485, 0.456, 0.406]
    );
}

#[test]
fn a_folder_without_a_checkpoint_or_with_two_is_refused_by_name() {
    let folder = folder_with("notes.txt", b"");
    let error = Pretrained::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("holds no weights"), "{error}");
    assert!(error.invalid_input());
    for name in ["a.pth", "b.safetensors"] {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    let error = Pretrained::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("a.pth, b.safetensors"), "{error}");
}

/// A pickle is a program: this one makes a file, and then stands for whatever that returns.
#[test]
fn a_checkpoint_that_is_a_program_is_not_run() {
    let traces = tempfile::tempdir().unwrap();
    let trace = traces.path().join("trace");
    for callable in [
        "posix\nsystem",
        "os\nsystem",
        "builtins\nexec",
        "subprocess\nrun",
    ] {
        let touch = format!("touch {}", trace.display());
        let program = format!("c{callable}\n(S'{touch}'\ntR.");
        let nested = format!(
            "(dS'state_dict'\n(dS'fc.weight'\n{}ss.",
            &program[..program.len() - 1]
        );
        for pickle in [program, nested] {
            let folder = folder_with("evil.pth", pickle.as_bytes());
            let error = Pretrained::open(folder.path()).unwrap_err();
            assert!(matches!(error, NetsError::Checkpoint { .. }), "{error}");
            assert!(error.to_string().contains("evil.pth"), "{error}");
            assert!(!trace.exists());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A damaged file is read or refused by name, and never ends the process.
    #[test]
    fn damaged_checkpoints_are_refused(
        name in prop::sample::select(vec!["zip.pth", "legacy.pth"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        // Most changes in the first part, where what the tensors are is written.
        early in any::<bool>(),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(checkpoint(name)).unwrap();
        let reach = if early { 4096 } else { bytes.len() };
        for (at, byte) in changes {
            bytes[at.index(reach)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = folder_with(name, &bytes);
        match Pretrained::open(folder.path()) {
            Ok(pretrained) => drop(pretrained.give_to(&hara(&CLASSES))),
            Err(error) => prop_assert!(error.to_string().contains(name), "{error}"),
        }
    }
}
