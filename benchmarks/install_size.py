"""How many bytes an installation downloads: `install_size.py WHEEL|NAME...`, downloading nothing.

A wheel of ours, or what `pip install` takes from the index (`deepface==0.0.103`). uv resolves the
needs for a Python and a system, and the index tells the size of every file; of several that fit,
the largest counts. Needs uv; `nox -s lite` prints it.
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
    parser.add_argument("packages", nargs="+", metavar="WHEEL|NAME")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="default: all")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="default: linux")
    parser.add_argument("--limit", type=float, metavar="MB", help="exit 1 where one is larger")
    options = parser.parse_args()
    sums = []
    for package in options.packages:
        for system in options.system or ["linux"]:
            for python in options.python or PYTHONS:
                sizes = measure(package, python, system)
                sums.append(sum(sizes.values()) / 1e6)
                largest = sorted(sizes.items(), key=lambda item: -item[1])[:NAMED]
                named = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in largest)
                print(
                    f"{Path(package).name} {system} {python}: {sums[-1]:,.1f} MB"
                    f" in {len(sizes)} files ({named}, …)"
                )
    if options.limit is not None and max(sums) > options.limit:
        sys.exit(f"{max(sums):,.1f} MB is more than {options.limit:,.0f} MB")


def measure(package: str, python: str, system: str) -> dict[str, int]:
    """Return the bytes of a package and of everything that it needs, by name."""
    wheel = Path(package).resolve() if package.endswith(".whl") else None
    command = [
        "uv", "pip", "compile", "-", "--quiet", "--format", "pylock.toml",
        "--python-version", python, "--python-platform", system,
    ]  # fmt: skip
    name = "" if wheel is None else wheel.name.split("-")[0].replace("_", "-")
    asked = f"{package}\n" if wheel is None else f"{name} @ {wheel.as_uri()}\n"
    if wheel is not None:
        # Ours are to need no compiler; others may bring what has no wheel.
        command += ["--only-binary", ":all:"]
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
        sys.exit(f"{package} does not resolve for {system}, Python {python}:\n{done.stderr}")
    packages: list[dict[str, Any]] = tomllib.loads(done.stdout)["packages"]
    sizes = {
        one["name"]: max(file["size"] for file in one.get("wheels") or [one["sdist"]])
        for one in packages
        if one["name"] != name
    }
    return sizes if wheel is None else {name: wheel.stat().st_size, **sizes}


if __name__ == "__main__":
    main()
