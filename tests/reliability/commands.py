"""The commands that write, each with what lies there before it and what is run after a fault.

A command runs in a forked process that has the heavy libraries already, so that hundreds of cases
cost what the command costs and no start of Python. This process itself must never have threads, so
it runs no model. Everything is in one place at every run: paths stand in what is written.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import http.server
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from specimens import Specimens, write_faces, write_specimens

from fercli.errors import FercliError, ModelFileError
from fercli.inference.seal import check_seal
from fercli.storage import load_tensors

__all__ = ["COMMANDS", "Command", "Ended", "Stage", "build_stage", "import_all", "start"]

_HEAVY: Final = (
    "numpy", "torch", "onnx", "onnxruntime", "onnxscript", "torch.onnx", "pandas", "scipy.stats",
    "sklearn.metrics", "matplotlib.figure", "matplotlib.backends.backend_agg", "jinja2",
    "pyarrow.parquet", "requests", "cv2", "PIL.Image", "rich.progress", "rich.table",
    "fercli.cli._app", "fercli.training", "fercli.export", "fercli.evaluation", "fercli.download",
    "fercli.data", "fercli.prediction", "fercli.networks", "fercli.run",
)  # fmt: skip
_ALLOW_ANY_TRACER: Final = 0x59616D61, ctypes.c_ulong(-1)
"""Of `prctl`: where Yama guards processes, strace may look at this one."""
STATUSES: Final = frozenset({0, 2, 3, 4, 5, 6, 7, 8})
"""What a command may end with by itself; 1 would be a bug."""


@dataclass(frozen=True)
class Command:
    """A command; its words have `{inputs}` and `{work}` where those folders are meant."""

    words: str
    older: str = ""
    """Writes the older good files that lie there before it; there are none where it is empty."""
    again: str = ""
    """What goes on after a fault; the same command where it is empty."""
    resumes: str = ""
    """`again` is meant only where this is there."""


_TRAIN: Final = (
    "train --data {inputs}/faces.safetensors --recipe fast --epochs 2 --batch-size 40 --device cpu "
    "--precision fp32 --set stem_width=4 --set widths=8 --set sizes_px=48 --set average=ema "
    "--output {work}/run"
)
_PREDICT: Final = "predict {inputs}/crops --model {inputs}/run/model.onnx --faces whole"
_OLDER: Final = "predict {inputs}/crops/face-1.png --model {inputs}/run/model.onnx --faces whole"
COMMANDS: Final[Mapping[str, Command]] = {
    "prepare": Command(
        "data prepare {inputs}/images.zip --output {work}/faces.safetensors --force",
        older="data prepare synthetic:100 --output {work}/faces.safetensors",
    ),
    "train": Command(_TRAIN, again="train --resume {work}/run", resumes="run/run.json"),
    "export": Command(
        "export {inputs}/run/model.safetensors --output {work}/model.onnx --force",
        older="export tiny --output {work}/model.onnx",
    ),
    "predict-jsonl": Command(
        f"{_PREDICT} --output {{work}}/rows.jsonl --force",
        older=f"{_OLDER} --output {{work}}/rows.jsonl",
    ),
    "predict-resumed": Command(
        f"{_PREDICT} --output {{work}}/rows.jsonl",
        again=f"{_PREDICT} --output {{work}}/rows.jsonl --resume",
    ),
    "predict-csv": Command(
        f"{_PREDICT} --output {{work}}/rows.csv --force",
        older=f"{_OLDER} --output {{work}}/rows.csv",
    ),
    "predict-parquet": Command(
        f"{_PREDICT} --output {{work}}/rows.parquet --force",
        older=f"{_OLDER} --output {{work}}/rows.parquet",
    ),
    "predict-shard": Command(
        f"{_PREDICT} --shard 0/2 --output {{work}}/parts --force",
        older=f"{_OLDER} --shard 0/2 --output {{work}}/parts",
        again=f"{_PREDICT} --shard 0/2 --output {{work}}/parts --resume --force",
        resumes="parts",
    ),
    "merge": Command(
        "merge {inputs}/parts-csv --output {work}/all.csv --force",
        older=f"{_OLDER} --output {{work}}/all.csv",
    ),
    "download": Command(
        "data download --source {url} --sha256 {digest} --output {work}/downloads --force",
        older="data prepare synthetic:100 --output {work}/home/fer2013.safetensors",
    ),
    "evaluate": Command(
        "evaluate {work}/run --data {inputs}/faces.safetensors --split public "
        "--output {work}/report --force",
        older="evaluate {work}/run --data {inputs}/faces.safetensors --split private "
        "--output {work}/report",
    ),
}  # fmt: skip
"""By name; `evaluate` has a run of its own, since it appends to its `scores.jsonl`."""


_NEEDING_NONE: Final = frozenset({"prepare", "download"})
"""Commands that need no model."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """Negative: the signal that killed it."""
    stderr: str

    @property
    def is_documented(self) -> bool:
        """Whether it ended as the documentation says, without a traceback."""
        return self.status in STATUSES and "Traceback" not in self.stderr


@dataclass
class Stage:
    """Where a command is run, again and again."""

    name: str
    folder: Path
    values: Mapping[str, str]
    reference: dict[str, str] = field(default_factory=dict)
    """Digests of the files that every undisturbed run leaves, byte for byte."""
    duration_s: float = 0.0
    """Of an undisturbed run."""

    @property
    def command(self) -> Command:
        return COMMANDS[self.name]

    @property
    def work(self) -> Path:
        """What the command writes to."""
        return self.folder / "work"

    @property
    def before(self) -> Path:
        """What `work` is at the beginning."""
        return self.folder / "before"

    @functools.cached_property
    def older(self) -> dict[str, str]:
        """Digests of what is there before."""
        return digest_files(self.before)

    def list_words(self, text: str) -> list[str]:
        return [word.format(work=self.work, **self.values) for word in text.split()]

    def reset(self) -> None:
        """Put back what was there before the command."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.before, self.work)

    def list_again(self) -> list[str]:
        """Return what goes on with what is there now."""
        command = self.command
        is_begun = (self.work / command.resumes).exists()
        return self.list_words(command.again if command.again and is_begun else command.words)

    def find_broken(self) -> list[str]:
        """Return what is wrong with the files that are there after a fault.

        A file that was there is still there byte for byte, or it is the new one; of a new one that
        differs from run to run, dates in it say, what can be read of it must be whole.
        """
        found = digest_files(self.work)
        lost = [f"{name} is gone" for name in self.older if name not in found]
        torn = [
            f"{name} is torn"
            for name, digest in found.items()
            if digest != self.older.get(name)
            and (
                digest != self.reference[name]
                if name in self.reference
                else not is_whole(self.work / name)
            )
        ]
        return lost + torn

    def find_differences(self) -> list[str]:
        """Return which files are not those of an undisturbed run."""
        found = digest_files(self.work)
        return [name for name, digest in self.reference.items() if found.get(name) != digest]


