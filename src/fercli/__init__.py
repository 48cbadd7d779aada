"""Facial expression recognition on FER2013: data, training, evaluation, export, prediction.

`load` gives a model to predict with; for the rest take what you need from the modules, for example
`fercli.data.open_dataset`, `fercli.training.train` or `fercli.evaluation.evaluate`. The package
root imports nothing heavy: its names are looked up when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fercli.library import FacePrediction, Model, load

__all__ = ["FacePrediction", "Model", "__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Return a public name of the library, imported now."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    return getattr(importlib.import_module("fercli.library"), name)
