"""Start `fer serve` on a free port, let schemathesis ask it, and return what that returns.

python tests/api/run.py [options of `schemathesis run`]
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Run it."""
    program = shutil.which("schemathesis")
    if program is None:
        sys.exit("there is no schemathesis; nox -s api installs it")
    command = [sys.executable, "-m", "fercli", "serve", "--port", "0", "--model", "plus"]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        found = (re.search(r"http://\S+/", line) for line in service.stderr or ())
        address = next(one[0] for one in found if one)
        words = ["--config-file", "schemathesis.toml", "run", f"{address}openapi.json"]
        done = subprocess.run([program, *words, *sys.argv[1:]], cwd=FOLDER, check=False)
    finally:
        service.send_signal(signal.SIGINT)
        service.communicate(timeout=60)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
