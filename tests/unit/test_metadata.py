from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fercli
from fercli.config import NetworkConfig
from fercli.errors import ModelFileError
from fercli.fields import parse_json
from fercli.metadata import (
    ModelMetadata,
    NetworkRecord,
    RepeatsRecord,
    RunRecord,
    ScoreRecord,
    TeacherRecord,
    read_teachers,
)
from fercli.model_files import list_selection_splits

if TYPE_CHECKING:
    from fercli.runs import RunFolder

GOLDEN = Path(__file__).parents[1] / "golden"
PATH = Path("some.file")
MODELS = ("model", "ensemble", "model-oldest")
RUNS = ("run", "run-oldest")
DEEP: list[Any] = []
for _ in range(5_000):
    DEEP = [DEEP]
ODD: list[Any] = [
    None, True, False, -1, 0, 2**70, 10**400, 0.5, 1e308, "", "text", "\ud800", [], [None], ["a"],
    [1, "a"], {}, {"a": 1}, [[]], [{}], {"a": {}}, [{"a": 1}], DEEP,
]  # fmt: skip


def load(name: str) -> Any:
    return parse_json((GOLDEN / f"{name}.json").read_bytes())


def read(name: str, value: object) -> ModelMetadata | RunRecord:
    kind = RunRecord if name in RUNS else ModelMetadata
    return kind.from_json(value, path=PATH)


def forget(value: Any) -> Any:
    """Return a record as if it had been built and not read."""
    if isinstance(value, tuple):
        return tuple(forget(one) for one in value)
    if isinstance(value, dict):
        return {key: forget(one) for key, one in value.items()}
    if not hasattr(value, "to_json"):
        return value
    names = [item.name for item in dataclasses.fields(value) if item.name != "_raw"]
    changes = {name: forget(getattr(value, name)) for name in names}
    return dataclasses.replace(value, **changes, _raw=None)


def list_places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*place, key)
        if isinstance(one, dict | list):
            yield from list_places(one, (*place, key))


def change(value: Any, place: tuple[Any, ...], act: Callable[[Any, Any], None]) -> Any:
    """Return a copy of which one place was acted on."""
    changed = copy.copy(value)
    if len(place) == 1:
        act(changed, place[0])
    else:
        changed[place[0]] = change(changed[place[0]], place[1:], act)
    return changed


@pytest.mark.parametrize("name", [*MODELS, *RUNS])
def test_what_was_read_is_written_as_it_stood(name: str) -> None:
    value = load(name)
    record = read(name, value)

    assert json.dumps(record.to_json()) == json.dumps(value)
    assert type(record).from_json(record.to_json(), path=PATH) == record


@pytest.mark.parametrize("name", ["model", "ensemble", "run"])
def test_what_was_built_is_written_as_ever(name: str) -> None:
    value = load(name)
    record = read(name, value)

    assert forget(record) == record
    built = forget(record).to_json()
    # An export adds this, null where nothing was quantized.
    last = {"quantized": None} if name == "model" else {}
    assert json.dumps({**built, **last}) == json.dumps(value)


@pytest.mark.parametrize(("name", "quantized"), [("base", "int8"), ("tiny", "fp16")])
def test_bundled_models_are_read_and_written_as_they_stand(name: str, quantized: str) -> None:
    import onnx

    model = onnx.load(Path(fercli.__file__).parent / "assets" / f"{name}.onnx")
    (text,) = [item.value for item in model.metadata_props if item.key == "fercli"]
    metadata = ModelMetadata.from_json(parse_json(text), path=PATH)

    assert json.dumps(metadata.to_json()) == text
    assert metadata.quantized == quantized
    assert metadata.scores["public"].per_class["happy"].support == 895


def test_a_runs_files_are_written_as_they_are_read(trained: RunFolder) -> None:
    import onnx

    text = trained.record.read_text()
    record = RunRecord.from_json(parse_json(text), path=trained.record)
    props = {item.key: item.value for item in onnx.load(trained.onnx).metadata_props}
    metadata = ModelMetadata.from_json(parse_json(props["fercli"]), path=trained.onnx)

    assert json.dumps(record.to_json(), indent=2) + "\n" == text
    assert json.dumps(forget(record).to_json(), indent=2) + "\n" == text
    assert json.dumps(metadata.to_json()) == props["fercli"]
    # These are added on the way to the ONNX, in this order.
    last = forget(metadata).to_json() | {"scores": {}, "quantized": None, "sealed": True}
    assert json.dumps(last) == props["fercli"]


