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
