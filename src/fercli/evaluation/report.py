"""One page that holds a whole evaluation: pictures inside, no script, nothing to fetch."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fercli
from fercli.dependencies import explain_missing
from fercli.names import name_split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from fercli.evaluation.evaluate import Evaluation

__all__ = ["build_report", "import_jinja2", "render"]

_TEMPLATE: Final = Path(__file__).with_name("report.html")
_CAPTIONS: Final = {
    "confusion_matrix": "Confusion matrix: counts, and fractions of each true label. The table "
    "above has the same counts.",
    "per_class": "Precision, recall and F1 of each label, as in the table above.",
    "reliability": "Accuracy (bars) against confidence (x axis); the dotted line is perfect "
    "calibration. Below, the fraction of images at each confidence.",
    "coverage": "Coverage and accuracy at each confidence threshold; the table below has the "
    "numbers.",
    "mistakes": "The most confident errors: true label, prediction, confidence.",
    "samples": "A few images of each label, spread over the split: true label, prediction, "
    "confidence.",
    "robustness": "Accuracy against corruption strength; the table above has the numbers.",
    "curves": "Loss and accuracy over the epochs of the training.",
}


def build_report(
    evaluation: Evaluation, pictures: Mapping[str, bytes], mistakes: NDArray[np.intp]
) -> str:
    """Return an evaluation as one HTML page.

    Args:
        evaluation: What `evaluate` returned.
        pictures: The bytes of PNGs by kind, built into the page.
        mistakes: Positions of the mistakes that are listed.

    Raises:
        DependencyMissingError: jinja2 cannot be imported.
    """
    figures = {
        kind: {"data": base64.b64encode(content).decode(), "caption": _CAPTIONS[kind]}
        for kind, content in pictures.items()
    }
    return render(
        _TEMPLATE,
        escape=True,
        result=evaluation.result,
        trained=evaluation.metadata,
        mistakes=_list_mistakes(evaluation, mistakes),
        figures=figures,
        chance_nll=math.log(len(evaluation.result.labels)),
        version=fercli.__version__,
    )


def _list_mistakes(evaluation: Evaluation, mistakes: NDArray[np.intp]) -> list[dict[str, Any]]:
    names = evaluation.result.labels
    return [
        {
            "row": int(evaluation.rows[at]),
            "true": names[evaluation.labels[at]],
            "predicted": names[int(evaluation.plain[at].argmax())],
            "confidence": float(evaluation.plain[at].max()),
        }
        for at in mistakes
    ]


def import_jinja2() -> ModuleType:
    """Return jinja2.

    Raises:
        DependencyMissingError: It cannot be imported.
    """
    try:
        import jinja2
    except ImportError as reason:
        missing = explain_missing("jinja2", reason, consequence="the page cannot be written")
        raise missing from reason
    return jinja2


def render(path: Path, *, escape: bool, **values: Any) -> str:  # noqa: ANN401  # a template's
    """Return a template filled in.

    Args:
        path: The template.
        escape: Whether values are escaped for HTML; otherwise they are for a table of Markdown.
        values: What it speaks of; a name that it misses is an error.

    Raises:
        DependencyMissingError: jinja2 cannot be imported.
    """
    jinja2 = import_jinja2()
    environment = jinja2.Environment(
        autoescape=escape,  # Markdown has an escape of its own
        finalize=None if escape else _escape_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.2%}"
    environment.filters["split_name"] = name_split
    environment.filters["thousands"] = lambda count: f"{count:,}"
    page: str = environment.from_string(path.read_text(encoding="utf-8")).render(values)
    return page


def _escape_markdown(value: object) -> object:
    """Return text that neither ends a table's cell nor begins a tag."""
    if not isinstance(value, str):
        return value
    return " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;")
