"""The report: every figure computed a second time, from predictions.csv alone."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from fercli.data import Dataset, save_dataset
from fercli.emotions import LABELS
from fercli.evaluation import FILES
from fercli.evaluation.protocol import judge_split
from fercli.metadata import DatasetRecord, ModelMetadata, TeacherRecord, ValidationRecord
from fercli.model_files import load_network, save_model
from fercli.runs import RunFolder
from fercli.storage import RECORD_DIGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fercli.config import TrainConfig

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
PICTURES = [name for name in FILES.values() if name.endswith(".png")]


class Page(HTMLParser):
    """The tables of a page by caption, as rows of text, and what else a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self._caption = ""
        self._cell = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in {"td", "th"}:
            self._cell = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if "caption" in self._inside:
            self._caption += data
        self._cell += data

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        if tag in {"td", "th"}:
            self.tables[self._caption][-1].append(self._cell)

    def find(self, start: str) -> dict[str, list[str]]:
        """Return the rows of the table whose caption begins so, by their first cell."""
        (rows,) = (rows for caption, rows in self.tables.items() if caption.startswith(start))
        return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def twinned(faces: Dataset) -> Dataset:
    """The faces, seven of the private ones replaced by faces that were learned from."""
    images = faces.images.copy()
    train, private = faces.find_split("train"), faces.find_split("private")
    assert train is not None
    assert private is not None
    images[private[:7]] = images[train[:7]]
    return dataclasses.replace(faces, images=images)


