//! A model that runs in eight bits against its simulation, byte by byte.

#![allow(clippy::unwrap_used)] // clippy excuses test functions only, not those they share

use std::io::{Cursor, Read, Write};
use std::path::Path;

use fedact_int8::Int8Network;
use fedact_nets::quantize::{
    CalibrationSettings, Examples, ExecutedModel, ImproveSettings, Improving, QuantizedModel,
    Traced, archive,
};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo, files, weights};
use fedact_recipe::{Enough, RoundSettings, TuneSettings};
use serde_json::json;
use tch::{Device, Kind, Tensor, no_grad};

const INPUT: InputGeometry = InputGeometry {
    frames: 4,
    height: 20,
    width: 24,
};

/// Sides that no stride divides.
const ODD: InputGeometry = InputGeometry {
    frames: 5,
    height: 23,
    width: 17,
};

/// Every kind of residual network.
fn architectures() -> impl Iterator<Item = Architecture> {
    let settings = [
        json!({"depth": 10, "width": 4}),
        json!({"depth": 18, "width": 16}),
        json!({"depth": 50, "width": 2}),
        json!({"arch": "mc3", "depth": 10, "width": 4}),
        json!({"arch": "r2plus1d", "depth": 18, "width": 4}),
        json!({"arch": "r2plus1d", "depth": 50, "width": 2, "stem": "hara"}),
        json!({"depth": 18, "width": 4, "stem": "hara", "shortcut": "pad"}),
        json!({"arch": "mc3", "depth": 10, "width": 4, "shortcut": "pad"}),
    ];
    let settings = settings.into_iter();
    settings.map(|settings| serde_json::from_value(settings).unwrap())
}

/// Soft shapes that move, each clip its own.
fn clips(input: InputGeometry, count: usize, phase: f64) -> Tensor {
    let shape = input.batch_shape(count);
    let numbers = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu));
    let coarse = (&numbers * 0.37 + phase).sin() + (&numbers * 0.011 + 2.0 * phase).sin();
    coarse.reshape(shape)
}

fn quantized(architecture: Architecture, input: InputGeometry) -> QuantizedModel {
    let classes = ["Bend", "Jump", "Walk"].map(str::to_owned).to_vec();
    let float =
        FloatModel::new(ModelInfo::new(architecture, classes, input), 7, Device::Cpu).unwrap();
    no_grad(|| {
        for phase in 0..4 {
            let _ = float.logits(&clips(input, 8, f64::from(phase)), true);
        }
        // Batch norms that do something, and a head that says something.
        for (name, mut variable) in weights::of(float.var_store()) {
            let wave = Tensor::arange(variable.numel() as i64, (Kind::Float, Device::Cpu)).sin();
            if name == "fc.weight" || variable.dim() == 1 && !name.contains("running") {
                variable += 0.2 * wave.reshape(variable.size());
            }
        }
    });
    let batches = (0..4).map(|phase| clips(input, 4, 0.3 + f64::from(phase)));
    QuantizedModel::from_float(&float, batches, &CalibrationSettings::default()).unwrap()
}

