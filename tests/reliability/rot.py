"""Let every kind of file that fercli writes rot: `nox -s rot -- --flips 1000`.

Single bits are flipped, blocks of 4 KiB zeroed (a whole file that is shorter, too), and files cut,
at places drawn from a seed. What then reads the file must refuse it, or read what it read before:
a value that changes without a word is silent. Files that people may edit have no digest on purpose;
of those the table says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import torch
from specimens import ROW_KINDS, Specimens, open_work_folder, write_specimens

from fercli.cli._exit import find_status
from fercli.data import load_source
from fercli.detectors import DETECTORS, find_weights
from fercli.errors import FercliError, ModelFileError
from fercli.metadata import ScoreRecord
from fercli.model_files import (
    ModelFile,
    load_network,
    load_train_digests,
    open_runtime,
    read_metadata,
)
from fercli.networks import build_network
from fercli.prediction.merge import merge_parts
from fercli.runs import RunFolder, read_history, read_run_record, read_scores
from fercli.settings import build_config
from fercli.storage import digest_file, digest_tensors
from fercli.training.checkpoint import restore_newest
from fercli.training.distillation.targets import load_targets
from fercli.training.state import build_state

__all__ = ["Kind", "list_kinds", "main", "rot"]

BLOCK: Final = 4096


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    path: Path
    """What rots, in place."""
    read: Callable[[], object]
    """Reads it and returns all that it gives; raises what a user is told."""
    is_text: bool = False
    """Whether it is for people to read and edit, so that other values are no damage."""
    may_lose: bool = False
    """Whether damaged lines are left out; the others must be what they were."""


def list_kinds(specimens: Specimens, folder: Path) -> Iterator[tuple[str, Kind]]:
    """Yield every kind under its name."""
    run = specimens.run
    yield "prepared dataset", Kind(specimens.dataset, lambda: _read_dataset(specimens.dataset))
    yield "model.safetensors", Kind(run.model, lambda: _read_weights(run.model))
    yield "model.onnx", Kind(run.onnx, lambda: _read_onnx(run.onnx))
    model = ModelFile(run.onnx, run.path, assumed=False)
    known = read_metadata(model)
    yield "train-digests", Kind(run.train_digests, lambda: _list(load_train_digests(model, known)))
    images = load_source(str(specimens.dataset)).dataset.select("train").images
    shape = (len(images), len(known.labels))
    yield "targets", Kind(run.targets, lambda: _read_targets(run.targets, shape))
    (newest, *others) = sorted(run.checkpoints.glob("*"), reverse=True)
    for other in others:
        other.unlink()
    config = build_config(dict(read_run_record(run.path).config))
    yield "checkpoint", Kind(newest, lambda: _read_checkpoint(newest.parent, config, shape[1]))
    for kind in ROW_KINDS:
        held = specimens.parts(kind)
        for name in (f"part-00001-of-00002.{kind}", "part-00001-of-00002.side.jsonl"):
            what = f"side file, {kind}" if ".side." in name else f"part, {kind}"
            yield what, Kind(held / name, partial(_merge, held, folder, kind))
    yield "run.json", Kind(run.record, lambda: read_run_record(run.path).to_json(), is_text=True)
    history = partial(read_history, run)
    yield "metrics.csv", Kind(run.metrics, lambda: list(map(_plain, history())), is_text=True)
    yield "scores.jsonl", Kind(run.scores, lambda: _read_scores(run), may_lose=True)
    yield "detector weights", _build_detector(folder)


def _read_scores(run: RunFolder) -> list[object]:
    """Return all that is known of each score; keys that nobody knows play no part."""
    names = [field.name for field in dataclasses.fields(ScoreRecord) if field.name[0] != "_"]
    scores = read_scores(run).items()
    return [[split, *(getattr(one, name) for name in names)] for split, one in scores]


def _plain(report: Any) -> dict[str, Any]:
    return dataclasses.asdict(report)


def _list(array: Any) -> object:
    return None if array is None else array.tolist()


def _read_dataset(path: Path) -> object:
    data = load_source(str(path)).dataset
    arrays: dict[str, Any] = {
        "images": data.images, "labels": data.labels, "splits": data.splits, "row": data.source_row,
    }  # fmt: skip
    digest = digest_tensors(arrays)
    names = [data.label_names, data.split_names, data.source, data.labeling, dict(data.dropped)]
    return [digest, data.sha256, names]


def _read_weights(path: Path) -> object:
    network, metadata = load_network(path)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return [digest_tensors(weights), metadata.to_json()]


def _read_onnx(path: Path) -> object:
    runtime = open_runtime(ModelFile(path, None, assumed=False), n_threads=1)
    images = np.arange(2 * 48 * 48, dtype=np.uint32).astype(np.uint8).reshape(2, 48, 48)
    return [runtime.predict(images).tolist(), runtime.metadata.to_json()]


def _read_targets(path: Path, shape: tuple[int, int]) -> object:
    found = load_targets(path, shape)
    return found and [found[0].tolist(), [one.to_json() for one in found[1]]]


def _read_checkpoint(folder: Path, config: Any, n_labels: int) -> object:
    network = build_network(config.model, n_labels)
    state = build_state(network, config, torch.device("cpu"))
    notes: list[str] = []
    if restore_newest(folder, state, notes.append) is None:
        # As a training goes on: the file is skipped, and a line says so.
        raise ModelFileError(notes[0])
    return [digest_tensors(state.to_arrays()), state.progress.to_json()]


def _merge(held: Path, folder: Path, kind: str) -> object:
    output = folder / f"merged.{kind}"
    result = merge_parts(held, output, overwrite=True)
    return [digest_file(output), dataclasses.asdict(result)]


def _build_detector(folder: Path) -> Kind:
    """Weights as if they had been fetched; the real ones would need a network."""
    real = DETECTORS["yunet"]
    path = folder / "models" / "detector.onnx"
    path.parent.mkdir()
    path.write_bytes(np.random.default_rng(0).bytes(real.n_bytes))
    own = _Weights(path, digest_file(path))

    known: Any = DETECTORS

    def read() -> object:
        known["yunet"] = own
        try:
            return find_weights("yunet").read_bytes()
        finally:
            known["yunet"] = real

    return Kind(path, read)


@dataclass(frozen=True)
class _Weights:
    path: Path
    sha256: str


def _damage(
    random: Random, content: bytes, n_flips: int, n_others: int
) -> Iterator[tuple[str, bytes]]:
    """Yield damaged copies, each with how it was damaged."""
    for _ in range(n_flips):
        changed = bytearray(content)
        changed[random.randrange(len(content))] ^= 1 << random.randrange(8)
        yield "flipped", bytes(changed)
    for _ in range(n_others):
        start = random.randrange(len(content)) // BLOCK * BLOCK
        end = min(start + BLOCK, len(content))
        yield "zeroed", content[:start] + bytes(end - start) + content[end:]
        yield "cut", content[: random.randrange(len(content))]


def rot(name: str, kind: Kind, *, n_flips: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Return the row of the table, and what a user would have met that is no refusal."""
    random = Random(f"{seed}/{name}")  # noqa: S311  # places of damage, no secrets
    content = kind.path.read_bytes()
    whole = json.loads(json.dumps(kind.read(), default=repr))
    counts: Counter[str] = Counter()
    statuses: set[int] = set()
    broken: list[str] = []
    started = time.monotonic()
    for how, damaged in _damage(random, content, n_flips, max(1, n_flips // 10)):
        kind.path.write_bytes(damaged)
        try:
            found = json.loads(json.dumps(kind.read(), default=repr))
        except FercliError as reason:
            counts["noticed"] += 1
            statuses.add(find_status(reason))
        except Exception as reason:  # noqa: BLE001  # whatever it is, it is what is looked for
            broken.append(f"{name}, {how}: {reason!r}"[:300])
        else:
            outcome = "silent"
            if found == whole or damaged == content:
                outcome = "harmless"
            elif kind.may_lose and all(line in whole for line in found):
                outcome = "left out"
            elif kind.is_text:
                outcome = "edited"
            else:
                broken.append(f"{name}, {how}: reads as something else")
            counts[outcome] += 1
        counts[how] += 1
    kind.path.write_bytes(content)
    row = {
        "file": name, "bytes": len(content),
        **{key: counts[key] for key in ("flipped", "zeroed", "cut", "noticed", "harmless", "silent",
                                        "left out", "edited")},
        "status": ", ".join(map(str, sorted(statuses))),
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    return row, broken


def main() -> int:
    """Print a line per kind; the status is 1 where one was silent, or no refusal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=1000, help="of single bits; default 1,000; "
                        "a tenth as many zeroed blocks and cuts")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="draws the places; default 1")
    parser.add_argument("--kind", action="append", help="a part of a kind's name; default: all")
    options = parser.parse_args()
    problems: list[str] = []
    with open_work_folder() as folder:
        (folder / "work").mkdir()
        specimens = write_specimens(folder / "specimens")
        for name, kind in list_kinds(specimens, folder / "work"):
            if not options.kind or any(part in name for part in options.kind):
                row, broken = rot(name, kind, n_flips=options.flips, seed=options.seed)
                problems += broken
                print(" | ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    for problem, n in Counter(problems).most_common():
        print(f"{n} times: {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
