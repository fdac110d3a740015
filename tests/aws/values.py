"""Values of the shapes in a service's model, made at random."""

from __future__ import annotations

import datetime as dt
import random
import string
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.model import OperationModel, Shape

from elastic_inference.aws import validation

_WIDTHS = {"integer": 31, "long": 63}
_CONTAINERS = ("structure", "list", "map")
# What is written in some other way than it reads, in one format or another.
_ODD = "&<>\"'%+;=#/?\\ \t\n\r\u00e9\u20ac\u2028\U0001f600\ufffd"
_EVERYDAY = string.ascii_letters + string.digits + "-_.:"
# One of these is what most patterns ask for.
_EXAMPLES = (
    "a", "1", "ab", "v1", "/", "/a/", "default", "Average", "123456789012", "10.0.0.1",
    "us-east-1", "ami-1", "o-0123456789", "p-01234567", "o-0123456789/r-0123",
    "https://a.example/", "eia-0123456789abcdef",
    "arn:aws:elastic-inference:us-east-1:123456789012:elastic-inference-accelerator/eia-0123",
    "fcap-0123456789abcdef0", "fcapassoc-0123456789abcdef0",
    "arn:aws:iam::123456789012:role/a", "arn:aws:cloudwatch:us-east-1:123456789012:dataset/default",
    "arn:aws:outposts:us-east-1:123456789012:outpost/op-0123456789abcdef0",
    "arn:aws:kms:us-east-1:123456789012:key/abc",
    "arn:aws:secretsmanager:us-east-1:123456789012:secret:a",
)  # fmt: skip


def seeded(seed: str) -> random.Random:
    """The same numbers for the same seed, each time."""
    return random.Random(seed)  # noqa: S311 - no secrets are made of it


class Values:
    """Makes values of shapes.

    Args:
        odd: texts of all sorts; otherwise such as the model takes.
        fullness: how likely a member that may be left out is there.
        deepest: levels below which only what must be there is.
    """

    def __init__(
        self, chance: random.Random, *, odd: bool = True, fullness: float = 0.5, deepest: int = 5
    ) -> None:
        self._chance = chance
        self._odd = odd
        self._fullness = fullness
        self._deepest = deepest

    def of(self, shape: Any, depth: int = 0) -> Any:
        """A value as boto3 takes it; no structure, list or map below the first is empty."""
        return getattr(self, f"_{shape.type_name}")(shape, depth)

    def of_input(self, operation: OperationModel) -> dict[str, Any]:
        """Parameters of an operation."""
        shape = operation.input_shape
        return self._structure(shape, 0) if shape is not None else {}

    def _structure(self, shape: Any, depth: int) -> dict[str, Any]:
        members = {name: each for name, each in shape.members.items() if _floor(each) < 99}
        chosen = {name for name in shape.required_members if name in members}
        if shape.is_tagged_union:
            chosen = set()
        elif depth < self._deepest:
            chosen |= {name for name in members if self._chance.random() < self._fullness}
        if not chosen and members and (depth or shape.is_tagged_union):
            lowest = min(map(_floor, members.values()))
            chosen = {
                self._chance.choice([n for n, each in members.items() if _floor(each) == lowest])
            }
        return {name: self.of(each, depth + 1) for name, each in members.items() if name in chosen}

    def _count(self, shape: Any) -> int:
        least = max(1, shape.metadata.get("min", 1))
        return self._chance.randint(least, max(least, min(shape.metadata.get("max", 3), least + 2)))

    def _list(self, shape: Any, depth: int) -> list[Any]:
        return [self.of(shape.member, depth + 1) for _ in range(self._count(shape))]

    def _map(self, shape: Any, depth: int) -> dict[str, Any]:
        pairs = ((self.of(shape.key, depth), shape.value) for _ in range(self._count(shape)))
        return {key: self.of(value, depth + 1) for key, value in pairs}

    def _string(self, shape: Any, _: int) -> str:
        if shape.enum and not self._odd:
            return str(self._chance.choice(shape.enum))
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 20)
        if not self._odd and "pattern" in shape.metadata:
            return _example(shape.metadata["pattern"], least, most)
        letters = _ODD + _EVERYDAY if self._odd else _EVERYDAY
        count = self._chance.randint(least, min(most, least + 12))
        return "".join(self._chance.choice(letters) for _ in range(count))

    def _integer(self, shape: Any, _: int) -> int:
        width = _WIDTHS[shape.type_name]
        least = shape.metadata.get("min", -(1 << width))
        most = shape.metadata.get("max", (1 << width) - 1)
        near = [least, most, *(each for each in (0, 1, 23, 24, 255, 256) if least <= each <= most)]
        return int(self._chance.choice([*near, self._chance.randint(least, most)]))

    _long = _integer

    def _double(self, shape: Any, _: int) -> float:
        least, most = shape.metadata.get("min", -1e18), shape.metadata.get("max", 1e18)
        return self._chance.choice([float(least), float(most), self._chance.uniform(least, most)])

    def _float(self, shape: Any, depth: int) -> float:
        # Of four bytes, as CBOR writes them.
        (value,) = struct.unpack(">f", struct.pack(">f", self._double(shape, depth)))
        return float(value)

    def _boolean(self, *_: object) -> bool:
        return self._chance.random() < 0.5

    def _timestamp(self, *_: object) -> dt.datetime:
        seconds, fraction = self._chance.randint(0, 4_000_000_000), self._chance.choice([0, 250])
        return dt.datetime.fromtimestamp(seconds, dt.UTC) + dt.timedelta(milliseconds=fraction)

    def _blob(self, shape: Any, _: int) -> bytes:
        least = shape.metadata.get("min", 0)
        return self._chance.randbytes(self._chance.randint(least, least + 8))


@cache
def _floor(shape: Shape, above: tuple[str, ...] = ()) -> int:
    """How many levels a value of the shape has at least; 99 where it has no end or no content."""
    kind = shape.type_name
    if kind not in _CONTAINERS:
        return 0
    if shape.name in above:
        return 99
    below = (*above, shape.name)
    if kind == "structure":
        floors = {name: _floor(each, below) for name, each in shape.members.items()}
        needed = [floors[name] for name in shape.required_members if name in floors]
        level = max(needed) if needed else min(floors.values(), default=99)
    else:
        level = _floor(shape.member if kind == "list" else shape.value, below)
    return min(99, level + 1)


@cache
def _example(pattern: str, least: int, most: int) -> str:
    """A text that meets a pattern of the models."""
    test = validation.pattern(pattern)
    found = (
        text
        for each in _EXAMPLES
        for text in (each, each * max(1, least), each + each[-1] * max(0, least - len(each)))
        if least <= len(text) <= most and test.fullmatch(text)
    )
    # One of EC2's patterns can be met by nothing.
    return next(found, "a" * max(1, least))


def plain(value: Any) -> Any:
    """A value as the pool has it: times are Unix seconds."""
    if isinstance(value, dt.datetime):
        return round(value.timestamp(), 3)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value
