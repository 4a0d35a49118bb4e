#!/usr/bin/env python3
"""The artifact engine beside DVC and Snakemake: the same work, the same machine, one run.

    cargo build && python3 benches/engine.py [--quick] [--only NAME ...] [--json FILE]

DVC and Snakemake are installed from PyPI into target/bench/venv the first time. Commands take turns
(fedact, peer, fedact, peer ...), so that a machine that slows down slows all of them. A figure is the
median of the runs, and the smallest; a ratio is that of the medians. Memory is the peak of the largest
process. Nothing here fails for being slow.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from peers import BENCH, ROOT, environment

PEERS = ["dvc==3.67.1", "snakemake==9.27.1"]


class Case:
    """One piece of work: commands by program, what prepares each run, what must be true after it."""

    def __init__(self, name, what, target=None):
        self.name, self.what, self.target = name, what, target
        self.commands = {}

    def add(self, program, command, cwd, before=lambda: None, expect=0):
        self.commands[program] = (command, cwd, before, expect)
        return self

    def measure(self, repeats):
        seconds = {program: [] for program in self.commands}
        memory = dict.fromkeys(self.commands, 0)
        for _ in range(repeats):
            for program, (command, cwd, before, expect) in self.commands.items():
                before()
                taken, peak = timed(command, cwd, expect)
                seconds[program].append(taken)
                memory[program] = max(memory[program], peak)
        ours = statistics.median(seconds["fedact"])
        return {
            "name": self.name,
            "what": self.what,
            "target_seconds": self.target,
            "programs": {
                program: {
                    "median_seconds": statistics.median(taken),
                    "least_seconds": min(taken),
                    "peak_mib": memory[program] / 2**20,
                    "ratio": statistics.median(taken) / ours,
                    "runs": len(taken),
                }
                for program, taken in seconds.items()
            },
        }


def timed(command, cwd, expect):
    """Seconds of the wall clock, and the peak of memory in bytes, of a command that must end well."""
    with open(BENCH / "last-output", "wb") as output:
        start = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != expect:
        sys.exit(f"{command} ended with {child.returncode}:\n{(BENCH / 'last-output').read_text()[-2000:]}")
    return taken, usage.ru_maxrss * 1024


def run(*command, cwd):
    timed(command, cwd, 0)


def fresh(name) -> Path:
    folder = BENCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def dvc_project(folder, bin_, link="hardlink"):
    run(bin_ / "dvc", "init", "--no-scm", "--quiet", cwd=folder)
    run(bin_ / "dvc", "config", "core.analytics", "false", cwd=folder)
    run(bin_ / "dvc", "config", "cache.type", link, cwd=folder)


def many_videos(fedact, count) -> Path:
    """About `count` real videos of 3 to 4 KiB in class folders."""
    subjects = max(2, count // 14)
    home = BENCH / f"videos-{subjects}"
    if not (home / "done").is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        tiny = {"seconds": 0.5, "width": 48, "height": 48, "fps": 8, "clips": 1, "subjects": subjects}
        settings = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
        run(fedact, "synthesize", *settings, "--output", home / "videos", cwd=home)
        (home / "done").touch()
    return home / "videos"


def start(fedact, bin_):
    case = Case("start", "say --help", 0.010)
    case.add("fedact", [fedact, "--help"], BENCH)
    case.add("dvc", [bin_ / "dvc", "--help"], BENCH)
    case.add("snakemake", [bin_ / "snakemake", "--help"], BENCH)
    return case


EXTRACT = """version: 1
steps:
  clips:
    stage: extract
    inputs: {videos: {path: videos}}
    params: {frames: 2, size: 16, resize: 16}
