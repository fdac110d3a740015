"""Pictures as arrays of height, width and channels, by OpenCV or else Pillow."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.errors import ConfigurationError
from elastic_inference.frameworks.mxnet.errors import mxnet_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.protocol.tensors import Array

# MXNet's numbers of interpolations are OpenCV's; Pillow has others.
_NEAREST, _BILINEAR, _BICUBIC, _AREA, _LANCZOS = range(5)


def imread(filename: str, flag: int = 1, to_rgb: bool = True, out: Any = None) -> NDArray:
    """A picture of a file.

    Args:
        flag: 1 for three channels, 0 for one.
        to_rgb: the channels' order is RGB; BGR if not.

    Raises:
        MXNetError: there is no such file, or it is no picture.
    """
    try:
        encoded = Path(filename).read_bytes()
    except OSError as error:
        raise mxnet_error(
            "src/io/image_io.cc:222",
            f"Check failed: file.is_open() : Imread: '{filename}' couldn't open file: "
            f"{error.strerror}",
        ) from error
    return imdecode(encoded, flag, to_rgb, out)


def imdecode(buf: Any, flag: int = 1, to_rgb: bool = True, out: Any = None) -> NDArray:
    """A picture of its encoded bytes; see `imread`."""
    encoded = buf.array.tobytes() if isinstance(buf, NDArray) else bytes(buf)
    if not encoded:
        raise mxnet_error("src/io/image_io.cc:153", "Check failed: len > 0 : Input cannot be empty")
    picture = _decoded(encoded, color=bool(flag))
    if picture is None:
        raise mxnet_error(
            "src/io/image_io.cc:172",
            "Check failed: !dst.empty() : Decoding failed. Invalid image file.",
        )
    if picture.ndim == 2:
        picture = picture[:, :, np.newaxis]
    if flag and not to_rgb:
        picture = picture[:, :, ::-1]
    decoded = wrap(np.ascontiguousarray(picture))
    if out is None:
        return decoded
    out[:] = decoded
    made: NDArray = out
    return made


def imresize(src: NDArray, w: int, h: int, interp: int = 1, out: Any = None) -> NDArray:
    """The picture with the width `w` and the height `h`."""
    resized = wrap(_resized(src.array, int(w), int(h), interp), src.context)
    if out is None:
        return resized
    out[:] = resized
    made: NDArray = out
    return made


def resize_short(src: NDArray, size: int, interp: int = 2) -> NDArray:
    """The picture with its shorter side `size` long."""
    height, width = src.shape[:2]
    if height > width:
        return imresize(src, size, size * height // width, interp)
    return imresize(src, size * width // height, size, interp)


def scale_down(src_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """`size` (width, height), made smaller in proportion until it fits into `src_size`."""
    width, height = size
    most_width, most_height = src_size
    if most_height < height:
        width, height = width * most_height / height, most_height  # type: ignore[assignment]
    if most_width < width:
        width, height = most_width, height * most_width / width  # type: ignore[assignment]
    return int(width), int(height)


def fixed_crop(
    src: NDArray, x0: int, y0: int, w: int, h: int, size: Any = None, interp: int = 2
) -> NDArray:
    """The part of the picture from (x0, y0) on, resized to `size` (width, height) if given."""
    part = wrap(src.array[y0 : y0 + h, x0 : x0 + w].copy(), src.context)
    if size is not None and (w, h) != tuple(size):
        return imresize(part, size[0], size[1], interp)
    return part


def center_crop(
    src: NDArray, size: tuple[int, int], interp: int = 2
) -> tuple[NDArray, tuple[int, int, int, int]]:
    """The middle of the picture in `size` (width, height), and where it was."""
    height, width = src.shape[:2]
    new_width, new_height = scale_down((width, height), size)
    x0, y0 = (width - new_width) // 2, (height - new_height) // 2
    part = fixed_crop(src, x0, y0, new_width, new_height, size, interp)
    return part, (x0, y0, new_width, new_height)


def random_crop(
    src: NDArray, size: tuple[int, int], interp: int = 2
) -> tuple[NDArray, tuple[int, int, int, int]]:
    """Some part of the picture in `size` (width, height), and where it was."""
    height, width = src.shape[:2]
    new_width, new_height = scale_down((width, height), size)
    x0 = random.randint(0, width - new_width)  # noqa: S311 - a picture's place is no secret
    y0 = random.randint(0, height - new_height)  # noqa: S311 - the same
    part = fixed_crop(src, x0, y0, new_width, new_height, size, interp)
    return part, (x0, y0, new_width, new_height)


def color_normalize(src: NDArray, mean: Any, std: Any = None) -> NDArray:
    """`(src - mean) / std`, channel by channel."""
    if mean is not None:
        src = src - mean
    if std is not None:
        src = src / std
    return src


def _decoded(encoded: bytes, *, color: bool) -> Array | None:
    cv2 = _opencv()
    if cv2 is not None:
        flag = cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE
        found = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
        if found is None:
            return None
        return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB) if color else found)
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(encoded)) as picture:
            return np.asarray(picture.convert("RGB" if color else "L"))
    except OSError:
        return None


def _resized(picture: Array, width: int, height: int, interp: int) -> Array:
    cv2 = _opencv()
    if cv2 is not None:
        known = (
            *(cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC),
            *(cv2.INTER_AREA, cv2.INTER_LANCZOS4),
        )
        chosen = known[_chosen(interp, picture.shape[:2], (height, width))]
        resized = np.asarray(cv2.resize(picture, (width, height), interpolation=chosen))
        return resized[:, :, np.newaxis] if resized.ndim < picture.ndim else resized
    pillow = _pillow()
    filters = pillow.Resampling
    known = (filters.NEAREST, filters.BILINEAR, filters.BICUBIC, filters.BOX, filters.LANCZOS)
    chosen = known[_chosen(interp, picture.shape[:2], (height, width))]
    # Pillow resizes one plane of any dtype, and all of a picture only in bytes.
    planes = [
        np.asarray(pillow.fromarray(np.ascontiguousarray(picture[:, :, at])).resize(
            (width, height), chosen
        ))
        for at in range(picture.shape[2])
    ]  # fmt: skip
    return np.stack(planes, axis=2).astype(picture.dtype)


def _chosen(interp: int, before: tuple[int, ...], after: tuple[int, int]) -> int:
    """The interpolation that MXNet's numbers 9 (by sizes) and 10 (any) mean."""
    if interp == 9:
        if after > before:
            return _BICUBIC
        return _AREA if after < before else _BILINEAR
    if interp == 10:
        return random.randint(_NEAREST, _LANCZOS)  # noqa: S311 - no secret
    return interp


def _opencv() -> Any:
    try:
        import cv2  # noqa: PLC0415 - used where it is installed
    except ImportError:
        return None
    return cv2


def _pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415 - used where it is installed
    except ImportError as error:
        raise ConfigurationError(
            "Reading pictures needs OpenCV or Pillow, and neither is installed.",
            next_step="Install opencv-python-headless or pillow.",
        ) from error
    return Image
