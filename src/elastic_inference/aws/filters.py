"""EC2's filters: names with values, wildcards in these."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError
from elastic_inference.control.wildcards import ONE, STAR, Glob, Wild

T = TypeVar("T")
Reader = Callable[[T], "str | Iterable[str] | None"]
_MAX_FILTERS, _MAX_VALUES, _MAX_CHARACTERS = 50, 200, 65_536
_PIECES = re.compile(r"\\[*?\\]|[*?]|\\|[^*?\\]+", re.DOTALL)
_WILD: Mapping[str, str | Wild] = {"*": STAR, "?": ONE, "\\": "\\"}


def select(
    items: Iterable[T],
    call: Call,
    readers: Mapping[str, Reader[T]],
    tags: Callable[[T], Mapping[str, str]] | None = None,
) -> list[T]:
    """The items that meet all filters of a call, each in one of its values.

    Args:
        readers: what an item has under a filter's name: one text, several, or none.
        tags: an item's tags, for `tag:KEY`, `tag-key` and `tag-value`.

    Raises:
        AwsError: there is no such filter.
    """
    tests = [_test(each, readers, tags) for each in _filters(call)]
    return [item for item in items if all(test(item) for test in tests)]


def truth(value: bool) -> str:
    """As filters write it."""
    return "true" if value else "false"


def _filters(call: Call) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = call.input.get("Filters", ())
    if len(found) > _MAX_FILTERS:
        raise AwsError("FilterLimitExceeded", f"There may be {_MAX_FILTERS} filters.")
    size = sum(len(value) for each in found for value in each.get("Values", ()))
    if size > _MAX_CHARACTERS:
        raise AwsError(
            "FilterLimitExceeded",
            f"The values of filters have {size} characters; {_MAX_CHARACTERS} are allowed.",
        )
    return found


def _test(
    given: Mapping[str, Any],
    readers: Mapping[str, Reader[T]],
    tags: Callable[[T], Mapping[str, str]] | None,
) -> Callable[[T], bool]:
    name, values = given.get("Name", ""), given.get("Values", [])
    if not values or len(values) > _MAX_VALUES:
        raise AwsError(
            "InvalidParameterValue", f"The filter '{name}' needs 1 to {_MAX_VALUES} values."
        )
    reader = readers.get(name) or (_tag_reader(name, tags) if tags else None)
    if reader is None:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    read = reader
    globs = [_glob(each) for each in values]

    def test(item: T) -> bool:
        found = read(item)
        if found is None:
            return False
        texts = [found] if isinstance(found, str) else found
        return any(glob(each) for each in texts for glob in globs)

    return test


def _tag_reader(name: str, tags: Callable[[T], Mapping[str, str]]) -> Reader[T] | None:
    if name == "tag-key":
        return tags
    if name == "tag-value":
        return lambda item: tags(item).values()
    if name.startswith("tag:"):
        return lambda item: tags(item).get(name[4:])
    return None


def _glob(value: str) -> Glob:
    # Of the shell's wildcards AWS has two, and a backslash before one makes it a character.
    return Glob(_WILD.get(each) or each.removeprefix("\\") for each in _PIECES.findall(value))
