"""What a connection may do: the token it showed, and the client that it is of."""

from __future__ import annotations

import time

from elastic_inference.accelerator.channel import Channel
from elastic_inference.accelerator.clients import ClientSession
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.regions import CheckedRegions
from elastic_inference.protocol.inference import Regions
from elastic_inference.protocol.tokens import Claims, verify


class Grant:
    """The rights of one connection, which last until its token expires.

    Attributes:
        authorization: the Authorization that it follows from; b"" before there was one.
        claims: of the last token that was valid; None before there was one.
        expires: monotonic time at which it ends.
        session: the client process; an anonymous one until a request names it.
        regions: the shared memory that the connection's requests may name.
    """

    __slots__ = (
        "_plane", "_trusted", "authorization", "claims", "expires", "regions", "session",
    )  # fmt: skip

    def __init__(self, channel: Channel, plane: DataPlane) -> None:
        self._plane = plane
        self.authorization = b""
        self.claims: Claims | None = None
        self.expires = 0.0
        self.session: ClientSession = plane.clients.anonymous()
        # Who is not seen to be on this host shares no memory with it. Who is of another user
        # shares what it passes itself: the names of segments are those of this user's.
        self._trusted = channel.is_unix and channel.is_local
        self.regions: Regions = self.session.regions
        if not self._trusted:
            self.regions = CheckedRegions(
                lambda: self.session.regions, lambda: channel.is_local, passed=channel.is_unix
            )

    def show(self, authorization: bytes) -> None:
        """Take the value of an Authorization field for this request and later ones.

        Raises:
            AuthenticationError: it is no valid token, or its right was withdrawn; an earlier one
                goes on to hold.
        """
        if authorization == self.authorization:
            return
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise self._plane.unauthenticated("the Authorization is not a bearer token")
        now = time.time()
        claims = verify(self._plane.token_key, token.strip(), self._plane.id, now)
        before = None if self.claims is None else self.claims.right
        expires = time.monotonic() + claims.expires - now
        if not self._plane.rights.take(self, claims.right, expires, before=before):
            raise self._plane.withdrawn()
        self.claims = claims
        self.authorization = authorization

    def check(self, client: bytes | None) -> None:
        """Whether a request may be served now; `client` is who it says it comes from.

        Raises:
            AuthenticationError: no token was shown, it has expired, or its right was withdrawn.
            InvalidRequestError: the client's name is malformed.
        """
        if self.claims is None:
            raise self._plane.unauthenticated("the request has no token")
        if time.monotonic() >= self.expires:
            if self._plane.rights.is_withdrawn(self.claims.right):
                raise self._plane.withdrawn()
            raise self._plane.unauthenticated("the token has expired")
        if client is not None and not self.session.name:
            self.session = self._plane.clients.join(client, self.claims.instance_id)
            if self._trusted:
                self.regions = self.session.regions

    def leave(self) -> None:
        """The connection is gone."""
        if self.claims is not None:
            self._plane.rights.leave(self, self.claims.right)
        self._plane.clients.leave(self.session)
