"""What only a release looks at: workflows, forms, the citation, the version everywhere."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import fercli

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra `hub`")

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
ALLOWED = {"contents": "read", "id-token": "write", "attestations": "write"}

outside = pytest.mark.skipif(not GITHUB.exists(), reason="an sdist has no workflows")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path.name, name, job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()
    ]


@outside
def test_workflows_have_no_rights_but_those_of_a_job() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {}, path.name
    for workflow, name, job in list_jobs():
        assert job["permissions"].items() <= ALLOWED.items(), (workflow, name)
        assert ("id-token" in job["permissions"]) == (name == "publish")
        assert ("environment" in job) == (name == "publish")


@outside
def test_actions_are_pinned_and_say_their_version() -> None:
    for path in WORKFLOWS:
        used = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
        assert used
        for one in used:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


@outside
def test_jobs_are_sessions_of_nox_that_exist() -> None:
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = {
        given or name
        for given, name in re.findall(
            r'@nox\.session(?:\([^)]*?name="([\w-]+)"[^)]*\)|\([^)]*\))?\ndef (\w+)', text
        )
    }
    asked = set()
    for _, _, job in list_jobs():
        asked |= set(job.get("strategy", {}).get("matrix", {}).get("session", []))
        for step in job["steps"]:
            asked |= set(re.findall(r"nox -s ([\w-]+)", step.get("run", "")))

    assert {"lint", "types", "tests", "site", "lite", "build"} <= asked
    assert asked <= sessions


@outside
def test_the_matrix_is_what_the_classifiers_promise() -> None:
    matrix = read(GITHUB / "workflows" / "ci.yml")["jobs"]["tests"]["strategy"]["matrix"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert matrix["python"] == re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    systems = {name.split("-")[0] for name in matrix["system"]}
    assert systems == {"ubuntu", "macos", "windows"}
    assert project.count('"Operating System ::') == len(systems)


@outside
def test_forms_of_issues_can_be_read() -> None:
    assert len(FORMS) == 4
    for path in FORMS:
        form = read(path)
        if path.stem == "config":
            continue
        assert {"name", "description", "body"} <= set(form)
        names = [item["id"] for item in form["body"]]
        assert len(names) == len(set(names))
        for item in form["body"]:
            assert item["type"] in {"textarea", "input", "checkboxes"}
            assert item["attributes"]["label"]


def test_the_citation_is_of_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")

    assert citation["version"] == fercli.__version__
    assert citation["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.fixture
def check() -> Any:
    spec = importlib.util.spec_from_file_location("c", ROOT / "scripts" / "check_release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.find_wrong


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A tree that may be released."""
    (tmp_path / "src" / "fercli").mkdir(parents=True)
    (tmp_path / "src" / "fercli" / "__init__.py").write_text('__version__: Final = "1.2.3"\n')
    (tmp_path / "CITATION.cff").write_text("title: x\nversion: 1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-12-01\n\n- All.\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[tool.hatch.metadata.hooks.custom]\nrepository = "https://example.org/fercli"\n'
    )
    return tmp_path


def test_a_release_that_says_one_version_is_ready(check: Any, ready: Path) -> None:
    assert check(ready, "v1.2.3") == []
    assert check(ready, "v1.2.4") == ["the tag is v1.2.4, __version__ 1.2.3"]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("CITATION.cff", "1.2.3", "1.2.2", "CITATION.cff"),
        ("CHANGELOG.md", "1.2.3 -", "1.2.2 -", "there is no head"),
        ("CHANGELOG.md", "Unreleased\n", "Unreleased\n\n- Left.\n", "under Unreleased"),
        ("pyproject.toml", "https://example.org/fercli", "", "repository is empty"),
    ],
)
def test_what_a_release_lacks_is_said(
    name: str, old: str, new: str, said: str, check: Any, ready: Path
) -> None:
    path = ready / name
    path.write_text(path.read_text().replace(old, new))

    (wrong,) = check(ready, "v1.2.3")

    assert said in wrong


def test_the_tree_itself_is_looked_at(check: Any, tmp_path: Path) -> None:
    for name in ("CITATION.cff", "CHANGELOG.md", "pyproject.toml", "src/fercli/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    said = "\n".join(check(tmp_path, f"v{fercli.__version__}"))

    assert "__version__" not in said
    assert "CITATION.cff" not in said
