"""The one place where libraries that may be missing, or that need a word first, are imported.

`fercli-lite` is this same source without the libraries of `_FULL_ONLY`. Which of the two is
installed is looked up when something is missing, in `fer info`, and at the end of `fer --help`.

onnxruntime 1.32 writes a persistent id and an event queue into the user's cache and looks up a
server's name when a session lives for some seconds. It reads `ORT_DISABLE_TELEMETRY` once, when it
is imported, so nothing else in fercli imports it. A value that the user has set stays.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fercli.errors import DependencyMissingError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "EXTRAS",
    "FULL",
    "LITE",
    "check_installed",
    "explain_missing",
    "find_distributions",
    "import_onnxruntime",
    "import_pandas",
    "is_left_out",
    "is_there",
    "name_distribution",
]

FULL: Final = "fercli"
"""The package with everything."""
LITE: Final = "fercli-lite"
"""The package without what only training, scores and pictures need."""
_FULL_ONLY: Final = frozenset({
    "torch", "torchvision", "pandas", "sklearn", "scipy", "matplotlib", "jinja2", "onnx",
    "onnxscript", "kagglehub", "kagglesdk", "openpyxl", "ray", "tensorboard",
})  # fmt: skip
"""Modules that `fercli-lite` leaves out, those of extras that it has not among them."""

_TELEMETRY_SWITCH: Final = "ORT_DISABLE_TELEMETRY"
_PACKAGES: Final[Mapping[str, str]] = {
    "PIL": "pillow",
    "av": "fercli[video]",
    "cv2": "opencv-python-headless<5",
    "huggingface_hub": "fercli[hub]",
    "h11": "fercli[serve]",
    "obstore": "fercli[cloud]",
    "pillow_heif": "fercli[heic]",
    "pyarrow": "fercli[parquet]",
    "python_multipart": "fercli[serve]",
    "ray": "fercli[ray]",
    "sklearn": "scikit-learn",
    "openpyxl": "fercli[excel]",
    "starlette": "fercli[serve]",
    "tensorboard": "fercli[tensorboard]",
    "uvicorn": "fercli[serve]",
}
"""What to install where the name differs from the module's."""
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "hub": ("huggingface_hub",),
    "parquet": ("pyarrow",),
    "heic": ("pillow_heif",),
    "serve": ("starlette", "uvicorn", "python_multipart"),
    "video": ("av",),
    "cloud": ("obstore",),
    "ray": ("ray", "pyarrow"),
    "excel": ("openpyxl",),
    "tensorboard": ("tensorboard",),
}
"""The modules that each extra of the package brings."""


def import_onnxruntime(submodule: str = "") -> ModuleType:
    """Return onnxruntime with its telemetry off, or a submodule of it.

    Args:
        submodule: Such as `quantization`; empty for onnxruntime itself.

    Raises:
        DependencyMissingError: It cannot be imported.
    """
    os.environ.setdefault(_TELEMETRY_SWITCH, "1")
    name = "onnxruntime"
    try:
        return importlib.import_module(f"{name}.{submodule}" if submodule else name)
    except ImportError as reason:
        raise explain_missing(name, reason) from reason


def import_pandas() -> ModuleType:
    """Return pandas, for results as data frames.

    Raises:
        DependencyMissingError: It cannot be imported.
    """
    name = "pandas"
    try:
        return importlib.import_module(name)
    except ImportError as reason:
        raise explain_missing(name, reason) from reason


def find_distributions() -> dict[str, str]:
    """Return which of `FULL` and `LITE` are installed, and their versions."""
    # 30 ms to import, for nothing while all is well.
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in (FULL, LITE):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def is_left_out(module: str) -> bool:
    """Return whether this is `fercli-lite` and a module is none of its own.

    Args:
        module: As it is imported, such as `sklearn`.
    """
    return module in _FULL_ONLY and name_distribution() == LITE


def name_distribution() -> str:
    """Return which of `FULL` and `LITE` this is; `FULL` where both are installed, or neither."""
    return LITE if list(find_distributions()) == [LITE] else FULL


def is_there(module: str) -> bool:
    """Return whether a module could be imported, without doing so."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def check_installed(*modules: str, consequence: str = "") -> None:
    """Refuse at once, importing nothing, what would fail later for a library that is not there.

    Args:
        *modules: As they are imported.
        consequence: As in `explain_missing`.

    Raises:
        DependencyMissingError: One is not there.
    """
    for name in modules:
        if not is_there(name):
            reason = ModuleNotFoundError(f"No module named {name!r}", name=name)
            raise explain_missing(name, reason, consequence=consequence) from reason


def explain_missing(
    module: str, reason: ImportError, *, title: str = "", consequence: str = "", advice: str = ""
) -> DependencyMissingError:
    """Return the error that says which module is missing and what to install.

    Args:
        module: As it is imported, such as `PIL`.
        reason: What the import raised.
        title: What to call it; as it is imported, by default.
        consequence: What follows, such as "pictures cannot be drawn".
        advice: What else helps.
    """
    ending = f", so {consequence}" if consequence else ""
    title = title or module
    package = _PACKAGES.get(module, module)
    if is_left_out(module):
        is_extra = package.startswith(f"{FULL}[")
        whole = f"'{package}'" if is_extra else FULL
        title = package if title == module and not is_extra else title
        return DependencyMissingError(
            f"{title} is not part of {LITE}{ending}",
            hint=f"pip install {whole}, in a separate environment",
        )
    # Both have these extras.
    package = package.replace(f"{FULL}[", f"{name_distribution()}[")
    package = f"'{package}'" if {"[", "<"} & set(package) else package
    hint = f"pip install {package}"
    return DependencyMissingError(
        f"{title} cannot be imported ({reason}){ending}",
        hint=f"{hint}; {advice}" if advice else hint,
    )
