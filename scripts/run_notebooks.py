"""Run the notebooks of the documentation and keep what they show: `run_notebooks.py [NOTEBOOK...]`.

Each runs in a temporary folder, in a kernel of this Python. Needs the group `docs`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Final

import nbclient
import nbformat

NOTEBOOKS: Final = Path(__file__).parents[1] / "docs" / "notebooks"
LIMIT: Final = 200_000
"""Bytes of a notebook with its results."""


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", type=Path, nargs="*", metavar="NOTEBOOK")
    paths = parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["FERCLI_HOME"] = folder
            nbclient.NotebookClient(
                notebook, timeout=900, resources={"metadata": {"path": folder}}
            ).execute()
        for cell in (one for one in notebook.cells if one.cell_type == "code"):
            # When it ran, and on which machine, would be another in every commit.
            cell.metadata.pop("execution", None)
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(notebook, path)
        size = path.stat().st_size
        print(f"{path.name}: {size:,} bytes{', too many' if size > LIMIT else ''}")


if __name__ == "__main__":
    main()
