from __future__ import annotations

import ast
from pathlib import Path

import fercli

ROOT = Path(fercli.__file__).parent

LAYERS = (
    ("__init__ errors emotions names ranges",
     "error data, label names, harmless file names, range checks"),
    ("config results fields paths launch signals locks dependencies",
     "frozen dataclasses; JSON read by type; this process, its signals; locks; guarded imports"),
    ("storage settings metadata environment",
     "atomic files and digests; the flat configuration; records of models and runs; this machine"),
    ("recipes runs detectors table_files",
     "named configurations, run folders, weights to be fetched, tables of results as files"),
    ("images", "a file nobody trusts becomes pixels, its faces uint8 [48, 48]"),
    ("data", "layouts, archives, the prepared file, splitting, FER+, synthetic faces"),
    ("inference metrics download",
     "the Runtime contract and its ONNX form; scores; files from elsewhere"),
    ("plots networks", "figures; the networks and the torch Runtime"),
    ("prediction audit model_files",
     "files to rows; what is wrong with a dataset; find, open and write models"),
    ("ray_engine", "the same rows by the actors of a Ray cluster"),
    ("transfer doctor",
     "what a fine-tuning begins with and asks for; what of an installation works"),
    ("config_files", "files that hold a configuration, and how all that sets one is merged"),
    ("export", "ONNX with proof of parity, in eight bits too"),
    ("training", "augmentation, loop, checkpoints, the run"),
    ("evaluation", "scores of a model on a split, comparisons, explanations, model cards"),
    ("model", "`Model`: predict, evaluate, explain, export, compare"),
    ("batch_predictor run", "`BatchPredictor`: batches on other engines; `Run`: train, resume"),
    ("serve", "the HTTP service and its page"),
    ("cli", "one file per command, the only writer"),
    ("__main__", "`python -m fercli`"),
)  # fmt: skip
"""The order of the packages and modules, lowest first, and what each is: a module imports only from
lower lines, or from its own package. `nox -s sync` writes the table of design.md from it."""

LEVELS = {name: level for level, (names, _) in enumerate(LAYERS) for name in names.split()}

TORCH = {
    "networks",
    "model_files",
    "model",
    "export",
    "training",
    "evaluation",
    "environment",
    "cli",
    "launch",
}
"""Who may import torch at all; the linter says who may at the top of a module."""

PUBLIC = {"batch_predictor", "data", "errors", "evaluation", "model", "prediction", "run"}
"""Where the public names are defined."""


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


def name_package(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_every_module_has_a_layer() -> None:
    packages = {name_package(path) for path in ROOT.rglob("*.py")}

    assert packages == set(LEVELS)


def test_modules_import_only_from_lower_layers() -> None:
    violations = []
    for path in ROOT.rglob("*.py"):
        package = name_package(path)
        for name, line in list_imports(path):
            parts = name.split(".")
            if parts[0] != "fercli" or len(parts) < 2:
                continue
            other = parts[1] if parts[1] in LEVELS else "__init__"
            public = {
                "batch_predictor",
                "data",
                "errors",
                "evaluation",
                "model",
                "prediction",
                "run",
            }
            if package == "__init__" and other in public:
                # The root only hands these names out, when somebody asks for them.
                continue
            if other != package and LEVELS[other] >= LEVELS[package]:
                violations.append(f"{path.relative_to(ROOT)}:{line} imports {name}")

    assert violations == []


def test_torch_stays_in_its_packages() -> None:
    violations = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in ROOT.rglob("*.py")
        for name, line in list_imports(path)
        if name.split(".")[0] in {"torch", "torchvision"} and name_package(path) not in TORCH
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


def test_the_table_in_design_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "explanation" / "design.md"

    assert format_layers() in page.read_text(encoding="utf-8")


def format_layers() -> str:
    """Return the table of the layers in Markdown."""
    lines = ["| layer | packages and modules | what they are |", "| --- | --- | --- |"]
    for level, (names, text) in enumerate(LAYERS):
        shown = ", ".join(f"`{name}`" for name in names.split() if not name.startswith("__"))
        if shown:
            lines.append(f"| {level} | {shown} | {text} |")
    return "\n".join(lines) + "\n"
