from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    ModelFormatError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.serving import policy
from elastic_inference.serving.config import ALL, SPECIFIC, ModelServerConfig, VersionPolicy
from elastic_inference.serving.manager import Manager
from elastic_inference.serving.service import ModelSpec, Service
from tests.serving.versions import (
    CORRUPT,
    PATIENCE,
    FakeLoader,
    Models,
    manage,
    states,
    until,
)


@pytest.fixture(autouse=True)
def _settle_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "SETTLE", 0.05)


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path)


@pytest.fixture
def loader() -> Iterator[FakeLoader]:
    loader = FakeLoader()
    yield loader
    loader.gate.set()


def test_the_latest_version_is_served(models: Models, loader: FakeLoader) -> None:
    models.add("m", "0001")
    models.add("m", "00000123")
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        with manager.use(ModelSpec("m")) as servable:
            assert servable.version == 123
        assert states(manager, "m") == {123: "AVAILABLE"}
    assert loader.servables["m", 123].is_closed


def test_what_is_not_there(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        for spec, words in (
            (ModelSpec("other"), r"Servable not found for request: Latest\(other\)"),
            (ModelSpec("m", 7), r"Servable not found for request: Specific\(m, 7\)"),
        ):
            with pytest.raises(NotFoundError, match=words), manager.use(spec):
                pass
        with (
            pytest.raises(InvalidRequestError, match="no name specified"),
            manager.use(ModelSpec("")),
        ):
            pass
        with (
            pytest.raises(InvalidRequestError, match="Unrecognized servable version label: x"),
            manager.use(ModelSpec("m", label="x")),
        ):
            pass
        with pytest.raises(NotFoundError, match="Could not find any versions of model other"):
            manager.status(ModelSpec("other"))
        with pytest.raises(NotFoundError, match="Could not find version 7 of model m"):
            manager.status(ModelSpec("m", 7))


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        (VersionPolicy(count=2), {2, 3}),
        (VersionPolicy(ALL), {1, 2, 3}),
        (VersionPolicy(SPECIFIC, versions=(1, 3, 9)), {1, 3}),
    ],
)
def test_policies(
    models: Models, loader: FakeLoader, wanted: VersionPolicy, served: set[int]
) -> None:
    for version in (1, 2, 3):
        models.add("m", version)
    with manage(loader) as manager:
        manager.reload(models.config("m", policy=wanted))
        until(lambda: states(manager, "m") == dict.fromkeys(served, "AVAILABLE"))
        with manager.use(ModelSpec("m")) as servable:
            assert servable.version == 3
        with manager.use(ModelSpec("m", min(served))) as servable:
            assert servable.version == min(served)


def test_a_new_version_takes_over_before_the_old_one_goes(
    models: Models, loader: FakeLoader
) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        loader.gate.clear()
        models.add("m", 2)
        until(lambda: states(manager, "m") == {2: "LOADING", 1: "AVAILABLE"})
        with manager.use(ModelSpec("m")) as servable:
            assert servable.version == 1
            loader.gate.set()
            until(lambda: states(manager, "m") == {2: "AVAILABLE", 1: "UNLOADING"})
            # A request that is at the old one keeps it.
            assert not loader.servables["m", 1].is_closed
            with pytest.raises(NotFoundError), manager.use(ModelSpec("m", 1)):
                pass
        until(lambda: states(manager, "m") == {2: "AVAILABLE", 1: "END"})
        assert loader.servables["m", 1].is_closed


def _await_version(manager: Manager, version: int) -> None:
    until(lambda: states(manager, "m").get(version) == "AVAILABLE")


def test_versions_change_under_load_without_a_failed_request(
    models: Models, loader: FakeLoader
) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        service = Service(manager)
        ended = threading.Event()
        value = np.ones(1, np.float32)

        def ask() -> list[int]:
            seen = []
            is_last = False
            while not is_last:
                is_last = ended.is_set()
                answer = service.predict(ModelSpec("m"), {"x": value})
                version = answer.spec.version
                assert version is not None
                seen.append(version)
            return seen

        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(ask) for _ in range(4)]
            try:
                for version in range(2, 9):
                    models.add("m", version)
                    _await_version(manager, version)
                    models.remove("m", version - 1)
            finally:
                ended.set()
            for each in asked:
                seen = each.result(PATIENCE)
                assert seen == sorted(seen)
                assert seen[-1] == 8
        until(
            lambda: all(
                servable.is_closed == (version < 8)
                for (_, version), servable in loader.servables.items()
            )
        )