def test_the_golden_records_are_of_this_fercli(trained: RunFolder) -> None:
    record, golden = json.loads(trained.record.read_text()), load("run")
    network = json.loads(json.dumps(dataclasses.asdict(NetworkConfig())))

    # A new setting needs no new golden record; whatever else is new does.
    assert list(record) == list(golden)
    for key in ("versions", "dataset", "result"):
        assert list(record[key]) == list(golden[key])
    assert network.keys() >= load("model")["network"].keys()


def put(odd: object) -> Callable[[Any, Any], None]:
    return lambda holder, key: holder.__setitem__(key, odd)


def remove(holder: Any, key: Any) -> None:
    del holder[key]


def check_read_or_refused(name: str, value: Any) -> bool:
    """Read a record, use it if it can be read, and return whether it was refused."""
    try:
        record = read(name, value)
    except ModelFileError as reason:
        if reason.message.startswith("some.file: ") and reason.message.isprintable():
            return True
        raise AssertionError(reason.message) from reason
    json.dumps(record.to_json(), allow_nan=False)
    if isinstance(record, ModelMetadata):
        list_selection_splits(record)
    return False


@pytest.mark.parametrize("name", [*MODELS, *RUNS])
def test_odd_records_are_read_or_refused(name: str) -> None:
    value = load(name)
    # Settings of a training are for its configuration to check.
    places = [place for place in list_places(value) if place[0] != "config" or len(place) == 1]

    refused = [
        check_read_or_refused(name, change(value, place, act))
        for place in places
        for act in (remove, *map(put, ODD))
    ]

    assert len(refused) > 500
    assert sum(refused) > len(refused) / 2


@pytest.mark.parametrize("setting", list(load("model")["network"]))
@pytest.mark.parametrize("odd", ODD)
def test_odd_networks_are_built_or_refused(setting: str, odd: Any) -> None:
    value = load("model")
    value["network"][setting] = odd

    with contextlib.suppress(ModelFileError):
        network = ModelMetadata.from_json(value, path=PATH).network
        config = network.build_config(PATH)
        types = [type(getattr(config, item.name)) for item in dataclasses.fields(config)]
        assert types == [type(item.default) for item in dataclasses.fields(config)]


@pytest.mark.parametrize("levels", [20, 900, 5_000])
@pytest.mark.parametrize("name", ["model", "run"])
def test_nesting_is_bounded(name: str, levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}

    with pytest.raises(ModelFileError, match="levels deep"):
        read(name, {**load(name), "new": deep})


@pytest.mark.parametrize("name", ["model", "run"])
def test_a_newer_schema_is_refused(name: str) -> None:
    with pytest.raises(ModelFileError, match="has schema 2, and this fercli reads 1") as caught:
        read(name, {**load(name), "schema": 2})

    assert "newer fercli" in caught.value.hint


@pytest.mark.parametrize("value", [None, [], "text", 1, {}, {"kind": "dataset", "schema": 1}])
def test_other_json_is_refused(value: object) -> None:
    for name in ("model", "run"):
        with pytest.raises(ModelFileError, match=r"^some\.file: "):
            read(name, value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "x"}, "dataset must be an object, not text"),
        ({"scores": []}, "scores must be an object, not a list"),
        ({"teachers": {"a": 1}}, "teachers must be a list of objects, not an object"),
        ({"teachers": [{}]}, r"teachers\[0\].sha256 is missing, and must be text"),
        ({"members": [7]}, r"members\[0\] must be an object, not a number"),
        ({"parameters": 0.5}, "parameters must be a whole number, not a number"),
        ({"temperature": 0}, "temperature must be from 0.01 to 100"),
        ({"temperature": "1"}, "temperature must be a number, not text"),
        ({"labels": ["a", "b", "a"]}, "two of its labels are the same"),
        ({"labels": []}, "labels must be a list of names"),
        ({"validation": {"split": "x", "n_images": 1, "accuracy": None}}, "validation.accuracy"),
        ({"scores": {"\x1b": {}}}, r"scores.'\\x1b'"),
        ({"network": {}}, "network.network is missing"),
        ({"network": {"network": "cnn", "widths": 5}}, "network.widths must be a list"),
        ({"network": {"network": "ensemble", "networks": [1]}}, r"network.networks\[0\] must be"),
    ],
)
def test_a_sentence_says_what_is_odd(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelFileError, match=sentence):
        read("model", {**load("model"), **changes})


