"""What scripts use of MXNet's test helpers, `download` above all."""

from __future__ import annotations

import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.errors import ConfigurationError, UnavailableError
from elastic_inference.frameworks.mxnet import random
from elastic_inference.frameworks.mxnet.context import Context, current_context
from elastic_inference.frameworks.mxnet.errors import value_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray
from elastic_inference.protocol.tensors import Array
from elastic_inference.settings import ClientSettings, from_environment

_TIMEOUT = 60.0
_STEP = (
    "Put the file here by that name, or in a folder that EI_MXNET_DOWNLOADS names, "
    "and run the script again."
)


def download(
    url: str,
    fname: str | None = None,
    dirname: str | None = None,
    overwrite: bool = False,
    retries: int = 5,
) -> str:
    """Fetch a file, unless it is there already; its path.

    Where EI_MXNET_DOWNLOADS names a folder, the file is taken from there and nothing is fetched.

    Raises:
        UnavailableError: it cannot be fetched.
        ConfigurationError: the folder of EI_MXNET_DOWNLOADS has no such file.
    """
    target = Path(dirname or "") / (fname or url.rsplit("/", 1)[-1])
    if target.is_file() and not overwrite:
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = from_environment(ClientSettings).mxnet_downloads
    if folder:
        _take(url, Path(folder), target)
    else:
        _fetch(url, target, retries)
    return str(target)


def _take(url: str, folder: Path, target: Path) -> None:
    path = urllib.parse.urlsplit(url).path.lstrip("/")
    # As deep as the URL's own path, or flat.
    for candidate in (folder / path, folder / target.name, folder / Path(path).name):
        if candidate.is_file():
            shutil.copyfile(candidate, target)
            return
    raise ConfigurationError(
        f"EI_MXNET_DOWNLOADS is {folder}, which has no {Path(path).name} for {url}.",
        next_step=_STEP,
    )


def _fetch(url: str, target: Path, retries: int) -> None:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise value_error(f"{url} is no address of a file that can be fetched")
    for attempt in range(max(retries, 0) + 1):
        try:
            _fetch_once(url, target)
        except (OSError, urllib.error.URLError) as error:
            if attempt == max(retries, 0):
                raise UnavailableError(f"Cannot fetch {url}: {error}.", next_step=_STEP) from error
        else:
            return


def _fetch_once(url: str, target: Path) -> None:
    # Beside its place, so that no half file is ever taken for a whole one.
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT) as answer,  # noqa: S310 - http(s) only
        tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part,
    ):
        try:
            shutil.copyfileobj(answer, part)
            part.close()
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def default_context() -> Context:
    return current_context()


def list_gpus() -> list[int]:
    """The GPUs that this process can use itself: none."""
    return []


def rand_ndarray(shape: Any, stype: str = "default", dtype: Any = None, **_further: Any) -> NDArray:
    """An array of any values."""
    del stype
    return random.uniform(-1, 1, shape=shape, dtype=dtype)


def almost_equal(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-20, equal_nan: bool = False
) -> bool:
    return np.allclose(_plain(a), _plain(b), rtol=rtol, atol=atol, equal_nan=equal_nan)


def assert_almost_equal(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-20, equal_nan: bool = False, **_: Any
) -> None:
    np.testing.assert_allclose(_plain(a), _plain(b), rtol=rtol, atol=atol, equal_nan=equal_nan)


def same(a: Any, b: Any) -> bool:
    return np.array_equal(_plain(a), _plain(b))


def _plain(value: Any) -> Array:
    return value.array if isinstance(value, NDArray) else np.asarray(value)
