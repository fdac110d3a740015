"""AWS Signature Version 4: signing a request and checking a signed one.

Only the header form is verified: no presigned URLs, which others verify, and no chunked bodies.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import posixpath
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote, unquote, urlsplit

from elastic_inference.errors import AuthenticationError

SERVICE = "elastic-inference"
# A pool has no regions; clients that need a name for one sign with this.
DEFAULT_REGION = "us-east-1"
# By these words a registered host tells that it was terminated.
UNKNOWN_KEY = "The access key is not known"
MAX_SKEW = 900.0
MAX_AUTHORIZATION = 4096
_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +"
    r"Credential=(?P<key>[A-Za-z0-9_-]{1,128})/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,64})"
    r"/(?P<service>[a-z0-9.-]{1,64})/aws4_request, *"
    r"SignedHeaders=(?P<headers>[a-z0-9;._-]{1,1024}), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
# Headers that proxies and HTTP libraries change, as in AWS's own clients.
_UNSIGNED = frozenset({"authorization", "connection", "expect", "user-agent", "transfer-encoding"})
_ONCE = frozenset({"authorization", "host", "x-amz-date", "x-amz-target", "content-length"})


class Fault(Enum):
    """What is wrong with a signature or its credentials."""

    MISSING = "missing"
    MALFORMED = "malformed"
    SCOPE = "scope"
    SKEW = "skew"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"
    MISMATCH = "mismatch"
    TOKEN = "token"  # noqa: S105 - a word
    INACTIVE = "inactive"
    EXPIRED = "expired"


class SignatureError(AuthenticationError):
    """A request is not signed as it must be."""

    fault = Fault.MALFORMED

    @classmethod
    def of(cls, fault: Fault, message: str, next_step: str) -> SignatureError:
        """The error of a fault."""
        made = cls(message, next_step=next_step)
        made.fault = fault
        return made


@dataclass(frozen=True, slots=True)
class _Scope:
    day: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    access_key: str,
    secret_key: str,
    region: str = DEFAULT_REGION,
    service: str = SERVICE,
    now: float | None = None,
) -> dict[str, str]:
    """The headers to send: `headers`, `Host`, `X-Amz-Date` and `Authorization`.

    Args:
        url: the absolute URL.
        now: Unix time in seconds; the clock's if None.
    """
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if now is None else now))
    signed = dict(headers)
    if not any(name.lower() == "host" for name in signed):
        signed["Host"] = _host(parts.scheme, parts.netloc)
    signed["X-Amz-Date"] = stamp
    scope = _Scope(stamp[:8], region, service)
    values = {
        name.lower(): value for name, value in signed.items() if name.lower() not in _UNSIGNED
    }
    names = sorted(values)
    canonical = _canonical_request(
        method, parts.path, parts.query, [(name, values[name]) for name in names], body
    )
    signature = _signature(secret_key, scope, stamp, canonical)
    signed["Authorization"] = (
        f"{_ALGORITHM} Credential={access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return signed


def presign(
    url: str,
    headers: Mapping[str, str],
    access_key: str,
    secret_key: str,
    session_token: str = "",
    *,
    region: str,
    service: str,
    expires: int,
    now: float | None = None,
) -> str:
    """The URL with a signature in its query, for a GET that sends `headers` with it.

    Args:
        url: the absolute URL, with no part of a signature in its query.
        expires: for how many seconds it shall be good.
        now: Unix time in seconds; the clock's if None.
    """
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if now is None else now))
    scope = _Scope(stamp[:8], region, service)
    values = {name.lower(): value for name, value in headers.items()}
    values.setdefault("host", _host(parts.scheme, parts.netloc))
    names = sorted(values)
    added = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    if session_token:
        added["X-Amz-Security-Token"] = session_token
    items = [f"{name}={quote(value, safe='-_.~')}" for name, value in added.items()]
    query = "&".join([*([parts.query] if parts.query else []), *items])
    canonical = _canonical_request(
        "GET", parts.path, query, [(name, values[name]) for name in names], b""
    )
    signature = _signature(secret_key, scope, stamp, canonical)
    return parts._replace(query=f"{query}&X-Amz-Signature={signature}").geturl()


def verify(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    secret_of: Callable[[str], str | None],
    *,
    service: str = SERVICE,
    regions: Collection[str] | None = None,
    now: float | None = None,
) -> str:
    """The access key that signed the request.

    Args:
        target: path and query as they stood in the request line.
        headers: every header field, repeated ones too.
        secret_of: the secret of an access key, None where there is no such key.
        regions: one of these must have been signed for; any if None.
        now: Unix time in seconds; the clock's if None.

    Raises:
        SignatureError: unsigned, malformed, unknown key, wrong secret, changed on the
            way, for another service or region, or more than 15 minutes off the clock.
    """
    fields = _fields(headers)
    text = ",".join(fields.get("authorization", []))
    if not text:
        raise _refused(
            Fault.MISSING, "The request is not signed", "Sign it with AWS Signature Version 4."
        )
    match = _AUTHORIZATION.fullmatch(text) if len(text) <= MAX_AUTHORIZATION else None
    if match is None:
        raise _refused(
            Fault.MALFORMED,
            "The Authorization header is malformed",
            "Sign with Signature Version 4.",
        )
    scope = _Scope(match["day"], match["region"], match["service"])
    stamp = ",".join(fields.get("x-amz-date", []))
    _check_scope(scope, stamp, service, regions, time.time() if now is None else now)
    names = match["headers"].split(";")
    _check_signed(names, fields)
    secret = secret_of(match["key"])
    if secret is None:
        raise _refused(Fault.UNKNOWN_KEY, UNKNOWN_KEY, "Use credentials of this pool.")
    path, _, query = target.partition("?")
    canonical = _canonical_request(
        method, path, query, [(name, ",".join(fields[name])) for name in names], body
    )
    expected = _signature(secret, scope, stamp, canonical)
    if not hmac.compare_digest(expected, match["signature"]):
        raise _refused(
            Fault.MISMATCH,
            "The signature does not match",
            "Check the secret key, and that no proxy changes requests.",
        )
    return match["key"]


def _fields(headers: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        values = fields.setdefault(name.lower(), [])
        values.append(value)
        if len(values) > 1 and name.lower() in _ONCE:
            raise _refused(Fault.MALFORMED, f"The header {name.lower()} is there twice", "")
    return fields


def _check_scope(
    scope: _Scope, stamp: str, service: str, regions: Collection[str] | None, now: float
) -> None:
    if scope.service != service:
        raise _refused(
            Fault.SCOPE, f"The signature is for the service {scope.service}", f"Sign for {service}."
        )
    if regions is not None and scope.region not in regions:
        raise _refused(
            Fault.SCOPE,
            f"Credential should be scoped to a valid region, not {scope.region!r}",
            f"Sign for {' or '.join(regions)}.",
        )
    try:
        signed_at = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise _refused(
            Fault.MALFORMED, "The header X-Amz-Date is missing or malformed", ""
        ) from None
    if stamp[:8] != scope.day:
        raise _refused(Fault.SCOPE, "The signature is for another day than X-Amz-Date", "")
    if abs(now - signed_at) > MAX_SKEW:
        raise _refused(
            Fault.SKEW,
            "The request was signed more than 15 minutes from now",
            "Set this machine's clock.",
        )


def _check_signed(names: Sequence[str], fields: Mapping[str, list[str]]) -> None:
    if sorted(set(names)) != list(names):
        raise _refused(Fault.MALFORMED, "SignedHeaders is not sorted", "")
    needed = {"host", "x-amz-date"} | {name for name in fields if name.startswith("x-amz-")}
    for name in sorted(needed - set(names)):
        raise _refused(Fault.UNSIGNED, f"The header {name} is not signed", "")
    for name in names:
        if name not in fields:
            raise _refused(Fault.UNSIGNED, f"The signed header {name[:64]} is missing", "")


def _canonical_request(
    method: str, path: str, query: str, headers: Sequence[tuple[str, str]], body: bytes
) -> str:
    lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in headers)
    names = ";".join(name for name, _ in headers)
    digest = hashlib.sha256(body).hexdigest()
    target = f"{_canonical_path(path)}\n{_canonical_query(query)}"
    return f"{method}\n{target}\n{lines}\n{names}\n{digest}"


def _canonical_path(path: str) -> str:
    if not path:
        return "/"
    normal = posixpath.normpath(path)
    if normal.startswith("//"):
        normal = normal[1:]
    if path.endswith("/") and normal != "/":
        normal += "/"
    return quote(normal, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = []
    for item in query.split("&") if query else []:
        name, _, value = item.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _signature(secret: str, scope: _Scope, stamp: str, canonical: str) -> str:
    key = b"AWS4" + secret.encode()
    for part in (scope.day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _host(scheme: str, netloc: str) -> str:
    """The Host header that HTTP clients send: without a default port."""
    netloc = netloc.rpartition("@")[2]
    default = ":443" if scheme == "https" else ":80"
    return netloc.removesuffix(default)


def _refused(fault: Fault, why: str, next_step: str) -> SignatureError:
    return SignatureError.of(fault, f"{why}.", next_step)
