"""Put a run's model into the package: `assets/NAME.onnx`, its weights in fp16, and its card.

python scripts/bundle_model.py NAME RUN --machine TEXT [--data SOURCE] [--teacher-run RUN]...

The card is written from what was measured here and from the runs' own records. Which images the
model learned from is kept beside it, so that `fer evaluate` can leave them out.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

from fercli.data import load_data
from fercli.evaluation import build_card, describe_scores, describe_training, evaluate
from fercli.export import ParityImages, export_model
from fercli.models import ModelFile, find_model, open_runtime
from fercli.runs import TRAIN_DIGESTS, RunFolder, read_run_record
from fercli.storage import write_text

ASSETS: Final = Path(__file__).parents[1] / "src" / "fercli" / "assets"
MAX_BYTES: Final = 12_000_000
MAX_PARAMETERS: Final = 5_000_000


def main() -> None:
    """Export, score, write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument(
        "--teacher-run", type=Path, action="append", default=[], help="of --teacher, for the card"
    )
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
    shutil.copy(RunFolder(options.run).train_digests, ASSETS / f"{options.name}.{TRAIN_DIGESTS}")
    run = ModelFile(path, options.run, assumed=False, bundled=options.name)
    taught = {f"teacher {run.name}": describe_training(run) for run in options.teacher_run}
    facts = {"machine": options.machine, **taught}
    scores = {"public": describe_scores(result)}
    card = build_card(run, name=options.name, more=facts, scores=scores)
    write_text(path.with_suffix(".md"), card)
    print(f"{path}: {exported.size_bytes:,} bytes, {result.scores.accuracy:.2%} on public plain")


if __name__ == "__main__":
    main()
