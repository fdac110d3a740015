"""Many connections and few threads.

A thread for each connection is fastest while there are about as many of them as processors: it
waits in the very system call that its next request ends. With more of them the threads wake each
other only to wait for the interpreter's lock, which takes several times the work itself. So the
connections of a crowd wait for their requests together; whoever serves one looks for the next.

A connection that keeps its thread waiting amid a request goes on alone, in a thread of its own.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from elastic_inference.accelerator.connection import Connection
from elastic_inference.accelerator.crew import Crew, Sentinel

if TYPE_CHECKING:
    from elastic_inference.accelerator.server import Served

log = logging.getLogger(__name__)

_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_AT_ONCE = 4
# Who takes longer than this, beyond what the engine does, holds others up.
_PATIENCE = 0.1


class Crowd:
    """Serves connections whose next request has not come yet.

    Attributes:
        crew: its threads.
    """

    def __init__(
        self,
        sentinel: Sentinel,
        most: int,
        *,
        started: Callable[[], None],
        ended: Callable[[], None],
        alone: Callable[[Served, Connection], bool],
        gone: Callable[[Served], None],
    ) -> None:
        """
        Args:
            most: how many requests may be served at one time.
            started, ended: called by each thread.
            alone: gives a connection a thread of its own, if there is one.
            gone: told when a connection has ended.
        """
        self._epoll = select.epoll()
        self._jobs: dict[int, Callable[[], None]] = {}
        self._alone = alone
        self._gone = gone
        self._started = started
        self.crew = Crew(self._read, sentinel, most, started=started, ended=ended, closed=_nothing)
        threading.Thread(target=self._work, name="crowd", daemon=True).start()

    def join(self, served: Served, connection: Connection) -> None:
        """Serve `connection` from now on, of which nothing waits to be read.

        Raises:
            OSError: the host has no room for it.
        """
        number = connection.channel.sock.fileno()
        self._jobs[number] = partial(self._serve, served, connection, number)
        self._epoll.register(number, _EVENTS)

    def _work(self) -> None:
        self._started()
        self.crew.work()

    def _read(self) -> None:
        for number, _ in self._epoll.poll(-1, _AT_ONCE):
            self.crew.add(self._jobs[number])

    def _serve(self, served: Served, connection: Connection, number: int) -> None:
        began = time.monotonic()
        if not connection.serve_ready():
            del self._jobs[number]
            connection.end()
            self._gone(served)
            return
        if time.monotonic() - began - connection.computed > _PATIENCE:
            self._epoll.unregister(number)
            del self._jobs[number]
            if not self._alone(served, connection):
                self.join(served, connection)
        else:
            self._epoll.modify(number, _EVENTS)


def _nothing() -> None:
    pass
