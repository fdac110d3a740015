"""What real MXNet gave, in small files: `make oracle` writes them, the tests read them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.translate.cases import Draw

FOLDER = Path(__file__).parent.parent / "data"
_GRIDS = FOLDER / "grids.npz"
# Of large results no more than so many elements are kept, evenly spread.
_MOST = 1500


def spread(array: Array) -> Array:
    """The elements of a result that are kept."""
    flat = array.reshape(-1)
    return flat[:: max(-(-flat.size // _MOST), 1)]


def write_grids(found: Mapping[str, Sequence[Array]]) -> None:
    """Write the results of all cases."""
    index = [
        [name, [[each.dtype.name, list(each.shape)] for each in results]]
        for name, results in found.items()
    ]
    parts: dict[str, list[Array]] = {}
    for results in found.values():
        for each in results:
            parts.setdefault(each.dtype.name, []).append(spread(each))
    arrays = {name: np.concatenate(each) for name, each in parts.items()}
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    _save(_GRIDS, arrays)


def read_grids() -> dict[str, list[tuple[tuple[int, ...], Array]]]:
    """Shape and kept elements of each result of each case."""
    with np.load(_GRIDS) as file:
        arrays = dict(file)
    at = dict.fromkeys(arrays, 0)
    found: dict[str, list[tuple[tuple[int, ...], Array]]] = {}
    for name, results in json.loads(arrays.pop("index").tobytes()):
        found[name] = []
        for dtype, shape in results:
            count = spread(np.zeros(shape, np.bool_)).size
            kept = arrays[dtype][at[dtype] : at[dtype] + count]
            at[dtype] += count
            found[name].append((tuple(shape), kept))
    return found


@dataclass(frozen=True, slots=True)
class Recorded:
    """A model, what it was given, and what MXNet made of that.

    Attributes:
        expected: shape and kept elements of each output.
    """

    name: str
    symbol: str
    gain: float
    feeds: dict[str, Array]
    expected: list[tuple[tuple[int, ...], Array]]


def feeds_of(inputs: Mapping[str, Draw]) -> dict[str, Array]:
    """What a model is given; the same each time."""
    chance = np.random.RandomState(11)
    return {name: each.array(chance) for name, each in inputs.items()}


def write_model(
    name: str, symbol: str, gain: float, inputs: Mapping[str, Draw], expected: Sequence[Array]
) -> None:
    """Write a model's symbol, and its outputs."""
    document = json.dumps(json.loads(symbol), separators=(",", ":")).encode()
    (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(document, 9, mtime=0))
    described = json.dumps({key: asdict(each) for key, each in inputs.items()})
    arrays: dict[str, Array] = {
        "gain": np.array(gain),
        "inputs": np.frombuffer(described.encode(), np.uint8),
    }
    for index, each in enumerate(expected):
        arrays[f"shape:{index}"] = np.array(each.shape)
        arrays[f"output:{index}"] = spread(each)
    _save(FOLDER / f"{name}.npz", arrays)


def recorded() -> Iterator[str]:
    """Names of the models that there are."""
    for path in sorted(FOLDER.glob("*.json.gz")):
        yield path.name.removesuffix(".json.gz")


def read_model(name: str) -> Recorded:
    symbol = gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()).decode()
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    described = json.loads(arrays["inputs"].tobytes())
    inputs = {
        key: Draw(**{**each, "shape": tuple(each["shape"])}) for key, each in described.items()
    }
    count = sum(key.startswith("shape:") for key in arrays)
    expected = [
        (tuple(int(size) for size in arrays[f"shape:{index}"]), arrays[f"output:{index}"])
        for index in range(count)
    ]
    return Recorded(name, symbol, float(arrays["gain"]), feeds_of(inputs), expected)


def _save(path: Path, arrays: dict[str, Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    path.write_bytes(file.getvalue())
