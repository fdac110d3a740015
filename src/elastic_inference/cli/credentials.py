"""Credentials as a shell or a program takes them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any


def variables(credentials: Mapping[str, Any]) -> dict[str, str]:
    """The variables of the environment by which AWS's tools find credentials."""
    found = {
        "AWS_ACCESS_KEY_ID": str(credentials["accessKeyId"]),
        "AWS_SECRET_ACCESS_KEY": str(credentials["secretAccessKey"]),
    }
    token = credentials.get("sessionToken")
    return found | ({"AWS_SESSION_TOKEN": str(token)} if token else {})


def lines(values: Mapping[str, str]) -> str:
    """Lines that set them in a shell; what belongs to other credentials is unset."""
    found = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    if "AWS_ACCESS_KEY_ID" in values and "AWS_SESSION_TOKEN" not in values:
        found.append("unset AWS_SESSION_TOKEN")
    return "\n".join(found)


def show(output: str, answer: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Print an answer of the pool, or the lines for a shell."""
    print(json.dumps(answer, indent=2) if output == "json" else lines(values))
