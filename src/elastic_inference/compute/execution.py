"""A command of an instance over a connection: one thread that moves what goes in and out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from elastic_inference.compute import session
from elastic_inference.compute.base import ExecRequest
from elastic_inference.compute.stream import PIECE, Stream
from elastic_inference.errors import InvalidRequestError, UnavailableError
from elastic_inference.protocol.exec_stream import (
    INPUT_WINDOW,
    Frame,
    Kind,
    encode,
    encode_numbers,
    encode_text,
)

Wrap = Callable[[list[str]], list[str]]
# After the connection's end: SIGHUP, and SIGKILL when this has passed.
_HANGUP_TIME = 5.0
# After the last frame the client closes; until then what it sends must be read, or the end
# would be a reset that can take the last frame along.
_LINGER = 5.0
_TERMINAL_DRAIN = 1.0
_END_OF_TRANSMISSION = b"\x04"
_SIGNALS = range(1, 32)


def command_line() -> list[str]:
    """What runs in the instance: it becomes the command that `variables` describes."""
    return [sys.executable, "-I", "-S", str(Path(session.__file__))]


def variables(
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    *,
    terminal: bool = False,
) -> dict[str, str]:
    """The environment of `command_line` that makes it become `command`."""
    document = {
        "command": list(command),
        "environment": dict(environment),
        "directory": directory,
        "terminal": terminal,
    }
    return {session.VARIABLE: json.dumps(document, ensure_ascii=False)}


class Execution:
    """A command that runs, with its terminal or its pipes.

    Args:
        wrap: makes of `command_line` what starts it with the instance's rights.
        owner: the uid whose terminal it is; None: this process's.

    Raises:
        UnavailableError: the system starts no process.
    """

    def __init__(
        self,
        request: ExecRequest,
        environment: Mapping[str, str],
        directory: str,
        *,
        wrap: Wrap,
        owner: int | None = None,
    ) -> None:
        self._input = bytearray()
        self._input_ends = False
        self._terminal = -1
        self._outputs: dict[int, Kind] = {}
        self._stdin = -1
        terminal = request.terminal
        full = {**environment, **({"TERM": terminal.term} if terminal else {})}
        full.update(request.environment)
        place = request.directory or directory
        start = variables(request.command, full, place, terminal=terminal is not None)
        theirs: list[int] = []
        try:
            if terminal is not None:
                theirs = self._open_terminal(terminal.rows, terminal.columns, owner)
            else:
                theirs = self._open_pipes()
            self.process = subprocess.Popen(
                wrap(command_line()),
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                cwd="/",
                env=start,
                start_new_session=True,
            )
            self._ended = os.pidfd_open(self.process.pid)
        except OSError as error:
            self._close_ours()
            raise UnavailableError(
                f"The command cannot be started: {error.strerror}.",
                next_step="See the limits of the machine that the pool runs on.",
            ) from error
        finally:
            for descriptor in set(theirs):
                os.close(descriptor)

    def run(self, stream: Stream) -> None:
        """Serve the connection until the command has ended, or the connection."""
        try:
            while not stream.ended and not self._turn(stream):
                pass
            if not stream.ended:
                self._drain(stream)
                stream.send(encode_numbers(Kind.EXIT, self._status()))
        except InvalidRequestError as error:
            stream.send(encode_text(str(error)))
        finally:
            self._end()
        finish(stream)

    def _open_terminal(self, rows: int, columns: int, owner: int | None) -> list[int]:
        self._terminal, theirs = os.openpty()
        termios.tcsetwinsize(self._terminal, (rows, columns))
        if owner is not None:
            os.fchown(theirs, owner, owner)
        self._stdin = self._terminal
        self._outputs = {self._terminal: Kind.STDOUT}
        os.set_blocking(self._terminal, False)
        return [theirs, theirs, theirs]

    def _open_pipes(self) -> list[int]:
        stdin, self._stdin = os.pipe()
        stdout, stdout_theirs = os.pipe()
        stderr, stderr_theirs = os.pipe()
        self._outputs = {stdout: Kind.STDOUT, stderr: Kind.STDERR}
        for descriptor in (self._stdin, stdout, stderr):
            os.set_blocking(descriptor, False)
        return [stdin, stdout_theirs, stderr_theirs]

    def _turn(self, stream: Stream) -> bool:
        """Wait for something and do it; whether the command has ended."""
        wanted = {stream.fileno: stream.events(), self._ended: select.POLLIN}
        if not stream.full:
            wanted |= dict.fromkeys(self._outputs, select.POLLIN)
        if self._input and self._stdin >= 0:
            wanted[self._stdin] = wanted.get(self._stdin, 0) | select.POLLOUT
        ready = _poll(wanted, stream.patience())
        stream.flush()
        for frame in stream.receive():
            self._take(frame)
        self._write_input(stream)
        for descriptor in list(self._outputs):
            if ready.get(descriptor, 0) & ~select.POLLOUT and not stream.full:
                self._read_output(descriptor, stream)
        stream.beat()
        return self._ended in ready

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.STDIN:
            self._input_ends = self._input_ends or not frame.payload
            self._input += frame.payload
            if len(self._input) > INPUT_WINDOW:
                raise InvalidRequestError("More input came than there was room for.")
        elif frame.kind is Kind.RESIZE:
            if self._terminal >= 0:
                termios.tcsetwinsize(self._terminal, (frame.numbers[0], frame.numbers[1]))
        elif frame.kind is Kind.SIGNAL:
            self._signal(frame.numbers[0])
        else:
            raise InvalidRequestError(f"A command takes no frame of kind {frame.kind.name}.")

    def _signal(self, number: int) -> None:
        if number not in _SIGNALS:
            raise InvalidRequestError(f"There is no signal {number}.")
        # Its number is its own for as long as nobody has waited for it.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _write_input(self, stream: Stream) -> None:
        taken = 0
        while self._input:
            try:
                # A command that reads no more gets the rest of its input thrown away.
                piece = bytes(self._input[:PIECE])
                count = os.write(self._stdin, piece) if self._stdin >= 0 else len(self._input)
            except BlockingIOError:
                break
            except OSError:
                self._close_stdin()
                continue
            del self._input[:count]
            taken += count
        if taken:
            stream.send(encode_numbers(Kind.CREDIT, taken))
        if self._input_ends and not self._input and self._stdin >= 0:
            if self._terminal >= 0:
                with contextlib.suppress(OSError):
                    os.write(self._terminal, _END_OF_TRANSMISSION)
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin != self._terminal:
            os.close(self._stdin)
        self._stdin = -1

    def _read_output(self, descriptor: int, stream: Stream, most: int = PIECE) -> int:
        """How many bytes came; its end is noted."""
        try:
            data = os.read(descriptor, min(most, PIECE))
        except BlockingIOError:
            return 0
        except OSError:
            # So a terminal says that nobody has it open any more.
            data = b""
        if data:
            stream.send(encode(self._outputs[descriptor], data))
            return len(data)
        del self._outputs[descriptor]
        if descriptor != self._terminal:
            os.close(descriptor)
        return 0

    def _drain(self, stream: Stream) -> None:
        """What the command wrote before its end; others that hold its output are not awaited."""
        if self._terminal in self._outputs:
            # The system hangs the terminal up when its first process ends, then it ends too.
            deadline = time.monotonic() + _TERMINAL_DRAIN
            while self._outputs and time.monotonic() < deadline:
                _poll({self._terminal: select.POLLIN}, (deadline - time.monotonic()) * 1000)
                self._read_output(self._terminal, stream)
        for descriptor in list(self._outputs):
            left = _available(descriptor)
            while left > 0 and (count := self._read_output(descriptor, stream, left)):
                left -= count

    def _status(self) -> int:
        status = self.process.wait()
        return 128 - status if status < 0 else status

    def _end(self) -> None:
        """End the command if it has not ended."""
        if self._terminal >= 0:
            self._close_ours()
        if self.process.returncode is None:
            for number in (signal.SIGHUP, signal.SIGCONT):
                self._signal(number)
            if not self._ends_within(_HANGUP_TIME):
                self._signal(signal.SIGKILL)
            self.process.wait()
        self._close_ours()
        os.close(self._ended)

    def _ends_within(self, seconds: float) -> bool:
        """Whether it ends; it may write meanwhile, for nobody, which shall not be its death."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = _poll(dict.fromkeys((self._ended, *self._outputs), select.POLLIN), left * 1000)
            if self._ended in ready:
                return True
            for descriptor in ready:
                with contextlib.suppress(BlockingIOError):
                    if not os.read(descriptor, PIECE):
                        del self._outputs[descriptor]
                        os.close(descriptor)
        return False

    def _close_ours(self) -> None:
        for descriptor in {self._stdin, self._terminal, *self._outputs} - {-1}:
            os.close(descriptor)
        self._stdin = self._terminal = -1
        self._outputs = {}


def finish(stream: Stream) -> None:
    """Have the last frame arrive: until the client has taken everything and closed."""
    deadline = time.monotonic() + _LINGER
    while not stream.ended and (not stream.idle or time.monotonic() < deadline):
        left = max(0.0, deadline - time.monotonic()) * 1000
        _poll({stream.fileno: stream.events()}, stream.patience() if not stream.idle else left)
        stream.flush()
        stream.receive()
        stream.beat()


def _poll(wanted: Mapping[int, int], milliseconds: float) -> dict[int, int]:
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    return dict(poll.poll(max(0.0, milliseconds)))


def _available(descriptor: int) -> int:
    size = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
    return int(struct.unpack("i", size)[0])
