from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fercli.data import build_dataset
from fercli.data.duplicates import digest_images
from fercli.errors import ConfigError, ModelFileError, RunInterruptedError
from fercli.evaluation import build_card
from fercli.evaluation.protocol import SELECTION, judge_split
from fercli.model_files import describe_model, find_model, load_network, read_metadata
from fercli.networks import build_network, find_head, initialize
from fercli.recipes import find_recipe, write_command
from fercli.runs import RunFolder, read_run_record
from fercli.settings import build_config
from fercli.storage import load_tensors
from fercli.training import Callbacks, resume, train
from fercli.training.optimizer import build_optimizer, set_rates
from fercli.training.setup import open_init
from fercli.transfer import build_train_config, find_init

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from fercli.config import TrainConfig
    from fercli.data import Dataset

NAMES = ("furious", "scared", "cheerful")
WHOLE = {"batch_size": 40, "epochs": 2, "device": "cpu", "precision": "fp32", "sizes_px": (48,)}


@pytest.fixture(scope="session")
def others(faces: Dataset) -> Dataset:
    """Three of the labels under other names, half of the images."""
    chosen = np.flatnonzero(np.isin(faces.labels, (0, 2, 3)) & (np.arange(faces.n_images) % 2 == 0))
    names = {0: 0, 2: 1, 3: 2}
    arrays: dict[str, NDArray[Any]] = {
        "images": faces.images[chosen],
        "labels": np.array([names[label] for label in faces.labels[chosen]], dtype=np.uint8),
        "splits": faces.splits[chosen],
        "source_row": chosen.astype(np.int32),
    }
    return build_dataset(
        arrays, label_names=NAMES, split_names=faces.split_names, source="others.csv"
    )


def use(run: RunFolder, **changes: object) -> TrainConfig:
    return build_train_config({"init": str(run.path), **WHOLE, **changes}, "fast")


def read_weights(run: RunFolder) -> dict[str, Tensor]:
    return load_network(run.model)[0].state_dict()


def begin(dataset: Dataset, config: TrainConfig) -> tuple[dict[str, Tensor], Any]:
    """Return the weights that a training begins with, and what it says of them."""
    network = build_network(config.model, len(dataset.label_names), mean=0.1, std=0.9)
    initialize(network, torch.Generator().manual_seed(3))
    init = open_init(dataset, config)
    assert init
    init.load_into(network)
    return network.state_dict(), init


def test_the_same_labels_keep_every_weight(faces: Dataset, trained: RunFolder) -> None:
    weights, init = begin(faces, use(trained))

    before = read_weights(trained)
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[name], before[name]) for name in before)
    assert init.record.head == "kept"
    assert init.describe() == "began with tiny, its last layer kept: the labels are the same"


@pytest.mark.parametrize("kind", ["others", "order"])
def test_other_labels_take_a_new_last_layer(
    faces: Dataset, others: Dataset, trained: RunFolder, kind: str
) -> None:
    dataset = others if kind == "others" else replace(faces, label_names=faces.label_names[::-1])

    weights, init = begin(dataset, use(trained))

    before = read_weights(trained)
    head = [name for name in weights if name.startswith("body.head.")]
    assert len(head) == 2
    for name in weights:
        if name in head:
            assert not torch.equal(weights[name], before[name]) or name.endswith("bias")
            assert len(weights[name]) == len(dataset.label_names)
        else:
            assert torch.equal(weights[name], before[name]), name
    assert init.record.head == "new"
    assert "its last layer new: it knows other labels (angry, disgust" in init.describe()


def test_the_network_is_the_models(trained: RunFolder, others: Dataset) -> None:
    config = use(trained, dropout=0.2)

    assert (config.model.widths, config.model.stem_width) == ((8, 16), 4)
    assert (config.model.dropout, config.recipe) == (0.2, "fast")
    assert use(trained, widths=[8, 16]).model.widths == (8, 16)
    with pytest.raises(ConfigError, match=r"tiny has widths=8,16, .* and not widths=9, conv") as no:
        use(trained, widths=(9,), convolutions=3)
    assert no.value.hint == "leave widths, convolutions out: --init decides that"
    with pytest.raises(ConfigError, match="input_px=0, and not input_px=96"):
        use(trained, input_px=96)
    # Whoever builds a configuration by hand passes the same rule.
    with pytest.raises(ConfigError, match=r"has stem_width=4, .* and not"):
        open_init(others, build_config({"init": str(trained.path)}))


