from __future__ import annotations

import contextlib
import gzip
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fercli
from fercli.cli import (
    check,
    compare,
    demo,
    download,
    evaluate,
    explain,
    export,
    info,
    merge,
    models,
    predict,
    prepare,
    serve,
    train,
)
from fercli.dependencies import is_there
from fercli.download import Downloaded
from fercli.emotions import LABELS
from fercli.images import live
from fercli.recipes import RECIPES

if TYPE_CHECKING:
    from typer.testing import Result

    from fercli.config import TrainConfig
    from fercli.data import Dataset
    from fercli.runs import RunFolder

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALONE = [page for page in PAGES if page.parent.name != "tutorials"]
"""Pages whose examples make sense one by one; test_tutorials.py follows the others."""
COMMANDS = {
    "data download": download.download_command,
    "data prepare": prepare.prepare_command,
    "data check": check.check_command,
    "train": train.train_command,
    "evaluate": evaluate.evaluate_command,
    "compare": compare.compare_command,
    "explain": explain.explain_command,
    "export": export.export_command,
    "predict": predict.predict_command,
    "merge": merge.merge_command,
    "serve": serve.serve_command,
    "models list": models.list_command,
    "models fetch": models.fetch_command,
    "info": info.info_command,
    "demo": demo.demo_command,
}
VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip
HOW_TO = {
    "data download": "download.md", "data prepare": "prepare.md", "data check": "check.md",
    "train": "train.md",
    "evaluate": "evaluate.md", "compare": "compare.md", "explain": "explain.md",
    "export": "export.md", "predict": "predict.md", "merge": "cluster.md",
    "serve": "serve.md", "models list": "models.md",
    "models fetch": "models.md", "info": "info.md", "demo": "demo.md",
}  # fmt: skip


def list_help_examples(name: str) -> list[str]:
    text = inspect.cleandoc(COMMANDS[name].__doc__ or "").partition("Examples:\n")[2]
    return [line.strip() for line in text.splitlines() if "fer " in line]


def list_page_examples() -> list[str]:
    """Return every `fer` command in a shell block of the documentation, once."""
    found: dict[str, None] = {}
    for page in ALONE:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                if line.startswith("fer "):
                    found[line.partition("#")[0].strip()] = None
    return list(found)


EXAMPLES = sorted({*list_page_examples(), *(e for n in COMMANDS for e in list_help_examples(n))})


def write_votes(path: Path, table_rows: list[tuple[object, object, str]]) -> None:
    """Write FER+'s table for a table; everybody is for its label."""
    words = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    lines = [
        f"{usage},," + ",".join("10" if name == words[int(str(label))] else "0" for name in VOTES)
        for label, _, usage in table_rows
    ]
    path.write_text("\n".join([f"Usage,Image name,{','.join(VOTES)}", *lines]) + "\n")


