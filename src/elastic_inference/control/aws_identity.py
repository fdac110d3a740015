"""Real AWS identities, told by AWS itself.

A client signs the call sts:GetCallerIdentity with its AWS credentials, but does not send it: the
pool does, and STS answers whose signature it is. No secret leaves the client. A signed header
names the pool that it is for, so that no other pool can use it.
"""

from __future__ import annotations

import calendar
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from elastic_inference.control import arns
from elastic_inference.control.sts import MAX_ANSWER, Opener, fetch, read_answer
from elastic_inference.control.wildcards import matches as like
from elastic_inference.errors import (
    AuthenticationError,
    ElasticInferenceError,
    InvalidRequestError,
    UnavailableError,
)
from elastic_inference.protocol import sigv4

AUDIENCE_HEADER = "X-Ei-Audience"
EXPIRES = 60
MAX_URL = 8192
_MAX_HEADERS = 16
_MAX_AUDIENCE = 256
# By how much the clocks of clients may be wrong.
_LEEWAY = 300.0
_LONGEST = 900
_REGION = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_URL = re.compile(
    rf"(https://sts(?:\.{_REGION.pattern})?\.amazonaws\.com(?:\.cn)?)/?\?([A-Za-z0-9%&=._~/-]+)"
)
_QUERY = re.compile(r"/?\?([A-Za-z0-9%&=._~/-]+)")
_CREDENTIAL = re.compile(r"[A-Z0-9]{16,128}/[0-9]{8}/[a-z0-9-]{1,64}/sts/aws4_request")
_SIGNED = f"host;{AUDIENCE_HEADER.lower()}"
_OPTIONAL = frozenset({"X-Amz-Security-Token"})
# What each part of the query must be; None where STS checks it.
_PARTS: Mapping[str, str | None] = {
    "Action": "GetCallerIdentity",
    "Version": "2011-06-15",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": None,
    "X-Amz-Date": None,
    "X-Amz-Expires": None,
    "X-Amz-SignedHeaders": _SIGNED,
    "X-Amz-Security-Token": None,
    "X-Amz-Signature": None,
}
_AGAIN = "Sign a new sts:GetCallerIdentity for this pool."
_PATTERN = re.compile(
    r"arn:aws(?:-[a-z]+){0,3}:"
    r"(?:iam::[0-9]{12}:(?:user/|role/|root$)|sts::[0-9]{12}:(?:assumed-role/|federated-user/))"
    r"[A-Za-z0-9+=,.@_/*?-]{0,576}"
)


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """Who signed, as STS tells it.

    Attributes:
        account: 12 digits.
        arn: of a user, an account's root, or the session of a role.
        user_id: AWS's own id, which no later user of the same name has.
    """

    account: str
    arn: str
    user_id: str


def presign(
    access_key: str,
    secret_key: str,
    session_token: str,
    region: str,
    audience: str,
    now: float | None = None,
    *,
    endpoint: str = "",
) -> dict[str, object]:
    """What a client sends to show who it is: `url` and `headers`. It is good for a minute.

    Args:
        session_token: "" where the credentials have none.
        region: whose STS is to be asked.
        audience: the id of the pool that it is for.
        now: Unix time in seconds; the clock's if None.
        endpoint: STS's address, if it is not AWS's.

    Raises:
        InvalidRequestError: there can be no such region.
    """
    if not _REGION.fullmatch(region):
        raise InvalidRequestError(
            f"{region[:64]!r} is no AWS region.", next_step="Set AWS_REGION, as to us-east-1."
        )
    suffix = ".cn" if region.startswith("cn-") else ""
    base = endpoint.rstrip("/") or f"https://sts.{region}.amazonaws.com{suffix}"
    headers = {AUDIENCE_HEADER: audience}
    url = sigv4.presign(
        f"{base}/?Action=GetCallerIdentity&Version=2011-06-15",
        headers,
        access_key,
        secret_key,
        session_token,
        region=region,
        service="sts",
        expires=EXPIRES,
        now=now,
    )
    return {"url": url, "headers": headers}


def verify(
    url: str,
    headers: Mapping[str, str],
    audience: str,
    opener: Opener = fetch,
    *,
    endpoint: str = "",
    now: float | None = None,
) -> CallerIdentity:
    """Whose signature it is. Only AWS's STS is asked, and only that.

    Args:
        url: from the client, as all of `headers`.
        audience: this pool's id.
        endpoint: STS's address, if it is not AWS's: no other is asked then.
        now: Unix time in seconds; the clock's if None.

    Raises:
        AuthenticationError: it is no such call, for another pool, too old, or STS refuses it.
        UnavailableError: STS does not answer.
    """
    base, query = _address(url, endpoint)
    _check_query(query, time.time() if now is None else now)
    _check_audience(headers, audience)
    try:
        status, body = opener(
            f"{base}/?{query}", {AUDIENCE_HEADER: audience, "Accept": "application/json"}
        )
    except OSError as error:
        raise _unavailable(f"{error}"[:200]) from error
    if status >= 500 or status == 429:
        raise _unavailable(f"it answers with status {status}")
    if len(body) > MAX_ANSWER:
        raise _refused("AWS STS answers with more than it should", "")
    return _identity(status, body)


