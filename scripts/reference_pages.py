"""The pages of docs/reference that are read off the code: `write_reference.py` writes them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner

import fercli
from fercli import errors, metadata, results
from fercli.cli import app
from fercli.cli._exit import ExitStatus, find_status
from fercli.errors import FercliError, RunInterruptedError
from fercli.results import EpochReport, PredictionRow
from fercli.runs import RunFolder

__all__ = ["build_cli", "build_environment", "build_exit_statuses", "build_files", "build_json",
           "build_python"]  # fmt: skip

_NOTE: Final = "This page is generated from the code by `nox -s sync`.\n"
_COMMANDS: Final = {
    "data download": ("PrepareResult",),
    "data prepare": ("PrepareResult",),
    "data check": ("CheckResult", "DuplicateCounts", "NearCounts", "FerPlusReport"),
    "train": ("TrainResult", "RepeatsResult", "RepeatedRun"),
    "evaluate": (
        "EvaluationResult", "Scores", "ClassScores", "Calibration", "CoveragePoint", "Confusion",
        "Deduplicated", "RobustnessRow",
    ),
    "compare": ("ComparisonResult", "ComparedModel", "PairedDifference", "RepeatedScores"),
    "export": ("ExportResult",),
    "predict": ("PredictResult", "PredictionRow"),
    "merge": ("MergeResult",),
    "explain": ("ExplainResult", "ExplainedImage"),
    "serve": ("ServeResult",),
    "info MODEL": ("ModelInfo", "TrainingInfo"),
    "info": ("EnvironmentResult", "Device", "Paths"),
    "models list": ("ModelsResult", "ListedModel"),
    "models fetch": ("FetchResult",),
    "demo": ("DemoResult",),
}  # fmt: skip
"""What `data` of a command's JSON is made of; nested records follow the first."""
_ADDED: Final = {
    "info MODEL": {
        "scores": "The last score of each split, of a run or of the file.",
        "files": "What `--diagram` and `--card` wrote; left out without them.",
    },
}
"""Keys beside those of a command's first record."""
_VARIABLES: Final = {
    "FERCLI_HOME": "The folder of the prepared dataset, downloads and fetched detectors. Default: "
    "the user's data folder of this system.",
    "FERCLI_DEVICE": "The device, where `--device` is not given.",
    "FERCLI_TOKEN": "The token of `fer serve`, where `--token` is not given; other users of a "
    "machine see what is typed, not this.",
    "NO_COLOR": "Any value: no colors, as `--no-color`.",
    "ORT_DISABLE_TELEMETRY": "Set to 1 before onnxruntime is imported, unless you have set it.",
    "KAGGLE_API_TOKEN": "Who you are to Kaggle, for `fer data download "
    "--source kaggle-challenge`; `KAGGLE_USERNAME` with `KAGGLE_KEY`, or a signed-in kagglehub, do "
    "as well.",
    "HF_TOKEN": "Who you are to the Hugging Face hub, for datasets and models that are not public.",
    "TORCH_HOME": "Where torch keeps pretrained weights that `--pretrained` fetches.",
    "FERCLI_FER2013": "For the tests: the path of a real `fer2013.csv` or `.csv.gz`.",
    "FERCLI_YUNET": "For the tests: the path of YuNet's weights.",
}


