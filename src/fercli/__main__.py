"""Run the command line as `python -m fercli`."""

from __future__ import annotations

from fercli.cli import main

if __name__ == "__main__":
    main()
