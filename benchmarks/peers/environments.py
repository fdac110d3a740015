"""A virtual environment for each peer, below `.peers`, with pinned versions.

They are no part of the project's own environment: peers pin one another's dependencies apart.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DIRECTORY = ROOT / ".peers"
_REQUIREMENTS = Path(__file__).parent / "requirements"
_INSTALL_TIMEOUT = 1800.0
_REASON_LENGTH = 200


class UnavailableError(Exception):
    """A peer that this machine cannot run; its text is one line that says why."""


def pip(*arguments: str) -> None:
    """Run pip of the project's environment.

    Raises:
        UnavailableError: it failed.
    """
    command = [sys.executable, "-m", "pip", "-qq", "--no-input", "--disable-pip-version-check"]
    run([*command, *arguments])


def run(command: list[str], directory: Path | None = None) -> None:
    """Run a command of a set-up, silently.

    Raises:
        UnavailableError: it failed, is not installed or took too long.
    """
    try:
        subprocess.run(
            command,
            cwd=directory,
            check=True,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr.strip() or f"exit status {error.returncode}").splitlines()
        telling = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise UnavailableError(f"set-up failed: {telling.strip()[:_REASON_LENGTH]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"set-up failed: {error}"[:_REASON_LENGTH]) from error


def environment(name: str) -> Path:
    """The interpreter of the environment `name`, made if it is not there yet.

    Raises:
        UnavailableError: it could not be made.
    """
    requirements = _REQUIREMENTS / f"{name}.txt"
    directory = DIRECTORY / name
    python = directory / "bin" / "python"
    made, wanted = directory / ".made", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if made.exists() and made.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Setting up {directory.relative_to(ROOT)} …", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    run([sys.executable, "-m", "venv", "--without-pip", str(directory)])
    pip("--python", str(python), "install", "--no-deps", "--requirement", str(requirements))
    made.write_text(wanted, encoding="utf-8")
    return python


def size_mib(name: str) -> int:
    """What the environment `name` takes on disk; 0 where it is not there."""
    files = (path for path in (DIRECTORY / name).rglob("*") if path.is_file())
    return sum(path.lstat().st_size for path in files) >> 20
