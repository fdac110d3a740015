"""TensorFlow Serving's REST interface: requests in, replies out. No I/O.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    PayloadTooLargeError,
)
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE
from elastic_inference.serving import json_answers, json_metadata
from elastic_inference.serving.config import MonitoringConfig
from elastic_inference.serving.json_documents import read_document, signature_of
from elastic_inference.serving.json_examples import read_examples
from elastic_inference.serving.json_numbers import Numbers, cut
from elastic_inference.serving.json_tensors import INPUTS, INSTANCES, read_feeds
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.service import ModelSpec, Service
from elastic_inference.serving.statuses import OK, known, status_of, words_of

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE
)
_QUESTION = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.IGNORECASE
)
_ORIGIN = re.compile(rb"https?://")
_CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: POST, GET\r\n"
    b"Access-Control-Allow-Headers: Content-Type\r\n"
)
_JSON, _TEXT = b"application/json", b"text/plain"
# gzip or zlib, whichever the data's first bytes say.
_ANY_FORMAT = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has arrived whole.

    Attributes:
        method: upper case.
        path: as it was sent, without a query.
        headers: by lower-case names.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    Attributes:
        extra: whole header fields, each with CRLF.
    """

    status: int
    body: bytes
    content_type: bytes = _JSON
    extra: bytes = b""


@dataclass(slots=True)
class _Seen:
    """What the metrics tell of a request."""

    model: str = ""
    method: str = ""


class RestApi:
    """Answers requests. Its methods may be called from many threads.

    Args:
        timeout: how long a model may take, in seconds; None for as long as it takes.
        has_cors: replies let pages of other origins read them.
        largest: the most bytes of a body, once it is unpacked.
    """

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        monitoring: MonitoringConfig,
        *,
        timeout: float | None,
        has_cors: bool,
        largest: int,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._monitoring = monitoring
        self._timeout = timeout
        self._cors = _CORS if has_cors else b""
        self._largest = largest

    def answer(self, request: Request) -> Reply:
        """The reply; a failure is a reply too."""
        if self._monitoring.is_enabled and request.path == self._monitoring.path:
            return Reply(200, self._metrics.text().encode(), _TEXT)
        if not _API.fullmatch(request.path):
            words = f"Not found: {request.method} {request.path[:1024]}"
            return Reply(404, json_answers.write_error(words))
        begun = time.monotonic()
        seen = _Seen()
        status = OK
        try:
            body = self._dispatch(request, seen, begun)
        except Exception as failure:  # noqa: BLE001 - a client is told of every failure
            error = known(failure, f"{request.method} {request.path[:256]}")
            status = status_of(error)
            body = json_answers.write_error(words_of(error))
        seconds = time.monotonic() - begun
        self._metrics.observe_request(seen.model, seen.method, "REST", status.name, seconds)
        return Reply(status.http, body, extra=self._cors)

    def _dispatch(self, request: Request, seen: _Seen, begun: float) -> bytes:
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            if not _ORIGIN.search(request.headers.get(b"origin", b"")):
                raise ConflictError("Origin header is missing in CORS preflight")
            return b""
        if method == "GET":
            question = _QUESTION.fullmatch(request.path)
            if question is not None:
                return self._tell(question, seen)
        elif method == "POST":
            call = _CALL.fullmatch(request.path)
            # The path may be in any case, but not the method.
            if call is not None and call["method"].islower():
                spec = _spec(call)
                seen.model, seen.method = spec.name, call["method"]
                deadline = None if self._timeout is None else begun + self._timeout
                return self._call(spec, call["method"], self._body(request), deadline)
        raise InvalidRequestError(f"Malformed request: {request.method} {request.path}")

    def _tell(self, question: re.Match[str], seen: _Seen) -> bytes:
        spec = _spec(question)
        seen.model = spec.name
        if not spec.name:
            raise InvalidRequestError("Missing model name in request.")
        if question["metadata"]:
            return json_metadata.write_metadata(*self._service.signatures(spec))
        return json_metadata.write_status(self._service.status(spec))

    def _call(self, spec: ModelSpec, method: str, body: bytes, deadline: float | None) -> bytes:
        if method == "predict":
            return self._predict(spec, body, deadline)
        document = read_document(body)
        spec = ModelSpec(spec.name, spec.version, spec.label, signature_of(document))
        examples = read_examples(document)
        if method == "classify":
            classified = self._service.classify(spec, examples, deadline=deadline)
            return json_answers.write_classified(classified)
        regressed = self._service.regress(spec, examples, deadline=deadline)
        return json_answers.write_regressed(regressed)

    def _predict(self, spec: ModelSpec, body: bytes, deadline: float | None) -> bytes:
        text, arrays = cut(body)
        document = read_document(text)
        if arrays:
            _restore(document, arrays)
        key = signature_of(document)
        _, signatures = self._service.signatures(spec)
        signature = signatures.get(key or DEFAULT_SIGNATURE)
        if signature is None:
            raise InvalidRequestError(
                f'Serving signature name: "{key or DEFAULT_SIGNATURE}" not found in signature def'
            )
        if not signature.inputs:
            raise InvalidRequestError(f"Failed to get input map for signature: {key or 'DEFAULT'}")
        feeds = read_feeds(document, signature.inputs)
        spec = ModelSpec(spec.name, spec.version, spec.label, key)
        answer = self._service.predict(spec, feeds.inputs, deadline=deadline)
        write = json_answers.write_rows if feeds.by_row else json_answers.write_columns
        return write(answer.outputs, answer.signature)

    def _body(self, request: Request) -> bytes:
        coding = request.headers.get(b"content-encoding", b"identity").strip().lower()
        if coding == b"identity":
            return request.body
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise InvalidRequestError(
                f"The body's coding {coding[:100].decode('latin-1')} is not known.",
                next_step="Use gzip.",
            )
        unpacker = zlib.decompressobj(_ANY_FORMAT)
        try:
            body = unpacker.decompress(request.body, self._largest)
        except zlib.error:
            raise InvalidRequestError("The body is damaged: it cannot be unpacked.") from None
        if unpacker.unconsumed_tail:
            raise PayloadTooLargeError(f"The body is larger than {self._largest} bytes.")
        if not unpacker.eof:
            raise InvalidRequestError("The body is cut off.")
        return body


def _spec(match: re.Match[str]) -> ModelSpec:
    name = _decoded(match["name"] or "", "model name")
    version = match["version"]
    if version is not None and (len(version) > 19 or int(version) >= 2**63):
        raise InvalidRequestError(f"Failed to convert version: {version[:100]} to numeric.")
    label = _decoded(match["label"] or "", "model version label")
    return ModelSpec(name, None if version is None else int(version), label)


def _decoded(text: str, what: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"Failed to decode {what}:{text[:100]}") from None


def _restore(document: dict[str, object], arrays: Mapping[str, Numbers]) -> None:
    """Put arrays that were cut out of the text where tensors may be."""
    for key in (INSTANCES, INPUTS):
        if key in document:
            document[key] = _restored(document[key], arrays, depth=2)


def _restored(value: object, arrays: Mapping[str, Numbers], depth: int) -> object:
    if isinstance(value, str):
        return arrays.get(value, value)
    if isinstance(value, dict) and depth:
        return {key: _restored(each, arrays, depth - 1) for key, each in value.items()}
    if isinstance(value, list) and depth:
        return [_restored(each, arrays, depth - 1) for each in value]
    return value
