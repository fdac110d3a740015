"""An application behind a link of 1 Gbit/s, without the node's files or shared memory.

    python -m benchmarks.network [--quick] [--output FILE]

The pool runs here; the application runs, unmodified, under `ei run` in network and mount
namespaces of its own. Needs root and iproute2; without them it says so and ends well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.link import Link, environment, link, missing
from benchmarks.report import Table, machine, write
from benchmarks.workloads import WORKLOADS

RATE = 1e9
_APPLICATION = Path(__file__).parent / "far_application.py"
_DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
_START = 60.0
_COLUMNS = (
    *("workload", "calls at once", "p50, ms", "requests/s", "bytes sent per request"),
    *("tensors, Mbit/s", "on the link, Mbit/s", "of the link's limit"),
)


@contextlib.contextmanager
def pool(home: Path, address: str) -> Iterator[Path]:
    """A pool of `ei up` that listens on `address`; gives its current.json."""
    pointer = home / "current.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "elastic_inference.cli", "up"),
            *("--state", str(home / "pool"), "--listen", f"{address}:0"),
        ],
        env=environment({"EI_HOME": str(home)}),
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _START
        while not pointer.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the pool did not start")
            time.sleep(0.02)
        yield pointer
    finally:
        process.terminate()
        try:
            process.wait(_START)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(names: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """What the application on the far side reports, for each workload."""
    with contextlib.ExitStack() as stack:
        near = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ei-near-")))
        far = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ei-far-")))
        wire = stack.enter_context(link(f"{RATE / 1e9:g}gbit"))
        pointer = stack.enter_context(pool(near, wire.near))
        # All that the far machine gets of the pool: its address, its authority, credentials.
        fields = json.loads(pointer.read_text(encoding="utf-8"))
        fields["ca"] = str(shutil.copy(fields["ca"], far / "ca.pem"))
        (far / "current.json").write_text(json.dumps(fields), encoding="utf-8")
        (far / "current.json").chmod(0o600)
        return _run_far(wire, far, [near, Path("/dev/shm")], names, seconds)  # noqa: S108 - hidden


def _run_far(
    wire: Link, far: Path, hidden: Sequence[Path], names: Sequence[str], seconds: float
) -> list[dict[str, Any]]:
    models: list[str] = []
    for name in names:
        workload = WORKLOADS[name]
        shape = json.dumps(workload.shape)
        models += [str(workload.save(far)), name, shape, workload.dtype]
    command = [
        *(sys.executable, "-m", "elastic_inference.cli", "run"),
        *("--accelerator", "eia1.medium", "--"),
        *(sys.executable, str(_APPLICATION), wire.far_device, str(seconds), *models),
    ]
    done = subprocess.run(
        wire.command(command, hidden),
        env=environment({"EI_HOME": str(far)}),
        cwd=far,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120.0 + 10.0 * seconds * len(names),
    )
    if done.returncode:
        raise RuntimeError(f"the application ended with {done.returncode}; its error is above")
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(reports: Sequence[dict[str, Any]]) -> Table:
    """The reports as a table."""
    rows: list[Sequence[Any]] = []
    for report in reports:
        for calls, figures in ((1, report["one"]), (4, report["several"])):
            seconds, requests = figures["seconds"], figures["requests"]
            on_link = figures["sent"] * 8 / seconds
            rows.append(
                (
                    *(report["name"], calls, figures["p50_ms"], requests / seconds),
                    f"{figures['sent'] / requests:,.0f}",
                    figures["tensor_bytes"] * 8 / seconds / 1e6,
                    on_link / 1e6,
                    f"{on_link / RATE:.0%}",
                )
            )
    note = "Loading, upload included: " + ", ".join(
        f"{report['name']} {report['load_seconds'] * 1e3:,.0f} ms "
        f"({report['load_bytes']:,} bytes sent)"
        for report in reports
    )
    return Table("TLS through the endpoint, over 1 Gbit/s", _COLUMNS, rows, note + ".")


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="short runs: the figures mean little")
    parser.add_argument("--output", type=Path, default=_DOCUMENT, help="the Markdown to write into")
    arguments = parser.parse_args()
    reason = missing()
    if reason:
        print(f"Not measured: {reason}.")
        return 0
    names = ["tiny", "image"] if arguments.quick else list(WORKLOADS)
    result = table(measure(names, 0.3 if arguments.quick else 5.0))
    print(result.markdown())
    if not arguments.quick:
        write(arguments.output, machine(), {"network": [result]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
