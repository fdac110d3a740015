"""Kill the control plane at random points of many operations, and compare it with a model.

    HISTORY_OPERATIONS=500 FAULTS_SEED=7 python -m tests.faults.history

Clients run, stop, start, attach, detach, connect, tag and pay on a real `ei up`, which is killed
with SIGKILL in the midst of it and started again at once, dozens of times. Every call and its
outcome is recorded. After each restart all that is on the machine and in the database must be
what the calls allow; at the end each accelerator's bill must be what was seen of it from outside.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from tests.faults.history.run import Summary, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.history")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("FAULTS_SEED", "0")))
    parser.add_argument(
        "--operations", type=int, default=int(os.environ.get("HISTORY_OPERATIONS", "500"))
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = options.seed or int(time.time())
    print(f"FAULTS_SEED={seed}", flush=True)
    summary: Summary = run(options.operations, seed)
    summary.show()
    return 1 if summary.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
