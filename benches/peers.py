"""Peers from PyPI, each set of them in a virtual environment of its own under target/bench/, and what their programs say."""

import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "target" / "bench"


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


def measure(command):
    """What the process says of itself."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} failed: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])