fn small() -> QuantizedModel {
    quantized(Architecture::r3d(10, 4), INPUT)
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// Wants each layer to make the same bytes of the same bytes, but for a step where a last bit decides.
fn agree(what: &str, model: &QuantizedModel, clips: &Tensor, found: &Traced) {
    let expected = model.trace_along(clips, &found.places);
    let activations = &model.quantization().activations;
    assert_eq!(found.places.len(), activations.len(), "{what}");
    let places = found.places.iter().zip(&expected.places);
    for ((found, expected), activation) in places.zip(activations) {
        let what = format!("{what}, {}", activation.name);
        assert_eq!(found.kind(), Kind::Uint8);
        assert_eq!(found.size(), expected.size(), "{what}");
        let found = found.to_kind(Kind::Float);
        let difference = (&found - expected).abs();
        let steps = largest(&difference);
        assert!(steps <= 1.0, "{what}: {steps} steps");
        // Both have the same whole sums; scaled, one may lie so near to the middle that a last bit decides.
        let off = difference.sum(Kind::Double).double_value(&[]);
        let most = (1e-5 * difference.numel() as f64).max(1.0);
        assert!(off <= most, "{what}: {off} of the values differ");
        assert!(largest(&found) > 0.0, "{what} is dead");
    }
    let difference = largest(&(&found.logits - &expected.logits));
    let limit = 1e-5 * largest(&expected.logits);
    assert!(difference < limit, "{what}: logits differ by {difference}");
    // From end to end, such steps add up.
    let whole = model.trace(clips).logits;
    let difference = largest(&(&found.logits - &whole)) / largest(&whole);
    assert!(difference < 0.005, "{what}: {difference} of the logits");
}

#[test]
fn every_place_of_every_residual_network_is_the_simulated_one_within_a_step() {
    for (architecture, input) in architectures().flat_map(|a| [(a, INPUT), (a, ODD)]) {
        let model = quantized(architecture, input);
        let executed = ExecutedModel::compile(&model).unwrap();
        for count in [1, 4] {
            let what = format!("{architecture}, {count} clips of {input}");
            let clips = clips(input, count, 9.0);
            let traced = executed.trace(&clips).unwrap();
            agree(&what, &model, &clips, &traced);
            assert!(
                executed.logits(&clips).unwrap().equal(&traced.logits),
                "{what}"
            );
        }
    }
}

/// Pixels of clips, each its own, and what a network sees of them.
fn pixels(info: &ModelInfo, count: usize) -> (Vec<u8>, Tensor) {
    let soft = clips(info.input, count, 4.0).permute([0, 2, 3, 4, 1]);
    let bytes = (soft * 63.0 + 127.0).round().clamp(0, 255);
    let pixels = Vec::<f32>::try_from(bytes.flatten(0, -1)).unwrap();
    let pixels = pixels.into_iter().map(|pixel| pixel as u8).collect();
    let along_colours = |numbers: [f64; 3]| Tensor::from_slice(&numbers);
    let normalised =
        (bytes.to_kind(Kind::Double) / 255.0 - along_colours(info.mean)) / along_colours(info.std);
    let clips = normalised.permute([0, 4, 1, 2, 3]).to_kind(Kind::Float);
    (pixels, clips)
}

#[test]
fn onednn_alone_makes_the_bytes_of_the_simulation_from_pixels_within_a_step() {
    if let Err(error) = fedact_int8::version() {
        eprintln!("SKIPPED: {error}");
        return;
    }
    for (architecture, input) in architectures().flat_map(|a| [(a, INPUT), (a, ODD)]) {
        let model = quantized(architecture, input);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let mut network = Int8Network::open(folder.path()).unwrap();
        // The second number of clips is compiled beside the first, which goes on.
        for count in [1, 4, 1] {
            let what = format!("{architecture}, {count} clips of {input}");
            let (pixels, clips) = pixels(&model.info, count);
            let found = network.trace(&pixels).unwrap();
            assert_eq!(network.logits(&pixels).unwrap(), found.logits, "{what}");
            let expected = model.trace(&clips);
            let places = found.places.iter().zip(&expected.places);
            let places = places.map(|(bytes, expected)| {
                let sides = expected.size();
                let flat = Tensor::from_slice(bytes);
                if let [clips, channels] = sides[..] {
                    return flat.reshape([clips, channels]);
                }
                let last = [&sides[..1], &sides[2..], &sides[1..2]].concat();
                flat.reshape(last).permute([0, 4, 1, 2, 3])
            });
            let traced = Traced {
                places: places.collect(),
                logits: Tensor::from_slice(&found.logits).reshape([count as i64, -1]),
            };
            agree(&what, &model, &clips, &traced);
        }
    }
}

#[test]
fn where_one_frame_is_left_the_file_has_no_more_than_the_middle_of_kernels() {
    let bytes = |frames| {
        let input = InputGeometry { frames, ..INPUT };
        archive(&quantized(Architecture::r3d(10, 8), input))
            .unwrap()
            .len()
    };
    // Of 4 frames, the third stage leaves one; of 16, the last one leaves two. Most weights are there.
    assert!(2 * bytes(4) < bytes(16));
}

/// Clips with labels, to improve a model by.
fn examples(input: InputGeometry, phase: f64) -> Examples {
    let batches = (0..4).map(|batch| clips(input, 4, phase + f64::from(batch)));
    Examples {
        clips: batches.collect(),
        labels: (0..4)
            .map(|_| Tensor::from_slice(&[0i64, 1, 2, 0]))
            .collect(),
    }
}

#[test]
fn improved_networks_are_their_simulations_within_a_step_too() {
    let calibration = CalibrationSettings::default();
    let (learned, judged) = (examples(INPUT, 0.3), examples(INPUT, 20.0));
    let ways = [
        json!(["equalise"]),
        json!(["bias"]),
        json!(["round"]),
        json!(["tune"]),
        json!(["equalise", "bias", "round", "tune"]),
        json!("auto"),
    ];
    let networks = [
        json!({"depth": 10, "width": 4}),
        json!({"arch": "r2plus1d", "depth": 18, "width": 4}),
    ];
    for (network, way) in networks
        .iter()
        .flat_map(|n| ways.iter().map(move |way| (n, way)))
    {
        let settings = ImproveSettings {
            improve: serde_json::from_value(way.clone()).unwrap(),
            // More than can be reached, so that the rule tries all.
            enough: Enough {
                logits_snr_db: 150.0,
                top1_lost: 0.0,
            },
            round: RoundSettings {
                iterations: 30,
                positions: 256,
                ..RoundSettings::default()
            },
            tune: TuneSettings {
                epochs: 2,
                batch_size: 4,
                learning_rate: 1e-3,
                ..TuneSettings::default()
            },
            seed: 3,
        };
        let improving = Improving {
            calibration: &calibration,
            settings: &settings,
            examples: &learned,
            judged: &judged,
            teacher: None,
        };
        let model = quantized(serde_json::from_value(network.clone()).unwrap(), INPUT);
        let before = weights::of(model.twin().unwrap().var_store());
        let improved = model
            .improve(&improving, &mut |_, _, _| Ok(()))
            .unwrap()
            .model;
        let what = format!("{network}, {way}");
        let after = weights::of(improved.var_store());
        let changed = before
            .iter()
            .any(|(name, weight)| !after[name].equal(weight));
        assert!(changed, "{what}: nothing was improved");
        let executed = ExecutedModel::compile(&improved).unwrap();
        let clips = clips(INPUT, 4, 9.0);
        agree(&what, &improved, &clips, &executed.trace(&clips).unwrap());
    }
}

#[test]
fn a_models_folder_has_the_file_for_devices_which_answers_alone() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let file = folder.path().join(files::EXECUTED);
    assert_eq!(std::fs::read(&file).unwrap(), archive(&model).unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("device.pt");
    std::fs::copy(&file, &copy).unwrap();
    let loaded = ExecutedModel::load(&copy).unwrap();
    assert_eq!(loaded.info, model.info);
    let clips = clips(INPUT, 3, 5.0);
    let expected = ExecutedModel::compile(&model)
        .unwrap()
        .logits(&clips)
        .unwrap();
    assert!(loaded.logits(&clips).unwrap().equal(&expected));
}

#[test]
fn a_file_cut_short_or_damaged_anywhere_is_refused_by_its_name() {
    let whole = archive(&small()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(files::EXECUTED);
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = ExecutedModel::load(&path).unwrap_err();
        assert!(error.invalid_input(), "{error}");
        let text = error.to_string();
        assert!(text.contains(files::EXECUTED), "{text}");
        text
    };
    for kept in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..kept]);
    }
    // A single bit within the weights, which libtorch would not notice.
    let weights = whole
        .windows(12)
        .position(|bytes| bytes == b"model/data/0")
        .unwrap();
    for at in [weights + 40, whole.len() / 2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        assert!(refused(&bytes).contains("copy it again"));
    }
    refused(b"no archive at all");
    std::fs::remove_file(&path).unwrap();
    let error = ExecutedModel::load(&path).unwrap_err().to_string();
    assert!(error.contains(files::EXECUTED), "{error}");
}

