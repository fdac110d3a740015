"""Data-plane tokens: who may use one accelerator, until when.

A token is `ei1.<claims>.<mac>`, both parts base64url without padding. The claims are JSON;
the MAC is HMAC-SHA256 over the first two parts under the accelerator's own key, which only
the control plane and that accelerator's process hold. So no accelerator can mint a token for
another, and nothing has to be looked up to check one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

from elastic_inference.errors import AuthenticationError

KEY_BYTES = 32
MAX_TOKEN = 1024
_PREFIX = b"ei1"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Attributes:
        accelerator_id: the one accelerator it opens.
        instance_id: who asked for it.
        account: whose uploads and caches it reaches.
        expires: Unix time in seconds.
        right: id of the connection right that it was given for; "" for the control plane's own.
    """

    accelerator_id: str
    instance_id: str
    account: str
    expires: float
    right: str = ""


def mint(key: bytes, claims: Claims) -> str:
    """A token for `claims` under the accelerator's `key` (32 bytes)."""
    fields: dict[str, str | float] = {
        "acc": claims.accelerator_id,
        "ins": claims.instance_id,
        "own": claims.account,
        "exp": claims.expires,
    }
    if claims.right:
        fields["rgt"] = claims.right
    body = json.dumps(fields, separators=(",", ":")).encode()
    signed = _PREFIX + b"." + _encode(body)
    return (signed + b"." + _encode(_mac(key, signed))).decode()


def verify(key: bytes, token: bytes, accelerator_id: str, now: float) -> Claims:
    """The claims of `token`.

    Args:
        now: Unix time in seconds.

    Raises:
        AuthenticationError: malformed, signed by another key, for another accelerator, expired.
    """
    if len(token) > MAX_TOKEN or token.count(b".") != 2:
        raise refused("the token is malformed", accelerator_id)
    signed, _, mac = token.rpartition(b".")
    prefix, _, body = signed.partition(b".")
    if prefix != _PREFIX:
        raise refused("the token is malformed", accelerator_id)
    if not hmac.compare_digest(_encode(_mac(key, signed)), mac):
        raise refused("the token is not valid for this accelerator", accelerator_id)
    try:
        fields = json.loads(_decode(body))
        claims = Claims(
            str(fields["acc"]),
            str(fields["ins"]),
            str(fields["own"]),
            float(fields["exp"]),
            str(fields.get("rgt", "")),
        )
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise refused("the token is malformed", accelerator_id) from error
    if claims.accelerator_id != accelerator_id:
        raise refused("the token is for another accelerator", accelerator_id)
    if claims.expires <= now:
        raise refused("the token has expired", accelerator_id)
    return claims


def refused(why: str, accelerator_id: str, next_step: str = "") -> AuthenticationError:
    """The error of who shows no token that opens this accelerator."""
    return AuthenticationError(
        f"Unable to authenticate with accelerator: {why}.",
        next_step=next_step
        or f"Send Authorization: Bearer TOKEN, with one from ei token {accelerator_id}.",
    )


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
