"""What the models that come with fercli reach on `public`, and how their cards say they were made.

python benchmarks/bundled.py [NAME...] [--data SOURCE] [--votes SOURCE] [--write]

A model of FER+'s votes is scored on `--votes`, and left out without it.
"""

from __future__ import annotations

import argparse
import statistics
from time import perf_counter
from typing import TYPE_CHECKING, Final

from _report import add_write_option, print_header, publish

from fercli.data import load_data
from fercli.data.dataset import FERPLUS
from fercli.evaluation import build_card, evaluate
from fercli.model_files import find_model, list_bundled, open_runtime, read_metadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fercli.inference import Runtime

_BATCH_SIZE: Final = 64
_N_TURNS: Final = 9


def main() -> None:
    """Score each of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    parser.add_argument("--votes", help="faces with FER+'s labels")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    add_write_option(parser)
    options = parser.parse_args()
    for name in options.names or list_bundled():
        learned = read_metadata(find_model(name)).dataset
        by_votes = learned is not None and learned.labeling == FERPLUS
        if by_votes and not options.votes:
            continue
        dataset = load_data(options.votes if by_votes else options.data)
        with publish(f"bundled: {name}", write=options.write):
            print_header(f"the model `{name}` that comes with fercli")
            model = find_model(name)
            runtime = open_runtime(model, device="cpu")
            result = evaluate(runtime, model, dataset, "public", tta=True).result
            scores, low_high = result.scores, result.scores.accuracy_ci95
            print(
                f"public plain: {scores.accuracy:.2%} ({low_high[0]:.2%} to {low_high[1]:.2%}, "
                f"n = {scores.n_images:,}), macro F1 {scores.macro_f1:.2%}; a {result.protocol} "
                "score"
            )
            if result.tta and result.deduplicated and result.deduplicated.accuracy:
                unseen = result.deduplicated
                print(
                    f"with mirror TTA: {result.tta.accuracy:.2%}; excluding train duplicates: "
                    f"{unseen.accuracy:.2%} (n = {unseen.n_images:,})"
                )
            parameters = read_metadata(model).parameters or 0
            print(f"{parameters:,} parameters, {model.path.stat().st_size:,} bytes")
            print(f"batches of {_BATCH_SIZE}: {describe_speed(runtime, dataset.images)}")
            print("how it was made, by its card:")
            print("\n".join(list_origin(build_card(model))))


def describe_speed(runtime: Runtime, images: NDArray[np.uint8]) -> str:
    """Return images per second of the bare model."""
    batch = images[:_BATCH_SIZE]
    speeds = []
    for _ in range(_N_TURNS):
        started = perf_counter()
        for _ in range(10):
            runtime.predict(batch)
        speeds.append(10 * len(batch) / (perf_counter() - started))
    return (
        f"median {statistics.median(speeds):,.0f} images/s, "
        f"{min(speeds):,.0f} to {max(speeds):,.0f}, n = {_N_TURNS}"
    )


def list_origin(card: str) -> list[str]:
    """Return the lines of a card that say from what, by which commands and on what."""
    table = card.partition("\n## ")[0]
    rows = [line.strip("| ").partition(" | ") for line in table.splitlines() if " | " in line]
    left_out = ("", "---", "file", "labels", "input", "network")
    return [f"  {name}: {text.replace('`', '')}" for name, _, text in rows if name not in left_out]


if __name__ == "__main__":
    main()
