"""What a host is told of itself, while its pool answers, is away, or has ended it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from elastic_inference.agent import live
from elastic_inference.agent.live import LiveDocument
from elastic_inference.errors import (
    AuthenticationError,
    ElasticInferenceError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.protocol.sigv4 import UNKNOWN_KEY
from tests.faults.conftest import until

PATIENCE = 60.0
Answer = dict[str, Any] | ElasticInferenceError


def answer(*accelerators: str, **changed: Any) -> dict[str, Any]:
    return {
        "instanceId": "i-1",
        "name": "",
        "state": "running",
        "accelerators": dict.fromkeys(accelerators, "eia1.medium"),
        "region": "us-east-1",
        "zone": "us-east-1a",
        "privateIp": "172.31.0.9",
        "subnetId": "subnet-1",
        "securityGroupIds": [],
        "tags": {},
        "roleName": "elastic-inference",
        "launchTime": 1.0,
        "credentials": None,
        "refreshSeconds": 1e9,
    } | changed


class Pool:
    """Answers what it is given, one by one, and the last of it from then on."""

    def __init__(self, *answers: Answer) -> None:
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        for each in answers:
            self._answers.put(each)
        self._last: Answer = answers[-1]
        self.asked = 0
        self.ended = threading.Event()

    def fetch(self) -> dict[str, Any]:
        self.asked += 1
        if not self._answers.empty():
            self._last = self._answers.get()
        if isinstance(self._last, ElasticInferenceError):
            raise self._last
        return self._last


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks makes it ask, and waits for the answer."""
    monkeypatch.setattr(live, "_FRESH", -1.0)
    monkeypatch.setattr(live, "_PATIENCE", PATIENCE)


@pytest.fixture
def documents() -> Iterator[list[LiveDocument]]:
    made: list[LiveDocument] = []
    yield made
    for each in made:
        each.close()


def started(documents: list[LiveDocument], pool: Pool) -> LiveDocument:
    document = LiveDocument(pool.fetch, pool.ended.set)
    documents.append(document)
    document.start()
    return document


def seen(document: LiveDocument) -> list[str] | None:
    found = document.get()
    return None if found is None else list(found.accelerators)


def test_who_looks_sees_what_the_pool_says_now(documents: list[LiveDocument]) -> None:
    document = started(documents, Pool(answer(), answer("eia-1"), answer("eia-1", "eia-2")))
    assert seen(document) == ["eia-1"]
    assert seen(document) == ["eia-1", "eia-2"]


def test_what_is_fresh_is_not_asked_for_again(
    documents: list[LiveDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_FRESH", PATIENCE)
    pool = Pool(answer("eia-1"))
    document = started(documents, pool)
    for _ in range(10):
        assert seen(document) == ["eia-1"]
    assert pool.asked == 1


@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("No pool answers."),
        AuthenticationError("The request was signed more than 15 minutes from now."),
        answer(refreshSeconds="soon"),
        {"state": "running"},
    ],
)
def test_without_the_pool_what_it_said_last_stays(
    documents: list[LiveDocument], caplog: pytest.LogCaptureFixture, failure: Answer
) -> None:
    pool = Pool(answer(), answer("eia-1"), failure)
    document = started(documents, pool)
    with caplog.at_level(logging.INFO):
        assert seen(document) == ["eia-1"]
        for _ in range(3):
            assert seen(document) == ["eia-1"]
        # It is written after who asked has been told.
        until("the log line", lambda: bool(caplog.records))
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert not pool.ended.is_set()


def test_it_is_said_once_that_the_pool_is_away_and_once_that_it_is_back(
    documents: list[LiveDocument], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_USUAL", 0.01)
    away = UnavailableError("No pool answers.")
    pool = Pool(away, away, away, answer("eia-1"))
    with caplog.at_level(logging.INFO):
        document = started(documents, pool)
        while seen(document) is None:
            pass
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize(
    "end",
    [
        AuthenticationError(f"{UNKNOWN_KEY}."),
        NotFoundError("There is no instance 'i-1'."),
        answer(state="terminated"),
        answer(state="shutting-down"),
    ],
)
@pytest.mark.parametrize("at_first", [True, False])
def test_the_instance_s_end_is_told(
    documents: list[LiveDocument], end: Answer, at_first: bool
) -> None:
    pool = Pool(end) if at_first else Pool(answer("eia-1"), end)
    document = started(documents, pool)
    if not at_first:
        document.get()
    assert pool.ended.wait(PATIENCE)


def test_a_change_of_state_is_said(
    documents: list[LiveDocument], caplog: pytest.LogCaptureFixture
) -> None:
    document = started(documents, Pool(answer(), answer(state="stopped")))
    with caplog.at_level(logging.INFO):
        document.get()
        # Who looks need not wait until it is said.
        until("it is said", lambda: bool(caplog.records))
    assert [each.message for each in caplog.records] == ["This instance is stopped now."]
