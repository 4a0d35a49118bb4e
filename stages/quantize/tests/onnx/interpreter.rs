//! The operators of ONNX that fedact writes, as their specification says, one at a time and in float.

use std::collections::BTreeMap;

use fedact_onnx::proto::{ModelProto, NodeProto, TensorProto, kind};
use tch::{Kind, Tensor};

/// Logits \[clips, classes\] of clips as bytes \[clips, frames, height, width, 3\].
pub fn run(model: &ModelProto, clips: &Tensor) -> Tensor {
    let graph = model.graph.as_ref().unwrap();
    let mut values: BTreeMap<&str, Tensor> = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name.as_str(), constant(tensor)))
        .collect();
    values.insert(&graph.input[0].name, clips.shallow_clone());
    for node in &graph.node {
        let inputs: Vec<&Tensor> = node
            .input
            .iter()
            .map(|name| &values[name.as_str()])
            .collect();
        let output = operation(node, &inputs);
        values.insert(&node.output[0], output);
    }
    values.remove(graph.output[0].name.as_str()).unwrap()
}

fn constant(tensor: &TensorProto) -> Tensor {
    let kind = match tensor.data_type {
        kind::FLOAT => Kind::Float,
        kind::UINT8 => Kind::Uint8,
        kind::INT8 => Kind::Int8,
        kind::INT64 => Kind::Int64,
        other => panic!("{}: kind {other}", tensor.name),
    };
    Tensor::from_data_size(&tensor.raw_data, &tensor.dims, kind)
}

fn operation(node: &NodeProto, inputs: &[&Tensor]) -> Tensor {
    let x = inputs[0];
    match node.op_type.as_str() {
        "Cast" => x.to_kind(Kind::Float),
        "Mul" => x * inputs[1],
        "Add" => x + inputs[1],
        "Relu" => x.relu(),
        "Sigmoid" => x.sigmoid(),
        "Clip" => x.maximum(inputs[1]).minimum(inputs[2]),
        "Transpose" => x.permute(ints(node, "perm")),
        "Reshape" => x.reshape(numbers(inputs[1])),
        "Flatten" => x.flatten(1, -1),
        "Concat" => Tensor::cat(inputs, int(node, "axis").unwrap()),
        "Slice" => slice(x, &inputs[1..]),
        "Pad" => pad(x, &numbers(inputs[1])),
        "Conv" => convolution(node, inputs),
        "MaxPool" => pool(node, x),
        "GlobalAveragePool" => {
            let axes: Vec<i64> = (2..x.dim() as i64).collect();
            x.mean_dim(axes.as_slice(), true, Kind::Float)
        }
        "Gemm" => {
            assert_eq!(int(node, "transB"), Some(1));
            x.linear(inputs[1], Some(inputs[2]))
        }
        "QuantizeLinear" => quantize(x, inputs[1], inputs[2]),
        "DequantizeLinear" => {
            let axis = int(node, "axis").unwrap_or(1);
            let mut sides = vec![1; x.dim()];
            if inputs[1].dim() == 1 {
                sides[axis as usize] = -1;
            }
            let zero = inputs[2].to_kind(Kind::Float).reshape(&sides);
            (x.to_kind(Kind::Float) - zero) * inputs[1].reshape(&sides)
        }
        other => panic!("no operator {other}"),
    }
}

fn quantize(x: &Tensor, scale: &Tensor, zero: &Tensor) -> Tensor {
    let (low, high) = match zero.kind() {
        Kind::Uint8 => (0, 255),
        Kind::Int8 => (-128, 127),
        other => panic!("bytes of kind {other:?}"),
    };
    let levels = (x / scale).round() + zero.to_kind(Kind::Float);
    levels.clamp(low, high).to_kind(zero.kind())
}

fn convolution(node: &NodeProto, inputs: &[&Tensor]) -> Tensor {
    let (stride, pads) = (ints(node, "strides"), ints(node, "pads"));
    let padding = &pads[..stride.len()];
    assert_eq!(padding, &pads[stride.len()..]);
    let groups = int(node, "group").unwrap_or(1);
    let (weight, bias) = (inputs[1], Some(inputs[2]));
    assert_eq!(weight.size()[2..], ints(node, "kernel_shape"));
    match stride.len() {
        2 => inputs[0].conv2d(weight, bias, &stride, padding, [1; 2], groups),
        _ => inputs[0].conv3d(weight, bias, &stride, padding, [1; 3], groups),
    }
}

fn pool(node: &NodeProto, x: &Tensor) -> Tensor {
    let (kernel, stride) = (ints(node, "kernel_shape"), ints(node, "strides"));
    let pads = ints(node, "pads");
    let padding = &pads[..stride.len()];
    match stride.len() {
        2 => x.max_pool2d(&kernel, &stride, padding, [1; 2], false),
        _ => x.max_pool3d(&kernel, &stride, padding, [1; 3], false),
    }
}

fn slice(x: &Tensor, parts: &[&Tensor]) -> Tensor {
    let [starts, ends, axes, steps] = [0, 1, 2, 3].map(|part| numbers(parts[part]));
    let axes = axes.iter().enumerate();
    axes.fold(x.shallow_clone(), |state, (at, axis)| {
        state.slice(*axis, starts[at], ends[at], steps[at])
    })
}

fn pad(x: &Tensor, zeros: &[i64]) -> Tensor {
    let axes = x.dim();
    // libtorch counts the axes from the last one.
    let pairs = (0..axes).rev();
    let pairs: Vec<i64> = pairs
        .flat_map(|axis| [zeros[axis], zeros[axes + axis]])
        .collect();
    x.constant_pad_nd(pairs)
}

fn numbers(tensor: &Tensor) -> Vec<i64> {
    Vec::<i64>::try_from(tensor).unwrap()
}

fn ints(node: &NodeProto, name: &str) -> Vec<i64> {
    let attribute = node.attribute.iter().find(|found| found.name == name);
    attribute.unwrap().ints.clone()
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|found| found.name == name)?.i
}
