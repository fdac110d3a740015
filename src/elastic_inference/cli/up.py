"""`ei up`: a pool in the foreground."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from elastic_inference._version import __version__
from elastic_inference.aws.front import AwsFront
from elastic_inference.control.pool import Pool
from elastic_inference.settings import Limits, PoolSettings, from_environment

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A signal that was given to another thread is seen only once the main thread runs again.
_LOOK = 1.0


def main(options: argparse.Namespace) -> int:
    settings = from_environment(PoolSettings)
    limits = from_environment(Limits)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    home = settings.home.expanduser().absolute()
    state = Path(options.state).expanduser().absolute() if options.state else home / "pool"
    pool = Pool(
        state,
        settings=settings,
        limits=limits,
        listen_on=options.listen,
        outlive=True,
        front=AwsFront,
    )
    ended = threading.Event()
    for number in _ENDS:
        signal.signal(number, lambda *_: ended.set())
    try:
        pool.pointer.save(home)
        print(f"Elastic Inference {__version__}", file=sys.stderr)
        print(f"  endpoint  {pool.pointer.endpoint}", file=sys.stderr)
        print(f"  state     {state}", file=sys.stderr)
        if settings.database:
            print(f"  database  {pool.plane.store.name}", file=sys.stderr)
        _say_what_there_is(pool)
        print("Ready. Ctrl-C stops it; accelerators go on for a while.", file=sys.stderr)
        while not ended.wait(_LOOK):
            pass
        _say_what_stays(pool, limits.control_grace)
    finally:
        pool.pointer.remove(home)
        pool.close()
    return 0


def _say_what_there_is(pool: Pool) -> None:
    for report in pool.plane.fleet.nodes():
        for device in report.devices:
            tflops = "TFLOPS not known" if device.tflops is None else f"{device.tflops:g} TFLOPS"
            if report.best_effort:
                tflops += " (virtual: best effort)"
            print(
                f"  node      {report.node} {device.device}: {device.memory_bytes >> 20} MiB,"
                f" {tflops}",
                file=sys.stderr,
            )
    compute = pool.plane.compute
    if compute is not None and not compute.isolated:
        print(f"  instances without users of their own: {compute.why_not}", file=sys.stderr)


def _say_what_stays(pool: Pool, grace: float) -> None:
    staying = pool.plane.store.accelerators.where()
    if not staying:
        print("Stopped; no accelerator stays.", file=sys.stderr)
        return
    print(
        f"Stopped. {len(staying)} accelerator(s) stay for {grace:.0f} s without a control plane,"
        " and go on if ei up is started again on this state:",
        file=sys.stderr,
    )
    for accelerator in staying:
        print(f"  {accelerator.id}  {accelerator.type}  {accelerator.instance_id}",
              file=sys.stderr)  # fmt: skip
