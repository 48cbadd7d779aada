"""What `fercli` and `fercli-lite` are made of; built twice, they are the same bytes."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import fercli

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[2]
LITE = Path("packaging") / "lite"
INPUTS = (
    ".gitignore", "CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md",
    "LICENSE", "README.md", "RELEASING.md", "SECURITY.md", "benchmarks", "docs", "hatch_build.py",
    "noxfile.py", "packaging", "pyproject.toml", "scripts", "src", "tests",
)  # fmt: skip
"""What an sdist of fercli holds, beside its own metadata."""
DATA = {
    "py.typed",
    "assets/base.md", "assets/base.onnx", "assets/base.safetensors", "assets/digests.json",
    "assets/plus.md", "assets/plus.onnx", "assets/plus.safetensors",
    "assets/plus.train-digests.safetensors", "assets/tiny.md", "assets/tiny.onnx",
    "assets/tiny.safetensors", "assets/train-digests.safetensors",
    "evaluation/card.md", "evaluation/report.html",
    "serve/page/icon.svg", "serve/page/index.html", "serve/page/page.css",
    *(f"serve/page/{name}.js" for name in (
        "api", "downloads", "files", "film", "frames", "labels", "live", "marks", "page", "queue",
        "readings", "session", "stage", "strip", "table", "thumbnails",
    )),
}  # fmt: skip
"""Every file of the package that is no module."""
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def build(project: Path, output: Path) -> tuple[Path, Path]:
    """Build the sdist and the wheel of a project, as `python -m build` lets hatchling do it."""
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(output)]
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout's files, as a clone has them."""
    folder = tmp_path_factory.mktemp("checkout") / "fercli"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "runs")
    for name in INPUTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(tree: Path) -> dict[str, tuple[Path, Path]]:
    """Return the sdist and the wheel of both packages, built from the checkout."""
    return {
        "fercli": build(tree, tree.parent / "full"),
        "fercli-lite": build(tree / LITE, tree.parent / "lite"),
    }


@functools.cache
def read_wheel(path: Path) -> dict[str, bytes]:
    """Return the files of a wheel by their names."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project


@pytest.mark.parametrize("name", ["fercli", "fercli-lite"])
def test_built_again_elsewhere_from_the_sdist_it_is_the_same(
    name: str, built: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    sdist, wheel = built[name]
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (project,) = (path for path in tmp_path.iterdir() if path.is_dir() and path.name != "home")
    for path in project.rglob("*"):
        # Neither times nor who may read the files reaches the result.
        os.utime(path, (1_700_000_000, 1_700_000_000))
        path.chmod(path.stat().st_mode & 0o700)

    again = build(project, tmp_path / "again")

    for first, second in zip((sdist, wheel), again, strict=True):
        assert hashlib.sha256(first.read_bytes()).digest() == (
            hashlib.sha256(second.read_bytes()).digest()
        ), first.name


def test_the_wheel_holds_the_package_and_nothing_else(
    built: dict[str, tuple[Path, Path]],
) -> None:
    source = ROOT / "src" / "fercli"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    about = {f"fercli-{fercli.__version__}.dist-info/{name}" for name in METADATA}

    files = set(read_wheel(built["fercli"][1]))

    assert files == {f"fercli/{name}" for name in modules | DATA} | about


def test_the_small_wheel_is_the_same_without_what_training_reads(
    built: dict[str, tuple[Path, Path]],
) -> None:
    full, lite = (read_wheel(built[name][1]) for name in ("fercli", "fercli-lite"))
    wanted = {
        name: content
        for name, content in full.items()
        if name.startswith("fercli/") and not name.endswith(".safetensors")
    }

    assert {name: lite[name] for name in lite if name.startswith("fercli/")} == wanted
    assert {name.partition("/")[2] for name in set(lite) - set(wanted)} == METADATA


def test_no_wheel_holds_pixels(built: dict[str, tuple[Path, Path]]) -> None:
    for _, wheel in built.values():
        for name, content in read_wheel(wheel).items():
            assert not name.endswith((".png", ".jpg", ".jpeg", ".npz", ".csv", ".gz")), name
            if name.endswith(".safetensors"):
                size = int.from_bytes(content[:8], "little")
                tensors = json.loads(content[8 : 8 + size])
                shapes = [one["shape"] for key, one in tensors.items() if key != "__metadata__"]
                assert [48, 48] not in [shape[-2:] for shape in shapes], name


def test_the_sdist_holds_what_the_checkout_does(built: dict[str, tuple[Path, Path]]) -> None:
    tops = {}
    for name, (sdist, _) in built.items():
        with tarfile.open(sdist) as archive:
            tops[name] = {member.name.split("/")[1] for member in archive.getmembers()}

    assert tops["fercli"] == {*INPUTS, "PKG-INFO"}
    assert tops["fercli-lite"] == {
        ".gitignore", "LICENSE", "PKG-INFO", "README.md", "hatch_build.py", "pyproject.toml", "src",
    }  # fmt: skip


def test_both_have_the_same_version(built: dict[str, tuple[Path, Path]]) -> None:
    for sdist, wheel in built.values():
        assert f"-{fercli.__version__}." in sdist.name
        assert f"-{fercli.__version__}-py3-none-any" in wheel.name


def test_the_small_package_asks_for_nothing_else_than_the_large() -> None:
    full, lite = (read_project(ROOT / path / "pyproject.toml") for path in (".", LITE))
    extras = full["optional-dependencies"]

    assert set(lite["dependencies"]) <= {*full["dependencies"], *extras["serve"]}
    for name, needs in lite["optional-dependencies"].items():
        assert needs == ([] if name == "serve" else extras[name])
    for field in ("requires-python", "license", "authors", "classifiers"):
        assert lite[field] == full[field], field
    license_file = (ROOT / "LICENSE").read_bytes()
    assert (ROOT / LITE / "LICENSE").read_bytes() == license_file


def load_hook() -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_of_the_index_page_lead_somewhere(built: dict[str, tuple[Path, Path]]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    adapt = load_hook().adapt

    linked = adapt(readme, "https://example.org/fercli")
    targets = re.findall(r"\]\(([^)]+)\)", linked)
    assert len(targets) > 5
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert "](https://example.org/fercli/blob/main/CHANGELOG.md)" in linked
    assert load_hook().list_addresses("https://example.org/fercli")["Source"] in targets[0]
    assert load_hook().list_addresses("") == {}
    alone = adapt(readme, "")
    assert ".png)" not in alone
    assert "In the browser, `fer serve --open` reads" in alone
    assert "](docs" not in alone
    assert not re.search(r"\w\.\.\s", alone)
    assert "Python 3.11 or newer. This makes a virtual" in alone
    assert "of this source" not in alone

    for name, (_, wheel) in built.items():
        about = f"{name.replace('-', '_')}-{fercli.__version__}.dist-info/METADATA"
        page = read_wheel(wheel)[about].decode().partition("\n\n")[2]
        relative = re.findall(r"\]\((?!https://|#)([^)]+)\)", page)
        assert relative == [], name
        assert "pip install ." not in page
        assert "nox" not in page
        assert "pip install fercli" in page
