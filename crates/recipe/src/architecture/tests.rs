//! Layouts against what is published, and settings against what can be written.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn architecture(settings: Value) -> Architecture {
    serde_json::from_value(settings).unwrap()
}

fn layout(settings: Value) -> Layout {
    architecture(settings).layout().unwrap()
}

fn cost(settings: Value, input: [i64; 3], classes: usize) -> Cost {
    layout(settings).cost(input, classes)
}

fn giga(cost: Cost) -> f64 {
    cost.multiply_adds as f64 / 1e9
}

/// torchvision's tables of R3D_18, MC3_18 and R2PLUS1D_18 for Kinetics-400, on 16 frames of 112 pixels.
#[test]
fn torchvisions_video_networks_have_its_parameters_and_operations() {
    for (arch, parameters, operations) in [
        ("r3d", 33_371_472, 40.697),
        ("mc3", 11_695_440, 43.343),
        ("r2plus1d", 31_505_325, 40.519),
    ] {
        let cost = cost(json!({"arch": arch, "width": 64}), [16, 112, 112], 400);
        assert_eq!(cost.parameters, parameters, "{arch}");
        assert!((giga(cost) - operations).abs() < 0.0006, "{arch}: {cost:?}");
    }
}

/// X3D's table 4 (and that of PySlowFast's model zoo) gives 3.76 million parameters and 0.60, 1.96 and 4.73
/// billion multiply-adds; pytorchvideo's, of the same layers, 3.79 million.
#[test]
fn x3d_has_the_published_parameters_and_operations() {
    for (input, published) in [
        ([4, 160, 160], 0.60),
        ([13, 160, 160], 1.96),
        ([16, 224, 224], 4.73),
    ] {
        let cost = cost(json!({"arch": "x3d"}), input, 400);
        assert_eq!((cost.parameters as f64 / 1e4).round(), 379.0);
        assert!(
            (giga(cost) - published).abs() < 0.006,
            "{input:?}: {cost:?}"
        );
    }
}

/// torchvision's table of MobileNet_V2 for ImageNet: a frame of 224 pixels. Shifts cost nothing.
#[test]
fn tsm_costs_a_mobilenet_a_frame() {
    for frames in [1, 8] {
        let cost = cost(json!({"arch": "tsm"}), [frames, 224, 224], 1000);
        assert_eq!(cost.parameters, 3_504_872);
        let head = 1280.0 * 1000.0 / 1e9;
        let one = (giga(cost) - head) / frames as f64 + head;
        assert!((one - 0.301).abs() < 0.0006, "{cost:?}");
    }
    // torchvision's `mobilenet_v2(width_mult=0.5)` and `width_mult=1.5`.
    for (width, parameters) in [(16, 1_968_680), (48, 6_858_152)] {
        let cost = cost(json!({"arch": "tsm", "width": width}), [1, 224, 224], 1000);
        assert_eq!(cost.parameters, parameters, "{width}");
    }
}

#[test]
fn names_and_shapes_are_torchvisions() {
    let state = layout(json!({"width": 64})).state(400);
    let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
    let mut expected = Vec::new();
    let mut unit = |conv: String, norm: String| {
        expected.push(format!("{conv}.weight"));
        for part in [
            "weight",
            "bias",
            "running_mean",
            "running_var",
            "num_batches_tracked",
        ] {
            expected.push(format!("{norm}.{part}"));
        }
    };
    unit("stem.0".into(), "stem.1".into());
    for stage in 1..=4 {
        for block in 0..2 {
            for conv in ["conv1", "conv2"] {
                let prefix = format!("layer{stage}.{block}.{conv}");
                unit(format!("{prefix}.0"), format!("{prefix}.1"));
            }
            if stage > 1 && block == 0 {
                let prefix = format!("layer{stage}.{block}.downsample");
                unit(format!("{prefix}.0"), format!("{prefix}.1"));
            }
        }
    }
    expected.extend(["fc.weight".to_owned(), "fc.bias".to_owned()]);
    assert_eq!(names, expected);
    let shape = |name: &str| &state.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(*shape("stem.0.weight"), [64, 3, 3, 7, 7]);
    assert_eq!(*shape("layer2.0.conv1.0.weight"), [128, 64, 3, 3, 3]);
    assert_eq!(*shape("layer2.0.downsample.0.weight"), [128, 64, 1, 1, 1]);
    assert_eq!(*shape("layer4.1.conv2.1.running_var"), [512]);
    assert_eq!(*shape("fc.weight"), [400, 512]);
}

#[test]
fn depth_is_the_number_of_weighted_layers() {
    for arch in ["r3d", "mc3"] {
        for depth in [10, 18, 26, 34, 50] {
            let layout = layout(json!({"arch": arch, "depth": depth, "width": 8}));
            let layers = layout.convolutions().into_iter();
            let layers = layers.filter(|layer| !layer.conv.contains("downsample"));
            assert_eq!(layers.count() + 1, depth, "{arch}");
        }
    }
}

/// Tran et al. choose the channels between the two parts so that both have no more weights than the whole,
/// and nearly as many.
#[test]
fn factored_convolutions_have_the_weights_of_whole_ones() {
    let weights = |arch: &str| -> i64 {
        let layout = layout(json!({"arch": arch, "width": 64}));
        let layers = layout.convolutions().into_iter();
        let inner = layers.filter(|layer| layer.conv.contains(".conv"));
        inner
            .map(|layer| layer.weight_shape().iter().product::<i64>())
            .sum()
    };
    let (whole, factored) = (weights("r3d") as f64, weights("r2plus1d") as f64);
    assert!(factored <= 1.001 * whole && factored > 0.93 * whole);
}