def test_what_an_older_fercli_did_not_write_is_what_its_absence_meant() -> None:
    model, run = read("model-oldest", load("model-oldest")), read("run-oldest", load("run-oldest"))

    assert isinstance(model, ModelMetadata)
    assert model.dataset
    assert (model.dataset.labeling, model.dataset.targets) == ("source", "labels")
    assert (model.teachers, model.members, model.calibration, model.pretrained) == (
        (), (), None, None
    )  # fmt: skip
    assert model.network.build_config(PATH).stem == NetworkConfig().stem
    score = model.scores["public"]
    assert (score.protocol, score.ece, score.per_class) == (None, None, {})
    assert score.deduplicated
    assert score.deduplicated.n_seen is None
    assert isinstance(run, RunRecord)
    assert (run.processes, run.teachers, run.dataset.dropped) == (1, (), {})
    assert run.result
    assert (run.result.temperature, run.result.members, run.result.onnx) == (1.0, 0, None)


def test_teachers_without_a_name_are_unknown() -> None:
    (teacher,) = read_teachers({"teachers": [{"path": "x", "sha256": "0"}]}, path=PATH)

    assert teacher == TeacherRecord(model="unknown", sha256="0")


def test_null_is_as_good_as_nothing() -> None:
    value = load("model")
    names = value.keys() - {"schema", "kind", "labels", "network"}
    metadata = read("model", {**value, **dict.fromkeys(names)})

    assert metadata == ModelMetadata(
        labels=tuple(value["labels"]), network=NetworkRecord.from_json(value["network"], path=PATH)
    )


def test_what_is_not_known_survives_a_change() -> None:
    value = {**load("model"), "younger": {"a": [1, None]}}
    value["dataset"]["also"] = 1
    metadata = read("model", value)

    changed = metadata.replace(quantized="int8", scores={}).to_json()

    assert changed == {**value, "quantized": "int8", "scores": {}}
    assert list(changed) == list(value)
    changed["younger"]["a"][0] = 2
    assert metadata.to_json() == value


def test_a_network_is_stored_as_it_is_configured() -> None:
    config = NetworkConfig(widths=(8, 16), stem_width=4)
    stored = NetworkRecord.from_config(config)

    assert json.dumps(stored.to_json()) == json.dumps(dataclasses.asdict(config))
    assert stored.build_config(PATH) == config
    changed = NetworkRecord.from_json(stored.to_json(), path=PATH).replace(name="notebook")
    assert changed.to_json() == {**stored.to_json(), "network": "notebook"}
    with pytest.raises(ModelFileError, match="does not know the network's 'depth'"):
        stored.replace(settings={"depth": 3}).build_config(PATH)
    with pytest.raises(ModelFileError, match="dropout must be"):
        stored.replace(settings={"dropout": 3.0}).build_config(PATH)


def test_a_run_is_not_finished_without_a_result() -> None:
    with pytest.raises(ModelFileError, match="result must be an object"):
        read("run", {**load("run"), "result": None})


def test_scores_read_alone() -> None:
    score = load("model")["scores"]["public"]
    record = ScoreRecord.from_json(score, path=PATH)

    assert record.accuracy == score["accuracy"]
    assert record.accuracy_ci95 == tuple(score["accuracy_ci95"])
    assert record.deduplicated
    assert record.deduplicated.to_json() == score["deduplicated"]
    for interval in ([0.5], [0.4, 0.5, 0.6]):
        with pytest.raises(ModelFileError, match="two numbers"):
            ScoreRecord.from_json({**score, "accuracy_ci95": interval}, path=PATH)


def test_temperatures_have_bounds() -> None:
    for temperature in (0.01, 1, 100):
        assert read("model", {**load("model"), "temperature": temperature}).to_json()
    for temperature in (0.0099, 100.1):
        with pytest.raises(ModelFileError, match=r"temperature must be from 0\.01 to 100"):
            read("model", {**load("model"), "temperature": temperature})


