"""Connections handed over by a control plane, and what happens when it goes away."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.settings import Limits
from tests.accelerator.http_client import Wire, X, infer, load, scale_model
from tests.endpoint import SERVER_NAME, Endpoint, make_certificate
from tests.processes import AcceleratorProcess

Start = Callable[..., AcceleratorProcess]


@pytest.fixture
def secure(start_accelerator: Start, tmp_path: Path) -> tuple[AcceleratorProcess, Path]:
    certificate, key = make_certificate(tmp_path)
    process = start_accelerator(
        certificate=certificate,
        private_key=key,
        server_name=SERVER_NAME,
        limits=Limits(handshake_timeout=0.5),
    )
    return process, certificate


def control_connection(process: AcceleratorProcess) -> socket.socket:
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.settimeout(30.0)
    control.connect(str(process.config.handover_socket))
    return control


def test_a_connection_is_served_over_tls(secure: tuple[AcceleratorProcess, Path]) -> None:
    process, certificate = secure
    load(process, "double", scale_model(2))
    endpoint = Endpoint(process.config.handover_socket)
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        with Wire(process) as wire:
            raw = socket.create_connection(("127.0.0.1", endpoint.port), 30.0)
            wire.socket.close()
            secured = context.wrap_socket(raw, server_hostname=SERVER_NAME)
            wire.socket = secured
            assert secured.version() == "TLSv1.3"
            cipher = secured.cipher()
            assert cipher is not None
            assert cipher[0] == "TLS_AES_128_GCM_SHA256"
            assert infer(wire, "double").tolist() == (X * 2).tolist()
    finally:
        endpoint.close()


def test_what_is_not_tls_1_3_is_refused(secure: tuple[AcceleratorProcess, Path]) -> None:
    process, certificate = secure
    endpoint = Endpoint(process.config.handover_socket)
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection(("127.0.0.1", endpoint.port), 30.0) as raw,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(raw, server_hostname=SERVER_NAME)
        with socket.create_connection(("127.0.0.1", endpoint.port), 30.0) as plain:
            plain.sendall(b"GET /v2/health/live HTTP/1.1\r\n\r\n")
            assert b"HTTP" not in _until_closed(plain)
        with socket.create_connection(("127.0.0.1", endpoint.port), 30.0) as silent:
            _until_closed(silent)  # A handshake that does not come is not waited for.
        assert process.request("GET", "/v2/health/ready")[0] == 200
    finally:
        endpoint.close()


def test_a_new_certificate_is_shown_to_later_connections(
    secure: tuple[AcceleratorProcess, Path], tmp_path: Path
) -> None:
    process, certificate = secure
    endpoint = Endpoint(process.config.handover_socket)

    def shown() -> bytes | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", endpoint.port), 30.0)
        with context.wrap_socket(plain) as secured:
            return secured.getpeercert(binary_form=True)

    try:
        first = shown()
        assert first == ssl.PEM_cert_to_DER_cert(certificate.read_text())
        make_certificate(tmp_path)
        assert shown() == first
        endpoint.tell({"kind": "certificate"})
        second = shown()
        assert second == ssl.PEM_cert_to_DER_cert(certificate.read_text())
        assert second != first
        certificate.write_text("none")
        endpoint.tell({"kind": "certificate"})
        assert shown() == second
    finally:
        endpoint.close()


def _until_closed(sock: socket.socket) -> bytes:
    received = b""
    try:
        while part := sock.recv(4096):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_it_says_who_it_is(start_accelerator: Start) -> None:
    process = start_accelerator()
    with control_connection(process) as one, control_connection(process) as two:
        for control in (one, two):
            hello = json.loads(control.recv(4096))
            assert hello == {
                "kind": "hello",
                "pid": process.pid,
                "accelerator_id": process.config.accelerator_id,
            }


@pytest.mark.parametrize(
    "message",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"kind": "connection"}',
        b'{"kind": "certificate"}',
        b'{"kind": "revoked"}',
        b"\xff" * 4096,
    ],
)
def test_messages_that_say_nothing_harm_nothing(start_accelerator: Start, message: bytes) -> None:
    process = start_accelerator()
    reading, writing = os.pipe()
    with control_connection(process) as control:
        assert control.recv(4096)
        control.send(message)
        socket.send_fds(control, [message], [reading, reading])
        assert process.request("GET", "/v2/health/ready")[0] == 200
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        # Every copy of the reading end is closed again, the accelerator's too.
        _write_until_broken(writing)
    os.close(writing)


def _write_until_broken(descriptor: int) -> None:
    while True:
        os.write(descriptor, b"x")


def test_it_drains_when_told(start_accelerator: Start) -> None:
    process = start_accelerator()
    with control_connection(process) as control:
        assert control.recv(4096)
        control.send(b'{"kind": "drain"}')
        assert process.process.wait(30.0) == 0
        assert control.recv(4096) == b""


def test_without_a_control_plane_it_ends_after_its_grace(start_accelerator: Start) -> None:
    process = start_accelerator(control_grace=0.5)
    with control_connection(process) as control:
        assert control.recv(4096)
        assert process.request("GET", "/v2/health/ready")[0] == 200
    assert process.process.wait(30.0) == 0


def test_it_ends_at_once_with_its_lifeline(start_accelerator: Start) -> None:
    process = start_accelerator()
    process.stop()
    assert process.process.returncode == 0
