#!/usr/bin/env python3
"""What an update costs the coordinator of a fleet, beside Flower: no training, loopback, the same machine, one run.

    cargo build --workspace --example load && python3 benches/fleet.py [--only NAME...] [--alone] [--rounds N] [--json FILE]

fedact with its NATS server and TLS (`crates/fleet/examples/load.rs`), Flower as `flower-superlink` and `flower-supernode` run
it, without TLS, which is in its favour. Of Flower the first round is left out, in which everything starts. Flower is installed from PyPI into
target/bench/fleet the first time. Nothing here fails for being slow.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from peers import ROOT, environment, usage

PEERS = ["flwr==1.42.0", "numpy"]
LOAD = ROOT / "target" / "debug" / "examples" / "load"
MEBI = 2**20 / 1e6
# Devices, numbers of the model, updates that fedact counts.
SIZES = {"10-kb": (50, 2_500, 2_000), "1-mb": (20, 250_000, 400), "10-mb": (4, 2_500_000, 60)}
APP = """[project]
name = "senders"
version = "1.0.0"
dependencies = []
[tool.flwr.app]
publisher = "fedact"
[tool.flwr.app.components]
serverapp = "senders:server"
clientapp = "senders:client"
[tool.flwr.app.config]
clients = 0
numbers = 0
rounds = 0
report = ""
"""


def fedact(devices, numbers, updates):
    done = subprocess.run([LOAD, "run", str(devices), str(numbers), str(updates), "whole"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{LOAD} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return {
        "updates_a_second": said["updates_a_second"],
        "coordinator_seconds": said["coordinator_seconds_an_update"],
        "server_seconds": said["server_seconds_an_update"],
        "devices_seconds": said["devices_seconds_an_update"],
        "coordinator_mb": said["coordinator_peak_mb"],
        "device_mb": said["devices_peak_mb"] / devices,
    }


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def flower(programs, devices, numbers, rounds):
    """Of the rounds after the first. The coordinator is the superlink with the server app that it starts."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        folder = Path(folder)
        app, home, report = folder / "app", folder / "home", folder / "report"
        app.mkdir()
        home.mkdir()
        shutil.copy(Path(__file__).with_name("senders.py"), app)
        (app / "pyproject.toml").write_text(APP)
        port, *others = free_ports(devices + 1)
        (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
        variables = os.environ | {"FLWR_HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", "FLWR_TELEMETRY_ENABLED": "0"}
        log = stack.enter_context((folder / "log").open("w"))

        def start(*command):
            process = subprocess.Popen([programs / command[0], *command[1:]], env=variables, cwd=folder, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        server = start("flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation")
        wait_for(port, server, log)
        nodes = [start("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(other)) for other in others]
        config = f'clients={devices} numbers={numbers} rounds={rounds + 1} report="{report}"'
        run = subprocess.run([programs / "flwr", "run", app, "--run-config", config], env=variables, capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"flwr run ended with {run.returncode}: {run.stdout[-2000:]}{run.stderr[-2000:]}")
        marks = {}
        while rounds + 1 not in marks:
            time.sleep(0.02)
            if server.poll() is not None or any(node.poll() is not None for node in nodes):
                sys.exit(f"a process of Flower's has ended:\n{Path(log.name).read_text()[-3000:]}")
            done = [int(line) for line in report.read_text().split()] if report.exists() else []
            for number in done:
                if number not in marks:
                    marks[number] = (time.perf_counter(), usage(server.pid), [usage(node.pid) for node in nodes])
    (began, (before, _), devices_before), (ended, (after, _), devices_after) = marks[1], marks[rounds + 1]
    updates = devices * rounds
    return {
        "updates_a_second": updates / (ended - began),
        "coordinator_seconds": (after - before) / updates,
        "devices_seconds": (sum(spent for spent, _ in devices_after) - sum(spent for spent, _ in devices_before)) / updates,
        "coordinator_mb": MEBI * max(mark[1][1] for mark in marks.values()),
        "device_mb": MEBI * max(held for _, held in devices_after),
    }


def wait_for(port, process, log):
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"flower-superlink ended with {process.returncode}:\n{Path(log.name).read_text()[-3000:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--alone", action="store_true", help="fedact without Flower")
    parser.add_argument("--rounds", type=int, default=3, help="of Flower, after its first")
    parser.add_argument("--programs", type=Path, metavar="FOLDER", help="where Flower's programs are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    if not LOAD.is_file():
        sys.exit(f"{LOAD} is not built; see the first lines of this file")
    programs = None if arguments.alone else arguments.programs or environment("fleet", PEERS)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
    figures = {}
    for name in arguments.only:
        devices, numbers, updates = SIZES[name]
        ours = fedact(devices, numbers, updates)
        theirs = flower(programs, devices, numbers, arguments.rounds) if programs else {}
        figures[name] = {"devices": devices, "fedact": ours, "flower": theirs}
        print(f"\n{devices} devices, {4 * numbers / 1e6:g} MB an update")
        print(f"{'':<40} {'fedact':>10} {'Flower':>10} {'ratio':>8}")
        for key, what in (
            ("updates_a_second", "updates a second"),
            ("coordinator_seconds", "coordinator: processor seconds an update"),
            ("server_seconds", "NATS server: the same"),
            ("devices_seconds", "devices: the same"),
            ("coordinator_mb", "coordinator's most MB"),
            ("device_mb", "MB a device"),
        ):
            own, other = ours[key], theirs.get(key)
            compared = f"{other:>10.4g} {max(own / other, other / own):>8.1f}" if other else ""
            print(f"{what:<40} {own:>10.4g} {compared}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
