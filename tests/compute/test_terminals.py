"""Commands with a terminal, and the caller's own."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from elastic_inference.compute import exec_client
from elastic_inference.protocol.exec_stream import Decoder, Frame, Kind, encode, encode_numbers
from tests.compute.commands import connected, run, serve

PATIENCE = 60.0
TTY = {"rows": 11, "columns": 57, "term": "vt100"}
# The client as a program: its terminal is stdin, the connection is descriptor 3.
CLIENT = """
import signal, socket, sys
from elastic_inference.compute import exec_client
from elastic_inference.errors import ElasticInferenceError
try:
    sys.exit(exec_client.run(socket.socket(fileno=int(sys.argv[1])), tty=True))
except ElasticInferenceError as error:
    sys.exit(str(error))
"""


def frames(connection: socket.socket) -> Iterator[Frame]:
    connection.settimeout(PATIENCE)
    decoder = Decoder()
    while data := connection.recv(65536):
        yield from decoder.feed(data)


def until(coming: Iterator[Frame], text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        seen += next(coming).payload
    return seen


def status(coming: Iterator[Frame]) -> int:
    return next(each for each in coming if each.kind is Kind.EXIT).numbers[0]


def test_the_command_has_a_terminal_of_the_size_asked_for() -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM && : </dev/tty"
    assert run(serve("sh", "-c", script, tty=TTY), tty=True) == (0, b"11 57\r\nvt100\r\n", b"")


def test_all_that_was_written_to_the_terminal_comes() -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done; exit 4"
    code, out, _ = run(serve("sh", "-c", script, tty=TTY), tty=True)
    assert code == 4
    assert out == b"".join(b"%d\r\n" % number for number in range(20000))


def test_keys_and_sizes_reach_the_command() -> None:
    traps = "trap 'stty size' WINCH; trap 'echo interrupted; exit 3' INT"
    script = f"{traps}; echo ready; while :; do read x; done"
    with connected(serve("sh", "-c", script, tty=TTY)) as connection:
        coming = frames(connection)
        until(coming, b"ready")
        connection.sendall(encode_numbers(Kind.RESIZE, 30, 90))
        connection.sendall(encode(Kind.STDIN, b"x\r"))
        until(coming, b"30 90")
        connection.sendall(encode(Kind.STDIN, b"\x03"))
        until(coming, b"interrupted")
        assert status(coming) == 3


def test_the_end_of_input_is_the_terminal_s() -> None:
    code, out, _ = run(serve("cat", tty=TTY), b"hello\r", tty=True)
    assert code == 0
    assert out.endswith(b"hello\r\n")


def test_a_connection_that_ends_hangs_the_terminal_up(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    script = f"trap 'echo hangup >{told}; exit' HUP; echo ready; while :; do sleep 0.01; done"
    with connected(serve("sh", "-c", script, tty=TTY)) as connection:
        until(frames(connection), b"ready")
        connection.close()
        assert told.read_text() == "hangup\n"


class Client:
    """The client in a process whose terminal is `self.terminal`."""

    def __init__(self, connection: socket.socket) -> None:
        self.terminal, theirs = pty.openpty()
        termios.tcsetwinsize(self.terminal, (11, 57))
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(connection.fileno())],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            pass_fds=(connection.fileno(),),
        )
        self._theirs = theirs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._theirs)
        os.close(self.terminal)

    def until(self, text: bytes) -> None:
        seen = b""
        while text not in seen:
            assert select.select([self.terminal], [], [], PATIENCE)[0], seen
            seen += os.read(self.terminal, 4096)

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self.terminal) == self.before
        return code


def test_the_caller_s_terminal_is_raw_meanwhile_and_restored() -> None:
    script = "trap 'exit 9' INT; echo ready; while :; do sleep 0.01; done"
    with connected(serve("sh", "-c", script, tty=TTY)) as connection, Client(connection) as client:
        client.until(b"ready")
        assert termios.tcgetattr(client.terminal)[3] & termios.ICANON == 0
        os.write(client.terminal, b"\x03")
        assert client.ended() == 9


def test_the_caller_s_new_size_reaches_the_command() -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
    with connected(serve("sh", "-c", script, tty=TTY)) as connection, Client(connection) as client:
        client.until(b"ready")
        termios.tcsetwinsize(client.terminal, (40, 100))
        client.process.send_signal(signal.SIGWINCH)
        client.until(b"40 100")
        assert client.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_the_caller_s_signals_reach_the_command(number: signal.Signals) -> None:
    script = f"trap 'exit 6' {number.value}; echo ready; while :; do sleep 0.01; done"
    with connected(serve("sh", "-c", script, tty=TTY)) as connection, Client(connection) as client:
        client.until(b"ready")
        client.process.send_signal(number)
        assert client.ended() == 6


def test_a_lost_connection_restores_the_terminal() -> None:
    cut = threading.Event()

    def until_cut(connection: socket.socket) -> None:
        connection.sendall(encode(Kind.STDOUT, b"ready"))
        cut.wait(PATIENCE)

    with connected(until_cut) as connection, Client(connection) as client:
        client.until(b"ready")
        cut.set()
        assert client.ended() == 1


def test_signals_are_the_caller_s_own_again_afterwards() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)]
    assert run(serve("true", tty=TTY), tty=True)[0] == 0
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)]
    assert after == before
    assert signal.set_wakeup_fd(-1) == -1


def test_the_terminal_to_ask_for() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (3, 4))
    asked = exec_client.terminal_of(theirs, "linux")
    os.close(ours)
    os.close(theirs)
    assert (asked.rows, asked.columns, asked.term) == (3, 4, "linux")
