"""`ei run`: a command as an instance with accelerators."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from elastic_inference.cli import child, summary
from elastic_inference.cli.instance import RunningInstance
from elastic_inference.cli.output import give_up
from elastic_inference.compute import trust
from elastic_inference.compute.metadata import MetadataService
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.settings import ClientSettings, PoolSettings, from_environment

_ENDS = (signal.SIGTERM, signal.SIGHUP)
# The credentials end with the instance; a date far off keeps clients from refreshing.


def main(options: argparse.Namespace) -> int:
    settings = from_environment(PoolSettings)
    # The command inherits these; a mistake is better told here than by its first session.
    visible = from_environment(ClientSettings).visible_devices
    refused = child.refusal(options.run[0])
    if refused is not None:
        print(f"ei: {refused[1]}", file=sys.stderr)
        return refused[0]
    command = child.Child(options.run)
    try:
        for number in _ENDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _end)
        types = [each.strip() for each in options.accelerator.split(",") if each.strip()]
        instance = RunningInstance(settings, types, options.name)
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
            for number in (signal.SIGINT, *_ENDS):
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
    environment = dict(os.environ)
    environment.pop("AWS_EC2_METADATA_DISABLED", None)
    return environment | {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata_url,
        "AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME": instance.endpoint,
        "AWS_CA_BUNDLE": str(_bundle(instance)),
        "EI_RUN": "1",
    }


def _bundle(instance: RunningInstance) -> Path:
    """The authorities that the command trusts anyway, and the pool's."""
    bundle = instance.directory / "ca-bundle.pem"
    bundle.write_text(trust.bundle(Path(instance.ca), os.environ.get("AWS_CA_BUNDLE")))
    return bundle


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


def _end(number: int, frame: FrameType | None) -> None:
    """A signal before the command runs: everything that was begun is undone on the way out."""
    del frame
    sys.exit(128 + number)
