"""The instance that `ei run` is: in the pool that runs, or in one of its own."""

from __future__ import annotations

import contextlib
import gc
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from elastic_inference.cli.connection import find_pool
from elastic_inference.cli.inside import Call, Document, LastKnown, private_directory
from elastic_inference.control.client import ControlClient
from elastic_inference.errors import ConfigurationError, NotFoundError, UnavailableError
from elastic_inference.isolation import users
from elastic_inference.settings import Limits, PoolSettings, from_environment

if TYPE_CHECKING:
    from elastic_inference.client.discovery import Credentials


class RunningInstance:
    """An instance with its accelerators, which serve.

    Attributes:
        id: `i-…`.
        accelerators: type of each accelerator by its id.
        endpoint: the pool's URL.
        ca: PEM file of the pool's certificate authority.
        directory: private to this run; it goes with it.
        call: the pool's control API.
        document: what the instance is told of itself.
    """

    def __init__(
        self,
        settings: PoolSettings,
        types: Sequence[str],
        name: str,
        *,
        role: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        with contextlib.ExitStack() as undo:
            self.directory = private_directory(undo)
            remote = find_pool(settings)
            lease = None if remote is None else settings.instance_lease
            if remote is not None:
                self.endpoint, self.ca = remote.pointer.endpoint, remote.pointer.ca
                self.call: Call = remote.call
            else:
                self._embed(settings, undo)
            document: Document = {
                "acceleratorTypes": list(types),
                "clientToken": secrets.token_hex(16),
                "name": name,
                "provider": "command",
                "roleName": role,
                "tags": dict(tags or {}),
            }
            started = self.call(
                "RunInstance", document | ({"leaseSeconds": lease} if lease else {})
            )
            self.id: str = started["instanceId"]
            undo.callback(self._terminate)
            self.accelerators: dict[str, str] = {
                each["acceleratorId"]: each["acceleratorType"] for each in started["accelerators"]
            }
            for note in started.get("notes", []):
                print(f"ei: {note}", file=sys.stderr)
            if remote is not None and lease is not None:
                undo.enter_context(_KeepingAlive(remote, self.id, lease / 3))
            self.document = LastKnown(self.call, self.id)
            self._undo = undo.pop_all()

    def credentials(self) -> Credentials:
        """The instance's credentials, as a process in it would get them.

        Raises:
            ConfigurationError: it has none now.
        """
        from elastic_inference.client.discovery import Credentials  # noqa: PLC0415 - loads NumPy

        document = self.document()
        given = None if document is None else document.credentials
        if given is None:
            raise ConfigurationError(f"The instance {self.id} has no credentials.")
        return Credentials(given.access_key_id, given.secret_access_key, given.session_token)

    def close(self) -> None:
        """Give everything back."""
        self._undo.close()

    def _embed(self, settings: PoolSettings, undo: contextlib.ExitStack) -> None:
        # Whether users can be told apart takes a trial, which goes on while the rest is loaded.
        trial = threading.Thread(target=users.separation, name="trial", daemon=True)
        trial.start()
        # Very much is made while modules load, and none of it is garbage.
        gc.disable()
        try:
            # The control plane is loaded only where it runs.
            from elastic_inference.aws.front import AwsFront  # noqa: PLC0415
            from elastic_inference.control.pool import Pool  # noqa: PLC0415
        finally:
            gc.enable()
        trial.join()
        limits = from_environment(Limits)
        pool = Pool(self.directory, settings=settings, limits=limits, outlive=False, front=AwsFront)
        undo.callback(pool.close)
        self.endpoint, self.ca = pool.pointer.endpoint, pool.pointer.ca
        self.call = lambda operation, document: pool.operations.call(
            operation, document, pool.caller()
        )

    def _terminate(self) -> None:
        try:
            self.call("TerminateInstance", {"instanceId": self.id})
        except NotFoundError:
            pass
        except UnavailableError as error:
            print(f"ei: {error.message} The pool ends {self.id} by itself.", file=sys.stderr)


class _KeepingAlive:
    """Renews an instance's lease for as long as it is entered."""

    def __init__(self, pool: ControlClient, instance_id: str, interval: float) -> None:
        self._pool = pool
        self._instance_id = instance_id
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keep-alive", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            try:
                self._pool.call("KeepAlive", {"instanceId": self._instance_id})
            except UnavailableError:
                # The control plane may come back within the lease; accelerators go on without.
                continue
            except NotFoundError as error:
                print(f"ei: {error.message} Its accelerators are gone.", file=sys.stderr)
                return
