"""The demo: an unmodified application reads text, here and then on an accelerator.

It runs `read_text.py` three times: on this machine, under `ei run`, and under `ei run` with
every byte over TLS as from another machine. The text has to be the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from picture import paint

_HERE = Path(__file__).resolve().parent
_TYPE = "eia1.medium"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ei-demo-") as folder:
        picture = Path(folder) / "picture.png"
        paint(picture)
        application = [sys.executable, str(_HERE / "read_text.py"), str(picture)]
        ei = str(Path(sys.executable).with_name("ei"))
        attached = [ei, "run", "--accelerator", _TYPE, "--", *application]

        local = _show("On this machine", application)
        remote = _show(f"On an accelerator ({_TYPE}), same command under `ei run`", attached)
        tls = _show("The same over TLS, as from another machine", attached, EI_TRANSPORT="tls")
    if not local.strip():
        print("No text was read.", file=sys.stderr)
        return 1
    if not local == remote == tls:
        print("The texts differ.", file=sys.stderr)
        return 1
    print("The three texts are the same.")
    return 0


def _show(title: str, command: list[str], **environment: str) -> str:
    """Run a command, show what it printed and how long it took, and return its text."""
    print(f"== {title}", flush=True)
    started = time.monotonic()
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr, sep="\n", end="")
    print(f"   {time.monotonic() - started:.1f} s, exit status {done.returncode}\n", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
