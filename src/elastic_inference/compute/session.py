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
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR) or not _is_somewhere(
            command[0], session["environment"]
        )
        return _refuse(command[0], error, NOT_FOUND if missing else NOT_EXECUTABLE)


def _restore_signals() -> None:
    """Undo what Python ignores for itself, and what the pool or its caller (nohup) ignores."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _is_somewhere(command: str, environment: dict[str, str]) -> bool:
    """Whether a file of that name is where commands are looked for.

    A folder that may not be entered, as root's own in its PATH, counts as one that has none.
    """
    if "/" in command:
        return True
    folders = os.get_exec_path(environment)
    return any(os.path.lexists(os.path.join(each, command)) for each in folders)  # noqa: PTH118 - `pathlib` would take longer to load than all the rest


def _refuse(what: str, error: OSError, status: int) -> int:
    why = "command not found" if status == NOT_FOUND else error.strerror
    sys.stderr.write(f"ei: {what}: {why}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