@pytest.fixture
def clip(make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    """A video under the name that examples use."""
    return make_clip(tmp_path / "clip.mp4", "ffb", "mp4v")


@pytest.fixture
def named_models(
    trained: RunFolder, make_external: Callable[..., object], clip: Path, tmp_path: Path
) -> Path:
    """Runs and models under the names that examples use; beside them the video."""
    assert clip.parent == tmp_path
    for name in ("fast", "standard", "small", "ensemble"):
        shutil.copytree(trained.path, tmp_path / "runs" / name)
    for name in ("model", "face"):
        shutil.copy(trained.onnx, tmp_path / f"{name}.onnx")
    make_external(tmp_path / "other.onnx", ["N", 1, 64, 64], 8)
    return tmp_path


@pytest.fixture
def workplace(
    named_models: Path,
    face_files: Path,
    dataset_path: Path,
    image_folder: Path,
    table_rows: list[tuple[object, object, str]],
    make_table: Callable[..., Path],
) -> Path:
    """A folder in which every example makes sense: sources, faces, runs, a model, a default."""
    tmp_path = named_models
    rows = make_table(tmp_path / "fer2013.csv", table_rows)
    (tmp_path / "fer2013.csv.gz").write_bytes(gzip.compress(rows.read_bytes()))
    shutil.make_archive(str(tmp_path / "archive"), "zip", image_folder)
    for number, label in enumerate(LABELS, start=1):
        shutil.copytree(face_files, tmp_path / "faces-by-number" / str(number))
        shutil.copytree(face_files, tmp_path / "faces-by-label" / label)
    write_votes(tmp_path / "fer2013new.csv", table_rows)
    for name in ("faces", "own"):
        shutil.copy(dataset_path, tmp_path / f"{name}.safetensors")
    contents = [path.read_bytes() for path in sorted(face_files.glob("*.png"))]
    table = pa.table({"image": contents, "thumbnail": contents})
    pq.write_table(table, tmp_path / "dataset.parquet")
    for number in range(2):
        shutil.make_archive(str(tmp_path / "shards" / f"shard-{number:03}"), "tar", face_files)
    Image.open(face_files / "face-0.png").save(tmp_path / "photo.jpg")
    shutil.copy(face_files / "face-1.png", tmp_path / "one.png")
    return tmp_path


@pytest.fixture
def cameras(stream: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every live source be one of ours."""
    url = stream("f", for_ever=True)
    ours = live.parse_live_source(url)
    open_capture = live.open_capture
    monkeypatch.setattr("fercli.images.live.open_capture", lambda _source: open_capture(ours))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_and_a_page(name: str) -> None:
    page = (ROOT / "docs" / "how-to" / HOW_TO[name]).read_text(encoding="utf-8")

    assert len(list_help_examples(name)) >= 2
    assert f"fer {name}" in page
    assert "Exit status" in (COMMANDS[name].__doc__ or "")


@contextlib.contextmanager
def stop_at_once() -> Iterator[Callable[[], int]]:
    """Stand in for `catch_signals`: somebody has typed Ctrl-C."""
    yield lambda: 2


def have_what_examples_need(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads and parts be there already, and the bundled model that an example names."""
    here = Downloaded(path=Path("archive.zip"), n_bytes=1, sha256="", was_there=True)
    for place in ("fercli.download", "fercli.download.detectors"):
        monkeypatch.setattr(f"{place}.download", lambda *_a, **_b: here)
    if example.startswith("fer merge"):
        rows = fercli.load("model.onnx").predict_files("faces", shard=(0, 1))
        rows.save_part(example.split()[2])
    if {"base", "plus", "tiny"} & set(example.split()):
        assets = Path(fercli.__file__).parent / "assets"
        monkeypatch.setattr("fercli.model_files._ASSETS", assets)


@pytest.mark.usefixtures("cameras", "actors_here")
@pytest.mark.parametrize("example", [e for e in EXAMPLES if not e.startswith("fer demo")])
def test_examples_run(
    example: str,
    workplace: Path,
    dataset_path: Path,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preparing = example.startswith(("fer data prepare", "fer data download"))
    example = example.replace("DIGEST", 64 * "0")
    # Ten thousand faces take a minute to draw.
    example = re.sub(r"synthetic(?![:.])", "synthetic:1000", example)
    have_what_examples_need(example, monkeypatch)
    if not preparing:
        home = workplace / "home"
        home.mkdir(exist_ok=True)
        shutil.copy(dataset_path, home / "fer2013.safetensors")
    if example.startswith("fer export") or preparing:
        for name in ("model.onnx", "face.onnx", "faces.safetensors", "own.safetensors"):
            (workplace / name).unlink()
    if example.startswith("fer train") and "--resume" not in example:
        # What would be run is worked out in full; minutes of training are left out.
        example += " --dry-run"
    if example.startswith("fer serve"):
        # It is stopped as soon as it answers, and takes a port that no other test has.
        monkeypatch.setattr("fercli.serve.server.catch_signals", stop_at_once)
        monkeypatch.setattr("webbrowser.open", lambda _url: True)
        example += " --port 0"
    if re.match("fer predict ([0-9]|rtsp:|http:)", example):
        # Some frames are as good as those of ten seconds.
        example += " --end 0.5s"
    if "|" in example or ">" in example:
        monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}:/usr/bin:/bin")
        done = subprocess.run(["bash", "-c", example], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return

    result = run(*shlex.split(example)[1:])

    # The tiny model of the tests need not be as good as an example requires.
    allowed = {0, 6} if "--require" in example else {0}
    allowed = {130} if example.startswith("fer serve") else allowed
    assert result.exit_code in allowed, result.output


@pytest.mark.usefixtures("cameras")
@pytest.mark.parametrize(
    "page", [page for page in ALONE if "```python" in page.read_text() and page.stem != "serve"]
)
def test_programs_run(
    page: Path,
    workplace: Path,
    faces: Dataset,
    tiny_config: TrainConfig,
    make_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Programs see what a user has: the bundled models, and a table large enough to train on.

    Of the recipe they name, only its size is another.
    """
    monkeypatch.setattr("fercli.model_files._ASSETS", Path(fercli.__file__).parent / "assets")
    monkeypatch.setattr("fercli.recipes.RECIPES", {**RECIPES, "fast": tiny_config})
    usages = ["Training"] * 64 + ["PublicTest"] * 32 + ["PrivateTest"] * 32
    rows = [
        (faces.labels[row], " ".join(map(str, faces.images[row].ravel())), usage)
        for row, usage in enumerate(usages)
    ]
    make_table(workplace / "fer2013.csv", rows)
    (workplace / "home").mkdir()
    shutil.copy(workplace / "faces.safetensors", workplace / "home" / "fer2013.safetensors")
    shutil.copy(workplace / "one.png", workplace / "crop.png")
    if 'output="runs/mine"' not in page.read_text():
        # What another page trains.
        shutil.copytree(workplace / "runs" / "fast", workplace / "runs" / "mine")
    names: dict[str, object] = {}

    for program in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(program, str(page), "exec"), names)  # noqa: S102  # our own pages


@pytest.mark.usefixtures("weights_alone")
@pytest.mark.filterwarnings("ignore")
def test_the_search_for_settings_runs(
    workplace: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    monkeypatch.setattr("fercli.recipes.RECIPES", {**RECIPES, "fast": tiny_config})
    page = ROOT / "docs" / "how-to" / "sweeps.md"
    (program,) = re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)

    exec(compile(program, str(page), "exec"), {})  # noqa: S102  # our own page

    study = optuna.load_study(study_name="fast", storage="sqlite:///sweep.db")
    assert len(study.trials) == 4
    assert (workplace / "sweep" / "trial-3" / "run.json").exists()


@pytest.mark.parametrize(
    ("language", "command"),
    [("bash", ["bash", "-ec"]), ("python", [sys.executable, "-c"]),
     ("javascript", ["node", "--input-type=module", "-e"])],
    ids=["bash", "python", "javascript"],
)  # fmt: skip
def test_programs_talk_to_the_service(
    language: str, command: list[str], open_service: Callable[..., Any], photo: Path
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    page = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    [program] = [text for text in blocks if "/api/predict" in text]
    service = open_service("plus")
    Image.open(photo).save("photo.jpg")
    Image.open(photo).resize((48, 48)).save("one.png")

    program = program.replace("127.0.0.1:8013", f"127.0.0.1:{service.port}")
    done = subprocess.run([*command, program], capture_output=True, text=True, check=True)

    assert "happy" in done.stdout


def test_scripts_of_schedulers_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, with the variables that a scheduler would set."""
    page = (ROOT / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    scripts = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    # The commands of containers stand within what describes a job.
    jobs = re.findall(r"""['"](fer predict .*? \|\| \[ \$\? -eq 7 \])['"]""", page)
    assert len(scripts) >= 3
    assert len(jobs) == 2
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}:/usr/bin:/bin")
    for name in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX"):
        monkeypatch.setenv(name, "3")
    shutil.copytree("faces", "photos")

    for script in scripts:
        # `nox -s cluster` has Ray.
        if "--engine ray" not in script or is_there("ray"):
            subprocess.run(["bash", "-ec", script], check=True, capture_output=True)
    for number, job in enumerate(jobs):
        job = job.replace("--output parts", f"--output job-{number}")  # noqa: PLW2901  # its own folder
        subprocess.run(["sh", "-c", job], check=True, capture_output=True)

    rows = [Path(name).read_bytes() for name in ("rows.jsonl", "eight.jsonl")]
    assert rows[0] == rows[1]
    assert len(rows[0].splitlines()) == len(list((workplace / "faces").iterdir()))
    for folder in ("slurm", "job-0", "job-1"):
        assert (workplace / folder / "part-00003-of-00064.jsonl").exists()


def test_readme_has_two_commands_first() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"## (.+?)\n.*?```bash\n(.*?)```", text, re.DOTALL)

    assert [heading for heading, _ in blocks[:2]] == ["Install", "Run the tests"]
    assert "venv" in blocks[0][1]
    assert "fer demo" in blocks[0][1]
    assert "nox" in blocks[1][1]


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        broken += [
            f"{page.name}: {target}"
            for target in targets
            if "://" not in target and not (page.parent / target).exists()
        ]

    assert broken == []


def test_no_placeholder_is_left() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}

    assert [name for name, text in texts.items() if re.search(r"@[A-Z]+@|TODO|FIXME", text)] == []
