"""The one place where libraries that may be missing, or that need a word first, are imported.

onnxruntime 1.32 writes a persistent id and an event queue into the user's cache and looks up a
server's name when a session lives for some seconds. It reads `ORT_DISABLE_TELEMETRY` once, when it
is imported, so nothing else in fercli imports it. A value that the user has set stays.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fercli.errors import DependencyMissingError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["explain_missing", "import_onnxruntime", "import_pandas"]

_TELEMETRY_SWITCH: Final = "ORT_DISABLE_TELEMETRY"
_PACKAGES: Final[Mapping[str, str]] = {
    "PIL": "pillow",
    "av": "fercli[video]",
    "cv2": "opencv-python-headless",
    "huggingface_hub": "fercli[hub]",
    "h11": "fercli[serve]",
    "pyarrow": "fercli[parquet]",
    "python_multipart": "fercli[serve]",
    "sklearn": "scikit-learn",
    "starlette": "fercli[serve]",
    "uvicorn": "fercli[serve]",
}
"""What to install where the name differs from the module's."""


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


def explain_missing(module: str, reason: ImportError) -> DependencyMissingError:
    """Return the error that says which module is missing and what to install.

    Args:
        module: As it is imported, such as `PIL`.
        reason: What the import raised.
    """
    package = _PACKAGES.get(module, module)
    quoted = f"'{package}'" if "[" in package else package
    return DependencyMissingError(
        f"{module} cannot be imported ({reason})", hint=f"pip install {quoted}"
    )
