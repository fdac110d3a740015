"""`ei run`: a command as an instance with accelerators."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from elastic_inference.cli import arguments, child, host, summary
from elastic_inference.cli.environment import bundle_of, environment
from elastic_inference.cli.instance import RunningInstance
from elastic_inference.cli.output import give_up
from elastic_inference.compute.metadata import MetadataService
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.settings import ClientSettings, PoolSettings, from_environment


def main(options: argparse.Namespace) -> int:
    if options.accelerator is None:
        return host.main(options)
    settings = from_environment(PoolSettings)
    # The command inherits these; a mistake is better told here than by its first session.
    visible = from_environment(ClientSettings).visible_devices
    types = arguments.types(options.accelerator)
    tags = arguments.pairs(options.tag, "--tag")
    refused = child.refusal(options.run[0])
    if refused is not None:
        print(f"ei: {refused[1]}", file=sys.stderr)
        return refused[0]
    command = child.Child(options.run)
    try:
        child.leave_on_signals()
        instance = RunningInstance(settings, types, options.name, role=options.role, tags=tags)
        try:
            status, elapsed = _run(command, instance)
            if not options.quiet:
                try:
                    _summarise(instance, elapsed, visible, status)
                except OSError:
                    # A terminal that is gone must not change the exit status.
                    give_up(sys.stderr)
            return status
        finally:
            # What follows is short and must not be cut off, or something would stay behind.
            for number in (signal.SIGINT, *child.ENDS):
                signal.signal(number, signal.SIG_IGN)
            instance.close()
    finally:
        command.close()


def _run(command: child.Child, instance: RunningInstance) -> tuple[int, float]:
    """The command's exit status, and the seconds that it ran."""
    begin = time.monotonic()
    metadata = MetadataService(instance.document)
    try:
        status = command.run(_environment(instance, metadata.url))
    finally:
        metadata.close()
    return status, time.monotonic() - begin


def _environment(instance: RunningInstance, metadata_url: str) -> dict[str, str]:
    bundle = instance.directory / "ca-bundle.pem"
    bundle.write_text(bundle_of(Path(instance.ca)))
    return environment(metadata_url, instance.endpoint, bundle)


def _summarise(instance: RunningInstance, elapsed: float, visible: str | None, status: int) -> None:
    try:
        described = instance.call(
            "DescribeAccelerators", {"acceleratorIds": list(instance.accelerators)}
        )["accelerators"]
        types = instance.call("DescribeAcceleratorTypes", {})["acceleratorTypes"]
    except ElasticInferenceError as error:
        print(f"ei: {error.message}", file=sys.stderr)
        return
    prices = {each["acceleratorTypeName"]: each["pricePerHour"] for each in types}
    print(summary.lines(described, prices, elapsed), file=sys.stderr)
    if not summary.requests(described):
        print(summary.nothing_came(visible, status), file=sys.stderr)
