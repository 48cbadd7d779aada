"""What eight bits cost and bring: labels that stay, accuracy on `public`, images/s, file size.

`fer export --int8` says the same of any model; here several models stand side by side, and each
form's file is timed again in batches and one by one.

python benchmarks/quantize.py MODEL... [--data SOURCE] [--write]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from _report import add_write_option, print_header, publish

from fercli.data import load_data, map_labels
from fercli.export import ParityImages, QuantizationImages, export_model, export_quantized
from fercli.inference.onnx import OnnxRuntime
from fercli.model_files import find_model, read_metadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fercli.data import Dataset

_TURNS = 9
_LINE = "{:34} {:>9} {:>8} {:>8} {:>8} {:>11} {:>11}"


def main() -> None:
    """Read the options, export every model in both forms, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    add_write_option(parser)
    options = parser.parse_args()
    dataset = load_data(options.data)
    with publish("eight bits", write=options.write):
        print_header("`fer export --int8` against fp32, both in onnxruntime")
        n_images = len(dataset.select("public").labels)
        print(f"public, plain, n = {n_images:,}; speeds: median of {_TURNS} turns, in turns")
        columns = ("bytes", "agree", "accuracy", "", "batches 64", "one by one")
        print(_LINE.format("model", *columns))
        for spec in options.models:
            compare(spec, dataset)


def compare(spec: str, dataset: Dataset) -> None:
    """Print two rows, a model in fp32 and in eight bits."""
    model, public = find_model(spec), dataset.select("public")
    labels = read_metadata(model).labels
    parity = ParityImages(public.images[:256], "public")
    subject = QuantizationImages(
        calibration=dataset.select("train").images,
        images=public.images,
        labels=map_labels(public.labels, dataset.label_names, labels),
        source="public",
    )
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        export_model(model, before, parity)
        result = export_quantized(model, after, parity, subject)
        speeds = time_both(OnnxRuntime(before), OnnxRuntime(after), public.images)
        sizes = before.stat().st_size, after.stat().st_size
    fp32 = (f"{sizes[0]:,}", "", f"{result.accuracy_before:.2%}", "")
    int8 = (f"{sizes[1]:,}", f"{result.label_agreement:.2%}", f"{result.accuracy:.2%}", "")
    faster = [after / before for before, after in zip(*speeds, strict=True)]
    print(_LINE.format(spec, *fp32, *(f"{speed:,.0f}" for speed in speeds[0])))
    print(_LINE.format("  int8", *int8, *(f"{speed:,.0f}" for speed in speeds[1])))
    print(_LINE.format("", "", "", "", "times", *(f"{factor:.2f}" for factor in faster)))


def time_both(
    before: OnnxRuntime, after: OnnxRuntime, images: NDArray[np.uint8]
) -> tuple[list[float], list[float]]:
    """Return images/s in batches of 64 and one by one, of both models."""
    speeds: tuple[list[float], list[float]] = ([], [])
    for size, count in ((64, 16), (1, 128)):
        spent: tuple[list[float], list[float]] = ([], [])
        for turn in range(_TURNS + 1):
            for runtime, seconds in zip((before, after), spent, strict=True):
                started = perf_counter()
                for at in range(0, size * count, size):
                    runtime.predict(images[at : at + size])
                if turn:
                    seconds.append(perf_counter() - started)
        for seconds, found in zip(spent, speeds, strict=True):
            found.append(size * count / sorted(seconds)[_TURNS // 2])
    return speeds


if __name__ == "__main__":
    main()
