//! Every family of networks against PyTorch: weights made and saved there, and what they answer.
//!
//! Needs a Python with torch and torchvision; `FEDACT_TEST_PYTHON` names it. Without it the test says that it
//! has not been made.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

use std::path::Path;
use std::process::Command;

use fedact_nets::{
    Architecture, Classifier, FloatModel, InputGeometry, ModelInfo, Pretrained, set_threads,
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// Where the tests look for a Python.
const PYTHON: &str = "FEDACT_TEST_PYTHON";

/// What PyTorch says of one network.
#[derive(Deserialize)]
struct Case {
    architecture: Architecture,
    input: InputGeometry,
    parameters: u64,
    /// Of all clips, one after the other.
    logits: Vec<f32>,
}

const CLIPS: usize = 2;

#[test]
#[allow(clippy::print_stderr)] // A test that was not made shall not look like one that passed.
fn networks_answer_what_pytorch_answers() {
    let Some(python) = std::env::var_os(PYTHON) else {
        eprintln!("SKIPPED: set {PYTHON} to a Python with torch and torchvision");
        return;
    };
    set_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/networks.py");
    let made = Command::new(python)
        .arg(tool)
        .arg("cases")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(made.success(), "the tool failed: {made}");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let place = entry.unwrap().path();
        compare(&place);
        // A hundred megabytes each.
        std::fs::remove_dir_all(&place).unwrap();
        cases += 1;
    }
    assert_eq!(cases, 15);
}

fn compare(place: &Path) {
    let name = place.file_name().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read(place.join("case.json")).unwrap();
    let case: Case = serde_json::from_slice(&text).unwrap();
    let count = case.logits.len() / CLIPS;
    let classes = (0..count).map(|class| format!("class {class}")).collect();
    let info = ModelInfo::new(case.architecture, classes, case.input);
    let model = FloatModel::new(info, 1, Device::Cpu).unwrap();
    assert_eq!(model.parameters(), case.parameters, "{name}");
    let adopted = Pretrained::open(place).unwrap().give_to(&model).unwrap();
    assert_eq!(adopted.fresh_head, None, "{name}");
    assert_eq!(adopted.tensors, model.var_store().len(), "{name}");

    let bytes = std::fs::read(place.join("clips.f32")).unwrap();
    let shape = case.input.batch_shape(CLIPS);
    let clips = Tensor::from_data_size(&bytes, &shape, Kind::Float);
    let expected = Tensor::from_slice(&case.logits).reshape([CLIPS as i64, count as i64]);
    let found = model.classify(&clips);
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    let (scale, difference) = (largest(&expected), largest(&(&found - &expected)));
    assert!(
        scale > 0.01 && scale.is_finite(),
        "{name} says nothing: {scale}"
    );
    assert!(
        difference <= 1e-4 * scale.max(1.0),
        "{name}: off by {difference} of {scale}"
    );
}
