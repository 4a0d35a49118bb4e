//! Graphs of models with random weights: well-formed, the same every time, and refused where they cannot be.

#![allow(clippy::unwrap_used)] // clippy excuses test functions only, not those they share

mod models;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;

use fedact_onnx::proto::{GraphProto, Length, ModelProto, ValueInfoProto, kind};
use fedact_onnx::{Form, OnnxError, Precision, Source, Variant, write_all};
use models::Case;
use prost::Message;

fn settings() -> Vec<&'static str> {
    vec![
        r#"{"arch": "r3d", "depth": 10, "width": 4}"#,
        r#"{"arch": "r3d", "depth": 50, "width": 2, "stem": "hara", "shortcut": "pad"}"#,
        r#"{"arch": "mc3", "depth": 18, "width": 4}"#,
        r#"{"arch": "r2plus1d", "depth": 18, "width": 4}"#,
        r#"{"arch": "r2plus1d", "depth": 50, "width": 2, "stem": "hara"}"#,
        r#"{"arch": "x3d", "width": 8}"#,
        r#"{"arch": "tsm", "width": 8}"#,
    ]
}

/// All forms of all models, float and quantized.
fn all(mut check: impl FnMut(&Case, Variant, &ModelProto)) {
    for settings in settings() {
        let case = Case::new(settings);
        let folders = [Some(case.float()), case.quantized(&[])];
        for folder in folders.into_iter().flatten() {
            let source = Source::open(folder.path()).unwrap();
            for variant in source.variants() {
                check(&case, variant, &source.model(variant).unwrap());
            }
        }
    }
}

fn shape(value: &ValueInfoProto) -> Vec<Option<i64>> {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let sides = tensor.shape.as_ref().unwrap().dim.iter();
    sides
        .map(|side| match side.value.as_ref().unwrap() {
            Length::Value(length) => Some(*length),
            Length::Name(_) => None,
        })
        .collect()
}

#[test]
fn operations_stand_behind_those_whose_outputs_they_take() {
    all(|case, variant, model| {
        let graph = model.graph.as_ref().unwrap();
        let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        let inputs = graph.input.iter().map(|value| value.name.as_str());
        let mut known: BTreeSet<&str> = constants.chain(inputs).collect();
        assert_eq!(known.len(), graph.initializer.len() + 1, "a name twice");
        let mut names = BTreeSet::new();
        for node in &graph.node {
            for input in &node.input {
                assert!(
                    known.contains(input.as_str()),
                    "{case} {variant:?}: {input}"
                );
            }
            for output in &node.output {
                assert!(known.insert(output), "{case} {variant:?}: {output} twice");
            }
            assert!(names.insert(&node.name), "{} twice", node.name);
        }
        assert!(known.contains(graph.output[0].name.as_str()));
    });
}

#[test]
fn every_constant_has_the_bytes_that_its_shape_says_and_is_used() {
    all(|case, variant, model| {
        let graph = model.graph.as_ref().unwrap();
        let used: BTreeSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        for tensor in &graph.initializer {
            let size = match tensor.data_type {
                kind::FLOAT => 4,
                kind::INT8 | kind::UINT8 => 1,
                kind::INT64 => 8,
                other => panic!("{}: kind {other}", tensor.name),
            };
            let numbers: i64 = tensor.dims.iter().product();
            let name = &tensor.name;
            assert_eq!(tensor.raw_data.len() as i64, numbers * size, "{name}");
            assert!(
                used.contains(name),
                "{case} {variant:?}: {name} is of no use"
            );
        }
    });
}

#[test]
fn every_weight_of_the_layout_is_there_with_its_shape() {
    all(|case, variant, model| {
        let graph = model.graph.as_ref().unwrap();
        let shapes: BTreeMap<&str, &Vec<i64>> = graph
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), &tensor.dims))
            .collect();
        let bytes = variant.precision != Precision::Float;
        for layer in case.layout.convolutions() {
            let ending = if bytes { "_int8" } else { "" };
            let found = shapes[format!("{}.weight{ending}", layer.conv).as_str()];
            let numbers = |shape: &[i64]| shape.iter().product::<i64>();
            assert_eq!(
                numbers(found),
                numbers(&layer.weight_shape()),
                "{}",
                layer.conv
            );
            if variant.form == Form::Volumes {
                assert_eq!(found, &layer.weight_shape(), "{}", layer.conv);
            } else {
                assert_eq!(found.len(), 4, "{}", layer.conv);
            }
            if bytes {
                let scales = shapes[format!("{}.weight_scale", layer.conv).as_str()];
                assert_eq!(scales, &vec![layer.outputs]);
            }
        }
    });
}

