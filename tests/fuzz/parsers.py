"""Targets without I/O: what reads the bytes of requests, tokens and greetings."""

from __future__ import annotations

import contextlib
import email.parser
import json
import random
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from elastic_inference.errors import AuthenticationError
from elastic_inference.protocol import sni
from elastic_inference.protocol.compression import wanted_coding
from elastic_inference.protocol.content_range import format_content_range, parse_content_range
from elastic_inference.protocol.http import (
    RequestHead,
    parse_request_head,
    response_head,
    split_authorization,
)
from elastic_inference.protocol.json_object import parse_object
from elastic_inference.protocol.tensors import TensorSpec, decode_value, encode_value
from elastic_inference.protocol.tokens import Claims, mint, verify
from tests.fuzz.documents import CONTAINERS, DOCUMENTS, heads
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target, accepted

_DEEPEST = 200


class Heads(Target):
    """Request heads: refused, or read as any other parser would."""

    name = "heads"
    cases = 130_000

    def make_seeds(self) -> Sequence[bytes]:
        return heads("ei1.e30.AAAA")

    def run(self, case: bytes) -> None:
        # What comes before the first empty line is a head; the channel cuts it there.
        raw = case.split(b"\r\n\r\n", 1)[0]
        bare, authorization = split_authorization(raw)
        head = accepted(parse_request_head, bare)
        whole = accepted(parse_request_head, raw)
        if head is None:
            assert whole is None
            return
        assert not (head.chunked and head.content_length is not None)
        assert head.coding in (b"", b"gzip", b"deflate")
        if whole is not None:
            fields = {name: v for name, v in whole.headers.items() if name != b"authorization"}
            assert head.headers.get(b"authorization") is None or authorization is None
            assert authorization is None or whole.headers[b"authorization"] == authorization
            assert {n: v for n, v in head.headers.items() if n != b"authorization"} == fields
        _agrees(bare, head)


def _agrees(raw: bytes, head: RequestHead) -> None:
    """The standard library's parser finds the same end of the body."""
    lines = raw.partition(b"\r\n")[2].decode("latin-1")
    other = email.parser.HeaderParser().parsestr(lines + "\r\n\r\n")
    lengths = other.get_all("content-length", [])
    assert [int(each) for each in lengths] == (
        [] if head.content_length is None else [head.content_length]
    )
    assert bool(other.get_all("transfer-encoding", [])) is head.chunked


