from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import fercli
from fercli.metadata import TeacherRecord
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training.callbacks import Callbacks, RunLog
from fercli.training.context import TrainingContext, build_record
from fercli.training.distributed import Group
from fercli.training.splits import choose_splits

if TYPE_CHECKING:
    from fercli.config import TrainConfig
    from fercli.data import Dataset


def build(dataset: Dataset, config: TrainConfig) -> TrainingContext:
    run = RunFolder(Path("run"))
    return TrainingContext(
        dataset=dataset, config=config, splits=choose_splits(dataset, config), run=run,
        run_log=RunLog(run, Callbacks()), data="synthetic:120", group=Group(0, 3),
    )  # fmt: skip


def test_a_record_says_what_a_run_was_begun_with(
    few_faces: Dataset, tiny_config: TrainConfig
) -> None:
    dataset = replace(few_faces, dropped={"leaks": 3})
    teacher = TeacherRecord(model="m", sha256="0")

    record = build_record(build(dataset, tiny_config), [teacher])

    assert build_config(record.config) == tiny_config
    assert record.processes == 3
    assert record.versions["fercli"] == fercli.__version__
    assert record.versions["torch"] == torch.__version__
    about = record.dataset
    assert (about.data, about.source, about.sha256) == (
        "synthetic:120", few_faces.source, few_faces.sha256,
    )  # fmt: skip
    assert (about.n_train, about.validation, about.n_validation) == (96, "public", 12)
    assert (about.labels, dict(about.dropped)) == (few_faces.label_names, {"leaks": 3})
    assert record.teachers == (teacher,)
    assert record.result is None


def test_a_fraction_of_train_is_counted_out_of_it(
    few_faces: Dataset, tiny_config: TrainConfig
) -> None:
    about = build_record(build(few_faces, replace(tiny_config, validation="0.25")), []).dataset

    assert about.validation == "0.25"
    assert about.n_train + about.n_validation == 96
    assert 18 <= about.n_validation <= 30
