"""Finding accelerators and credentials in the instance metadata, asked over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from elastic_inference.client import Attached, connect, visible_accelerators
from elastic_inference.client.discovery import Credentials, choose, credentials
from elastic_inference.errors import ConfigurationError, NotFoundError, UnavailableError
from elastic_inference.settings import ClientSettings

A, B, C = ("eia-" + digit * 32 for digit in "abc")
_ROOT = "/x7/latest"


@dataclass
class Instance:
    """A metadata service with three accelerators, IMDSv2 only."""

    url: str = ""
    documents: dict[str, str] = field(default_factory=dict)
    version_1_only: bool = False

    def settings(self, **changes: Any) -> ClientSettings:
        return ClientSettings(metadata_endpoint=self.url, **changes)


def _document(accelerator_id: str, kind: str) -> str:
    fields = {
        "elastic-inference-accelerator-id": accelerator_id,
        "elastic-inference-accelerator-type": kind,
    }
    return json.dumps({"version_2018_04_12": fields})


@pytest.fixture
def instance() -> Iterator[Instance]:
    it = Instance()
    base = f"{_ROOT}/meta-data/elastic-inference/associations"
    it.documents = {
        base: f"{A}\n{B}\n{C}",
        f"{base}/{A}": _document(A, "eia1.medium"),
        f"{base}/{B}": _document(B, "eia1.large"),
        f"{base}/{C}": _document(C, "eia2.medium"),
        f"{_ROOT}/meta-data/iam/security-credentials": "role",
        f"{_ROOT}/meta-data/iam/security-credentials/role": json.dumps(
            {"AccessKeyId": "AKID", "SecretAccessKey": "secret"}
        ),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._send(404 if it.version_1_only else 200, "session")

        def do_GET(self) -> None:
            token = self.headers.get("X-aws-ec2-metadata-token")
            if not it.version_1_only and token != "session":
                self._send(401, "")
            else:
                found = it.documents.get(self.path)
                self._send(404 if found is None else 200, found or "")

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    it.url = f"http://127.0.0.1:{server.server_port}/x7/"
    yield it
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("version_1_only", [False, True])
def test_accelerators_of_the_instance(instance: Instance, *, version_1_only: bool) -> None:
    instance.version_1_only = version_1_only
    assert visible_accelerators(instance.settings()) == (
        Attached(A, "eia1.medium"),
        Attached(B, "eia1.large"),
        Attached(C, "eia2.medium"),
    )


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ("", []),
        (" ", []),
        ("0", [A]),
        ("2,0", [C, A]),
        (f"{B}", [B]),
        (f" {B} , 0,", [B, A]),
        ("1,1", [B]),
        (f"1,{B}", [B]),
    ],
)
def test_visible_devices(instance: Instance, devices: str, expected: list[str]) -> None:
    found = visible_accelerators(instance.settings(visible_devices=devices))
    assert [each.accelerator_id for each in found] == expected


@pytest.mark.parametrize("devices", ["3", "-1", "eia-00", "0,x", "0;1"])
def test_visible_devices_that_are_not_there(instance: Instance, devices: str) -> None:
    with pytest.raises(ConfigurationError, match=A):
        visible_accelerators(instance.settings(visible_devices=devices))


def test_no_visible_device_asks_nobody() -> None:
    nowhere = ClientSettings(visible_devices="", metadata_endpoint="http://127.0.0.1:9")
    assert visible_accelerators(nowhere) == ()


def test_ordinals_count_the_visible_ones(instance: Instance) -> None:
    devices = visible_accelerators(instance.settings(visible_devices="2,1"))
    assert choose(devices, None).accelerator_id == C
    assert choose(devices, 1).accelerator_id == B
    assert choose(devices, B).accelerator_id == B
    for wanted in (2, -1, A):
        with pytest.raises(NotFoundError, match="visible"):
            choose(devices, wanted)


def test_no_metadata_service_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="ei run"):
        connect(settings=ClientSettings(metadata_endpoint="http://127.0.0.1:9"))


def test_an_instance_without_accelerators(instance: Instance) -> None:
    instance.documents.clear()
    assert visible_accelerators(instance.settings()) == ()
    with pytest.raises(NotFoundError, match="ei run"):
        connect(settings=instance.settings())


def test_credentials_of_the_instance(instance: Instance) -> None:
    assert credentials(instance.settings()) == Credentials("AKID", "secret")


def test_credentials_of_the_environment_come_second(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "own")
    assert credentials(instance.settings()) == Credentials("AKID", "secret")
    instance.documents.clear()
    assert credentials(instance.settings()) == Credentials("mine", "own")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="credentials"):
        credentials(instance.settings())


def test_an_endpoint_must_be_known(instance: Instance) -> None:
    with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME"):
        connect(settings=instance.settings())


def test_a_metadata_address_must_be_http() -> None:
    with pytest.raises(ConfigurationError, match="http"):
        visible_accelerators(ClientSettings(metadata_endpoint="ftp://example"))