def test_what_cannot_be_fine_tuned_is_refused(
    trained: RunFolder,
    make_external: Callable[..., object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_external(tmp_path / "other.onnx", [1, 1, 48, 48], 7)
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("base", "plus"):
        shutil.copy(trained.onnx, assets / f"{name}.onnx")
    monkeypatch.setattr("fercli.model_files._ASSETS", assets)
    for spec in (str(tmp_path / "other.onnx"), str(trained.onnx)):
        with pytest.raises(ModelFileError, match="ONNX file, which can be used but not") as caught:
            find_init(spec)
        assert caught.value.hint == "name a run folder, or the model.safetensors in one"
    with pytest.raises(ModelFileError, match="the bundled model base is ONNX, without"):
        find_init("base")

    shutil.copy(trained.model, assets / "plus.safetensors")

    assert find_init("plus").path == assets / "plus.safetensors"
    with pytest.raises(ModelFileError) as caught:
        find_init("base")
    assert caught.value.hint.endswith("or the bundled plus")
    config = build_train_config({"init": "plus"}, "fast")
    assert config.model.widths == (8, 16)


def test_where_it_came_from_is_passed_on(
    faces: Dataset, others: Dataset, trained: RunFolder, tmp_path: Path
) -> None:
    notes: list[str] = []
    run = RunFolder(tmp_path / "own")
    config = use(trained, validation="0.2", members=2, epochs=1)
    train(others, config, run, callbacks=Callbacks(on_note=notes.append))
    again = RunFolder(tmp_path / "again")
    train(others, use(run, validation="0.3", epochs=1), again)

    metadata = load_network(run.model)[1]
    assert metadata.labels == NAMES
    assert metadata.init
    assert (metadata.init.model, metadata.init.head) == ("tiny", "new")
    assert metadata.init.sha256 == read_metadata(find_model(str(trained.path))).sha256
    assert metadata.init.chosen_on == ("public",)
    assert read_metadata(find_model(str(run.onnx))).init == metadata.init
    third = read_metadata(find_model(str(again.path)))
    assert third.init
    assert (third.init.model, third.init.head) == ("own", "kept")
    assert third.init.chosen_on == ("0.2", "public")
    # The images of the first choice are no judge of the third either, whatever it is called.
    assert judge_split(third, faces, "public") == SELECTION
    assert judge_split(third, replace(faces, source="own.csv"), "public") == SELECTION
    # The members and who learns from them began with it, each.
    assert sum(note.startswith("began with tiny, its last layer new") for note in notes) == 3
    assert load_network(RunFolder(run.members / "2").model)[1].init == metadata.init

    learned, _ = load_tensors(again.train_digests, ModelFileError)
    assert set(learned["digests"]) >= set(digest_images(faces.select("train").images))
    assert set(learned["digests"]) >= set(digest_images(others.select("train").images[:20]))

    record = read_run_record(run.path)
    assert record.init == metadata.init
    assert json.loads(run.record.read_text())["init"]["head"] == "new"
    assert f"--init {trained.path}" in write_command(record)
    public = write_command(record, public=True)
    assert "--init tiny" in public
    assert "widths" not in public
    model = find_model(str(run.path))
    init = describe_model(model).trained.init
    assert init
    assert init.model == "tiny"
    assert f"| began with | tiny, sha256 `{metadata.init.sha256}`, its last layer new |" in (
        build_card(model)
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_the_trunk_learns_at_its_own_rate(trained: RunFolder, optimizer: str) -> None:
    config = use(trained, optimizer=optimizer, trunk_ratio=0.25, bias_ratio=4.0)
    plain = use(trained, optimizer=optimizer, bias_ratio=4.0)
    network = build_network(config.model, 7)
    head = set(map(id, network.get_submodule(find_head(network)).parameters()))

    rates = {}
    for one in (config, plain):
        built = build_optimizer(network, one.optimization)
        set_rates(built, 1.0, 0.5)
        rates[one.optimization.trunk_ratio] = {
            id(parameter): group["lr"]
            for group in built.param_groups
            for parameter in group["params"]
        }

    trained_ones = {id(item) for item in network.parameters() if item.requires_grad}
    assert rates[0.25].keys() == rates[1.0].keys() == trained_ones
    for key, rate in rates[1.0].items():
        assert rates[0.25][key] == pytest.approx(rate if key in head else 0.25 * rate)


def test_a_frozen_trunk_rests_and_a_computed_stem_always(
    faces: Dataset, others: Dataset, tmp_path: Path
) -> None:
    small = {**WHOLE, "widths": (8,), "stem_width": 4, "epochs": 1}
    source, run = RunFolder(tmp_path / "source"), RunFolder(tmp_path / "run")
    train(faces, build_config(small, base=find_recipe("fast")), source)
    before = read_weights(source)

    train(others, use(source, freeze_epochs=1), run)

    moved = []
    for path in sorted(run.checkpoints.glob("*.safetensors")):
        arrays, _ = load_tensors(path, ModelFileError)
        changed = {
            name
            for name, tensor in before.items()
            if not np.array_equal(arrays[f"model.{name}"], tensor.numpy())
        }
        moved.append({name for name in changed if "running" not in name and "num_" not in name})
    head = {"body.head.weight", "body.head.bias"}
    assert moved[0] == head
    # Neither the stem nor the scales of norms are trained in `fast`: a thaw leaves them alone.
    assert moved[1] == head | {
        *(f"body.stages.0.convolutions.{number}.weight" for number in (0, 1)),
        *(f"body.stages.0.norms.{number}.bias" for number in (0, 1)),
    }


def test_stopped_anywhere_a_fine_tuning_ends_with_the_same_weights(
    others: Dataset,
    trained: RunFolder,
    tmp_path: Path,
    train_in_pieces: Callable[..., list[RunInterruptedError]],
) -> None:
    source = RunFolder(tmp_path / "source")
    shutil.copytree(trained.path, source.path)
    config = use(source, freeze_epochs=1, trunk_ratio=0.3)
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    train(others, config, whole)
    calls = iter(range(1000))

    def should_stop() -> int:
        # What it began with is in the checkpoints, and needed no more.
        if cut.checkpoints.exists():
            shutil.rmtree(source.path, ignore_errors=True)
        return 2 if next(calls) % 3 == 2 else 0

    stops = train_in_pieces(others, config, cut, should_stop)

    assert len(stops) >= 2
    assert not source.path.exists()
    assert read_metadata(find_model(str(cut.path))).sha256 == (
        read_metadata(find_model(str(whole.path))).sha256
    )
    assert read_metadata(find_model(str(cut.path))).init == (
        read_metadata(find_model(str(whole.path))).init
    )
    assert (
        load_tensors(cut.train_digests, ModelFileError)[1]
        == (load_tensors(whole.train_digests, ModelFileError)[1])
    )


def test_without_a_checkpoint_another_model_is_refused(
    faces: Dataset, others: Dataset, trained: RunFolder, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    source = RunFolder(tmp_path / "source")
    shutil.copytree(trained.path, source.path)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        train(others, use(source), run, callbacks=Callbacks(should_stop=lambda: 2))
    shutil.rmtree(run.checkpoints)
    train(faces, replace(tiny_config, seed=5, epochs=1), source, overwrite=True)

    with pytest.raises(ModelFileError, match="is not the one that the run started from"):
        resume(others, run)

    shutil.rmtree(source.path)
    shutil.copytree(trained.path, source.path)
    assert resume(others, run).epochs == 2


def test_two_ways_to_begin_are_refused(trained: RunFolder) -> None:
    with pytest.raises(ConfigError, match="init and pretrained both set initial weights"):
        build_config({"init": "x", "pretrained": True, "network": "resnet18"})
    with pytest.raises(ConfigError, match="give --init or --pretrained, too"):
        build_config({"freeze_epochs": 1})
    with pytest.raises(ConfigError, match="trunk_ratio must be above 0 and at most 1, not 2"):
        use(trained, trunk_ratio=2.0)
