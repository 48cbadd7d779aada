"""Put a model into the package: `assets/NAME.onnx`, in fp16 or eight bits, and its card.

python scripts/bundle_model.py NAME RUN... --machine TEXT [--data SOURCE] [--teacher-run RUN]...
    [--int8] [--prepared COMMAND] [--majority SOURCE] [--other-labels TEXT]
python scripts/bundle_model.py NAME NAME --int8 [--data SOURCE]

Several runs are joined into one model. A bundled model in a run's place is put into eight bits, and
its card goes on saying how it was made. Of one run the weights come along in half precision,
`assets/NAME.safetensors`, for those who train on. Of FER+'s labels `--majority` names the set with
those images alone on which the voters agree, which is what the literature scores. The card is
written from what was measured here and from the runs' own records. Which images the model learned
from is kept beside it, so that `fer evaluate` can leave them out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fercli.data import load_data
from fercli.data.duplicates import digest_images, save_digests
from fercli.errors import ModelFileError
from fercli.evaluation import build_card, describe_scores, describe_training, evaluate
from fercli.export import (
    LabeledImages,
    ParityImages,
    export_any,
    export_model,
    join_models,
)
from fercli.export.writing import serialize_model
from fercli.inference.onnx import OnnxRuntime
from fercli.model_files import PINNED, ModelFile, find_model, open_runtime
from fercli.runs import TRAIN_DIGESTS, RunFolder, read_run_record
from fercli.storage import load_tensors, read_tensor_header, save_tensors, write_json

if TYPE_CHECKING:
    from fercli.data import Dataset
    from fercli.metadata import ModelMetadata, ScoreRecord

ASSETS: Final = Path(__file__).parents[1] / "src" / "fercli" / "assets"
CHOSEN_ON: Final = "public"
MAX_BYTES: Final = 12_000_000
MAX_PARAMETERS: Final = 5_000_000


def main() -> None:
    """Export, score, write the card."""
    options = read_options()
    dataset = load_data(options.data)
    again = [str(run) for run in options.runs] == [options.name]
    if not again:
        for run in options.runs:
            check_run(run, dataset)
    path = ASSETS / f"{options.name}.onnx"
    new = path.with_suffix(".new.onnx")
    run = options.runs[0] if len(options.runs) == 1 and not again else None
    weights, draft = path.with_suffix(".safetensors"), path.with_suffix(".new.safetensors")
    if run is not None:
        keep_weights(RunFolder(run).model, draft)
    sources = options.runs if run is None else [draft]
    export([find_model(str(source)) for source in sources], new, dataset, int8=options.int8)
    model = find_model(str(new))
    result = evaluate(open_runtime(model), model, dataset, CHOSEN_ON, tta=True).result
    scores = {CHOSEN_ON: describe_scores(result)}
    metadata = store_scores(new, scores)
    parameters = metadata.parameters or 0
    if new.stat().st_size > MAX_BYTES or parameters > MAX_PARAMETERS:
        new.unlink()
        draft.unlink(missing_ok=True)
        sys.exit(f"too large for the wheel: {parameters:,} parameters")
    new.replace(path)
    if run is not None:
        draft.replace(weights)
    elif not again:
        # They are of another model.
        weights.unlink(missing_ok=True)
    pin(path)
    keep_digests(options.name, dataset)
    bundled = ModelFile(path, run, assumed=False, bundled=options.name)
    card = path.with_suffix(".md")
    facts = read_facts(card, options) if again else list_facts(options)
    text = build_card(bundled, name=options.name, more=facts, scores=scores)
    card.write_text(text, encoding="utf-8")
    print(f"{path}: {path.stat().st_size:,} bytes, {result.scores.accuracy:.2%} on public plain")


def read_options() -> argparse.Namespace:
    """Return what was typed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument(
        "--teacher-run", type=Path, action="append", default=[], help="of --teacher, for the card"
    )
    parser.add_argument("--int8", action="store_true", help="in eight bits instead of fp16")
    parser.add_argument("--prepared", help="command that made --data, for the card")
    parser.add_argument("--majority", help="of FER+: the images on which the voters agree")
    parser.add_argument("--other-labels", help="what it learned from beside --data, for the card")
    parser.add_argument("--machine", help="what it was trained on, for the card; runs need it")
    options = parser.parse_args()
    if not options.machine and [str(run) for run in options.runs] != [options.name]:
        parser.error("--machine is missing")
    return options


