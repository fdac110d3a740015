"""A registered host's agent: its metadata service and its heartbeat, in one small process."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from elastic_inference.agent import link_local as link_local_address
from elastic_inference.agent.identity import Identity
from elastic_inference.agent.live import LiveDocument
from elastic_inference.compute.metadata import MetadataService
from elastic_inference.control.client import ControlClient

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TIMEOUT = 5.0


def serve(
    identity: Identity, home: Path, *, link_local: bool, ready: Callable[[Identity], None]
) -> bool:
    """Be that instance until a signal ends it, or the pool does; whether it was a signal.

    Args:
        link_local: answer at 169.254.169.254 too.
        ready: called once metadata is served, with the identity as it is now.

    Raises:
        ConfigurationError: 169.254.169.254 cannot be had.
    """
    with contextlib.ExitStack() as undo:
        wake = _Wake()
        pool = ControlClient(identity.pointer, _TIMEOUT)
        document = LiveDocument(lambda: pool.call("GetInstanceDocument", {}), wake.end)
        undo.callback(document.close)
        metadata = MetadataService(
            document.get, secret=identity.metadata_secret, port=identity.metadata_port
        )
        undo.callback(metadata.close)
        if link_local:
            listener = undo.enter_context(link_local_address.listener())
            undo.callback(MetadataService(document.get, listener=listener).close)
        document.start()
        if not wake.ended:
            identity = dataclasses.replace(identity, metadata_url=metadata.url)
            identity.save(home)
            ready(identity)
        wake.wait()
        return not wake.ended


class _Wake:
    """What the main thread waits for: a signal, whichever thread it came to, or the end.

    The pipe stays open, since the heartbeat may speak up until the process is gone.

    Attributes:
        ended: the instance is no more.
    """

    def __init__(self) -> None:
        self.ended = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _ENDS:
            # What the caller ignores (nohup, a job in the background) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)

    def end(self) -> None:
        self.ended = True
        os.write(self._write, b"\0")

    def wait(self) -> None:
        select.select([self._read], [], [])
