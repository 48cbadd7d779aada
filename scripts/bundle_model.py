"""Put a run's model into the package: `assets/NAME.onnx`, its weights in fp16, and its card.

python scripts/bundle_model.py NAME RUN --machine TEXT [--data SOURCE] [--teacher-run RUN]

The card is written from what was measured here and from the run's own record; what nobody can
measure (use, limits, licence of the data) stands below.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fercli.data import load_data
from fercli.evaluation import evaluate
from fercli.export import ParityImages, export_model
from fercli.models import find_model, open_runtime
from fercli.recipes import write_command
from fercli.runs import RunFolder, read_run_record
from fercli.storage import digest_file, write_text

if TYPE_CHECKING:
    from fercli.results import EvaluationResult

ASSETS: Final = Path(__file__).parents[1] / "src" / "fercli" / "assets"
MAX_BYTES: Final = 12_000_000
MAX_PARAMETERS: Final = 5_000_000

TEXT: Final = """\
## What it is for

Learning, teaching, research, and sorting one's own pictures: it says which of seven words people
would most likely choose for a picture of a face. Its input is a grey face crop, 48x48, cropped as
FER2013 was (OpenCV's frontal-face detector); photos have to be cropped first.

## What it is not for

* It does not measure what anybody feels. The labels are what others thought of a picture, and
  people who are asked to choose match them in about two of three cases.
* It must not decide anything about a person. In the European Union, AI systems that infer emotions
  at work and in education are prohibited but for medical and safety reasons (Regulation (EU)
  2024/1689, Article 5(1)(f)).
* Frontal faces only; sunglasses, masks, hands, profiles and drawings give answers that mean
  nothing, with high confidence at times. Confidence is not calibrated.

## Known bias

Recall differs by class as the table says: what is rare or ambiguous in the data is missed more
often. Whose faces the data shows, by age, sex, skin or country, is not recorded anywhere, so
nobody can say for whom the model works worse; assume that it does for groups that web searches
around 2013 showed rarely.

## Data

FER2013 (Goodfellow et al. 2013, arXiv 1307.0414), gathered by web search. The licence of the
pictures is unclear; none of them is in this package. The model file is under fercli's licence as
far as that can be given.
"""


def main() -> None:
    """Export, score, write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--teacher-run", type=Path, help="of --teacher, for the card")
    parser.add_argument("--machine", required=True, help="what it was trained on, for the card")
    options = parser.parse_args()
    record = read_run_record(options.run)
    if not record["finished_at"]:
        sys.exit(f"{options.run} is not finished")
    dataset = load_data(options.data)
    if dataset.sha256 != record["dataset"]["sha256"]:
        sys.exit(f"the run was trained on other data: {record['dataset']['sha256']}")
    path = ASSETS / f"{options.name}.onnx"
    new = path.with_suffix(".new.onnx")
    parity = ParityImages(dataset.select("public").images[:256], "public")
    exported = export_model(find_model(str(options.run)), new, parity, half=True)
    if exported.size_bytes > MAX_BYTES or record["result"]["parameters"] > MAX_PARAMETERS:
        new.unlink()
        sys.exit(f"too large for the wheel: {exported.size_bytes:,} bytes")
    new.replace(path)
    model = find_model(str(path))
    result = evaluate(open_runtime(model), model, dataset, "public", tta=True).result
    write_text(path.with_suffix(".md"), write_card(options, record, result, path))
    print(f"{path}: {exported.size_bytes:,} bytes, {result.scores.accuracy:.2%} on public plain")


def write_card(
    options: argparse.Namespace, record: dict[str, Any], result: EvaluationResult, path: Path
) -> str:
    """Return the model card."""
    scores, tta, trained = result.scores, result.tta, record["result"]
    low, high = scores.accuracy_ci95
    rows = [
        f"| {label} | {one.precision:.1%} | {one.recall:.1%} | {one.f1:.1%} | {one.support:,} |"
        for label, one in scores.per_class.items()
    ]
    command, versions = write_command(record), record["versions"]
    facts = {
        "file": f"`{path.name}`, {path.stat().st_size:,} bytes, sha256 `{digest_file(path)}`",
        "network": f"{trained['network']}, {trained['parameters']:,} parameters, weights in fp16",
        "trained by": f"`{command}`, fercli {versions['fercli']}, torch {versions['torch']}",
        "seed": trained["seed"],
        "data": f"{record['dataset']['source']}, {record['dataset']['n_train']:,} training images, "
        f"sha256 `{record['dataset']['sha256']}`",
        "epoch": f"{trained['best_epoch']} of {trained['epochs']}, the best on public",
        "duration": f"{sum_durations(options.run) / 60:.0f} minutes, members included, "
        "interruptions not",
        **describe_teacher(options.teacher_run),
        "machine": f"{options.machine}, {trained['precision']}",
    }  # fmt: skip
    listed = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    unseen = result.deduplicated
    without = (
        f"{unseen.accuracy:.2%} (n = {unseen.n_images:,}) without images that also stand "
        "in train" if unseen else "twins in train not looked for"
    )  # fmt: skip
    return f"""# Model card: {options.name}

| | |
| --- | --- |
{listed}

## Scores

On `public` (PublicTest), which also chose the epoch, so these are selection scores:

* plain: **{scores.accuracy:.2%}** (95 % interval {low:.2%} to {high:.2%}, n = {scores.n_images:,}),
  macro F1 {scores.macro_f1:.2%}; {without}
* mean of image and mirror image (`--tta`): {tta.accuracy if tta else 0:.2%}, macro F1 \
{tta.macro_f1 if tta else 0:.2%}

`fer evaluate {options.name} --split public --tta` prints them again.

| label, plain | precision | recall | F1 | images |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}

{TEXT}"""


def describe_teacher(run: Path | None) -> dict[str, str]:
    """Return how a run's teacher was trained, for a card; nothing without one."""
    if run is None:
        return {}
    record = read_run_record(run)
    best = record["result"]["validation_accuracy"]
    text = f"`{write_command(record)}`, {sum_durations(run) / 60:.0f} minutes, {best:.2%}"
    return {"teacher": text}


def sum_durations(run: Path) -> float:
    """Return the training seconds of a run and its members."""
    folders = [run, *(path.parent for path in RunFolder(run).members.glob("*/run.json"))]
    return sum(float(read_run_record(folder)["result"]["duration_s"]) for folder in folders)


if __name__ == "__main__":
    main()
