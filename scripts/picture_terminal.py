"""Take the picture of a terminal that README shows: a real run of `fer predict`, as SVG.

python scripts/picture_terminal.py

Needs the groups `test` and `browser`, whose script makes the photos. Unix only: it runs the command
on a pseudo-terminal of 80 columns.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from picture_page import make_photos
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TARGET: Final = Path(__file__).parents[1] / "docs" / "terminal.svg"
COLUMNS: Final = 80
COMMAND: Final = ("predict", "photos")
FRAME: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>fer predict photos/: a row per face with a bar, then a table of how many of each</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
  font-variant-east-asian: full-width;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""Of rich's, what needs no font of somebody else's server."""


def main() -> None:
    """Run the command and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        make_photos(folder / "photos")
        (folder / "photos" / "sharp and soft.jpg").rename(folder / "photos" / "two.jpg")
        shown = run(folder)
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(Text.assemble(("$ ", "bold green"), ("fer " + " ".join(COMMAND), "bold")))
    console.print(Text.from_ansi(shown))
    picture = console.export_svg(title="", theme=MONOKAI, code_format=FRAME, unique_id="terminal")
    TARGET.write_text(picture, encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")
    print(shown)


def run(folder: Path) -> str:
    """Return what the command leaves on a terminal, progress that was overwritten left out."""
    driver, terminal = pty.openpty()
    environment = {
        **os.environ, "FERCLI_HOME": str(folder / "home"), "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color", "COLORTERM": "truecolor", "LINES": "50",
    }  # fmt: skip
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "fercli", *COMMAND],
        cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    pieces = []
    while True:
        try:
            piece = os.read(driver, 65536)
        except OSError:
            # On Linux a terminal that nobody holds any more is an error.
            break
        if not piece:
            break
        pieces.append(piece)
    process.wait()
    return clean(b"".join(pieces).decode())


def clean(text: str) -> str:
    """Return a terminal's text without bars that were drawn over and cursors that moved."""
    text = text.replace("\r\n", "\n")
    lines: list[str] = []
    for line in text.split("\n"):
        ups = len(re.findall(r"\x1b\[1?A", line))
        if ups:
            del lines[len(lines) - ups :]
        kept = re.split(r"\r|\x1b\[2K", line)[-1]
        lines.append(re.sub(r"\x1b\[\??[0-9;]*[A-Zabd-ln-z]", "", kept))
    return "\n".join(lines).strip("\n")


if __name__ == "__main__":
    main()
