"""How a host joins a pool: by a join token, with no other secret and no file copied."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import http.client
import json
import os
import platform
import re
import secrets
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from elastic_inference.agent.identity import Identity, directory, write_private
from elastic_inference.control.client import ControlClient
from elastic_inference.control.names import POOL_NAME
from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import AuthenticationError, InvalidRequestError, UnavailableError
from elastic_inference.protocol.host import boot_id

_PREFIX = "eij1."
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----", re.ASCII
)
_MAX_CERTIFICATE = 1 << 16
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a join token says: its secret, and SHA-256 of the pool's authority in hex."""

    secret: str = field(repr=False)
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read one.

        Raises:
            InvalidRequestError: it is none.
        """
        encoded = text.strip().removeprefix(_PREFIX)
        try:
            if encoded == text.strip():
                raise ValueError
            padded = encoded + "=" * (-len(encoded) % 4)
            document = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
            found = cls(document["s"], document["f"])
            if not (found.secret and _FINGERPRINT.fullmatch(found.fingerprint)):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidRequestError(
                "That is no join token.",
                next_step="Copy all of what ei join-token printed, from eij1. on.",
            ) from None
        return found


def normal_endpoint(text: str) -> str:
    """An endpoint as `https://HOST:PORT`, with or without https:// and port given.

    Raises:
        InvalidRequestError: it is no such address.
    """
    parts = urlsplit(text if "://" in text else f"https://{text}")
    try:
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host, port = None, 0
    if parts.scheme != "https" or not host or parts.path.strip("/") or parts.query:
        raise InvalidRequestError(
            f"{text[:80]!r} is no endpoint of a pool.",
            next_step="Give it as ei join-token printed it: https://HOST:PORT.",
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def authority(endpoint: str, fingerprint: str) -> str:
    """PEM of the authority with that fingerprint, asked of who answers at `endpoint`.

    Nothing but the question for it is said to whoever that is.

    Raises:
        UnavailableError: nobody answers there, or no pool.
        AuthenticationError: it has another authority.
    """
    raw = _ask(endpoint)
    found = _CERTIFICATE.search(raw.decode("ascii", "replace").replace("\r\n", "\n"))
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0]) if found else b""
    except ValueError:
        der = b""
    if not der:
        raise UnavailableError(
            f"What answers at {endpoint} is no pool.", next_step="Check the address."
        )
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), fingerprint):
        raise AuthenticationError(
            f"What answers at {endpoint} is not the pool that the join token is of: its authority"
            " has another fingerprint. Nothing was sent to it.",
            next_step="Check the address, and who answers there.",
        )
    # Written anew, so that nothing that came beside it is trusted.
    return ssl.DER_cert_to_PEM_cert(der)


def join(home: Path, endpoint: str, token: JoinToken, name: str, timeout: float) -> Identity:
    """Register this host; what it is from now on, also written to `home`.

    Args:
        timeout: seconds for the pool to start its accelerators.

    Raises:
        UnavailableError: no pool answers there.
        AuthenticationError: the pool is another one, or does not know the token.
        ElasticInferenceError: what the pool answers.
    """
    ca = directory(home) / "ca.pem"
    write_private(ca, authority(endpoint, token.fingerprint))
    pointer = Pointer(
        endpoint=endpoint,
        server_name=_name_at(endpoint, ca),
        ca=str(ca),
        access_key_id="",
        secret_access_key="",
    )
    answer = ControlClient(pointer, timeout).call(
        "RegisterHost", {"secret": token.secret, "name": name, "host": facts()}
    )
    try:
        identity = Identity(
            endpoint=endpoint,
            server_name=pointer.server_name,
            ca=str(ca),
            instance_id=answer["instanceId"],
            access_key_id=answer["credentials"]["accessKeyId"],
            secret_access_key=answer["credentials"]["secretAccessKey"],
            metadata_secret=secrets.token_hex(32),
        )
    except (KeyError, TypeError) as error:
        raise UnavailableError(
            f"The answer of {endpoint} cannot be read: {error!r}.",
            next_step="Use the same version of elastic-inference here and there.",
        ) from error
    identity.save(home)
    return identity


def moved(identity: Identity, endpoint: str) -> Identity:
    """The same host, where its pool has another address by now; its authority shows that."""
    name = _name_at(endpoint, Path(identity.ca))
    return dataclasses.replace(identity, endpoint=endpoint, server_name=name)


def facts() -> dict[str, Any]:
    """What this host says of itself."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "hostname": socket.gethostname()[:128],
        "boot_id": boot_id(),
        "cores": os.cpu_count() or 0,
        "memory_mib": pages >> 20,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}"[:128],
    }


def _ask(endpoint: str) -> bytes:
    parts = urlsplit(endpoint)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Whoever answers, what it answers is known by its fingerprint.
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection((parts.hostname or "", parts.port or 443), _TIMEOUT)
        with plain, context.wrap_socket(plain, server_hostname=POOL_NAME) as encrypted:
            connection = http.client.HTTPConnection(POOL_NAME)
            connection.sock = encrypted
            connection.request("GET", "/ca.pem", headers={"Connection": "close"})
            response = connection.getresponse()
            return response.read(_MAX_CERTIFICATE) if response.status == http.client.OK else b""
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(
            f"No pool answers at {endpoint}: {error}.",
            next_step="Check the address, that the pool runs there (ei up --listen HOST:PORT), and"
            " that its port is open.",
        ) from error


def _name_at(endpoint: str, ca: Path) -> str:
    """The name by which the pool's certificate is valid: its address, else its own name.

    An address that the pool does not know as its own (of a router, of a name server) is none.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    context = ssl.create_default_context(cafile=str(ca))
    try:
        plain = socket.create_connection((host, parts.port or 443), _TIMEOUT)
        with plain, context.wrap_socket(plain, server_hostname=host):
            return host
    except OSError:
        # Whether anybody answers at all, and with which certificate, is seen by what follows.
        return POOL_NAME
