"""Settles instances that nobody waits for, a few at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from elastic_inference.errors import ElasticInferenceError

_log = logging.getLogger(__name__)
_WORKERS = 8


class Background:
    """Threads that begin with the first instance.

    Args:
        settle: does what is left to do for an instance.
        retry: is told of those for which that did not succeed.
    """

    def __init__(self, settle: Callable[[str], object], retry: Callable[[str], None]) -> None:
        self._settle = settle
        self._retry = retry
        self._workers = ThreadPoolExecutor(_WORKERS, "settle")

    def settle(self, instance_id: str) -> None:
        """Settle an instance soon. Its state says what to do, if this ends before."""
        try:
            self._workers.submit(self._run, instance_id)
        except RuntimeError:
            _log.info("%s is settled when the control plane is open again", instance_id)

    def close(self) -> None:
        """Finish what was begun and leave the rest; once or more."""
        self._workers.shutdown(cancel_futures=True)

    def _run(self, instance_id: str) -> None:
        try:
            self._settle(instance_id)
        except ElasticInferenceError as error:
            _log.warning("%s is not settled and will be tried again: %s", instance_id, error)
            self._retry(instance_id)
        except Exception:  # noqa: BLE001 - nobody else would try it again
            _log.exception("Settling %s failed and will be tried again", instance_id)
            self._retry(instance_id)
