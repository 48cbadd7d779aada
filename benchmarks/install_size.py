"""How many bytes an installation downloads: `install_size.py WHEEL...`, nothing is downloaded.

uv resolves each wheel's needs for a Python and a system, and the index tells the size of every
file; of several that fit, the largest counts. Needs uv; `nox -s lite` prints it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = ("linux", "macos", "windows")
NAMED = 5
"""How many of the largest packages are named."""


def main() -> None:
    """Print a line for every wheel, Python and system asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", type=Path, nargs="+", metavar="WHEEL")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="default: all")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="default: linux")
    parser.add_argument("--limit", type=float, metavar="MB", help="exit 1 where one is larger")
    options = parser.parse_args()
    sums = []
    for wheel in options.wheels:
        for system in options.system or ["linux"]:
            for python in options.python or PYTHONS:
                sizes = measure(wheel.resolve(), python, system)
                sums.append(sum(sizes.values()) / 1e6)
                largest = sorted(sizes.items(), key=lambda item: -item[1])[:NAMED]
                named = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in largest)
                print(
                    f"{wheel.name} {system} {python}: {sums[-1]:,.1f} MB in {len(sizes)} files"
                    f" ({named}, …)"
                )
    if options.limit is not None and max(sums) > options.limit:
        sys.exit(f"{max(sums):,.1f} MB is more than {options.limit:,.0f} MB")


def measure(wheel: Path, python: str, system: str) -> dict[str, int]:
    """Return the bytes of a wheel and of everything that it needs, by name."""
    command = [
        "uv", "pip", "compile", "-", "--quiet", "--format", "pylock.toml", "--only-binary", ":all:",
        "--python-version", python, "--python-platform", system,
    ]  # fmt: skip
    name = wheel.name.split("-")[0].replace("_", "-")
    asked = f"{name} @ {wheel.as_uri()}\n"
    done = subprocess.run(
        command,
        input=asked,
        capture_output=True,
        text=True,
        check=False,
        # The oldest macOS that onnxruntime has wheels for.
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
    )
    if done.returncode:
        sys.exit(f"{name} does not resolve for {system}, Python {python}:\n{done.stderr}")
    packages: list[dict[str, Any]] = tomllib.loads(done.stdout)["packages"]
    sizes = {
        one["name"]: max(file["size"] for file in one["wheels"])
        for one in packages
        if one["name"] != name
    }
    return {name: wheel.stat().st_size, **sizes}


if __name__ == "__main__":
    main()