def digest_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of all files that have their names; temporary ones have others."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in {".tmp", ".partial", ".part", ".lock"}
        and not path.name.startswith(".")
    }  # fmt: skip


def is_whole(path: Path) -> bool:
    """Return whether a file is one that can be read to its end, as far as its kind tells."""
    content = path.read_bytes()
    try:
        match path.suffix:
            case ".json":
                json.loads(content)
            case ".jsonl":
                return all(json.loads(line) for line in content.splitlines())
            case ".safetensors":
                load_tensors(path, ModelFileError)
            case ".onnx":
                return check_seal(content, path) is not None
            case ".png":
                return content.endswith(b"IEND\xaeB\x60\x82")
            case ".html":
                return content.rstrip().endswith(b"</html>")
    except (ValueError, FercliError):
        return False
    return True


def import_all() -> None:
    """Import what the commands need, so that they begin at once."""
    for name in _HEAVY:
        importlib.import_module(name)
    gc.freeze()


def start(words: list[str], stderr: Path, *, before: Callable[[], object] = lambda: None) -> int:
    """Run a command in a forked process; return its number.

    Args:
        words: As on the command line.
        stderr: Where its messages go.
        before: Called in the new process first.
    """
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        # For the keyboard this process is not there.
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        said = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, target in ((null, 0), (null, 1), (said, 2)):
            os.dup2(descriptor, target)
        sys.argv = ["fer", *words]
        before()
        from fercli.cli import main

        main()
        status = 0
    except SystemExit as reason:
        status = reason.code if isinstance(reason.code, int) else int(reason.code is not None)
    except BaseException:  # noqa: BLE001  # what would be the interpreter's: a traceback, status 1
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


def wait(number: int, stderr: Path) -> Ended:
    """Wait for a command's end."""
    _, code = os.waitpid(number, 0)
    said = stderr.read_text(errors="replace") if stderr.exists() else ""
    return Ended(os.waitstatus_to_exitcode(code), said)


def run(words: list[str], stderr: Path, before: Callable[[], object] = lambda: None) -> Ended:
    """Run a command to its end."""
    return wait(start(words, stderr, before=before), stderr)


