"""Instance metadata as boto and the client read it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.credentials import InstanceMetadataProvider
from botocore.utils import InstanceMetadataFetcher

from elastic_inference.client import discovery
from elastic_inference.compute import metadata
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
    with served(document) as service:
        yield service


@contextlib.contextmanager
def served(document: InstanceDocument, **options: Any) -> Iterator[MetadataService]:
    service = MetadataService(lambda: document, **options)
    try:
        yield service
    finally:
        service.close()


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


def test_tokens_end_and_belong_to_one_instance(
    document: InstanceDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(document, secret="one") as first, served(document, secret="two") as second:
        _, token = ask(first.url + "/latest/api/token", "PUT", **{TTL: "60"})
        for other in ("", "A", token[:-4], token.swapcase(), "é"):
            assert not first._server.knows(other)
        assert not second._server.knows(token)
        now = metadata._now()
        monkeypatch.setattr(metadata, "_now", lambda: now + 61)
        path = "/latest/meta-data/instance-id"
        assert ask(first.url + path, **{TOKEN: token}) == (401, "")


def test_the_same_secret_gives_the_same_url_and_tokens_again(document: InstanceDocument) -> None:
    with served(document, secret="kept") as first:
        _, token = ask(first.url + "/latest/api/token", "PUT", **{TTL: "60"})
    with served(document, secret="kept", port=first.port) as second:
        assert second.url == first.url
        url = second.url + "/latest/meta-data/instance-id"
        assert ask(url, **{TOKEN: token}) == (200, "i-1")
        with served(document, secret="kept", port=first.port) as third:
            assert third.port != second.port


def test_listings_at_each_level(service: MetadataService) -> None:
    latest = service.url + "/latest/"
    assert ask(service.url + "/") == (200, "latest")
    assert ask(latest) == (200, "dynamic\nmeta-data")
    names = ask(latest + "meta-data/")[1].splitlines()
    assert {"elastic-inference/", "iam/", "instance-id", "mac", "placement/"} <= set(names)
    assert names == sorted(names)
    assert ask(latest + "meta-data/placement/") == (200, "availability-zone\nregion")
    assert ask(latest + "meta-data/elastic-inference/") == (200, "associations/")
    assert ask(latest + "meta-data/iam/security-credentials/") == (200, "elastic-inference")
    assert ask(latest + "meta-data/plac") == (404, "")
    assert ask(service.url + "/1999-01-01/meta-data/") == (404, "")


def test_what_an_instance_was_launched_with(document: InstanceDocument) -> None:
    launched = dataclasses.replace(
        document,
        image_id="ami-1",
        instance_type="m5.large",
        launch_index=2,
        reservation_id="r-1",
        profile="for-accelerators",
        profile_id="AIPA1",
        public_key="ssh-ed25519 AAAA my key",
    )
    with served(launched) as service:
        base = service.url + "/latest/"
        assert ask(base + "meta-data/ami-id") == (200, "ami-1")
        assert ask(base + "meta-data/ami-launch-index") == (200, "2")
        assert ask(base + "meta-data/instance-type") == (200, "m5.large")
        assert ask(base + "meta-data/reservation-id") == (200, "r-1")
        assert ask(base + "meta-data/public-keys/") == (200, "0=my key")
        assert ask(base + "meta-data/public-keys/0/") == (200, "openssh-key")
        key = (200, "ssh-ed25519 AAAA my key")
        assert ask(base + "meta-data/public-keys/0/openssh-key") == key
        info = json.loads(ask(base + "meta-data/iam/info")[1])
        assert info["InstanceProfileArn"].endswith(":instance-profile/for-accelerators")
        assert info["InstanceProfileId"] == "AIPA1"
        identity = json.loads(ask(base + "dynamic/instance-identity/document")[1])
        assert (identity["imageId"], identity["instanceType"]) == ("ami-1", "m5.large")


def test_version_1_may_be_refused_and_tags_be_hidden(document: InstanceDocument) -> None:
    strict = dataclasses.replace(
        document, tags={"team": "vision"}, tokens_required=True, tags_hidden=True
    )
    with served(strict) as service:
        path = service.url + "/latest/meta-data/instance-id"
        assert ask(path) == (401, "")
        _, token = ask(service.url + "/latest/api/token", "PUT", **{TTL: "60"})
        assert ask(path, **{TOKEN: token}) == (200, "i-1")
        tags = service.url + "/latest/meta-data/tags/instance/team"
        assert ask(tags, **{TOKEN: token}) == (404, "")


def test_every_path_of_the_listings_answers(service: MetadataService) -> None:
    waiting = ["/latest/meta-data/", "/latest/dynamic/"]
    seen = 0
    while waiting:
        path = waiting.pop()
        status, text = ask(service.url + path)
        assert status == 200, path
        if path.endswith("/"):
            waiting += [path + name for name in text.splitlines()]
        seen += 1
    assert seen > 20


def test_only_get_head_and_put(service: MetadataService) -> None:
    url = service.url + "/latest/meta-data/instance-id"
    assert ask(url, "HEAD") == (200, "")
    for method in ("POST", "DELETE", "OPTIONS"):
        assert ask(url, method)[0] == 501
    assert ask(url, "PUT", **{TTL: "60"}) == (403, "")


def test_what_changes_shows_at_once(document: InstanceDocument) -> None:
    now: list[InstanceDocument | None] = [document]
    service = MetadataService(lambda: now[0])
    try:
        base = service.url + "/latest/meta-data/"
        now[0] = replace(document, accelerators={ONE: "eia1.medium"})
        assert ask(base + "elastic-inference/associations/") == (200, ONE)
        now[0] = replace(document, accelerators={})
        assert ask(base + "elastic-inference/associations/") == (404, "")
        now[0] = replace(document, credentials=None)
        assert ask(base + "iam/security-credentials/") == (404, "")
        now[0] = None
        assert ask(base + "instance-id") == (404, "")
    finally:
        service.close()


def test_a_source_that_fails_is_an_error_of_that_request_alone(
    document: InstanceDocument, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[InstanceDocument] = []
    service = MetadataService(lambda: answers[0])
    try:
        assert ask(service.url + "/latest/meta-data/instance-id") == (500, "")
        answers.append(document)
        assert ask(service.url + "/latest/meta-data/instance-id") == (200, "i-1")
    finally:
        service.close()
    assert "could not be read" in caplog.text


def test_the_whole_document(document: InstanceDocument) -> None:
    full = replace(
        document,
        user_data="#!/bin/sh\necho \u00fc\n",
        tags={"Name": "web", "with space": "x", "a/b": "y", "..": "z"},
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        security_groups={"sg-1": "default", "sg-2": "web"},
        private_ip="10.0.0.7",
    )
    with served(full) as service:
        base = service.url + "/latest/meta-data/"
        assert ask(service.url + "/latest/user-data") == (200, full.user_data)
        assert ask(base + "tags/instance/") == (200, "Name")
        assert ask(base + "tags/instance/Name") == (200, "web")
        assert ask(base + "local-ipv4") == (200, "10.0.0.7")
        assert ask(base + "security-groups") == (200, "default\nweb")
        mac = ask(base + "mac")[1]
        macs = base + "network/interfaces/macs/"
        assert ask(macs) == (200, mac + "/")
        assert ask(f"{macs}{mac}/vpc-id") == (200, "vpc-1")
        assert ask(f"{macs}{mac}/subnet-id") == (200, "subnet-1")
        assert ask(f"{macs}{mac}/security-group-ids") == (200, "sg-1\nsg-2")
        identity = json.loads(ask(service.url + "/latest/dynamic/instance-identity/document")[1])
        assert identity["instanceId"] == "i-1"
        assert identity["availabilityZone"] == "us-east-1a"


def test_many_connections_of_one_instance_are_bounded(service: MetadataService) -> None:
    url = urlsplit(service.url)
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection((url.hostname, url.port), 60))
            for _ in range(metadata._MAX_CONNECTIONS)
        ]
        with socket.create_connection((url.hostname, url.port), 60) as late:
            assert late.recv(1) == b""
        assert len(held) == metadata._MAX_CONNECTIONS


def test_boto_refreshes_the_credentials(document: InstanceDocument) -> None:
    now = [document]
    service = MetadataService(lambda: now[0])
    try:
        fetcher = InstanceMetadataFetcher(
            num_attempts=1, config={"ec2_metadata_service_endpoint": service.url}
        )
        credentials = InstanceMetadataProvider(fetcher).load()
        assert credentials is not None
        first = credentials.get_frozen_credentials()
        assert (first.access_key, first.token) == ("EIAKTEST", "session")
        later = RoleCredentials("EIAKNEXT", "next", "later", time.time() + 7200)
        now[0] = replace(document, credentials=later)
        credentials._expiry_time = credentials._time_fetcher()
        second = credentials.get_frozen_credentials()
        assert (second.access_key, second.secret_key, second.token) == ("EIAKNEXT", "next", "later")
    finally:
        service.close()


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
