from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from fercli.dependencies import EXTRAS, explain_missing
from fercli.doctor import examine


@pytest.mark.usefixtures("bundled")
def test_a_whole_installation_has_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FERCLI_HOME", str(tmp_path / "not" / "yet"))

    found = examine()

    assert found.models == {"base": True, "plus": True, "tiny": True}
    assert found.detectors == {"haar": True, "yunet": False}
    assert found.extras["parquet"]
    assert found.free_bytes["data_home"] > 0
    assert not found.problems


def test_what_is_wrong_is_told_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FERCLI_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "face_detection_yunet_2023mar.onnx").write_bytes(b"torn")
    full = SimpleNamespace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: full)
    monkeypatch.setattr("fercli.doctor.list_bundled", lambda: ["gone"])

    found = examine()

    assert found.models == {"gone": False}
    assert found.detectors["yunet"] is False
    model, detector, *disks = found.problems
    assert "gone" in model
    assert "fer models fetch yunet" in detector
    assert disks == [
        f"only 5 MiB are free at {Path.cwd()}: use --output",
        f"only 5 MiB are free at {tmp_path}: set FERCLI_HOME to another disk",
    ]


def read_extras(path: str) -> set[str]:
    text = (Path(__file__).parents[2] / path / "pyproject.toml").read_text(encoding="utf-8")
    return set(tomllib.loads(text)["project"]["optional-dependencies"])


def test_the_extras_are_those_of_the_package() -> None:
    assert set(EXTRAS) == read_extras(".")


def test_the_small_package_names_only_the_extras_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fercli.dependencies.find_distributions", lambda: {"fercli-lite": "1"})
    monkeypatch.setattr("fercli.doctor.is_there", lambda _module: False)
    lite = read_extras("packaging/lite")

    assert set(examine().extras) == lite
    for name, modules in EXTRAS.items():
        reason = ImportError("no such module")
        hints = [explain_missing(module, reason).hint for module in modules]
        package = f"fercli-lite[{name}]" if name in lite else f"fercli[{name}]"
        assert f"pip install '{package}'" in hints[0]
