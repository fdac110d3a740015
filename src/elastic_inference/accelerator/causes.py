"""What to answer when a request fails, whatever was raised."""

from __future__ import annotations

import errno
import logging
from ssl import SSLError

from elastic_inference.accelerator.channel import ConnectionClosedError
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.engines.base import DeviceFailedError
from elastic_inference.errors import (
    ElasticInferenceError,
    InternalError,
    InvalidRequestError,
    UnavailableError,
)

log = logging.getLogger(__name__)

# What a host may lack, and a connection never.
_SHORTAGES = {
    errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EROFS,
}  # fmt: skip


def cause_of(error: Exception, plane: DataPlane) -> ElasticInferenceError:
    """The error to answer with.

    Raises:
        ConnectionClosedError, OSError: the connection itself is gone.
    """
    if isinstance(error, DeviceFailedError):
        plane.health.device_failed(error.message)
    if isinstance(error, ElasticInferenceError):
        return error
    if isinstance(error, MemoryError):
        return plane.out_of_memory()
    if isinstance(error, ConnectionClosedError | ConnectionError | TimeoutError | SSLError):
        raise error
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return UnavailableError(
            f"The accelerator's host is short of something: {error.strerror}.",
            next_step="Repeat the request later.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return InvalidRequestError("A name in the request is too long for a file's.")
    if isinstance(error, OSError) and error.filename is None:
        raise error
    log.error("A request failed by a defect", exc_info=error)
    return InternalError(f"Internal error: {error!r}.")
