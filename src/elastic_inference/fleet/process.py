"""Starting one accelerator process and waiting until it serves."""

from __future__ import annotations

import json
import os
import select
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

_MAX_READY = 65536
_MAX_LOG = 1 << 20
# What a process needs to find libraries, devices and its locale. Nothing of the caller's
# Python, credentials or `ei run` reaches an accelerator.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "XDG_CACHE_HOME")
_KEPT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_")


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


def environment(device: Mapping[str, str]) -> dict[str, str]:
    """An accelerator's environment: the little that is kept, and `device`'s variables."""
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
    return kept | dict(device)


def launch(
    config: Path,
    *,
    detach: bool,
    device: Mapping[str, str],
    inherited: tuple[int, ...],
    timeout: float,
) -> Started:
    """Start the accelerator that `config` describes and wait until it is ready.

    Args:
        detach: it gets a life of its own, so that it outlives this process.
        device: environment variables that cut its share of a device.
        inherited: file descriptors that it needs under the same numbers.
        timeout: seconds.

    Raises:
        UnavailableError: it ended or gave no sign in time; then it does not run.
    """
    directory = config.parent
    log = directory / "accelerator.log"
    if log.exists() and log.stat().st_size > _MAX_LOG:
        log.unlink()
    reader, writer = os.pipe()
    try:
        with log.open("ab") as output:
            begin = log.stat().st_size
            command = [sys.executable, "-P", "-m", "elastic_inference.accelerator", str(config)]
            child = subprocess.Popen(
                [*command, "--ready-fd", str(writer), *(["--detach"] if detach else [])],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env=environment(device),
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
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word."