def test_where_a_model_learned_may_be_unknown() -> None:
    known, ensemble = read("model", load("model")), read("ensemble", load("ensemble"))
    unknown = read("ensemble", {**load("ensemble"), "dataset": {}})

    assert isinstance(known, ModelMetadata)
    assert isinstance(ensemble, ModelMetadata)
    assert isinstance(unknown, ModelMetadata)
    assert (known.source, known.temperature) == ("synthetic:600", load("model")["temperature"])
    assert ensemble.source == "synthetic:600"
    assert (unknown.dataset, unknown.source) == (None, None)


def test_where_labels_and_targets_come_from_is_read() -> None:
    model, run = load("model"), load("run")
    for holder in (model["dataset"], run["dataset"]):
        holder |= {"labeling": "ferplus", "targets": "votes"}

    for record in (read("model", model), read("run", run)):
        assert record.dataset
        assert (record.dataset.labeling, record.dataset.targets) == ("ferplus", "votes")


def test_a_run_is_of_at_least_one_process() -> None:
    for value, processes in ((None, 1), (1, 1), (4, 4)):
        record = read("run", {**load("run"), "processes": value})
        assert isinstance(record, RunRecord)
        assert record.processes == processes
    with pytest.raises(ModelFileError, match="processes must be at least 1"):
        read("run", {**load("run"), "processes": 0})


def test_the_result_of_a_run_is_read() -> None:
    value = load("run")
    value["result"] |= {"cpu_s": 2.5, "members": 3, "warnings": ["slow"]}
    record = read("run", value)

    assert isinstance(record, RunRecord)
    assert record.result
    assert dataclasses.asdict(record.result) == value["result"]
    del value["result"]["temperature"]
    older = read("run", value)
    assert isinstance(older, RunRecord)
    assert older.result
    assert older.result.temperature == 1


def test_an_unfinished_run_has_no_result() -> None:
    record = read("run", {**load("run"), "result": None, "finished_at": None})

    assert isinstance(record, RunRecord)
    assert (record.result, record.finished_at) == (None, None)


def test_repeats_are_read() -> None:
    value = {"schema": 1, "kind": "repeats", "seeds": 3, "folds": 0, "config": {"epochs": 2},
             "data": "d.csv", "sha256": "0", "result": {"mean": 0.5}}  # fmt: skip
    record = RepeatsRecord.from_json(value, path=PATH)

    assert record == RepeatsRecord(
        seeds=3, folds=0, config={"epochs": 2}, data="d.csv", sha256="0", result={"mean": 0.5}
    )
    assert record.processes == 1
    running = RepeatsRecord.from_json({**value, "processes": 2, "result": None}, path=PATH)
    assert (running.processes, running.result) == (2, None)
    with pytest.raises(ModelFileError, match="has schema 2"):
        RepeatsRecord.from_json({**value, "schema": 2}, path=PATH)


def test_only_names_of_networks_and_recipes_were_changed() -> None:
    value = load("run")
    value["config"] |= {"network": "seed", "validation": "seed"}
    record = RunRecord.from_json(value, path=PATH)

    assert (record.config["network"], record.config["validation"]) == ("notebook", "seed")


def test_members_keep_how_they_were_trained() -> None:
    record = read("ensemble", load("ensemble"))

    assert isinstance(record, ModelMetadata)
    assert [(one.recipe, one.seed, one.epochs) for one in record.members] == [
        ("fast", 0, 2), ("fast", 5, 2)
    ]  # fmt: skip
    assert [network.name for network in record.network.networks] == ["cnn", "cnn"]


def test_former_names_are_read_as_todays() -> None:
    run = load("run")
    run["config"] |= {"network": "seed", "recipe": "seed"}
    model = load("model")
    model["network"]["network"] = "seed"

    record = RunRecord.from_json(run, path=PATH)
    metadata = ModelMetadata.from_json(model, path=PATH)

    assert (record.config["network"], record.config["recipe"]) == ("notebook", "notebook")
    assert metadata.network.name == "notebook"
    assert record.to_json() == run
    assert metadata.to_json() == model
