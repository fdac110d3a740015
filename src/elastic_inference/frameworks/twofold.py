"""Error classes that are both a framework's and of our own tree, so that either `except` finds
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elastic_inference.errors import ElasticInferenceError

_Key = tuple[type[Exception], ...]
_classes: dict[_Key, type[ElasticInferenceError]] = {}


def both(
    theirs: _Key,
    ours: type[ElasticInferenceError],
    members: Mapping[str, Any] | None = None,
) -> type[ElasticInferenceError]:
    """The class that is all of `theirs`, and `ours`; the same one each time.

    Args:
        members: further attributes of the class, in the place of those of `theirs`.
    """
    theirs = tuple(each for each in theirs if not issubclass(ours, each))
    if not theirs:
        return ours
    key = (*theirs, ours)
    if key not in _classes:
        _classes[key] = _make(theirs, ours, members or {})
    return _classes[key]


def is_both(error: Exception) -> bool:
    """Whether `both` made the error's class."""
    return type(error) in _classes.values()


def like(cls: type[ElasticInferenceError], error: ElasticInferenceError) -> ElasticInferenceError:
    """An error of `cls` that says what `error` says."""
    return cls(
        error.message,
        next_step=error.next_step,
        request_id=error.request_id,
        accelerator_id=error.accelerator_id,
    )


def _make(
    theirs: _Key, ours: type[ElasticInferenceError], members: Mapping[str, Any]
) -> type[ElasticInferenceError]:

    def reduce(self: ElasticInferenceError) -> tuple[Any, ...]:
        return _rebuild, (theirs, ours, dict(members), self.to_dict())

    # Other classes have an __init__ and a __str__, which must not win over ours.
    own = {
        "__doc__": ours.__doc__,
        "__init__": ours.__init__,
        "__module__": __name__,
        "__reduce__": reduce,
        "__str__": ours.__str__,
    }
    return type(theirs[0].__name__, (*theirs, ours), {**own, **members})


def _rebuild(
    theirs: _Key,
    ours: type[ElasticInferenceError],
    members: Mapping[str, Any],
    body: dict[str, Any],
) -> ElasticInferenceError:
    return both(theirs, ours, members)(
        body["error"],
        next_step=body.get("next_step", ""),
        request_id=body.get("request_id", ""),
        accelerator_id=body.get("accelerator_id", ""),
    )
