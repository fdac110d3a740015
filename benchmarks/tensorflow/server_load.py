"""Sends one Predict request again and again, so many at a time, and times the answers.

JSON lines on its standard input, each answered by one:

    {"do": "drive", "address": HOST:PORT, "file": REQUEST, "at_once": N, "seconds": S}
        ->  {"ms": [M, …], "seconds": S}
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc

_METHOD = "/tensorflow.serving.PredictionService/Predict"
_MESSAGE = 1 << 30
_PATIENCE = 60.0


def _drive(address: str, request: bytes, at_once: int, seconds: float) -> dict[str, Any]:
    options = [
        ("grpc.max_receive_message_length", _MESSAGE),
        ("grpc.max_send_message_length", _MESSAGE),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    times: list[list[float]] = [[] for _ in range(at_once)]
    with grpc.insecure_channel(address, options) as channel:
        call = channel.unary_unary(_METHOD)
        call(request, timeout=_PATIENCE)
        begun = time.perf_counter()
        end = begun + seconds

        def work(mine: list[float]) -> None:
            while (sent := time.perf_counter()) < end or not mine:
                call(request, timeout=_PATIENCE)
                mine.append((time.perf_counter() - sent) * 1e3)

        threads = [threading.Thread(target=work, args=(mine,)) for mine in times]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begun
    return {"ms": [each for mine in times for each in mine], "seconds": took}


def main() -> int:
    """Do what the lines say until there are no more."""
    for line in sys.stdin:
        message = json.loads(line)
        request = Path(message["file"]).read_bytes()
        answer = _drive(message["address"], request, message["at_once"], message["seconds"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
