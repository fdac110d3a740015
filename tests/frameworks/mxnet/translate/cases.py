"""One operator with attributes and inputs: what the grids of operators consist of."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elastic_inference.protocol.tensors import Array


@dataclass(frozen=True, slots=True)
class Draw:
    """An input: how it is drawn.

    Attributes:
        kind: `normal`, `positive`, `unit` (within ±0.9), `above` (1.1 to 3), `whole` (0 to
            `below`), `flags`, `distinct` (no two are equal), `boxes` (corners within 0 to 1),
            `signed` (whole, of either sign) or `values` (as given).
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    dtype: str = "float32"
    below: int = 5
    values: Any = None

    @property
    def name(self) -> str:
        """Tells it from others."""
        more = f"<{self.below}" if self.kind in {"whole", "signed"} else ""
        if self.kind == "values":
            more = f":{zlib.crc32(repr(np.array(self.values).tolist()).encode()):08x}"
        return f"{self.kind}{more} {self.dtype}{list(self.shape)}"

    def array(self, chance: np.random.RandomState) -> Array:
        shape = self.shape
        made: Any
        if self.kind == "values":
            made = np.array(self.values)
        elif self.kind == "positive":
            made = chance.uniform(0.1, 2, shape)
        elif self.kind == "unit":
            made = chance.uniform(-0.9, 0.9, shape)
        elif self.kind == "above":
            made = chance.uniform(1.1, 3, shape)
        elif self.kind == "whole":
            made = chance.randint(0, self.below, shape)
        elif self.kind == "signed":
            made = chance.randint(-self.below, self.below, shape)
        elif self.kind == "flags":
            made = chance.randint(0, 2, shape)
        elif self.kind == "distinct":
            made = chance.permutation(int(np.prod(shape))).reshape(shape) / 7 - 3
        elif self.kind == "boxes":
            made = _boxes(chance, shape)
        else:
            made = chance.standard_normal(shape)
        return np.asarray(made).astype(self.dtype)


def _boxes(chance: np.random.RandomState, shape: tuple[int, ...]) -> Array:
    first = chance.uniform(0, 0.7, (*shape[:-1], 2))
    return np.concatenate([first, first + chance.uniform(0.05, 0.3, first.shape)], -1)


@dataclass(frozen=True, slots=True)
class Case:
    """An operator to try.

    Attributes:
        attributes: as text.
        tolerance: of the largest difference, relative to the largest value.
        auxiliary: how many of the last inputs are auxiliary states.
    """

    operator: str
    inputs: tuple[Draw, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 1e-4
    auxiliary: int = 0

    @property
    def name(self) -> str:
        given = ",".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.operator}({given}) {' '.join(draw.name for draw in self.inputs)}"

    def arrays(self) -> dict[str, Array]:
        """The inputs, by their variables' names; the same each time."""
        chance = np.random.RandomState(7)
        return {f"x{index}": draw.array(chance) for index, draw in enumerate(self.inputs)}

    def symbol(self, outputs: int = 1) -> str:
        """The graph of this one operator, as a file has it."""
        count = len(self.inputs)
        variables = [{"op": "null", "name": f"x{index}", "inputs": []} for index in range(count)]
        node = {
            "op": self.operator,
            "name": "node",
            "attrs": dict(self.attributes),
            "inputs": [[index, 0, 0] for index in range(count)],
        }
        return json.dumps(
            {
                "nodes": [*variables, node],
                "arg_nodes": list(range(count)),
                "heads": [[count, index, 0] for index in range(outputs)],
                "attrs": {"mxnet_version": ["int", 10901]},
            }
        )


def grid(operator: str, *inputs: Any, **attributes: Any) -> Iterator[Case]:
    """Cases with every combination of the attributes' values; a list holds several.

    `inputs` are shapes or `Draw`s; `tolerance` and `auxiliary` are the case's own.
    """
    tolerance = attributes.pop("tolerance", 1e-4)
    auxiliary = attributes.pop("auxiliary", 0)
    draws = tuple(each if isinstance(each, Draw) else Draw(tuple(each)) for each in inputs)
    choices = [value if isinstance(value, list) else [value] for value in attributes.values()]
    for chosen in itertools.product(*choices):
        texts = {
            key: str(value)
            for key, value in zip(attributes, chosen, strict=True)
            if value is not None
        }
        yield Case(operator, draws, texts, tolerance, auxiliary)
