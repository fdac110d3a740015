"""Hosts that register: join tokens, and the instances that come of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from elastic_inference.control import records
from elastic_inference.control.launch import LaunchRequest
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator, AccessKey, Instance, JoinToken
from elastic_inference.errors import AuthenticationError, InvalidRequestError

PREFIX = "eij1."
MAX_LIFETIME = 30 * 86400.0
_FIELDS = ("hostname", "boot_id", "system", "cores", "memory_mib")
_ENDED = (records.SHUTTING_DOWN, records.TERMINATED)
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,128}")


class Hosts:
    """Makes join tokens and takes hosts in."""

    def __init__(self, plane: ControlPlane, fingerprint: str) -> None:
        self._plane = plane
        self._fingerprint = fingerprint

    def create_token(
        self, account: str, lifetime: float, launch: Mapping[str, Any]
    ) -> tuple[str, float]:
        """A token that lets one host register, once, and when it expires (Unix time).

        Args:
            launch: fields of `LaunchRequest` for the host's instance.
        """
        plane = self._plane
        if not 1 <= lifetime <= MAX_LIFETIME:
            raise InvalidRequestError(
                f"A join token is valid for 1 s to {MAX_LIFETIME / 86400:.0f} days."
            )
        # What is wrong with the request is better told here than on the host.
        plane.check_launch(LaunchRequest(**launch, provider=records.HOST, account=account))
        secret = secrets.token_urlsafe(32)
        expires = plane.clock.time() + lifetime
        plane.store.join_tokens.add(
            JoinToken(
                id=_digest(secret),
                account=account,
                launch=dict(launch),
                expires_at=expires,
                instance_id=None,
            )
        )
        document = json.dumps({"s": secret, "f": self._fingerprint}, separators=(",", ":"))
        encoded = base64.urlsafe_b64encode(document.encode()).rstrip(b"=").decode()
        return PREFIX + encoded, expires

    def register(
        self, secret: str, name: str, host: Mapping[str, Any]
    ) -> tuple[Instance, list[Accelerator], AccessKey]:
        """The instance of a host that shows the secret of a join token, with its own key.

        A host that asks again, since it has not heard the answer, gets the same instance with
        another key. Once it was heard of with that key the token is used up.

        Raises:
            AuthenticationError: there is no such token, or it has expired or was used.
            ElasticInferenceError: what running an instance raises; the token is as it was.
        """
        plane = self._plane
        token = self._token(secret)
        facts = {key: host[key] for key in _FIELDS if key in host}
        _check(facts)
        client_token, known = self._attempt(token)
        if known is None and token.instance_id is not None:
            raise _refused("it was used, and what came of it has ended")
        name = name or token.launch.get("name", "")
        if known is not None:
            _check_same(known, facts)
            if not facts.get("boot_id"):
                # It cannot be told from another host.
                raise _refused(f"it was used, for {known.id}")
            name = known.name
        wanted = {**token.launch, "name": name or facts.get("hostname", "")}
        instance, accelerators, _ = plane.run_instance(
            **wanted,
            provider=records.HOST,
            account=token.account,
            client_token=client_token,
            host=facts,
        )
        with plane.store.transaction():
            # Two may have come at the same time.
            _check_same(plane.instance(instance.id), facts)
            key = self._give_key(token, instance)
        return instance, accelerators, key

    def _attempt(self, token: JoinToken) -> tuple[str, Instance | None]:
        """The client token of the first attempt that has not failed, and what came of it."""
        number = 0
        while True:
            client_token = f"join-{token.id[:32]}-{number}"
            made = self._plane.store.instance_by_token(token.account, client_token)
            if made is None or made.launched_at is not None or made.state not in _ENDED:
                return client_token, made
            number += 1

    def _give_key(self, token: JoinToken, instance: Instance) -> AccessKey:
        """In a transaction: the host's only key."""
        store = self._plane.store
        store.join_tokens.change(store.join_tokens.columns.id == token.id, instance_id=instance.id)
        store.keys.remove(
            store.keys.columns.instance_id == instance.id,
            store.keys.columns.kind == records.REGISTERED,
        )
        return self._plane.access.add_host_key(instance)

    def _token(self, secret: str) -> JoinToken:
        store = self._plane.store
        token = store.join_tokens.get(_digest(secret)) if _SECRET.fullmatch(secret) else None
        if token is None:
            raise _refused("it is not known here")
        if token.expires_at <= self._plane.clock.time():
            raise _refused("it has expired")
        return token


def _check_same(known: Instance, facts: Mapping[str, Any]) -> None:
    """Refuse who is not the host that an instance was made for and has yet to hear of it."""
    if known.state in _ENDED:
        raise _refused(f"it was used, and {known.id}, which came of it, has ended")
    if known.seen_at is not None or dict(known.host) != facts:
        raise _refused(f"it was used, for {known.id}")


def _check(facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        numbers = name in {"cores", "memory_mib"}
        fits = (
            isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
            if numbers
            else isinstance(value, str) and len(value) <= 128 and value.isprintable()
        )
        if not fits:
            raise InvalidRequestError(f"host.{name} is not what a host says of itself.")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused(why: str) -> AuthenticationError:
    return AuthenticationError(
        f"Unable to authenticate: the join token is not valid, since {why}.",
        next_step="Make a new one where the pool runs (ei join-token).",
    )
