"""`fer models`: the models and detectors that can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs, print_table, watch_bytes
from fercli.cli._output import Outcome, Output
from fercli.detectors import DETECTORS
from fercli.errors import ConfigError
from fercli.names import safe_name
from fercli.ranges import find_unknown_choice
from fercli.results import FetchResult, ListedModel, ModelsResult, to_json
from fercli.storage import digest_file

if TYPE_CHECKING:
    from rich.console import Console

    from fercli.detectors import DetectorWeights

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands to an app."""
    register(app, "list", group="models")(list_command)
    register(app, "fetch", group="models")(fetch_command)


def list_command(output: Output) -> Outcome:  # noqa: ARG001  # nothing to say on the way
    """List the bundled models and the face detectors, with digests.

    Exit status: 0.

    Examples:
      fer models list
      fer models list --json
    """
    from fercli.model_files import find_model, list_bundled

    rows: list[ListedModel] = []
    for name in list_bundled():
        file = find_model(name).path
        rows.append(
            ListedModel(
                name=name, finds="expressions", state="comes with fercli", path=str(file),
                sha256=digest_file(file),
            )
        )  # fmt: skip
    rows.append(
        ListedModel(name="haar", finds="faces", state="comes with OpenCV", path=None, sha256=None)
    )
    rows += [_describe(weights) for weights in DETECTORS.values()]

    def show(console: Console) -> None:
        from rich.table import Table

        table = Table()
        for column in ("name", "finds", "state", "sha256"):
            table.add_column(column, overflow="fold")
        for row in rows:
            # As many digits as fit into a narrow terminal; --json has them all.
            digest = f"{row.sha256[:12]}…" if row.sha256 else ""
            cells = (row.name, row.finds, row.state, digest)
            table.add_row(*map(safe_name, cells))
        print_table(console, table)

    return Outcome(to_json(ModelsResult(models=tuple(rows))), show)


def fetch_command(
    output: Output,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `fer models list` names it.")],
) -> Outcome:
    """Download a face detector's weights, and check their digest.

    A file whose sha256 is not the known one is not kept.

    Exit status: 0 done or already there, 2 unknown name or another file in its place, 3 it cannot
    be downloaded or its digest is wrong, 5 no disk space.

    Examples:
      fer models fetch yunet
      fer models fetch yunet --json
    """
    problems = find_unknown_choice("detector", name, DETECTORS)
    if problems:
        raise ConfigError(*problems, hint="everything else comes with fercli or OpenCV")
    weights = DETECTORS[name]
    from fercli.download import fetch_detector

    with watch_bytes(output, f"downloading {weights.name}") as on_progress:
        found = fetch_detector(weights, on_progress=on_progress, note=output.note)
    result = FetchResult(
        name=name,
        path=str(weights.path),
        sha256=weights.sha256,
        size_bytes=weights.n_bytes,
        was_there=found.was_there,
    )

    def show(console: Console) -> None:
        state = "already there" if found.was_there else "downloaded"
        pairs = {name: state, "kept at": str(weights.path), "sha256": weights.sha256}
        print_pairs(console, pairs)

    return Outcome(to_json(result), show)


def _describe(weights: DetectorWeights) -> ListedModel:
    """Return a detector that can be fetched, and whether it has been."""
    path = weights.path if weights.path.is_file() else None
    state = "fetched" if path else f"not fetched: fer models fetch {weights.name}"
    if path is not None and digest_file(path) != weights.sha256:
        state = f"damaged: remove {path} and fetch it again"
    return ListedModel(
        name=weights.name,
        finds="faces",
        state=state,
        path=str(path) if path else None,
        sha256=weights.sha256,
        license=weights.license,
        url=weights.url,
    )
