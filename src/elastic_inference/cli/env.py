"""`ei env`: what points a shell's programs at the pool."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from elastic_inference.cli import credentials
from elastic_inference.cli.connection import ENDPOINT, pool
from elastic_inference.compute import tools, trust
from elastic_inference.control.client import ControlClient
from elastic_inference.settings import PoolSettings, from_environment

_BUNDLE = "ca-bundle.pem"


def main(options: argparse.Namespace) -> int:
    client = pool()
    region = client.call("DescribePool", {})["region"]
    values = {
        **_credentials(client, options.role),
        "AWS_CA_BUNDLE": str(_bundle(Path(client.pointer.ca))),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        ENDPOINT: client.pointer.endpoint,
        **tools.variables(client.pointer.endpoint, os.environ.get("AWS_DATA_PATH", "")),
    }
    credentials.show(options.output, values, values)
    return 0


def _credentials(client: ControlClient, role: str | None) -> dict[str, str]:
    if role is not None:
        return credentials.variables(client.call("AssumeRole", {"roleName": role})["credentials"])
    pointer = client.pointer
    return credentials.variables(
        {
            "accessKeyId": pointer.access_key_id,
            "secretAccessKey": pointer.secret_access_key,
            "sessionToken": pointer.session_token,
        }
    )


def _bundle(ca: Path) -> Path:
    """A file of what is trusted anyway and the pool's authority, for a shell's other programs."""
    home = from_environment(PoolSettings).home.expanduser().absolute()
    bundle = home / _BUNDLE
    if ca == bundle:
        return bundle
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = os.environ.get("AWS_CA_BUNDLE")
    draft = bundle.with_name(f"{_BUNDLE}.{os.getpid()}")
    draft.write_text(trust.bundle(ca, None if own == str(bundle) else own), encoding="utf-8")
    draft.replace(bundle)
    return bundle
