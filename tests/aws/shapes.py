"""moto's answers beside the pool's: the same calls, and what they say is in the same places."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest.mock import patch

import boto3

REGION = "us-east-1"
# Makes the client of a service: the pool's, or moto's.
Clients = Callable[[str], Any]
Steps = Callable[[Clients], Mapping[str, Any]]
_ID = re.compile(r"([a-z]+(?:-[a-z]+)*)-[0-9a-f]{8,32}")
_ARN = re.compile(r"arn:aws:([a-z-]*):[a-z0-9-]*:(?:[0-9]{12}|aws)?:([a-zA-Z-]+)[:/].*", re.DOTALL)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(/[0-9]{1,2})?")


@contextlib.contextmanager
def moto() -> Iterator[Clients]:
    """Clients of moto in this process, which begins empty. No other client works meanwhile."""
    from moto import mock_aws

    settings = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    with patch.dict(os.environ, settings), mock_aws():
        yield lambda service: boto3.client(
            service, REGION, aws_access_key_id="AKIATESTS", aws_secret_access_key="tests"
        )


def assert_shape_like_moto(
    clients: Clients, steps: Steps, lacks: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Check that what moto answers is answered by the pool too, in its place and of its type.

    Args:
        clients: the pool's.
        steps: makes the calls with clients of one side, and returns the answer to compare.
        lacks: why a member is not answered, by its path as in `Reservations.Instances.Platform`.
            A path stands for all that is below it. What is answered must not be there.

    Returns:
        The pool's answer.
    """
    own = steps(clients)
    with moto() as others:
        theirs = steps(others)
    wrong = differences(own, theirs, lacks or {})
    assert not wrong, "\n".join(wrong)
    return own


def differences(
    own: Mapping[str, Any], theirs: Mapping[str, Any], lacks: Mapping[str, str]
) -> list[str]:
    """What is in another place, of another type or form, or not there without a reason."""
    ours, reference = _forms(own), _forms(theirs)
    found = []
    for path, forms in sorted(reference.items()):
        if path not in ours:
            if not _covered(path, lacks):
                found.append(f"{path}: moto gives {_say(forms)}, the pool nothing")
        elif not forms & ours[path]:
            found.append(f"{path}: moto gives {_say(forms)}, the pool {_say(ours[path])}")
    found += [f"{path}: it is answered, and yet among what lacks" for path in lacks if path in ours]
    return found


def _covered(path: str, lacks: Mapping[str, str]) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in lacks)


def _say(forms: set[str]) -> str:
    return " or ".join(sorted(forms))


def _forms(answer: Mapping[str, Any]) -> dict[str, set[str]]:
    """The forms of what is at each path, whichever item of a list has it."""
    found: dict[str, set[str]] = {}
    _collect({k: v for k, v in answer.items() if k != "ResponseMetadata"}, "", found)
    return found


def _collect(value: Any, path: str, found: dict[str, set[str]]) -> None:
    if isinstance(value, Mapping):
        for name, each in value.items():
            _collect(each, f"{path}.{name}" if path else name, found)
    elif isinstance(value, list):
        # An empty list says as much as none, and AWS itself gives now one and now the other.
        for each in value:
            _collect(each, path, found)
    elif value not in (None, ""):
        found.setdefault(path, set()).add(_form(value))


def _form(value: object) -> str:
    if isinstance(value, str):
        return _form_of_text(value)
    if isinstance(value, bool):
        return "a flag"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, datetime.datetime):
        return "a time"
    return f"a {type(value).__name__}"


def _form_of_text(text: str) -> str:
    if match := _ARN.fullmatch(text):
        return f"an ARN of {match[1]} {match[2]}"
    if match := _ID.fullmatch(text):
        return f"an id {match[1]}-…"
    if match := _ADDRESS.fullmatch(text):
        return "a network" if match[1] else "an address"
    return "a text"
