"""How far results move with the kind of CPU: the same training and model on older instructions.

One machine stands for several: torch, oneDNN and MKL are told to use no newer instructions than
older CPUs have. onnxruntime has no such switch; its figures are of one thread against all. `fast`
is trained on the first training images of a dataset and scored on its first public ones.

python benchmarks/cpu_kinds.py [--data SOURCE] [--n 1024] [--epochs 2] [--model base] [--write]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _report import add_write_option, print_header, publish

from fercli.data import load_data
from fercli.data.dataset import save_dataset, take_images
from fercli.errors import ModelFileError
from fercli.model_files import find_model, open_runtime
from fercli.runs import RunFolder
from fercli.storage import load_tensors

_KINDS = {
    "as it is": {},
    "as it is, again": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "SSE4.1": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
               "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}  # fmt: skip
"""Environments that make torch and its libraries compute as on older CPUs."""
_CHILD = """
import sys
import numpy as np
from fercli.cli import main
# The weights alone are looked at.
sys.modules["onnxscript"] = sys.modules["matplotlib.figure"] = None
folder, epochs = sys.argv[1:]
data = sys.argv[1].rpartition("/")[0] + "/set.safetensors"
sys.argv = ["fer", "train", "--recipe", "fast", "--data", data, "--epochs", epochs, "--seed", "0",
            "--output", folder, "-q"]
try:
    main()
except SystemExit as end:
    if end.code:
        raise
from fercli.data import open_dataset
from fercli.model_files import find_model, open_runtime
from pathlib import Path
images = open_dataset(Path(data)).select("public").images
first = Path(folder).parent / "0"
for name in (folder, first):
    runtime = open_runtime(find_model(str(name)), device="cpu")
    np.save(Path(folder) / f"of-{Path(name).name}.npy", runtime.predict(images))
"""


def main() -> None:
    """Train and predict once for each kind, print the differences from the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="default: the prepared dataset in the data home")
    parser.add_argument("--n", type=int, default=1024, help="training images")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--model", default="base", help="an ONNX model for one thread against all")
    add_write_option(parser)
    options = parser.parse_args()
    dataset = load_data(options.data)
    kept = np.zeros(dataset.n_images, dtype=bool)
    for split, n_images in (("train", options.n), ("public", 1000)):
        rows = dataset.find_split(split)
        if rows is not None:
            kept[rows[:n_images]] = True
    with publish("CPU kinds", write=options.write), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = take_images(dataset, kept)
        save_dataset(folder / "set.safetensors", few)
        print_header("the same training and predictions on older instructions")
        for number, (kind, changes) in enumerate(_KINDS.items()):
            subprocess.run(
                [sys.executable, "-c", _CHILD, str(folder / str(number)), str(options.epochs)],
                check=True, stdout=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", **changes},
            )  # fmt: skip
            labels = few.select("public").labels
            print(f"{kind}: {compare(folder, number, labels)}", flush=True)
        images = few.select("public").images[:200]
        path = find_model(options.model, prefer_onnx=True)
        one, many = (open_runtime(path, n_threads=n).predict(images) for n in (1, 0))
        print(f"{options.model} by onnxruntime, one thread and all: probabilities differ by "
              f"{np.abs(one - many).max():.1e} at most")  # fmt: skip


def compare(folder: Path, number: int, labels: np.ndarray) -> str:
    """Return how far a training's weights, and what it says of images, are from the first's."""
    (weights, _), (first, _) = (
        load_tensors(RunFolder(folder / one).model, ModelFileError) for one in (str(number), "0")
    )
    equal = sum(np.array_equal(weights[key], first[key]) for key in first)
    most = max(float(np.abs(weights[key] - first[key]).max()) for key in first)
    own, its = (np.load(folder / one / f"of-{one}.npy") for one in (str(number), "0"))
    same = np.load(folder / str(number) / "of-0.npy")
    return (
        f"{equal} of {len(first)} weight tensors equal, {most:.1e} apart at most; trained anew "
        f"{(own.argmax(1) != its.argmax(1)).sum()} of {len(its)} labels differ, accuracy "
        f"{(own.argmax(1) == labels).mean():.1%}; the first model's probabilities differ by "
        f"{np.abs(same - its).max():.1e}, {(same.argmax(1) != its.argmax(1)).sum()} labels"
    )


if __name__ == "__main__":
    main()
