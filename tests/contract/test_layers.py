from __future__ import annotations

import ast
from pathlib import Path

import fercli

ROOT = Path(fercli.__file__).parent

LAYERS = {
    "errors": 0,
    "emotions": 0,
    "names": 0,
    "ranges": 0,
    "__init__": 0,
    "dependencies": 1,
    "locks": 1,
    "config": 1,
    "settings": 2,
    "recipes": 3,
    "results": 1,
    "storage": 2,
    "paths": 1,
    "launch": 1,
    "environment": 2,
    "runs": 3,
    "detectors": 3,
    "images": 4,
    "data": 5,
    "inference": 6,
    "metrics": 6,
    "download": 6,
    "audit": 7,
    "networks": 7,
    "models": 8,
    "library": 9,
    "export": 9,
    "training": 10,
    "evaluation": 11,
    "cli": 12,
    "__main__": 13,
}
"""The order of the house; a module imports only from lower ones, or from its own package."""

TORCH = {"networks", "models", "export", "training", "evaluation", "environment", "cli"}
"""Who may import torch at all; the linter says who may at the top of a module."""


def list_imports(path: Path) -> list[tuple[str, int]]:
    """Return every imported module's dotted name and line, imports inside functions included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, node.lineno) for name in names]
    return found


def name_room(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_every_module_has_a_layer() -> None:
    rooms = {name_room(path) for path in ROOT.rglob("*.py")}

    assert rooms == set(LAYERS)


def test_modules_import_only_from_lower_layers() -> None:
    violations = []
    for path in ROOT.rglob("*.py"):
        room = name_room(path)
        for name, line in list_imports(path):
            parts = name.split(".")
            if parts[0] != "fercli" or len(parts) < 2:
                continue
            other = parts[1] if parts[1] in LAYERS else "__init__"
            if room == "__init__" and other == "library":
                # The root only hands these names out, when somebody asks for them.
                continue
            if other != room and LAYERS[other] >= LAYERS[room]:
                violations.append(f"{path.relative_to(ROOT)}:{line} imports {name}")

    assert violations == []


def test_torch_stays_in_its_rooms() -> None:
    violations = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in ROOT.rglob("*.py")
        for name, line in list_imports(path)
        if name.split(".")[0] in {"torch", "torchvision"} and name_room(path) not in TORCH
    ]

    assert violations == []


def test_nothing_prints_asserts_or_swallows() -> None:
    violations = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                violations.append(f"{path}:{node.lineno} assert")
            elif isinstance(node, ast.ExceptHandler) and node.type is None:
                violations.append(f"{path}:{node.lineno} bare except")
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                violations.append(f"{path}:{node.lineno} print")

    assert violations == []
