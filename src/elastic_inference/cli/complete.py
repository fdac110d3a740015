"""`ei __complete WORDS...`: what may stand in the place of the last word, for shells."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence

from elastic_inference.cli.parser import build_parser
from elastic_inference.errors import ElasticInferenceError

Candidates = dict[str, str]
"""What each one means, by the word."""

# What lists the ids that a metavar stands for: operation, its list, the id's field and another one
# to tell it by.
_IDS = {
    "INSTANCE": ("DescribeInstances", "instances", "instanceId", "name"),
    "ACCELERATOR": ("DescribeAccelerators", "accelerators", "acceleratorId", "acceleratorType"),
    "ROLE": ("ListRoles", "roles", "roleName", "description"),
    "USER": ("ListUsers", "users", "userName", "arn"),
    "POLICY": ("ListPolicies", "policies", "policyName", "description"),
    "KEY": ("ListAccessKeys", "accessKeys", "accessKeyId", "userName"),
    "VPC": ("DescribeNetwork", "vpcs", "vpcId", "cidr"),
    "SUBNET": ("DescribeNetwork", "subnets", "subnetId", "cidr"),
    "GROUP": ("DescribeNetwork", "securityGroups", "groupId", "name"),
    "ENDPOINT": ("DescribeNetwork", "endpoints", "endpointId", "vpcId"),
    "TYPE": ("DescribeAcceleratorTypes", "acceleratorTypes", "acceleratorTypeName", "memoryMiB"),
}
_PAGED = {"DescribeInstances", "DescribeAccelerators"}
_WORD = re.compile(r"[A-Z]+")


def main(options: argparse.Namespace) -> int:
    """Print a line for each, with a tab before what it means."""
    for word, meaning in candidates(options.words).items():
        print(f"{word}\t{meaning}")
    return 0


def candidates(words: Sequence[str]) -> Candidates:
    """What the last of `words`, which follow `ei`, may become; nothing where files are meant."""
    *before, last = words or [""]
    place = _Place(build_parser())
    for word in before:
        if not place.take(word):
            return {}
    found = place.candidates(last)
    return {word: meaning for word, meaning in found.items() if word.startswith(last)}


class _Place:
    """Where in a command line the next word is."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._positionals = 0
        # The option whose value comes next.
        self._option: argparse.Action | None = None

    def take(self, word: str) -> bool:
        """Go on behind `word`; whether `ei` understands what follows."""
        if self._option is not None:
            self._option = None
        elif word == "--":
            return False
        elif word.startswith("-"):
            option = self._options().get(word)
            if option is not None and option.nargs != 0:
                self._option = option
        elif word in self._commands():
            self._parser = self._commands()[word]
            self._positionals = 0
        elif self._commands():
            return False
        else:
            self._positionals += 1
        return True

    def candidates(self, last: str) -> Candidates:
        if self._option is not None:
            return _values(self._option)
        if last.startswith("-"):
            return {name: each.help or "" for name, each in self._options().items()
                    if name.startswith("--")}  # fmt: skip
        if self._commands():
            return {each.dest: each.help or "" for each in self._described()}
        wanted = [each for each in self._actions() if not each.option_strings]
        if not wanted:
            return {}
        repeated = wanted[-1].nargs in {"+", "*"}
        if self._positionals >= len(wanted) and not repeated:
            return {}
        return _values(wanted[min(self._positionals, len(wanted) - 1)])

    def _actions(self) -> Iterable[argparse.Action]:
        return self._parser._actions  # noqa: SLF001 - what argparse knows has no public name

    def _options(self) -> dict[str, argparse.Action]:
        return {name: each for each in self._actions() for name in each.option_strings}

    def _commands(self) -> dict[str, argparse.ArgumentParser]:
        for each in self._actions():
            if isinstance(each, argparse._SubParsersAction):  # noqa: SLF001 - as above
                return dict(each.choices)
        return {}

    def _described(self) -> Iterable[argparse.Action]:
        """The commands here with the words that tell what they do."""
        for each in self._actions():
            if isinstance(each, argparse._SubParsersAction):  # noqa: SLF001 - as above
                yield from each._choices_actions  # noqa: SLF001 - as above


def _values(action: argparse.Action) -> Candidates:
    if action.choices:
        return {str(each): "" for each in action.choices}
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    name = _WORD.match(metavar)
    try:
        return _ids(name[0]) if name and name[0] in _IDS else {}
    except (ElasticInferenceError, OSError):
        # A shell that completes has no place for errors.
        return {}


def _ids(metavar: str) -> Candidates:
    # What speaks to a pool takes a while to load.
    from elastic_inference.cli.connection import PROBE_TIMEOUT, pointed  # noqa: PLC0415
    from elastic_inference.control.client import ControlClient  # noqa: PLC0415

    pointer = pointed()
    if pointer is None:
        return {}
    client = ControlClient(pointer, PROBE_TIMEOUT)
    operation, key, field, meaning = _IDS[metavar]
    # Of many the first page is more than anybody reads.
    answer = client.call(operation, {"maxResults": 1000} if operation in _PAGED else {})
    return {
        each[field]: str(each[meaning] or "")
        for each in answer[key]
        if each.get("state") != "terminated"
    }