/// An archive with one record changed, its checksum included.
fn rewritten(archive: &[u8], record: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    let mut old = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut new = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for index in 0..old.len() {
        let mut file = old.by_index(index).unwrap();
        let name = file.name().unwrap().into_owned();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        if name == record {
            content = change(String::from_utf8(content).unwrap()).into_bytes();
        }
        new.start_file(name, options).unwrap();
        new.write_all(&content).unwrap();
    }
    new.finish().unwrap().into_inner()
}

#[test]
fn an_archive_that_names_other_classes_than_it_tells_apart_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(files::EXECUTED);
    let two = |text: String| {
        let mut info: serde_json::Value = serde_json::from_str(&text).unwrap();
        info["classes"] = json!(["Bend", "Jump"]);
        info.to_string()
    };
    let changed = rewritten(&archive(&small()).unwrap(), "model/extra/model.json", two);
    std::fs::write(&path, changed).unwrap();
    let executed = ExecutedModel::load(&path).unwrap();
    let error = executed.logits(&clips(INPUT, 1, 0.0)).unwrap_err();
    assert!(error.invalid_input(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("names 2 classes") && text.contains("tells 3 apart"),
        "{text}"
    );
}

#[test]
fn a_model_with_numbers_that_are_none_is_not_written_and_named() {
    for name in ["fc.bias", "layer1.0.conv1.0.weight"] {
        let model = small();
        no_grad(|| {
            let variable = model.var_store().variables()[name].flatten(0, -1);
            let _ = variable.get(0).fill_(f64::NAN);
        });
        let error = archive(&model).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("NaN"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        assert!(model.save(folder.path()).is_err());
        assert!(!folder.path().join(files::EXECUTED).exists());
    }
}

#[test]
fn a_folder_with_numbers_that_are_none_is_refused_by_file_and_tensor() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let path = folder.path().join(files::WEIGHTS);
    let tensors = weights::read(&path).unwrap();
    let _ = tensors["fc.bias"].get(1).fill_(f64::NAN);
    weights::write(&path, &tensors).unwrap();
    let error = QuantizedModel::load(folder.path(), Device::Cpu).unwrap_err();
    assert!(error.invalid_input(), "{error}");
    let text = error.to_string();
    let named = text.contains(files::WEIGHTS) && text.contains("`fc.bias` holds 1 of 3");
    assert!(named, "{text}");
}

