"""Names and attributes that nodes get without being told: `mx.name`, `mx.AttrScope`."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from elastic_inference.frameworks.mxnet.errors import value_error

_local = threading.local()


class NameManager:
    """Numbers the nodes that have no name: `convolution0`, `convolution1`, …"""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._before: list[NameManager] = []

    def get(self, name: str | None, hint: str) -> str:
        """`name`, or the next one of those that begin with `hint`."""
        if name:
            return name
        count = self._counts.get(hint, 0)
        self._counts[hint] = count + 1
        return f"{hint}{count}"

    @staticmethod
    def current() -> NameManager:
        found: NameManager | None = getattr(_local, "names", None)
        if found is None:
            found = _local.names = NameManager()
        return found

    def __enter__(self) -> Self:
        self._before.append(NameManager.current())
        _local.names = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _local.names = self._before.pop()


class Prefix(NameManager):
    """Puts a prefix before every name."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        return self._prefix + super().get(name, hint)


class AttrScope:
    """Gives attributes to all nodes that are made inside."""

    def __init__(self, **attributes: str) -> None:
        for value in attributes.values():
            if not isinstance(value, str):
                raise value_error("Attributes need to be string")
        self._attributes = attributes
        self._before: list[AttrScope] = []

    def get(self, attributes: dict[str, str] | None) -> dict[str, str]:
        """`attributes`, and those of the scope."""
        return self._attributes | (attributes or {})

    @staticmethod
    def current() -> AttrScope:
        found: AttrScope | None = getattr(_local, "attributes", None)
        if found is None:
            found = _local.attributes = AttrScope()
        return found

    def __enter__(self) -> Self:
        outer = AttrScope.current()
        self._before.append(outer)
        inner = AttrScope(**outer.get(self._attributes))
        _local.attributes = inner
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _local.attributes = self._before.pop()


def attributes_of(given: Any) -> dict[str, str]:
    """The attributes that a node gets from its `attr=` and from the scopes around it."""
    return AttrScope.current().get(given)
