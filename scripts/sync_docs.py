"""Write the generated parts of the documentation: `nox -s sync`.

Each part has a test that fails while the page is stale.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Rewrite every generated part."""
    layers = _load(ROOT / "tests" / "contract" / "test_layers.py").format_layers()
    page = ROOT / "docs" / "explanation" / "design.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r"(?m)^\| layer \|.*\n(?:\|.*\n)+", lambda _: layers, text), "utf-8")


def _load(path: Path) -> ModuleType:
    """Return a module that no package holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        message = f"{path} is no module"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
