"""Other readers of videos, for `extract.py` and `compare.py`: how each gives certain frames of a file.

Run as a program, it is a worker: it reads a job (one line of JSON) from standard input, says "ready" once its
reader is loaded, waits for a line, decodes, and says "done".
"""

import json
import sys
from pathlib import Path

from peers import environment

PEERS = [
    "av==18.1.0",
    "decord==0.6.0",
    "numpy==2.4.6",
    "opencv-python-headless==5.0.0.93",
    "torch==2.11.0",
    "torchcodec==0.11.1",
]


def python() -> Path:
    """A Python with the peers."""
    return environment("readers", PEERS, "--no-cache-dir") / "python"


def square(width, height, resize, size):
    """Size of the whole picture whose short side is `resize`, and where the square is cut out of it."""
    if width <= height:
        scaled = resize, round(height * resize / width)
    else:
        scaled = round(width * resize / height), resize
    left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    return scaled, (slice(top, top + size), slice(left, left + size))


def uniform(count, frames):
    """As numpy.linspace(0, frames - 1, count), rounded down."""
    return [number * (frames - 1) // (count - 1) for number in range(count)]


class OpenCv:
    def __init__(self):
        import cv2

        cv2.setNumThreads(1)
        self.cv2 = cv2

    def read(self, path, job):
        cv2 = self.cv2
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        wanted, squares = uniform(job["count"], job["frames"]), []
        for number in range(wanted[-1] + 1):
            if not capture.grab():
                break
            if number in wanted:
                picture = capture.retrieve()[1]
                scaled, cut = square(picture.shape[1], picture.shape[0], job["resize"], job["size"])
                small = cv2.resize(picture, scaled, interpolation=cv2.INTER_AREA)[cut]
                squares.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        return squares


class PyAv:
    def __init__(self):
        import av

        self.av = av

    def read(self, path, job):
        wanted, squares = set(uniform(job["count"], job["frames"])), []
        with self.av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    scaled, cut = square(frame.width, frame.height, job["resize"], job["size"])
                    small = frame.reformat(*scaled, format="rgb24", interpolation="BILINEAR")
                    squares.append(small.to_ndarray()[cut])
                    if len(squares) == len(wanted):
                        break
        return squares


class TorchCodec:
    def __init__(self):
        import cv2
        import torch
        import torchcodec.decoders

        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.cv2, self.open = cv2, torchcodec.decoders.VideoDecoder

    def read(self, path, job):
        decoder = self.open(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
        squares = []
        for picture in decoder.get_frames_at(uniform(job["count"], job["frames"])).data.numpy():
            scaled, cut = square(picture.shape[1], picture.shape[0], job["resize"], job["size"])
            squares.append(self.cv2.resize(picture, scaled, interpolation=self.cv2.INTER_AREA)[cut])
        return squares


class Decord:
    def __init__(self):
        import decord

        self.decord = decord

    def read(self, path, job):
        # It scales while it reads, so it must be told the size before it opens a file.
        scaled, cut = square(job["width"], job["height"], job["resize"], job["size"])
        reader = self.decord.VideoReader(str(path), width=scaled[0], height=scaled[1], num_threads=1)
        return list(reader.get_batch(uniform(job["count"], job["frames"])).asnumpy()[:, cut[0], cut[1]])


READERS = {"opencv": OpenCv, "torchcodec": TorchCodec, "decord": Decord, "pyav": PyAv}


def main():
    import numpy

    job = json.loads(sys.stdin.readline())
    reader = READERS[job["reader"]]()
    print("ready", flush=True)
    sys.stdin.readline()
    clips = [reader.read(path, job) for path in job["paths"]]
    if job.get("keep"):
        numpy.save(job["keep"], numpy.array(clips))
    print("done", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
