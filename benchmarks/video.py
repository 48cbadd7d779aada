"""How fast `fer predict` goes through a video, beside decoding alone, and what memory it takes.

The videos are made here: scikit-image's astronaut, whose face moves over a picture, VP8.

python benchmarks/video.py [--model MODEL] [--seconds 20] [--write]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from _report import add_write_option, measure, print_header, publish

from fercli.config import PredictConfig
from fercli.images import sample_frames
from fercli.model_files import find_model, open_runtime
from fercli.prediction import predict_files

_SIZES = {"480p": (854, 480), "1080p": (1920, 1080)}
_RATE = 25
_MEMORY = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "fercli", "predict", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def main() -> None:
    """Make the videos, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="plus")
    parser.add_argument("--seconds", type=int, default=20, help="of video")
    add_write_option(parser)
    options = parser.parse_args()
    runtime = open_runtime(find_model(options.model, prefer_onnx=True), n_threads=1)
    with publish("video", write=options.write), tempfile.TemporaryDirectory() as folder:
        print_header(f"{options.seconds} s of video at {_RATE} frames/s, faces by haar")
        for name, size in _SIZES.items():
            path = make_clip(Path(folder) / f"{name}.webm", size, options.seconds)
            n_frames = options.seconds * _RATE
            with measure() as decoding:
                for _ in sample_frames(path, every_s=0, start_s=0, end_s=None, max_pixels=10**8):
                    pass
            print(f"{name}: decoding alone {n_frames / decoding.wall_s:,.0f} frames/s, {decoding}")
            for every_s, what in ((0.0, "every frame"), (0.2, "5 a second")):
                config = PredictConfig(every_s=every_s, faces="haar")
                with measure() as spent:
                    rows = list(predict_files(runtime, [path], config, parallel=True))
                print(
                    f"  {what}: {len(rows) / spent.wall_s:,.1f} sampled frames/s, "
                    f"{options.seconds / spent.wall_s:,.1f} times as fast as it is shown, {spent}"
                )
        for seconds in (60, 600):
            path = make_clip(Path(folder) / "long.webm", _SIZES["480p"], seconds)
            print(f"peak memory, {seconds} s of 480p, 1 a second: {read_peak(path, options.model)}")


def make_clip(path: Path, size: tuple[int, int], seconds: int) -> Path:
    """Write a video whose face moves."""
    from skimage import data

    side = size[1] // 2
    face = cv2.resize(data.astronaut()[:300, 100:400, ::-1], (side, side))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), _RATE, size)
    for number in range(seconds * _RATE):
        frame = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
        left = number * 4 % (size[0] - side)
        frame[side // 2 : side // 2 + side, left : left + side] = face
        writer.write(frame)
    writer.release()
    return path


def read_peak(path: Path, model: str) -> str:
    """Return the peak memory of the command."""
    words = [
        str(path),
        "--model",
        model,
        "--every",
        "1",
        "--output",
        f"{path}.csv",
        "--force",
        "-q",
    ]
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, *words], capture_output=True, text=True, check=True
    )
    return f"{done.stdout.split()[-1]} MiB"


if __name__ == "__main__":
    main()
