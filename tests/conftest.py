"""Fixtures: small synthetic datasets, a trained run made once, the command line under test."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import fercli
from fercli.cli import app
from fercli.data import (
    Dataset,
    build_dataset,
    build_synthetic,
    render_synthetic_faces,
    save_dataset,
)
from fercli.emotions import LABELS
from fercli.errors import RunInterruptedError
from fercli.runs import RunFolder
from fercli.settings import build_config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig
    from fercli.serve import Listener, ServedModels

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[str]]

TINY = {
    "recipe": "fast",
    "stem_width": 4,
    "widths": (8, 16),
    "epochs": 2,
    "batch_size": 40,
    "sizes_px": (48,),
    "device": "cpu",
    "precision": "fp32",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `tests/contract/test_surface.py` looks at."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep a user's settings, data and runs, and the bundled models, out of every test."""
    for name in ("FERCLI_DEVICE", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FERCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("fercli.model_files._ASSETS", tmp_path / "no-assets")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Make sums come out in one order, whatever machine this is."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _made_once() -> Iterator[None]:
    """Draw the same faces once, and let torch export the same network once: seconds each time."""
    import onnx
    import torch

    drawn: dict[bytes, NDArray[np.uint8]] = {}
    exported: dict[bytes, bytes] = {}
    export = torch.onnx.export

    def render(labels: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        key = pickle.dumps((labels.tobytes(), generator.bit_generator.state))
        if key not in drawn:
            drawn[key] = render_synthetic_faces(labels, generator)
        return drawn[key]

    def export_once(module: Any, *arguments: Any, optimize: bool, **options: Any) -> Any:
        # All that the graph depends on; what else is passed is the same in every call.
        tensors = [*module.named_parameters(), *module.named_buffers()]
        weights = [(name, tensor.detach().numpy().tobytes()) for name, tensor in tensors]
        key = pickle.dumps((repr(module), module.temperature, weights, optimize))
        if key not in exported:
            program = export(module, *arguments, optimize=optimize, **options)
            assert program is not None
            exported[key] = program.model_proto.SerializeToString()
        return SimpleNamespace(model_proto=onnx.load_from_string(exported[key]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fercli.data.synthetic.render_synthetic_faces", render)
        patch.setattr(torch.onnx, "export", export_once)
        yield


@pytest.fixture
def weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training leave out `model.onnx` and `curves.png`, which take longer than it does.

    As on a machine without the libraries for them: each becomes a warning.
    """
    for library in ("onnxscript", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, library, None)


@pytest.fixture
def run() -> Run:
    """Call the command line; a bug fails the test with its own traceback."""

    def call(*words: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(
            app, [str(word) for word in words], input=stdin, catch_exceptions=False
        )

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., dict[str, Any]]:
    """Call a command with --json and return its one object."""

    def call(*words: object, status: int = 0) -> dict[str, Any]:
        result = run(*words, "--json")
        assert result.exit_code == status, result.output
        (line,) = result.stdout.splitlines()
        envelope: dict[str, Any] = json.loads(line)
        assert envelope["exit_code"] == status
        return envelope

    return call


@pytest.fixture(scope="session")
def start() -> Start:
    """Start the command line in a process of its own, in the current folder."""

    def call(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "fercli", *map(str, words)],
            # One thread: sums come out in one order, and tests share the cores.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


@pytest.fixture(scope="session")
def faces() -> Dataset:
    """600 synthetic faces: 480 train, 60 public, 60 private."""
    return build_synthetic(600)


@pytest.fixture(scope="session")
def few_faces() -> Dataset:
    """120 synthetic faces, 96 of them train: for trainings whose scores nobody reads."""
    return build_synthetic(120)


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """A network of a few thousand parameters, two epochs."""
    return build_config(TINY)


@pytest.fixture(scope="session")
def dataset_path(faces: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The faces, prepared."""
    path = tmp_path_factory.mktemp("data") / "faces.safetensors"
    save_dataset(path, faces)
    return path


@pytest.fixture(scope="session")
def trained(
    dataset_path: Path, tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A finished run, made once; tests must not change it."""
    from fercli.data import open_dataset
    from fercli.training import train

    run_folder = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    train(open_dataset(dataset_path), tiny_config, run_folder, data=str(dataset_path))
    return run_folder


@pytest.fixture
def train_in_pieces() -> Callable[..., list[RunInterruptedError]]:
    """Train with a rule for stopping, resumed until it is finished; return the stops.

    A rule that never lets it end fails the test instead of going on for ever.
    """
    from fercli.training import Callbacks, resume, train

    def call(
        faces: Dataset, config: TrainConfig, run: RunFolder, should_stop: Callable[[], int]
    ) -> list[RunInterruptedError]:
        stops: list[RunInterruptedError] = []
        callbacks = Callbacks(should_stop=should_stop)
        while len(stops) < 200:
            try:
                if run.record.exists():
                    resume(faces, run, callbacks=callbacks)
                else:
                    train(faces, config, run, callbacks=callbacks)
            except RunInterruptedError as reason:
                stops.append(reason)
            else:
                return stops
        pytest.fail("200 pieces did not finish the training")

    return call


@pytest.fixture(scope="session")
def messy(faces: Dataset) -> Dataset:
    """Picture 1 thrice in train and once in public, 2 in train and private with two labels.

    Equal numbers are equal images, 0 is a constant one.
    """
    pictures = [1, 1, 1, 2, 3, 0, 1, 4, 2, 5]
    images = faces.images[pictures]
    images[pictures.index(0)] = 7
    arrays: dict[str, NDArray[Any]] = {
        "images": images,
        "labels": np.array([3, 3, 3, 4, 0, 6, 3, 1, 5, 2], dtype=np.uint8),
        "splits": np.array([0] * 6 + [1] * 2 + [2] * 2, dtype=np.uint8),
        "source_row": np.arange(10, dtype=np.int32),
    }
    names = ("train", "public", "private")
    return build_dataset(arrays, label_names=LABELS, split_names=names, source="built")


@pytest.fixture
def face_files(faces: Dataset, tmp_path: Path) -> Path:
    """A folder of five face files."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(faces.images[number]).save(folder / f"face-{number}.png")
    return folder


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An astronaut, 512 x 512 in color: a face that may be used, which scikit-image brings."""
    from skimage import data

    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def make_clip(photo: Path) -> Callable[..., Path]:
    """Write a video of ten frames a second; each letter is a frame.

    `f` has the astronaut's face on the left, `r` on the right, `b` has both, `-` has none.
    """
    import cv2
    import numpy as np

    rgb = np.asarray(Image.open(photo).resize((240, 240)))
    face = np.ascontiguousarray(rgb[:, 40:200, ::-1])

    def make(path: Path, letters: str, codec: str = "VP80") -> Path:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (400, 240))
        for letter in letters:
            frame = np.zeros((240, 400, 3), dtype=np.uint8)
            if letter in "fb":
                frame[:, :160] = face
            if letter in "rb":
                frame[:, 240:] = face
            writer.write(frame)
        writer.release()
        return path

    return make


@pytest.fixture(scope="session")
def yunet_weights(pytestconfig: pytest.Config) -> Path:
    """Weights of YuNet, where the machine has them."""
    path = os.environ.get("FERCLI_YUNET")
    if not path:
        pytest.skip("FERCLI_YUNET is unset")
    return pytestconfig.rootpath / path


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Serve some contents by path, and return the address."""
    servers: list[ThreadingHTTPServer] = []

    def start_server(contents: dict[str, bytes]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = contents.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start_server
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def jpegs(photo: Path) -> dict[str, bytes]:
    """Frames as `make_clip` has them, by letter, as JPEGs."""
    import cv2
    import numpy as np

    rgb = np.asarray(Image.open(photo).resize((240, 240)))
    frame = np.zeros((2, 240, 400, 3), dtype=np.uint8)
    frame[0, :, :160] = rgb[:, 40:200, ::-1]
    return {letter: cv2.imencode(".jpg", frame[at])[1].tobytes() for at, letter in enumerate("f-")}


@pytest.fixture
def stream(jpegs: dict[str, bytes]) -> Iterator[Callable[..., str]]:
    """Serve a live stream of JPEGs, as cameras in networks do, and return its address.

    Each letter is a frame as in `make_clip`, and `.` is none; the stream ends after the last,
    unless it goes on for ever.
    """
    servers: list[ThreadingHTTPServer] = []

    def start_server(letters: str, *, rate: float = 25, for_ever: bool = False) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for letter in itertools.cycle(letters) if for_ever else letters:
                        self.wfile.write(wrap_part(jpegs[letter]) if letter in jpegs else b"")
                        time.sleep(1 / rate)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/stream.mjpg"

    yield start_server
    for server in servers:
        server.shutdown()
        server.server_close()


def wrap_part(content: bytes) -> bytes:
    """Return a JPEG as one part of a stream."""
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def write_table(
    path: Path,
    rows: list[tuple[object, object, str]],
    *,
    header: str = "emotion,pixels,Usage",
    newline: str = "\n",
) -> Path:
    """Write a table in FER2013's layout."""
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_bytes((newline.join(lines) + newline).encode())
    return path


@pytest.fixture
def make_table() -> Callable[..., Path]:
    """Write a table in FER2013's layout."""
    return write_table


@pytest.fixture
def make_external() -> Callable[..., NDArray[np.float32]]:
    """Write an ONNX classifier that fercli did not export."""
    return write_external


def write_external(
    path: Path, shape: list[Any], n_outputs: int, *, softmax: bool = False
) -> NDArray[np.float32]:
    """Write a linear classifier as somebody else would export it, and return its weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size = int(np.prod(shape[1:]))
    weights = np.random.default_rng(0).normal(0, 0.05, (size, n_outputs)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["input_1"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["answers"], axis=1))
    output = "answers" if softmax else "logits"
    graph = helper.make_graph(
        nodes,
        "external",
        [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], n_outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return weights


VOTES_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
USAGES = {"train": "Training", "public": "PublicTest", "private": "PrivateTest"}


def write_votes(path: Path, dataset: Dataset, rows: dict[int, list[int]]) -> Path:
    """Everybody votes as FER2013's label says, but where `rows` says otherwise."""
    columns = VOTES_HEADER.split(",")[2:]
    words = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
    lines = [VOTES_HEADER]
    for row in range(dataset.n_images):
        label = dataset.label_names[dataset.labels[row]]
        votes = rows.get(row) or [10 * (words.get(label, label) == name) for name in columns]
        split = USAGES[dataset.split_names[dataset.splits[row]]]
        lines.append(f"{split},fer{row:07}.png,{','.join(map(str, votes))}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def make_votes() -> Callable[..., Path]:
    """Write the table of FER+'s votes for a dataset."""
    return write_votes


@pytest.fixture
def make_constant() -> Callable[..., None]:
    """Write an ONNX classifier that answers without looking."""
    return write_constant


def write_constant(path: Path, rows: NDArray[np.float32], *, per_image: bool = True) -> None:
    """Write a classifier that always answers the same, once for each image or once in all."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["means", "means"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "last"], ["column"]),
        helper.make_node("Add", ["column", "rows"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["once"], axes=[0], keepdims=1),
    ]
    output = "each" if per_image else "once"
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 48, 48])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, rows.shape[1]])],
        [numpy_helper.from_array(rows, "rows"), numpy_helper.from_array(np.array([1]), "last")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


def to_pixels(image: NDArray[np.uint8]) -> str:
    """Return an image as a table's field."""
    return " ".join(map(str, image.reshape(-1).tolist()))


@pytest.fixture
def table_rows(faces: Dataset) -> list[tuple[int, str, str]]:
    """Ten rows: six train, two public, two private."""
    usages = ["Training"] * 6 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    return [
        (int(faces.labels[row]), to_pixels(faces.images[row]), usage)
        for row, usage in enumerate(usages)
    ]


@pytest.fixture
def image_folder(faces: Dataset, tmp_path: Path) -> Path:
    """The Kaggle layout: train/<emotion>/, test/<emotion>/ with prefixes; lossless PNG."""
    root = tmp_path / "archive"
    names = (
        [("train", "Training")] * 6 + [("test", "PublicTest")] * 2 + [("test", "PrivateTest")] * 2
    )
    for row, (split, prefix) in enumerate(names):
        folder = root / split / LABELS[faces.labels[row]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[row]).save(folder / f"{prefix}_{row:05}.png")
    return root


@pytest.fixture(scope="session")
def real_table(pytestconfig: pytest.Config) -> Path:
    """The real fer2013.csv(.gz), where the machine has it; tests run in folders of their own."""
    path = os.environ.get("FERCLI_FER2013")
    if not path:
        pytest.skip("FERCLI_FER2013 is unset")
    return pytestconfig.rootpath / path


@dataclass
class Served:
    """A service that runs in a thread of the tests, and one way to talk to it."""

    listener: Listener
    models: ServedModels
    stop: Callable[[], None]
    """Sends it a signal and waits for its end."""

    @property
    def port(self) -> int:
        return self.listener.config.port

    def connect(self) -> socket.socket:
        return socket.create_connection((self.listener.address, self.port), timeout=30)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Return the status, the headers and what the JSON of the body holds."""
        connection = http.client.HTTPConnection(self.listener.address, self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
            fields = {name.lower(): text for name, text in answer.getheaders()}
        is_json = fields.get("content-type") == "application/json" and content
        return answer.status, fields, json.loads(content) if is_json else content

    def predict(
        self, image: bytes, query: str = "", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        headers = {"Content-Type": "application/octet-stream", **headers}
        return self.ask("POST", f"/api/predict{query}", image, headers)


@pytest.fixture
def actors_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process do what the actors of a Ray cluster do; Ray need not be installed."""
    from fercli import ray_engine

    class Here(ray_engine.Cluster):
        def _run(self, blocks: Sequence[ray_engine.Block]) -> Iterator[ray_engine.Answer]:  # type: ignore[override]  # closed as well
            actor = ray_engine.Actor(self._job, None)
            yield from map(actor.answer, blocks)

    @contextlib.contextmanager
    def open_cluster(job: ray_engine.RayJob, *_: object) -> Iterator[ray_engine.Cluster]:
        yield Here(job, None, 1, {})

    for place in (ray_engine, ray_engine.cluster):
        monkeypatch.setattr(place, "open_cluster", open_cluster)
    for module in ("fercli.cli._predict_engine", "fercli.model.models"):
        monkeypatch.setattr(f"{module}.check_installed", lambda *_a, **_b: None)


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bundled models be there, which tests have to do without otherwise."""
    assets = Path(fercli.__file__).parent / "assets"
    monkeypatch.setattr("fercli.model_files._ASSETS", assets)


@pytest.fixture
def open_service(
    bundled: None,  # noqa: ARG001  # asked for what it does
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Served]]:
    """Start services with the bundled models, on free ports; they end with the test."""
    from fercli.config import ServeConfig
    from fercli.serve import ServedModels, listen, serve

    stopping = threading.Event()

    @contextlib.contextmanager
    def catch() -> Iterator[Callable[[], int]]:
        yield lambda: 15 * stopping.is_set()

    monkeypatch.setattr("fercli.serve.server.catch_signals", catch)
    with contextlib.ExitStack() as stack:

        def start(model: str = "tiny", prepare: Any = None, **options: Any) -> Served:
            listener = stack.enter_context(listen(ServeConfig(**{"port": 0, **options})))
            models = ServedModels(model)
            if prepare:
                prepare(models)
            ready = threading.Event()
            thread = threading.Thread(
                target=serve, args=(listener, models), kwargs={"on_ready": ready.set}
            )
            thread.start()

            def stop() -> None:
                stopping.set()
                thread.join()

            stack.callback(stop)
            assert ready.wait(30)
            return Served(listener, models, stop)

        yield start


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C be typed as soon as a service answers."""

    @contextlib.contextmanager
    def catch() -> Iterator[Callable[[], int]]:
        yield lambda: 2

    monkeypatch.setattr("fercli.serve.server.catch_signals", catch)


@pytest.fixture(scope="session")
def crop(faces: Dataset) -> bytes:
    """A face crop as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(faces.images[0]).save(stream, "PNG")
    return stream.getvalue()
