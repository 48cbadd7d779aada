"""Models with fercli's metadata and graphs that fercli never builds: status 4, in every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import Result

if TYPE_CHECKING:
    from fercli.runs import RunFolder

Run = Callable[..., Result]


def write_dressed(trained: RunFolder, path: Path, nodes: list[Any], output: Any) -> None:
    """Write a graph after a softmax over flattened images, with an export's names and metadata."""
    held = {item.key: item.value for item in onnx.load(trained.onnx).metadata_props}["fercli"]
    begin = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
    ]
    constants = {
        "weights": np.zeros((48 * 48, 7), dtype=np.float32),
        "yes": np.array(True),  # noqa: FBT003  # a tensor
        "one": np.ones(1, dtype=np.float32),
    }
    graph = helper.make_graph(
        [*begin, *nodes], "dressed",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 48, 48])], [output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    text = json.dumps({**json.loads(held), "sealed": False})
    helper.set_model_props(model, {"fercli": text})
    onnx.save(model, path)


def name_output(*shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info("probabilities", kind, shape)


def build_loop() -> Any:
    more = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("on", "still")]
    value, following = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("value", "next")
    )
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["value", "value"], ["next"]),
        ],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), more[0], value],
        [more[1], following],
    )
    return helper.make_node("Loop", ["", "yes", "softmax"], ["probabilities"], body=body)


SEQUENCE = helper.make_tensor_sequence_value_info("probabilities", TensorProto.FLOAT, None)
GRAPHS = {
    "sequence": ([helper.make_node("SequenceConstruct", ["softmax"], ["probabilities"])], SEQUENCE),
    "text": (
        [helper.make_node("Cast", ["softmax"], ["probabilities"], to=TensorProto.STRING)],
        name_output("N", 7, kind=TensorProto.STRING),
    ),
    "loop": ([build_loop()], name_output("N", 7)),
}  # fmt: skip


@pytest.mark.parametrize("graph", GRAPHS)
def test_odd_graphs_are_refused_by_every_command(
    run: Run,
    trained: RunFolder,
    face_files: Path,
    dataset_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    graph: str,
) -> None:
    if graph == "loop" and sys.platform != "linux":
        pytest.skip("it takes two minutes")
    monkeypatch.setattr("fercli.inference.first_look.CPU_S", 1)
    write_dressed(trained, Path("odd.onnx"), *GRAPHS[graph])

    for words in (
        ("predict", face_files, "--model", "odd.onnx"),
        ("info", "odd.onnx"),
        ("evaluate", "odd.onnx", "--data", dataset_path),
        ("export", "odd.onnx", "--output", "copy.onnx"),
        ("export", "odd.onnx", "--int8", "--data", dataset_path, "--output", "copy.onnx"),
        ("compare", "odd.onnx", trained.onnx, "--data", dataset_path),
        ("explain", face_files / "face-0.png", "--model", "odd.onnx", "--output", "why"),
        ("train", "--data", dataset_path, "--teacher", "odd.onnx", "--output", "student"),
        ("train", "--data", dataset_path, "--init", "odd.onnx", "--output", "student"),
    ):
        result = run(*words)

        assert result.exit_code == 4, (words, result.output)
        assert "odd.onnx" in result.stderr, words
    assert not Path("copy.onnx").exists()


def test_what_answers_once_for_all_images_is_refused(
    run: Run, trained: RunFolder, face_files: Path, dataset_path: Path
) -> None:
    mean = helper.make_node("ReduceMean", ["softmax"], ["probabilities"], axes=[0])
    write_dressed(trained, Path("odd.onnx"), [mean], name_output(1, 7))

    for words in (
        ("predict", face_files, "--model", "odd.onnx"),
        ("evaluate", "odd.onnx", "--data", dataset_path),
        ("export", "odd.onnx", "--int8", "--data", dataset_path, "--output", "copy.onnx"),
    ):
        result = run(*words)

        assert result.exit_code == 4, (words, result.output)
        assert "answers of the shape [1, 7]" in result.stderr


def test_a_graph_without_convolutions_is_not_quantized(
    run: Run, trained: RunFolder, dataset_path: Path
) -> None:
    same = helper.make_node("Identity", ["softmax"], ["probabilities"])
    write_dressed(trained, Path("odd.onnx"), [same], name_output("N", 7))

    result = run("export", "odd.onnx", "--int8", "--data", dataset_path, "--output", "copy.onnx")

    assert result.exit_code == 4
    assert "it has no convolutions" in result.stderr
