"""`fer serve` under load: start, requests a second and latency beside the bare model, memory.

python benchmarks/serve.py [--model plus] [--seconds 10] [--n 5] [--soak MINUTES] [--write]

The load is made by wrk (Debian's package), on the same cores as the service. With `--soak` good and
hostile clients are mixed for so many minutes instead, and the memory of the service is watched.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _report import add_write_option, print_header, publish
from PIL import Image

import fercli
from fercli.model_files import find_model, open_runtime

CLIENTS = (1, 8, 64)
LUA = """
wrk.method = "POST"
wrk.path = "/api/predict"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "image/jpeg"
function done(summary, latency, requests)
  io.write(string.format("DONE %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="plus")
    parser.add_argument("--seconds", type=int, default=10, help="of each load")
    parser.add_argument("--n", type=int, default=5, help="starts")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="mix good and hostile ones")
    add_write_option(parser)
    options = parser.parse_args()
    if options.soak:
        with publish("serve: good and hostile clients", write=options.write):
            print_header(f"`fer serve` with good and hostile clients for {options.soak:g} minutes")
            print(f"cores that may be used: {count_cores()}, by the clients, too")
            soak(options.model, options.soak * 60)
        return
    with publish("serve: load", write=options.write):
        print_header("`fer serve`: requests a second and latency beside the bare model")
        print(
            f"cores that may be used: {count_cores()}, by the clients, too; other work runs beside"
        )
        measure_starts(options.model, options.n)
        crop, photo = draw_crop(), draw_photo()
        measure_bare(options.model, crop, photo)
        with start(options.model) as served:
            for name, image in (("48x48 crop", crop), ("512x512 photo", photo)):
                for n_clients in CLIENTS:
                    print(f"{name}, {n_clients:2d} clients: "
                          f"{load(served.port, image, n_clients, options.seconds)}")  # fmt: skip
            print(f"memory of the service at the end: {served.read_mib():.0f} MiB")


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass
class Served:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    ready_s: float
    """From the start of the process to the first answer."""

    def read_mib(self) -> float:
        """Return the memory it holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def read_cpu_s(self) -> float:
        """Return the processor's time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def start(model: str) -> Iterator[Served]:
    """Start a service; it is stopped at the end of the block."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "fercli", "serve", "--port", "0", "--model", model]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    lines = iter(process.stderr or ())
    port = next(int(found[1]) for line in lines if (found := re.search(r"\.1:(\d+)/", line)))
    status, _ = ask(port, "GET", "/healthz")
    if status != 200:
        sys.exit(f"no answer: {status}")
    try:
        yield Served(process, port, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        if process.returncode != 128 + signal.SIGTERM:
            sys.exit(f"it ended with {process.returncode}: {errors}")


def ask(
    port: int, method: str, path: str, body: bytes | None = None, kind: str = "image/jpeg"
) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()


def draw_photo() -> bytes:
    """Return a photo of a face as a JPEG."""
    from skimage import data

    return encode(data.astronaut())


def draw_crop() -> bytes:
    """Return a face crop as a JPEG."""
    from skimage import data

    face = Image.fromarray(data.astronaut()).convert("L").crop((170, 60, 280, 170))
    return encode(np.asarray(face.resize((48, 48))))


def encode(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """Return pixels as a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def measure_starts(model: str, n: int) -> None:
    """Print the time from the start of a process to its first answer."""
    times, cpu = [], []
    for _ in range(n + 1):
        with start(model) as served:
            times.append(served.ready_s)
            cpu.append(served.read_cpu_s())
    times, cpu = times[1:], cpu[1:]
    print(f"start to first answer: median {statistics.median(times):.2f} s, "
          f"worst {max(times):.2f} s, n = {n}; "
          f"of the processor's time {statistics.median(cpu):.2f} s")  # fmt: skip


def measure_bare(model: str, crop: bytes, photo: bytes) -> None:
    """Print what the same work takes without HTTP, on one thread."""
    runtime = open_runtime(find_model(model), n_threads=1)
    gray = np.asarray(Image.open(io.BytesIO(crop)))
    for size in (1, 64):
        images = np.stack([gray] * size)
        print(f"bare session.run, {size} crops a call: "
              f"{repeat(lambda: runtime.predict(images), size)}")  # fmt: skip  # noqa: B023
    loaded = fercli.load(model)
    for name, image in (("48x48 crop", crop), ("512x512 photo", photo)):
        print(f"Model.predict of the {name}'s bytes: "
              f"{repeat(lambda: loaded.predict(image), 1)}")  # fmt: skip  # noqa: B023


def repeat(call: Callable[[], object], n_images: int, seconds: float = 3) -> str:
    """Return how often something can be done in a second, and how long it takes."""
    call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    p50, p99 = (1000 * float(np.percentile(times, at)) for at in (50, 99))
    rate = n_images * len(times) / sum(times)
    return f"{rate:,.0f} images/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, n = {len(times)} calls"


def load(port: int, image: bytes, n_clients: int, seconds: int) -> str:
    """Return what a load came to."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "post.lua")
        body.write_bytes(image)
        script.write_text(LUA.format(body=body), encoding="utf-8")
        command = ["wrk", "-t", "1", "-c", str(n_clients), "-d", f"{seconds}s", "--timeout", "60s"]
        done = subprocess.run(
            [*command, "-s", str(script), f"http://127.0.0.1:{port}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    said = next(line for line in done.stdout.splitlines() if line.startswith("DONE"))
    n, duration_us, p50, p99, n_refused, n_failed = map(int, said.split()[1:])
    return (f"{1e6 * n / duration_us:,.0f} requests/s, p50 {p50 / 1000:.1f} ms, "
            f"p99 {p99 / 1000:.1f} ms, n = {n:,}, {n_refused} refused, "
            f"{n_failed} failed")  # fmt: skip


@dataclass
class Tally:
    """What became of the requests of all clients."""

    good: Counter[int] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    wrong: list[str] = field(default_factory=list)


def soak(model: str, seconds: float) -> None:
    """Let good and hostile clients in for a while; print memory and what became of them."""
    crop, photo = draw_crop(), draw_photo()
    tally, is_over = Tally(), threading.Event()
    with start(model) as served:
        port = served.port
        hostile = list_hostile(port, crop)
        threads = [
            threading.Thread(target=be_good, args=(port, (crop, photo), tally, is_over))
            for _ in range(4)
        ]
        threads += [
            threading.Thread(target=be_hostile, args=(hostile, number, tally, is_over))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        memory, started = [], time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            time.sleep(min(5.0, seconds - passed))
            memory.append((time.perf_counter() - started, served.read_mib()))
        is_over.set()
        for thread in threads:
            thread.join()
        fd = Path(f"/proc/{served.process.pid}/fd")
        time.sleep(1)
        print(f"memory of the service, MiB: {describe_memory(memory)}")
        print(f"files open at the end: {len(list(fd.iterdir()))}, "
              f"threads: {len(list(fd.with_name('task').iterdir()))}")  # fmt: skip
    print(f"good requests: {sum(tally.good.values()):,}, answered 200: {tally.good[200]:,}, "
          f"told to come again and then answered: {tally.busy}, "
          f"wrong: {len(tally.wrong)}")  # fmt: skip
    for text in tally.wrong[:5]:
        print(f"  {text}")
    print("hostile requests, and what they got:")
    for name, count in sorted(tally.hostile.items()):
        print(f"  {name}: {count:,}")


def describe_memory(memory: list[tuple[float, float]]) -> str:
    """Return the memory after a minute, in the middle and at the end; medians of a tenth."""
    last = memory[-1][0]
    settled = [value for at, value in memory if at >= min(60, last / 4)]
    tenth = max(1, len(settled) // 10)
    middle = len(settled) // 2
    parts = settled[:tenth], settled[middle : middle + tenth], settled[-tenth:]
    first, half, end = (statistics.median(part) for part in parts)
    return (
        f"{first:.1f} after a minute, {half:.1f} halfway, {end:.1f} at the end, "
        f"most {max(settled):.1f}"
    )


def be_good(port: int, images: tuple[bytes, ...], tally: Tally, is_over: threading.Event) -> None:
    """Ask for images of faces until it is over; each must have its happy face."""
    for image in itertools.cycle(images):
        if is_over.is_set():
            return
        try:
            status, body = ask(port, "POST", "/api/predict", image)
            while status == 503:
                tally.busy += 1
                time.sleep(1)
                status, body = ask(port, "POST", "/api/predict", image)
            rows = json.loads(body)["data"]["rows"] if status == 200 else []
        except (OSError, ValueError, http.client.HTTPException) as reason:
            tally.wrong.append(repr(reason))
            continue
        tally.good[status] += 1
        if [row["label"] for row in rows] != ["happy"]:
            tally.wrong.append(f"{status} {body[:100]!r}")


def be_hostile(
    hostile: dict[str, Callable[[], object]], seed: int, tally: Tally, is_over: threading.Event
) -> None:
    """Do one nasty thing after another until it is over."""
    choose = random.Random(seed)  # noqa: S311  # no secret
    while not is_over.is_set():
        name = choose.choice(list(hostile))
        try:
            got = hostile[name]()
        except (OSError, http.client.HTTPException) as reason:
            got = type(reason).__name__
        tally.hostile[f"{name}: {got}"] += 1
        time.sleep(0.02)


def list_hostile(port: int, crop: bytes) -> dict[str, Callable[[], object]]:
    """Return what hostile clients do, each a function that returns what it got."""
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="%s"\r\n\r\n'
    form = "multipart/form-data; boundary=x"
    one = part % b"a" + crop + b"\r\n"

    def post(body: bytes, kind: str = "image/png", query: str = "") -> Callable[[], int]:
        return lambda: ask(port, "POST", f"/api/predict{query}", body, kind)[0]

    def send(content: bytes, *, waits: bool) -> Callable[[], str]:
        def call() -> str:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(content)
                if not waits:
                    return "went away"
                answer = connection.recv(65536)
                return answer.split(b" ")[1].decode() if answer else "closed"

        return call

    head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
    noise = random.Random(0).randbytes(200_000)  # noqa: S311  # no secret
    return {
        "a torn form": post(one, form),
        "10,000 fields": post(b"".join(part % str(n).encode() for n in range(10_000)), form),
        "another boundary": post(one + b"--x--\r\n", "multipart/form-data; boundary=y"),
        "noise as an image": post(noise),
        "noise as a form": post(noise, form),
        "a torn image": post(crop[: len(crop) // 2]),
        "a bomb that is refused": post(draw_bomb(13_000)),
        "a bomb within bounds": post(draw_bomb(5_000)),
        "a name with NUL": post(part % b"a\x00b" + crop + b"\r\n--x--\r\n", form),
        "33 images": post(33 * one + b"--x--\r\n", form),
        "40 MB": post(bytes(40_000_000)),
        "unknown words": post(crop, query="?" + 500 * "x=1&"),
        "no HTTP": send(b"\x16\x03\x01\x00\r\n\r\n", waits=True),
        "headers without end": send(b"GET / HTTP/1.1\r\n" + 3000 * b"a: bcdef\r\n", waits=True),
        "a body that stops": send(head + bytes(100), waits=True),
        "a client that goes away": send(head + bytes(100), waits=False),
        "another site": send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", waits=True),
    }


def draw_bomb(side: int) -> bytes:
    """Return a PNG of `side` times `side` black pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        size, check = len(content).to_bytes(4, "big"), zlib.crc32(checked).to_bytes(4, "big")
        return size + checked + check

    header = 2 * side.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(bytes((1 + side) * side), 1)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


if __name__ == "__main__":
    main()
