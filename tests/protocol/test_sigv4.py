"""Signature Version 4 against AWS's published vector and botocore's signer."""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.errors import AuthenticationError
from elastic_inference.protocol import sigv4

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SECRETS = {KEY: SECRET}
NOW = float(calendar.timegm((2015, 8, 30, 12, 36, 0)))
URL = "https://pool.example:8443/"
TARGET = {"X-Amz-Target": "ElasticInferenceControl_20261101.Connect"}


def signed(body: bytes = b"{}", secret: str = SECRET, **changes: object) -> dict[str, str]:
    arguments = {"service": sigv4.SERVICE, "region": "us-east-1", "now": NOW} | changes
    return sigv4.sign("POST", URL, TARGET, body, KEY, secret, **arguments)  # type: ignore[arg-type]  # by name


def check(headers: Mapping[str, str], body: bytes = b"{}", **changes: object) -> str:
    arguments = {"now": NOW} | changes
    return sigv4.verify(
        "POST",
        "/",
        list(headers.items()),
        body,
        SECRETS.get,
        **arguments,  # type: ignore[arg-type]  # by name
    )


def test_aws_get_vanilla_vector() -> None:
    headers = sigv4.sign(
        "GET", "https://example.amazonaws.com/", {}, b"", KEY, SECRET,
        region="us-east-1", service="service", now=NOW,
    )  # fmt: skip
    assert headers["Authorization"].endswith(
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


@given(
    path=st.text("/ab-_.~ %é", max_size=12),
    query=st.dictionaries(st.text("ab c+%", min_size=1), st.text(max_size=6), max_size=3),
    body=st.binary(max_size=64),
)
def test_requests_that_botocore_signs_are_accepted(
    path: str, query: dict[str, str], body: bytes
) -> None:
    url = f"https://pool.example/{quote(path)}?{urlencode(query, quote_via=quote)}"
    request = AWSRequest("POST", url, headers=dict(TARGET), data=body)
    SigV4Auth(Credentials(KEY, SECRET), sigv4.SERVICE, "eu-central-1").add_auth(request)
    headers = [*request.headers.items(), ("Host", "pool.example")]
    target = url.removeprefix("https://pool.example")
    assert sigv4.verify("POST", target, headers, body, SECRETS.get) == KEY


@given(
    query=st.dictionaries(st.text("abc+%", min_size=1), st.text(max_size=6), max_size=3),
    audience=st.text("ab c:/", max_size=8),
    token=st.text("ab/+=", max_size=8),
)
def test_presigned_urls_are_those_of_botocore(
    query: dict[str, str], audience: str, token: str
) -> None:
    encoded = urlencode(query, quote_via=quote, safe="-_.~")
    url = "https://sts.us-east-1.amazonaws.com/" + ("?" + encoded if encoded else "")
    request = AWSRequest("GET", url, headers={"X-Ei-Audience": audience})
    credentials = Credentials(KEY, SECRET, token or None)
    SigV4QueryAuth(credentials, "sts", "us-east-1", expires=60).add_auth(request)
    stamp = request.context["timestamp"]
    now = float(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))
    own = sigv4.presign(
        url, {"X-Ei-Audience": audience}, KEY, SECRET, token,
        region="us-east-1", service="sts", expires=60, now=now,
    )  # fmt: skip
    assert own == request.url


def test_own_signature_is_accepted_with_headers_that_http_libraries_add() -> None:
    assert check(signed() | {"Accept-Encoding": "identity", "User-Agent": "x"}) == KEY


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "not signed"),
        ({"Authorization": "Bearer abc"}, "malformed"),
        ({"Authorization": "AWS4-HMAC-SHA256 " + "x" * 5000}, "malformed"),
        (signed(secret="other"), "does not match"),
        (signed() | {"X-Amz-Target": "Service.Other"}, "does not match"),
        (signed() | {"Host": "elsewhere"}, "does not match"),
        (signed() | {"X-Amz-Extra": "1"}, "x-amz-extra is not signed"),
        (signed() | {"x-amz-date": "20150830T123600Z"}, "twice"),
        (signed(service="ec2"), "service ec2"),
        ({k: v for k, v in signed().items() if k != "Host"}, "host is missing"),
        (signed(now=NOW - 901), "15 minutes"),
        (signed(now=NOW + 901), "15 minutes"),
        (signed() | {"X-Amz-Date": "20150830T123601Z"}, "does not match"),
        (signed() | {"X-Amz-Date": "yesterday"}, "X-Amz-Date"),
    ],
)
def test_everything_else_is_refused(headers: dict[str, str], why: str) -> None:
    with pytest.raises(AuthenticationError, match=why):
        check(headers)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(AuthenticationError, match="does not match"):
        check(signed(b"{}"), b"{ }")


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(AuthenticationError, match="not known"):
        sigv4.verify("POST", "/", list(signed().items()), b"{}", dict[str, str]().get, now=NOW)


def test_a_region_can_be_required() -> None:
    assert check(signed(), regions=["us-east-1"]) == KEY
    with pytest.raises(AuthenticationError, match="valid region, not 'us-east-1'"):
        check(signed(), regions=["eu-central-1"])