"""


def no_op(fedact, bin_, count):
    """One step over a folder of many files, done already, nothing changed."""
    videos = many_videos(fedact, count)
    ours, dvc, snakemake = fresh("no-op-fedact"), fresh("no-op-dvc"), fresh("no-op-snakemake")
    for folder in (ours, dvc, snakemake):
        shutil.copytree(videos, folder / "videos")
    (ours / "pipeline.yaml").write_text(EXTRACT)
    run(fedact, "run", cwd=ours)
    dvc_project(dvc, bin_)
    work = "find videos -type f | sort | xargs cat | sha256sum > out.txt"
    (dvc / "dvc.yaml").write_text(
        f"stages:\n  sum:\n    cmd: {work}\n    deps: [videos]\n    outs: [out.txt]\n"
    )
    run(bin_ / "dvc", "repro", cwd=dvc)
    (snakemake / "Snakefile").write_text(
        "from pathlib import Path\n"
        "files = sorted(str(file) for file in Path('videos').rglob('*') if file.is_file())\n"
        f"rule sum:\n    input: files\n    output: 'out.txt'\n    shell: '{work}'\n"
    )
    run(bin_ / "snakemake", "--cores", "2", cwd=snakemake)
    files = sum(1 for path in videos.rglob("*") if path.is_file())
    case = Case("no-op", f"nothing to do, {files} input files", 0.040)
    case.add("fedact", [fedact, "run"], ours)
    case.add("dvc", [bin_ / "dvc", "repro"], dvc)
    case.add("snakemake", [bin_ / "snakemake", "--cores", "2"], snakemake)
    return case


def restore(fedact, bin_, count):
    """A step's output of many files, gone from the working folder, comes back out of the store."""
    videos = many_videos(fedact, count)
    subjects = max(2, count // 14)
    ours, dvc = fresh("restore-fedact"), fresh("restore-dvc")
    (ours / "pipeline.yaml").write_text(
        "version: 1\nsteps:\n  videos:\n    stage: synthesize\n"
        f"    params: {{seconds: 0.5, width: 48, height: 48, fps: 8, clips: 1, subjects: {subjects}}}\n"
    )
    run(fedact, "run", cwd=ours)
    dvc_project(dvc, bin_)
    shutil.copytree(videos, dvc / "videos")
    run(bin_ / "dvc", "add", "--quiet", "videos", cwd=dvc)
    files = sum(1 for path in videos.rglob("*") if path.is_file())
    case = Case("restore", f"restore a step of {files} files", 0.250)
    gone = lambda folder: lambda: shutil.rmtree(folder)
    case.add("fedact", [fedact, "run"], ours, gone(ours / "artifacts" / "videos"))
    case.add("dvc", [bin_ / "dvc", "checkout", "--quiet"], dvc, gone(dvc / "videos"))
    return case


def first_hash(fedact, bin_, mebibytes):
    """A folder is seen for the first time; its bytes are in the page cache."""
    ours, dvc = fresh("hash-fedact"), fresh("hash-dvc")
    for folder in (ours, dvc):
        (folder / "videos" / "class").mkdir(parents=True)
        for number in range(8):
            with open(folder / "videos" / "class" / f"{number}.mp4", "wb") as file:
                for _ in range(mebibytes // 8):
                    file.write(os.urandom(2**20))
    (ours / "pipeline.yaml").write_text(EXTRACT)
    dvc_project(dvc, bin_)

    def forget():
        shutil.rmtree(ours / "artifacts", ignore_errors=True)

    def forget_dvc():
        shutil.rmtree(dvc / ".dvc" / "tmp", ignore_errors=True)
        (dvc / "videos.dvc").unlink(missing_ok=True)
        state = Path(os.environ.get("DVC_SITE_CACHE_DIR", BENCH / "dvc-site"))
        shutil.rmtree(state, ignore_errors=True)

    case = Case("first-hash", f"first digest of {mebibytes} MiB in 8 files (DVC: MD5)", 0.700)
    case.add("fedact", [fedact, "status"], ours, forget)
    case.add("dvc", [bin_ / "dvc", "add", "--quiet", "--no-commit", "videos"], dvc, forget_dvc)
    everything = "sha256sum videos/class/* > /dev/null"
    case.add("sha256sum, one core", ["sh", "-c", everything], ours)
    return case


def plan(fedact, bin_, steps):
    """A pipeline file of many steps is read, checked and planned; nothing has run yet."""
    ours, dvc, snakemake = fresh("plan-fedact"), fresh("plan-dvc"), fresh("plan-snakemake")
    lines = ["version: 1", "steps:"]
    for number in range(steps // 2):
        lines += [
            f"  videos-{number}: {{stage: synthesize, params: {{seed: {number}}}}}",
            f"  clips-{number}: {{stage: extract, inputs: {{videos: videos-{number}}}}}",
        ]
    (ours / "pipeline.yaml").write_text("\n".join(lines) + "\n")
    dvc_project(dvc, bin_)
    lines, rules, targets = ["stages:"], [], []
    for number in range(steps // 2):
        a, b = f"a{number}.txt", f"b{number}.txt"
        targets.append(b)
        lines += [
            f"  first-{number}: {{cmd: echo {number} > {a}, outs: [{a}]}}",
            f"  second-{number}: {{cmd: cp {a} {b}, deps: [{a}], outs: [{b}]}}",
        ]
        rules += [
            f"rule first_{number}:\n    output: '{a}'\n    shell: 'echo {number} > {a}'",
            f"rule second_{number}:\n    input: '{a}'\n    output: '{b}'\n    shell: 'cp {a} {b}'",
        ]
    (dvc / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (snakemake / "Snakefile").write_text(
        f"rule all:\n    input: {targets}\n" + "\n".join(rules) + "\n"
    )
    case = Case("plan", f"plan {steps} steps, none run yet", 0.050)
    case.add("fedact", [fedact, "run", "--dry-run"], ours)
    case.add("dvc", [bin_ / "dvc", "status"], dvc)
    case.add("snakemake", [bin_ / "snakemake", "--dry-run", "--quiet", "all"], snakemake)
    return case


def damage(fedact, bin_):
    """What is delivered after a byte in the cache was changed? In words, not in seconds."""
    ours, dvc = fresh("damage-fedact"), fresh("damage-dvc")
    (ours / "pipeline.yaml").write_text(
        "version: 1\nsteps:\n  videos: {stage: synthesize, params: {seconds: 0.5, subjects: 2, clips: 1}}\n"
    )
    run(fedact, "run", cwd=ours)
    dvc_project(dvc, bin_)
    (dvc / "data").mkdir()
    (dvc / "data" / "file.bin").write_bytes(b"x" * 100_000)
    run(bin_ / "dvc", "add", "--quiet", "data", cwd=dvc)

    def flip(path):
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.seek(50)
            byte = file.read(1)
            file.seek(50)
            file.write(bytes([byte[0] ^ 1]))

    largest = lambda folder: max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    shutil.rmtree(dvc / "data")
    flip(largest(dvc / ".dvc" / "cache"))
    code = subprocess.run([bin_ / "dvc", "checkout", "--quiet"], cwd=dvc, capture_output=True).returncode
    delivered = dvc / "data" / "file.bin"
    wrong = delivered.is_file() and delivered.read_bytes() != b"x" * 100_000
    print(f"dvc checkout of a damaged cache: exit {code}, delivers {'the damaged file' if wrong else 'nothing wrong'}")

    before = {p.relative_to(ours): p.read_bytes() for p in (ours / "artifacts" / "videos").rglob("*.mp4")}
    shutil.rmtree(ours / "artifacts" / "videos")
    flip(largest(ours / "artifacts" / "store" / "objects"))
    code = subprocess.run([fedact, "run"], cwd=ours, capture_output=True).returncode
    after = {p.relative_to(ours): p.read_bytes() for p in (ours / "artifacts" / "videos").rglob("*.mp4")}
    same = bool(before) and before == after
    print(f"fedact run on a damaged store: exit {code}, delivers {'the right files' if same else 'SOMETHING ELSE'}")


def table(results):
    print(f"\n{'work':<44} {'program':<20} {'median':>9} {'least':>9} {'ratio':>7} {'memory':>9}")
    for result in results:
        what = result["what"]
        for program, figures in result["programs"].items():
            print(
                f"{what:<44} {program:<20} {figures['median_seconds']:>8.3f}s {figures['least_seconds']:>8.3f}s"
                f" {figures['ratio']:>6.1f}x {figures['peak_mib']:>5.0f} MiB"
            )
            what = ""
        if result["target_seconds"] is not None:
            print(f"{'':<44} {'(to reach)':<20} {result['target_seconds']:>8.3f}s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fedact", default=ROOT / "target" / "debug" / "fedact", type=Path)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data and three runs")
    parser.add_argument("--only", action="append", metavar="NAME", help="start, no-op, restore, first-hash, plan, damage")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    fedact = arguments.fedact.resolve()
    if not fedact.is_file():
        sys.exit(f"{fedact} is not there: run `cargo build` first, or name the program with --fedact")
    BENCH.mkdir(parents=True, exist_ok=True)
    os.environ["DVC_SITE_CACHE_DIR"] = str(BENCH / "dvc-site")
    os.environ["DVC_NO_ANALYTICS"] = "1"
    bin_ = environment("venv", PEERS)
    files, steps, mebibytes, repeats = (1_000, 100, 128, 3) if arguments.quick else (10_000, 1_000, 1_024, 7)
    cases = {
        "start": lambda: start(fedact, bin_),
        "no-op": lambda: no_op(fedact, bin_, files),
        "restore": lambda: restore(fedact, bin_, files),
        "first-hash": lambda: first_hash(fedact, bin_, mebibytes),
        "plan": lambda: plan(fedact, bin_, steps),
    }
    names = arguments.only or [*cases, "damage"]
    for name in names:
        if name not in cases and name != "damage":
            sys.exit(f"there is no case {name}; there are {', '.join(cases)} and damage")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before the start, {repeats} runs each, in turns")
    results = []
    for name in names:
        if name == "damage":
            damage(fedact, bin_)
            continue
        results.append(cases[name]().measure(repeats))
        print(f"{name}: done", file=sys.stderr)
    table(results)
    if arguments.json:
        arguments.json.write_text(json.dumps({"load_before": load, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