def check_run(run: Path, dataset: Dataset) -> None:
    """Refuse a run that is not finished, or was trained on other data."""
    record = read_run_record(run)
    if not record.finished_at:
        sys.exit(f"{run} is not finished")
    if dataset.sha256 != record.dataset.sha256:
        sys.exit(f"{run} was trained on other data: {record.dataset.sha256}")


def export(models: list[ModelFile], target: Path, dataset: Dataset, *, int8: bool) -> None:
    """Write one model, or the mean of several."""
    if int8:
        print(export_any(models, target, dataset, int8=True))
        return
    judged = dataset.select(CHOSEN_ON)
    parity = ParityImages(judged.images[:256], CHOSEN_ON)
    if len(models) == 1:
        export_model(models[0], target, parity, half=True)
        return
    labeled = LabeledImages(images=judged.images, labels=judged.labels, split=CHOSEN_ON)
    join_models(models, target, parity, half=True, judged=labeled)


def list_facts(options: argparse.Namespace) -> dict[str, str]:
    """Return what the card says beside what the model file says itself."""
    facts = {"machine": options.machine}
    if options.other_labels:
        facts["other labels"] = options.other_labels
    if options.prepared:
        facts["prepared by"] = f"`{options.prepared}`"
    if options.majority:
        facts["voters' majority"] = describe_majority(options)
    if len(options.runs) > 1:
        names = " ".join(run.name for run in options.runs)
        facts["made by"] = f"`fer export {names} --fp16`, the mean of:"
        facts |= {run.name: describe_training(run) for run in options.runs}
    return facts | {f"teacher {run.name}": describe_training(run) for run in options.teacher_run}


def read_facts(card: Path, options: argparse.Namespace) -> dict[str, str]:
    """Return what a card says from `machine` on, which no model file tells, and the way to int8."""
    table = card.read_text(encoding="utf-8").partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ", 1) for line in table.splitlines() if " | " in line]
    names = [row[0] for row in rows]
    facts = {name: said.strip() for name, said in rows[names.index("machine") :]}
    if options.majority:
        facts["voters' majority"] = describe_majority(options)
    return facts | {"in eight bits": f"`fer export {options.name} --int8`"}


def describe_majority(options: argparse.Namespace) -> str:
    """Return the accuracy on images on which more than half of the voters agree."""
    model = find_model(str(ASSETS / f"{options.name}.onnx"))
    result = evaluate(open_runtime(model), model, load_data(options.majority), CHOSEN_ON).result
    low, high = result.scores.accuracy_ci95
    scores = result.scores
    return (
        f"{scores.accuracy:.2%} ({low:.2%} to {high:.2%}) of the {scores.n_images:,} images of "
        f"{CHOSEN_ON} on which more than half of the firm votes agree (Barsoum et al., 2016)"
    )


def keep_weights(model: Path, target: Path) -> None:
    """Write a model's weights for the package: filters and dense weights in half precision."""
    arrays, header = load_tensors(model, ModelFileError)
    halved = {
        name: array.astype(np.float16) if array.ndim > 1 else array
        for name, array in arrays.items()
    }
    save_tensors(target, halved, {key: header[key] for key in header if key != "sha256"})


def pin(path: Path) -> None:
    """Note which digest a bundled model holds of itself."""
    pinned = ASSETS / PINNED
    digests = json.loads(pinned.read_text(encoding="utf-8"))["onnx"] if pinned.exists() else {}
    digests[path.stem] = OnnxRuntime(path).digest
    write_json(pinned, {"onnx": dict(sorted(digests.items()))})


def keep_digests(name: str, dataset: Dataset) -> None:
    """Note which images a model learned from; models of the same data share a file."""
    shared, own = ASSETS / TRAIN_DIGESTS, ASSETS / f"{name}.{TRAIN_DIGESTS}"
    own.unlink(missing_ok=True)
    if read_tensor_header(shared, ModelFileError)["dataset_sha256"] != dataset.sha256:
        save_digests(own, digest_images(dataset.select("train").images), dataset.sha256)


def store_scores(path: Path, scores: dict[str, ScoreRecord]) -> ModelMetadata:
    """Let an ONNX file say how it scored, and return what it says of itself."""
    import onnx

    model = onnx.load(path)
    metadata = OnnxRuntime(path).metadata.replace(scores=scores)
    path.write_bytes(serialize_model(model, metadata))
    return metadata


if __name__ == "__main__":
    main()
