"""What scripts take from `mxnet.gluon.utils`."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

from elastic_inference.frameworks.mxnet import creation, test_utils
from elastic_inference.frameworks.mxnet.errors import value_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray


def download(
    url: str,
    path: str | None = None,
    overwrite: bool = False,
    sha1_hash: str | None = None,
    retries: int = 5,
    verify_ssl: bool = True,
) -> str:
    """Fetch a file, unless it is there already; its path. See `test_utils.download`."""
    del verify_ssl
    name = url.rsplit("/", 1)[-1]
    target = Path(name if path is None else path).expanduser()
    if target.is_dir():
        target /= name
    right = target.is_file() and (sha1_hash is None or check_sha1(str(target), sha1_hash))
    if right and not overwrite:
        return str(target)
    return test_utils.download(url, target.name, str(target.parent), True, retries)


def check_sha1(filename: str, sha1_hash: str) -> bool:
    """Whether the file is what it was when its hash was taken."""
    found = hashlib.sha1(Path(filename).read_bytes(), usedforsecurity=False).hexdigest()
    return found.startswith(sha1_hash)


def split_data(
    data: NDArray, num_slice: int, batch_axis: int = 0, even_split: bool = True
) -> list[NDArray]:
    """The array in `num_slice` parts along an axis."""
    if even_split and data.shape[batch_axis] % num_slice:
        raise value_error(
            f"data with shape {data.shape} cannot be evenly split into {num_slice} slices along "
            f"axis {batch_axis}."
        )
    size = data.shape[batch_axis]
    bounds = [size * part // num_slice for part in range(num_slice + 1)]
    before = (slice(None),) * batch_axis
    return [data[(*before, slice(first, last))] for first, last in itertools.pairwise(bounds)]


def split_and_load(
    data: Any, ctx_list: Any, batch_axis: int = 0, even_split: bool = True
) -> list[NDArray]:
    """Its parts, each on its context."""
    given = data if isinstance(data, NDArray) else creation.array(data)
    parts = split_data(given, len(ctx_list), batch_axis, even_split)
    return [part.as_in_context(each) for part, each in zip(parts, ctx_list, strict=True)]
