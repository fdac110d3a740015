"""What is done to a picture before a model, as `mxnet.gluon.data.vision.transforms` has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import image
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap

Transform = Callable[[NDArray], NDArray]


class Compose:
    """Transforms, one after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, x: NDArray) -> NDArray:
        for each in self.transforms:
            x = each(x)
        return x


class Cast:
    """Another dtype."""

    def __init__(self, dtype: Any = "float32") -> None:
        self.dtype = dtype

    def __call__(self, x: NDArray) -> NDArray:
        return x.astype(self.dtype)


class ToTensor:
    """From height, width and channels of 0 to 255, to channels, height and width of 0 to 1."""

    def __call__(self, x: NDArray) -> NDArray:
        moved = np.moveaxis(x.array, -1, -3).astype(np.float32) / np.float32(255)
        return wrap(np.ascontiguousarray(moved), x.context)


class Normalize:
    """`(x - mean) / std`, channel by channel; the channels come first."""

    def __init__(self, mean: Any = 0.0, std: Any = 1.0) -> None:
        self.mean = np.asarray(mean, np.float32).reshape(-1, 1, 1)
        self.std = np.asarray(std, np.float32).reshape(-1, 1, 1)

    def __call__(self, x: NDArray) -> NDArray:
        return wrap(((x.array - self.mean) / self.std).astype(np.float32), x.context)


class Resize:
    """The width and height `size`; one number is the shorter side if `keep_ratio`."""

    def __init__(self, size: Any, keep_ratio: bool = False, interpolation: int = 1) -> None:
        self.size = size
        self.keep_ratio = keep_ratio
        self.interpolation = interpolation

    def __call__(self, x: NDArray) -> NDArray:
        if self.keep_ratio and isinstance(self.size, int):
            return image.resize_short(x, self.size, self.interpolation)
        width, height = (self.size, self.size) if isinstance(self.size, int) else self.size
        return image.imresize(x, width, height, self.interpolation)


class CenterCrop:
    """The middle of the picture."""

    def __init__(self, size: Any, interpolation: int = 1) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.interpolation = interpolation

    def __call__(self, x: NDArray) -> NDArray:
        return image.center_crop(x, self.size, self.interpolation)[0]
