"""What this machine keeps for an instance whose command it runs as the user's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elastic_inference.compute.document import InstanceDocument
from elastic_inference.control.instance_client import instance_document
from elastic_inference.errors import UnavailableError

Document = dict[str, Any]
Call = Callable[[str, Document], Document]
_PREFIX = "ei-run-"
# A directory younger than this may be one whose owner has not locked it yet.
_YOUNG = 60.0
# A client asks its metadata service several things at once.
_FRESH = 1.0


class LastKnown:
    """What an instance is told of itself now, or was lately where the pool is away."""

    def __init__(self, call: Call, instance_id: str) -> None:
        self._call = call
        self._instance_id = instance_id
        self._known: InstanceDocument | None = None
        self._asked_at = 0.0
        self._asking = threading.Lock()

    def __call__(self) -> InstanceDocument | None:
        with self._asking:
            now = time.monotonic()
            if self._known is None or now - self._asked_at > _FRESH:
                with contextlib.suppress(UnavailableError):
                    answer = self._call("GetInstanceDocument", {"instanceId": self._instance_id})
                    self._known = instance_document(answer)
                self._asked_at = now
            return self._known


def private_directory(undo: contextlib.ExitStack) -> Path:
    """A new directory for this run, removed with it, or by a later run if this one is killed."""
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    undo.callback(shutil.rmtree, directory, ignore_errors=True)
    descriptor = os.open(directory / "owner", os.O_RDWR | os.O_CREAT, 0o600)
    undo.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return directory


def _sweep() -> None:
    for directory in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            status = directory.lstat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG:
                continue
            descriptor = os.open(directory / "owner", os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)
