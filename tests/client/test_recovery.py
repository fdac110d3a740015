"""Accelerators that die, come back, drain, forget, or refuse."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from elastic_inference.client import Accelerator
from elastic_inference.client.connection import Connection
from elastic_inference.client.grant import Grant
from elastic_inference.client.watchdog import NEVER
from elastic_inference.errors import (
    AcceleratorLostError,
    AuthenticationError,
    DeadlineExceededError,
    UnavailableError,
)
from tests.client.conftest import Reachable
from tests.client.models import scaled, slow

X = np.arange(1000, dtype=np.float32)


class MovingLocator:
    """Where the accelerator is now: what the endpoint's Connect answers after a restart."""

    def __init__(self, reachable: Reachable, transport: str) -> None:
        self._reachable, self._transport = reachable, transport
        self.asked = 0
        self.lifetime = 600.0

    def grant(self) -> Grant:
        self.asked += 1
        return Grant(
            accelerator_id=self._reachable.process.config.accelerator_id,
            accelerator_type="",
            address=self._reachable.address(self._transport),
            token=self._reachable.process.token(lifetime=self.lifetime),
        )


def _attach(locator: MovingLocator, transport: str, **settings: float) -> Accelerator:
    from elastic_inference.settings import ClientSettings

    wanted = "tls" if transport == "tcp" else transport
    fields: dict[str, Any] = {"timeout": 60.0, "recovery_timeout": 60.0, **settings}
    return Accelerator(locator, ClientSettings(transport=wanted, **fields))


def _wait_until_busy(accelerator: Accelerator) -> None:
    """Until an inference is under way."""
    while not any(each.deadline < NEVER for each in tuple(accelerator._link._connections)):
        time.sleep(0.001)


def test_killed_and_started_again_while_idle(mortal: Reachable, transport: str) -> None:
    with _attach(MovingLocator(mortal, transport), transport) as accelerator:
        large = np.arange(100_000, dtype=np.float32)
        model = accelerator.load(scaled(2))
        registered = model.empty("x", (100_000,))
        registered[:] = large
        for x in (X, large, registered):
            np.testing.assert_array_equal(model.run({"x": x})[0], x * 2)
        for _ in range(2):
            mortal.kill()
            mortal.start()
            for x in (registered, large, X):
                np.testing.assert_array_equal(model.run({"x": x})[0], x * 2)


def test_killed_during_an_inference(mortal: Reachable, transport: str) -> None:
    with _attach(MovingLocator(mortal, transport), transport) as accelerator:
        model = accelerator.load(slow())
        x = np.random.default_rng(1).random((150, 150), np.float32)
        want = model.run({"x": x})[0]
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(model.run, {"x": x})
            _wait_until_busy(accelerator)
            mortal.kill()
            mortal.start()
            np.testing.assert_array_equal(running.result(60.0)[0], want)


def test_everything_forgotten_is_brought_back(mortal: Reachable, transport: str) -> None:
    with _attach(MovingLocator(mortal, transport), transport) as accelerator:
        models = [accelerator.load(scaled(factor, size=3_000_000)) for factor in (2, 3)]
        mortal.kill()
        for folder in (mortal.process.config.directory, mortal.process.config.store_directory):
            shutil.rmtree(folder)
        mortal.start()
        for factor, model in zip((2, 3), models, strict=True):
            np.testing.assert_array_equal(model.run({"x": X}, ["y"])[0], X * factor)


def test_threads_recover_together(mortal: Reachable) -> None:
    locator = MovingLocator(mortal, "tls")
    with _attach(locator, "tls") as accelerator:
        model = accelerator.load(scaled(2))
        rounds = threading.Barrier(9)

        def work(number: int) -> None:
            x = X + number
            for _ in range(3):
                rounds.wait(60.0)
                rounds.wait(60.0)
                for _ in range(5):
                    np.testing.assert_array_equal(model.run({"x": x})[0], x * 2)

        with ThreadPoolExecutor(8) as threads:
            done = [threads.submit(work, number) for number in range(8)]
            for _ in range(3):
                rounds.wait(60.0)
                mortal.kill()
                mortal.start()
                rounds.wait(60.0)
            for each in done:
                each.result(60.0)
        # One of the eight asks the endpoint, not each of them.
        assert locator.asked <= 12


def test_one_that_does_not_come_back(mortal: Reachable, transport: str) -> None:
    locator = MovingLocator(mortal, transport)
    with _attach(locator, transport, recovery_timeout=0.3) as accelerator:
        model = accelerator.load(scaled(2))
        model.run({"x": X})
        mortal.kill()
        for _ in range(2):
            with pytest.raises(AcceleratorLostError, match="EI_ON_LOSS") as caught:
                model.run({"x": X})
            assert caught.value.accelerator_id == accelerator.id
            assert caught.value.request_id.startswith("EI-")
        mortal.start()
        np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)


