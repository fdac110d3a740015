"""The client processes that are connected, and what belongs to each.

Connections that name the same client (`EI-Client`) share its memory regions and its leases.
When the last of them is gone, the regions go at once and the leases after a grace period.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from elastic_inference.accelerator.regions import ClientRegions, SystemRegions
from elastic_inference.errors import InvalidRequestError

_NAME = re.compile(rb"[0-9a-f]{32}")


@dataclass(slots=True)
class ClientSession:
    """One client process.

    Attributes:
        name: what it calls itself, bound to the instance whose token it showed.
        regions: the shared memory that its connections may name.
        connections: how many are open.
    """

    name: str
    regions: ClientRegions
    connections: int = 0


class Clients:
    """The sessions of one accelerator."""

    def __init__(
        self,
        system: SystemRegions,
        max_regions: int,
        came: Callable[[str], None],
        went: Callable[[str], None],
    ) -> None:
        self._system = system
        self._max_regions = max_regions
        self._came = came
        self._went = went
        self._lock = threading.Lock()
        self._sessions: dict[str, ClientSession] = {}

    def anonymous(self) -> ClientSession:
        """The session of one connection that names no client."""
        return ClientSession("", ClientRegions(self._system, self._max_regions))

    def join(self, name: bytes, instance_id: str) -> ClientSession:
        """The session that a connection names.

        Raises:
            InvalidRequestError: the name is not 32 hexadecimal digits.
        """
        if not _NAME.fullmatch(name):
            raise InvalidRequestError("EI-Client must be 32 hexadecimal digits.")
        key = f"{instance_id}/{name.decode()}"
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                session = ClientSession(key, ClientRegions(self._system, self._max_regions))
                self._sessions[key] = session
            session.connections += 1
            first = session.connections == 1
        if first:
            self._came(key)
        return session

    def leave(self, session: ClientSession) -> None:
        """One of the session's connections is gone."""
        if not session.name:
            return
        with self._lock:
            session.connections -= 1
            last = session.connections == 0
            if last:
                del self._sessions[session.name]
                session.regions.own.clear()
        if last:
            self._went(session.name)