_SECTIONS: Final = {
    "Args:": "Arguments", "Returns:": "Returns", "Yields:": "Yields", "Raises:": "Raises",
    "Source:": "Source",
}  # fmt: skip
"""Of docstrings, and what they are called on a page."""
_SIGNATURE_COLUMNS: Final = 88
_JSON_HEAD: Final = """\
With `--json` a command writes exactly one object to stdout, in success and failure:

```json
{"schema": 1, "command": "evaluate", "status": "ok", "exit_code": 0, "data": {}, "errors": []}
```

`status` is `ok`, `partial` ([exit status](exit-status.md) 7, or stopped by a signal, with what was
done until then) or `error`; each of `errors` has a
`code`, a `message` and a `hint`. Numbers have full precision. Keys may be added; a key that is
here keeps its
meaning.
"""
_ROWS_HEAD: Final = """\
A line of `.jsonl` has these keys; in `.csv` and `.parquet` `box` is `box_x box_y box_width
box_height`, and `probabilities` a column `p_<label>` each.

"""
_PARTS: Final = """\
`part-00003-of-00064.jsonl` (or `.csv`, `.parquet`) holds the rows of shard 3 of 64, as above, and
has this name once it is whole. `part-00003-of-00064.side.jsonl` is written after it. Its first line
is an object with these keys; the other lines are lists with two numbers for each input of the
shard: how far it stands behind the one before in the list of all shards, and how many rows it has.

"""
_MODEL: Final = """\
`.safetensors`: the weights, and JSON under the metadata key `fercli`. `.onnx`: one file; input
`images` uint8 `[N, 48, 48]`, output `probabilities` float32 `[N, K]`, and the same JSON in
`metadata_props`, beside `fercli.sha256`: the digest of the file with 64 zeros in its own place,
checked on every load. `fer info` calls a file without one unverified.
"""
_DATASET: Final = """\
One `.safetensors`: `images` uint8 `[N, 48, 48]`, `labels` uint8 `[N]`, `splits` uint8 `[N]`,
`source_row` int32 `[N]`, and where there are votes `targets` float32 `[N, K]`.
"""
_STATUS_TEXT: Final = """\
Expected failures are a line on stderr for each problem, `error: …`, and often one that helps,
`hint: …`; `-v` adds the traceback. A closed pipe on stdout ends a command quietly with 0.

## Error codes

The `code` of each of `errors` in the [JSON output](json.md).

"""


