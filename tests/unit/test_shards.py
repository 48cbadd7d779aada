from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fercli.errors import ConfigError
from fercli.prediction.shards import Shard, ShardInputs, parse_shard


def test_every_path_is_of_one_shard_and_the_hash_is_the_documented_one() -> None:
    paths = [f"faces/{number}.png" for number in range(2000)]
    shards = [Shard(index, 7) for index in range(7)]

    for path in paths:
        number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") % 7
        assert [shard.holds(path) for shard in shards] == [k == number for k in range(7)]
    sizes = [sum(map(shard.holds, paths)) for shard in shards]
    assert min(sizes) > 200
    # Written down: parts of an older fercli must go together with those of a newer one.
    assert [p for p in paths[:12] if shards[0].holds(p)] == ["faces/1.png"]


def test_a_name_that_is_not_utf8_has_a_shard() -> None:
    assert sum(Shard(index, 3).holds("a\udcff.png") for index in range(3)) == 1


def test_shards_are_counted_from_0() -> None:
    assert parse_shard("0/64") == Shard(0, 64)
    assert str(parse_shard("63/64")) == "63/64"
    with pytest.raises(ConfigError, match=r"counted from 0: of 64 there are 0/64 to 63/64"):
        parse_shard("64/64")


@pytest.mark.parametrize("text", ["", "3", "3/", "/8", "-1/8", "a/8", "1/8/2", "1.0/8", "٣/8"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"K/N with K from 0"):
        parse_shard(text)


@pytest.mark.parametrize("count", [0, 100_000])
def test_there_are_neither_no_shards_nor_too_many(count: int) -> None:
    with pytest.raises(ConfigError, match=r"from 1 to 99,999"):
        Shard(0, count)


def test_a_list_that_grows_leaves_every_input_where_it_is(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:03}.png" for number in range(60)]

    def select(shard: Shard, files: list[Path]) -> set[str]:
        return {str(path) for path in ShardInputs(shard).select(files)}

    for index in range(4):
        shard = Shard(index, 4)
        before, after = select(shard, paths[1::2]), select(shard, paths)
        assert before <= after


def test_the_fingerprint_knows_names_sizes_and_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        path.write_bytes(b"abc")

    def fingerprint(files: list[Path]) -> tuple[str, str]:
        inputs = ShardInputs(Shard(0, 1))
        inputs.list_only(files)
        assert list(inputs.positions) == list(range(len(files)))
        return inputs.list_sha256, inputs.own_sha256

    first = fingerprint(paths)
    assert fingerprint(paths) == first
    assert fingerprint(paths[::-1]) != first
    paths[2].write_bytes(b"abcd")
    grown = fingerprint(paths)
    assert grown[0] == first[0]
    assert grown[1] != first[1]
    paths[3].unlink()
    assert fingerprint(paths) != grown
