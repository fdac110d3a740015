"""Instances of this machine: users, networks, metadata, files, and lives of the pool."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elastic_inference.compute import network
from elastic_inference.compute.base import ExecRequest, Place
from elastic_inference.compute.document import InstanceDocument, RoleCredentials
from elastic_inference.compute.local import LocalCompute, processes_of
from elastic_inference.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
)
from elastic_inference.isolation import users
from elastic_inference.settings import PoolSettings
from tests.compute.commands import run

ROOT = os.geteuid() == 0 and shutil.which("ip") is not None
needs_root = pytest.mark.skipif(not ROOT, reason="needs root and iproute2")
PATIENCE = 60.0
ONE, TWO = "i-0123456789abcde01", "i-0123456789abcde02"
FETCH = """
import sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        print(answer.read().decode())
except OSError as error:
    print("no:", error)
"""


class Endpoint:
    """Takes connections where instances look for their pool."""

    def __init__(self) -> None:
        self.listeners: list[socket.socket] = []
        self.closed = 0

    def open(self, listener: socket.socket) -> Callable[[], None]:
        self.listeners.append(listener)

        def close() -> None:
            listener.close()
            self.closed += 1

        return close


Start = Callable[..., LocalCompute]


def document_of(instance_id: str) -> InstanceDocument:
    return InstanceDocument(
        instance_id=instance_id,
        accelerators={},
        region="us-east-1",
        credentials=RoleCredentials("EIAK" + instance_id, "secret", "", time.time() + 3600),
    )


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def start(tmp_path: Path, endpoint: Endpoint) -> Iterator[Start]:
    """Start providers over the same directory; each ends with the test, and what they made."""
    authority = tmp_path / "ca.pem"
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    directory = tmp_path / "closed" / "instances"
    directory.parent.mkdir(mode=0o700)
    made: list[LocalCompute] = []

    def new(instance_network: str = "auto", at: str = "https://127.0.0.1:9443") -> LocalCompute:
        compute = LocalCompute(
            directory,
            settings=PoolSettings(instance_network=instance_network),
            document_of=document_of,
            open_endpoint=endpoint.open,
            endpoint=at,
            ca=authority,
            region="us-east-1",
        )
        made.append(compute)
        return compute

    yield new
    for each in made:
        each.close()
    if made:
        made[-1].sweep(set())
        assert list(directory.iterdir()) == []


def call(
    compute: LocalCompute, instance_id: str, *command: str, stdin: bytes = b"", **document: object
) -> tuple[int, str, str]:
    request = ExecRequest.of({"command": list(command), **document})
    code, out, err = run(
        lambda connection: compute.execute(instance_id, request, connection), stdin
    )
    return code, out.decode(), err.decode()


def fetch(compute: LocalCompute, instance_id: str, url: str) -> str:
    return call(compute, instance_id, "python", "-c", FETCH, url)[1].strip()


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


class TestAsAnyone:
    """What holds without root too."""

    @pytest.fixture(autouse=True)
    def _nobody_is_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        why = users.Separation(possible=False, why_not="only root can do that")
        monkeypatch.setattr(users, "separation", lambda: why)

    def test_an_instance_is_its_environment(self, start: Start) -> None:
        compute = start()
        place = compute.open(ONE)
        assert (place.uid, place.network) == (None, None)
        environment = compute.environment(ONE)
        url = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
        assert url.startswith(f"http://127.0.0.1:{place.port}/")
        done = subprocess.run(
            ["python", "-c", FETCH, url + "/latest/meta-data/instance-id"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == ONE
        assert compute.processes(ONE) == 0

    def test_commands_do_not_come_through_the_api(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        assert not compute.isolated
        assert compute.why_not == "only root can do that"
        request = ExecRequest(("true",))
        with socket.socket() as connection:
            refused: list[Callable[[], None]] = [
                lambda: compute.check(ONE),
                lambda: compute.first_boot(ONE, "true"),
                lambda: compute.execute(ONE, request, connection),
            ]
            for each in refused:
                with pytest.raises(AccessDeniedError, match="runs as root") as raised:
                    each()
                assert "ei exec" in raised.value.next_step

    def test_a_namespace_that_is_demanded_and_cannot_be(self, start: Start) -> None:
        with pytest.raises(ConfigurationError, match="only root"):
            start("namespace").open(ONE)

    def test_the_metadata_service_is_where_it_was_after_a_restart(self, start: Start) -> None:
        first = start()
        place = first.open(ONE)
        before = first.environment(ONE)
        first.close()
        second = start()
        assert second.open(ONE, json.loads(json.dumps(place.to_dict()))) == place
        assert second.environment(ONE) == before

    def test_closing_removes_what_it_had(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        home = Path(compute.environment(ONE)["HOME"])
        compute.stop(ONE)
        assert home.is_dir()
        compute.close_instance(ONE)
        assert not home.parent.exists()
        compute.close_instance(ONE)
        with pytest.raises(NotFoundError, match=ONE):
            compute.environment(ONE)


@needs_root
@pytest.mark.root
class TestAsRoot:
    """Users and namespaces."""

    def test_commands_have_the_instance_s_rights_alone(self, start: Start) -> None:
        compute = start()
        place = compute.open(ONE)
        assert place.uid is not None
        code, out, _ = call(compute, ONE, "sh", "-c", "id -u; id -g; id -G; pwd; echo $HOME")
        home = compute.environment(ONE)["HOME"]
        assert (code, out.split()) == (0, [str(place.uid)] * 3 + [home, home])
        script = "echo mine >kept; cat kept; umask"
        assert call(compute, ONE, "sh", "-c", script)[1].split() == ["mine", "0022"]

    def test_the_pool_s_files_are_closed(self, start: Start, tmp_path: Path) -> None:
        compute = start()
        compute.open(ONE)
        compute.open(TWO)
        secret = tmp_path / "closed" / "secret"
        secret.write_text("secret")
        secret.chmod(0o644)
        other = Path(compute.environment(TWO)["HOME"])
        place = Path(compute.environment(ONE)["HOME"]).parent / "place.json"
        for path in (
            secret,
            other,
            place,
            Path("/etc/shadow"),
            Path(f"/proc/{os.getpid()}/environ"),
        ):
            code, out, _ = call(compute, ONE, "sh", "-c", f"cat {path} || ls {path}/")
            assert (code, out) != (0, "secret"), path
            assert code != 0, path
        for path in (place.parent, place.parent / "boot", place.parent / "log"):
            assert call(compute, ONE, "touch", f"{path}/mine")[0] != 0

    def test_nothing_of_the_pool_s_environment_comes(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the pool")
        monkeypatch.setenv("PYTHONPATH", "/nowhere")
        compute = start()
        compute.open(ONE)
        out = call(compute, ONE, "env", environment={"MINE": "yes"})[1]
        names = {line.partition("=")[0] for line in out.splitlines()}
        assert "MINE" in names
        assert names.isdisjoint({"AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "EI_SESSION"})

    def test_variables_of_the_caller_do_not_touch_what_has_more_rights(
        self, start: Start, tmp_path: Path
    ) -> None:
        compute = start()
        compute.open(ONE)
        mark = tmp_path / "mark"
        hostile = {
            "LD_PRELOAD": "/nowhere/hostile.so",
            "PYTHONSTARTUP": str(mark),
            "LD_LIBRARY_PATH": str(tmp_path),
        }
        code, out, err = call(compute, ONE, "echo", "runs", environment=hostile)
        assert (code, out) == (0, "runs\n")
        # Once, by the command itself, whose business it is.
        assert err.count("hostile.so") == 1

    def test_descriptors_of_the_pool_do_not_come(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        assert call(compute, ONE, "ls", "/proc/self/fd")[1].split() == ["0", "1", "2", "3"]

    def test_metadata_answers_where_ec2_has_it(self, start: Start) -> None:
        compute = start()
        place = compute.open(ONE)
        compute.open(TWO)
        assert place.network == f"ei-{ONE}"
        url = "http://169.254.169.254/latest/meta-data/"
        assert fetch(compute, ONE, url + "instance-id") == ONE
        assert fetch(compute, TWO, url + "instance-id") == TWO
        role = url + "iam/security-credentials/"
        assert fetch(compute, ONE, role) == "elastic-inference"
        assert "EIAK" + ONE in fetch(compute, ONE, role + "elastic-inference")

    def test_nothing_but_its_own_is_reached(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        with socket.create_server(("127.0.0.1", 0)) as host:
            port = host.getsockname()[1]
            assert fetch(compute, ONE, f"http://127.0.0.1:{port}/").startswith("no:")
        code, out, _ = call(compute, ONE, "cat", "/proc/net/route")
        assert (code, len(out.splitlines())) == (0, 1)

    def test_the_pool_is_reached_at_its_url(self, start: Start, endpoint: Endpoint) -> None:
        compute = start(at="https://192.0.2.7:9443")
        compute.open(ONE)
        (listener,) = endpoint.listeners
        listener.setblocking(True)
        listener.settimeout(PATIENCE)
        assert listener.getsockname() == ("192.0.2.7", 9443)
        script = "import socket; socket.create_connection(('192.0.2.7', 9443)).sendall(b'hello')"
        assert call(compute, ONE, "python", "-c", script)[0] == 0
        connection, peer = listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            assert connection.recv(5) == b"hello"
        assert peer[0] == "192.0.2.7"
        compute.stop(ONE)
        assert endpoint.closed == 1

    def test_this_process_stays_in_its_network(self, start: Start) -> None:
        before = Path("/proc/self/ns/net").readlink()
        compute = start()
        compute.open(ONE)
        tasks = list(Path("/proc/self/task").iterdir())
        assert {Path(each, "ns", "net").readlink() for each in tasks} == {before}

    def test_the_machine_s_network_by_setting(self, start: Start) -> None:
        compute = start("host")
        place = compute.open(ONE)
        other = compute.open(TWO)
        assert place.network is None
        url = compute.environment(ONE)["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
        assert fetch(compute, ONE, url + "/latest/meta-data/instance-id") == ONE
        # What the other may do is ask; the path is what it cannot know.
        wrong = f"http://127.0.0.1:{place.port}/latest/meta-data/instance-id"
        assert fetch(compute, TWO, wrong).startswith("no:")
        assert other.port != place.port

    def test_no_namespaces_in_auto_falls_back(
        self, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(network, "_DIRECTORY", Path("/proc/none"))
        compute = start()
        place = compute.open(ONE)
        assert (place.network, place.uid is None) == (None, False)
        assert "shares the machine's network" in caplog.text
        monkeypatch.undo()

    def test_stopping_ends_all_that_runs(self, start: Start) -> None:
        compute = start()
        place = compute.open(ONE)
        script = "setsid sleep 1000 >&- 2>&- & nohup sleep 1000 >&- 2>&- & echo kept >file"
        assert call(compute, ONE, "sh", "-c", script)[0] == 0
        wait_for(lambda: compute.processes(ONE) == 2)
        home = Path(compute.environment(ONE)["HOME"])
        compute.stop(ONE)
        assert (home / "file").read_text() == "kept\n"
        assert place.network is not None
        assert not network.exists(place.network)
        assert compute.processes(ONE) == 0
        compute.open(ONE, place.to_dict())
        assert call(compute, ONE, "cat", "file")[1] == "kept\n"

    def test_stopping_ends_a_command_that_somebody_watches(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        found: list[tuple[int, str, str]] = []
        watcher = threading.Thread(target=lambda: found.append(call(compute, ONE, "sleep", "1000")))
        watcher.start()
        wait_for(lambda: compute.processes(ONE) == 1)
        compute.stop(ONE)
        watcher.join(PATIENCE)
        assert found == [(137, "", "")]

    def test_user_data_runs_once(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        log = Path(compute.environment(ONE)["HOME"]).parent / "log" / "user-data.log"
        compute.first_boot(ONE, "#!/bin/sh\necho user $(id -u); exit 3\n")
        wait_for(lambda: "ended" in log.read_text())
        compute.first_boot(ONE, "echo again")
        uid = compute.open(ONE).uid
        assert log.read_text() == f"user {uid}\nei: user data ended with status 3.\n"
        # The instance reads it, and cannot change what the pool has written.
        assert call(compute, ONE, "cat", str(log))[1] == log.read_text()
        assert call(compute, ONE, "sh", "-c", f"echo x >>{log}")[0] != 0

    def test_user_data_without_an_interpreter_is_for_the_shell(self, start: Start) -> None:
        compute = start()
        compute.open(ONE)
        log = Path(compute.environment(ONE)["HOME"]).parent / "log" / "user-data.log"
        compute.first_boot(ONE, "echo hello")
        wait_for(lambda: "ended" in log.read_text())
        assert log.read_text() == "hello\nei: user data ended with status 0.\n"
        with pytest.raises(InvalidRequestError, match="cloud-config"):
            compute.first_boot(ONE, "#cloud-config\nx: y\n")

    def test_a_terminal_is_the_instance_s_own(self, start: Start) -> None:
        compute = start()
        place = compute.open(ONE)
        code, out, _ = call(
            compute, ONE, "sh", "-c", 'stat -c %u "$(tty)"', tty={"rows": 3, "columns": 80}
        )
        assert (code, out.strip()) == (0, str(place.uid))

    def test_sweeping_removes_what_nobody_knows(self, start: Start) -> None:
        first = start()
        kept, lost = first.open(ONE), first.open(TWO)
        assert call(first, TWO, "sh", "-c", "setsid sleep 1000 >&- 2>&- &")[0] == 0
        first.close()
        second = start()
        second.sweep({ONE})
        assert lost.network is not None
        assert lost.uid is not None
        assert kept.network is not None
        assert not network.exists(lost.network)
        assert network.exists(kept.network)
        assert processes_of(lost.uid) == 0
        assert second.open(ONE, kept.to_dict()) == kept

    def test_other_pools_namespaces_are_left_alone(self, start: Start, tmp_path: Path) -> None:
        name = "ei-i-of-another-pool"
        network.make(name, [], tmp_path)
        try:
            start().sweep(set())
            assert network.exists(name)
        finally:
            network.remove(name)

    def test_namespaces_of_pools_whose_state_is_gone_are_removed(
        self, start: Start, tmp_path: Path
    ) -> None:
        name = "ei-i-of-a-pool-of-before"
        network.make(name, [], tmp_path / "gone")
        try:
            inside = subprocess.Popen(["ip", "netns", "exec", name, "cat"], stdin=subprocess.PIPE)
            wait_for(lambda: network._ip(["netns", "pids", name]).strip())
            start().sweep(set())
            assert network.exists(name)
            inside.communicate()
            start().sweep(set())
            assert not network.exists(name)
        finally:
            network.remove(name)

    def test_processes_outlive_a_pool_that_is_killed(self, start: Start, tmp_path: Path) -> None:
        server = subprocess.Popen(
            [sys.executable, "-c", LIFE, str(tmp_path), ONE], stdout=subprocess.PIPE
        )
        try:
            assert server.stdout is not None
            place = Place.of(json.loads(server.stdout.readline()))
        finally:
            server.kill()
            server.communicate()
        compute = start()
        assert compute.open(ONE, place.to_dict()) == place
        assert compute.processes(ONE) == 1
        url = "http://169.254.169.254/latest/meta-data/instance-id"
        assert fetch(compute, ONE, url) == ONE
        compute.close_instance(ONE)
        assert place.uid is not None
        assert processes_of(place.uid) == 0

    def test_a_machine_that_restarted_has_its_namespaces_made_again(self, start: Start) -> None:
        first = start()
        place = first.open(ONE)
        first.close()
        assert place.network is not None
        network.remove(place.network)
        # The file alone is what a restart of the machine can leave.
        Path("/run/netns", place.network).touch()
        second = start()
        assert second.open(ONE, place.to_dict()) == place
        url = "http://169.254.169.254/latest/meta-data/instance-id"
        assert fetch(second, ONE, url) == ONE


# A pool that runs a command in an instance, and is killed.
LIFE = """
import json, socket, sys, threading, time
from pathlib import Path
from elastic_inference.compute.base import ExecRequest
from elastic_inference.compute.document import InstanceDocument
from elastic_inference.compute.local import LocalCompute, processes_of
from elastic_inference.settings import PoolSettings
root, instance_id = Path(sys.argv[1]), sys.argv[2]
compute = LocalCompute(
    root / "closed" / "instances",
    settings=PoolSettings(),
    document_of=lambda each: InstanceDocument(instance_id=each, accelerators={}, region="x"),
    open_endpoint=lambda listener: listener.close,
    endpoint="https://127.0.0.1:9443",
    ca=root / "ca.pem",
    region="us-east-1",
)
place = compute.open(instance_id)
ours, theirs = socket.socketpair()
request = ExecRequest(("sh", "-c", "setsid sleep 1000 >&- 2>&- & echo"))
threading.Thread(target=compute.execute, args=(instance_id, request, theirs), daemon=True).start()
ours.recv(1)
while compute.processes(instance_id) != 1:
    time.sleep(0.01)
print(json.dumps(place.to_dict()), flush=True)
time.sleep(1000)
"""
