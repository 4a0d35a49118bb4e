"""What other runtimes make of the ONNX files in a folder, for tests/onnx.rs to compare with.

    python runtimes.py FOLDER    # reads *.onnx and clips.bin, writes answers.json

Needs onnx, onnxruntime and openvino. Each file is checked in full (shapes included) and run by both, on its clips,
in batches of two sizes. No larger ones: OpenVINO 2026.4 answers right in int8 up to 20 clips of Hara's padded network at a
time, and wrong from 40 on.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime
import openvino


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return [int(metadata[side]) for side in ("frames", "height", "width")]


def in_batches(run, clips):
    first = [run(clips[:1])]
    rest = [run(clips[at : at + 20]) for at in range(1, len(clips), 20)]
    return numpy.concatenate(first + rest)


def with_onnxruntime(path, clips):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return in_batches(lambda batch: session.run(["logits"], {"clips": batch})[0], clips)


def with_openvino(path, clips):
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
    compiled = core.compile_model(str(path), "CPU", settings)
    return in_batches(lambda batch: compiled([batch])[0].copy(), clips)


def main(folder):
    pixels = numpy.fromfile(folder / "clips.bin", dtype=numpy.uint8)
    answers = {}
    for path in sorted(folder.glob("*.onnx")):
        clips = pixels.reshape(-1, *check(path), 3)
        answers[path.name] = {
            "onnxruntime": with_onnxruntime(path, clips).tolist(),
            "openvino": with_openvino(path, clips).tolist(),
        }
    (folder / "answers.json").write_text(json.dumps(answers))


main(pathlib.Path(sys.argv[1]))