#[test]
fn haras_stem_pools_and_padded_shortcuts_have_no_parameters() {
    let hara = json!({"depth": 34, "width": 64, "stem": "hara", "shortcut": "pad"});
    let state = layout(hara.clone()).state(400);
    assert_eq!(state[0].1, [64, 3, 7, 7, 7]);
    assert!(!state.iter().any(|(name, _)| name.contains("downsample")));
    let plain = cost(json!({"depth": 34, "width": 64}), [16, 112, 112], 400);
    // The pool leaves an eighth of the positions.
    assert!(cost(hara.clone(), [16, 112, 112], 400).multiply_adds * 4 < plain.multiply_adds);
    assert_eq!(
        architecture(hara).to_string(),
        "R3D-34 width 64, Hara's stem, padded shortcuts"
    );
}

#[test]
fn folding_leaves_one_number_a_channel_of_batch_norms_two() {
    let layout = layout(json!({"width": 4, "depth": 10}));
    let cost = layout.cost([4, 16, 16], 3);
    let folded: i64 = layout
        .convolutions()
        .iter()
        .map(|layer| layer.weight_shape().iter().product::<i64>() + layer.outputs)
        .sum();
    let head = 3 * layout.head().inputs + 3;
    assert_eq!(cost.folded_parameters as i64, folded + head);
    assert!(cost.folded_parameters < cost.parameters);
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let refuse = |settings| architecture(settings).check().unwrap_err().to_string();
    assert_eq!(
        refuse(json!({"depth": 17})),
        "`depth` is 17, but must be 10, 18, 26, 34 or 50"
    );
    assert_eq!(
        refuse(json!({"width": 0})),
        "`width` is 0, but must be between 1 and 512"
    );
    for arch in ["x3d", "tsm"] {
        assert_eq!(
            refuse(json!({"arch": arch, "width": 12})),
            "`width` is 12, but must be a multiple of 8 between 8 and 256"
        );
    }
}

#[test]
fn settings_of_another_family_are_refused_by_name() {
    for (arch, key, value) in [
        ("x3d", "depth", json!(18)),
        ("x3d", "stem", json!("hara")),
        ("tsm", "shortcut", json!("pad")),
    ] {
        let settings = json!({"arch": arch, key: value});
        let error = serde_json::from_value::<Architecture>(settings).unwrap_err();
        let expected = format!("`{key}` is no setting of `arch: {arch}`");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[test]
fn defaults_are_filled_in_and_what_models_had_before_reads_and_writes_the_same() {
    let written = |settings| serde_json::to_string(&architecture(settings)).unwrap();
    assert_eq!(
        written(json!({})),
        r#"{"arch":"r3d","depth":18,"width":16}"#
    );
    assert_eq!(
        written(json!({"stem": "torchvision", "shortcut": "convolution"})),
        written(json!({}))
    );
    assert_eq!(
        written(json!({"arch": "x3d"})),
        r#"{"arch":"x3d","width":24}"#
    );
    assert_eq!(
        written(json!({"arch": "r2plus1d", "stem": "hara"})),
        r#"{"arch":"r2plus1d","depth":18,"width":16,"stem":"hara"}"#
    );
}

/// Any network there is.
fn any_architecture() -> impl Strategy<Value = Architecture> {
    let residual = (
        prop_oneof![Just("r3d"), Just("mc3"), Just("r2plus1d")],
        prop::sample::select(vec![10, 18, 26, 34, 50]),
        1u32..80,
        prop_oneof![Just("torchvision"), Just("hara")],
        prop_oneof![Just("convolution"), Just("pad")],
    );
    let residual = residual.prop_map(|(arch, depth, width, stem, shortcut)| {
        json!({"arch": arch, "depth": depth, "width": width, "stem": stem, "shortcut": shortcut})
    });
    let small = (prop_oneof![Just("x3d"), Just("tsm")], 1u32..8);
    let small = small.prop_map(|(arch, width)| json!({"arch": arch, "width": 8 * width}));
    prop_oneof![residual, small].prop_map(architecture)
}

proptest! {
    #[test]
    fn every_network_survives_being_written_and_has_every_tensor_once(network in any_architecture()) {
        let text = serde_json::to_string(&network).unwrap();
        prop_assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), network);
        let state = network.layout().unwrap().state(5);
        let names: std::collections::BTreeSet<_> = state.iter().map(|(name, _)| name).collect();
        prop_assert_eq!(names.len(), state.len());
        prop_assert!(state.iter().all(|(_, shape)| shape.iter().all(|side| *side > 0)));
    }

    /// What leaves a layer enters the next, along both ways through a block.
    #[test]
    fn channels_fit_from_layer_to_layer(network in any_architecture()) {
        let Layout::Residual(layout) = network.layout().unwrap() else { return Ok(()) };
        let mut channels = 3;
        for layer in &layout.stem {
            prop_assert_eq!(layer.inputs, channels);
            channels = layer.outputs;
        }
        for block in &layout.blocks {
            let around = match &block.shortcut {
                ShortcutLayout::Identity => channels,
                ShortcutLayout::Convolution(layer) => layer.outputs,
                ShortcutLayout::Pad { channels: new, .. } => channels + new,
            };
            for layer in &block.convolutions {
                prop_assert_eq!(layer.inputs, channels);
                channels = layer.outputs;
            }
            prop_assert_eq!(around, channels);
        }
        prop_assert_eq!(layout.head.inputs, channels);
    }
}
