"""AWS identities by presigned calls. A server of the test's own stands for AWS STS: it checks
signatures with botocore, as STS would, and knows one access key.
"""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.control.aws_identity import (
    AUDIENCE_HEADER,
    CallerIdentity,
    matches,
    parse_pattern,
    presign,
    verify,
)
from elastic_inference.control.sts import MAX_ANSWER, Answer, read_answer
from elastic_inference.errors import AuthenticationError, InvalidRequestError, UnavailableError

KEY, SECRET, TOKEN = "ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "to+ken/="
ACCOUNT = "123456789012"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Reader/i-1"
IDENTITY = CallerIdentity(ACCOUNT, SESSION, "AROAEXAMPLE:i-1")
REGION = "eu-central-1"
POOL = "pool-1"
XML = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    f"<GetCallerIdentityResult><Arn>{SESSION}</Arn><UserId>{IDENTITY.user_id}</UserId>"
    f"<Account>{ACCOUNT}</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
JSON = json.dumps(
    {
        "GetCallerIdentityResponse": {
            "GetCallerIdentityResult": {
                "Account": ACCOUNT,
                "Arn": SESSION,
                "UserId": IDENTITY.user_id,
            }
        }
    }
)


@dataclass
class StandInForSts:
    """What the server answers with, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = JSON.encode()
    location: str = ""
    asked: list[Mapping[str, str]] = field(default_factory=list)


def signature_is_good(path: str, headers: Message, url: str) -> bool:
    """Whether botocore makes the same signature of what arrived."""
    unsigned, _, signature = (url + path.removeprefix("/")).partition("&X-Amz-Signature=")
    query = {name: values[0] for name, values in parse_qs(urlsplit(unsigned).query).items()}
    signed = {name: headers[name] for name in query["X-Amz-SignedHeaders"].split(";")}
    request = AWSRequest("GET", unsigned, headers=signed)
    request.context["timestamp"] = query["X-Amz-Date"]
    signer = SigV4QueryAuth(Credentials(KEY, SECRET, TOKEN), "sts", REGION)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    known = query["X-Amz-Credential"].startswith(KEY + "/")
    return known and hmac.compare_digest(signer.signature(text, request), signature)


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInForSts]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = StandInForSts()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(dict(self.headers.items()))
            status, body = state.status, state.body
            if status == 200 and not signature_is_good(self.path, self.headers, state.url):
                status = 403
                body = b'{"Error": {"Code": "SignatureDoesNotMatch", "Message": "Not\\nit."}}'
            self.send_response(status)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def signed(endpoint: str = "", secret: str = SECRET, **changes: Any) -> tuple[str, dict[str, str]]:
    arguments = {"region": REGION, "audience": POOL, "endpoint": endpoint} | changes
    sent: Any = presign(KEY, secret, TOKEN, **arguments)
    return sent["url"], sent["headers"]


def test_an_identity_is_what_sts_says(sts: StandInForSts) -> None:
    assert verify(*signed(sts.url), POOL, endpoint=sts.url) == IDENTITY
    assert sts.asked[0]["Accept"] == "application/json"
    sts.body = XML.encode()
    assert verify(*signed(sts.url), POOL, endpoint=sts.url) == IDENTITY


def test_a_wrong_secret_is_refused(sts: StandInForSts) -> None:
    with pytest.raises(AuthenticationError, match=r"SignatureDoesNotMatch: Not it\."):
        verify(*signed(sts.url, secret="other"), POOL, endpoint=sts.url)


def test_a_signature_for_another_pool_is_refused(sts: StandInForSts) -> None:
    url, headers = signed(sts.url, audience="pool-2")
    with pytest.raises(AuthenticationError, match="another pool"):
        verify(url, headers, POOL, endpoint=sts.url)
    assert sts.asked == []
    # Its header says otherwise than what was signed: STS is told this pool's id and sees it.
    with pytest.raises(AuthenticationError, match="SignatureDoesNotMatch"):
        verify(url, {AUDIENCE_HEADER: POOL}, POOL, endpoint=sts.url)


@pytest.mark.parametrize(("status", "why"), [(500, "status 500"), (429, "status 429")])
def test_an_sts_that_cannot_answer(sts: StandInForSts, status: int, why: str) -> None:
    sts.status = status
    with pytest.raises(UnavailableError, match=why):
        verify(*signed(sts.url), POOL, endpoint=sts.url)


def test_an_sts_that_is_not_there() -> None:
    def opener(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        raise ConnectionRefusedError(f"nobody at {url[:11]} for {len(headers)}")

    with pytest.raises(UnavailableError, match="nobody at https://sts"):
        verify(*signed(), POOL, opener)


def test_redirects_are_not_followed(sts: StandInForSts) -> None:
    sts.status, sts.location = 302, sts.url
    with pytest.raises(AuthenticationError, match="status 302"):
        verify(*signed(sts.url), POOL, endpoint=sts.url)
    assert len(sts.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 60_000,
        b"{}",
        b'{"GetCallerIdentityResponse": {"GetCallerIdentityResult": []}}',
        JSON.replace(ACCOUNT, "999999999999", 1).encode(),
        JSON.replace(ACCOUNT, "1").encode(),
        XML.replace("GetCallerIdentityResponse", "Other").encode(),
        b"<!DOCTYPE a [<!ENTITY x 'y'>]>" + XML.encode(),
        b"<" * 1000,
        JSON.encode() + b" " * MAX_ANSWER,
    ],
)
def test_answers_that_are_none(sts: StandInForSts, body: bytes) -> None:
    sts.body = body
    with pytest.raises(AuthenticationError, match="AWS STS"):
        verify(*signed(sts.url), POOL, endpoint=sts.url)


# When what these tests share was signed, whenever they run.
SIGNED_AT = 1_800_000_000.0


def refusal(url: str, headers: Mapping[str, str], **options: Any) -> str:
    """Why it is refused before STS is asked."""

    def opener(_url: str, _headers: Mapping[str, str]) -> tuple[int, bytes]:
        pytest.fail("STS was asked")

    with pytest.raises(AuthenticationError) as raised:
        verify(url, headers, POOL, opener, **{"now": SIGNED_AT} | options)
    return raised.value.message


URL, HEADERS = signed(now=SIGNED_AT)


def with_query(name: str, value: str | None) -> str:
    base, _, query = URL.partition("?")
    kept = [each for each in query.split("&") if not each.startswith(name + "=")]
    return f"{base}?{'&'.join([*kept, *([] if value is None else [f'{name}={value}'])])}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        URL.replace("https://", "http://"),
        URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        URL.replace("amazonaws.com", "amazonaws.com:8443"),
        URL.replace("sts.", "evil.example/sts."),
        URL.replace("sts.", "user@sts."),
        URL.replace("https://sts.", "https://evil.sts."),
        URL.replace("sts.eu-central-1.", "sts.eu-central-1.s3."),
        URL.replace("sts.", "169.254.169.254#sts."),
        URL.replace("/?", "/path?"),
        URL.replace("/?", "/../?"),
        URL + "#fragment",
        URL + "\r\nHost: evil.example",
        URL + "&a=b c",
        URL.replace("sts.", "STS."),
        "file:///etc/passwd",
    ],
)
def test_only_sts_is_asked(url: str) -> None:
    assert "no presigned call of https://sts.REGION.amazonaws.com" in refusal(url, HEADERS)


@pytest.mark.parametrize(
    "host",
    ["sts.amazonaws.com", "sts.us-gov-west-1.amazonaws.com", "sts.cn-north-1.amazonaws.com.cn"],
)
def test_all_of_aws_is_asked(host: str) -> None:
    asked = []

    def opener(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        asked.append((url, dict(headers)))
        return 200, JSON.encode()

    url = URL.replace(f"sts.{REGION}.amazonaws.com", host)
    headers = {AUDIENCE_HEADER.lower(): POOL, "Cookie": "x"}
    assert verify(url, headers, POOL, opener, now=SIGNED_AT) == IDENTITY
    assert asked == [(url, {AUDIENCE_HEADER: POOL, "Accept": "application/json"})]


def test_an_endpoint_of_ones_own_is_the_only_one() -> None:
    endpoint = "http://127.0.0.1:1"
    for url in (URL, endpoint + ".evil.example/?a=b", endpoint + "1/?a=b", endpoint + "@x/?a=b"):
        assert f"no presigned call of {endpoint}" in refusal(url, HEADERS, endpoint=endpoint)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (with_query("Action", "GetSessionToken"), "Action must be GetCallerIdentity"),
        (with_query("Action", None), "lacks a part"),
        (with_query("Version", "2010-05-08"), "Version must be"),
        (URL + "&Action=GetSessionToken", "malformed"),
        (with_query("X-Amz-Security-Token", None) + "&Action=GetSessionToken", "too much"),
        (URL.replace("X-Amz-Security-Token", "RoleArn"), "too much"),
        (URL + "&", "malformed"),
        (with_query("X-Amz-SignedHeaders", "host"), "X-Amz-SignedHeaders must be"),
        (with_query("X-Amz-SignedHeaders", "x-ei-audience"), "X-Amz-SignedHeaders must be"),
        (with_query("X-Amz-Algorithm", "none"), "X-Amz-Algorithm must be"),
        (with_query("X-Amz-Credential", "x"), "X-Amz-Credential is malformed"),
        (with_query("X-Amz-Date", "yesterday"), "X-Amz-Date is malformed"),
        (with_query("X-Amz-Expires", "604800"), "1 to 900 seconds"),
        (with_query("X-Amz-Expires", "0"), "1 to 900 seconds"),
        (with_query("X-Amz-Expires", "-1"), "1 to 900 seconds"),
        (URL + "A" * 9000, "longer than"),
    ],
)
def test_only_that_call_is_sent(url: str, why: str) -> None:
    assert why in refusal(url, HEADERS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {AUDIENCE_HEADER: "x" * 257},
        {AUDIENCE_HEADER: POOL, AUDIENCE_HEADER.lower(): POOL},
        {AUDIENCE_HEADER: "pöol"},
        {AUDIENCE_HEADER: "\ud800"},
        {AUDIENCE_HEADER: POOL} | {f"h{index}": "" for index in range(16)},
    ],
)
def test_headers_are_checked(headers: dict[str, str]) -> None:
    assert "header" in refusal(URL, headers) or "another pool" in refusal(URL, headers)


def test_a_signature_is_good_for_its_time() -> None:
    now = time.time()
    for age in (-301, 60 + 301):
        assert "too old" in refusal(*signed(now=now - age), now=now)
    for age in (-299, 60 + 299):
        assert (
            verify(*signed(now=now - age), POOL, lambda *_: (200, JSON.encode()), now=now)
            == IDENTITY
        )


def test_a_region_must_be_one() -> None:
    with pytest.raises(InvalidRequestError, match="no AWS region"):
        signed(region="evil.example/")
    assert signed(region="cn-north-1")[0].startswith("https://sts.cn-north-1.amazonaws.com.cn/?")


def test_without_a_session_token() -> None:
    sent: Any = presign(KEY, SECRET, "", REGION, POOL)
    assert "Security-Token" not in sent["url"]
    assert verify(sent["url"], sent["headers"], POOL, lambda *_: (200, XML.encode())) == IDENTITY


@pytest.mark.parametrize("form", ["json", "json of the query API", "xml"])
def test_errors_of_sts_are_read(form: str) -> None:
    body = {
        "json": '{"Error": {"Code": "ExpiredToken", "Message": "Old."}}',
        "json of the query API": '{"ErrorResponse": {"Error": {"Code": "ExpiredToken", '
        '"Message": "Old."}}}',
        "xml": '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
        "<Code>ExpiredToken</Code><Message>Old.</Message></Error></ErrorResponse>",
    }[form]
    assert read_answer(body.encode()) == Answer(code="ExpiredToken", message="Old.")


@given(st.binary(max_size=200) | st.text('<>{}[]":,/!? Errora&;#x', max_size=60).map(str.encode))
def test_any_answer_is_read(body: bytes) -> None:
    assert isinstance(read_answer(body), Answer)


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_anything_else_is_refused(text: str, headers: dict[str, str]) -> None:
    refusal(text, headers)
    refusal(f"https://sts.amazonaws.com/?{text}", headers)


@pytest.mark.parametrize(
    ("pattern", "arn", "expected"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/Reader", SESSION, True),
        (f"arn:aws:iam::{ACCOUNT}:role/some/path/Reader", SESSION, True),
        (f"arn:aws:iam::{ACCOUNT}:role/R*", SESSION, True),
        (f"arn:aws:iam::{ACCOUNT}:role/*", SESSION, True),
        (f"arn:aws:iam::{ACCOUNT}:role/Read", SESSION, False),
        (f"arn:aws:iam::{ACCOUNT}:role/reader", SESSION, False),
        ("arn:aws:iam::999999999999:role/Reader", SESSION, False),
        ("arn:aws:iam::*:role/Reader", SESSION, False),
        (f"arn:aws-cn:iam::{ACCOUNT}:role/Reader", SESSION, False),
        (f"arn:aws:iam::{ACCOUNT}:user/*", SESSION, False),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/Reader/*", SESSION, True),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/Reader/i-2", SESSION, False),
        (f"arn:aws:iam::{ACCOUNT}:user/*/Ann", f"arn:aws:iam::{ACCOUNT}:user/team/Ann", True),
        (f"arn:aws:iam::{ACCOUNT}:user/Ann", f"arn:aws:iam::{ACCOUNT}:user/team/Ann", False),
        (f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{ACCOUNT}:root", True),
        ("*", SESSION, False),
        (f"arn:aws:iam::{ACCOUNT}:role/Reader", "Reader", False),
    ],
)
def test_patterns_of_identities(pattern: str, arn: str, expected: bool) -> None:
    assert matches(pattern, arn) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        f"arn:aws:iam::{ACCOUNT}:role/Reader",
        f"arn:aws:iam::{ACCOUNT}:role/path/Reader",
        f"arn:aws:iam::{ACCOUNT}:role/team-*",
        f"arn:aws:iam::{ACCOUNT}:user/team/*",
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/Reader/*",
        f"arn:aws:sts::{ACCOUNT}:federated-user/Ann",
    ],
)
def test_patterns_that_are_taken(pattern: str) -> None:
    assert parse_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("*", "Name one account"),
        ("", "Name one account"),
        ("arn:aws:iam::*:role/Reader", "Name one account"),
        ("arn:aws:iam::12345678901?:role/Reader", "Name one account"),
        (f"arn:aws:iam::{ACCOUNT}:*", "Name one account"),
        (f"arn:aws:s3::{ACCOUNT}:role/Reader", "Name one account"),
        (f"arn:aws:iam::{ACCOUNT}:rooting", "Name one account"),
        (f"arn:aws:iam::{ACCOUNT}:role/a b", "Name one account"),
        (f"arn:aws:iam::{ACCOUNT}:role/team/*", "Leave the path out"),
    ],
)
def test_patterns_that_are_refused(pattern: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        parse_pattern(pattern)
