"""Who calls an operation, and how the call is read."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, or_

from elastic_inference.control.access import Principal
from elastic_inference.control.documents import Document
from elastic_inference.control.reachable import without_mapping
from elastic_inference.control.tables import Records
from elastic_inference.errors import InvalidRequestError

T = TypeVar("T")
DEFAULT_PAGE = 100
MAX_PAGE = 1000
_MAX_IDS = 1000
_TEXT = re.compile(r"[ -~]{0,256}")
# And halves of surrogate pairs, which no encoding has.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how.

    Attributes:
        principal: whose credentials signed the call.
        host, port: the address of the endpoint that was reached.
        source: the caller's own IP address.
        nonce: what came as X-Amz-Ei-Nonce.
    """

    principal: Principal
    host: str
    port: int
    source: str = "127.0.0.1"
    nonce: str = field(default="", repr=False)

    @classmethod
    def of(
        cls, principal: Principal, own: Sequence[Any], peer: Sequence[Any], nonce: str
    ) -> Caller:
        """The caller on a connection with these two socket addresses."""
        return cls(principal, without_mapping(own[0]), own[1], without_mapping(str(peer[0])), nonce)

    @property
    def account(self) -> str:
        return self.principal.account

    @property
    def instance_id(self) -> str | None:
        """The instance whose credentials were used; None where they are nobody's."""
        return self.principal.instance_id

    @property
    def context(self) -> Mapping[str, str]:
        """What policies may ask about the request."""
        return {"aws:SourceIp": self.source}


def text(document: Document, name: str, most: int = 128) -> str | None:
    """A short printable text.

    Raises:
        InvalidRequestError: it is something else.
    """
    value = document.get(name)
    if value is not None and not (
        isinstance(value, str) and _TEXT.fullmatch(value) and len(value) <= most
    ):
        raise InvalidRequestError(
            f"{name} must be a text of at most {most} printable ASCII characters."
        )
    return value or None


def required(document: Document, name: str, most: int = 128) -> str:
    """A text that must be there."""
    value = text(document, name, most)
    if value is None:
        raise InvalidRequestError(f"{name} is missing.")
    return value


def long_text(document: Document, name: str, most: int) -> str | None:
    """Any text of up to `most` characters."""
    value = document.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= most):
        raise InvalidRequestError(f"{name} must be a text of at most {most} characters.")
    return value


def number(document: Document, name: str, least: float, most: float) -> float | None:
    """A number within bounds."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidRequestError(f"{name} must be from {least:.0f} to {most:.0f}.")
    return value


def flag(document: Document, name: str) -> bool:
    """True or false; false where it is not there."""
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be true or false.")
    return value


def texts(document: Document, name: str, most: int = _MAX_IDS) -> list[str] | None:
    """A list of short texts."""
    value = document.get(name)
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(each, str) and _TEXT.fullmatch(each) for each in value)
    ):
        raise InvalidRequestError(f"{name} must be a list of at most {most} names.")
    return value


def tags(document: Document, name: str = "tags") -> dict[str, str]:
    """Texts by keys."""
    value = document.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise InvalidRequestError(f"{name} must be texts by their keys.")
    for each in (*value, *value.values()):
        if _CONTROL.search(each):
            raise InvalidRequestError(f"{name} must have no control characters.")
    check_tag_keys(value)
    return value


def check_tag_keys(keys: Iterable[str]) -> None:
    """Refuse tags that only AWS's services give.

    Raises:
        InvalidRequestError: one is.
    """
    for each in keys:
        if each.lower().startswith("aws:"):
            raise InvalidRequestError(
                f"The tag {each[:64]!r} begins with aws:, which is for AWS's services alone."
            )


def page(
    table: Records[T], document: Document, *conditions: ColumnElement[bool]
) -> tuple[list[T], str | None]:
    """One page of a table that has `created_at` and `id`, and where the next one begins.

    Args:
        document: `maxResults` and `nextToken` say which page.
    """
    size = int(number(document, "maxResults", 1, MAX_PAGE) or DEFAULT_PAGE)
    created, key = table.columns.created_at, table.columns.id
    token = text(document, "nextToken", 256)
    if token is not None:
        since, last = _position(token)
        # Both as one comparison of pairs, in a form that uses an index.
        conditions += (and_(created >= since, or_(created > since, key > last)),)
    found = table.where(*conditions, order=(created, key), limit=size + 1)
    if len(found) <= size:
        return found, None
    last_one: Any = found[size - 1]
    return found[:size], _token(last_one.created_at, last_one.id)


def _token(created: float, key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([created, key]).encode()).decode()


def _position(token: str) -> tuple[float, str]:
    try:
        created, key = json.loads(base64.urlsafe_b64decode(token))
        return float(created), str(key)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidRequestError(
            "nextToken is not one of this pool.", next_step="Begin with the first page."
        ) from None
