"""What one call may still try after it failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from elastic_inference.client.connection import Connection
from elastic_inference.errors import (
    AcceleratorLostError,
    AuthenticationError,
    DeadlineExceededError,
    ElasticInferenceError,
    NotFoundError,
    UnavailableError,
)

if TYPE_CHECKING:
    from elastic_inference.client.link import Link

# A call that the accelerator dies of is not tried for ever.
_MAX_LOSSES = 3
# Connections that have been idle for long have each an old token.
_MAX_RENEWALS = 32
_FIRST_PAUSE = 0.01  # seconds
_LONGEST_PAUSE = 0.5


class Attempts:
    """Repairs after each failure of one call, as far as that makes sense.

    Attributes:
        generation: of the link when the latest attempt began.
    """

    def __init__(self, link: Link, reload: Callable[[], None] | None) -> None:
        self.generation = link.generation
        self._link = link
        self._reload = reload
        self._renewed = False
        self._renewals = 0
        self._losses = 0
        self._pause = _FIRST_PAUSE
        self._deadline = 0.0

    def failed(self, connection: Connection | None, error: BaseException) -> None:
        """Put right what went wrong, so that another attempt makes sense; else raise.

        Raises:
            ElasticInferenceError: another attempt makes none.
        """
        link = self._link
        if connection is not None:
            self.generation = connection.generation
        if isinstance(error, OSError | UnavailableError):
            self._lost(connection, error)
            return
        if isinstance(error, AuthenticationError) and self._may_renew(connection):
            self._renew(connection)
            return
        if connection is not None:
            self._put_back(connection)
        if isinstance(error, NotFoundError) and self._reload is not None:
            reload, self._reload = self._reload, None
            reload()
            return
        if isinstance(error, ElasticInferenceError):
            link.describe(error)
        raise error

    def _put_back(self, connection: Connection) -> None:
        if connection.usable:
            connection.usable = False
            self._link.give_back(connection)
        else:
            self._link.drop(connection)

    def _may_renew(self, connection: Connection | None) -> bool:
        """Whether the token that was refused is not one that was just got anew."""
        stale = connection is not None and connection.token != self._link.grant.token
        renewed, self._renewed = self._renewed, self._renewed or not stale
        self._renewals += 1
        return (stale or not renewed) and self._renewals <= _MAX_RENEWALS

    def _renew(self, connection: Connection | None) -> None:
        link = self._link
        try:
            if connection is None:
                link.renew_grant(link.grant.token)
            elif connection.usable:
                connection.usable = False
                link.renew(connection)
                link.give_back(connection)
                connection = None
            else:
                link.renew_grant(connection.token)
        except (OSError, UnavailableError) as error:
            # Who gives tokens is away for a moment: that is waited for as for an accelerator.
            self._lost(None, error)
        finally:
            if connection is not None:
                link.drop(connection)

    def _lost(self, connection: Connection | None, error: BaseException) -> None:
        link = self._link
        now = time.monotonic()
        if connection is not None:
            expired = time.perf_counter_ns() >= connection.deadline
            link.drop(connection)
            if expired:
                late = DeadlineExceededError(
                    "The accelerator did not answer in time.",
                    next_step="EI_TIMEOUT and EI_LOAD_TIMEOUT say how long to wait.",
                )
                raise link.describe(late) from error
        if not self._deadline:
            self._deadline = now + link.settings.recovery_timeout
        if connection is not None:
            if isinstance(error, UnavailableError) and not isinstance(error, AcceleratorLostError):
                self._wait(error)
            else:
                self._losses += 1
                if self._losses >= _MAX_LOSSES:
                    raise link.lost(error) from error
        link.attach_again(self.generation, self._deadline, error)

    def _wait(self, error: UnavailableError) -> None:
        """It is there and did nothing of the call: it ends or begins, which takes its time."""
        if time.monotonic() + self._pause >= self._deadline:
            raise self._link.describe(error)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
