"""The models that are served: the bundled ones and, first, one of one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.errors import ModelFileError
from fercli.inference import LABEL_SETS, choose_labels, predict_in_batches
from fercli.model_files import find_model, list_bundled, open_runtime

if TYPE_CHECKING:
    from fercli.inference import Runtime
    from fercli.model_files import ModelFile

__all__ = ["ServedModels"]

PURPOSES: Final = {
    "plus": "For photos of people. Eight labels, with contempt, voted on by ten people.",
    "base": "For comparing with papers on FER2013. Its seven labels; slower and larger.",
    "tiny": "For small and old machines. FER2013's seven labels; 60,000 parameters.",
}
"""What each bundled model is for."""
_OWN: Final = "A model of your own."


@dataclass(frozen=True)
class _Served:
    """A model under the name that clients know."""

    name: str
    file: ModelFile
    purpose: str


class ServedModels:
    """Models by name; each is opened once, when it is first needed, whatever the thread.

    Args:
        spec: MODEL as on the command line; None for the newest finished run, else `plus`.

    Raises:
        ModelFileError: There is no such model, it is damaged, or torch alone could run it.
    """

    def __init__(self, spec: str | None = None) -> None:
        chosen = find_model(spec, prefer_onnx=True, for_photos=True)
        if not chosen.is_onnx:
            message = f"{chosen.path} needs torch, which fer serve does not load"
            hint = f"fer export {chosen.run or chosen.path}, or give --model plus"
            raise ModelFileError(message, hint=hint)
        bundled = list_bundled()
        name = chosen.bundled or _name_own(chosen, bundled)
        self.default = name
        self.remark = chosen.remark
        """What is to be said of the default."""
        names = [name, *(one for one in sorted(bundled, key=_rank) if one != name)]
        self._served = {
            one: _Served(one, chosen if one == name else find_model(one), PURPOSES.get(one, _OWN))
            for one in names
        }
        self._lock = threading.Lock()
        self._opened: dict[tuple[str, str | None], Runtime] = {}
        # What is wrong with it is said before anybody asks.
        self.open(name)

    @property
    def names(self) -> list[str]:
        """The models that can be asked, the default first."""
        return list(self._served)

    def find_open(self, name: str, labels_of: str | None = None) -> Runtime | None:
        """Return a model as `open` does if that takes no time, else None."""
        return self._opened.get((name, labels_of))

    def open(self, name: str, labels_of: str | None = None) -> Runtime:
        """Return a model ready to run; the same one every time.

        Args:
            name: One of `names`.
            labels_of: As in `choose_labels`.

        Raises:
            ModelFileError: The file is damaged or gone, or lacks labels of `labels_of`.
        """
        with self._lock:
            return self._remember((name, labels_of), partial(self._open, name, labels_of))

    def _open(self, name: str, labels_of: str | None) -> Runtime:
        # One thread: calls of it share the cores with what decodes.
        file = self._served[name].file
        plain = self._remember((name, None), lambda: _open_tried(file))
        return choose_labels(plain, labels_of)

    def _remember(self, key: tuple[str, str | None], build: Callable[[], Runtime]) -> Runtime:
        if key not in self._opened:
            self._opened[key] = build()
        return self._opened[key]

    def describe(self) -> list[dict[str, Any]]:
        """Return what clients may know of each model; opens those that are not open yet."""
        described = []
        for name, served in self._served.items():
            runtime = self.open(name)
            labels = runtime.labels
            described.append(
                {
                    "name": name,
                    "labels": list(labels),
                    "labels_of": [
                        known for known, wanted in LABEL_SETS.items() if set(wanted) <= set(labels)
                    ],
                    "purpose": served.purpose,
                    "default": name == self.default,
                    "int8": runtime.metadata.quantized == "int8",
                    "network": runtime.metadata.network.name,
                    "parameters": runtime.metadata.parameters,
                }
            )
        return described


def _open_tried(file: ModelFile) -> Runtime:
    """Return a model that answers with probabilities, of nothing and of noise."""
    runtime = open_runtime(file, n_threads=1)
    images = np.zeros((2, 48, 48), dtype=np.uint8)
    images[1] = np.random.default_rng(0).integers(0, 256, (48, 48))
    predict_in_batches(runtime, images)
    return runtime


def _rank(name: str) -> int:
    """Return where a bundled model stands in the list."""
    return list(PURPOSES).index(name) if name in PURPOSES else len(PURPOSES)


def _name_own(file: ModelFile, bundled: list[str]) -> str:
    """Return a name without the folders of this machine, none of a bundled model's."""
    own = file.run.resolve().name if file.run is not None else file.path.stem
    if file.hub is not None:
        own = file.hub.partition("@")[0].rpartition("/")[2]
    return f"own-{own}" if own in bundled else own
