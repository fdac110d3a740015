"""Rights to connect that are withdrawn while their tokens are still valid."""

from __future__ import annotations

import dataclasses
import json
import queue
import socket
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.accelerator.grpc_client import (
    LIVE,
    STREAM_INFER,
    channel,
    infer_request,
    output_of,
    unary,
)
from tests.accelerator.http_client import Wire, X, error_of, infer, infer_body, load, scale_model
from tests.endpoint import Endpoint
from tests.processes import AcceleratorProcess

WITHDRAWN = (
    401,
    "Unable to authenticate with accelerator: the right to connect was withdrawn.",
)
Start = Callable[..., AcceleratorProcess]


class Revocable:
    """An accelerator and the control plane's end of its handover socket."""

    def __init__(self, process: AcceleratorProcess) -> None:
        self.process = process
        self._endpoint = Endpoint(process.config.handover_socket)

    def revoke(self, *rights: str) -> None:
        """Withdraw `rights`; done when this returns."""
        config = dataclasses.replace(self.process.config, revoked=rights)
        config.to_file(config.directory / "config.json")
        self._endpoint.tell({"kind": "revoked"})
        # A connection that is handed over waits for what was said before.
        with socket.create_connection(("127.0.0.1", self._endpoint.port), 30.0) as later:
            while later.recv(4096):
                pass

    def close(self) -> None:
        self._endpoint.close()


@pytest.fixture
def served(start_accelerator: Start) -> Iterator[Revocable]:
    process = start_accelerator()
    load(process, "double", scale_model(2))
    revocable = Revocable(process)
    yield revocable
    revocable.close()


def refused(wire: Wire, token: str | None) -> tuple[int, str]:
    body, length = infer_body(X)
    field = f"Inference-Header-Content-Length: {length}"
    return error_of(
        wire.request("POST", "/v2/models/double/infer", body, headers=(field,), token=token)
    )


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("shown", ["once", "each time"])
def test_a_kept_connection_is_refused_and_others_are_not(
    served: Revocable, unix: bool, shown: str
) -> None:
    token = served.process.token(right="one")
    again = token if shown == "each time" else None
    with Wire(served.process, unix=unix) as wire, Wire(served.process, unix=unix) as other:
        infer(other, "double", token=served.process.token(right="two"))
        infer(wire, "double", token=token)
        # The second is remembered, the third is recognised.
        for _ in range(3):
            infer(wire, "double", token=again)
        served.revoke("one")
        assert refused(wire, again) == WITHDRAWN
        assert refused(wire, token) == WITHDRAWN
        infer(other, "double", token=None)
        # The connection goes on for who shows another right.
        infer(wire, "double", token=served.process.token(right="three"))


def test_a_new_connection_with_the_same_token_is_refused_with_the_next_step(
    served: Revocable,
) -> None:
    token = served.process.token(right="one")
    served.revoke("one", "other")
    with Wire(served.process) as wire:
        status, _, body = wire.request("GET", "/v2", token=token)
        assert status == 401
        document = json.loads(body)
        assert document["error"] == WITHDRAWN[1]
        assert "Connect again" in document["next_step"]
        assert document["ei_error_code"] == [3, 16, 8]
        assert wire.request("GET", "/v2/health/live", token=None)[0] == 200
        # The control plane's own tokens name no right.
        assert wire.request("GET", "/v2")[0] == 200


def test_a_right_that_is_listed_no_more_holds_again_for_who_shows_it(served: Revocable) -> None:
    token = served.process.token(right="one")
    with Wire(served.process) as wire:
        infer(wire, "double", token=token)
        served.revoke("one")
        served.revoke()
        assert refused(wire, None)[0] == 401
        with Wire(served.process) as other:
            infer(other, "double", token=token)


def test_a_request_that_was_begun_is_answered(served: Revocable) -> None:
    body, length = infer_body(X)
    head = (
        "POST /v2/models/double/infer HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {served.process.token(right='one')}\r\n"
        f"Inference-Header-Content-Length: {length}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with Wire(served.process) as wire:
        wire.send(head.encode())
        assert wire.answer()[0] == 100
        served.revoke("one")
        wire.send(body)
        assert wire.answer()[0] == 200
        assert refused(wire, None) == WITHDRAWN


def test_grpc_calls_and_streams_are_refused(served: Revocable) -> None:
    token = (("authorization", f"Bearer {served.process.token(right='one')}"),)
    with channel(served.process) as made:
        sent: queue.Queue[bytes | None] = queue.Queue()
        answers = made.stream_stream(STREAM_INFER)(iter(sent.get, None), metadata=token)
        sent.put(infer_request("double", X))
        assert next(answers)
        # Known by its head from now on.
        for _ in range(3):
            assert output_of(unary(made)(infer_request("double", X))).shape == X.shape
        served.revoke("one")
        sent.put(infer_request("double", X))
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        for metadata in (None, token):
            with pytest.raises(
                grpc.RpcError, match=r"the right to connect was withdrawn"
            ) as caught:
                unary(made)(infer_request("double", X), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert unary(made, LIVE)(b"")
        sent.put(None)
