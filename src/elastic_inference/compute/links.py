"""What joins an instance with its pool: its metadata service, and in a network of its own the
pool's endpoint there.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from elastic_inference.compute import network
from elastic_inference.compute.base import Place
from elastic_inference.compute.document import InstanceDocument
from elastic_inference.compute.metadata import ADDRESS, MetadataService
from elastic_inference.errors import ConfigurationError, UnavailableError
from elastic_inference.isolation import users

_log = logging.getLogger(__name__)

DocumentOf = Callable[[str], InstanceDocument | None]
OpenEndpoint = Callable[[socket.socket], Callable[[], None]]


class Links:
    """Makes places and joins them with the pool.

    Args:
        asked: the setting EI_INSTANCE_NETWORK.
        document_of, open_endpoint, endpoint: see `local.LocalCompute`.
        separation: whether instances have users of their own.
    """

    def __init__(
        self,
        asked: str,
        document_of: DocumentOf,
        open_endpoint: OpenEndpoint,
        endpoint: str,
        separation: users.Separation,
    ) -> None:
        self._asked = asked
        self._document_of = document_of
        self._open_endpoint = open_endpoint
        self._endpoint = endpoint
        self._separation = separation

    def new_place(self, instance_id: str, taken: set[int | None]) -> Place:
        """A place for a new instance, with none of the users `taken`.

        Raises:
            ConfigurationError: the settings ask for a namespace, and there can be none.
        """
        separation = self._separation
        why = separation.why_not or network.why_not()
        if self._asked == "namespace" and why:
            raise ConfigurationError(
                f"An instance cannot have a network namespace: {why}.",
                next_step="EI_INSTANCE_NETWORK=auto takes the machine's network then.",
            )
        uid = users.new_uid() if separation.possible else None
        while uid is not None and uid in taken:
            uid = users.new_uid()
        spaced = not why and self._asked != "host"
        name = network.name_of(instance_id) if spaced else None
        return Place(uid=uid, network=name, port=None, secret=secrets.token_hex(32))

    def join(
        self, instance_id: str, place: Place, root: Path, undo: contextlib.ExitStack
    ) -> tuple[MetadataService, Place]:
        """Serve its metadata, and inside a namespace its way to the pool.

        Args:
            root: the instance's directory, without which a namespace is an orphan.

        Returns:
            The service, and the place as it is now.

        Raises:
            UnavailableError: the system does not give what it needs.
        """
        if place.network is not None:
            try:
                network.make(place.network, self._addresses(), root)
                return self._join_inside(instance_id, place.network, place.secret, undo), place
            except UnavailableError as error:
                if self._asked == "namespace":
                    raise
                _log.warning("%s shares the machine's network: %s", instance_id, error.message)
                network.remove(place.network)
        try:
            metadata = MetadataService(
                lambda: self._document_of(instance_id), secret=place.secret, port=place.port or 0
            )
        except OSError as error:
            raise UnavailableError(
                f"Instance {instance_id} gets no metadata service: {error.strerror}.",
                next_step="See the limits of the machine that the pool runs on.",
            ) from error
        undo.callback(metadata.close)
        return metadata, replace(place, network=None, port=metadata.port)

    def _join_inside(
        self, instance_id: str, name: str, secret: str, undo: contextlib.ExitStack
    ) -> MetadataService:
        at_metadata, at_endpoint = network.listen(name, [(ADDRESS, 80), self._pool()])
        metadata = MetadataService(
            lambda: self._document_of(instance_id), secret=secret, listener=at_metadata
        )
        try:
            close_endpoint = self._open_endpoint(at_endpoint)
        except UnavailableError:
            metadata.close()
            raise
        undo.callback(close_endpoint)
        undo.callback(metadata.close)
        return metadata

    def _pool(self) -> tuple[str, int]:
        url = urlsplit(self._endpoint)
        return url.hostname or "127.0.0.1", url.port or 443

    def _addresses(self) -> list[str]:
        # The pool's own address exists inside too, so that its URL is the same everywhere.
        host = self._pool()[0]
        return [ADDRESS] if host in {"127.0.0.1", "::1"} else [ADDRESS, host]
