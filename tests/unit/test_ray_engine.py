from __future__ import annotations

import contextlib
import pickle
import shutil
import socket
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fercli.config import PredictConfig
from fercli.errors import (
    ConfigError,
    DeviceUnavailableError,
    FercliError,
    InputNotFoundError,
    ModelNotFoundError,
    SetupError,
)
from fercli.model_files import find_model, open_runtime
from fercli.prediction import find_images, predict_files
from fercli.prediction.chunks import pack_images
from fercli.prediction.members import Member
from fercli.prediction.summary import PredictionSummary
from fercli.ray_engine import Actor, Block, RayJob, Tries, check_answers, cut_blocks, plan_actors

if TYPE_CHECKING:
    from fercli.runs import RunFolder


def travel(value: Any) -> Any:
    """Return what arrives at the other end."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # made here


def cut(sources: list[Any], batch_size: int = 64, done: set[str] | None = None) -> list[Block]:
    summary = PredictionSummary((), rows=None)
    return list(cut_blocks(sources, batch_size, done or set(), summary))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_blocks_end_where_chunks_do(batch_size: int) -> None:
    """Which faces share a call of the model is the same, however the list is spread."""
    generator = np.random.default_rng(batch_size)
    sizes = generator.choice([3_000, 400_000, 3_000_000], 2000, p=[0.9, 0.07, 0.03])
    sources = [Member(Path(f"a.zip!/{n}"), bytes(size)) for n, size in enumerate(sizes)]

    blocks = cut(sources, batch_size)
    apart = [list(pack_images(block.sources, batch_size)) for block in blocks]

    assert [chunk for chunks in apart for chunk in chunks] == list(pack_images(sources, batch_size))
    assert len(blocks) > 4
    assert [block.number for block in blocks] == list(range(len(blocks)))


def test_videos_and_archives_are_blocks(
    face_files: Path, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive("more", "zip", face_files))
    clip = make_clip(tmp_path / "clip.mp4", "ff", "mp4v")
    crops = sorted(face_files.iterdir())

    blocks = cut([crops[0], archive, clip, *crops[1:]])

    assert [block.sources for block in blocks] == [
        (crops[0],), (archive,), (clip,), tuple(crops[1:])
    ]  # fmt: skip


def test_what_has_its_rows_is_passed_over(face_files: Path) -> None:
    archive = Path(shutil.make_archive("more", "zip", face_files)).relative_to(Path.cwd())
    crops = [Path(face_files, f"face-{n}.png") for n in range(5)]
    done = {str(crops[1]), f"{archive}!/face-2.png", "other.zip!/face-3.png"}
    summary = PredictionSummary((), rows=None)

    first, second = cut_blocks([*crops, archive], 64, done, summary)

    assert first.sources == (crops[0], *crops[2:])
    assert not first.done
    assert second.done == {f"{archive}!/face-2.png"}
    assert summary.n_resumed == 1


@pytest.fixture
def describe(trained: RunFolder) -> Callable[..., RayJob]:
    found = find_model(str(trained.onnx), prefer_onnx=True)
    runtime = open_runtime(found, device="cpu", n_threads=1)

    def call(config: PredictConfig | None = None, **options: Any) -> RayJob:
        options = {"device": "auto", **options}
        return RayJob.describe(found, runtime, config or PredictConfig(), **options)

    return call


def test_an_actor_says_what_one_process_says(
    describe: Callable[..., RayJob],
    trained: RunFolder,
    face_files: Path,
    make_clip: Callable[..., Path],
) -> None:
    """Archives are opened by it; nothing that travels back has pixels."""
    with zipfile.ZipFile(face_files / "more.zip", "w") as archive:
        for n in range(3):
            archive.write(face_files / f"face-{n}.png", f"face-{n}.png")
        archive.writestr("notes.txt", "nothing")
    (face_files / "broken.png").write_bytes(b"nothing")
    (face_files / "cut.zip").write_bytes((face_files / "more.zip").read_bytes()[:900])
    make_clip(face_files / "clip.mp4", "fb-", "mp4v")
    config = PredictConfig(smooth_s=1.0)
    found = find_model(str(trained.onnx), prefer_onnx=True)
    runtime = open_runtime(found, device="cpu", n_threads=1)
    alone = PredictionSummary(runtime.labels, rows=[])
    files = list(find_images(["faces"]))
    done = {str(Path("faces/more.zip!/face-1.png"))}
    left = alone.pass_over(iter(files), done)
    for prediction in predict_files(runtime, left, config, title=found.title):
        alone.add(prediction)

    actor = Actor(travel(describe(config)), None)
    spread = PredictionSummary(runtime.labels, rows=[])
    answers = [actor.answer(block) for block in cut_blocks(files, 64, done, spread)]
    for prediction in (one for answer in answers for one in answer.predictions):
        spread.add(prediction)

    assert spread.rows == alone.rows
    assert {row.status for row in spread.rows or []} == {"ok", "no_face", "unreadable"}
    assert (spread.n_inputs, spread.n_frames) == (alone.n_inputs, alone.n_frames)
    assert sum(answer.n_passed for answer in answers) == alone.n_resumed == 1
    assert sum(answer.others.n_files for answer in answers) == alone.others.n_files == 1
    assert len(pickle.dumps(answers)) < 30_000


def test_an_actor_that_would_give_other_rows_is_refused(describe: Callable[..., RayJob]) -> None:
    job = describe()
    versions = {**job.origin.versions, "pillow": "1.0"}
    other = replace(job, origin=replace(job.origin, versions=versions, model_sha256="0" * 64))

    with pytest.raises(SetupError) as caught:
        Actor(other, None).answer(Block(0, ()))

    assert "version of pillow" in caught.value.message
    assert "digest of the model" in caught.value.message
    assert "every machine" in caught.value.hint


def test_a_model_that_a_machine_lacks_is_said(describe: Callable[..., RayJob]) -> None:
    job = replace(describe(), model=str(Path("gone.onnx").absolute()))

    with pytest.raises(ModelNotFoundError):
        Actor(job, None).answer(Block(0, ()))


def test_failures_travel(describe: Callable[..., RayJob]) -> None:
    """An error with its hint is what the driver raises, and no crash to Ray."""
    job = replace(describe(), model="gone.onnx")
    actor = Actor(job, None)
    with pytest.raises(FercliError) as caught:
        actor.answer(Block(0, ()))

    again = travel(caught.value)

    assert type(again) is type(caught.value)
    assert (again.message, again.hint) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_ray_chooses_the_device(describe: Callable[..., RayJob], device: str) -> None:
    with pytest.raises(ConfigError, match="Ray assigns"):
        describe(device=device)


def test_parts_by_actors_are_parts_by_one_process(describe: Callable[..., RayJob]) -> None:
    """The side file does not tell which engine it was."""
    assert describe(device="auto").origin == describe(device="cpu").origin
    assert describe(device="cuda").origin.options["device"] == "cuda"


def test_tries_are_counted() -> None:
    tries = Tries()

    assert [tries.begin(n) for n in (0, 1, 0, 0)] == [1, 1, 2, 3]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be another machine of a cluster than the one that has the list."""
    context = SimpleNamespace(get_node_id=lambda: "there")
    ray = SimpleNamespace(get_runtime_context=lambda: context, get=lambda value: value)
    monkeypatch.setitem(sys.modules, "ray", ray)


