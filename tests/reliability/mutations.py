"""Changes to bytes and to JSON, drawn by a generator that is passed in."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, Literal

__all__ = ["change_bytes", "change_json", "change_json_text", "change_lines"]

ODD_NUMBERS: Final = (0, 1, -1, 2, 127, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1,
                      2**63 - 1, 2**63, 2**64)  # fmt: skip
ODD_TEXTS: Final = ("", " ", "\0", "\x1b[2J", "\ud800", "é", "../x", "a" * 5000, "nan", "1e999",
                    "true", "=1+1", "[/x]", "\u202e")  # fmt: skip


def _nest(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


ODD_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, *ODD_NUMBERS, 10**400, -0.0, 0.5, 1e308, -1e308, 5e-324, float("nan"),
    float("inf"), *ODD_TEXTS, [], {}, [None], [[]], {"": None}, [1, "a", None], _nest(30),
    _nest(200), list(range(2000)),
)  # fmt: skip


def change_bytes(
    random: Random, content: bytes, tokens: Sequence[bytes] = (), *, most: int = 6
) -> bytes:
    """Return bytes with up to `most` changes: bits, numbers, pieces removed, doubled, put in."""
    changed = bytearray(content)
    for _ in range(random.randint(1, most)):
        at = random.randrange(len(changed) + 1)
        length = min(len(changed) - at, random.choice((1, 1, 2, 4, 8, 16, 64, 1000)))
        match random.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1:
                size = random.choice((1, 2, 4, 8))
                number = random.choice(ODD_NUMBERS) % 256**size
                order: Literal["little", "big"] = random.choice(("little", "big"))
                changed[at : at + size] = number.to_bytes(size, order)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length] * random.choice((1, 1, 2, 50))
            case 4 if tokens:
                changed[at:at] = random.choice(tokens)
            case 5 if tokens:
                token = random.choice(tokens)
                changed[at : at + len(token)] = token
            case 6 if random.random() < 0.2:
                del changed[at:]
            case _:
                changed[at : at + length] = random.randbytes(length)
    return bytes(changed)


def change_lines(random: Random, content: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """Return text whose lines, or the fields of one, were moved, doubled, cut, or replaced."""
    lines = content.split(b"\n")
    at = random.randrange(len(lines))
    other = random.randrange(len(lines))
    fields = lines[at].split(b",")
    place = random.randrange(len(fields))
    match random.randrange(7):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            del fields[place]
        case 4:
            fields.insert(place, fields[random.randrange(len(fields))])
        case 5:
            fields[place] = random.choice((*tokens, *(text.encode("utf-8", "surrogatepass")
                                                      for text in ODD_TEXTS)))  # fmt: skip
        case _:
            return change_bytes(random, content, tokens)
    if at < len(lines) and fields != [b""]:
        lines[at] = b",".join(fields)
    return b"\n".join(lines)


def _walk(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys or places."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _walk(value[key])


def change_json(random: Random, value: Any) -> Any:
    """Return a JSON value with one to three places changed; the outermost stays what it is."""
    changed = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_walk(changed))
        if not places:
            break
        container, key = random.choice(places)
        match random.randrange(6):
            case 0:
                del container[key]
            case 1:
                other, name = random.choice(places)
                container[key] = copy.deepcopy(other[name]) if _has(other, name) else None
            case 2 if isinstance(container, dict):
                container[random.choice(ODD_TEXTS)] = container.pop(key)
            case 3 if isinstance(container[key], int | float | str):
                container[key] = _shift(random, container[key])
            case _:
                container[key] = copy.deepcopy(random.choice(ODD_VALUES))
    return changed


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


def _shift(random: Random, value: Any) -> Any:
    """Return a value of the same type that is another."""
    if isinstance(value, str):
        odd = random.choice(ODD_TEXTS)
        return random.choice((odd, value + odd, value[1:], value.upper(), value * 2))
    return random.choice((value + 1, -value, value * 2, value - 1, random.choice(ODD_NUMBERS)))


def change_json_text(random: Random, value: Any, tokens: Sequence[bytes] = ()) -> bytes:
    """Return a JSON text that was changed, by value most often and else by its bytes."""
    if random.random() < 0.2:
        return change_bytes(random, json.dumps(value).encode(), tokens)
    return dump(change_json(random, value))


def dump(value: Any) -> bytes:
    """Return a value as JSON, with what JSON does not know: NaN, halves of surrogate pairs."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


Change = Callable[[Random], bytes]
