"""The caller's side of a command that runs in an instance."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import termios
import threading
import tty
from collections import deque
from collections.abc import Iterator
from types import FrameType

from elastic_inference.compute.base import Terminal
from elastic_inference.compute.stream import PIECE, Stream
from elastic_inference.errors import InvalidRequestError, UnavailableError
from elastic_inference.protocol.exec_stream import (
    INPUT_WINDOW,
    Frame,
    Kind,
    encode,
    encode_numbers,
)

_FORWARDED = (
    signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
_MOST_OUTPUT = 256 * 1024


def terminal_of(descriptor: int, term: str | None = None) -> Terminal:
    """The terminal that `descriptor` is, to ask for one like it."""
    rows, columns = termios.tcgetwinsize(descriptor)
    return Terminal(rows, columns, term or os.environ.get("TERM") or "xterm")


def run(
    connection: socket.socket,
    *,
    tty: bool = False,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
    early: bytes = b"",
) -> int:
    """Connect the descriptors with the command at the other end until it has ended.

    Signals go to the command, where this is called in the main thread.

    Args:
        connection: what comes after the answer "101"; the caller closes it.
        tty: the command has a terminal; if `stdin` is one, it is raw meanwhile.
        early: what was received behind that answer already.

    Returns:
        The command's exit status, or 128 + SIGPIPE if nobody takes its output.

    Raises:
        UnavailableError: the connection was lost, or the command could not be run.
    """
    with contextlib.ExitStack() as undo:
        signals: deque[int] = deque()
        woken = undo.enter_context(_signals(signals, resize=tty))
        if tty and os.isatty(stdin):
            undo.enter_context(_raw(stdin))
        stream = Stream(connection, early)
        return _Client(stream, stdin, stdout, stderr, signals, woken).run()


class _Client:
    def __init__(
        self,
        stream: Stream,
        stdin: int,
        stdout: int,
        stderr: int,
        signals: deque[int],
        woken: int,
    ) -> None:
        self._stream = stream
        self._stdin = stdin
        self._credit = INPUT_WINDOW
        self._outputs = {Kind.STDOUT: _Output(stdout), Kind.STDERR: _Output(stderr)}
        self._signals = signals
        self._woken = woken
        self._status: int | None = None

    def run(self) -> int:
        try:
            while self._status is None or self._pending():
                self._turn()
        except BrokenPipeError:
            # As if this process had written the output itself.
            return 128 + signal.SIGPIPE
        except InvalidRequestError as error:
            raise UnavailableError(f"The instance's answer makes no sense: {error}") from error
        return self._status

    def _pending(self) -> list[_Output]:
        return [each for each in self._outputs.values() if each.waiting]

    def _turn(self) -> None:
        running = self._status is None
        pending = self._pending()
        wanted = {each.descriptor: select.POLLOUT for each in pending}
        stream = self._stream
        if running:
            stream.pause(any(len(each.waiting) > _MOST_OUTPUT for each in pending))
            wanted[stream.fileno] = stream.events()
            wanted[self._woken] = select.POLLIN
            if self._stdin >= 0 and self._credit > 0 and not stream.full:
                wanted[self._stdin] = wanted.get(self._stdin, 0) | select.POLLIN
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        ready = dict(poll.poll(stream.patience() if running else None))
        for each in pending:
            if each.descriptor in ready:
                each.write()
        if running:
            self._exchange(ready)

    def _exchange(self, ready: dict[int, int]) -> None:
        stream = self._stream
        if self._woken in ready:
            self._forward()
        if ready.get(self._stdin, 0) & ~select.POLLOUT:
            self._read_input()
        stream.flush()
        if not stream.paused:
            for frame in stream.receive():
                self._take(frame)
        stream.beat()
        if stream.ended and self._status is None:
            raise UnavailableError(
                "The connection to the instance was lost; the command is ended.",
                next_step="See `ei describe instances`, and run it again.",
            )

    def _take(self, frame: Frame) -> None:
        if frame.kind in self._outputs:
            self._outputs[frame.kind].waiting += frame.payload
        elif frame.kind is Kind.CREDIT:
            self._credit += frame.numbers[0]
        elif frame.kind is Kind.EXIT:
            self._status = frame.numbers[0]
        elif frame.kind is Kind.ERROR:
            raise UnavailableError(frame.text)

    def _read_input(self) -> None:
        try:
            data = os.read(self._stdin, min(PIECE, self._credit))
        except BlockingIOError:
            return
        except OSError:
            # A terminal that is gone has no more to give.
            data = b""
        self._credit -= len(data)
        self._stream.send(encode(Kind.STDIN, data))
        if not data:
            self._stdin = -1

    def _forward(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while self._signals:
            number = self._signals.popleft()
            if number != signal.SIGWINCH:
                self._stream.send(encode_numbers(Kind.SIGNAL, number))
                continue
            with contextlib.suppress(termios.error, OSError):
                rows, columns = termios.tcgetwinsize(self._outputs[Kind.STDOUT].descriptor)
                self._stream.send(encode_numbers(Kind.RESIZE, rows, columns))


class _Output:
    """A descriptor to write to, which others may share: its mode stays as it is."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.waiting = bytearray()
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        # A pipe that can be written to takes this much without blocking.
        self._most = PIECE if regular else select.PIPE_BUF

    def write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self.waiting[: os.write(self.descriptor, self.waiting[: self._most])]


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    try:
        # What was typed meanwhile is for the command.
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals(arrived: deque[int], *, resize: bool) -> Iterator[int]:
    """Collect signals; gives a descriptor that can be read when one has come."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, woken)
        undo.callback(os.close, wake)
        if threading.current_thread() is threading.main_thread():

            def note(number: int, frame: FrameType | None) -> None:
                del frame
                arrived.append(number)

            previous = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
            undo.callback(signal.set_wakeup_fd, previous)
            for number in (*_FORWARDED, *((signal.SIGWINCH,) if resize else ())):
                # What the caller ignores (nohup, a job in the background) stays ignored.
                handler = signal.getsignal(number)
                if handler is not signal.SIG_IGN:
                    signal.signal(number, note)
                    undo.callback(signal.signal, number, handler)
        yield woken