@pytest.mark.usefixtures("elsewhere")
def test_inputs_that_another_machine_lacks_are_said(
    describe: Callable[..., RayJob], face_files: Path
) -> None:
    """Where some are there, the others are rows: they went away."""
    actor = Actor(replace(describe(), node="here"), None)
    gone = tuple(face_files / f"gone-{n}.png" for n in range(3))

    with pytest.raises(InputNotFoundError) as caught:
        actor.answer(Block(0, gone))
    some = actor.answer(Block(0, (*gone, face_files / "face-0.png")))

    assert "gone-0.png and 2 more are not on" in caught.value.message
    statuses = [one.rows[0].status for one in some.predictions]
    assert statuses == ["unreadable", "unreadable", "unreadable", "ok"]


@pytest.mark.usefixtures("elsewhere")
def test_a_block_is_begun_four_times_and_no_more(
    describe: Callable[..., RayJob], face_files: Path
) -> None:
    tries = Tries()
    counting = SimpleNamespace(begin=SimpleNamespace(remote=tries.begin))
    actor = Actor(describe(), counting)
    block = Block(7, tuple(sorted(face_files.iterdir())))
    batch = {"block": SimpleNamespace(to_pylist=lambda: [pickle.dumps(block)])}

    answers = [pickle.loads(actor(batch)["answer"][0]) for _ in range(5)]  # noqa: S301  # its own

    assert [len(answer.predictions) for answer in answers] == [5, 5, 5, 5, 0]
    assert [answer.failure is None for answer in answers] == [True] * 4 + [False]
    assert "face-0.png or one of 4 after it" in answers[4].failure.message


def node(alive: bool = True, **resources: float) -> dict[str, Any]:  # noqa: FBT001, FBT002  # as Ray has it
    return {"Alive": alive, "Resources": resources}


def test_actors_take_all_processors_and_no_more() -> None:
    nodes = [node(CPU=2.0), node(CPU=8.0, GPU=2.0), node(CPU=64.0, alive=False), node()]

    assert plan_actors(nodes, "cpu") == (10, {"num_cpus": 1})
    assert plan_actors(nodes, "cuda") == (2, {"num_cpus": 4, "num_gpus": 1})
    assert plan_actors([node(GPU=4.0)], "cuda") == (4, {"num_cpus": 0, "num_gpus": 1})
    with pytest.raises(DeviceUnavailableError, match="GPU"):
        plan_actors([node(CPU=2.0), node(CPU=8.0, GPU=2.0, alive=False)], "cuda")


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """Accept a connection; answer it, or wait until it ends."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.close()
    thread.join()


def test_a_server_of_grpc_is_let_through() -> None:
    with listening(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]) + bytes(6)) as address:
        check_answers(address)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
def test_other_servers_are_refused_in_time(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fercli.ray_engine.connection._PATIENCE_S", 0.2)

    with listening(answer) as address, pytest.raises(SetupError) as caught:
        check_answers(address)

    assert f"no Ray cluster answers at {address}" in caught.value.message


def test_nobody_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(SetupError, match=f"no Ray cluster answers at 127.0.0.1:{port}"):
        check_answers(f"127.0.0.1:{port}")


def test_a_cluster_that_was_there_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would ask for minutes what it remembers of one that was killed."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    check_answers("auto")
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    (tmp_path / "ray" / "ray_current_cluster").write_text(f"{address}\n")

    with pytest.raises(SetupError, match=f"no Ray cluster answers at {address}"):
        check_answers("auto")


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "http://head:8265", "head", "head:", ":6379", "head:x"]
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        check_answers(address)


def test_names_that_are_no_utf8_travel(describe: Callable[..., RayJob], face_files: Path) -> None:
    odd = face_files / b"f\xff.png".decode("utf-8", "surrogateescape")
    Image.open(face_files / "face-0.png").save(odd)

    [prediction] = travel(Actor(describe(), None).answer(travel(Block(0, (odd,))))).predictions

    assert prediction.path == odd
    assert prediction.rows[0].path == str(odd)
    assert prediction.rows[0].status == "ok"
