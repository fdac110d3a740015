"""The demo of Multi Model Server: it classifies a picture on an accelerator.

Builds a model archive with `model-archiver`, starts the server under `ei run`, posts a picture to
it, and shows the five likeliest classes. `--full` takes the whole ResNet-152.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import archive

_BIN = Path(sys.executable).parent
_PATIENCE = 180.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ei-mms-") as name:
        folder = Path(name)
        picture = archive.fill(folder / "model", small="--full" not in sys.argv)
        build(folder)
        with serving(folder) as (address, _):
            answer = _post(f"http://{address}/predictions/{archive.NAME}", picture.read_bytes())
    print(json.dumps(answer, indent=2))
    best = max(answer, key=lambda each: each["probability"])
    if not best["class"].endswith(" cat"):
        print(f"The picture is one of a cat, not of {best['class']}.", file=sys.stderr)
        return 1
    return 0


def build(folder: Path) -> None:
    (folder / "store").mkdir()
    subprocess.run(
        [
            *(_BIN / "model-archiver", "--model-name", archive.NAME),
            *("--handler", "model_service:handle", "--export-path", folder / "store"),
            *("--model-path", folder / "model", "--runtime", "python"),
        ],
        check=True,
    )


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    """The server, ready, with the model loaded; its address, and the process that it is under."""
    ports = _free_ports(2)
    config = folder / "config.properties"
    config.write_text(
        f"inference_address=http://127.0.0.1:{ports[0]}\n"
        f"management_address=http://127.0.0.1:{ports[1]}\n"
        "default_workers_per_model=1\n"
        # Java would take a quarter of the machine's memory before it tidies up; and the sockets of
        # workers have the same names in every server.
        f"vmargs=-Xmx128m -Djava.io.tmpdir={folder}\n",
        encoding="utf-8",
    )
    # The server keeps a file of its process id in the folder for temporary files.
    environment = os.environ | {"TMPDIR": str(folder), "LOG_LOCATION": str(folder / "logs")}
    environment |= {"METRICS_LOCATION": str(folder / "logs")}
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen(
        [
            *(_BIN / "ei", "run", "--accelerator", "eia1.large", "--"),
            *(_BIN / "multi-model-server", "--start", "--foreground", "--mms-config", config),
            *("--model-store", folder / "store", "--models", f"{archive.NAME}={archive.NAME}.mar"),
        ],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait(server, f"http://127.0.0.1:{ports[1]}/models/{archive.NAME}")
        yield f"127.0.0.1:{ports[0]}", server.pid
    except BaseException:
        print((folder / "server.log").read_text(errors="replace")[-4000:], file=sys.stderr)
        raise
    finally:
        _stop(server, environment)
        log.close()


def _stop(server: subprocess.Popen[bytes], environment: Mapping[str, str]) -> None:
    """End the server and all that it has started: its workers outlive it, and it its starter."""
    command = (str(_BIN / "multi-model-server"), "--stop")
    subprocess.run(command, env=environment, check=False, capture_output=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    """Wait until a worker of the model is ready."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"The server ended with status {server.returncode}.")
        with contextlib.suppress(OSError, ValueError):
            workers = _get(address)["workers"]
            if any(each["status"] == "READY" for each in workers):
                return
        time.sleep(0.2)
    raise SystemExit(f"The server was not ready within {_PATIENCE:.0f} s.")


def _get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - http
        found = json.load(answer)
    return found[0] if isinstance(found, list) else found


def _post(address: str, content: bytes) -> Any:
    request = urllib.request.Request(address, content, {"Content-Type": "image/jpeg"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"The server answered {error.code}: {error.read().decode()}") from error


def _free_ports(count: int) -> list[int]:
    """Free ports below those that the system gives on its own; the server takes no others."""
    found: list[int] = []
    for port in random.sample(range(20000, 30000), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise SystemExit("There are no free ports.")


if __name__ == "__main__":
    sys.exit(main())
