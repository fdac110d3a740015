"""Where an accelerator is and by what right it is used."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from elastic_inference.client.discovery import Credentials
from elastic_inference.errors import (
    AccessDeniedError,
    ConfigurationError,
    ElasticInferenceError,
    UnavailableError,
    from_dict,
)
from elastic_inference.protocol.host import boot_id
from elastic_inference.protocol.sigv4 import sign
from elastic_inference.settings import ClientSettings

_TARGET = "ElasticInferenceControl_20261101.Connect"
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """How to reach an accelerator's data plane: over TCP, over a Unix socket, or either.

    Attributes:
        host, port: the TCP address; "" where there is none.
        tls: encrypt TCP. Without it, only for benchmarks on loopback.
        server_name: the TLS server name, which the certificate must have.
        ca: PEM file of the authorities to trust; "" for the system's.
        socket_path: the Unix socket; "" where there is none.
        socket_owner: the uid that the socket is of, if not this user's; None: it must be.
    """

    host: str = ""
    port: int = 0
    tls: bool = True
    server_name: str = ""
    ca: str = ""
    socket_path: str = ""
    socket_owner: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The right to use one accelerator for a while.

    Attributes:
        accelerator_id, accelerator_type: which; "" where only the accelerator knows.
        address: where it is.
        token: opens its data plane.
    """

    accelerator_id: str
    accelerator_type: str
    address: Address
    token: str


class Locator(Protocol):
    """Finds an accelerator, again whenever it was lost."""

    def grant(self) -> Grant:
        """A fresh grant.

        Raises:
            UnavailableError: nobody answers now; later may work.
            ElasticInferenceError: asking again will not help.
        """


@dataclass(frozen=True, slots=True)
class FixedLocator:
    """An address and a token that the caller knows."""

    fixed: Grant

    def grant(self) -> Grant:
        return self.fixed


@dataclass(frozen=True, slots=True)
class EndpointLocator:
    """Asks the pool's endpoint, with the instance's credentials (operation Connect).

    Attributes:
        credentials: gives those that are valid now: they change while a process lives.
    """

    accelerator_id: str
    credentials: Callable[[], Credentials]
    settings: ClientSettings

    def grant(self) -> Grant:
        answer = self._connect()
        try:
            return self._parse(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(
                f"The endpoint's answer cannot be read: {error!r}.",
                next_step=f"Check that {self.settings.endpoint} is a pool's endpoint.",
            ) from error

    def _connect(self) -> dict[str, Any]:
        url = self.settings.endpoint
        body = json.dumps({"acceleratorId": self.accelerator_id}).encode()
        credentials = self.credentials()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": _TARGET,
            # Each of these requests is taken once.
            "X-Amz-Ei-Nonce": secrets.token_urlsafe(24),
        }
        if credentials.session_token:
            headers["X-Amz-Security-Token"] = credentials.session_token
        headers = sign(
            "POST",
            url.rstrip("/") + "/",
            headers,
            body,
            credentials.access_key_id,
            credentials.secret_access_key,
        )
        try:
            connection = _Connection(self.settings)
            try:
                connection.request("POST", "/", body, headers)
                response = connection.getresponse()
                raw = response.read(_MAX_ANSWER)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"Cannot reach the endpoint {url}: {error}.",
                next_step="Check that the pool runs (ei up) and that its port is open.",
            ) from error
        return _answer_of(response.status, raw)

    def _parse(self, answer: dict[str, Any]) -> Grant:
        endpoint = urlsplit(self.settings.endpoint)
        # An address under which the pool does not know itself is not one that it could tell.
        told = {} if self.settings.endpoint_name else answer
        path, owner = _local_socket(answer.get("local"))
        return Grant(
            accelerator_id=str(answer["acceleratorId"]),
            accelerator_type=str(answer["acceleratorType"]),
            token=str(answer["token"]),
            address=Address(
                host=str(told.get("host") or endpoint.hostname),
                port=int(told.get("port") or endpoint.port or 443),
                server_name=str(answer["serverName"]),
                ca=self.settings.ca_bundle,
                socket_path=path,
                socket_owner=owner,
            ),
        )


class _Connection(http.client.HTTPSConnection):
    """One to the endpoint, which may have another name in TLS than in its URL."""

    def __init__(self, settings: ClientSettings) -> None:
        parts = urlsplit(settings.endpoint)
        self._tls = tls_context(settings.ca_bundle)
        super().__init__(
            parts.hostname or "", parts.port, timeout=settings.connect_timeout, context=self._tls
        )
        self._name = settings.endpoint_name or parts.hostname

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _answer_of(status: int, raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise UnavailableError(f"The endpoint's answer ({status}) is not a JSON object.")
    if status == 200:
        return answer
    if "error" not in answer:
        answer["error"] = answer.get("message", "")
    fallback: type[ElasticInferenceError] = UnavailableError
    if status < 500:
        fallback = AccessDeniedError if status == 403 else ConfigurationError
    raise from_dict(answer, fallback)


def _local_socket(local: Any) -> tuple[str, int | None]:
    """The accelerator's Unix socket and its owner, where this process runs on its host.

    The pool, which was authenticated, says of which user the accelerator is.
    """
    if not isinstance(local, dict) or not local.get("bootId"):
        return "", None
    path = str(local.get("socket", ""))
    owner = None if local.get("uid") is None else int(local["uid"])
    same_host = boot_id() == str(local["bootId"]).strip()
    if same_host and (owned_socket(path, owner) or _is_due(path, owner)):
        return path, owner
    return "", None


def _is_due(path: str, owner: int | None) -> bool:
    """Whether `path` is where a socket will be again: its accelerator is being started."""
    try:
        directory = os.path.dirname(path)  # noqa: PTH120 - text
        return not os.path.lexists(path) and owned_directory(directory, owner)
    except ValueError:
        return False


def owned_directory(path: str, owner: int | None = None) -> bool:
    """Whether `path` is a directory of this user, or of `owner`."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path that may be ""
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (os.geteuid(), owner)


def owned_socket(path: str, owner: int | None = None) -> bool:
    """Whether `path` is a socket of this user, or of `owner`: to another's no token is sent."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path that may be ""
    except (OSError, ValueError):
        return False
    return stat.S_ISSOCK(status.st_mode) and status.st_uid in (os.geteuid(), owner)


@lru_cache(maxsize=8)
def tls_context(ca: str) -> ssl.SSLContext:
    """A TLS 1.3 client context that trusts the authorities in `ca` ("": the system's).

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"Cannot read the certificate authorities in {ca!r}: {error}.",
            next_step="AWS_CA_BUNDLE must name a PEM file.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
