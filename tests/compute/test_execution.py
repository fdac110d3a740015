"""Commands over a connection, from both ends."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.compute import exec_client, execution, stream
from elastic_inference.control.certificates import Authority
from elastic_inference.errors import UnavailableError
from elastic_inference.protocol.exec_stream import (
    INPUT_WINDOW,
    Decoder,
    Frame,
    Kind,
    encode,
    encode_numbers,
)
from tests.compute.commands import connected, run, serve

PATIENCE = 60.0


def _descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    before = _descriptors()
    yield
    assert _descriptors() == before


def frames(connection: socket.socket) -> Iterator[Frame]:
    """What comes, to the end of the connection."""
    connection.settimeout(PATIENCE)
    decoder = Decoder()
    while data := connection.recv(65536):
        yield from decoder.feed(data)


def until(coming: Iterator[Frame], text: bytes) -> None:
    seen = b""
    while text not in seen:
        seen += next(coming).payload


def test_output_errors_and_status() -> None:
    assert run(serve("sh", "-c", "echo out; echo err >&2; exit 7")) == (7, b"out\n", b"err\n")


def test_environment_and_directory(tmp_path: Path) -> None:
    command = serve(
        "sh",
        "-c",
        'pwd; echo "$A $EI_SESSION"; echo "$HOME"',
        environment={"A": "\u00fc b", "HOME": "/elsewhere"},
        directory=str(tmp_path),
    )
    assert run(command) == (0, f"{tmp_path}\n\u00fc b \n/elsewhere\n".encode(), b"")


def test_what_cannot_be_run_says_so(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert run(serve("no-such-command")) == (127, b"", b"ei: no-such-command: command not found\n")
    assert run(serve(str(plain))) == (126, b"", f"ei: {plain}: Permission denied\n".encode())
    status, _, said = run(serve("true", directory=str(tmp_path / "none")))
    assert (status, said) == (126, f"ei: {tmp_path}/none: No such file or directory\n".encode())


def test_a_signal_s_status() -> None:
    assert run(serve("sh", "-c", "kill -9 $$"))[0] == 137
    assert run(serve("sh", "-c", "kill -PIPE $$"))[0] == 141


def test_input_reaches_the_command_and_ends() -> None:
    assert run(serve("cat"), b"some\0bytes") == (0, b"some\0bytes", b"")
    assert run(serve("cat")) == (0, b"", b"")


def test_input_that_nobody_reads_is_no_error() -> None:
    assert run(serve("true"), bytes(4 << 20))[0] == 0
    assert run(serve("sh", "-c", "exec <&-; echo done"), bytes(4 << 20)) == (0, b"done\n", b"")


def test_what_stays_in_the_background_does_not_hold_the_end(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    status, out, _ = run(serve("sh", "-c", f"(read x <{gate}; echo late) & echo early; exit 3"))
    assert (status, out) == (3, b"early\n")
    gate.write_text("go\n")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_hundred_megabytes_both_ways(tmp_path: Path, secure: bool) -> None:
    block = os.urandom(1 << 20)
    digest = hashlib.sha256(block * 100).hexdigest()
    command = serve("cat")
    read, write = os.pipe()
    back, out = os.pipe()
    found = hashlib.sha256()

    def feed() -> None:
        with os.fdopen(write, "wb") as pipe:
            for _ in range(100):
                pipe.write(block)

    def collect() -> None:
        with os.fdopen(back, "rb") as pipe:
            while data := pipe.read(1 << 16):
                found.update(data)

    threads = [threading.Thread(target=each) for each in (feed, collect)]
    for each in threads:
        each.start()
    try:
        if secure:
            status = _over_tls(tmp_path, command, read, out)
        else:
            with connected(command) as connection:
                status = exec_client.run(connection, stdin=read, stdout=out)
    finally:
        os.close(read)
        os.close(out)
        for each in threads:
            each.join()
    assert status == 0
    assert found.hexdigest() == digest


def _over_tls(directory: Path, command: object, stdin: int, stdout: int) -> int:
    authority = Authority.open(directory)
    issued = authority.issue(["localhost"])
    chain = directory / "chain.pem"
    chain.write_bytes(issued.certificate + issued.private_key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(chain)
    client = ssl.create_default_context(cafile=str(authority.path))

    def serve_tls(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as encrypted:
            assert callable(command)
            command(encrypted)

    with (
        connected(serve_tls) as connection,
        client.wrap_socket(connection, server_hostname="localhost") as encrypted,
    ):
        return exec_client.run(encrypted, stdin=stdin, stdout=stdout)


def test_a_signal_passes_input_that_is_not_read() -> None:
    command = serve("sh", "-c", "trap 'echo got; exit 5' TERM; echo ready; while :; do :; done")
    with connected(command) as connection:
        coming = frames(connection)
        until(coming, b"ready")
        for _ in range(INPUT_WINDOW // 65536):
            connection.sendall(encode(Kind.STDIN, bytes(65536)))
        connection.sendall(encode_numbers(Kind.SIGNAL, 15))
        until(coming, b"got")
        assert next(each for each in coming if each.kind is Kind.EXIT).numbers == (5,)


def test_the_command_ends_with_its_connection(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    script = f"trap 'echo hangup >{told}; exit' HUP; echo ready; while :; do sleep 0.01; done"
    with connected(serve("sh", "-c", script)) as connection:
        until(frames(connection), b"ready")
        connection.close()
        assert told.read_text() == "hangup\n"


def test_a_command_that_ignores_the_hangup_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_HANGUP_TIME", 0.05)
    command = serve("sh", "-c", "trap '' HUP; echo $$; while :; do sleep 0.01; done")
    with connected(command) as connection:
        pid = int(next(frames(connection)).payload)
        ended = os.pidfd_open(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    os.close(ended)


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x63\0\0\0\0",
        encode(Kind.STDOUT, b"x"),
        encode_numbers(Kind.EXIT, 0),
        encode_numbers(Kind.SIGNAL, 77),
        encode(Kind.STDIN, bytes(65536)) * (INPUT_WINDOW // 65536 + 2),
    ],
)
def test_what_makes_no_sense_ends_the_command(
    hostile: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_LINGER", 0.05)
    with connected(serve("sleep", "1000")) as connection:
        connection.sendall(hostile)
        assert list(frames(connection))[-1].kind is Kind.ERROR


def test_a_reader_that_is_gone_ends_it_as_a_broken_pipe() -> None:
    back, out = os.pipe()
    with Path("/dev/null").open("rb") as nothing, connected(serve("yes")) as connection:
        os.close(back)
        status = exec_client.run(connection, stdin=nothing.fileno(), stdout=out)
    os.close(out)
    assert status == 141


def test_a_connection_that_is_lost_is_told() -> None:
    with (
        Path("/dev/null").open("rb") as nothing,
        connected(lambda connection: connection.close()) as connection,
        pytest.raises(UnavailableError, match="connection to the instance was lost"),
    ):
        exec_client.run(connection, stdin=nothing.fileno())


def test_an_error_of_the_instance_is_told() -> None:
    def fail(connection: socket.socket) -> None:
        connection.sendall(encode(Kind.ERROR, b"it is being stopped"))

    with (
        Path("/dev/null").open("rb") as nothing,
        connected(fail) as connection,
        pytest.raises(UnavailableError, match="it is being stopped"),
    ):
        exec_client.run(connection, stdin=nothing.fileno())


def test_each_end_tells_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PING_EVERY", 0.01)
    with connected(serve("sleep", "1000")) as connection:
        assert next(frames(connection)).kind is Kind.PING


def test_a_silent_client_s_command_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PING_EVERY", 0.01)
    monkeypatch.setattr(stream, "_SILENCE", 0.1)
    with connected(serve("sh", "-c", "echo $$; exec sleep 1000")) as connection:
        coming = frames(connection)
        pid = int(next(each for each in coming if each.kind is Kind.STDOUT).payload)
        # To the end of the connection, which is the server's doing.
        assert {each.kind for each in coming} <= {Kind.PING}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_came_with_the_answer_counts() -> None:
    data = encode(Kind.STDOUT, b"early ") + encode_numbers(Kind.EXIT, 4)
    back, out = os.pipe()
    with Path("/dev/null").open("rb") as nothing, connected(lambda _: None) as connection:
        status = exec_client.run(connection, stdin=nothing.fileno(), stdout=out, early=data)
    os.close(out)
    with os.fdopen(back, "rb") as pipe:
        assert (status, pipe.read()) == (4, b"early ")


def test_a_command_in_a_path_that_may_not_be_entered_is_not_found(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_text("no folder")
    code, _, said = run(serve("no-such-command", environment={"PATH": f"{closed}:/usr/bin"}))
    assert (code, said) == (127, b"ei: no-such-command: command not found\n")
