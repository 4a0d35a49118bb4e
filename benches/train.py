#!/usr/bin/env python3
"""A step of training, beside PyTorch eager: the same network, batch and threads, in one run.

    cargo build --workspace --example training_step
    python3 benches/train.py [--quick] [--only NAME ...] [--rounds N] [--before PROGRAM] [--python PROGRAM] [--json FILE]

The network is torchvision's r3d_18 with 12 classes; a step is the forward pass, the cross-entropy with smoothed labels,
the backward pass, clipping of the gradient's norm at 5, and SGD with Nesterov's momentum and weight decay, on a batch
of random numbers that is in memory already. Each contender is a process of its own that takes two steps before the clock
runs; contenders take turns, round by round. A figure is the median of all steps of all rounds, and in brackets the
quickest, which other work on the machine disturbs least; then what processors worked for a step, both together, in the least
disturbed round (with `OMP_WAIT_POLICY=PASSIVE`: else they work while they wait). PyTorch runs as it comes, and in every way in which it is
known to be faster: channels-last-3d (`-last`), autocast to bfloat16, and all weights cast to bfloat16, which keeps no
weights of 32 bits and so is no way to train for long, but is the fastest. Ratios are to PyTorch's default in float32 and to its
best in bfloat16. `--before` is another build of `training_step`, `--python` a Python that has torch and torchvision already.
Nothing here fails for being slow.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from peers import ROOT, environment, measure
from trainers import MODES

PEERS = ("torch==2.11.0", "torchvision==0.26.0")
PROGRAM = ROOT / "target" / "debug" / "examples" / "training_step"
DEPTH, WIDTH, BATCH, THREADS = 18, 64, 4, 2
# Name: frames, side, steps of a round.
CASES = {"8x56x56": (8, 56, 8), "16x112x112": (16, 112, 3)}
OURS = {"fedact float32": [], "fedact bfloat16": ["bfloat16"], "fedact float32, give-back": ["give-back"]}


def contenders(python, frames, side, steps, before):
    """Commands by name."""
    numbers = [str(number) for number in (frames, side, BATCH, THREADS, steps)]
    ours = [str(DEPTH), str(WIDTH), *numbers]
    commands = {}
    for mode in MODES:
        commands[f"PyTorch {mode}"] = [python, ROOT / "benches" / "trainers.py", mode, *numbers]
    for name, options in OURS.items():
        commands[name] = [PROGRAM, *ours, "json", *options]
    if before:
        commands["fedact before"] = [before, *ours, "json"]
    return commands


def table(name, rounds):
    """Prints a case and returns its figures."""
    figures = {}
    for contender, answers in rounds.items():
        steps = [step for answer in answers for step in answer["milliseconds"]]
        peaks = [answer["peak_kib"] for answer in answers]
        figures[contender] = {"median": statistics.median(steps), "least": min(steps), "peak_mib": max(peaks) / 1024,
                              "processor": min(answer["processor"] for answer in answers)}
    half = [contender for contender in figures if contender.startswith(("PyTorch autocast", "PyTorch cast"))]
    best = {key: min(figures[contender][key] for contender in half) for key in ("median", "least", "processor")}
    default = figures["PyTorch float32"]
    print(f"\n{name}, batch {BATCH}, {THREADS} threads")
    print(f"{'':<26} {'ms a step':>14} {'to default':>14} {'to best bfloat16':>18} {'CPU ms':>8} {'to default':>12} {'to best':>9} {'MiB':>6}")
    for contender, figure in figures.items():
        ratios = [(figure["median"] / other["median"], figure["least"] / other["least"]) for other in (default, best)]
        shown = [f"{median:.2f} ({least:.2f})" for median, least in ratios]
        milliseconds = f"{figure['median']:.0f} ({figure['least']:.0f})"
        work = [figure["processor"] / other["processor"] for other in (default, best)]
        print(f"{contender:<26} {milliseconds:>14} {shown[0]:>14} {shown[1]:>18} {figure['processor']:>8.0f}"
              f" {work[0]:>12.2f} {work[1]:>9.2f} {figure['peak_mib']:>6.0f}")
    return {"name": name, "figures": figures, "rounds": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small clips alone, two rounds")
    parser.add_argument("--only", action="append", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="PROGRAM")
    parser.add_argument("--python", type=Path, metavar="PROGRAM")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is not there; see the first lines of this file")
    python = arguments.python or environment("train", PEERS) / "python"
    count = 2 if arguments.quick else arguments.rounds
    names = arguments.only or (list(CASES)[:1] if arguments.quick else CASES)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, {count} rounds, in turns")
    results = []
    for name in names:
        commands = contenders(python, *CASES[name], arguments.before)
        rounds = {contender: [] for contender in commands}
        for number in range(count):
            for contender, command in commands.items():
                rounds[contender].append(measure(command))
            print(f"{name}: round {number + 1} of {count}", file=sys.stderr)
        results.append(table(name, rounds))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
