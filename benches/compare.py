#!/usr/bin/env python3
"""Frame by frame beside PyAV and torchcodec (exact mode): the same frames, at the same times?

    cargo build -p fedact-video --example decode
    python3 benches/compare.py [--frames N] [--markdown FILE] FOLDER ...

Every file below the folders is decoded whole by all three, unless --frames says how many frames of each (of files
with more than 1500 frames, 16 are taken). Frames
are compared as squares from the middle, unscaled: PyAV's are brought to full colour resolution by its own FFmpeg
and to RGB here, by the matrix and range that the frame names. torchcodec gives RGB, in which neighbouring pixels share
colours; what it gives is compared by luma. Peak signal-to-noise ratios are the lowest of all frames of a file. A frame also has to be nearer to the other reader's frame of the same number than to the
ones beside it; where it is not, it is another frame. The first lines of readers.py say which versions.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import readers
from peers import ROOT

MANY, SAMPLED = 1500, 16
LEAST_DECIBELS = 40
# Weights of red and blue by the number of the matrix; BT.601 otherwise.
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}


class Fedact:
    def __init__(self, program):
        self.child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, path, count):
        import numpy

        self.child.stdin.write(f"{count} 0 0 {path}\n".encode())
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        if "error" in answer:
            return answer, None
        shape = len(answer["numbers"]), answer["size"], answer["size"], 3
        pixels = numpy.frombuffer(self.child.stdout.read(math.prod(shape)), numpy.uint8)
        return answer, pixels.reshape(shape)


def square(picture, info, side):
    """The square that fedact cuts, out of a whole RGB picture."""
    height, width = picture.shape[:2]
    aspect = info["pixel_aspect"]
    short = min(width * aspect, height)
    wide, high = min(max(round(short / aspect), 1), width), min(max(round(short), 1), height)
    left, top = (width - wide) // 2 & ~1, (height - high) // 2 & ~1
    cut = picture[top : top + high, left : left + wide]
    if cut.shape[:2] != (side, side):
        import cv2

        cut = cv2.resize(cut, (side, side), interpolation=cv2.INTER_LINEAR)
    return cut


def rgb(frame):
    """RGB of PyAV's frame, by what the frame says of its colours."""
    import numpy

    if frame.format.is_rgb:
        return frame.to_ndarray(format="rgb24")
    full = frame.color_range == 2 or frame.format.name.startswith(("yuvj", "gray"))
    y, u, v = frame.reformat(
        format="yuv444p", interpolation="BILINEAR", src_color_range=int(frame.color_range),
        dst_color_range=int(frame.color_range),
    ).to_ndarray().astype(numpy.float64)
    if not full:
        y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    else:
        u, v = u - 128, v - 128
    red, blue = WEIGHTS.get(int(frame.colorspace), (0.299, 0.114))
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return numpy.clip(numpy.rint(numpy.stack([r, g, b], axis=-1)), 0, 255).astype(numpy.uint8)


