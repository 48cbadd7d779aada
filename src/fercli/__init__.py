"""Facial expression recognition on FER2013: data, training, evaluation, export, prediction.

The package root imports nothing heavy; take what you need from its modules, for example
`fercli.data.open_dataset`, `fercli.training.train` or `fercli.models.open_runtime`.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