def test_a_corrupt_new_version_leaves_the_old_one_serving_and_says_why(
    models: Models, loader: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        path = models.add("m", 2, CORRUPT)
        until(lambda: states(manager, "m").get(2) == "END")
        (status,) = manager.status(ModelSpec("m", 2))
        assert isinstance(status.error, ModelFormatError)
        assert "it is cut off" in caplog.text
        with manager.use(ModelSpec("m")) as servable:
            assert servable.version == 1
        # It is not tried again as it is.
        manager.poll()
        manager.poll()
        assert loader.calls.count(("m", 2)) == 1
        (path / "saved_model.pb").write_bytes(b"a good model")
        until(lambda: states(manager, "m") == {2: "AVAILABLE", 1: "END"})
        assert loader.calls.count(("m", 2)) == 2


def test_where_the_latest_is_corrupt_the_one_before_is_served(
    models: Models, loader: FakeLoader
) -> None:
    models.add("m", 1)
    models.add("m", 2, CORRUPT)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        assert states(manager, "m") == {2: "END", 1: "AVAILABLE"}


def test_a_half_written_folder_is_waited_for(
    models: Models, loader: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        folder = models.folder / "m" / "2"
        (folder / "variables").mkdir(parents=True)
        until(lambda: "it has no saved_model.pb yet" in caplog.text)
        (folder / "saved_model.pb").write_bytes(b"model")
        (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"weights")
        until(lambda: "it has no variables/variables.index yet" in caplog.text)
        assert loader.calls == [("m", 1)]
        (folder / "variables" / "variables.index").write_bytes(b"index")
        until(lambda: states(manager, "m") == {2: "AVAILABLE", 1: "END"})
    waits = [
        record
        for record in caplog.records
        if "Version 2 of servable m waits" in record.msg % record.args
    ]
    assert len(waits) <= 3, "what is true for a while is said once"


def test_what_still_grows_is_waited_for(
    models: Models, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        clock = policy.now
        # The time stands still: nothing settles.
        frozen = clock()
        monkeypatch.setattr(policy, "now", lambda: frozen)
        folder = models.add("m", 2)
        monkeypatch.setattr(policy, "now", lambda: policy.look(folder).changed)
        for size in (1, 10, 100):
            (folder / "saved_model.pb").write_bytes(b"x" * size)
            manager.poll()
        assert loader.calls == [("m", 1)]
        monkeypatch.setattr(policy, "now", clock)
        until(lambda: states(manager, "m").get(2) == "AVAILABLE")


def test_versions_that_are_deleted(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    models.add("m", 2)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        models.remove("m", 2)
        until(lambda: states(manager, "m") == {2: "END", 1: "AVAILABLE"})
        models.remove("m", 1)
        until(lambda: states(manager, "m") == {2: "END", 1: "END"})
        with pytest.raises(NotFoundError, match="Servable not found"), manager.use(ModelSpec("m")):
            pass
        models.add("m", 2)
        until(lambda: states(manager, "m")[2] == "AVAILABLE")


def test_a_base_path_that_goes_away_unloads_nothing(
    models: Models, loader: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("m", 1)
    with manage(loader) as manager:
        manager.reload(models.config("m"))
        (models.folder / "m").rename(models.folder / "elsewhere")
        until(lambda: "Could not find base path" in caplog.text)
        assert states(manager, "m") == {1: "AVAILABLE"}


def test_a_base_path_that_comes_later_is_waited_for(
    models: Models, loader: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    with manage(loader) as manager, ThreadPoolExecutor(1) as threads:
        started = threads.submit(manager.reload, models.config("m"))
        until(lambda: "Could not find base path" in caplog.text)
        (models.folder / "m").mkdir()
        until(lambda: "Did you forget to name your leaf directory as a number" in caplog.text)
        assert not started.done()
        models.add("m", 1)
        started.result(PATIENCE)
        assert states(manager, "m") == {1: "AVAILABLE"}


def test_a_start_that_waits_can_be_ended(models: Models, loader: FakeLoader) -> None:
    manager = manage(loader)
    with ThreadPoolExecutor(1) as threads:
        started = threads.submit(manager.reload, models.config("m"))
        manager.stop()
        with pytest.raises(UnavailableError, match="is being stopped"):
            started.result(PATIENCE)


def test_a_start_without_any_good_version_fails(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1, CORRUPT)
    models.add("n", 1)
    with (
        manage(loader) as manager,
        pytest.raises(UnavailableError) as raised,
    ):
        manager.reload(models.config("m", "n"))
    assert raised.value.message == (
        "1 model(s) did not become available: {{name: m version: 1} due to error: "
        "The SavedModel's file is damaged: it is cut off.}"
    )


def test_a_load_that_may_succeed_later_is_tried_again(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    loader.errors = [UnavailableError("not yet"), UnavailableError("not yet")]
    with manage(loader, most_retries=2) as manager:
        manager.reload(models.config("m"))
        assert loader.calls == [("m", 1)] * 3
        assert manager.status(ModelSpec("m"))[0].error is None


def test_tries_are_counted(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    loader.errors = [UnavailableError("not yet") for _ in range(9)]
    with (
        manage(loader, most_retries=1, retry_interval=-1) as manager,
        pytest.raises(UnavailableError, match="not yet"),
    ):
        manager.reload(models.config("m"))
    assert loader.calls == [("m", 1)] * 2


def test_a_defect_of_the_loader_becomes_the_versions_error(
    models: Models, loader: FakeLoader
) -> None:
    models.add("m", 1)
    loader.errors = [ZeroDivisionError("what")]  # type: ignore[list-item]
    with (
        manage(loader) as manager,
        pytest.raises(UnavailableError, match="ZeroDivisionError"),
    ):
        manager.reload(models.config("m"))


def test_one_look_only(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    with manage(loader, poll_interval=0) as manager:
        manager.reload(models.config("m"))
        models.add("m", 2)
        assert states(manager, "m") == {1: "AVAILABLE"}
        manager.reload(models.config("m"))
        until(lambda: states(manager, "m") == {2: "AVAILABLE", 1: "END"})


def test_models_come_and_go_with_the_configuration(models: Models, loader: FakeLoader) -> None:
    for name in ("a", "b"):
        models.add(name, 1)
    with manage(loader) as manager:
        manager.reload(models.config("a"))
        manager.reload(models.config("b"))
        until(lambda: states(manager, "a") == {1: "END"})
        assert states(manager, "b") == {1: "AVAILABLE"}
        assert loader.servables["a", 1].is_closed
        manager.reload(models.config("a", "b"))
        assert states(manager, "a") == {1: "AVAILABLE"}


def test_a_wrong_configuration_changes_nothing(models: Models, loader: FakeLoader) -> None:
    models.add("a", 1)
    with manage(loader) as manager:
        manager.reload(models.config("a"))
        with pytest.raises(InvalidRequestError, match="multiple times"):
            manager.reload(models.config("b", "b"))
        with pytest.raises(InvalidRequestError, match="custom model config"):
            manager.reload(ModelServerConfig(custom="x"))
        assert states(manager, "a") == {1: "AVAILABLE"}
        manager.reload(ModelServerConfig())
        until(lambda: states(manager, "a") == {1: "END"})


def _labelled(config: ModelServerConfig, **labels: int) -> ModelServerConfig:
    return ModelServerConfig(tuple(replace(each, labels=labels) for each in config.models))


def test_labels_are_for_versions_that_are_available(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    models.add("m", 2)
    config = models.config("m", policy=VersionPolicy(ALL))
    with manage(loader) as manager:
        with pytest.raises(
            ConflictError, match="Request to assign label to version 1 of model m, which is not"
        ):
            manager.reload(_labelled(config, stable=1))
        manager.reload(config)
        until(lambda: states(manager, "m") == {1: "AVAILABLE", 2: "AVAILABLE"})
        manager.reload(_labelled(config, stable=1, canary=2))
        for label, version in (("stable", 1), ("canary", 2)):
            with manager.use(ModelSpec("m", label=label)) as servable:
                assert servable.version == version
            (status,) = manager.status(ModelSpec("m", label=label))
            assert status.version == version
        with pytest.raises(ConflictError):
            manager.reload(_labelled(config, stable=3))
        with manager.use(ModelSpec("m", label="stable")) as servable:
            assert servable.version == 1


def test_new_labels_may_be_allowed_for_versions_to_come(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    config = models.config("m")
    with manage(loader, allows_labels=True) as manager:
        manager.reload(_labelled(config, stable=1, canary=2))
        with pytest.raises(NotFoundError), manager.use(ModelSpec("m", label="canary")):
            pass
        models.add("m", 2)
        until(lambda: states(manager, "m") == {2: "AVAILABLE", 1: "END"})
        with manager.use(ModelSpec("m", label="canary")) as servable:
            assert servable.version == 2
        # A label that is there already goes to available versions only.
        with pytest.raises(ConflictError):
            manager.reload(_labelled(config, stable=3, canary=2))


def test_what_its_log_says(
    models: Models, loader: FakeLoader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    models.add("half_plus_two", "00000123")
    with manage(loader) as manager:
        manager.reload(models.config("half_plus_two"))
        until(
            lambda: (
                "Successfully loaded servable version {name: half_plus_two version: 123}"
                in caplog.text
            )
        )


def test_a_stop_waits_for_requests(models: Models, loader: FakeLoader) -> None:
    models.add("m", 1)
    manager = manage(loader)
    manager.reload(models.config("m"))
    with ThreadPoolExecutor(1) as threads:
        with manager.use(ModelSpec("m")):
            stopped = threads.submit(manager.stop)
            until(lambda: states(manager, "m") == {1: "UNLOADING"})
            with (
                pytest.raises(UnavailableError, match="being stopped"),
                manager.use(ModelSpec("m")),
            ):
                pass
            assert not loader.servables["m", 1].is_closed
        stopped.result(PATIENCE)
    assert loader.servables["m", 1].is_closed
