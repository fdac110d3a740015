"""Requests, places and user data as they come from outside."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_inference.compute.base import (
    MAX_USER_DATA,
    ExecRequest,
    Place,
    Terminal,
    check_user_data,
)
from elastic_inference.errors import InvalidRequestError


def test_a_request() -> None:
    request = ExecRequest.of(
        {
            "command": ["sh", "-c", "true", ""],
            "tty": {"rows": 1, "columns": 2, "term": "xterm-256color"},
            "environment": {"A": ""},
            "directory": "/srv",
        }
    )
    assert request.command == ("sh", "-c", "true", "")
    assert request.terminal == Terminal(1, 2, "xterm-256color")
    assert (request.environment, request.directory) == ({"A": ""}, "/srv")
    assert ExecRequest.of({"command": ["true"]}) == ExecRequest(("true",))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("command", None),
        ("command", []),
        ("command", "ls"),
        ("command", [""]),
        ("command", ["a\0b"]),
        ("command", ["ls", 1]),
        ("environment", ["A"]),
        ("environment", {"A B": "c"}),
        ("environment", {"A=": "c"}),
        ("environment", {"A": 1}),
        ("environment", {"A": "\0"}),
        ("environment", {"A": "x" * 100_000}),
        ("directory", ""),
        ("directory", 1),
        ("directory", "\0"),
        ("tty", True),
        ("tty", {"rows": -1}),
        ("tty", {"rows": 65536}),
        ("tty", {"columns": "80"}),
        ("tty", {"term": "a b"}),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        ExecRequest.of({"command": ["true"]} | {field: value})


def test_a_place_comes_back_from_its_document() -> None:
    place = Place(600_000_001, "ei-i-1", None, "secret")
    assert Place.of(place.to_dict()) == place
    assert "secret" not in repr(place).removeprefix("Place(")
    assert Place.of(Place(None, None, 4000, "x").to_dict()) == Place(None, None, 4000, "x")


@pytest.mark.parametrize("text", ["#!/bin/sh\ntrue\n", "echo hello", "", "# a comment\ntrue"])
def test_scripts_are_user_data(text: str) -> None:
    check_user_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "#cloud-config\npackages: []\n",
        "\n#cloud-config\n",
        "Content-Type: multipart/mixed\n",
        "#include\nhttps://example.com\n",
        "echo \0",
        "x" * (MAX_USER_DATA + 1),
        "\u00fc" * (MAX_USER_DATA // 2 + 1),
    ],
)
def test_what_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"[Uu]ser data"):
        check_user_data(text)
