"""One page that holds a whole evaluation: pictures inside, no script, nothing to fetch."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fercli
from fercli.errors import DependencyMissingError
from fercli.runs import tell_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fercli.evaluation.evaluate import Evaluation

__all__ = ["build_report", "render"]

_TEMPLATE: Final = Path(__file__).with_name("report.html")
_CAPTIONS: Final = {
    "confusion_matrix": "Confusion matrix: counts, and shares of each true label. The table above "
    "has the same counts.",
    "per_class": "Precision, recall and F1 of each label, as in the table above.",
    "reliability": "How right the model is (bars) when it is how sure (across); on the dotted line "
    "the two agree. Below, the share of images at each confidence.",
    "coverage": "What each least confidence leaves unanswered, and how right the rest is; the "
    "figures stand in the table below.",
    "mistakes": "The mistakes that the model was surest of: the true label, what it said, how sure "
    "it was.",
    "samples": "A few images of each label, spread over the split: the true label, what the model "
    "said, how sure it was.",
    "robustness": "Accuracy as the images get worse; the figures stand in the table above.",
    "curves": "Loss and accuracy over the epochs of the training.",
}


def build_report(evaluation: Evaluation, pictures: Mapping[str, Path]) -> str:
    """Return an evaluation as one HTML page.

    Args:
        evaluation: What `evaluate` returned.
        pictures: PNG files by kind, built into the page.

    Raises:
        DependencyMissingError: jinja2 cannot be imported.
    """
    figures = {
        kind: {"data": base64.b64encode(path.read_bytes()).decode(), "caption": _CAPTIONS[kind]}
        for kind, path in pictures.items()
    }
    return render(
        _TEMPLATE,
        escape=True,
        result=evaluation.result,
        trained=evaluation.metadata,
        figures=figures,
        version=fercli.__version__,
        written=tell_time(),
    )


def render(path: Path, *, escape: bool, **values: Any) -> str:  # noqa: ANN401  # a template's
    """Return a template filled in.

    Args:
        path: The template.
        escape: Whether values are escaped for HTML.
        values: What it speaks of; a name that it misses is an error.

    Raises:
        DependencyMissingError: jinja2 cannot be imported.
    """
    try:
        import jinja2
    except ImportError as reason:
        message = f"jinja2 cannot be imported ({reason}), so the page cannot be written"
        raise DependencyMissingError(message, hint="pip install jinja2") from reason
    environment = jinja2.Environment(
        autoescape=escape,  # noqa: S701  # Markdown is text; HTML asks for it
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.2%}"
    environment.filters["thousands"] = lambda count: f"{count:,}"
    return environment.from_string(path.read_text(encoding="utf-8")).render(values)