#[test]
fn clips_of_another_shape_are_refused_and_not_computed() {
    let executed = ExecutedModel::compile(&small()).unwrap();
    for wrong in [clips(ODD, 1, 0.0), clips(INPUT, 1, 0.0).squeeze_dim(0)] {
        let error = executed.logits(&wrong).unwrap_err().to_string();
        assert!(error.contains("4 frames of 24x20"), "{error}");
        assert!(executed.trace(&wrong).is_err());
    }
}

#[test]
fn equal_models_give_equal_files() {
    assert!(archive(&small()).unwrap() == archive(&small()).unwrap());
}

/// What a Python user does with the file; needs a Python with torch.
#[test]
fn python_loads_the_file_and_answers_the_same() {
    let Ok(python) = std::env::var("FEDACT_TEST_PYTHON") else {
        eprintln!("SKIPPED: set FEDACT_TEST_PYTHON to a Python with torch and safetensors");
        return;
    };
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let clips = clips(INPUT, 2, 1.0);
    let expected = ExecutedModel::compile(&model)
        .unwrap()
        .logits(&clips)
        .unwrap();
    let file = |name: &str| folder.path().join(name);
    weights::write(
        &file("clips.safetensors"),
        &[("clips".to_owned(), clips)].into(),
    )
    .unwrap();
    let program = "import sys, json, torch, safetensors.torch as s\n\
        extra = {'model.json': ''}\n\
        model = torch.jit.load(sys.argv[1] + '/model.pt', _extra_files=extra).eval()\n\
        assert json.loads(extra['model.json'])['classes'] == ['Bend', 'Jump', 'Walk']\n\
        clips = s.load_file(sys.argv[1] + '/clips.safetensors')['clips']\n\
        s.save_file({'logits': model(clips)}, sys.argv[1] + '/logits.safetensors')\n\
        torch.jit.save(model, sys.argv[1] + '/again.pt')\n\
        assert torch.jit.load(sys.argv[1] + '/again.pt')(clips).equal(model(clips))\n";
    run(&python, program, folder.path());
    let found = weights::read(&file("logits.safetensors")).unwrap();
    assert!(largest(&(&found["logits"] - &expected)) < 1e-4 * largest(&expected));
}

fn run(python: &str, program: &str, folder: &Path) {
    let done = std::process::Command::new(python)
        .args(["-c", program])
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
