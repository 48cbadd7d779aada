from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fercli.cli import app
from fercli.config import BALANCES, NETWORKS, OPTIMIZERS, PRECISIONS
from fercli.recipes import RECIPES

if TYPE_CHECKING:
    from fercli.runs import RunFolder


def complete(text: str) -> list[str]:
    """Return what bash is offered for the last word of a command."""
    words = text.split(" ")
    variables = {
        "_FER_COMPLETE": "complete_bash",
        "COMP_WORDS": text,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(app, [], prog_name="fer", env=variables, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.split()


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("fer train --recipe ", list(RECIPES)),
        ("fer train --recipe fa", ["fast"]),
        ("fer train --network ", list(NETWORKS)),
        ("fer train --optimizer ", list(OPTIMIZERS)),
        ("fer train --balance ", list(BALANCES)),
        ("fer train --precision ", list(PRECISIONS)),
        ("fer train --device c", ["cpu", "cuda"]),
        ("fer evaluate --device c", ["cpu", "cuda"]),
        ("fer evaluate --split pr", ["private"]),
        ("fer predict --faces ", ["auto", "whole", "haar", "yunet"]),
        ("fer explain --faces ", ["auto", "whole", "haar", "yunet"]),
        ("fer train --set erasing", ["erasing=", "erasing_area="]),
        ("fer train --set fold", []),
        ("fer train --set average=", ["average=none", "average=ema"]),
        ("fer train --epochs ", []),
    ],
)
def test_values_complete(text: str, offered: list[str]) -> None:
    assert complete(text) == offered


@pytest.mark.parametrize(
    "words",
    [
        "evaluate", "info", "export", "compare", "predict --model", "explain --model",
        "train --teacher", "train --resume",
    ],
)  # fmt: skip
def test_models_complete(words: str, trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fercli.model_files.list_bundled", lambda: ["base"])
    Path("runs").mkdir()
    Path("runs/mine").symlink_to(trained.path)
    Path("runs/empty").mkdir()

    bundled = [] if "--resume" in words else ["base"]
    assert complete(f"fer {words} ") == [*bundled, "runs/mine"]
    assert complete(f"fer {words} runs/") == ["runs/mine"]
