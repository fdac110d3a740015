"""The command of an `ei run` that others use: it hands on its environment and waits.

python -m tests.faults.holder FILE
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.with_suffix(".new").write_text(json.dumps(dict(os.environ)))
    path.with_suffix(".new").rename(path)
    print("ready", flush=True)
    signal.pause()
