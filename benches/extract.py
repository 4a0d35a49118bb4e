#!/usr/bin/env python3
"""Clips out of videos, beside OpenCV, torchcodec, decord and PyAV: the same frames, the same machine, one run.

    cargo build && cargo build -p fedact-video --example decode
    python3 benches/extract.py [--quick] [--only NAME ...] [--rounds N] [--json FILE]

The videos are made the first time (60 of 320 x 240 and 6 s as in UCF101, in MPEG-4 part 2 in AVI and in H.264 with
B-frames in MP4; 6 of 1920 x 1080 and 3 s). Every reader takes 16 frames, evenly spread from the first to the last,
brings the short side to 128 and cuts the square of 112 from the middle; two workers, one thread a video. Workers are
started and loaded before the clock runs. Readers take turns, round by round; a figure is the best round of each,
since other work on the machine only ever makes one slower, by the clock and, beside it, in time on the processor. Before
that, the frames of all readers are compared with fedact's: scalers differ, frames must not. Nothing here fails for
being slow.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from peers import BENCH, ROOT
from readers import READERS, python

COUNT, RESIZE, SIZE, WORKERS = 16, 128, 112, 2

# Name, videos, width, height, frames, encoder, its options, container.
CASES = {
    "mpeg4": (60, 320, 240, 180, "mpeg4", {"g": "300", "qscale": "5"}, "avi"),
    "h264": (60, 320, 240, 180, "libx264", {"crf": "23", "g": "250", "bf": "3"}, "mp4"),
    "h264-1080p": (6, 1920, 1080, 90, "libx264", {"crf": "23", "g": "250", "bf": "3", "preset": "veryfast"}, "mp4"),
}
LEAST_DECIBELS = 26


def make(folder, videos, width, height, frames, encoder, options, container):
    """Videos in which a textured background pans and figures move, with the noise of a camera."""
    import av
    import cv2
    import numpy

    for video in range(videos):
        random = numpy.random.default_rng(video)
        coarse = random.integers(0, 256, (24, 32, 3), dtype=numpy.uint8)
        fine = random.integers(0, 256, (height // 2, width // 2, 3), dtype=numpy.uint8)
        size = width * 2, height * 2
        scene = cv2.addWeighted(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), 0.8,
                                cv2.resize(fine, size, interpolation=cv2.INTER_LINEAR), 0.2, 0)
        noise = [random.normal(0, 2, (height, width, 1)).astype(numpy.float32) for _ in range(7)]
        shapes = random.uniform(0, 1, (6, 4))
        with av.open(str(folder / f"{video:02}.{container}"), "w") as file:
            stream = file.add_stream(encoder, rate=30, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            if "qscale" in options:
                stream.codec_context.qmin = stream.codec_context.qmax = int(options["qscale"])
            stream.codec_context.gop_size = int(options["g"])
            stream.codec_context.max_b_frames = int(options.get("bf", 0))
            for number in range(frames):
                share = number / frames
                left, top = int(share * width * 0.4), int(share * height * 0.25)
                picture = scene[top : top + height, left : left + width].copy()
                for x, y, phase, shade in shapes:
                    centre = (int((x + 0.3 * numpy.sin(6 * share + 9 * phase)) * width),
                              int((y + 0.2 * numpy.cos(8 * share + 9 * phase)) * height))
                    cv2.circle(picture, centre, height // 9, (shade * 255, 255 - shade * 255, 90), -1)
                picture = numpy.clip(picture + noise[number % 7], 0, 255).astype(numpy.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    file.mux(packet)
            for packet in stream.encode():
                file.mux(packet)


def videos(name):
    folder = BENCH / "extract" / name
    if not (folder / "done").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"making the videos of {name}", file=sys.stderr)
        code = f"import sys; sys.path.insert(0, {str(ROOT / 'benches')!r})\n"
        code += f"import extract; from pathlib import Path\nextract.make(Path({str(folder)!r}), *extract.CASES[{name!r}])"
        subprocess.run([python(), "-c", code], check=True)
        (folder / "done").touch()
    return sorted(path for path in folder.iterdir() if path.name != "done")


class Worker:
    """A process that reads videos one after the other, and is loaded before the clock runs."""

    def cpu(self):
        """Seconds on the processor so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, command, **options):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def say(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def end(self):
        self.child.stdin.close()
        if self.child.wait():
            sys.exit(f"{self.child.args} failed")


class Peer(Worker):
    def __init__(self, reader, paths, case, keep):
        job = {"reader": reader, "paths": [str(path) for path in paths], "frames": case[3], "width": case[1],
               "height": case[2], "count": COUNT, "resize": RESIZE, "size": SIZE, "keep": keep}
        self.start([python(), ROOT / "benches" / "readers.py"], stderr=subprocess.DEVNULL)
        self.say(json.dumps(job) + "\n")
        self.hear(b"ready\n")

    def hear(self, word):
        if self.child.stdout.readline() != word:
            sys.exit(f"{self.child.args} does not say {word}")

    def work(self):
        self.say("go\n")
        self.hear(b"done\n")


class Ours(Worker):
    def __init__(self, program, paths, keep):
        self.paths, self.keep = paths, keep
        # The peers' frames stay in their processes, too.
        self.start([program] if keep else [program, "--keep-frames"])
        self.say("1 8 8 /no/such/file\n")
        self.child.stdout.readline()

    def work(self):
        self.say("".join(f"{COUNT} {RESIZE} {SIZE} {path}\n" for path in self.paths))
        if not self.keep:
            for _ in self.paths:
                self.child.stdout.readline()
            return
        with open(self.keep, "wb") as file:
            for _ in self.paths:
                file.write(self.child.stdout.readline() + self.child.stdout.read(COUNT * SIZE * SIZE * 3))


def measure(make, paths):
    """Seconds of the clock and of the processor that the workers take, each with its share of the videos."""
    workers = [make(paths[worker::WORKERS], worker) for worker in range(WORKERS)]
    before = sum(worker.cpu() for worker in workers)
    began = time.perf_counter()
    threads = [threading.Thread(target=worker.work) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - began
    processor = sum(worker.cpu() for worker in workers) - before
    for worker in workers:
        worker.end()
    return wall, processor


def makers(program, case, readers, keep=lambda reader, worker: None):
    """What starts a worker, by reader."""
    made = {"fedact": lambda paths, worker: Ours(program, paths, keep("fedact", worker))}
    for reader in readers:
        made[reader] = lambda paths, worker, reader=reader: Peer(reader, paths, case, keep(reader, worker))
    return made


def command(fedact, folder):
    """The whole command, from its start to its end: with digests, checkpoints and the clip set."""
    output = BENCH / "extract" / "clips"
    subprocess.run(["rm", "-rf", str(output)], check=True)
    classes = BENCH / "extract" / f"{folder.name}-classes"
    for number, path in enumerate(sorted(folder.iterdir())):
        if path.name != "done":
            link = classes / f"class{number % 2}" / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(path)
    settings = {"frames": COUNT, "size": SIZE, "resize": RESIZE, "sampling.method": "uniform"}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    began = time.perf_counter()
    done = subprocess.run([fedact, "extract", "--input", f"videos={classes}", *words, "--output", output],
                          capture_output=True, text=True)
    if done.returncode:
        return f"`fedact extract` failed: {done.stderr.strip()}"
    videos = sum(1 for path in folder.iterdir() if path.name != "done")
    return f"`fedact extract` as a whole: {videos / (time.perf_counter() - began):.1f} clips/s"


def same_frames(program, name, paths, case, readers):
    """Compares the frames of one worker's videos; says the lowest agreement of each reader."""
    import_numpy = """
import json, sys, numpy
ours = []
with open(sys.argv[1], "rb") as file:
    while line := file.readline():
        answer = json.loads(line)
        shape = len(answer["numbers"]), answer["size"], answer["size"], 3
        ours.append(numpy.frombuffer(file.read(int(numpy.prod(shape))), numpy.uint8).reshape(shape))
ours = numpy.array(ours).astype(float)
for path in sys.argv[2:]:
    theirs = numpy.load(path).astype(float)
    error = ((ours - theirs) ** 2).mean(axis=(2, 3, 4))
    # The frame itself must be nearer than the ones that were taken before and after it.
    shifted = ((ours[:, 1:] - theirs[:, :-1]) ** 2).mean(axis=(2, 3, 4))
    print(json.dumps([float((10 * numpy.log10(255**2 / numpy.maximum(error, 1e-9))).min()),
                      bool((error[:, 1:] < shifted).all())]))
"""
    keep = lambda reader, worker: str(BENCH / "extract" / f"frames-{name}-{reader}-{worker}.npy")
    for make in makers(program, case, readers, keep).values():
        measure(make, paths)
    arguments = [keep(reader, 0) for reader in ("fedact", *readers)]
    answers = subprocess.run([python(), "-c", import_numpy, *arguments], check=True, capture_output=True, text=True)
    agreement = {}
    for reader, line in zip(readers, answers.stdout.splitlines()):
        decibels, nearest = json.loads(line)
        agreement[reader] = decibels
        if not nearest or decibels < LEAST_DECIBELS:
            print(f"{name}: {reader} gives other frames than fedact ({decibels:.1f} dB)", file=sys.stderr)
    return agreement


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fedact", default=ROOT / "target" / "debug" / "fedact", type=Path)
    parser.add_argument("--decode", default=ROOT / "target" / "debug" / "examples" / "decode", type=Path)
    parser.add_argument("--quick", action="store_true", help="a third of the videos and two rounds")
    parser.add_argument("--only", action="append", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    if not arguments.decode.is_file():
        sys.exit(f"{arguments.decode} is not there; see the first lines of this file")
    rounds = 2 if arguments.quick else arguments.rounds
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, {rounds} rounds, in turns")
    results = []
    for name in arguments.only or CASES:
        paths = videos(name)
        paths = paths[: len(paths) // 3] if arguments.quick else paths
        case = CASES[name]
        agreement = same_frames(arguments.decode, name, paths, case, READERS)
        made = makers(arguments.decode, case, READERS)
        seconds = {reader: [] for reader in made}
        for _ in range(rounds):
            for reader, make in made.items():
                seconds[reader].append(measure(make, paths))
        wall, processor = (
            {reader: min(one[which] for one in taken) for reader, taken in seconds.items()} for which in (0, 1)
        )
        whole = f"; {command(arguments.fedact, paths[0].parent)}" if arguments.fedact.is_file() else ""
        print(f"\n{name}: {len(paths)} videos{whole}")
        print(f"{'reader':<12} {'clips/s':>9} {'fedact is':>11} {'CPU ms a clip':>15} {'fedact is':>11} {'agreement':>11}")
        for reader in sorted(wall, key=wall.get):
            decibels = f"{agreement[reader]:.1f} dB" if reader in agreement else ""
            print(f"{reader:<12} {len(paths) / wall[reader]:>9.1f} {wall[reader] / wall['fedact']:>10.2f}x"
                  f" {1000 * processor[reader] / len(paths):>15.1f} {processor[reader] / processor['fedact']:>10.2f}x"
                  f" {decibels:>11}")
        results.append({"name": name, "videos": len(paths), "wall_and_processor_seconds": seconds,
                        "agreement_decibels": agreement})
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
