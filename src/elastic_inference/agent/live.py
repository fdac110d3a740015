"""This host's document, as new as the pool lets it be."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from elastic_inference.compute.document import InstanceDocument
from elastic_inference.control.instance_client import instance_document
from elastic_inference.errors import (
    AuthenticationError,
    ElasticInferenceError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.protocol.sigv4 import UNKNOWN_KEY

_log = logging.getLogger(__name__)
# What is older is asked for anew by who wants to see it: an accelerator may have been attached.
_FRESH = 1.0
# Clients of a metadata service do not wait long for it.
_PATIENCE = 0.5
_USUAL = 10.0
_LONGEST = 300.0
_ENDED = ("shutting-down", "terminated")

Fetch = Callable[[], dict[str, Any]]


class LiveDocument:
    """Asks for the document again and again, which is the host's heartbeat too.

    Where the pool is away, what it said last is what there is.

    Args:
        fetch: what GetInstanceDocument answers; raises as `ControlClient.call`.
        ended: called once the pool says that the instance is no more.
    """

    def __init__(self, fetch: Fetch, ended: Callable[[], None]) -> None:
        self._fetch = fetch
        self._ended = ended
        self._changed = threading.Condition()
        self._known: InstanceDocument | None = None
        self._state = ""
        self._pause = _USUAL
        self._asked_at = float("-inf")
        self._answers = 0
        self._away = False
        self._wanted = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Ask for the first time, and from now on; when it returns the pool has answered or not."""
        if self._ask():
            self._thread.start()

    def close(self) -> None:
        """Ask no more. A question that is under way ends by itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def get(self) -> InstanceDocument | None:
        """What the host is told of itself; None where the pool was never there to say it."""
        with self._changed:
            if time.monotonic() - self._asked_at > _FRESH and not self._away:
                before = self._answers
                self._wanted = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._answers != before, _PATIENCE)
            return self._known

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed, self._pause)
                if self._closed:
                    return
            if not self._ask():
                return

    def _ask(self) -> bool:
        """Ask once; whether there is anything left to ask for."""
        try:
            answer = self._fetch()
            state = str(answer["state"])
            if state in _ENDED:
                return self._end()
            document = instance_document(answer)
            pause = min(max(float(answer["refreshSeconds"]), 1.0), _LONGEST)
        except (KeyError, TypeError, ValueError) as error:
            self._miss(UnavailableError(f"The pool's answer cannot be read: {error!r}."))
        except ElasticInferenceError as error:
            unknown = isinstance(error, AuthenticationError) and UNKNOWN_KEY in error.message
            if unknown or isinstance(error, NotFoundError):
                return self._end()
            self._miss(error)
        else:
            self._take(document, state, pause)
        return True

    def _miss(self, error: ElasticInferenceError) -> None:
        with self._changed:
            was_away, self._away = self._away, True
            self._done()
        if not was_away:
            _log.warning("%s What it said last is served until it answers again.", error.message)

    def _take(self, document: InstanceDocument, state: str, pause: float) -> None:
        with self._changed:
            was_away, self._away = self._away, False
            before, self._state = self._state, state
            self._known, self._pause = document, pause
            self._done()
        if was_away:
            _log.info("The pool answers again.")
        if before not in {"", state}:
            _log.info("This instance is %s now.", state)

    def _end(self) -> bool:
        with self._changed:
            # Nobody shall wait for more.
            self._known, self._away = None, True
            self._done()
        self._ended()
        return False

    def _done(self) -> None:
        self._wanted = False
        self._answers += 1
        self._asked_at = time.monotonic()
        self._changed.notify_all()
