from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from fercli import detectors

if TYPE_CHECKING:
    from pathlib import Path

    from fercli.runs import RunFolder

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]

CONTENT = b"weights of a detector" * 100


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str]) -> None:
    """Let the weights of yunet be had from a server of ours."""
    real = detectors.DETECTORS["yunet"]
    weights = dataclasses.replace(
        real,
        url=serve({"/yunet.onnx": CONTENT}) + "/yunet.onnx",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        n_bytes=len(CONTENT),
    )
    monkeypatch.setitem(detectors.DETECTORS, "yunet", weights)


def test_list(run: Run, run_json: RunJson) -> None:
    rows = {row["name"]: row for row in run_json("models", "list")["data"]["models"]}

    assert rows["haar"]["state"] == "comes with OpenCV"
    assert "fer models fetch yunet" in rows["yunet"]["state"]
    assert rows["yunet"]["license"] == "MIT"
    assert len(rows["yunet"]["sha256"]) == 64
    assert rows["yunet"]["url"].startswith("https://")
    assert "yunet" in run("models", "list").stdout


@pytest.mark.usefixtures("served")
def test_fetch_once(run: Run, run_json: RunJson) -> None:
    first = run_json("models", "fetch", "yunet")["data"]
    again = run_json("models", "fetch", "yunet")["data"]

    assert (first["was_there"], again["was_there"]) == (False, True)
    path = detectors.find_weights("yunet")
    assert path.read_bytes() == CONTENT
    rows = {row["name"]: row for row in run_json("models", "list")["data"]["models"]}
    assert rows["yunet"]["state"] == "fetched"
    path.write_bytes(CONTENT[:-1])
    assert "damaged" in run("models", "list").stdout
    result = run("predict", __file__, "--faces", "yunet")
    assert result.exit_code == 4
    assert "damaged" in result.stderr


@pytest.mark.usefixtures("served")
def test_predict_fetches_the_weights_it_is_asked_to_use(
    run: Run, photo: Path, trained: RunFolder
) -> None:
    result = run("predict", photo, "--model", trained.onnx, "--faces", "yunet")

    assert "downloading yunet, 2,100 bytes, to " in result.stderr
    path = detectors.find_weights("yunet")
    # Ours are none that OpenCV could use.
    assert f"error: {path} cannot be used as weights of yunet" in result.stderr
    assert result.exit_code == 4


@pytest.mark.usefixtures("served")
def test_auto_fetches_nothing(run: Run, photo: Path, trained: RunFolder) -> None:
    result = run("predict", photo, "--model", trained.onnx)

    assert result.exit_code == 0
    assert not detectors.DETECTORS["yunet"].path.exists()


@pytest.mark.usefixtures("served")
def test_auto_uses_weights_that_are_there(run: Run, photo: Path, trained: RunFolder) -> None:
    path = detectors.DETECTORS["yunet"].path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)

    result = run("predict", photo, "--model", trained.onnx)

    assert f"error: {path} cannot be used as weights of yunet" in result.stderr


def test_weights_that_cannot_be_had_are_said_with_the_way_on(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str]
) -> None:
    real = detectors.DETECTORS["yunet"]
    gone = dataclasses.replace(real, url=serve({}) + "/yunet.onnx")
    monkeypatch.setitem(detectors.DETECTORS, "yunet", gone)

    result = run("predict", photo, "--faces", "yunet")

    assert result.exit_code == 3
    assert "by hand, and give it to predict: --detector-weights FILE" in result.stderr


def test_what_is_not_the_known_file_is_not_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., str], tmp_path: Path
) -> None:
    real = detectors.DETECTORS["yunet"]
    url = serve({"/yunet.onnx": CONTENT}) + "/yunet.onnx"
    monkeypatch.setitem(detectors.DETECTORS, "yunet", dataclasses.replace(real, url=url))

    result = run("models", "fetch", "yunet")

    assert result.exit_code == 3
    assert "--detector-weights" in result.stderr
    assert not list((tmp_path / "home").rglob("*.onnx"))


def test_unknown_names(run: Run) -> None:
    result = run("models", "fetch", "yunett")

    assert result.exit_code == 2
    assert "did you mean 'yunet'" in result.stderr
