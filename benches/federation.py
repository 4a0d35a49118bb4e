#!/usr/bin/env python3
"""A federation of a thousand clients beside Flower: FLUTE's published case, the same work, the same machine, one run.

    cargo bench --workspace --bench federation --profile dev --no-run && python3 benches/federation.py [--rounds N] [--repeats N] [--json FILE]

Logistic regression on data of MNIST's shape, 1,000 clients, 10 a round, batches of 10, learning rate 0.03 (Garcia et al. 2022, arXiv
2203.13789, where 100 rounds on a processor took Flower 30:14 and FLUTE 3:20). Flower is installed from PyPI into target/bench/regression
the first time. Programs take turns. What a round costs is the difference between a run of N rounds and one of a single round, so that
Flower's start, which is longer than many rounds, is told apart; fedact always runs the 100. Nothing here fails for being slow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from peers import ROOT, environment

PEERS = ["flwr[simulation]==1.42.0", "numpy"]
ROUNDS = 100


def program() -> Path:
    found = sorted((ROOT / "target" / "debug" / "deps").glob("federation-*"), key=lambda path: path.stat().st_mtime)
    found = [path for path in found if not path.suffix and os.access(path, os.X_OK)]
    if not found:
        sys.exit("the benchmark is not built; see the first lines of this file")
    return found[-1]


def measure(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="of Flower's longer run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--python", type=Path, metavar="PROGRAM", help="one that has Flower")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    python = arguments.python or environment("regression", PEERS) / "python"
    peer = Path(__file__).with_name("regressors.py")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, {arguments.repeats} repeats, in turns")
    answers = {"fedact": [], "start": [], "flower": []}
    for _ in range(arguments.repeats):
        answers["fedact"].append(measure(program(), "regression"))
        answers["start"].append(measure(python, peer, 1))
        answers["flower"].append(measure(python, peer, arguments.rounds))
    figures = {}
    for key in ("seconds", "processor_seconds"):
        middle = {name: statistics.median(answer[key] for answer in found) for name, found in answers.items()}
        each = (middle["flower"] - middle["start"]) / (arguments.rounds - 1)
        whole = middle["start"] + (ROUNDS - 1) * each
        figures[key] = {"fedact": middle["fedact"], "flower": whole, "flower_round": each, "ratio": whole / middle["fedact"]}
    print(f"{'100 rounds':<28} {'fedact':>10} {'Flower':>10} {'its round':>10} {'ratio':>8}")
    for key, what in (("seconds", "seconds by the clock"), ("processor_seconds", "seconds of processors")):
        row = figures[key]
        print(f"{what:<28} {row['fedact']:>10.2f} {row['flower']:>10.1f} {row['flower_round']:>10.2f} {row['ratio']:>8.0f}")
    last = {name: found[-1] for name, found in answers.items()}
    print(f"accuracy: fedact {last['fedact']['top1_before']:.3f} to {last['fedact']['top1']:.3f} in {ROUNDS} rounds, Flower"
          f" {last['flower']['top1_before']:.3f} to {last['flower']['top1']:.3f} in {arguments.rounds};"
          f" memory of Flower's processes: {last['flower']['peak_mib']:.0f} MiB")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "answers": answers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
