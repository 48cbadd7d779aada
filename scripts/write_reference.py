"""Write docs/reference, and the table of layers in design.md, from the code.

python scripts/write_reference.py [--check]

With --check nothing is written, and the exit status is 1 when a page is not what would be.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reference_pages import (
    build_cli,
    build_environment,
    build_exit_statuses,
    build_files,
    build_json,
    build_python,
)

from fercli.config import Option, PredictConfig, ServeConfig, TrainConfig, list_options
from fercli.recipes import RECIPES, list_changes
from fercli.settings import GROUPS, describe_kind

if TYPE_CHECKING:
    from types import ModuleType

ROOT: Final = Path(__file__).parents[1]
HEAD: Final = """\
# Configuration

Every option of a training, a prediction and the service. This page is generated from
`src/fercli/config/` by `nox -s sync`.

A field of a training is set by its option where it has one, by `--set name=value`, or by a TOML or
JSON file (`--config`); see [how to train](../how-to/train.md#change-something). A value that is out
of its range or not among its choices is refused, all of them at once. Recipes that change a field
are named with their value.
"""
INTERNAL: Final = """\
## Set by fercli itself

Members of an ensemble that cross-fit have these, and the runs of `--folds`; they are written into
`run.json`.
"""
PREDICTION: Final = """\
## fer predict

These are options of `fer predict`, and fields of `PredictConfig` in Python.
"""
SERVICE: Final = """\
## fer serve

These are options of `fer serve`, and fields of `ServeConfig` in Python; those without an option are
bounds that most have no reason to change.
"""


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    stale = []
    for page, text in build_pages().items():
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale.append(page.name)
        else:
            page.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"{', '.join(stale)}: stale, run `nox -s sync`")


def build_pages() -> dict[Path, str]:
    """Return what stands on each page."""
    reference = ROOT / "docs" / "reference"
    design = ROOT / "docs" / "explanation" / "design.md"
    layers = _load(ROOT / "tests" / "contract" / "test_layers.py").format_layers()
    table = re.sub(
        r"(?m)^\| layer \|.*\n(?:\|.*\n)+",
        lambda _: str(layers),
        design.read_text(encoding="utf-8"),
    )
    return {
        design: table,
        reference / "cli.md": build_cli(),
        reference / "configuration.md": build_configuration(),
        reference / "environment.md": build_environment(),
        reference / "exit-status.md": build_exit_statuses(),
        reference / "files.md": build_files(),
        reference / "json.md": build_json(),
        reference / "python.md": build_python(),
    }


def _load(path: Path) -> ModuleType:
    """Return a module that no package holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        message = f"{path} is no module"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_configuration() -> str:
    """Return every field of a configuration."""
    kinds: tuple[type[Any], ...] = (TrainConfig, *GROUPS.values())
    sections = [HEAD]
    internal: list[Option] = []
    for kind in kinds:
        options = list_options(kind)
        title = inspect.getdoc(kind) or ""
        sections.append(f"## {kind.__name__}\n\n{title}\n")
        sections += map(describe_option, (one for one in options if not one.is_internal))
        internal += [one for one in options if one.is_internal]
    sections += [INTERNAL, *map(describe_option, internal)]
    sections += [
        PREDICTION,
        *(describe_option(one, trained=False) for one in list_options(PredictConfig)),
        SERVICE,
        *(describe_option(one, trained=False) for one in list_options(ServeConfig)),
    ]
    return "\n".join(sections)


def describe_option(one: Option, *, trained: bool = True) -> str:
    """Return what the page says of a field.

    Args:
        one: The field.
        trained: It is of a training, so recipes may change it.
    """
    declared = one.declared
    facts = [describe_kind(one.kind)]
    if "choices" in declared:
        facts = [join(declared["choices"])]
    elif one.range:
        facts.append(("each " if isinstance(one.default, tuple) else "") + one.range)
    if declared.get("unit") == "s":
        facts.append("in seconds")
    facts.append(f"default {show(one.default)}")
    if "flag" in declared:
        facts.append(f"option `{declared['flag']}`")
    if "env" in declared:
        facts.append(f"environment `{declared['env']}`")
    changes = {name: list_changes(name) for name in RECIPES} if trained else {}
    recipes = [f"{name} {show(own[one.name])}" for name, own in changes.items() if one.name in own]
    lines = [", ".join(facts) + "."]
    if recipes:
        lines.append(f"Recipes: {', '.join(recipes)}.")
    text = f"{declared['help']} {declared.get('details', '')}".strip()
    return f"### {one.name}\n\n{textwrap.fill(text, 100)}\n\n" + "".join(
        f"* {line[0].upper()}{line[1:]}\n" for line in lines
    )


def join(choices: Iterable[str]) -> str:
    """Return choices in words."""
    return " or ".join(f"`{choice}`" for choice in choices)


def show(value: object) -> str:
    """Return a value as `--set` takes it."""
    if value in (None, (), ""):
        return "none"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


if __name__ == "__main__":
    main()
