"""Starting one accelerator process and waiting until it serves."""

from __future__ import annotations

import json
import os
import select
import site
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import elastic_inference
from elastic_inference.errors import UnavailableError
from elastic_inference.isolation import files, launcher

_MAX_READY = 65536
_MAX_LOG = 1 << 20
# What a process needs to find libraries, devices and its locale. Nothing of the caller's
# Python, credentials or `ei run` reaches an accelerator.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "XDG_CACHE_HOME")
_KEPT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_")


@dataclass(frozen=True, slots=True)
class Own:
    """Whom an accelerator runs as that has a user of its own.

    Attributes:
        uid: its user, and group.
        group: the other group that it is in.
        expose: the directories that it needs.
    """

    uid: int
    group: int
    expose: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A process that serves.

    Attributes:
        pid: of the accelerator.
        child: the process that this one must reap, which has ended already if the
            accelerator detached itself.
    """

    pid: int
    child: subprocess.Popen[bytes]


def environment(device: Mapping[str, str], home: Path | None = None) -> dict[str, str]:
    """An accelerator's environment: the little that is kept, and `device`'s variables.

    Args:
        home: where it may write, if not in its user's home.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    root = str(Path(elastic_inference.__file__).parent.parent)
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        kept["PYTHONPATH"] = root
    # ONNX Runtime reports events to its maker unless told otherwise; tenants' models do not.
    kept["ORT_DISABLE_TELEMETRY"] = "1"
    if home is not None:
        kept.pop("XDG_CACHE_HOME", None)
        kept |= {"HOME": str(home), "TMPDIR": str(home)}
        if site.ENABLE_USER_SITE:
            kept["PYTHONUSERBASE"] = site.getuserbase()
    return kept | dict(device)


def launch(
    config: Path,
    *,
    detach: bool,
    device: Mapping[str, str],
    inherited: tuple[int, ...],
    timeout: float,
    own: Own | None = None,
) -> Started:
    """Start the accelerator that `config` describes and wait until it is ready.

    Args:
        detach: it gets a life of its own, so that it outlives this process.
        device: environment variables that cut its share of a device.
        inherited: file descriptors that it needs under the same numbers.
        timeout: seconds.
        own: whom it runs as; None: this user.

    Raises:
        UnavailableError: it ended or gave no sign in time; then it does not run.
    """
    directory = config.parent
    log = directory / "accelerator.log"
    reader, writer = os.pipe()
    try:
        with os.fdopen(files.open_log(log, _MAX_LOG), "ab") as output:
            begin = os.fstat(output.fileno()).st_size
            command = [sys.executable, "-P", "-m", "elastic_inference.accelerator", str(config)]
            command += ["--ready-fd", str(writer), *(["--detach"] if detach else [])]
            child = subprocess.Popen(
                command if own is None else _owned(command, own, directory),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env=environment(device, None if own is None else directory),
                pass_fds=(writer, *inherited),
                start_new_session=True,
            )
        os.close(writer)
        writer = -1
        try:
            message = _ready(reader, time.monotonic() + timeout)
            pid = _pid(message, log, begin, detach=detach)
            if detach:
                child.wait(timeout)
        except (UnavailableError, subprocess.TimeoutExpired):
            child.kill()
            child.wait()
            raise
        return Started(pid, child)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _owned(command: list[str], own: Own, directory: Path) -> list[str]:
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    pipes = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "")
    needed = [each for each in (*libraries, pipes) if each.startswith("/") and Path(each).exists()]
    return launcher.command(
        command,
        uid=own.uid,
        groups=(own.group,),
        expose=(directory, *own.expose, *needed),
        cwd=directory,
    )


def _ready(reader: int, deadline: float) -> dict[str, Any]:
    """The line that the process writes when it serves; {} if it ends or is late."""
    data = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not data.endswith(b"\n") and len(data) < _MAX_READY:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return {"error": "it was not ready in time."}
        piece = os.read(reader, 4096)
        if not piece:
            break
        data += piece
    try:
        message = json.loads(data)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _pid(message: Mapping[str, Any], log: Path, begin: int, *, detach: bool) -> int:
    pid = message.get("pid")
    if "error" in message or not isinstance(pid, int):
        why = str(message.get("error") or _last_line(log, begin))[:1024].rstrip(".")
        # The log of an `ei run` without a pool goes with it.
        see = f"See {log}." if detach else "Check EI_HOME and the disk."
        raise UnavailableError(f"The accelerator did not start: {why}.", next_step=see)
    return pid


def _last_line(log: Path, begin: int) -> str:
    try:
        end = log.lstat().st_size
        last = files.read_plain(log, 4096, max(begin, end - 4096))
    except OSError:
        last = b""
    lines = last.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word."
