"""Instance metadata as boto and the client read it."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from botocore.utils import InstanceMetadataFetcher

from elastic_inference.client import discovery
from elastic_inference.compute.document import InstanceDocument, RoleCredentials
from elastic_inference.compute.metadata import MetadataService
from elastic_inference.settings import ClientSettings

ONE, TWO = "eia-" + "1" * 32, "eia-" + "2" * 32
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"


@pytest.fixture
def document() -> InstanceDocument:
    return InstanceDocument(
        instance_id="i-1",
        accelerators={TWO: "eia1.large", ONE: "eia1.medium"},
        credentials=RoleCredentials("EIAKTEST", "secret", "session", time.time() + 3600),
        region="us-east-1",
    )


@pytest.fixture
def service(document: InstanceDocument) -> Iterator[MetadataService]:
    metadata = MetadataService(lambda: document)
    yield metadata
    metadata.close()


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(  # noqa: S310 - the service's own URL
        url, method=method, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - the same
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_the_paths_of_the_original(service: MetadataService) -> None:
    base = service.url + "/latest/meta-data/elastic-inference/associations"
    assert ask(base) == (200, f"{TWO}\n{ONE}")
    assert ask(f"{base}/") == (200, f"{TWO}\n{ONE}")
    status, text = ask(f"{base}/{ONE}")
    assert status == 200
    assert json.loads(text) == {
        "version_2018_04_12": {
            "elastic-inference-accelerator-id": ONE,
            "elastic-inference-accelerator-type": "eia1.medium",
        }
    }
    assert ask(service.url + "/latest/meta-data/instance-id") == (200, "i-1")
    assert ask(service.url + "/latest/meta-data/nothing") == (404, "")


def test_version_2_tokens(service: MetadataService) -> None:
    url = service.url + "/latest/api/token"
    path = service.url + "/latest/meta-data/instance-id"
    status, token = ask(url, "PUT", **{TTL: "60"})
    assert status == 200
    assert ask(path, **{TOKEN: token}) == (200, "i-1")
    assert ask(path, **{TOKEN: token + "x"}) == (401, "")
    for wrong in ("0", "21601", "-1", "x", ""):
        assert ask(url, "PUT", **{TTL: wrong}) == (400, "")
    assert ask(url, "PUT", **{TTL: "60", "X-Forwarded-For": "1.2.3.4"}) == (403, "")


def test_boto_reads_the_credentials(service: MetadataService) -> None:
    fetcher = InstanceMetadataFetcher(
        num_attempts=1, config={"ec2_metadata_service_endpoint": service.url}
    )
    credentials = fetcher.retrieve_iam_role_credentials()
    assert credentials["access_key"] == "EIAKTEST"
    assert credentials["secret_key"] == "secret"


def test_the_client_reads_accelerators_and_credentials(service: MetadataService) -> None:
    settings = ClientSettings(metadata_endpoint=service.url)
    attached = discovery.attached(settings)
    assert [each.accelerator_id for each in attached] == [TWO, ONE]
    assert discovery.credentials(settings).access_key_id == "EIAKTEST"


def test_who_does_not_know_the_path_learns_nothing(service: MetadataService) -> None:
    url = urlsplit(service.url)
    for prefix in ("", "/" + "0" * 32, url.path + "0", url.path[:-1]):
        wrong = f"http://{url.netloc}{prefix}/latest"
        assert ask(f"{wrong}/meta-data/instance-id") == (404, "")
        assert ask(f"{wrong}/api/token", "PUT", **{TTL: "60"})[0] in (403, 404)


def test_garbage_disturbs_nobody(service: MetadataService) -> None:
    url = urlsplit(service.url)
    for data in (b"\x00\xff\r\n\r\n", b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n", b""):
        with socket.create_connection((url.hostname, url.port), 60) as connection:
            connection.sendall(data)
    assert ask(service.url + "/latest/meta-data/instance-id") == (200, "i-1")
