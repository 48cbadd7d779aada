"""What an ONNX file of others may not do: loop, fill the memory, read other files, end us."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fercli.emotions import LABELS
from fercli.errors import ModelFileError, SetupError
from fercli.inference import first_look
from fercli.inference.external import ExternalRuntime
from fercli.inference.first_look import find_fault, limit_memory, look_at
from fercli.inference.onnx import open_session, run_session

FLAT = helper.make_node("Flatten", ["x"], ["flat"])
LOGITS = [FLAT, helper.make_node("MatMul", ["flat", "weights"], ["logits"])]
WEIGHTS = numpy_helper.from_array(np.zeros((48 * 48, 7), dtype=np.float32), "weights")
IMAGE = ["N", 1, 48, 48]


def write_graph(
    path: Path, nodes: list[Any], output: Any, *constants: Any, shape: list[Any] = IMAGE
) -> Path:
    """Write a model of one float image."""
    graph = helper.make_graph(
        nodes, "odd", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], [output],
        [WEIGHTS, *(numpy_helper.from_array(value, name) for name, value in constants)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def name_output(name: str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, None)


def build_loop(go_on: str, begin: str) -> Any:
    """Return a node that adds 1 for ever, once it begins."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["still"]),
            helper.make_node("Add", ["value", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            name_output("value"),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), name_output("next")],
        [numpy_helper.from_array(np.array(1, dtype=np.float32), "one")],
    )
    return helper.make_node("Loop", ["", go_on, begin], ["answers"], body=body)


def write_data_loop(path: Path, threshold: float) -> Path:
    """Write a model that loops for ever once a pixel is brighter than a threshold."""
    bright = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "threshold"], ["is_bright"]),
    ]
    nodes = [*LOGITS, *bright, build_loop("is_bright", "logits")]
    constant = ("threshold", np.array(threshold, dtype=np.float32))
    return write_graph(path, nodes, name_output("answers"), constant)


def write_giant(path: Path, *, at_load: bool) -> Path:
    """Write a model that asks for 14 GB, when it is loaded or when it is run."""
    giant = [helper.make_node("ConstantOfShape", ["shape"], ["many"])] if at_load else [
        helper.make_node("ReduceMean", ["logits"], ["one"], keepdims=0),
        helper.make_node("Expand", ["one", "shape"], ["many"]),
    ]  # fmt: skip
    ends = [
        helper.make_node("ReduceMean", ["many"], ["mean"], keepdims=0),
        helper.make_node("Add", ["logits", "mean"], ["answers"]),
    ]
    nodes = [*LOGITS, *giant, *ends]
    return write_graph(path, nodes, name_output("answers"), ("shape", np.array([60_000, 60_000])))


def write_split(path: Path, weights: Path) -> Path:
    """Write a model whose weights lie in another file."""
    write_graph(path, LOGITS, name_output("logits"))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    weights.write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=weights.name)
    path.write_bytes(model.SerializeToString())
    return path


needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="limits on memory hold here")


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look take two seconds of computing, so that the tests do not wait for twenty."""
    monkeypatch.setattr(first_look, "CPU_S", 2)


def test_a_usual_model_passes_and_is_looked_at_once(
    tmp_path: Path, make_external: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.onnx"
    make_external(path, IMAGE, 7)
    look_at(path.read_bytes(), path)
    monkeypatch.setattr(sys, "executable", "/no/python")

    look_at(path.read_bytes(), path)

    make_external(path, IMAGE, 8)
    with pytest.raises(SetupError, match="no process can be started"):
        look_at(path.read_bytes(), path)


@needs_limits
@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("threshold", [-1, 250], ids=["zeros", "noise"])
def test_a_loop_without_end_is_ended(tmp_path: Path, threshold: float) -> None:
    path = write_data_loop(tmp_path / "loop.onnx", threshold)

    with pytest.raises(ModelFileError, match=r"loop\.onnx computes for more than 2 s"):
        open_session(path, "cpu")


def test_a_sleeping_child_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_look, "WALL_S", 0.01)
    path = write_graph(tmp_path / "slow.onnx", LOGITS, name_output("logits"), ("x0", np.ones(1)))

    with pytest.raises(ModelFileError, match=r"did not answer within 0\.01 s"):
        open_session(path, "cpu")


@needs_limits
@pytest.mark.parametrize("at_load", [True, False], ids=["at load", "at run"])
def test_a_model_that_fills_the_memory_is_refused(tmp_path: Path, *, at_load: bool) -> None:
    path = write_giant(tmp_path / "giant.onnx", at_load=at_load)

    with pytest.raises(ModelFileError, match=r"giant\.onnx takes more memory"):
        open_session(path, "cpu")


@needs_limits
def test_an_image_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["x"], ["mean"])
    shape = ["N", 1, 200_000, 200_000]
    path = write_graph(tmp_path / "vast.onnx", [mean], name_output("mean"), shape=shape)

    with pytest.raises(ModelFileError, match=r"vast\.onnx takes more memory"):
        open_session(path, "cpu")


def test_weights_in_another_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the working folder and by a hard link, so that onnxruntime's own check finds no fault.
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = write_split(folder / "split.onnx", tmp_path / "weights.bin")
    os.link(tmp_path / "weights.bin", folder / "weights.bin")

    with pytest.raises(ModelFileError, match=r"split\.onnx keeps its weights in another file"):
        open_session(path, "cpu")


def test_weights_elsewhere_are_found_in_every_part_of_a_model(tmp_path: Path) -> None:
    tensor = helper.make_tensor("inner", TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")
    constant = helper.make_node("Constant", [], ["inner"], value=tensor)
    branch = helper.make_graph([constant], "branch", [], [name_output("inner")])
    chosen = helper.make_node("If", ["yes"], ["c"], then_branch=branch, else_branch=branch)
    path = write_graph(tmp_path / "if.onnx", [chosen], name_output("c"), ("yes", np.array(True)))  # noqa: FBT003  # a tensor

    fault = find_fault(path.read_bytes())

    assert fault == "keeps its weights in another file, which is not read"


def test_a_name_that_says_location_is_no_weight(tmp_path: Path) -> None:
    nodes = [*LOGITS, helper.make_node("Identity", ["logits"], ["location"])]
    path = write_graph(tmp_path / "named.onnx", nodes, name_output("location"))

    assert find_fault(path.read_bytes()) is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"1234ORTM" + bytes(50), "own format"), (b"location", "can load"), (b"", "can load")],
)
def test_what_is_no_model_has_a_fault(content: bytes, fault: str) -> None:
    assert fault in str(find_fault(content))


@pytest.mark.parametrize(
    ("status", "said", "sentence"),
    [(-11, b"", "SIGSEGV"), (1, b"", "status 1"), (0, b"[", "status 0"), (0, b"[]", "status 0")],
)
def test_a_child_that_dies_is_the_files_fault(status: int, said: bytes, sentence: str) -> None:
    fault = first_look.read_answer(status, said)

    assert fault is not None
    assert sentence in fault
    assert first_look.read_answer(0, b'{"fault": null}') is None


def test_a_child_imports_nothing_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("json.py").write_text("open('imported', 'w')")
    path = write_graph(tmp_path / "plain.onnx", LOGITS, name_output("logits"), ("x1", np.ones(1)))

    look_at(path.read_bytes(), path)

    assert not Path("imported").exists()


def test_the_child_writes_its_answer_alone_to_stdout(tmp_path: Path) -> None:
    nodes = [*LOGITS, helper.make_node("Expand", ["logits", "shape"], ["many"])]
    shape = ("shape", np.array([2**40, 3, 7]))
    path = write_graph(tmp_path / "loud.onnx", nodes, name_output("many"), shape)
    words = [sys.executable, "-P", "-m", "fercli.inference.first_look", "20"]

    done = subprocess.run(words, input=path.read_bytes(), capture_output=True, check=True)

    assert done.stdout.startswith(b'{"fault": "takes more memory')
    assert done.stderr == b""


def test_memory_grows_with_the_file() -> None:
    assert [limit_memory(size) for size in (0, 10**9)] == [2**30, 2**30 + 6 * 10**9]


@needs_limits
@pytest.mark.parametrize("hard", [-1, 15, 10**12])
def test_what_a_child_may_take_is_limited(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    import resource

    told: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, bounds: told.update({kind: bounds}))

    first_look._limit(100, 20)  # noqa: SLF001  # in this process, which only notes it

    wanted = {resource.RLIMIT_AS: limit_memory(100), resource.RLIMIT_CPU: 20,
              resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}  # fmt: skip
    # What somebody else has limited more stays so.
    assert told == {
        kind: (bound if hard < 0 else min(bound, hard), hard) for kind, bound in wanted.items()
    }


def test_a_child_is_given_twenty_seconds_of_computing_and_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []

    def note(words: list[str], *, timeout: float, **_: Any) -> Any:
        asked.append((words[-1], timeout))
        return subprocess.CompletedProcess(words, 0, b'{"fault": "is odd"}')

    monkeypatch.setattr(subprocess, "run", note)
    for _ in range(2):
        with pytest.raises(ModelFileError, match=r"a\.onnx is odd"):
            look_at(b"some content", tmp_path / "a.onnx")

    # What was refused is looked at again.
    assert asked == [("20", 120)] * 2


@needs_limits
def test_a_child_that_computes_for_ever_is_told_from_one_that_dies() -> None:
    assert first_look.read_answer(-24, b"") == "computes for more than 20 s without an answer"
    assert first_look.read_answer(-9, b"") == "crashes the process that loads it (SIGKILL)"
    assert first_look.read_answer(0, b'{"fault": "x"}') == "x"


@pytest.mark.parametrize(
    ("kind", "dtype", "most"),
    [("float", "float32", 256), ("float16", "float16", 256), ("double", "float64", 256),
     ("uint8", "uint8", 255)],
)  # fmt: skip
def test_a_model_is_shown_zeros_and_noise(kind: str, dtype: str, most: float) -> None:
    class Session:
        def get_inputs(self) -> list[Any]:
            return [
                SimpleNamespace(name="x", type=f"tensor({kind})", shape=["N", 1, 48, 48]),
                SimpleNamespace(name="two", type=f"tensor({kind})", shape=[2, 48]),
                SimpleNamespace(name="none", type=f"tensor({kind})", shape=[]),
            ]

    zeros, noise = first_look._build_feeds(Session())  # noqa: SLF001  # what the child calls

    shapes = {"x": (3, 1, 48, 48), "two": (2, 48), "none": ()}
    for feeds in (zeros, noise):
        assert {name: array.shape for name, array in feeds.items()} == shapes
        assert {array.dtype for array in feeds.values()} == {np.dtype(dtype)}
    assert not any(array.any() for array in zeros.values())
    assert 250 < noise["x"].max() < most
    assert noise["x"].astype(float).std() > 60


@pytest.mark.parametrize(
    ("kind", "shape"), [("tensor(int64)", ["N", 4]), ("tensor(float)", ["N", "C", 48, 48])]
)
def test_what_takes_no_images_is_not_run(kind: str, shape: list[Any]) -> None:
    class Session:
        def get_inputs(self) -> list[Any]:
            return [SimpleNamespace(name="x", type=kind, shape=shape)]

    assert first_look._build_feeds(Session()) == []  # noqa: SLF001  # what the child calls


def test_a_run_that_the_look_let_pass_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_data_loop(tmp_path / "loop.onnx", 1000)
    session = open_session(path, "cpu")
    pixels = np.full((1, 1, 48, 48), 2000, dtype=np.float32)

    with pytest.raises(ModelFileError, match=r"computes for more than 0\.2 s"):
        run_session(session, ["answers"], {"x": pixels}, limit_s=0.2)

    monkeypatch.setattr("fercli.inference.external.RUN_S", 0.2)
    runtime = ExternalRuntime(path, LABELS, "0-255")
    monkeypatch.setattr(runtime, "_prepare", lambda _: pixels)
    with pytest.raises(ModelFileError, match=r"computes for more than 0\.2 s"):
        runtime.predict(np.zeros((1, 48, 48), dtype=np.uint8))


@pytest.mark.parametrize(
    ("node", "kind", "reason"),
    [
        (helper.make_node("Cast", ["logits"], ["y"], to=TensorProto.STRING), 8, "returns object"),
        (helper.make_node("Cast", ["logits"], ["y"], to=TensorProto.BOOL), 9, "returns bool"),
        (helper.make_node("Cast", ["logits"], ["y"], to=TensorProto.INT64), 7, "returns int64"),
        (helper.make_node("ReduceMean", ["logits"], ["y"], keepdims=0), 1, r"shape \[\]"),
        (helper.make_node("ReduceMean", ["logits"], ["y"], axes=[0]), 1, r"shape \[1, 7\] for 3"),
        (helper.make_node("SequenceConstruct", ["logits"], ["y"]), 0, "returns list"),
    ],
    ids=["text", "flags", "whole", "scalar", "one", "sequence"],
)
def test_answers_that_are_no_probabilities_are_refused(
    tmp_path: Path, node: Any, kind: int, reason: str
) -> None:
    output = name_output("y", kind)
    if not kind:
        output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    path = write_graph(tmp_path / "odd.onnx", [*LOGITS, node], output)

    with pytest.raises(ModelFileError, match=reason):
        ExternalRuntime(path, LABELS, "0-1")


@pytest.mark.parametrize("n_images", [0, 4])
def test_a_batch_that_cannot_be_filled_is_refused(tmp_path: Path, n_images: int) -> None:
    shape = [n_images, 1, 48, 48]
    path = write_graph(tmp_path / "fixed.onnx", LOGITS, name_output("logits"), shape=shape)

    with pytest.raises(ModelFileError, match=f"takes {n_images} images at a time"):
        ExternalRuntime(path, LABELS, "0-1")