@pytest.fixture(scope="module")
def scored(trained: RunFolder, twinned: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the private split, with mirrored scores."""
    from fercli.evaluation import evaluate, write_files
    from fercli.model_files import find_model, open_runtime

    folder = tmp_path_factory.mktemp("report")
    model = find_model(str(trained.path))
    runtime = open_runtime(model, device="cpu")
    evaluation = evaluate(runtime, model, twinned, "private", tta=True)
    write_files(evaluation, folder)
    return folder


@pytest.fixture(scope="module")
def metrics(scored: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((scored / "metrics.json").read_text())
    return read


@pytest.fixture(scope="module")
def page(scored: Path) -> Page:
    return Page((scored / "report.html").read_text())


def read_rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))


def read_answers(folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return truth, plain and mirrored probabilities, and what was learned from."""
    rows = read_rows(folder)
    truth = np.array([LABELS.index(row["true"]) for row in rows])
    plain, mirrored = (
        np.array([[float(row[f"{prefix}p_{name}"]) for name in LABELS] for row in rows])
        for prefix in ("", "tta_")
    )
    for row, answer in zip(rows, plain, strict=True):
        assert row["predicted"] == LABELS[answer.argmax()]
    return truth, plain, mirrored, np.array([row["in_train"] == "1" for row in rows])


def score(truth: NDArray[Any], answers: NDArray[Any]) -> dict[str, Any]:
    """Compute every score in the plainest way there is."""
    said = answers.argmax(1)
    matrix = [[int(((truth == a) & (said == b)).sum()) for b in range(7)] for a in range(7)]
    per_class = {}
    for kind, name in enumerate(LABELS):
        hits, claimed, support = matrix[kind][kind], sum(row[kind] for row in matrix), sum(
            matrix[kind]
        )  # fmt: skip
        precision = hits / claimed if claimed else 0.0
        recall = hits / support if support else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        per_class[name] = {"precision": precision, "recall": recall, "f1": f1, "support": support}
    n = len(truth)
    share, z = sum(matrix[kind][kind] for kind in range(7)) / n, 1.959963984540054
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    ece = 0.0
    for low in range(15):
        inside = [i for i in range(n) if low / 15 < answers[i].max() <= (low + 1) / 15]
        ece += abs(sum(answers[i].max() - (said[i] == truth[i]) for i in inside)) / n
    columns = list(per_class.values())
    return {
        "n_images": n,
        "accuracy": share,
        "accuracy_ci95": [middle - half, middle + half],
        "macro_f1": sum(one["f1"] for one in columns) / 7,
        "macro_precision": sum(one["precision"] for one in columns) / 7,
        "macro_recall": sum(one["recall"] for one in columns) / 7,
        "weighted_f1": sum(one["f1"] * one["support"] for one in columns) / n,
        "weighted_precision": sum(one["precision"] * one["support"] for one in columns) / n,
        "weighted_recall": share,
        "balanced_accuracy": sum(one["recall"] for one in columns) / 7,
        "nll": -sum(np.log(answers[i][truth[i]]) for i in range(n)) / n,
        "ece": ece,
        "brier": sum(((answers[i] - np.eye(7)[truth[i]]) ** 2).sum() for i in range(n)) / n,
        "per_class": per_class,
        "confusion_matrix": matrix,
    }


def test_every_score_comes_out_of_the_predictions(
    scored: Path, metrics: dict[str, Any], twinned: Dataset
) -> None:
    truth, plain, mirrored, seen = read_answers(scored)

    for block, answers in ((metrics, plain), (metrics["tta"], mirrored)):
        for name, value in score(truth, answers).items():
            if name == "per_class":
                for label, each in value.items():
                    assert block[name][label] == pytest.approx(each), label
            else:
                assert np.asarray(block[name]) == pytest.approx(np.asarray(value), abs=1e-6), name
    right = plain.argmax(1) == truth
    learned = {image.tobytes() for image in twinned.select("train").images}
    wanted = [image.tobytes() in learned for image in twinned.select("private").images]
    assert seen.tolist() == wanted
    assert 7 <= sum(wanted) < 60
    assert metrics["deduplicated"]["n_seen"] == sum(wanted)
    assert metrics["deduplicated"]["accuracy"] == pytest.approx(right[~seen].mean())
    assert metrics["deduplicated"]["source"] == "dataset and model"
    for point in metrics["coverage"]:
        sure = plain.max(1) >= point["min_confidence"]
        assert point["coverage"] == pytest.approx(sure.mean())
        if sure.any():
            assert point["accuracy"] == pytest.approx(right[sure].mean())
    fitted = metrics["calibration"]
    before = plain ** fitted["temperature"]
    before /= before.sum(1, keepdims=True)
    assert fitted["ece_before"] == pytest.approx(score(truth, before)["ece"], abs=1e-5)
    assert fitted["nll_before"] == pytest.approx(score(truth, before)["nll"], abs=1e-5)
    counts = {
        (a, b): n
        for a, row in zip(LABELS, metrics["confusion_matrix"], strict=True)
        for b, n in zip(LABELS, row, strict=True)
        if a != b
    }
    most = sorted(counts.values(), reverse=True)[: len(metrics["confusions"])]
    assert [one["n_images"] for one in metrics["confusions"]] == most
    assert all(counts[one["true"], one["predicted"]] == one["n_images"]
               for one in metrics["confusions"])  # fmt: skip


def test_every_figure_of_the_page_is_that_of_the_predictions(scored: Path, page: Page) -> None:
    truth, plain, mirrored, seen = read_answers(scored)
    columns = [score(truth, plain), score(truth, mirrored)]
    percent, digits = "{:.2%}".format, "{:.4f}".format

    table = page.find("Plain scores")
    for row, name, form in (
        ("accuracy", "accuracy", percent), ("macro F1", "macro_f1", percent),
        ("balanced accuracy", "balanced_accuracy", percent),
        ("negative log-likelihood, nats", "nll", digits),
        ("expected calibration error, 15 bins", "ece", digits), ("Brier score", "brier", digits),
    ):  # fmt: skip
        assert table[row] == [form(column[name]) for column in columns], row
    assert table["95 % interval"] == [
        "{:.2%} to {:.2%}".format(*column["accuracy_ci95"]) for column in columns
    ]
    labels = page.find("Scores of each label")
    for name, each in columns[0]["per_class"].items():
        wanted = [percent(each[key]) for key in ("precision", "recall", "f1")]
        assert labels[name] == [*wanted, str(each["support"])]
    for kind in ("macro", "weighted"):
        wanted = [percent(columns[0][f"{kind}_{key}"]) for key in ("precision", "recall", "f1")]
        assert labels[f"{kind} average"] == [*wanted, "60"]
    matrix = page.find("Rows are the true labels")
    for name, counts in zip(LABELS, columns[0]["confusion_matrix"], strict=True):
        assert matrix[name] == [str(count) for count in counts]
    right, sure = plain.argmax(1) == truth, plain.max(1)
    text = " ".join(page.text.split())
    assert f"private {percent(right.mean())} accuracy" in text
    assert "n = 60, of 7 labels" in text
    assert f"{seen.sum()} of the images are also training images" in text
    assert f"Without them: {percent(right[~seen].mean())} (n = {(~seen).sum()})" in text
    counts = columns[0]["confusion_matrix"]
    most = max((counts[a][b], a, b) for a in range(7) for b in range(7) if a != b)[0]
    pairs = [(a, b) for a in range(7) for b in range(7) if a != b and counts[a][b] == most]
    assert any(
        f"{LABELS[a]} taken for {LABELS[b]} ({most}, {percent(most / sum(counts[a]))}" in text
        for a, b in pairs
    )
    mistakes = page.find("The most confident errors")
    assert len(mistakes) - 1 == min(32, (~right).sum())
    surest = max(sure[~right])
    assert list(mistakes.values())[1][2] == percent(surest)
    for threshold, (covered, accurate) in list(page.find("What fer predict").items())[1:]:
        answered = sure >= float(threshold)
        assert covered == percent(answered.mean())
        assert accurate == (percent(right[answered].mean()) if answered.any() else "none")


def test_the_page_stands_alone(scored: Path, page: Page) -> None:
    tags = [tag for tag, _ in page.tags]

    assert "script" not in tags
    assert "link" not in tags
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    # The curves of the training are shown as well, damaged images were not asked for.
    assert len(images) == len(PICTURES)
    for attributes in images:
        assert (attributes["src"] or "").startswith("data:image/png;base64,")
        assert len(attributes["alt"] or "") > 10
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    for name in set(PICTURES) - {"robustness.png"}:
        with Image.open(scored / name) as image:
            assert min(image.size) > 300, name


def test_the_page_says_whose_labels_are_the_voters(twinned: Dataset, trained: RunFolder) -> None:
    from fercli.evaluation import evaluate
    from fercli.evaluation.report import build_report
    from fercli.model_files import find_model, open_runtime

    model = find_model(str(trained.onnx))
    evaluation = evaluate(open_runtime(model, device="cpu"), model, twinned, "private")
    votes = {**evaluation.result.dataset, "labeling": "ferplus"}
    by_voters = dataclasses.replace(
        evaluation, result=dataclasses.replace(evaluation.result, dataset=votes)
    )

    pages = [build_report(one, {}, np.zeros(0, np.intp)) for one in (evaluation, by_voters)]

    assert ["voters gave" in page for page in pages] == [False, True]


def test_both_forms_of_a_model_give_the_same_report(
    run: Run, scored: Path, trained: RunFolder, twinned: Dataset
) -> None:
    save_dataset(Path("twinned.safetensors"), twinned)
    words = ["evaluate", trained.onnx, "--data", "twinned.safetensors", "--output", "onnx"]
    assert run(*words).exit_code == 0

    for one, other in zip(read_rows(scored), read_rows(Path("onnx")), strict=True):
        assert one["predicted"] == other["predicted"]
        for name in LABELS:
            assert float(one[f"p_{name}"]) == pytest.approx(float(other[f"p_{name}"]), abs=1e-4)


def test_eight_bits_give_the_same_report_within_what_export_allows(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    data = ["--data", dataset_path]
    run_json("export", trained.path, "--int8", *data)
    words = ["--split", "public", *data]

    fp32 = run_json("evaluate", trained.onnx, *words)["data"]
    int8 = run_json("evaluate", "model-int8.onnx", *words, "--output", "int8")["data"]
    compared = run_json("compare", trained.onnx, "model-int8.onnx", *words)["data"]

    assert set(fp32) == set(int8)
    assert int8["accuracy"] >= fp32["accuracy"] - 0.005
    assert compared["n_disagreements"] <= 0.05 * fp32["n_images"]
    (pair,) = compared["pairs"]
    assert pair["difference"] == pytest.approx(int8["accuracy"] - fp32["accuracy"])
    accurate = [row["predicted"] == row["true"] for row in read_rows(Path("int8"))]
    assert np.mean(accurate) == pytest.approx(int8["accuracy"])
    assert Path("int8/report.html").exists()


def test_a_score_on_the_split_that_chose_is_called_selection(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    copy = RunFolder(Path("copy"))
    shutil.copytree(trained.path, copy.path)
    words = ["evaluate", copy.path, "--data", dataset_path, "--split"]

    said = {
        split: run_json(*words, split)["data"]["protocol"]
        for split in ("private", "public", "test", "train")
    }

    assert said == {
        "private": "held-out", "public": "selection", "test": "selection", "train": "training"
    }  # fmt: skip
    kept = [json.loads(line) for line in copy.scores.read_text().splitlines()]
    assert [line["protocol"] for line in kept] == list(said.values())
    shown = run(*words, "public", "--output", "scores").stdout
    assert "selection score: the checkpoint was chosen on public" in shown
    assert "train with --validation 0.1 to keep public held out" in shown
    assert "A selection score." in Path("scores/report.html").read_text()
    assert "selection" in run("info", copy.path).stdout
    private = run(*words, "private").stdout
    assert "held-out: nothing about this model was chosen on private" in private
    assert "selection" not in private


@pytest.mark.usefixtures("weights_alone")
def test_a_student_inherits_the_choice_of_its_teacher(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    run_json(
        "train", "--data", dataset_path, "--recipe", "fast", "--epochs", 1, "--batch-size", 100,
        "--set", "widths=8", "--set", "stem_width=4", "--device", "cpu", "--output", "student",
        "--teacher", trained.path, "--validation", 0.2,
    )  # fmt: skip

    data = run_json("evaluate", "student", "--data", dataset_path, "--split", "public")["data"]

    assert data["protocol"] == "selection"
    assert data["calibration"]["fitted_on"] == "0.2"


def test_a_cards_known_bias_is_on_faces_of_the_models_own_kind(
    run: Run, trained: RunFolder, dataset_path: Path, image_folder: Path
) -> None:
    shutil.copytree(trained.path, "run")
    assert run("data", "prepare", image_folder, "--output", "other.safetensors").exit_code == 0
    for data in (dataset_path, "other.safetensors"):
        assert run("evaluate", "run", "--data", data, "--split", "public").exit_code == 0

    assert run("info", "run", "--card", "CARD.md").exit_code == 0

    bias = Path("CARD.md").read_text().partition("Known bias")[2]
    assert "public it finds" in bias


def test_images_that_were_learned_from_are_left_out_without_the_train_split(
    run_json: RunJson, trained: RunFolder, faces: Dataset
) -> None:
    # The test images alone, the first of them replaced by one that was learned from.
    alone = _take_private(faces)
    images = alone.images.copy()
    images[0] = faces.select("train").images[0]
    alone = dataclasses.replace(alone, images=images)
    save_dataset(Path("alone.safetensors"), alone)
    words = ["--data", "alone.safetensors"]

    shutil.copytree(trained.path, "run")
    by_run = run_json("evaluate", "run", *words)["data"]["deduplicated"]
    copied = shutil.copy(trained.onnx, "copy.onnx")
    by_file = run_json("evaluate", copied, *words)["data"]["deduplicated"]
    shutil.copy(trained.train_digests, ".")
    beside = run_json("evaluate", copied, *words)["data"]["deduplicated"]

    assert (by_run["n_seen"], by_run["n_images"], by_run["source"]) == (1, 59, "model")
    assert by_file is None
    assert beside == by_run


def test_a_damaged_list_of_training_images_is_refused(
    run: Run, trained: RunFolder, faces: Dataset, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "copy")
    listed = RunFolder(Path("copy")).train_digests
    listed.write_bytes(listed.read_bytes()[:-8])
    save_dataset(Path("few.safetensors"), _take_private(faces))

    for data in (dataset_path, "few.safetensors"):
        result = run("evaluate", "copy", "--data", data)
        assert result.exit_code == 4
        assert "train-digests" in result.stderr


def name_labels(trained: RunFolder, faces: Dataset, names: tuple[str, ...]) -> None:
    """Write `hostile`, a run, and `hostile.safetensors`, its data, with other names of labels."""
    dataset = dataclasses.replace(faces, label_names=names)
    save_dataset(Path("hostile.safetensors"), dataset)
    run_folder = RunFolder(Path("hostile"))
    shutil.copytree(trained.path, run_folder.path)
    run_folder.onnx.unlink()
    network, metadata = load_network(trained.model)
    config = metadata.network.build_config(trained.model)
    save_model(run_folder.model, network, config, metadata.replace(labels=names))


def test_names_are_text_not_markup(run: Run, trained: RunFolder, faces: Dataset) -> None:
    name_labels(trained, faces, ("<script>alert(1)</script>", *faces.label_names[1:]))

    result = run("evaluate", "hostile", "--data", "hostile.safetensors", "--output", "scores")

    assert result.exit_code == 0
    page = Path("scores/report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def _take_private(faces: Dataset) -> Dataset:
    private = faces.select("private")
    n_images = len(private.labels)
    return dataclasses.replace(
        faces, images=private.images, labels=private.labels,
        splits=np.full(n_images, faces.split_names.index("private"), dtype=np.uint8),
        source_row=np.arange(n_images, dtype=np.int32),
    )  # fmt: skip


def test_a_split_that_was_learned_from_is_training_under_any_name(
    run: Run, run_json: RunJson, trained: RunFolder, faces: Dataset
) -> None:
    alone = _take_private(faces)
    learned = dataclasses.replace(alone, images=faces.select("train").images[: len(alone.images)])
    save_dataset(Path("learned.safetensors"), learned)
    shutil.copytree(trained.path, "run")

    data = run_json("evaluate", "run", "--data", "learned.safetensors")["data"]
    result = run("evaluate", "run", "--data", "learned.safetensors", "--output", "scores")

    assert data["protocol"] == "training"
    assert data["deduplicated"] == {
        "n_images": 0, "accuracy": None, "n_seen": 60, "source": "model"
    }  # fmt: skip
    assert "nothing (n = 0; 60 left out)" in result.stdout
    assert "Without them, no image is left" in Path("scores/report.html").read_text()


def test_whose_choice_it_was_is_judged_by_name(faces: Dataset) -> None:
    real = dataclasses.replace(faces, source="fer2013.csv")
    folder = dataclasses.replace(real, split_names=("train", "test", "other"))
    own = ModelMetadata(
        labels=LABELS,
        dataset=DatasetRecord(source="fer2013.csv", sha256="0"),
        validation=ValidationRecord(split="public", n_images=9, accuracy=0.5),
    )
    fraction = ValidationRecord(split="0.2", n_images=9, accuracy=0.5)
    by_fraction = own.replace(validation=fraction)
    teacher = TeacherRecord(sha256="0", validation=fraction, chosen_on=("0.2", "public"))

    assert judge_split(own, real, "private") == "held-out"
    assert judge_split(own, real, "public") == "selection"
    # A copy that calls public and private together test.
    assert judge_split(own, folder, "test") == "selection"
    assert judge_split(by_fraction, real, "public") == "held-out"
    # A teacher's teacher chose.
    assert judge_split(by_fraction.replace(teachers=(teacher,)), real, "public") == "selection"
    assert judge_split(ModelMetadata(labels=LABELS), real, "public") == "unknown"
    # Synthetic faces choose nothing for real ones; a folder may be called as it likes.
    assert judge_split(own, faces, "public") == "held-out"
    named = dataclasses.replace(faces, source="synthetic-faces")
    assert judge_split(own, named, "public") == "selection"


@pytest.mark.usefixtures("weights_alone")
def test_what_a_teacher_was_chosen_on_reaches_the_third_generation(
    faces: Dataset, tiny_config: TrainConfig, trained: RunFolder
) -> None:
    from fercli.model_files import find_model as find
    from fercli.model_files import list_selection_splits, read_metadata
    from fercli.settings import build_config
    from fercli.training import train

    teacher = str(trained.path)
    for name in ("second", "third"):
        changes = {"teacher": teacher, "validation": "0.2", "epochs": 1}
        train(faces, build_config(changes, base=tiny_config), RunFolder(Path(name)))
        teacher = name

    assert list_selection_splits(read_metadata(find("third"))) == ["0.2", "public"]


def test_scores_of_other_data_do_not_replace_a_runs_own(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "run")
    run("evaluate", "run", "--data", dataset_path)
    run("evaluate", "run", "--data", "synthetic:200")

    scores = run_json("info", "run")["data"]["scores"]

    assert {split: entry["n_images"] for split, entry in scores.items()} == {
        "private": 60, "private of synthetic:200": 20
    }  # fmt: skip
    assert run("export", "run", "--output", "out.onnx").exit_code == 0
    assert run_json("info", "out.onnx")["data"]["scores"] == scores


def test_torn_scores_cost_themselves_alone(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "run")
    kept = RunFolder(Path("run")).scores
    run("evaluate", "run", "--data", dataset_path)
    whole = kept.read_text()
    old = json.loads(whole)
    del old["per_class"], old["protocol"], old["ece"], old[RECORD_DIGEST]
    kept.write_bytes(b"[]\n\xff\xfe\n" + json.dumps(old).encode() + b"\n" + whole[:-20].encode())

    run("evaluate", "run", "--data", dataset_path, "--split", "public")

    assert set(run_json("info", "run")["data"]["scores"]) == {"private", "public"}
    assert run("info", "run", "--card", "CARD.md").exit_code == 0
    assert "| private | synthetic:600 | unknown | 60 |" in Path("CARD.md").read_text()


def test_markdown_in_names_is_text_in_a_card(run: Run, trained: RunFolder, faces: Dataset) -> None:
    name_labels(trained, faces, ("a|b", "<img src=x>", "$x$", *faces.label_names[3:]))
    words = ["evaluate", "hostile", "--data", "hostile.safetensors", "--output", "scores"]

    assert run(*words).exit_code == 0
    assert run("info", "hostile", "--card", "CARD.md").exit_code == 0

    card = Path("CARD.md").read_text()
    assert "<img" not in card
    assert "| a\\|b |" in card


def test_pictures_of_an_older_evaluation_do_not_stay(
    run: Run, trained: RunFolder, dataset_path: Path
) -> None:
    words = ["evaluate", trained.onnx, "--data", dataset_path, "--output", "scores"]
    Path("scores").mkdir()
    for name in FILES.values():
        Path("scores", name).write_text("older")
    assert run(*words).exit_code == 2

    assert run(*words, "--force").exit_code == 0

    assert not Path("scores/robustness.png").exists()
    Path("file").touch()
    assert run(*words[:-1], "file").exit_code == 2


def test_things_that_are_no_model_are_refused_at_once(run: Run) -> None:
    os.mkfifo("pipe.onnx")
    os.mkfifo("pipe.safetensors")

    assert run("evaluate", "pipe.onnx").exit_code == 4
    assert run("info", "pipe.safetensors").exit_code == 4
