"""Time from the start of `fer predict URL` to its first row, of a live stream on this machine.

python benchmarks/live.py MODEL [--n 10] [--width 1280] [--height 720] [--write]

A server here sends JPEGs as a camera in a network does, 25 a second. The row is read from stdout.
When the capture is opened the server is asked, so that its clock tells the two parts of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from _report import add_write_option, print_header, publish
from PIL import Image

RATE = 25


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--n", type=int, default=10, help="processes")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    add_write_option(parser)
    options = parser.parse_args()
    with publish("live: the first row", write=options.write):
        print_header("from the start of `fer predict http://…/stream.mjpg` to its first row")
        print(f"cores that may be used: {len(os.sched_getaffinity(0))}; other work runs beside")
        server = serve(draw(options.width, options.height))
        runs = [time_first_row(server, options.model) for _ in range(options.n + 1)][1:]
        for name, at in (("process to first row", 0), ("request to first row", 1)):
            times = [run[at] for run in runs]
            print(f"{name}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s, "
                  f"n = {len(runs)}, frames of {options.width} x {options.height}")  # fmt: skip


def draw(width: int, height: int) -> bytes:
    """Return a frame with a face in it as a JPEG."""
    from skimage import data

    picture = Image.new("RGB", (width, height), (110, 120, 130))
    picture.paste(Image.fromarray(data.astronaut()).resize((height // 2, height // 2)), (40, 40))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    asked_s = 0.0


def serve(jpeg: bytes) -> _Server:
    """Return a server that sends the frame for ever, and notes when it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked_s = time.perf_counter()
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    time.sleep(1 / RATE)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def time_first_row(server: _Server, model: Path) -> tuple[float, float]:
    """Return seconds from the start, and from the server's being asked, to the first row."""
    url = f"http://127.0.0.1:{server.server_port}/stream.mjpg"
    command = [sys.executable, "-m", "fercli", "predict", url, "--model", str(model)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--format", "jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    line = process.stdout.readline() if process.stdout else b""
    ended = time.perf_counter()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    row: dict[str, Any] = json.loads(line or b"{}")
    if row.get("status") != "ok" or process.returncode != 128 + signal.SIGINT:
        sys.exit(f"{row} {process.returncode} {errors.decode()}")
    return ended - started, ended - server.asked_s


if __name__ == "__main__":
    main()
