"""The note by which an accelerator tells that it lives, to be read after its end too.

`alive`, in its directory, has one record of fixed length: the boot's id and CLOCK_MONOTONIC in
seconds, which is the same in every process of a boot and does not jump.
"""

from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.protocol.host import boot_id

log = logging.getLogger(__name__)

FILE_NAME = "alive"
RECORD_LENGTH = 64
_RECORD = re.compile(rb"([0-9a-f-]{36}) (\d{1,15}\.\d{3}) *\n")


@dataclass(frozen=True, slots=True)
class Beat:
    """A record.

    Attributes:
        seconds: CLOCK_MONOTONIC of that boot.
    """

    boot_id: str
    seconds: float


class Heart:
    """Writes the records of one process; a disk that refuses them is no reason to end."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._boot_id = boot_id()
        self._descriptor = -1
        self._complained = False

    def beat(self) -> None:
        """Note that the process lives now."""
        record = b"%s %.3f" % (self._boot_id.encode(), time.monotonic())
        try:
            if self._descriptor < 0:
                # What an earlier process noted stays until it is written over.
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._path, flags, 0o600)
            os.pwrite(self._descriptor, record.ljust(RECORD_LENGTH - 1) + b"\n", 0)
        except OSError as error:
            if not self._complained:
                log.warning("Cannot note that this accelerator lives: %s", error)
            self._complained = True


def parse(raw: bytes) -> Beat | None:
    """The record in `raw`; None if it is none."""
    match = _RECORD.fullmatch(raw)
    return None if match is None else Beat(match[1].decode(), float(match[2]))
