"""What an instance's command is before it is the command: run as a file, by itself.

It runs with the instance's own rights, and only from here on with the environment that was
asked for: nothing of that reaches a process that has more rights. Its one variable EI_SESSION
is JSON: command, environment, directory, and whether stdin is to be the terminal.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys

VARIABLE = "EI_SESSION"
NOT_FOUND = 127
NOT_EXECUTABLE = 126
_TIOCSCTTY = 0x540E


def main() -> int:
    session = json.loads(os.environ[VARIABLE])
    _restore_signals()
    if session["terminal"]:
        import fcntl  # noqa: PLC0415 - only where there is a terminal

        fcntl.ioctl(0, _TIOCSCTTY, 0)
    command, directory = session["command"], session["directory"]
    try:
        os.chdir(directory)
    except OSError as error:
        return _refuse(directory, error, NOT_EXECUTABLE)
    try:
        os.execvpe(command[0], command, session["environment"])  # noqa: S606 - what was asked for
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return _refuse(command[0], error, NOT_FOUND if missing else NOT_EXECUTABLE)


def _restore_signals() -> None:
    """Undo what Python ignores for itself, and what the pool or its caller (nohup) ignores."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _refuse(what: str, error: OSError, status: int) -> int:
    why = "command not found" if status == NOT_FOUND else error.strerror
    sys.stderr.write(f"ei: {what}: {why}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
