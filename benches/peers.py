"""Peers from PyPI, each set of them in a virtual environment of its own under target/bench/, and what their programs say."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "target" / "bench"
ALLOCATOR = ROOT / "target" / "debug" / "deps" / "libfedact_memory.so"
# How the command starts the processes that compute with libtorch.
STEP = {"LD_PRELOAD": str(ALLOCATOR), "MIMALLOC_PURGE_DELAY": "-1"}


def environment(name, peers, *options) -> Path:
    """The folder of the programs of an environment that has exactly these peers; `options` are pip's."""
    home = BENCH / name
    marker = home / ".installed"
    wanted = "\n".join(peers)
    if not marker.is_file() or marker.read_text() != wanted:
        print(f"installing {', '.join(peers)} into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", *options, *peers], check=True)
        marker.write_text(wanted)
    return home / "bin"


def measure(command, variables=None):
    """What the process says of itself, with these variables in its environment."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (variables or {}))
    if done.returncode:
        sys.exit(f"{command} failed: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def usage(root):
    """Seconds of processors and MiB, of the process `root` and of all below it, those that have ended included."""
    ticks, processes = os.sysconf("SC_CLK_TCK"), {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        # Of stat: the parent, then user, system and those of children that have ended; pages in memory.
        spent = sum(map(int, fields[11:15])) / ticks
        processes[int(entry)] = (int(fields[1]), spent, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
    ours = {root}
    while found := {number for number, (parent, *_) in processes.items() if parent in ours} - ours:
        ours |= found
    return tuple(sum(processes[number][index] for number in ours) for index in (1, 2))
