"""Help in groups: what most people want of a command stands first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from typer.core import TyperCommand

__all__ = ["GROUPS", "FerCommand"]

_COMMON: Final = ("json", "quiet", "verbose", "no-color", "version", "help")
GROUPS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "train": {
        "Options": (
            "data", "recipe", "epochs", "device", "output", "resume", "validation", "seed",
            "config", "set", "dry-run", "force",
        ),
        "How to train": (
            "network", "batch-size", "learning-rate", "optimizer", "weight-decay", "dropout",
            "balance", "patience", "precision", "accumulate", "processes", "log",
        ),
        "Several trainings": ("seeds", "folds"),
        "Learning from other models": ("init", "pretrained", "teacher", "members"),
    },
    "predict": {
        "Options": (
            "model", "output", "format", "faces", "min-confidence", "device", "resume", "force",
        ),
        "Pictures and copies": ("annotate", "montage", "sort-into", "link"),
        "Videos": ("every", "start", "end", "smooth", "timeline"),
        "Which files and faces": (
            "ext", "image-column", "min-face", "max-pixels", "detector-weights", "batch-size",
        ),
        "Many machines": ("shard", "engine", "address"),
        "Rows": ("labels-of", "excel"),
    },
}  # fmt: skip
"""By command: the headings, and the options beneath each. Other commands have one heading."""


class FerCommand(TyperCommand):
    """A command whose help tells frequent options from rare ones."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # Typer's are private
        """Write the arguments, then the options, group after group."""
        groups = {
            **GROUPS.get(ctx.command_path.removeprefix("fer "), {}), "Every command": _COMMON,
        }  # fmt: skip
        places = {
            name: (title, place)
            for title, names in groups.items()
            for place, name in enumerate(names)
        }
        sections: dict[str, list[tuple[int, tuple[str, str]]]] = {"Arguments": [], "Options": []}
        sections |= {title: [] for title in groups}
        for place, parameter in enumerate(self.get_params(ctx)):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            where = "Arguments", place
            if parameter.param_type_name == "option":
                name = max(parameter.opts, key=len).removeprefix("--")
                where = places.get(name, ("Options", len(places) + place))
            sections[where[0]].append((where[1], record))
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([record for _, record in sorted(records)])
