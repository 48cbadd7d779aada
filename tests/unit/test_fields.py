from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fercli.errors import DatasetLayoutError, ModelFileError
from fercli.fields import JsonObject, parse_json

PATH = Path("some.file")


def read(values: dict[str, Any]) -> JsonObject:
    return JsonObject(values, PATH, ModelFileError)


@pytest.mark.parametrize(
    "text",
    ["", "{", "nan", "[NaN]", "[Infinity]", "[1e999]", "[" * 100_000, "[" * 30 + "]" * 30,
     '{"a":' * 500 + "1" + "}" * 500, b"\xff", "1" * 5_000],
)  # fmt: skip
def test_texts_that_are_no_json_of_ours_are_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_nesting_that_we_use_is_read() -> None:
    assert parse_json("[" * 20 + "]" * 20)
    assert parse_json('{"a": [1, 0.5, null, true, "x"]}') == {"a": [1, 0.5, None, True, "x"]}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda values: values.text("n"), "n must be text, not a number"),
        (lambda values: values.text("none"), "none must be text, not null"),
        (lambda values: values.text("gone"), "gone is missing, and must be text"),
        (lambda values: values.text("half"), "half is text that cannot be written"),
        (lambda values: values.texts("mixed"), "mixed must be text, not null"),
        (lambda values: values.count("flag"), "flag must be a whole number, not true or false"),
        (lambda values: values.count("large"), "from 0 to"),
        (lambda values: values.number("large"), "too large"),
        (lambda values: values.number("list"), "list must be a number, not a list"),
        (lambda values: values.child("in").child("deep").count("x"), "in.deep.x must be"),
        (lambda values: values.children("objects")[1].text("a"), r"objects\[1\].a is missing"),
        (lambda values: values.named_children("in")["\x1b[m"], r"in.'\\x1b\[m' must be an object"),
        (lambda values: values.counts("in"), "in.deep must be a whole number, not an object"),
    ],
)
def test_a_sentence_names_the_file_and_the_field(call: Any, sentence: str) -> None:
    values = read(
        {
            "n": 1, "none": None, "half": "\ud800", "mixed": ["a", None], "flag": True,
            "large": 10**4000, "list": [], "objects": [{"a": "b"}, {}],
            "in": {"deep": {"x": "text"}, "\x1b[m": 1},
        }
    )  # fmt: skip

    with pytest.raises(ModelFileError, match=sentence) as caught:
        call(values)

    assert caught.value.message.startswith("some.file: ")
    assert caught.value.message.isprintable()


def test_a_long_name_is_cut() -> None:
    with pytest.raises(ModelFileError) as caught:
        read({}).text("x" * 1000)

    assert caught.value.message == f"some.file: {'x' * 60} is missing, and must be text"


MOST = 2**63 - 1


def test_numbers_have_bounds() -> None:
    values = read({"zero": 0, "most": MOST, "least": -MOST, "more": MOST + 1, "less": -MOST - 1,
                   "negative": -1})  # fmt: skip

    assert [values.count(key) for key in ("zero", "most")] == [0, MOST]
    assert [values.number(key) for key in ("least", "negative", "most")] == [
        -float(MOST), -1.0, float(MOST)
    ]  # fmt: skip
    for key in ("negative", "more"):
        with pytest.raises(ModelFileError, match=r"a whole number from 0 to 2\^63 - 1"):
            values.count(key)
    for key in ("more", "less"):
        with pytest.raises(ModelFileError, match="too large"):
            values.number(key)


def test_values_may_stand_twenty_levels_deep() -> None:
    for inner in ("1", "[]", "{}"):
        parse_json("[" * 20 + inner + "]" * 20)
        with pytest.raises(ValueError, match="more than 20 levels deep"):
            parse_json("[" * 21 + f"[{inner}]" + "]" * 21)
    with pytest.raises(ValueError, match="more than 20 levels deep"):
        parse_json("[" * 21 + "1" + "]" * 21)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({"kind": "run", "schema": 1}, "it is not a fercli model"),
        ({"kind": "model", "schema": 4}, "it has schema 4, and this fercli reads 3"),
        ({"kind": "model", "schema": 0}, "schema must be at least 1"),
    ],
)
def test_another_kind_or_schema_is_refused(head: dict[str, Any], reason: str) -> None:
    for schema in (1, 3):
        read({"kind": "model", "schema": schema}).check_head("model", 3)

    with pytest.raises(ModelFileError, match=reason):
        read(head).check_head("model", 3)


def test_whose_error_it_is_is_for_the_reader_to_say() -> None:
    with pytest.raises(DatasetLayoutError, match="must be an object, not a list"):
        JsonObject([], PATH, DatasetLayoutError)


def test_what_is_missing_is_none_or_empty() -> None:
    values = read({"null": None})

    for key in ("null", "gone"):
        found: list[object] = [values.maybe_text(key), values.maybe_count(key)]
        assert [*found, values.maybe_number(key), values.maybe_child(key)] == [None] * 4
        lists: list[object] = [values.texts(key), values.numbers(key)]
        assert [*lists, tuple(values.children(key))] == [()] * 3
        maps: list[object] = [values.counts(key), values.text_map(key)]
        assert [*maps, values.named_children(key)] == [{}] * 3


@pytest.mark.parametrize(
    ("value", "example", "is_like"),
    [
        (True, False, True), (1, False, False), (1, 5, True), (True, 5, False), (1.0, 5, False),
        (1, 0.5, True), ("a", 0.5, False), ("a", "b", True), (None, "b", False),
        ([1, 2], (3,), True), ([1, 0.5], (3,), False), ("12", (3,), False), (None, (3,), False),
    ],
)  # fmt: skip
def test_values_like_an_example(value: object, example: object, *, is_like: bool) -> None:
    values = read({"x": value})

    if is_like:
        read_back = values.value_like("x", example)
        assert type(read_back) is type(example)
    else:
        with pytest.raises(ModelFileError):
            values.value_like("x", example)
