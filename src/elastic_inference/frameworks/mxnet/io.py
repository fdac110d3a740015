"""Batches of data, and iterators over them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from elastic_inference.frameworks.mxnet import creation
from elastic_inference.frameworks.mxnet.errors import type_error, value_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray, wrap
from elastic_inference.protocol.tensors import Array


class DataDesc(namedtuple("DataDesc", ["name", "shape"])):  # noqa: PYI024, SLOT002 - it has two more
    """An input: name and shape, and besides those of the tuple its dtype and layout."""

    dtype: Any
    layout: str | None

    def __new__(
        cls, name: str, shape: Any, dtype: Any = np.float32, layout: str | None = "NCHW"
    ) -> Self:
        made = super().__new__(cls, name, shape)
        made.dtype = dtype
        made.layout = layout
        return made

    def __repr__(self) -> str:
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    @staticmethod
    def get_batch_axis(layout: str | None) -> int:
        return 0 if layout is None else layout.find("N")

    @staticmethod
    def get_list(shapes: Sequence[Any], types: Any = None) -> list[DataDesc]:
        if types is None:
            return [DataDesc(each[0], each[1]) for each in shapes]
        kinds = dict(types)
        return [DataDesc(each[0], each[1], kinds[each[0]]) for each in shapes]


class DataBatch:
    """The arrays of one batch."""

    def __init__(
        self,
        data: Any,
        label: Any = None,
        pad: int | None = None,
        index: Any = None,
        bucket_key: Any = None,
        provide_data: Any = None,
        provide_label: Any = None,
    ) -> None:
        for given, name in ((data, "Data"), (label, "Label")):
            if given is not None and not isinstance(given, list | tuple):
                raise type_error(f"{name} must be list of NDArrays")
        self.data = data
        self.label = label
        self.pad = pad
        self.index = index
        self.bucket_key = bucket_key
        self.provide_data = provide_data
        self.provide_label = provide_label

    def __str__(self) -> str:
        data = [each.shape for each in self.data]
        labels = [each.shape for each in self.label] if self.label else None
        return f"DataBatch: data shapes: {data} label shapes: {labels}"


class DataIter:
    """What iterators over batches have in common."""

    def __init__(self, batch_size: int = 0) -> None:
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[DataBatch]:
        return self

    def reset(self) -> None:
        """Begin again."""

    def next(self) -> DataBatch:
        if not self.iter_next():
            raise StopIteration
        return DataBatch(
            data=self.getdata(), label=self.getlabel(), pad=self.getpad(), index=self.getindex()
        )

    def __next__(self) -> DataBatch:
        return self.next()

    def iter_next(self) -> bool:
        return False

    def getdata(self) -> list[NDArray]:
        return []

    def getlabel(self) -> list[NDArray]:
        return []

    def getindex(self) -> Any:
        return None

    def getpad(self) -> int:
        return 0


class NDArrayIter(DataIter):
    """Batches of arrays that lie in memory."""

    def __init__(
        self,
        data: Any,
        label: Any = None,
        batch_size: int = 1,
        shuffle: bool = False,
        last_batch_handle: str = "pad",
        data_name: str = "data",
        label_name: str = "softmax_label",
    ) -> None:
        super().__init__(batch_size)
        if last_batch_handle not in {"pad", "discard", "roll_over"}:
            raise value_error(f"last_batch_handle cannot be {last_batch_handle!r}")
        self.data = _named(data, data_name, allow_empty=False)
        self.label = _named(label, label_name, allow_empty=True)
        self.last_batch_handle = last_batch_handle
        self.shuffle = shuffle
        self.num_data: int = self.data[0][1].shape[0]
        for name, each in (*self.data, *self.label):
            if each.shape[0] != self.num_data:
                raise value_error(f"{name} has not as many rows as the others")
        if last_batch_handle == "discard":
            self.num_data -= self.num_data % batch_size
        self._order = np.arange(self.data[0][1].shape[0])
        self.cursor = -batch_size
        self.num_source = len(self.data)
        self.reset()

    @property
    def provide_data(self) -> list[DataDesc]:
        return self._described(self.data)

    @property
    def provide_label(self) -> list[DataDesc]:
        return self._described(self.label)

    def _described(self, source: list[tuple[str, Array]]) -> list[DataDesc]:
        return [
            DataDesc(name, (self.batch_size, *each.shape[1:]), each.dtype.type)
            for name, each in source
        ]

    def hard_reset(self) -> None:
        """Begin again, also what rolled over."""
        self.cursor = -self.batch_size

    def reset(self) -> None:
        if self.shuffle:
            np.random.default_rng().shuffle(self._order)
        left_over = self.num_data - self.cursor
        if self.last_batch_handle == "roll_over" and 0 < left_over < self.batch_size:
            # These rows come first the next time.
            self.cursor = -left_over - self.batch_size
        else:
            self.cursor = -self.batch_size

    def iter_next(self) -> bool:
        self.cursor += self.batch_size
        if self.last_batch_handle == "roll_over":
            return self.cursor + self.batch_size <= self.num_data
        return self.cursor < self.num_data

    def getdata(self) -> list[NDArray]:
        return self._batch(self.data)

    def getlabel(self) -> list[NDArray]:
        return self._batch(self.label)

    def _batch(self, source: list[tuple[str, Array]]) -> list[NDArray]:
        rows = np.arange(self.cursor, self.cursor + self.batch_size) % self.num_data
        return [wrap(each[self._order[rows]]) for _, each in source]

    def getpad(self) -> int:
        beyond = self.cursor + self.batch_size - self.num_data
        if self.last_batch_handle == "pad" and beyond > 0:
            return beyond
        if self.last_batch_handle == "roll_over" and -self.batch_size < self.cursor < 0:
            return -self.cursor
        return 0


class ResizeIter(DataIter):
    """An iterator with `size` batches, however many the one inside has."""

    def __init__(self, data_iter: Any, size: int, reset_internal: bool = True) -> None:
        super().__init__(data_iter.batch_size)
        self.data_iter = data_iter
        self.size = size
        self.reset_internal = reset_internal
        self.cur = 0
        self.provide_data = data_iter.provide_data
        self.provide_label = data_iter.provide_label
        self._batch: DataBatch | None = None

    def reset(self) -> None:
        self.cur = 0
        if self.reset_internal:
            self.data_iter.reset()

    def next(self) -> DataBatch:
        if self.cur == self.size:
            raise StopIteration
        self.cur += 1
        try:
            return self.data_iter.next()  # type: ignore[no-any-return]
        except StopIteration:
            self.data_iter.reset()
            return self.data_iter.next()  # type: ignore[no-any-return]


class PrefetchingIter(DataIter):
    """The batches of another iterator: those that lie in memory need not be fetched."""

    def __init__(self, iters: Any, rename_data: Any = None, rename_label: Any = None) -> None:
        del rename_data, rename_label
        self._inner = iters[0] if isinstance(iters, list | tuple) else iters
        super().__init__(self._inner.batch_size)
        self.provide_data = self._inner.provide_data
        self.provide_label = self._inner.provide_label

    def reset(self) -> None:
        self._inner.reset()

    def next(self) -> DataBatch:
        return self._inner.next()  # type: ignore[no-any-return]


def _named(source: Any, default: str, *, allow_empty: bool) -> list[tuple[str, Array]]:
    """Names and arrays of what an iterator is given: an array, a list, or a dict."""
    if source is None:
        if not allow_empty:
            raise value_error("data cannot be None")
        return []
    if isinstance(source, NDArray | np.ndarray):
        source = [source]
    if isinstance(source, Mapping):
        pairs = sorted(source.items())
    elif len(source) == 1:
        pairs = [(default, source[0])]
    else:
        pairs = [(f"_{at}_{default}", each) for at, each in enumerate(source)]
    # Rows are taken in float32 unless they are MXNet's own arrays, as mx.nd.array does.
    return [
        (name, each.array if isinstance(each, NDArray) else creation.array(each).array)
        for name, each in pairs
    ]
