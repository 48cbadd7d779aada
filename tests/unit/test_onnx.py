from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from fercli.errors import DeviceUnavailableError, ModelFileError
from fercli.inference.onnx import METADATA_KEY, OnnxRuntime, is_exported, open_session, run_session
from fercli.inference.seal import SEAL_BLANK, SEAL_KEY, seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fercli.data import Dataset
    from fercli.runs import RunFolder


def change(trained: RunFolder, target: Path, act: Callable[[Any], None]) -> Path:
    model = onnx.load(trained.onnx)
    act(model)
    onnx.save(model, target)
    return target


def test_an_export_answers_with_probabilities(trained: RunFolder, faces: Dataset) -> None:
    runtime = OnnxRuntime(trained.onnx, n_threads=1)

    probabilities = runtime.predict(faces.images[:5])

    assert (runtime.device, runtime.labels) == ("cpu", faces.label_names)
    assert probabilities.shape == (5, 7)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    # Every second row: memory that is not in one piece.
    apart = runtime.predict(faces.images[:9:2])
    assert apart == pytest.approx(runtime.predict(faces.images[:9])[::2], abs=1e-6)
    assert runtime.predict(faces.images[:0]).shape == (0, 7)


def test_ours_are_told_from_others(
    trained: RunFolder, tmp_path: Path, make_external: Callable[..., Any]
) -> None:
    make_external(tmp_path / "other.onnx", ["N", 1, 48, 48], 7)

    assert is_exported(trained.onnx)
    assert not is_exported(tmp_path / "other.onnx")
    with pytest.raises(ModelFileError, match="not one that fercli exported"):
        OnnxRuntime(tmp_path / "other.onnx")


def test_metadata_without_the_graph_of_an_export_is_refused(
    tmp_path: Path, trained: RunFolder, make_external: Callable[..., Any]
) -> None:
    make_external(tmp_path / "other.onnx", ["N", 1, 48, 48], 7)
    model = onnx.load(tmp_path / "other.onnx")
    text = {item.key: item.value for item in onnx.load(trained.onnx).metadata_props}[METADATA_KEY]
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, tmp_path / "dressed.onnx")

    with pytest.raises(ModelFileError, match="not one that fercli exported"):
        OnnxRuntime(tmp_path / "dressed.onnx")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "its metadata is damaged"), ('{"labels": ["a", "b"]}', "odd.onnx")],
)
def test_metadata_that_does_not_go_with_the_graph_is_refused(
    trained: RunFolder, tmp_path: Path, text: str, reason: str
) -> None:
    path = change(
        trained,
        tmp_path / "odd.onnx",
        lambda model: onnx.helper.set_model_props(model, {METADATA_KEY: text}),
    )

    with pytest.raises(ModelFileError, match=reason):
        OnnxRuntime(path)


def test_what_does_not_load_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")

    with pytest.raises(ModelFileError, match="not a model that onnxruntime can load") as caught:
        open_session(tmp_path / "text.onnx", "cpu")
    assert "\n" not in caught.value.message
    with pytest.raises(ModelFileError, match="No such file"):
        open_session(tmp_path / "gone.onnx", "cpu")


def test_an_input_of_another_shape_is_a_models_fault(trained: RunFolder) -> None:
    session = open_session(trained.onnx, "cpu")

    with pytest.raises(ModelFileError, match="the model cannot be run"):
        run_session(session, ["probabilities"], {"images": np.zeros((1, 5, 5), dtype=np.uint8)})


@pytest.mark.parametrize(
    ("device", "provider"), [("cuda", "CUDA"), ("cuda:1", "CUDA"), ("mps", "CoreML")]
)
def test_a_device_that_is_not_there_is_named(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch, device: str, provider: str
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(DeviceUnavailableError, match=f"on {device}: it has no {provider}Execution"):
        open_session(trained.onnx, device)


@pytest.mark.parametrize(
    ("shape", "kind"), [([48, 47], "uint8"), ([49, 48], "uint8"), ([48, 48], "float32")]
)
def test_a_graph_that_takes_other_images_is_not_ours(
    trained: RunFolder, tmp_path: Path, shape: list[int], kind: str
) -> None:
    text = {item.key: item.value for item in onnx.load(trained.onnx).metadata_props}[METADATA_KEY]
    types = onnx.TensorProto
    images = onnx.helper.make_tensor_value_info(
        "images", types.UINT8 if kind == "uint8" else types.FLOAT, ["N", *shape]
    )
    answers = onnx.helper.make_tensor_value_info("probabilities", types.FLOAT, ["N", shape[0]])
    nodes = [
        onnx.helper.make_node("Cast", ["images"], ["pixels"], to=types.FLOAT),
        onnx.helper.make_node("ReduceMean", ["pixels"], ["probabilities"], axes=[2], keepdims=0),
    ]
    graph = onnx.helper.make_graph(nodes, "dressed", [images], [answers])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, tmp_path / "dressed.onnx")

    with pytest.raises(ModelFileError, match="not one that fercli exported"):
        OnnxRuntime(tmp_path / "dressed.onnx")


def test_a_model_without_a_digest_may_not_compute_for_ever(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []

    def note(session: Any, *_: object, limit_s: float | None) -> Any:
        limits.append(limit_s)
        return session

    monkeypatch.setattr("fercli.inference.onnx.run_session", note)
    unsealed = change(trained, tmp_path / "unsealed.onnx", forget_seal)
    for path in (trained.onnx, unsealed):
        OnnxRuntime(path).predict(np.zeros((1, 48, 48), dtype=np.uint8))

    assert limits == [None, 300]


def forget_seal(model: Any) -> None:
    """Make a model one of an older fercli, which sealed none."""
    props = {item.key: item.value for item in model.metadata_props}
    record = json.loads(props[METADATA_KEY])
    del record["sealed"]
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(record)})


@pytest.mark.parametrize(
    ("device", "provider"),
    [("cuda", ("CUDAExecutionProvider", {})), ("mps", ("CoreMLExecutionProvider", {})),
     ("cuda:1", ("CUDAExecutionProvider", {"device_id": "1"}))],
)  # fmt: skip
def test_a_device_is_asked_for_by_its_number(
    device: str, provider: Any, monkeypatch: pytest.MonkeyPatch, trained: RunFolder
) -> None:
    asked: list[Any] = []

    class Session:
        def __init__(
            self, content: bytes, _options: object, *, providers: Any, enable_fallback: int
        ) -> None:
            assert content == trained.onnx.read_bytes()
            # Another device would be taken, and a line printed.
            assert enable_fallback == 0
            asked.extend(providers)

        def get_providers(self) -> list[str]:
            return [provider[0], "CPUExecutionProvider"]

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [provider[0]])
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)

    open_session(trained.onnx, device)

    assert asked == [provider, "CPUExecutionProvider"]
    monkeypatch.setattr(Session, "get_providers", lambda _: ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailableError, match=f"has {provider[0]} but cannot use it here"):
        open_session(trained.onnx, device)


def test_a_whole_model_that_does_not_load_is_one_short_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node = onnx.helper.make_node("No" * 300, ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "odd", [value], []), ir_version=9)
    onnx.helper.set_model_props(model, {SEAL_KEY: SEAL_BLANK})
    path = tmp_path / "odd.onnx"
    path.write_bytes(seal(model.SerializeToString()))

    with pytest.raises(ModelFileError) as caught:
        open_session(path, "cpu")

    begin, _, text = caught.value.message.partition(" (")
    assert begin == f"{path} is not a model that onnxruntime can load"
    assert len(text) == 200 + len(")")
    # onnxruntime itself would write past us.
    assert capfd.readouterr() == ("", "")