def let_trace() -> None:
    """Let strace look at this process."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(*_ALLOW_ANY_TRACER)


def _save_often() -> None:
    """Let trainings save after every epoch, so that faults hit saves."""
    from fercli.training import loop

    loop._SAVE_BETWEEN_S = 0  # type: ignore[misc]  # noqa: SLF001


def _keep_exports(folder: Path) -> None:
    """Let torch build the graph of the same weights once, in whichever process comes first.

    It takes ten times as long as the rest of a command; what is made of the graph is made anew.
    """
    import onnx
    import torch

    export = torch.onnx.export

    def export_once(module: Any, *arguments: Any, **options: Any) -> Any:
        tensors = [*module.named_parameters(), *module.named_buffers()]
        digest = hashlib.sha256(repr((module, options.get("optimize"))).encode())
        for name, tensor in tensors:
            digest.update(name.encode() + tensor.detach().numpy().tobytes())
        kept = folder / f"{digest.hexdigest()}.onnx"
        if not kept.exists():
            program = export(module, *arguments, **options)
            assert program is not None
            made = kept.with_suffix(".new")
            made.write_bytes(program.model_proto.SerializeToString())
            made.replace(kept)
        return SimpleNamespace(model_proto=onnx.load_from_string(kept.read_bytes()))

    torch.onnx.export = export_once  # type: ignore[assignment]


def _write_inputs(folder: Path, *, has_models: bool) -> None:
    """Write the specimens, and the archive that is prepared; in a process of its own."""
    specimens = write_specimens(folder) if has_models else write_faces(folder)
    root = folder / "archive"
    for number, path in enumerate(sorted(specimens.faces.iterdir())):
        for split, prefix in (("train", "Training"), ("test", "PublicTest")):
            target = root / split / ("angry", "happy")[number % 2] / f"{prefix}_{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.make_archive(str(folder / "images"), "zip", root)


@contextlib.contextmanager
def _serve(path: Path) -> Iterator[str]:
    """Serve a file from another process, and yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = path.read_bytes()
            first = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
            self.send_response(206 if first else 200)
            if first:
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content[first:])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        process = multiprocessing.get_context("fork").Process(target=server.serve_forever)
        process.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/fer2013.zip"
        finally:
            process.kill()
            process.join()


@contextlib.contextmanager
def build_stage(folder: Path, names: Iterable[str]) -> Iterator[Callable[[str], Stage]]:
    """Write the inputs of some commands; yield what puts one of them on its stage."""
    has_models = any(name not in _NEEDING_NONE for name in names)
    os.environ.update({"TERM": "dumb", "NO_COLOR": "1"})
    inputs, kept = folder / "inputs", folder / "graphs"
    kept.mkdir()
    _keep_exports(kept)
    _save_often()
    writer = multiprocessing.get_context("fork").Process(
        target=_write_inputs, args=(inputs,), kwargs={"has_models": has_models}
    )
    writer.start()
    writer.join()
    if writer.exitcode:
        message = "the inputs could not be written"
        raise RuntimeError(message)
    archive = inputs / "images.zip"
    with _serve(archive) as url:
        values = {
            "inputs": str(inputs), "url": url,
            "digest": hashlib.sha256(archive.read_bytes()).hexdigest(),
        }  # fmt: skip
        yield lambda name: _set(Stage(name, folder / name, values), Specimens(inputs))


def _set(stage: Stage, specimens: Specimens) -> Stage:
    """Write what lies there before the command, then what two undisturbed runs agree on."""
    stage.before.mkdir(parents=True)
    # `data download` prepares what it got in the home; no other command writes there.
    home = stage.work if stage.name == "download" else stage.folder
    os.environ["FERCLI_HOME"] = str(home / "home")
    stderr = stage.folder / "stderr"
    if stage.name == "evaluate":
        shutil.copytree(specimens.run.path, stage.before / "run")
    if stage.command.older:
        stage.reset()
        ended = run(stage.list_words(stage.command.older), stderr)
        if ended.status:
            raise RuntimeError(ended.stderr)
        shutil.rmtree(stage.before)
        stage.work.rename(stage.before)
    found: list[dict[str, str]] = []
    for _ in range(2):
        stage.reset()
        began = os.times().elapsed
        ended = run(stage.list_words(stage.command.words), stderr)
        stage.duration_s = os.times().elapsed - began
        if ended.status:
            raise RuntimeError(ended.stderr)
        found.append(digest_files(stage.work))
    first, second = found
    stage.reference = {name: first[name] for name in first if second.get(name) == first[name]}
    return stage


def kill(number: int) -> None:
    """End a process without a word to it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
