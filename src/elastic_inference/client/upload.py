"""Uploads by content hash: what is stored is not sent, what was cut off goes on."""

from __future__ import annotations

import time
from typing import Any

from elastic_inference.client.http import json_of, object_of
from elastic_inference.client.link import Link
from elastic_inference.client.progress import Progress
from elastic_inference.client.source import Blob, ModelFiles
from elastic_inference.errors import ConflictError, InternalError
from elastic_inference.protocol.content_range import format_content_range

# What arrived of a part that is cut off stays stored: it need not be small.
_PART = 32 * 1024 * 1024
# Between two looks at what another client has uploaded of the same file.
_PAUSE = 0.05


def upload(link: Link, model: ModelFiles) -> None:
    """Bring all files of `model` to the accelerator's store.

    Raises:
        InvalidRequestError: a file changed while it was read.
        ElasticInferenceError: what the accelerator answered.
    """
    for name, blob in model.files.items():
        _upload_blob(link, name, blob)


def _upload_blob(link: Link, name: str, blob: Blob) -> None:
    path = f"/v2/elastic-inference/blobs/{blob.sha256}"
    status = object_of(link.request("GET", path))
    progress = Progress(f"Uploading {name}", blob.size, _offset(status))
    patience = time.monotonic() + link.settings.load_timeout
    while not status.get("complete"):
        offset = _offset(status)
        # Where all of it is stored, by one who ended before it was checked, an empty part does.
        size = max(0, min(_PART, blob.size - offset))
        try:
            status = _put(link, path, blob, offset, size)
            if not status.get("complete") and _offset(status) <= offset:
                raise InternalError(f"The store does not take {name} as it is.")
        except ConflictError:
            # Another client is at it; the file is complete when either is done.
            status = object_of(link.request("GET", path))
            if _offset(status) != offset:
                patience = time.monotonic() + link.settings.load_timeout
            elif time.monotonic() > patience:
                raise
            else:
                time.sleep(_PAUSE)
        progress.show(blob.size if status.get("complete") else _offset(status))


def _put(link: Link, path: str, blob: Blob, offset: int, size: int) -> dict[str, Any]:
    fields = f"Content-Range: {format_content_range(offset, size, blob.size)}\r\n"
    raw = link.call(
        lambda connection: connection.put(path, size, blob.read(offset, size), fields),
        timeout_ns=int(link.settings.load_timeout * 1e9),
    )
    status = object_of(json_of(raw))
    return status if "offset" in status else {**status, "offset": offset + size}


def _offset(status: dict[str, Any]) -> int:
    offset = status.get("offset", 0)
    return offset if type(offset) is int and offset >= 0 else 0
