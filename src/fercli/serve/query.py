"""What a client may ask for, by the declarations of `fer predict`'s options."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fercli.config import Option, PredictConfig, list_options
from fercli.errors import ConfigError
from fercli.inference import LABEL_SETS
from fercli.ranges import find_unknown_choice, suggest
from fercli.serve.uploads import MAX_NAME

__all__ = ["PARAMETERS", "PredictQuery", "parse_query", "refuse_unknown"]

_SHARED: Final = ("faces", "min_confidence", "min_face_px")
PARAMETERS: Final[dict[str, Option]] = {
    one.declared["flag"].removeprefix("--").replace("-", "_"): one
    for one in list_options(PredictConfig)
    if one.name in _SHARED
}
"""Options of `fer predict` that are parameters here, by their names here."""
_OWN: Final = ("model", "labels_of", "name")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,300})")


@dataclass(frozen=True)
class PredictQuery:
    """What a client asks for."""

    model: str
    labels_of: str | None
    name: str
    """What a single image is called."""
    config: PredictConfig


def refuse_unknown(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> list[str]:
    """Return a sentence for each parameter that is unknown or there twice."""
    problems, seen = [], set()
    for name, _ in pairs:
        if name not in known:
            allowed = f"choose from {', '.join(known)}" if known else "there are none"
            problems.append(f"unknown parameter {name[:100]!r}: {allowed}{suggest(name, known)}")
        elif name in seen:
            problems.append(f"{name} is given twice")
        seen.add(name)
    return problems


def parse_query(
    pairs: Sequence[tuple[str, str]],
    *,
    models: Sequence[str],
    faces: Sequence[str],
    max_pixels: int,
) -> PredictQuery:
    """Return what a query asks for.

    Args:
        pairs: Names and values.
        models: The names that may be asked for, the default first.
        faces: The ways to find faces that this service has.
        max_pixels: Largest image that is decoded.

    Raises:
        ConfigError: With every problem: unknown names, values that are no numbers or out of range.
    """
    problems = refuse_unknown(pairs, (*_OWN, *PARAMETERS))
    given = dict(pairs)
    values: dict[str, Any] = {"max_pixels": max_pixels}
    for name in given.keys() & PARAMETERS.keys():
        one = PARAMETERS[name]
        try:
            values[one.name] = _parse(name, given[name], one)
            PredictConfig(**{one.name: values[one.name]})
        except ConfigError as reason:
            problems += [text.replace(one.name, name, 1) for text in reason.problems]
    if (
        given.get("faces", "auto") not in faces
        and values.get("faces") in PARAMETERS["faces"].values
    ):
        problems.append("this service has no weights of yunet: fer models fetch yunet gets them")
    model = given.get("model", models[0])
    problems += find_unknown_choice("model", model, models)
    labels_of = given.get("labels_of") or None
    if labels_of is not None:
        problems += find_unknown_choice("labels_of", labels_of, LABEL_SETS)
    name = given.get("name") or "image"
    if len(name) > MAX_NAME:
        problems.append(f"name has more than {MAX_NAME} characters")
    if problems:
        raise ConfigError(*problems)
    return PredictQuery(model, labels_of, name, PredictConfig(**values))


def _parse(name: str, text: str, one: Option) -> object:
    """Return a value as its option has it.

    Raises:
        ConfigError: It does not read as one.
    """
    if one.kind is str:
        return text
    pattern, kind, noun = (
        (_WHOLE, int, "a whole number") if one.kind is int else (_NUMBER, float, "a number")
    )
    if not pattern.fullmatch(text):
        message = f"{name} must be {noun}, not {text[:100]!r}"
        raise ConfigError(message)
    return kind(text)
