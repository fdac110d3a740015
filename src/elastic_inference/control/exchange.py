"""Credentials of a role for those whom AWS knows."""

from __future__ import annotations

import re

from elastic_inference.control.aws_identity import MAX_URL, CallerIdentity, matches, verify
from elastic_inference.control.caller import long_text
from elastic_inference.control.documents import Document
from elastic_inference.control.instance_documents import credentials
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ACCOUNT, IdentityMapping
from elastic_inference.errors import AccessDeniedError, InvalidRequestError

_LIFETIME = 3600.0
_ODD = re.compile(r"[^A-Za-z0-9+=,.@_-]")


def exchange(plane: ControlPlane, document: Document) -> Document:
    """What ExchangeIdentity answers: credentials of the role that an AWS identity has here.

    Raises:
        AuthenticationError: AWS does not say who it is.
        AccessDeniedError: that identity has no role here.
        UnavailableError: AWS cannot be asked.
    """
    url, headers = long_text(document, "url", MAX_URL), document.get("headers")
    if not url or not isinstance(headers, dict):
        raise InvalidRequestError(
            "url and headers of a presigned sts:GetCallerIdentity are missing."
        )
    mappings = plane.store.mappings.where(plane.store.mappings.columns.account == ACCOUNT)
    if not mappings:
        # Nobody is to make the pool call somewhere for nothing.
        raise AccessDeniedError(
            "No AWS identity has a role here.",
            next_step="Give one a role (ei access aws allow ARN ROLE).",
        )
    texts = {str(name): str(value) for name, value in headers.items()}
    identity = verify(
        url, texts, plane.pool_id, endpoint=plane.settings.sts_endpoint, now=plane.clock.time()
    )
    mapping = _mapping(mappings, identity)
    if mapping is None:
        raise AccessDeniedError(
            f"{identity.arn} has no role here.",
            next_step="Give it one (ei access aws allow ARN ROLE).",
        )
    session = _ODD.sub("-", identity.arn.rpartition("/")[2] or identity.account)[:64]
    key = plane.access.add_session(ACCOUNT, mapping.role_name, session, _LIFETIME)
    return {"credentials": credentials(key), "roleName": mapping.role_name, "awsArn": identity.arn}


def _mapping(mappings: list[IdentityMapping], identity: CallerIdentity) -> IdentityMapping | None:
    found = [each for each in mappings if matches(each.aws_arn, identity.arn)]
    # The one that says most.
    return max(found, key=lambda each: (len(each.aws_arn), each.aws_arn), default=None)