#[test]
fn two_dimensional_graphs_have_no_tensor_of_five_sides_but_the_clips() {
    let mut seen = 0;
    all(|case, variant, model| {
        if variant.form == Form::Pictures {
            let graph = model.graph.as_ref().unwrap();
            for value in &graph.value_info {
                assert!(shape(value).len() <= 4, "{case}: {}", value.name);
            }
            seen += 1;
        }
    });
    // Float twice and int8 once of both R(2+1)D, float of TSM.
    assert_eq!(seen, 7);
}

#[test]
fn clips_are_bytes_of_any_number_and_logits_have_the_classes() {
    all(|case, _, model| {
        let graph = model.graph.as_ref().unwrap();
        let [frames, height, width] = case.input.map(Some);
        assert_eq!(
            shape(&graph.input[0]),
            [None, frames, height, width, Some(3)]
        );
        assert_eq!(shape(&graph.output[0]), [None, Some(3)]);
        let tensor = graph.input[0].r#type.as_ref().unwrap();
        assert_eq!(tensor.tensor_type.as_ref().unwrap().elem_type, kind::UINT8);
    });
}

#[test]
fn files_for_a_number_of_clips_leave_no_size_open_and_differ_in_nothing_else() {
    let clips = NonZeroU32::new(3).unwrap();
    for settings in settings() {
        let case = Case::new(settings);
        let folders = [Some(case.float()), case.quantized(&[])];
        for folder in folders.into_iter().flatten() {
            let any = Source::open(folder.path()).unwrap();
            let three = Source::open(folder.path()).unwrap().for_clips(clips);
            for variant in any.variants() {
                let (any, three) = (any.model(variant).unwrap(), three.model(variant).unwrap());
                let said = |model: &ModelProto| {
                    let mut entries = model.metadata_props.iter();
                    let entry = entries.find(|entry| entry.key == "clips");
                    entry.map(|entry| entry.value.clone())
                };
                assert_eq!((said(&any), said(&three)), (None, Some("3".to_owned())));
                let (any, three) = (any.graph.unwrap(), three.graph.unwrap());
                let operations = |graph: &GraphProto| {
                    let nodes = graph.node.iter();
                    let operation = nodes.map(|node| (node.name.clone(), node.attribute.clone()));
                    operation.collect::<Vec<_>>()
                };
                assert_eq!(operations(&any), operations(&three), "{case} {variant:?}");
                let values = |graph: &GraphProto| {
                    let values = graph.input.iter().chain(&graph.output);
                    let values = values.chain(&graph.value_info);
                    values
                        .map(|value| (value.name.clone(), shape(value)))
                        .collect::<Vec<_>>()
                };
                for ((name, any), (same, three)) in values(&any).into_iter().zip(values(&three)) {
                    assert_eq!(name, same);
                    let first = three[0].unwrap();
                    assert!(first > 0 && first % 3 == 0, "{case}: {name}: {three:?}");
                    assert_eq!(any[1..], three[1..], "{case}: {name}");
                }
            }
        }
    }
}

#[test]
fn what_is_written_is_read_back_and_is_the_same_every_time() {
    let case = Case::new(settings()[3]);
    let folder = case.quantized(&[]).unwrap();
    let written = write_all(folder.path(), folder.path()).unwrap();
    let names: Vec<_> = written
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    let expected = [
        "model.onnx",
        "model.2d.onnx",
        "model.int8.onnx",
        "model.int8.2d.onnx",
        "model.tensorrt.onnx",
    ];
    assert_eq!(names, expected);
    let first: Vec<Vec<u8>> = written
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    write_all(folder.path(), folder.path()).unwrap();
    let source = Source::open(folder.path()).unwrap();
    for ((path, first), variant) in written.iter().zip(first).zip(source.variants()) {
        assert_eq!(std::fs::read(path).unwrap(), first);
        let decoded = ModelProto::decode(first.as_slice()).unwrap();
        assert_eq!(decoded, source.model(variant).unwrap());
    }
}

