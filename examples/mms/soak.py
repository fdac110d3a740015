"""Multi Model Server with the example's service at full load: no process may grow.

    SOAK_SECONDS=1200 make soak-mms

Clients post a picture again and again over kept connections. What the processes hold is printed
now and then; at the end it may not be much more than after the warm-up.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import archive
import mms_demo
import psutil

_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
_CLIENTS = 2
_PRINTED = 12
_WARM_UP = 0.25
_MIB = 1 << 20
# What allocators come to hold; a JVM takes more of its heap before it tidies up.
_GROWTH = {"worker": 32 * _MIB, "accelerator": 32 * _MIB, "server": 256 * _MIB}
_ROLES = {
    "model_service_worker": "worker",
    "elastic_inference.accelerator": "accelerator",
    "com.amazonaws.ml.mms": "server",
}


def main() -> int:
    answers: Counter[str] = Counter()
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="ei-mms-") as name:
        folder = Path(name)
        picture = archive.fill(folder / "model", small=True).read_bytes()
        mms_demo.build(folder)
        with mms_demo.serving(folder) as (address, pid):
            clients = [
                threading.Thread(target=_post, args=(address, picture, answers, stop))
                for _ in range(_CLIENTS)
            ]
            for client in clients:
                client.start()
            try:
                warm, held = _watch(pid, answers)
            finally:
                stop.set()
                for client in clients:
                    client.join()
    grown = {role: held[role] - warm.get(role, 0) for role in held}
    print("grown since the warm-up, MiB:", {role: each // _MIB for role, each in grown.items()})
    wrong = sorted(answers.keys() - {"right"})
    if wrong or not answers["right"]:
        print(f"Not every answer was right: {dict(answers)}", file=sys.stderr)
        return 1
    too_much = [role for role, each in grown.items() if each > _GROWTH[role]]
    if too_much:
        print(f"These have grown: {', '.join(too_much)}", file=sys.stderr)
    return int(bool(too_much))


def _post(address: str, picture: bytes, answers: Counter[str], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection(address, timeout=60)
    while not stop.is_set():
        try:
            connection.request("POST", f"/predictions/{archive.NAME}", picture)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            right = answer.status == 200 and found[0]["class"].endswith(" cat")
            answers["right" if right else f"{answer.status}: {found}"[:200]] += 1
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            answers[repr(error)[:200]] += 1
            connection.close()
    connection.close()


def _watch(pid: int, answers: Counter[str]) -> tuple[dict[str, int], dict[str, int]]:
    """What the processes hold after the warm-up, and at the end."""
    began = time.monotonic()
    warm: dict[str, int] = {}
    held: dict[str, int] = {}
    for number in range(1, _PRINTED + 1):
        time.sleep(max(0.0, began + _SECONDS * number / _PRINTED - time.monotonic()))
        held = _held(pid)
        if not warm and number >= _PRINTED * _WARM_UP:
            warm = held
        sizes = ", ".join(f"{role} {each // _MIB} MiB" for role, each in sorted(held.items()))
        print(f"{time.monotonic() - began:6.0f} s  {answers.total()} answers  {sizes}", flush=True)
    return warm, held


def _held(pid: int) -> dict[str, int]:
    """Resident memory by role."""
    found: Counter[str] = Counter()
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            role = next((role for word, role in _ROLES.items() if word in command), None)
            if role is not None:
                found[role] += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return dict(found)


if __name__ == "__main__":
    sys.exit(main())