def test_a_drained_accelerator_is_lost_until_it_is_back(mortal: Reachable, transport: str) -> None:
    with _attach(MovingLocator(mortal, transport), transport) as accelerator:
        model = accelerator.load(scaled(2))
        model.run({"x": X})
        mortal.process.process.send_signal(signal.SIGTERM)

        def again() -> None:
            mortal.process.process.wait(60.0)
            mortal.stop()
            mortal.start()

        with ThreadPoolExecutor(1) as thread:
            restarted = thread.submit(again)
            while not restarted.done():
                np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)
            restarted.result()
        np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)


def test_a_model_unloaded_by_force_is_loaded_again(mortal: Reachable) -> None:
    with _attach(MovingLocator(mortal, "unix"), "unix") as accelerator:
        model = accelerator.load(scaled(2))
        accelerator._link.request("POST", f"/v2/repository/models/{model.handle}/unload")
        np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)


def test_an_expired_token_is_renewed(mortal: Reachable, transport: str) -> None:
    locator = MovingLocator(mortal, transport)
    locator.lifetime = 1.0
    with _attach(locator, transport) as accelerator:
        model = accelerator.load(scaled(2))
        model.run({"x": X})
        asked = locator.asked
        locator.lifetime = 600.0
        deadline = time.monotonic() + 30.0
        while locator.asked == asked and time.monotonic() < deadline:
            np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)
            time.sleep(0.01)
        assert locator.asked == asked + 1
        # The connection stayed: only its authorisation is new.
        assert len(accelerator._link._connections) == 1
        np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)


def test_a_connection_that_missed_a_token_finds_the_one_after_it(
    mortal: Reachable, transport: str
) -> None:
    """It lay idle while the link's token was renewed and expired once more."""
    locator = MovingLocator(mortal, transport)
    locator.lifetime = 1.0
    with _attach(locator, transport) as accelerator:
        model = accelerator.load(scaled(2))
        link = accelerator._link
        used, idle = link.take(), link.take()
        _until_refused(used)
        link.renew(used)
        _until_refused(used)
        link.give_back(idle)
        locator.lifetime = 600.0
        np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)
        assert idle.token == link.grant.token != used.token
        link.drop(used)


def _until_refused(connection: Connection) -> None:
    with contextlib.suppress(AuthenticationError):
        while connection.request("GET", "/v2", b""):
            time.sleep(0.01)


def test_a_token_that_cannot_be_renewed(reachable: Reachable, transport: str) -> None:
    foreign = reachable.process.token(accelerator_id="eia-" + "f" * 32)
    for token in ("nonsense", foreign, reachable.process.token(lifetime=-1.0)):
        with pytest.raises(AuthenticationError) as caught:
            reachable.connect(transport, token=token)
        assert "[3, 16, 8]" in str(caught.value)


def test_an_inference_over_its_time(reachable: Reachable, transport: str) -> None:
    with reachable.connect(transport) as unhurried:
        want = unhurried.load(scaled(2)).run({"x": X})[0]
        unhurried.load(slow(3000)).run({"x": np.ones((4, 4), np.float32)})
        with reachable.connect(transport, timeout=0.05) as accelerator:
            model = accelerator.load(slow(3000))
            with pytest.raises(DeadlineExceededError, match="EI_TIMEOUT"):
                model.run({"x": np.random.default_rng(1).random((200, 200), np.float32)})
            patient = accelerator.load(scaled(2))
            deadline = time.monotonic() + 30.0
            while True:
                try:
                    got = patient.run({"x": X})[0]
                    break
                except DeadlineExceededError:
                    # The accelerator still computes what nobody waits for any more.
                    assert time.monotonic() < deadline
            np.testing.assert_array_equal(got, want)


def test_nobody_at_the_address(mortal: Reachable, transport: str) -> None:
    mortal.kill()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        mortal.connect(transport, token="any", connect_timeout=0.2)


def test_a_certificate_that_is_not_trusted(reachable: Reachable) -> None:
    from elastic_inference.client import Address, connect
    from elastic_inference.errors import ConfigurationError
    from elastic_inference.settings import ClientSettings

    assert reachable.endpoint is not None
    for name, ca in (("accelerator.test", ""), ("other.test", reachable.ca)):
        with pytest.raises(ConfigurationError, match="AWS_CA_BUNDLE"):
            connect(
                settings=ClientSettings(transport="tls"),
                address=Address(
                    host="127.0.0.1", port=reachable.endpoint.port, server_name=name, ca=ca
                ),
                token=reachable.process.token(),
            )


class AbsentLocator(MovingLocator):
    """Gives no grant for a while, as a control plane that is being restarted."""

    absent = 0

    def grant(self) -> Grant:
        if self.absent:
            self.absent -= 1
            raise UnavailableError("Cannot reach the endpoint.")
        return super().grant()


def test_a_token_that_expires_while_nobody_gives_new_ones(
    mortal: Reachable, transport: str
) -> None:
    locator = AbsentLocator(mortal, transport)
    locator.lifetime = 1.0
    with _attach(locator, transport) as accelerator:
        model = accelerator.load(scaled(2))
        link = accelerator._link
        connection = link.take()
        _until_refused(connection)
        link.give_back(connection)
        locator.lifetime, locator.absent = 600.0, 3
        np.testing.assert_array_equal(model.run({"x": X})[0], X * 2)
        assert locator.absent == 0
