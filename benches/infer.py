#!/usr/bin/env python3
"""A clip through an int8 network, beside other runtimes: the same weights, clips and threads, in one run.

    cargo build --workspace --lib --example inference --example onednn
    python3 benches/infer.py [--quick] [--only NAME ...] [--threads N ...] [--rounds N] [--python PROGRAM] [--json FILE]

Networks of 18 layers and 12 classes on clips of 8x56x56, with fresh weights: what takes time does not hang on what they learned. `fedact int8` is
what `fedact predict` does, oneDNN without libtorch, from bytes of pixels; `fedact model.pt` is the file for devices, by libtorch, its process started as the
command starts those of steps, with its own allocator. The peers get the folded weights as ONNX, in float and in eight bits as
ONNX Runtime's own `quantize_static` makes it (QDQ, weights per channel), and normalised floats. OpenVINO gets the same files. One clip at a time,
as on a device; libtorch in float takes four, because its convolution of a single clip goes a slow way. Each contender is a process of its own; contenders take
turns, round by round. A figure is the median of all batches of all rounds, and in brackets the quickest, which other work on the machine
disturbs least; a ratio is the median over rounds of the ratio within a round, to fedact. Below 1 is faster than fedact.
Then processor time, most memory of the process, and the size of the file. `--python` is a Python that has the peers already.
Nothing here fails for being slow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from peers import ALLOCATOR, BENCH, ROOT, STEP, environment, measure
from runtimes import MODES

PEERS = ("onnx==1.23.2", "onnxruntime==1.32.0", "openvino==2026.4.1", "safetensors==0.8.0", "numpy==2.4.6")
PROGRAM = ROOT / "target" / "debug" / "examples" / "inference"
ONEDNN = PROGRAM.with_name("onednn")
FRAMES, SIDE, REPEATS = 8, 56, 30
# Clips at a time for libtorch in float.
SEVERAL = 4
CASES = {f"{arch}-18, width {width}": {"arch": arch, "depth": 18, "width": width}
         for arch in ("r3d", "r2plus1d") for width in (16, 32, 64)}
OURS = "fedact int8"
ARCHIVE = "fedact model.pt"


def prepare(name, settings, python):
    """The folder of a model, with its ONNX files."""
    folder = BENCH / "models" / name.replace(", width ", "-")
    subprocess.run([PROGRAM, "save", json.dumps(settings), str(FRAMES), str(SIDE), folder], check=True)
    subprocess.run([python, ROOT / "benches" / "runtimes.py", "export", folder, "1"], check=True, stdout=subprocess.DEVNULL)
    return folder


def contenders(folder, python, threads):
    """Command and file by name."""
    numbers = [str(threads), str(REPEATS)]
    commands = {
        OURS: ([ONEDNN, folder, "1", *numbers], "model.safetensors"),
        ARCHIVE: ([PROGRAM, "int8", folder, "1", *numbers], "model.pt"),
        "libtorch float": ([PROGRAM, "float", folder, str(SEVERAL), str(threads), str(REPEATS // SEVERAL)], None),
    }
    for mode in MODES:
        program = [python, ROOT / "benches" / "runtimes.py", mode, folder, "1", *numbers]
        commands[mode.replace("-", " ")] = (program, f"{mode.split('-')[1]}-1.onnx")
    return commands


def table(name, folder, files, rounds):
    """Prints a case and returns its figures."""
    print(f"\n{name}")
    print(f"{'':<20} {'ms a clip':>16} {'to fedact':>10} {'CPU ms':>8} {'MiB':>6} {'file MB':>8}")
    medians = {contender: [statistics.median(answer["milliseconds"]) for answer in answers] for contender, answers in rounds.items()}
    figures = {}
    for contender, answers in rounds.items():
        times = [time for answer in answers for time in answer["milliseconds"]]
        size = files[contender] and (folder / files[contender]).stat().st_size / 1e6
        figure = {"median": statistics.median(times), "least": min(times),
                  "ratio": statistics.median(mine / ours for mine, ours in zip(medians[contender], medians[OURS])),
                  "processor": min(answer["processor"] for answer in answers),
                  "peak_mib": max(answer["peak_kib"] for answer in answers) / 1024, "file_mb": size}
        figures[contender] = figure
        shown = f"{figure['median']:.2f} ({figure['least']:.2f})"
        print(f"{contender:<20} {shown:>16} {figure['ratio']:>10.2f} {figure['processor']:>8.2f} {figure['peak_mib']:>6.0f}"
              f" {'' if size is None else f'{size:.1f}':>8}")
    return {"name": name, "figures": figures, "rounds": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="R3D of width 32 alone, one thread, two rounds")
    parser.add_argument("--only", action="append", metavar="NAME", help="; ".join(CASES))
    parser.add_argument("--threads", action="append", type=int, metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", type=Path, metavar="PROGRAM")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    for needed in (PROGRAM, ONEDNN, ALLOCATOR):
        if not needed.is_file():
            sys.exit(f"{needed} is not there; see the first lines of this file")
    python = arguments.python or environment("infer", PEERS) / "python"
    count = 2 if arguments.quick else arguments.rounds
    names = arguments.only or (["r3d-18, width 32"] if arguments.quick else CASES)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, {count} rounds, in turns")
    results = []
    for name in names:
        folder = prepare(name, CASES[name], python)
        for threads in arguments.threads or ([1] if arguments.quick else [1, 2]):
            commands = contenders(folder, python, threads)
            rounds = {contender: [] for contender in commands}
            for _ in range(count):
                for contender, (command, _file) in commands.items():
                    rounds[contender].append(measure(command, STEP if contender == ARCHIVE else None))
            files = {contender: file for contender, (_command, file) in commands.items()}
            results.append(table(f"{name}, threads: {threads}", folder, files, rounds))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