#[test]
fn the_metadata_say_what_a_device_needs() {
    let case = Case::new(settings()[0]);
    let folder = case.quantized(&[]).unwrap();
    let source = Source::open(folder.path()).unwrap();
    let variant = source.variants()[1];
    let model = source.model(variant).unwrap();
    let metadata: BTreeMap<&str, &str> = model
        .metadata_props
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect();
    assert_eq!(metadata["classes"], r#"["Bend","Jump","Walk"]"#);
    assert_eq!(metadata["frames"], "4");
    assert_eq!(metadata["precision"], "int8");
    assert_eq!(metadata["mean"], "[0.4,0.5,0.6]");
    assert_eq!(metadata["source_sha256"].len(), 64);
    assert!(
        model.doc_string.contains("4 frames"),
        "{}",
        model.doc_string
    );
}

/// Operations of this kind that take what another kind gives, whatever their order.
fn pairs(graph: &GraphProto, giver: &str, taker: &str) -> usize {
    let givers: BTreeSet<&String> = graph
        .node
        .iter()
        .filter(|node| node.op_type == giver)
        .flat_map(|node| &node.output)
        .collect();
    let takers = graph.node.iter().filter(|node| node.op_type == taker);
    takers
        .filter(|node| node.input.iter().any(|input| givers.contains(input)))
        .count()
}

#[test]
fn places_in_front_of_sums_are_rounded_where_the_model_has_scales_for_them() {
    let case = Case::new(settings()[0]);
    let count = |extra: &[&str]| {
        let folder = case.quantized(extra).unwrap();
        let source = Source::open(folder.path()).unwrap();
        let variant = Variant {
            precision: Precision::Int8,
            form: Form::Volumes,
        };
        let model = source.model(variant).unwrap();
        let graph = model.graph.unwrap();
        (
            pairs(&graph, "Conv", "Add"),
            pairs(&graph, "Conv", "QuantizeLinear"),
        )
    };
    assert_eq!(count(&[]), (4, 0));
    let all: Vec<String> = (1..=4)
        .map(|stage| format!("layer{stage}.0.conv2"))
        .chain((2..=4).map(|stage| format!("layer{stage}.0.downsample")))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(count(&all), (0, 7));
}

#[test]
fn only_the_symmetric_form_has_zero_points_of_0_alone() {
    let case = Case::new(settings()[0]);
    let folder = case.quantized(&[]).unwrap();
    let source = Source::open(folder.path()).unwrap();
    let form = Form::Volumes;
    for (precision, symmetric) in [(Precision::Int8, false), (Precision::SymmetricInt8, true)] {
        let model = source.model(Variant { precision, form }).unwrap();
        let graph = model.graph.unwrap();
        let zeros = |name: &str| name.ends_with("zero_point");
        let bytes = graph
            .initializer
            .iter()
            .filter(|tensor| zeros(&tensor.name));
        let all_zero = bytes
            .flat_map(|tensor| &tensor.raw_data)
            .all(|byte| *byte == 0);
        assert_eq!(all_zero, symmetric, "{precision:?}");
        let has = |wanted: i32| {
            graph
                .initializer
                .iter()
                .any(|tensor| tensor.data_type == wanted)
        };
        assert_eq!(has(kind::UINT8), !symmetric);
    }
}

#[test]
fn what_cannot_be_written_is_refused_with_the_way_out() {
    let case = Case::new(settings()[0]);
    let float = case.float();
    let source = Source::open(float.path()).unwrap();
    let refused =
        |source: &Source, precision, form| source.model(Variant { precision, form }).unwrap_err();
    let error = refused(&source, Precision::Int8, Form::Volumes);
    assert!(matches!(error, OnnxError::NotQuantized { .. }), "{error}");
    let error = refused(&source, Precision::Float, Form::Pictures);
    assert!(error.to_string().contains("r2plus1d"), "{error}");
    let strange = case.quantized(&["layer9.0.conv1"]).unwrap();
    let source = Source::open(strange.path()).unwrap();
    let error = refused(&source, Precision::Int8, Form::Volumes);
    assert!(error.to_string().contains("layer9.0.conv1"), "{error}");
    let nobody = Source::open(Path::new("no/such/model")).unwrap_err();
    assert!(nobody.to_string().contains("no/such/model"), "{nobody}");
}

#[test]
fn damaged_weights_are_named() {
    let case = Case::new(settings()[0]);
    let float = case.float();
    let file = float.path().join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let error = Source::open(float.path()).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");

    let lacking = case.with(|tensors| {
        tensors.remove("layer3.0.conv2.1.running_var");
    });
    let message = |folder: &tempfile::TempDir| {
        let source = Source::open(folder.path()).unwrap();
        let variant = source.variants()[0];
        source.model(variant).unwrap_err().to_string()
    };
    let text = message(&lacking);
    assert!(text.contains("layer3.0.conv2.1.running_var"), "{text}");
    let broken = case.with(|tensors| {
        tensors.get_mut("stem.0.weight").unwrap().1[7] = f32::NAN;
    });
    let text = message(&broken);
    assert!(
        text.contains("stem.0.weight") && text.contains("NaN"),
        "{text}"
    );
    let reshaped = case.with(|tensors| {
        tensors.get_mut("fc.bias").unwrap().0 = vec![1, 3];
    });
    assert!(message(&reshaped).contains("should be [3]"));
}
