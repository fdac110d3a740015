"""Operations by which other machines become instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from elastic_inference.control.caller import Caller, number, required, text
from elastic_inference.control.documents import Document
from elastic_inference.control.hosts import MAX_LIFETIME, Hosts
from elastic_inference.control.instance_operations import (
    check_pass,
    describe_attached,
    launch_fields,
)
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.reachable import elsewhere
from elastic_inference.errors import InvalidRequestError

_USUAL_LIFETIME = 3600.0


class HostOperations:
    """Join tokens and registration.

    Args:
        fingerprint: SHA-256 of the pool's authority, hex.
        listening_on: the IP address of the endpoint's listener.
    """

    def __init__(self, plane: ControlPlane, fingerprint: str, listening_on: str) -> None:
        self._plane = plane
        self._hosts = Hosts(plane, fingerprint)
        self._listening_on = listening_on
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "CreateJoinToken": self._create_token
        }
        self.unsigned: Mapping[str, Callable[[Document], Document]] = {
            "RegisterHost": self._register
        }

    def _create_token(self, document: Document, caller: Caller) -> Document:
        lifetime = number(document, "expiresIn", 1, MAX_LIFETIME) or _USUAL_LIFETIME
        launch = launch_fields(document)
        check_pass(self._plane, caller, launch["role_name"])
        token, expires = self._hosts.create_token(caller.account, lifetime, launch)
        host = elsewhere(self._listening_on, caller.host)
        host = f"[{host}]" if ":" in host else host
        return {
            "joinToken": token,
            "endpoint": f"https://{host}:{caller.port}",
            "expires": expires,
        }

    def _register(self, document: Document) -> Document:
        host = document.get("host") or {}
        if not isinstance(host, dict):
            raise InvalidRequestError("host must be what a host says of itself.")
        instance, accelerators, key = self._hosts.register(
            required(document, "secret"), text(document, "name") or "", host
        )
        return {
            "instanceId": instance.id,
            "accelerators": [describe_attached(each) for each in accelerators],
            "credentials": {"accessKeyId": key.id, "secretAccessKey": key.secret},
            "region": self._plane.settings.region,
        }
