"""Instances that are places on this machine, each with a user and a network of its own.

Where this process is not root an instance is its environment alone: a metadata service on
loopback, and the commands that the machine's own user starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.compute import execution, network, tools
from elastic_inference.compute.base import ExecRequest, Place, check_user_data
from elastic_inference.compute.home import Home
from elastic_inference.compute.links import DocumentOf, Links, OpenEndpoint
from elastic_inference.compute.metadata import MetadataService
from elastic_inference.compute.stream import Stream
from elastic_inference.errors import (
    AccessDeniedError,
    ConflictError,
    ElasticInferenceError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.isolation import launcher, users
from elastic_inference.protocol.exec_stream import encode_text
from elastic_inference.settings import PoolSettings

_log = logging.getLogger(__name__)
_KEPT = ("LANG", "TZ")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UMASK = 0o022
_OFF = users.Separation(possible=False, why_not="EI_SEPARATE_USERS is off")


@dataclass(slots=True)
class _Instance:
    """An open instance; `running` are the processes that this one has started for it."""

    id: str
    place: Place
    home: Home
    metadata: MetadataService
    undo: contextlib.ExitStack
    running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    # Held while a process is started, so that `stop` sees each one.
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False


class LocalCompute:
    """The provider "local"; see `compute.base.Compute`.

    Args:
        directory: where instances have their homes; made if need be, closed to others.
        document_of: what an instance is told of itself, asked anew each time.
        open_endpoint: serve a listener inside an instance's network as the pool's endpoint;
            gives what closes it.
        endpoint: the pool's URL, which holds inside every instance.
        ca: PEM file of the pool's authority.
        expose: further paths that instances' commands can reach, if their modes allow it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: PoolSettings,
        document_of: DocumentOf,
        open_endpoint: OpenEndpoint,
        endpoint: str,
        ca: Path,
        region: str,
        expose: tuple[Path, ...] = (),
    ) -> None:
        self._directory = directory
        off = settings.separate_users == "off"
        self._separation = _OFF if off else users.separation()
        self._links = Links(
            settings.instance_network, document_of, open_endpoint, endpoint, self._separation
        )
        self._endpoint = endpoint
        self._ca = ca
        self._region = region
        self._expose = expose
        self._instances: dict[str, _Instance] = {}
        self._lock = threading.Lock()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def isolated(self) -> bool:
        """Whether commands may come through the API."""
        return self._separation.possible

    @property
    def why_not(self) -> str:
        """Why they may not, "" if they may."""
        return self._separation.why_not

    def open(self, instance_id: str, place: Mapping[str, Any] | None = None) -> Place:
        """Make the instance's place, or open that of before with all that runs in it.

        Raises:
            UnavailableError: the system does not give what it needs.
            ConfigurationError: the settings ask for namespaces, and there can be none.
        """
        with self._lock:
            known = self._instances.get(instance_id)
            taken = {each.place.uid for each in self._instances.values()}
        if known is not None:
            return known.place
        wanted = Place.of(place) if place else self._links.new_place(instance_id, taken)
        home = Home(self._directory / instance_id, wanted.uid)
        try:
            home.make(wanted.to_dict(), self._ca)
        except OSError as error:
            raise UnavailableError(
                f"Instance {instance_id} gets no directory: {error.strerror}.",
                next_step=f"Make room in {self._directory}.",
            ) from error
        with contextlib.ExitStack() as undo:
            metadata, now = self._links.join(instance_id, wanted, home.root, undo)
            home.keep(now.to_dict())
            instance = _Instance(instance_id, now, home, metadata, undo.pop_all())
        with self._lock:
            self._instances[instance_id] = instance
        return now

    def environment(self, instance_id: str) -> dict[str, str]:
        """The variables that the instance's commands get: nothing else of this process's.

        Raises:
            NotFoundError: it is not open.
        """
        instance = self._instance(instance_id)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or name.startswith("LC_")
        }
        programs = str(Path(sys.executable).parent)
        return (
            kept
            | tools.variables(self._endpoint)
            | {
                "AWS_CA_BUNDLE": str(instance.home.bundle),
                "AWS_DEFAULT_REGION": self._region,
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": instance.metadata.url,
                "AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME": self._endpoint,
                "AWS_REGION": self._region,
                "EI_RUN": "1",
                "HOME": str(instance.home.directory),
                "LOGNAME": instance_id,
                "ORT_DISABLE_TELEMETRY": "1",
                "PATH": f"{programs}:{os.environ.get('PATH') or _PATH}",
                "SHELL": "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh",
                "USER": instance_id,
            }
        )

    def first_boot(self, instance_id: str, user_data: str) -> None:
        """Run user data in the background, unless it ran already.

        Raises:
            AccessDeniedError: this pool runs no commands for others.
            InvalidRequestError: it is no script, or too large.
            UnavailableError: it cannot be started.
        """
        check_user_data(user_data)
        self.check(instance_id)
        instance = self._instance(instance_id)
        script = instance.home.keep_user_data(user_data)
        if script is None:
            return
        command = [str(script)] if user_data.startswith("#!") else ["/bin/sh", str(script)]
        start = execution.variables(
            command, self.environment(instance_id), str(instance.home.directory)
        )
        with instance.home.user_data_log.open("ab") as log, self._starting(instance):
            try:
                process = subprocess.Popen(
                    self._wrap(instance, execution.command_line()),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=start,
                    start_new_session=True,
                )
            except OSError as error:
                raise UnavailableError(
                    f"User data of {instance_id} cannot be started: {error.strerror}."
                ) from error
            instance.running.add(process)
        threading.Thread(
            target=self._await_user_data, args=(instance, process), name="user-data", daemon=True
        ).start()

    def check(self, instance_id: str) -> None:
        """Raise what `execute` would raise before the command runs."""
        if not self.isolated:
            raise AccessDeniedError(
                "Exec through the API and user data need a pool that runs as root, with a user"
                f" for each instance: {self.why_not}.",
                next_step="`ei exec` on this machine runs the command itself.",
            )
        if self._instance(instance_id).place.uid is None:
            raise AccessDeniedError(
                f"Instance {instance_id} has no user of its own: the pool did not run as root"
                " when it began.",
                next_step=f"Stop and start it (ei stop {instance_id}).",
            )

    def execute(
        self,
        instance_id: str,
        request: ExecRequest,
        connection: socket.socket,
        early: bytes = b"",
    ) -> None:
        """Run a command over `connection` until it, or the connection, has ended.

        Args:
            early: what was received of the frames already.

        Raises:
            AccessDeniedError: this pool runs no commands for others.
            NotFoundError: the instance is not open.
        """
        self.check(instance_id)
        instance = self._instance(instance_id)
        stream = Stream(connection, early)
        try:
            with self._starting(instance):
                run = execution.Execution(
                    request,
                    self.environment(instance_id),
                    str(instance.home.directory),
                    wrap=lambda argv: self._wrap(instance, argv),
                    owner=instance.place.uid,
                )
                instance.running.add(run.process)
        except ElasticInferenceError as error:
            stream.send(encode_text(str(error)))
            execution.finish(stream)
            return
        try:
            run.run(stream)
        finally:
            with instance.lock:
                instance.running.discard(run.process)

    def processes(self, instance_id: str) -> int:
        """How many processes the instance has; 0 where it has no user of its own."""
        with self._lock:
            instance = self._instances.get(instance_id)
        uid = None if instance is None else instance.place.uid
        return 0 if uid is None else processes_of(uid)

    def stop(self, instance_id: str) -> None:
        """End all that runs; files stay. Nothing where it is not open."""
        with self._lock:
            instance = self._instances.pop(instance_id, None)
        if instance is None:
            return
        with instance.lock:
            instance.ended = True
            for process in instance.running:
                # One that has not given up root's rights yet is not found by its user.
                process.kill()
        if instance.place.uid is not None:
            users.end_all(instance.place.uid)
        instance.undo.close()
        if instance.place.network is not None:
            network.remove(instance.place.network)

    def close_instance(self, instance_id: str) -> None:
        """Stop it and remove all that it had, open or not."""
        self.stop(instance_id)
        self._remove(self._directory / instance_id)

    def sweep(self, known: set[str]) -> None:
        """Remove what instances that nobody knows any more have left."""
        for path in sorted(self._directory.iterdir()):
            if path.name not in known:
                try:
                    self.close_instance(path.name)
                except (OSError, ElasticInferenceError):
                    _log.exception("What %s left cannot be removed", path.name)
        network.remove_orphans()

    def close(self) -> None:
        """Let go: what runs goes on, and may be opened again."""
        with self._lock:
            instances = list(self._instances.values())
            self._instances.clear()
        for instance in instances:
            instance.undo.close()

    def _instance(self, instance_id: str) -> _Instance:
        with self._lock:
            instance = self._instances.get(instance_id)
        if instance is None:
            raise NotFoundError(
                f"Instance {instance_id} does not run on this machine.",
                next_step="See `ei describe instances`.",
            )
        return instance

    @contextlib.contextmanager
    def _starting(self, instance: _Instance) -> Iterator[None]:
        with instance.lock:
            if instance.ended:
                raise ConflictError(f"Instance {instance.id} is being stopped.")
            yield

    def _wrap(self, instance: _Instance, argv: list[str]) -> list[str]:
        uid = instance.place.uid
        if uid is None:
            raise AccessDeniedError(f"Instance {instance.id} has no user of its own.")
        return launcher.command(
            argv,
            uid=uid,
            expose=[instance.home.root, *self._expose],
            network=instance.place.network,
            umask=_UMASK,
        )

    def _await_user_data(self, instance: _Instance, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with instance.lock:
            instance.running.discard(process)
        with contextlib.suppress(OSError), instance.home.user_data_log.open("a") as log:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            log.write(f"ei: user data ended with {how}.\n")

    def _remove(self, root: Path) -> None:
        home = Home(root, None)
        if not home.root.exists():
            return
        document = home.kept()
        if document is not None:
            place = Place.of(document)
            if place.uid is not None and self.isolated:
                users.end_all(place.uid)
            if place.network is not None:
                network.remove(place.network)
        home.remove()


def processes_of(uid: int) -> int:
    """How many processes of a user run; those that wait to be reaped do not."""
    count = 0
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    count += entry.stat().st_uid == uid and _runs(Path(entry.path))
    return count


def _runs(process: Path) -> bool:
    # The name before the state may have any character in it.
    state = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    return state not in {"Z", "X"}
