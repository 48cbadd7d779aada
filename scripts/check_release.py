"""Look whether everything says the version of a tag before it is pushed: `check_release.py TAG`."""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def main() -> None:
    """Print what is wrong; exit 1 where something is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag", metavar="TAG")
    wrong = find_wrong(ROOT, parser.parse_args().tag)
    if wrong:
        sys.exit("\n".join(wrong))
    print("ready")


def find_wrong(root: Path, tag: str) -> list[str]:
    """Return a line for each file that says something else than the tag."""
    source = (root / "src" / "fercli" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'(?m)^__version__.* = "([^"]+)"', source)
    wrong = []
    if tag != f"v{version}":
        wrong.append(f"the tag is {tag}, __version__ {version}")
    cited = (root / "CITATION.cff").read_text(encoding="utf-8")
    if f"\nversion: {version}\n" not in cited:
        wrong.append(f"CITATION.cff: version is not {version}")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"(?m)^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", changes):
        wrong.append(f"CHANGELOG.md: there is no head `## {version} - YYYY-MM-DD`")
    (unreleased,) = re.findall(r"(?ms)^## Unreleased\n(.*?)(?=^## )", changes) or [""]
    if unreleased.strip():
        wrong.append("CHANGELOG.md: under Unreleased stands what this release has")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    if not project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]:
        wrong.append(
            "pyproject.toml: repository is empty, so the index shows no links and pictures"
        )
    return wrong


if __name__ == "__main__":
    main()
