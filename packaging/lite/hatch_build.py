"""Take fercli's source into `fercli-lite`: from the checkout, or from this sdist's own copy."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

LEFT_OUT: Final = frozenset({".pyc", ".safetensors"})
"""Suffixes: what Python compiled, and what only training and `fer evaluate` read."""


class SourceHook(BuildHookInterface):
    """Adds every file of the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files; an editable install takes them where they lie."""
        root = Path(self.root)
        own = root / "src" / "fercli"
        source = own if own.exists() else root.parents[1] / "src" / "fercli"
        if version == "editable":
            return
        folder = Path("src", "fercli") if self.target_name == "sdist" else Path("fercli")
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix not in LEFT_OUT:
                inside = folder / path.relative_to(source)
                build_data["force_include"][str(path)] = inside.as_posix()


class AddressHook(MetadataHookInterface):
    """Sets the address of the source, which fercli's pyproject.toml holds."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what is dynamic; an sdist knows it from its own metadata."""
        metadata.setdefault("urls", {})
        project = Path(self.root).parents[1] / "pyproject.toml"
        if not Path(self.root, "src").exists() and project.exists():
            table = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["hatch"]
            if repository := table["metadata"]["hooks"]["custom"]["repository"].rstrip("/"):
                metadata["urls"] = {"Source": repository}
