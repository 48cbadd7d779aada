"""Facial expression recognition on FER2013: data, training, evaluation, export, prediction.

The whole loop in Python, as on the command line:

    import fercli

    data = fercli.load_dataset("fer2013.csv")
    run = fercli.train(data, recipe="fast", output="runs/mine")
    print(run.model.evaluate(data, split="public").accuracy)
    run.model.export("face.onnx", check_on=data)
    for face in fercli.load("runs/mine").predict("photo.jpg"):
        print(face.label, face.confidence, face.box)

Nothing heavy is imported before it is used: each name is looked up when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fercli.batch_predictor import BatchPredictor
    from fercli.data import Dataset
    from fercli.errors import (
        ConfigError,
        DataError,
        FercliError,
        ImageDecodeError,
        ImageNotFoundError,
        ModelFileError,
        OutputBusyError,
        OutputExistsError,
        RunExistsError,
        RunFailedError,
        RunInterruptedError,
        SetupError,
        VerificationError,
    )
    from fercli.evaluation import Comparison, Evaluation, Explanation
    from fercli.model import (
        FacePrediction,
        LiveFrame,
        LiveStream,
        Model,
        Predictions,
        RowStream,
        compare,
        load,
    )
    from fercli.prediction.merge import merge_parts
    from fercli.run import Repeats, Run, load_dataset, resume, train, train_repeats

__version__ = "0.1.0"

_HOMES = {
    "fercli.batch_predictor": ("BatchPredictor",),
    "fercli.data": ("Dataset",),
    "fercli.errors": (
        "ConfigError",
        "DataError",
        "FercliError",
        "ImageDecodeError",
        "ImageNotFoundError",
        "ModelFileError",
        "OutputBusyError",
        "OutputExistsError",
        "RunExistsError",
        "RunFailedError",
        "RunInterruptedError",
        "SetupError",
        "VerificationError",
    ),
    "fercli.evaluation": ("Comparison", "Evaluation", "Explanation"),
    "fercli.model": (
        "FacePrediction",
        "LiveFrame",
        "LiveStream",
        "Model",
        "Predictions",
        "RowStream",
        "compare",
        "load",
    ),
    "fercli.prediction.merge": ("merge_parts",),
    "fercli.run": ("Repeats", "Run", "load_dataset", "resume", "train", "train_repeats"),
}
"""Where each public name is defined."""

__all__ = [
    "BatchPredictor",
    "Comparison",
    "ConfigError",
    "DataError",
    "Dataset",
    "Evaluation",
    "Explanation",
    "FacePrediction",
    "FercliError",
    "ImageDecodeError",
    "ImageNotFoundError",
    "LiveFrame",
    "LiveStream",
    "Model",
    "ModelFileError",
    "OutputBusyError",
    "OutputExistsError",
    "Predictions",
    "Repeats",
    "RowStream",
    "Run",
    "RunExistsError",
    "RunFailedError",
    "RunInterruptedError",
    "SetupError",
    "VerificationError",
    "__version__",
    "compare",
    "load",
    "load_dataset",
    "merge_parts",
    "resume",
    "train",
    "train_repeats",
]


def __getattr__(name: str) -> object:
    """Return a public name, its module imported now."""
    import importlib

    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted(__all__)
