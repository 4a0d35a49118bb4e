//! The text of the program: TorchScript, which libtorch compiles when it loads the archive.

use super::lower::{Convolution, Line, Lowered};

/// The class of the archive's only object.
pub(super) const CLASS: &str = "Int8Network";

/// What every network has. `onednn::qconv_pointwise` is oneDNN's convolution of unsigned by signed bytes with sums of 32
/// bits, and `onednn::qconv2d_pointwise` the one that adds another value, in whose memory it leaves the result: without a
/// ReLU, for which it would take its time, though no byte is below 0. Numbers of types: 0 is `uint8`, 2 `int16`, 4 `int64`,
/// 6 `float32`, 13 `quint8`. Weights are brought into oneDNN's order once, when the
/// archive is loaded. The scales of what convolutions read are in those of their weights, so that there is nothing to multiply by.
/// Bytes of a quantized tensor are had by a tensor of bytes in the same memory: `int_repr` would copy them.
const COMMON: &str = r#"class Int8Network(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  tensors : Dict[str, Tensor]
  packed : List[Tensor]
  scales : List[Tensor]
  zeros : List[Tensor]
  biases : List[Tensor]
  def __getstate__(self: __torch__.Int8Network) -> Tuple[Dict[str, Tensor], bool]:
    return (self.tensors, self.training)
  def pack(self: __torch__.Int8Network, name: str, zero_point: int, stride: List[int], padding: List[int], dilation: List[int], shape: List[int]) -> NoneType:
    weight = (self.tensors)[torch.add(name, ".weight_int8")]
    scales = (self.tensors)[torch.add(name, ".scale")]
    bias = (self.tensors)[torch.add(name, ".bias")]
    packed = ops.onednn.qconv_prepack(weight, scales, 1., zero_point, stride, padding, dilation, 1, shape)
    _0 = torch.append(self.packed, packed)
    _1 = torch.append(self.scales, scales)
    _2 = torch.append(self.zeros, torch.zeros_like(scales, dtype=4))
    _3 = torch.append(self.biases, bias)
    return None
  def convolve(self: __torch__.Int8Network, layer: int, bytes: Tensor, zero_point: int, stride: List[int], padding: List[int], type: int) -> Tensor:
    return ops.onednn.qconv_pointwise(bytes, 1., zero_point, (self.packed)[layer], (self.scales)[layer], (self.zeros)[layer], (self.biases)[layer], stride, padding, [1, 1, 1], 1, 1., 0, type, "none", annotate(List[Optional[number]], []), "")
  def join(self: __torch__.Int8Network, layer: int, bytes: Tensor, shortcut: Tensor, ratio: float, zero_point: int, stride: List[int], padding: List[int]) -> Tensor:
    return ops.onednn.qconv2d_pointwise(bytes, 1., zero_point, (self.packed)[layer], (self.scales)[layer], (self.zeros)[layer], shortcut, (self.biases)[layer], stride, padding, [1, 1], 1, 1., 0, 0, ratio, 0, "sum", 1., "none", annotate(List[Optional[number]], []), "")
  def stored(self: __torch__.Int8Network, clips: Tensor, scale: float, zero_point: int) -> Tensor:
    inner = torch.contiguous(torch.permute(clips, [0, 2, 3, 4, 1]))
    quantized = torch.quantize_per_tensor(inner, scale, zero_point, 13)
    bytes = torch.set_(torch.empty([0], dtype=0), quantized, 0, ops.aten.size(quantized), ops.aten.stride(quantized))
    return torch.permute(bytes, [0, 4, 1, 2, 3])
  def windows(self: __torch__.Int8Network, bytes: Tensor, width: int, stride: int, padding: int, zero_point: int) -> Tensor:
    padded = torch.constant_pad_nd(torch.permute(bytes, [0, 2, 3, 4, 1]), [0, 0, padding, padding], zero_point)
    windows = torch.permute(torch.unfold(padded, 3, width, stride), [0, 1, 2, 3, 5, 4])
    return torch.permute(torch.flatten(windows, 4), [0, 4, 1, 2, 3])
  def narrowed(self: __torch__.Int8Network, levels: Tensor) -> Tensor:
    return torch.to(torch.to(levels, 2), 0)
"#;

/// The program of a lowered network.
///
/// `forward` takes normalised clips \[clips, 3, frames, height, width\] in 32 bits to logits \[clips, classes\];
/// `places` hands out the bytes of every place as well, in the order of execution.
pub(super) fn text(lowered: &Lowered) -> String {
    let lists = ["packed", "scales", "zeros", "biases"];
    let lists = lists.map(|list| format!("self.{list} = annotate(List[Tensor], [])"));
    let packs = lowered.convolutions.iter().enumerate();
    let restore = ["self.tensors = (state)[0]", "self.training = (state)[1]"].map(str::to_owned);
    let restore = restore.into_iter().chain(lists);
    let restore = restore.chain(packs.map(|(index, convolution)| pack(index, convolution)));
    let forward = lowered.lines.iter().filter_map(|line| match line {
        Line::Statement(statement) => Some(statement.clone()),
        Line::Place(_) => None,
    });
    let places = lowered
        .lines
        .iter()
        .enumerate()
        .map(|(index, line)| match line {
            Line::Statement(statement) => statement.clone(),
            // The memory may be taken for the next sum.
            Line::Place(variable) => {
                format!("_{index} = torch.append(places, torch.clone({variable}))")
            }
        });
    let places = std::iter::once("places = annotate(List[Tensor], [])".to_owned()).chain(places);
    let logits = "torch.flatten(logits, 1)";
    [
        COMMON.to_owned(),
        method(
            "__setstate__(self: __torch__.Int8Network, state: Tuple[Dict[str, Tensor], bool]) -> NoneType",
            restore,
            "None",
        ),
        method(
            "forward(self: __torch__.Int8Network, clips: Tensor) -> Tensor",
            forward,
            logits,
        ),
        method(
            "places(self: __torch__.Int8Network, clips: Tensor) -> Tuple[Tensor, List[Tensor]]",
            places,
            &format!("({logits}, places)"),
        ),
    ]
    .concat()
}

fn method(signature: &str, body: impl Iterator<Item = String>, result: &str) -> String {
    let body: String = body.map(|line| format!("    {line}\n")).collect();
    format!("  def {signature}:\n{body}    return {result}\n")
}

fn pack(index: usize, convolution: &Convolution) -> String {
    let Convolution {
        name,
        input,
        stride,
        padding,
        shape,
        ..
    } = convolution;
    let zero_point = input.zero_point;
    let dilation = vec![1; stride.len()];
    let batch = [&[1], &shape[..]].concat();
    format!(
        "_{index} = self.pack(\"{name}\", {zero_point}, {stride:?}, {padding:?}, {dilation:?}, {batch:?})"
    )
}