def build_cli() -> str:
    """Return every command's help."""
    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"})
    parts = [f"# Command line\n\n{_NOTE}"]
    for words in _list_commands():
        shown = runner.invoke(app, [*words, "--help"], prog_name="fer", terminal_width=100)
        title = " ".join(("fer", *words))
        text = "\n".join(line.rstrip() for line in shown.output.splitlines()).strip()
        parts.append(f"## {title}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def build_json() -> str:
    """Return the keys of every command's JSON."""
    parts = [f"# JSON output\n\n{_NOTE}\n{_JSON_HEAD}"]
    for command, kinds in _COMMANDS.items():
        parts.append(f"## fer {command}\n")
        for position, name in enumerate(kinds):
            kind = getattr(results, name, None) or getattr(metadata, name)
            if position:
                parts.append(f"### {name}\n\n{_first_line(kind)}\n")
            fields = _read_fields(kind)
            parts.append(_format_table(fields if position else fields | _ADDED.get(command, {})))
    return "\n".join(parts)


def build_files() -> str:
    """Return the files that fercli writes, and their columns."""
    run = RunFolder(Path())
    files = {
        getattr(run, name).as_posix(): _first_line(member.fget)
        for name, member in vars(RunFolder).items()
        if isinstance(member, property) and isinstance(getattr(run, name), Path)
    }
    evaluate_columns = {
        "row": "The image's row in the dataset's source, from 0.",
        "true": "Its label.",
        "predicted": "The most probable label.",
        "in_train": "1 where the model learned from the same pixels, else 0; empty if unknown.",
        "p_<label>": "Probability of each label.",
        "tta_predicted": "With `--tta`: the same of the mean of image and mirror image.",
        "tta_p_<label>": "With `--tta`: its probabilities.",
    }
    findings_columns = {
        "finding": "`duplicate`, `conflict`, `constant`, `near` or `other-label`.",
        "group": "Images that belong together have the same number.",
        "image": "Position in the dataset, from 0.",
        "row": "Row in the source, from 0.",
        "split": "Split of the image.",
        "label": "Label of the image.",
        "detail": "What else is known of it.",
    }
    part_keys = {
        "kind": "`part`, and `schema`: 1.",
        "shard": "K, from 0; `shards`: N.",
        "format": "Of the part: `jsonl`, `csv` or `parquet`.",
        "n_bytes": "Of the part; `sha256`: its digest.",
        "list": "`n_inputs` of all shards, files in archives that are no images among them, and "
        "the `sha256` of their paths' SHA-256s, in order.",
        "inputs": "The same of this shard, each digest with the size of the file.",
        "order_sha256": "Of the lines that follow.",
        "model": "What rows call it; `model_sha256`: of its file; `labels`: of the rows.",
        "options": "All that was asked for and could change a row.",
        "versions": "Of fercli and of the libraries that read and compute.",
        "counts": "`n_inputs n_frames n_faces n_no_face n_skipped n_rows`.",
        "record_sha256": "Of the other keys.",
    }
    rows = _read_fields(PredictionRow)
    tables = {
        "A run folder": _format_table(files, "file"),
        "metrics.csv": "A row per epoch.\n\n" + _format_table(_read_fields(EpochReport), "column"),
        "Rows of fer predict": _ROWS_HEAD + _format_table(rows, "column"),
        "Parts of fer predict --shard": _PARTS + _format_table(part_keys),
        "predictions.csv of fer evaluate": _format_table(evaluate_columns, "column"),
        "findings.csv of fer data check": _format_table(findings_columns, "column"),
        "A model": _MODEL,
        "A prepared dataset": _DATASET,
    }
    sections = [f"## {title}\n\n{text}" for title, text in tables.items()]
    return "\n".join([f"# Files\n\n{_NOTE}", *sections])


def build_python() -> str:
    """Return the public names with their docstrings."""
    parts = [f"# Python\n\n{_NOTE}\n[The whole loop](../how-to/library.md) shows them at work.\n"]
    for name in fercli.__all__:
        value = getattr(fercli, name)
        if name.startswith("__"):
            continue
        if inspect.isfunction(value):
            parts.append(f"## fercli.{name}\n\n{_format_callable(name, value)}")
        elif issubclass(value, FercliError):
            continue
        else:
            parts.append(f"## fercli.{name}\n\n{_format_docstring(value)}")
            if fields := _list_public_fields(value):
                parts.append(_format_table(fields, "field"))
            for member, function in _list_members(value):
                if isinstance(function, property):
                    parts.append(f"### {name}.{member}\n\n{_format_docstring(function)}")
                else:
                    parts.append(f"### {name}.{member}\n\n{_format_callable(member, function)}")
    kinds = [getattr(fercli, name) for name in fercli.__all__ if name.endswith("Error")]
    parts.append("## Errors\n\nEach has a `message`, a `hint` and a `code`.\n")
    parts.append(_format_table({kind.__name__: _first_line(kind) for kind in kinds}, "error"))
    return "\n".join(parts)


def build_exit_statuses() -> str:
    """Return the exit statuses, and the errors that lead to each."""
    statuses = _read_docstrings(ExitStatus)
    table = {str(status.value): statuses[status.name] for status in ExitStatus}
    codes = [
        (kind.code, find_status(_make(kind)), _first_line(kind))
        for name in errors.__all__
        for kind in [getattr(errors, name)]
        if kind is not FercliError
    ]
    lines = ["| code | exit status | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{code}` | {status} | {text} |" for code, status, text in sorted(codes)]
    head = f"# Exit statuses\n\n{_NOTE}\n{_format_table(table, 'status')}\n"
    return head + _STATUS_TEXT + "\n".join(lines) + "\n"


def build_environment() -> str:
    """Return the environment variables."""
    return f"# Environment variables\n\n{_NOTE}\n{_format_table(_VARIABLES, 'variable')}"


def _list_commands() -> Iterator[tuple[str, ...]]:
    yield ()
    for command in app.registered_commands:
        yield (str(command.name),)
    for group in app.registered_groups:
        yield (str(group.name),)
        if group.typer_instance:
            for command in group.typer_instance.registered_commands:
                yield (str(group.name), str(command.name))


def _make(kind: type[FercliError]) -> FercliError:
    if issubclass(kind, RunInterruptedError):
        return kind("", signal_number=2)
    return kind("")


def _list_members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, member in vars(kind).items():
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            yield name, member


def _format_callable(name: str, function: Any) -> str:  # noqa: ANN401  # any function
    signature = inspect.signature(function)
    hidden = [
        item.replace(annotation=_unquote(item.annotation))
        for item in signature.parameters.values()
        if item.name != "self"
    ]
    shown = signature.replace(
        parameters=hidden, return_annotation=_unquote(signature.return_annotation)
    )
    text = _format_signature(name, shown)
    return f"```py\n{text}\n```\n\n{_format_docstring(function)}"


def _format_signature(name: str, signature: inspect.Signature) -> str:
    """Return a signature on one line, or with a line for each parameter where that is too long."""
    text = f"{name}{signature}"
    if len(text) <= _SIGNATURE_COLUMNS:
        return text
    lines: list[str] = []
    keyword = False
    for item in signature.parameters.values():
        if item.kind is item.KEYWORD_ONLY and not keyword:
            lines.append("*")
            keyword = True
        lines.append(str(item))
    body = "".join(f"    {line},\n" for line in lines)
    return f"{name}(\n{body}) -> {signature.return_annotation}"


class _Plain(str):
    """A type as it is written, without quotes around it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _unquote(annotation: object) -> object:
    return _Plain(annotation) if isinstance(annotation, str) else annotation


def _format_docstring(thing: object) -> str:
    """Return a docstring as Markdown: its sections are lists, its examples code."""
    parts: list[str] = []
    for block in (inspect.getdoc(thing) or "").split("\n\n"):
        head, _, body = block.partition("\n")
        if block.startswith(">>>"):
            parts.append(f"```pycon\n{block}\n```")
        elif head in _SECTIONS:
            parts.append(f"**{_SECTIONS[head]}**\n\n{_format_section(textwrap.dedent(body))}")
        else:
            parts.append(block)
    return "\n\n".join(parts) + "\n"


def _format_section(body: str) -> str:
    entries: list[str] = []
    for line in body.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line)
    lines = []
    for entry in entries:
        name, colon, text = entry.partition(": ")
        known = colon and name.isidentifier()
        lines.append(f"* `{name}`: {text}" if known else entry)
    return "\n".join(lines)


def _list_public_fields(kind: type[Any]) -> dict[str, str]:
    """Return what a record holds, by name: fields that have a docstring and are no secret."""
    if not dataclasses.is_dataclass(kind):
        return {}
    fields = _read_fields(kind).items()
    return {name: text for name, text in fields if text and not name.startswith("_")}


def _format_table(rows: dict[str, str], head: str = "key") -> str:
    lines = [f"| {head} | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {text.replace('|', '&#124;')} |" for name, text in rows.items()]
    return "\n".join(lines) + "\n"


def _read_fields(kind: type[Any]) -> dict[str, str]:
    """Return the docstring under each field of a dataclass."""
    found = _read_docstrings(kind)
    return {field.name: found.get(field.name, "") for field in dataclasses.fields(kind)}


def _read_docstrings(kind: type[Any]) -> dict[str, str]:
    """Return the strings that stand under the assignments of a class, by name."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found: dict[str, str] = {}
    if isinstance(node, ast.ClassDef):
        for before, after in zip(node.body, node.body[1:], strict=False):
            target: ast.expr | None = None
            if isinstance(before, ast.AnnAssign):
                target = before.target
            elif isinstance(before, ast.Assign):
                target = before.targets[0]
            if isinstance(target, ast.Name) and isinstance(after, ast.Expr):
                value = after.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[target.id] = " ".join(value.value.split())
    return found


def _first_line(thing: object) -> str:
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return " ".join(text.split()).replace(os.sep + os.sep, os.sep)
