"""`fer data download`: get a copy of FER2013, and prepare it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fercli.cli._command import register
from fercli.cli._display import print_pairs, watch_bytes, watch_images
from fercli.cli._options import ForceOption
from fercli.cli._output import Outcome, Output
from fercli.cli.prepare import show_prepared, write_prepared
from fercli.errors import DataError
from fercli.names import hide_secrets
from fercli.results import to_json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

_DEFAULT: Final = "kaggle:msambare/fer2013"


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    register(app, "download", group="data")(download_command)


def download_command(
    output: Output,
    *,
    source: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="kaggle:OWNER/NAME, kaggle-challenge, hf:OWNER/NAME or a URL.",
        ),
    ] = _DEFAULT,
    sha256: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="The file's SHA-256; needed for a URL.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Where to keep what was downloaded. Default: downloads/ in the data home.",
        ),
    ] = None,
    force: ForceOption = False,
) -> Outcome:
    """Get a copy of FER2013 and prepare it for training.

    fer train then finds it. Sources: kaggle:msambare/fer2013 (the default) is public and needs no
    account; its images are JPEGs, so pixels differ a little from the original table.
    kaggle-challenge is the original of 2013; it needs a Kaggle account and its rules accepted. An
    interrupted download continues; a complete one is not repeated. The license of the images is
    unclear: use them for research and teaching.

    Exit status: 0 done, 2 the prepared dataset is already there, 3 it cannot be downloaded or is
    not what it should be, 5 an account, a library or disk space is missing.

    Examples:
      fer data download
      fer data download --source kaggle-challenge --output downloads
      fer data download --source https://example.org/fer2013.csv.gz --sha256 DIGEST
    """
    from fercli.data import load_source
    from fercli.download import check_source_name, download, invalidate
    from fercli.paths import find_data_home, find_default_dataset
    from fercli.storage import check_output

    check_source_name(source, sha256)
    path = find_default_dataset()
    check_output(path, force=force)
    folder = folder or find_data_home() / "downloads"
    with watch_bytes(output, f"downloading {hide_secrets(source)}") as on_bytes:
        found = download(source, folder, sha256=sha256, on_progress=on_bytes, note=output.note)
    with watch_images(output, f"reading {found.path.name}") as on_progress:
        try:
            loaded = load_source(str(found.path), on_progress)
        except DataError:
            invalidate(found.path)
            raise
    result = write_prepared(output, loaded.dataset, loaded.notes, path)
    download_facts = {
        "source": hide_secrets(source),
        "archive": str(found.path),
        "archive_bytes": found.n_bytes,
        "archive_sha256": found.sha256 or None,
        "was_there": found.was_there,
    }

    def show(console: Console) -> None:
        show_prepared(console, result, loaded.dataset.source)
        kept = "already there" if found.was_there else f"{found.n_bytes / 2**20:,.1f} MiB"
        print_pairs(console, {"downloaded": f"{found.path} ({kept}); you may delete it"})

    return Outcome({**to_json(result), **download_facts}, show)