class Documents(Target):
    """JSON objects: those that are accepted are what the standard library reads, and bounded."""

    name = "json"
    cases = 60_000

    def make_seeds(self) -> Sequence[bytes]:
        return (
            *(json.dumps(document).encode() for _, document, _ in DOCUMENTS),
            b'{"a":' + b"[" * 199 + b"]" * 199 + b"}",
            b'{"a":' + b'{"b":' * 150 + b"1" + b"}" * 150 + b"}",
            b'{"\\ud800\\udc00":"\\ud83d\\ude00","e":1e400,"n":NaN,"i":' + b"9" * 300 + b"}",
            b'{"[{\\"[{":"\\\\","a":"[[{{"}',
        )

    def run(self, case: bytes) -> None:
        document = accepted(parse_object, case)
        try:
            expected = json.loads(case.decode())
            depth = _depth(expected)
            json.dumps(expected, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            assert document is None
            return
        if isinstance(expected, dict) and depth <= _DEEPEST:
            # Text may open more brackets than its value shows: a key given twice hides the first.
            assert document is not None or case.count(b"[") + case.count(b"{") > _DEEPEST
        else:
            assert document is None
        if document is not None:
            assert repr(document) == repr(expected)

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        try:
            return json.dumps(mutate_document(chance, json.loads(case))).encode()
        except (ValueError, RecursionError):
            return super().mutate(chance, case)


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        deepest += any(isinstance(each, dict | list) for each in level)
        level = inner
    return deepest


class Values(Target):
    """Tensors, strings, sequences, optionals and maps in binary form: they survive a round trip."""

    name = "values"
    cases = 60_000

    def make_seeds(self) -> Sequence[bytes]:
        return tuple(
            joined(
                {
                    "datatype": inputs["datatype"],
                    "shape": inputs["shape"],
                    "elements": inputs.get("elements", []),
                },
                data,
            )
            for inputs, data in (
                *((document["inputs"][0], data) for _, document, data in DOCUMENTS if data),
                *CONTAINERS,
            )
        )

    def run(self, case: bytes) -> None:
        raw, data = split(case)
        entry = accepted(parse_object, raw)
        if entry is None:
            return
        # numpy wants the alignment that the connection's buffer gives.
        value = accepted(decode_value, entry, memoryview(bytearray(data)))
        if value is None:
            return
        if entry["datatype"] == "MAP":
            # Keys given twice are one key afterwards.
            assert isinstance(value, dict)
            assert len(value) <= entry["shape"][0]
            return
        described, parts = encode_value(value, _spec(entry))
        sent = b"".join(bytes(part) for part in parts)
        assert described["shape"] == entry["shape"]
        if b"MAP" not in raw:
            assert sent == data
        again = decode_value(described, memoryview(bytearray(sent)))
        assert repr(again) == repr(value)

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        return mutate_joined(chance, case, self.seeds)


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    """What the value is, as far as its parts are all of one kind; the rest is guessed."""
    datatype = entry["datatype"]
    parts = entry.get("elements", []) if datatype in ("SEQUENCE", "OPTIONAL") else []
    specs = [_spec(part) for part in parts]
    alike = len(set(specs)) == 1
    return TensorSpec("", datatype, None, element=specs[0] if alike else None)


def joined(document: Any, data: bytes) -> bytes:
    """A document and the bytes that follow it, as one case."""
    return json.dumps(document).encode() + b"\n\n" + data


def split(case: bytes) -> tuple[bytes, bytes]:
    """The two parts of `joined`."""
    raw, _, data = case.partition(b"\n\n")
    return raw, data


def mutate_joined(chance: random.Random, case: bytes, others: tuple[bytes, ...]) -> bytes:
    """Another case of `joined`, one of its parts changed."""
    raw, data = split(case)
    what = chance.randrange(4)
    if what == 0:
        return raw + b"\n\n" + mutate_bytes(chance, data)
    if what < 3:
        with contextlib.suppress(ValueError, RecursionError):
            return joined(mutate_document(chance, json.loads(raw)), data)
    return mutate_bytes(chance, case, others)


class Hellos(Target):
    """TLS greetings: one answer for all of them, and for what came of them so far."""

    name = "hellos"
    cases = 70_000

    def make_seeds(self) -> Sequence[bytes]:
        whole = [hello(name) for name in ("eia-0.pool.example", "a" * 63 + ".b", None)]
        first = whole[0]
        # The same message in three records.
        body = first[5:]
        parts = (
            first[:3] + len(piece).to_bytes(2, "big") + piece
            for piece in (body[:1], body[1:100], body[100:])
        )
        return (*whole, b"".join(parts), b"GET / HTTP/1.1\r\n\r\n", first[:40])

    def run(self, case: bytes) -> None:
        found = sni.parse(case)
        if found.status is not sni.Status.COMPLETE:
            assert found.server_name is None
            return
        name = found.server_name
        assert name is None or (name == name.lower() and len(name) <= 255 and name.isascii())
        for end in {0, 1, 5, 9, len(case) // 2, len(case) - 1}:
            before = sni.parse(memoryview(case)[:end])
            assert before == found or before.status is sni.Status.MORE


def hello(name: str | None) -> bytes:
    """What a TLS client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("nobody answered")


class Tokens(Target):
    """Tokens: none is accepted that was not minted, and none says what it must not."""

    name = "tokens"
    cases = 45_000
    KEY: ClassVar[bytes] = bytes(range(32))
    ID: ClassVar[str] = "eia-" + "0" * 32
    NOW: ClassVar[float] = 1_000_000.0

    def make_seeds(self) -> Sequence[bytes]:
        # The first byte tells whether the rest is a token, or claims that are signed rightly.
        claims = b'{"acc":"%s","ins":"i","own":"o","exp":2e6}' % self.ID.encode()
        minted = [
            mint(self.KEY, Claims(identity, "i-1", "000000000000", expires)).encode()
            for identity in (self.ID, "eia-" + "1" * 32)
            for expires in (self.NOW + 1, self.NOW - 1)
        ]
        return (*(b"\0" + token for token in minted), b"\1" + claims, b"\1[]", b'\1{"exp":"nan"}')

    def run(self, case: bytes) -> None:
        if case[:1] == b"\1":
            self._signed(case[1:])
            return
        token = case[1:]
        try:
            claims = verify(self.KEY, token, self.ID, self.NOW)
        except AuthenticationError:
            return
        assert mint(self.KEY, claims).encode() == token

    def _signed(self, body: bytes) -> None:
        """What a control plane of another version could mint."""
        from elastic_inference.protocol import tokens

        signed = b"ei1." + tokens._encode(body)
        token = signed + b"." + tokens._encode(tokens._mac(self.KEY, signed))
        try:
            claims = verify(self.KEY, token, self.ID, self.NOW)
        except AuthenticationError:
            return
        assert claims.accelerator_id == self.ID
        assert claims.expires > self.NOW


class Fields(Target):
    """Content-Range and Accept-Encoding."""

    name = "fields"
    cases = 45_000
    max_length = 256

    def make_seeds(self) -> Sequence[bytes]:
        return (
            b"bytes 0-5/6", b"bytes */6", b"bytes 10-19/999999999999999999", b"bytes 5-4/6",
            b"gzip", b"deflate;q=0.5", b"gzip;q=0, deflate", b"br, gzip, *;q=0.1", b"identity",
        )  # fmt: skip

    def run(self, case: bytes) -> None:
        part = accepted(parse_content_range, case)
        if part is not None:
            first, total = part
            assert 0 <= first <= total
            if b"*" not in case:
                last = int(case.split(b"-")[1].split(b"/")[0])
                again = format_content_range(first, last + 1 - first, total)
                assert parse_content_range(again.encode()) == part
        coding = wanted_coding(case)
        assert coding in (b"", b"gzip", b"deflate")
        assert coding in case.lower()
        assert response_head(200, None, extra=b"Content-Encoding: %s\r\n" % coding)
