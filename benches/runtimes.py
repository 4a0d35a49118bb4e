"""A quantized model of fedact in other runtimes, one process a measurement.

    runtimes.py export FOLDER BATCH            # the folded weights as ONNX, in float and as ONNX Runtime quantizes them
    runtimes.py MODE FOLDER BATCH THREADS REPEATS

Prints one line of JSON: milliseconds a clip after three batches that do not count, those that processors worked for a clip,
and the most memory in KiB.
"""

import json
import re
import sys
import time
from pathlib import Path

MODES = ("onnxruntime-float", "onnxruntime-int8", "openvino-float", "openvino-int8")
WARM_UP = 3


def graph(folder, batch):
    """The folded network (R3D or R(2+1)D with torchvision's stem) as an ONNX model in float."""
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    info = json.loads((folder / "model.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    shape = [batch, 3, *(info["input"][side] for side in ("frames", "height", "width"))]
    nodes, constants = [], []

    def add(kind, inputs, **attributes):
        name = f"value{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(name):
        constants.append(numpy_helper.from_array(tensors[name], name))
        return name

    def convolve(value, layer, stride):
        kernel = tensors[f"{layer}.weight"].shape[2:]
        pads = [side // 2 for side in kernel] * 2
        # A factored convolution strides over space in its first part and over frames in its second.
        strides = [step if side > 1 or max(kernel) == 1 else 1 for step, side in zip(stride, kernel)]
        inputs = [value, constant(f"{layer}.weight"), constant(f"{layer}.bias")]
        return add("Conv", inputs, kernel_shape=list(kernel), pads=pads, strides=strides)

    def layers(prefix):
        names = {name.removesuffix(".weight") for name in tensors if name.startswith(prefix) and name.endswith(".weight")}
        return sorted(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])

    value = "clips"
    for layer in layers("stem."):
        value = add("Relu", [convolve(value, layer, (1, 2, 2))])
    blocks = sorted({tuple(name.split(".")[:2]) for name in tensors if name.startswith("layer")})
    for stage, number in blocks:
        block = f"{stage}.{number}"
        stride = (2, 2, 2) if stage != "layer1" and number == "0" else (1, 1, 1)
        parts = [(layer, stride) for layer in layers(f"{block}.conv1")] + [(layer, (1, 1, 1)) for layer in layers(f"{block}.conv2")]
        inner = value
        for index, (layer, step) in enumerate(parts):
            inner = convolve(inner, layer, step)
            if index + 1 < len(parts):
                inner = add("Relu", [inner])
        around = [convolve(value, layer, stride) for layer in layers(f"{block}.downsample")]
        value = add("Relu", [add("Add", [inner, *(around or [value])])])
    value = add("Flatten", [add("GlobalAveragePool", [value])])
    nodes.append(helper.make_node("Gemm", [value, constant("fc.weight"), constant("fc.bias")], ["logits"], transB=1))
    clips = helper.make_tensor_value_info("clips", TensorProto.FLOAT, shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, len(info["classes"])])
    whole = helper.make_graph(nodes, "network", [clips], [logits], constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), shape


def export(folder, batch):
    import numpy
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    model, shape = graph(folder, batch)
    onnx.checker.check_model(model)
    file = folder / f"float-{batch}.onnx"
    onnx.save(model, file)

    class Clips(CalibrationDataReader):
        left = 4

        def get_next(self):
            if self.left == 0:
                return None
            self.left -= 1
            return {"clips": numpy.random.default_rng(self.left).standard_normal(shape).astype(numpy.float32)}

    quantize_static(file, folder / f"int8-{batch}.onnx", Clips(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def session(mode, folder, batch, threads):
    """A function from clips to logits."""
    runtime, numbers = mode.split("-")
    file = folder / f"{numbers}-{batch}.onnx"
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        ready = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda clips: ready.run(None, {"clips": clips})[0]
    import openvino

    # Without the second, OpenVINO computes "float" in bfloat16 where the processor has AMX.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    ready = openvino.Core().compile_model(file, "CPU", settings)
    return lambda clips: ready(clips)[0]


def main():
    mode, folder, batch, *numbers = sys.argv[1:]
    folder, batch = Path(folder), int(batch)
    if mode == "export":
        return export(folder, batch)
    import numpy

    threads, repeats = map(int, numbers)
    run = session(mode, folder, batch, threads)
    side = json.loads((folder / "model.json").read_text())["input"]
    shape = (batch, 3, side["frames"], side["height"], side["width"])
    clips = numpy.random.default_rng(0).standard_normal(shape).astype(numpy.float32)
    milliseconds = []
    for number in range(WARM_UP + repeats):
        if number == WARM_UP:
            worked = time.process_time()
        began = time.perf_counter()
        run(clips)
        if number >= WARM_UP:
            milliseconds.append(1000 * (time.perf_counter() - began) / batch)
    worked = 1000 * (time.process_time() - worked) / (repeats * batch)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"milliseconds": milliseconds, "processor": worked, "peak_kib": peak}))


if __name__ == "__main__":
    main()
