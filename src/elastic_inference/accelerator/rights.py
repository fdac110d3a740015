"""The rights to connect: which are withdrawn, and which connections live by each.

A token names the right that it was given for. Withdrawing the right ends every grant that follows
from it at once; requests that run go on, the next one is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

WITHDRAWN = "the right to connect was withdrawn"
NEXT_STEP = (
    "Connect again: a new token is given where the instance runs and its role may"
    " elastic-inference:Connect."
)


class Held(Protocol):
    """What follows from a right.

    Attributes:
        expires: monotonic time at which it ends.
    """

    expires: float


class Rights:
    """The rights of one accelerator.

    Args:
        revoked: ids of those that are withdrawn.
    """

    def __init__(self, revoked: Iterable[str] = ()) -> None:
        self._revoked = _ids(revoked)
        self._held: dict[str, set[Held]] = {}
        self._lock = threading.Lock()

    def is_withdrawn(self, right: str) -> bool:
        """Whether tokens of this right are refused."""
        return right in self._revoked

    def take(self, held: Held, right: str, expires: float, *, before: str | None) -> bool:
        """Let `held` live by `right` until `expires`, and no more by `before`.

        Returns:
            False, and nothing has changed, if the right is withdrawn.
        """
        with self._lock:
            if right in self._revoked:
                return False
            if before is not None and before != right:
                self._drop(held, before)
            self._held.setdefault(right, set()).add(held)
            held.expires = expires
            return True

    def leave(self, held: Held, right: str) -> None:
        """`held` is gone."""
        with self._lock:
            self._drop(held, right)

    def revoke(self, revoked: Iterable[str]) -> None:
        """Refuse the rights in `revoked` from now on, and no others."""
        with self._lock:
            self._revoked = _ids(revoked)
            for right in self._revoked & self._held.keys():
                for held in self._held.pop(right):
                    held.expires = 0.0

    def _drop(self, held: Held, right: str) -> None:
        living = self._held.get(right)
        if living is not None:
            living.discard(held)
            if not living:
                del self._held[right]


def _ids(revoked: Iterable[str]) -> frozenset[str]:
    # The control plane's own tokens name no right.
    return frozenset(revoked) - {""}
