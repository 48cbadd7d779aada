"""A first look at an ONNX file that holds no digest of fercli's: in a child, with limits.

onnxruntime folds constants while it loads a file and runs whatever graph is in it: a few hundred
bytes can ask for terabytes or loop for ever, and it cannot be interrupted from Python. So the bytes
are first loaded and run twice, on zeros and on noise, by a process that may be killed. What it lets
pass is opened here, from the same bytes. Weights in other files are refused, since a link or a path
in a model would have any file of the user's read; so is onnxruntime's own format, which has them,
too. Where the system has no limits on memory that hold (Windows, macOS), time alone is limited.

Run as a module it is the child: the file on stdin, `{"fault": ...}` on stdout.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from fercli.dependencies import import_onnxruntime
from fercli.errors import ModelFileError, SetupError

__all__ = ["CPU_S", "WALL_S", "find_fault", "limit_memory", "load_errors", "look_at", "read_answer"]

CPU_S: Final = 20
"""Seconds of computing that a look may take."""
WALL_S: Final = 120
"""Seconds that it may take by the clock: a crowded machine gives it a sixth of a core or more."""
_BASE_BYTES: Final = 2**30
"""Address space of Python, the libraries and what a network computes on three images; fercli's own
take 0.2 GB."""
_PER_BYTE: Final = 6
"""Copies of a file that loading makes: the file, its parsed form twice, weights as kernels want
them, and room for a transposed one."""
_ORT_MAGIC: Final = b"ORTM"
"""At bytes 4 to 8 of onnxruntime's own format."""
_EXTERNAL: Final = 1
"""`TensorProto.EXTERNAL`."""
_TYPES: Final = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}  # fmt: skip
"""Inputs that an image could be, as NumPy calls them."""
_passed: Final[set[bytes]] = set()
"""Digests of what was looked at in this process: one command opens a file several times."""


def look_at(content: bytes, path: Path) -> None:
    """Let a child load an ONNX file and run it, before this process does.

    Args:
        content: The file.
        path: Its name, for errors.

    Raises:
        ModelFileError: It does not load, cannot be run, takes too much time or memory, kills the
            process that loads it, or keeps weights in another file.
        SetupError: No child can be started.
    """
    digest = hashlib.sha256(content).digest()
    if digest in _passed:
        return
    fault = _ask_child(content)
    if fault is not None:
        message = f"{path} {fault}"
        raise ModelFileError(message, hint="export one with `fer export --onnx`")
    _passed.add(digest)


def limit_memory(size_bytes: int) -> int:
    """Return how many bytes of address space a look at a file of a size may take."""
    return _BASE_BYTES + _PER_BYTE * size_bytes


def find_fault(content: bytes) -> str | None:
    """Return why an ONNX file cannot be used, after its name, or None; loads and runs it here."""
    if content[4:8] == _ORT_MAGIC:
        return "is in onnxruntime's own format, which is not read"
    if b"location" in content and _has_external_data(content):
        return "keeps its weights in another file, which is not read"
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except load_errors() as reason:
        return _word("is not a model that onnxruntime can load", reason)
    try:
        for feeds in _build_feeds(session):
            session.run(None, feeds)
    except load_errors() as reason:
        return _word("cannot be run", reason)
    return None


def load_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises for a bad model; its own classes share no useful parent."""
    state = import_onnxruntime("capi.onnxruntime_pybind11_state")
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    own = [getattr(state, name) for name in (*names, "NotImplemented", "RuntimeException")]
    return (*own, RuntimeError, ValueError, MemoryError)


def _word(fault: str, reason: Exception) -> str:
    text = " ".join(str(reason).split())
    if isinstance(reason, MemoryError) or "alloc" in text:
        return "takes more memory than a model of its size should"
    return f"{fault} ({text[:200]})"


def _build_feeds(session: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # untyped library
    """Return zeros and noise for a model that takes images; nothing for others, which nobody runs.

    Their number and all else that is open is 3 and 1.
    """
    shapes = {}
    for one in session.get_inputs():
        if one.type not in _TYPES or not all(isinstance(side, int) for side in one.shape[1:]):
            return []
        first = [side if isinstance(side, int) else 3 for side in one.shape[:1]]
        shapes[one.name] = ([*first, *one.shape[1:]], _TYPES[one.type])
    generator = np.random.default_rng(0)
    noise = {
        name: (255 * generator.random(shape, dtype=np.float32)).astype(kind)
        for name, (shape, kind) in shapes.items()
    }
    return [{name: np.zeros_like(array) for name, array in noise.items()}, noise]


def _has_external_data(content: bytes) -> bool:
    """Tell whether any tensor of a model lies in another file, in whatever part of it."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships none
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        # onnxruntime will say so.
        return False
    waiting: list[Any] = [model]
    while waiting:
        message = waiting.pop()
        if message.DESCRIPTOR.name == "TensorProto" and (
            message.data_location == _EXTERNAL or message.external_data
        ):
            return True
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += value if field.is_repeated else [value]
    return False


def _ask_child(content: bytes) -> str | None:
    """Return what a child finds wrong with a file."""
    # Not the working folder: nothing there is imported, and no file of it is found by name.
    roots = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots))}
    with tempfile.TemporaryDirectory(prefix="fercli-") as folder:
        try:
            done = subprocess.run(  # noqa: S603  # this very Python, a module of ours
                [sys.executable, "-P", "-m", "fercli.inference.first_look", str(CPU_S)],
                input=content,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env=environment,
                timeout=WALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"did not answer within {WALL_S} s"
        except OSError as reason:
            message = f"no process can be started to check a model ({reason.strerror})"
            raise SetupError(message) from reason
    return read_answer(done.returncode, done.stdout)


def read_answer(status: int, said: bytes) -> str | None:
    """Return what a child found wrong with a file.

    Args:
        status: How it ended, as `subprocess` has it.
        said: Its stdout.
    """
    try:
        fault = json.loads(said)["fault"]
    except (ValueError, TypeError, KeyError):
        if status == -getattr(signal, "SIGXCPU", 0):
            return f"computes for more than {CPU_S} s without an answer"
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"crashes the process that loads it ({name})"
    return None if fault is None else str(fault)


def _limit(size_bytes: int, cpu_s: int) -> None:
    """Bound what this process may take, as far as the system can."""
    if sys.platform == "win32":
        return
    import resource

    bounds = {
        resource.RLIMIT_AS: limit_memory(size_bytes),
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)  # noqa: PLW2901  # narrowed
        resource.setrlimit(kind, (bound, hard))


def main() -> None:
    """Be the child."""
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    content = sys.stdin.buffer.read()
    _limit(len(content), int(sys.argv[1]))
    try:
        fault = find_fault(content)
    except MemoryError as reason:
        fault = _word("", reason)
    os.write(answer, json.dumps({"fault": fault}).encode())
    # Not by way of the library's own end, which may need memory, too.
    os._exit(0)


if __name__ == "__main__":
    main()
