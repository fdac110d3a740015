"""An answer that is made while it is sent, so that its length is not known before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from elastic_inference.accelerator.channel import Channel, ConnectionClosedError


def send_pieces(
    channel: Channel,
    patience: float,
    head_of: Callable[[int | None], bytes],
    pieces: Iterator[bytes],
) -> int:
    """Send a head and the body that `pieces` make; how many bytes of body that were.

    A body of one piece has its length in the head. A longer one goes in chunks (RFC 9112,
    section 7.1), so that one piece at a time is all that is held of it.

    Args:
        patience: how many seconds the other end has for each piece.
        head_of: the head for a body of so many bytes; of None, for one in chunks.
        pieces: one or more, none of them empty.

    Raises:
        ConnectionClosedError: the rest of a body that was begun could not be made.
    """
    piece, following = next(pieces), next(pieces, None)
    channel.since = time.monotonic()
    channel.patience = patience
    if following is None:
        channel.send(head_of(len(piece)) + piece)
        return len(piece)
    size = 0
    lead = head_of(None)
    while following is not None:
        size += _send_chunk(channel, lead, piece)
        lead = b""
        piece = following
        try:
            following = next(pieces, None)
        except MemoryError as error:
            raise ConnectionClosedError from error
    size += _send_chunk(channel, lead, piece)
    channel.send(b"0\r\n\r\n")
    return size


def _send_chunk(channel: Channel, lead: bytes, piece: bytes) -> int:
    channel.since = time.monotonic()
    channel.send(b"%s%x\r\n" % (lead, len(piece)), (memoryview(piece), memoryview(b"\r\n")))
    return len(piece)