def pyav(path, answer):
    """Yields time and square of each frame, in order of presentation."""
    import av
    import numpy

    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        number, wanted, first = 0, set(answer["numbers"]), None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            if number in wanted:
                picture = square(rgb(frame), answer["info"], answer["size"])
                picture = numpy.rot90(picture, (frame.rotation // 90) % 4)
            else:
                picture = None
            yield number, None if frame.time is None else frame.time - first, picture
            number += 1


def torchcodec(path, answer):
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode="exact")
    first = None
    for number in range(len(decoder)) if len(answer["numbers"]) == answer["length"] else answer["numbers"]:
        frame = decoder.get_frame_at(number)
        first = frame.pts_seconds if first is None else first
        yield number, frame.pts_seconds - first, square(frame.data.numpy(), answer["info"], answer["size"])


def beside(reader, path, answer, ours, seen):
    """What the comparison with one reader finds."""
    import numpy

    position = {number: index for index, number in enumerate(answer["numbers"])}
    found, worst, others, late = 0, math.inf, 0, 0.0
    previous = None
    try:
        for number, time, theirs in reader(path, answer):
            found += 1
            if time is not None and number < len(answer["times"]):
                late = max(late, abs(time - answer["times"][number]))
            index = position.get(number)
            if theirs is None or index is None or unlike(answer):
                continue
            mine, theirs = seen(ours[index]), seen(theirs)
            error = ((mine - theirs) ** 2).mean()
            worst = min(worst, 10 * math.log10(255**2 / max(error, 1e-6)))
            if previous is not None and error > 1:
                before = ((mine - previous) ** 2).mean()
                after = ((seen(ours[index + 1]) - theirs) ** 2).mean() if index + 1 < len(ours) else math.inf
                others += bool(min(before, after) < error * 0.9)
            previous = theirs
    except Exception as error:  # Whatever a reader says of a file is a finding.
        failure = f"{type(error).__name__}: {error}".splitlines()[0][:60]
    else:
        failure = None
    return {"frames": found, "decibels": worst, "other_frames": others, "seconds_apart": late, "error": failure}


def whole(picture):
    return picture.astype("float32")


def luma(picture):
    return picture.astype("float32") @ (0.299, 0.587, 0.114)


def unlike(answer):
    """Whether pictures cannot be compared: others do not map a high dynamic range."""
    return bool(answer["info"]["high_dynamic_range"])


def verdict(answer, one):
    """In words: does another reader agree?"""
    if "error" in answer:
        return "refuses it too" if one["error"] else "opens it"
    if one["error"] and not one["frames"]:
        return f"refuses it ({one['error']})"
    expected = answer["length"]
    words = []
    if one["frames"] != expected and one["frames"] != len(answer["numbers"]):
        words.append(f"{one['frames']} frames")
    if one.get("other_frames"):
        words.append(f"{one['other_frames']} other frames")
    if one.get("seconds_apart", 0) > 0.002:
        words.append(f"times differ by up to {one['seconds_apart']:.3f} s")
    if one["error"]:
        words.append(f"then `{one['error']}`")
    if one["decibels"] < LEAST_DECIBELS:
        words.append(f"{one['decibels']:.1f} dB")
    if unlike(answer):
        return ", ".join(words) or "same number and times"
    return ", ".join(words) or f"same ({min(one['decibels'], 99):.0f} dB)"


def outcome(answer):
    if "error" in answer:
        return answer["error"]
    words = [f"{answer['length']} frames"]
    info = answer["info"]
    for key, text in (("missing", "missing"), ("damaged", "damaged"), ("deinterlaced", "deinterlaced")):
        if answer[key]:
            words.append(f"{answer[key]} {text}")
    if info["turned"]:
        words.append("turned")
    if info["high_dynamic_range"]:
        words.append(f"{info['high_dynamic_range']}, tone-mapped")
    if info["promised_frames"] > answer["length"]:
        words.append(f"{info['promised_frames']} promised")
    return ", ".join(words)


def main():
    if Path(sys.prefix).resolve() != readers.python().parent.parent.resolve():
        os.execv(readers.python(), [readers.python(), *sys.argv])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--decode", default=ROOT / "target" / "debug" / "examples" / "decode", type=Path)
    parser.add_argument("--frames", type=int, default=0, help="of each file, evenly spread; by default all")
    parser.add_argument("--markdown", type=Path, help="write a table of every file there")
    arguments = parser.parse_args()
    import av

    av.logging.set_level(None)
    fedact = Fedact(arguments.decode)
    lines, agree, total = [], 0, 0
    for folder in arguments.folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".csv", ".txt")):
            answer, _ = fedact.read(path, 1)
            many = answer.get("length", 0) > MANY
            answer, ours = fedact.read(path, SAMPLED if many else arguments.frames)
            verdicts = [
                verdict(answer, opens(reader, path) if ours is None else beside(reader, path, answer, ours, seen))
                for reader, seen in ((pyav, whole), (torchcodec, luma))
            ]
            total += 1
            agree += all(one.startswith(("same", "refuses it too")) for one in verdicts)
            lines.append(f"| `{path.relative_to(folder)}` | {outcome(answer)} | {' | '.join(verdicts)} |")
            if not all(one.startswith(("same", "refuses it too")) for one in verdicts) or len(lines) % 50 == 0:
                print(lines[-1], flush=True)
    print(f"{agree} of {total} files: the same frames at the same times in all three")
    if arguments.markdown:
        table = ["| file | fedact | PyAV | torchcodec |", "| --- | --- | --- | --- |", *lines]
        arguments.markdown.write_text("\n".join(table) + "\n")


def opens(reader, path):
    """Whether a reader gives a frame of a file that fedact refuses."""
    answer = {"numbers": [0], "times": [0.0], "length": 1, "size": 8, "info": {"pixel_aspect": 1.0, "high_dynamic_range": None}}
    try:
        next(iter(reader(path, answer)))
    except (Exception, StopIteration) as error:
        return {"error": str(error) or "nothing"}
    return {"error": None}


if __name__ == "__main__":
    main()
