"""What an accelerator noted of its life, as those read it who did not start the process."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from elastic_inference.accelerator.heartbeat import FILE_NAME, RECORD_LENGTH, parse


def last_beat(directory: Path, boot_id: str) -> float | None:
    """When the accelerator of `directory` last noted that it lives; None if that is not known.

    Args:
        boot_id: of this boot; what was noted in another says nothing.

    Returns:
        CLOCK_MONOTONIC in seconds; never in the future, whatever the accelerator says.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(directory / FILE_NAME, flags)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        record = parse(os.read(descriptor, RECORD_LENGTH))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if record is None or not boot_id or record.boot_id != boot_id:
        return None
    return min(record.seconds, time.monotonic())
