"""The command of `ei run` as a child process in the foreground."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

ENDS = (signal.SIGTERM, signal.SIGHUP)
NOT_FOUND = 127
NOT_EXECUTABLE = 126
_PR_SET_PDEATHSIG = 1
_FORWARDED = (
    signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGCONT,
)  # fmt: skip
# A terminal sends these to the whole foreground process group, the command included.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
# What Python ignores for itself and no command expects to find ignored.
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


def refusal(command: str) -> tuple[int, str] | None:
    """The exit status and the reason why `command` cannot be run; None if it can."""
    if shutil.which(command) is not None:
        return None
    if os.path.dirname(command) and os.path.exists(command):  # noqa: PTH110, PTH120 - as the shell looks
        return NOT_EXECUTABLE, f"{command} is not an executable file."
    return NOT_FOUND, f"{command}: command not found."


def leave_on_signals() -> None:
    """Have a signal before the command runs undo, on the way out, all that was begun."""
    for number in ENDS:
        # What the caller ignores (nohup) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)


class Child:
    """A process that waits for its environment and then becomes the command.

    It is forked at once, while this process has one thread, since after a fork among threads
    only very little is safe; and it ends when this process does.
    """

    def __init__(self, command: Sequence[str]) -> None:
        libc = ctypes.CDLL(None)
        parent = os.getpid()
        gate, self._gate = os.pipe()
        self._failed, failed = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._gate)
            os.close(self._failed)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(0)
            _become(command, gate, failed)
        os.close(gate)
        os.close(failed)
        self._reaped = False

    def run(self, environment: Mapping[str, str]) -> int:
        """Let it become the command; the command's exit status, 128 + n where signal n ended it."""
        previous = {
            number: signal.signal(number, self._forward)
            for number in _FORWARDED
            # What the caller ignores (nohup, a job in the background) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            with os.fdopen(self._gate, "w", encoding="utf-8", errors="surrogateescape") as gate:
                self._gate = -1
                json.dump(dict(environment), gate)
            with os.fdopen(self._failed, "rb") as failed:
                self._failed = -1
                why = failed.read()
            self._await_end()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        status = os.waitstatus_to_exitcode(self._reap())
        if why:
            print(f"ei: {os.strerror(int(why))}.", file=sys.stderr)
            return NOT_FOUND if int(why) == errno.ENOENT else NOT_EXECUTABLE
        return 128 - status if status < 0 else status

    def close(self) -> None:
        """End it if it has not become the command."""
        for descriptor in (self._gate, self._failed):
            if descriptor >= 0:
                os.close(descriptor)
        self._gate = self._failed = -1
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _await_end(self) -> None:
        """Forward signals until it ends. It is not reaped, so that they find no other process.

        The system may give a signal to any thread, which does not interrupt a wait of this one;
        the wake-up descriptor does. A terminal that closes sends two signals at once and so
        makes that happen often.
        """
        ended = os.pidfd_open(self.pid)
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        previous = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.register(woken, select.POLLIN)
            while (ended, select.POLLIN) not in poll.poll():
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
        finally:
            signal.set_wakeup_fd(previous)
            for descriptor in (ended, woken, wake):
                os.close(descriptor)

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._reaped = True
        return status

    def _forward(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number not in _FROM_TERMINAL or not _in_foreground():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _in_foreground() -> bool:
    """Whether this process's group is the one that the terminal sends its signals to."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _become(command: Sequence[str], gate: int, failed: int) -> NoReturn:
    """In the child: wait for the environment, then execute the command."""
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        with os.fdopen(gate, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        if not text:
            os._exit(0)
        environment = json.loads(text)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - what the user asked for
    except OSError as error:
        os.write(failed, str(error.errno).encode())
    finally:
        os._exit(NOT_EXECUTABLE)