def parse_pattern(text: str) -> str:
    """The pattern of ARNs for `matches`, checked.

    Raises:
        InvalidRequestError: it could match what nobody would expect, or nothing at all.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InvalidRequestError(
            f"{text[:128]!r} is no pattern of AWS identities.",
            next_step="Name one account, as arn:aws:iam::123456789012:role/NAME or …:user/*.",
        )
    _, is_role, name = text.partition(":role/")
    if is_role and "/" in name and _has_wildcard(name):
        raise InvalidRequestError(
            f"{text[:128]!r} has a path and wildcards, but AWS tells no paths of roles.",
            next_step="Leave the path out, as in arn:aws:iam::123456789012:role/team-*.",
        )
    return text


def matches(pattern: str, arn: str) -> bool:
    """Whether an identity is what the pattern names; a role's pattern means its sessions.

    Wildcards count in the part after the account only. A role's path in the pattern is left out,
    since sessions don't tell it and names of roles are unique in their account.
    """
    return any(_matches(pattern, each) for each in {arn, arns.role_of(arn)})


def _matches(pattern: str, arn: str) -> bool:
    *wanted, name = pattern.split(":", arns.PARTS - 1)
    *parts, resource = arn.split(":", arns.PARTS - 1)
    if len(parts) != arns.PARTS - 1 or wanted != parts:
        return False
    if name.startswith("role/") and not _has_wildcard(name):
        name = "role/" + name.rpartition("/")[2]
    return like(name, resource)


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _address(url: str, endpoint: str) -> tuple[str, str]:
    """Where to ask, and the query: nothing else of a client's URL is used."""
    if len(url) > MAX_URL:
        raise _refused(f"The URL is longer than {MAX_URL} characters", _AGAIN)
    if endpoint:
        base = endpoint.rstrip("/")
        match = _QUERY.fullmatch(url.removeprefix(base)) if url.startswith(base) else None
        if match:
            return base, match[1]
    elif match := _URL.fullmatch(url):
        return match[1], match[2]
    place = endpoint or "https://sts.REGION.amazonaws.com"
    raise _refused(f"The URL is no presigned call of {place}", _AGAIN)


def _check_query(query: str, now: float) -> None:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, max_num_fields=len(_PARTS)
        )
    except ValueError:
        raise _refused("The URL's query is malformed", _AGAIN) from None
    parts = dict(pairs)
    if len(parts) != len(pairs) or not (_PARTS.keys() - _OPTIONAL) <= parts.keys() <= _PARTS.keys():
        raise _refused("The URL's query has too much, or lacks a part", _AGAIN)
    for name, value in _PARTS.items():
        if value is not None and parts[name] != value:
            raise _refused(f"{name} must be {value}", _AGAIN)
    if not _CREDENTIAL.fullmatch(parts["X-Amz-Credential"]):
        raise _refused("X-Amz-Credential is malformed", _AGAIN)
    _check_time(parts["X-Amz-Date"], parts["X-Amz-Expires"], now)


def _check_time(stamp: str, expires: str, now: float) -> None:
    try:
        signed_at = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise _refused("X-Amz-Date is malformed", _AGAIN) from None
    if not re.fullmatch("[0-9]{1,3}", expires) or not 0 < int(expires) <= _LONGEST:
        raise _refused(f"X-Amz-Expires must be 1 to {_LONGEST} seconds", _AGAIN)
    if not signed_at - _LEEWAY <= now <= signed_at + int(expires) + _LEEWAY:
        raise _refused("The signature is too old, or of the future", "Set this machine's clock.")


def _check_audience(headers: Mapping[str, str], audience: str) -> None:
    if len(headers) > _MAX_HEADERS:
        raise _refused("There are too many headers", _AGAIN)
    given = [value for name, value in headers.items() if name.lower() == AUDIENCE_HEADER.lower()]
    if len(given) != 1 or len(given[0]) > _MAX_AUDIENCE:
        raise _refused(f"The header {AUDIENCE_HEADER} is missing or malformed", _AGAIN)
    if not hmac.compare_digest(given[0].encode(errors="replace"), audience.encode()):
        raise _refused("It was signed for another pool", _AGAIN)


def _identity(status: int, body: bytes) -> CallerIdentity:
    answer = read_answer(body)
    if status != 200 or answer.code:
        code = answer.code or f"status {status}"
        raise AuthenticationError(
            f"AWS STS refuses the identity: {code}: {answer.message}".rstrip(": "),
            next_step="Check the AWS credentials and this machine's clock, and sign again.",
        )
    account, arn, user_id = answer.account, answer.arn, answer.user_id
    if not re.fullmatch("[0-9]{12}", account) or arns.account_of(arn) != account or not user_id:
        raise _refused("AWS STS does not answer as it should", "")
    return CallerIdentity(account, arn, user_id)


def _unavailable(why: str) -> ElasticInferenceError:
    return UnavailableError(
        f"The pool cannot ask AWS STS who this is: {why}.",
        next_step="Try again; the pool needs a way to sts.REGION.amazonaws.com.",
    )


def _refused(why: str, next_step: str) -> AuthenticationError:
    return AuthenticationError(f"The AWS identity is not accepted. {why}.", next_step=next_step)
