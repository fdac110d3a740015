"""How many TFLOPS the devices of this machine were measured to have.

Each is measured once by a process of its own and remembered in `measured.json`, by what would
change the figure: the product, its driver, the processors that may be used.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from elastic_inference.accelerator.devices import Device
from elastic_inference.errors import InvalidRequestError
from elastic_inference.fleet.process import environment
from elastic_inference.protocol.json_object import parse_object

log = logging.getLogger(__name__)

FILE_NAME = "measured.json"
_PATIENCE = 60.0
_MAX_FILE = 1 << 16
_MOST = 1e6
Measure = Callable[[Device, Callable[[subprocess.Popen[bytes]], None]], float]


class Measurements:
    """The measurements of one user's pools.

    Args:
        home: where they are remembered.
        measure: measures a device, and tells of the process that it starts.
    """

    def __init__(self, home: Path, measure: Measure | None = None) -> None:
        self._file = home / FILE_NAME
        self._measure = measure or _in_a_process
        self._known: dict[str, float] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def known(self, device: Device) -> float | None:
        """The TFLOPS of `device`, if it was measured once. Never blocks."""
        if self._known is None:
            self._known = _read(self._file)
        return self._known.get(_key(device))

    def get(self, device: Device) -> float | None:
        """The TFLOPS of `device`, measured now unless they are known; None if that fails."""
        found = self.known(device)
        if found is not None or self._closed:
            return found
        try:
            found = self._measure(device, self._started)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            if not self._closed:
                log.warning("The TFLOPS of %s cannot be measured: %s", device.id, error)
            return None
        self._remember(_key(device), found)
        return found

    def begin(self, devices: Iterable[Device]) -> None:
        """See to it that the devices are known a little later, by a thread of its own; once."""
        unknown = [device for device in devices if self.known(device) is None]
        with self._lock:
            if not unknown or self._thread is not None or self._closed:
                return
            self._thread = threading.Thread(
                target=lambda: [self.get(device) for device in unknown],
                name="measurement",
                daemon=True,
            )
            self._thread.start()

    def close(self) -> None:
        """End what is being measured; once or more."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        if self._thread is not None:
            self._thread.join()

    def _started(self, child: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._child = child
            if self._closed:
                child.kill()

    def _remember(self, key: str, tflops: float) -> None:
        # Another pool may have measured something else meanwhile.
        self._known = _read(self._file) | {key: tflops}
        new = self._file.with_name(f".{FILE_NAME}.{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            try:
                new.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
                new.replace(self._file)
            finally:
                new.unlink(missing_ok=True)


def _key(device: Device) -> str:
    parts = (device.name, f"{device.cores} cores" if device.cores else "", device.driver)
    return ", ".join(part for part in parts if part)


def _read(file: Path) -> dict[str, float]:
    """What is remembered; what is not a positive number is not."""
    try:
        with file.open("rb") as opened:
            document = parse_object(opened.read(_MAX_FILE))
    except (OSError, InvalidRequestError):
        return {}
    return {
        name: float(value)
        for name, value in document.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST
    }


def _in_a_process(device: Device, started: Callable[[subprocess.Popen[bytes]], None]) -> float:
    ordinal = device.id.partition(":")[2]
    variables = {"CUDA_VISIBLE_DEVICES": ordinal, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    child = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "elastic_inference.fleet.measure"),
            # It sees its own device alone, as the first.
            "cuda:0" if ordinal else "cpu",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=os.sep,
        env=environment(variables if ordinal else {}),
    )
    with child:
        started(child)
        try:
            said, _ = child.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    tflops = float(said) if child.returncode == 0 else math.nan
    if not 0 < tflops < _MOST:
        raise ValueError(f"the process that measures ended with status {child.returncode}")
    return tflops
