"""Patterns against a naive oracle, and what policy variables stand for."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.control.wildcards import (
    ONE,
    STAR,
    Variable,
    compile_pattern,
    matches,
    resolve,
    split,
)

PATTERNS = st.text("ab*?\n", max_size=12)
TEXTS = st.text("ab\n", max_size=16)


def oracle(pattern: str, text: str) -> bool:
    """Matches letter by letter, trying everything."""

    @functools.cache
    def at(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return at(p + 1, t) or (t < len(text) and at(p, t + 1))
        return t < len(text) and pattern[p] in ("?", text[t]) and at(p + 1, t + 1)

    return at(0, 0)


@given(PATTERNS, TEXTS)
def test_wildcards_match_as_the_oracle_says(pattern: str, text: str) -> None:
    assert matches(pattern, text) is oracle(pattern, text)


@given(st.lists(st.one_of(st.sampled_from("ab*?"), st.text("ab", max_size=3)), max_size=8))
def test_a_text_made_from_a_pattern_matches_it(parts: list[str]) -> None:
    pattern = "".join(parts)
    assert matches(pattern, pattern.replace("*", "abba").replace("?", "a"))


@pytest.mark.parametrize("one", ["", "?"])
def test_hostile_patterns_end(one: str) -> None:
    pattern = ("*a" + one) * 2500
    assert not matches(pattern, "a" * 4000 + "b")
    assert matches("*", "a" * 100_000)
    assert not matches("*a*a*a*a*a*b" + one, "a" * 10_000)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a*b?", ("a", STAR, "b", ONE)),
        ("${aws:UserName}", (Variable("aws:username", None),)),
        ("x${aws:Tag/a b, 'no one'}y", ("x", Variable("aws:tag/a b", "no one"), "y")),
        ("${aws:userid,'*'}", (Variable("aws:userid", "*"),)),
        ("${*}${?}${$}{aws:x}", ("*", "?", "$", "{aws:x}")),
        ("a$b", ("a$b",)),
        ("", ()),
    ],
)  # fmt: skip
def test_patterns_are_split_into_pieces(text: str, pieces: tuple[object, ...]) -> None:
    assert split(text, variables=True) == pieces


@pytest.mark.parametrize("text", ["${", "a${aws:x", "${}", "${aws:x,}", "${aws:x, y}", "${a${b}}"])
def test_an_unfinished_variable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\$\{"):
        split(text, variables=True)
    assert split(text)[0] == text


def test_what_a_variable_stands_for_is_no_pattern() -> None:
    test = compile_pattern(split("home/${aws:username}/*", variables=True))
    assert test("home/*/file", {"aws:username": ("*",)})
    assert not test("home/ann/file", {"aws:username": ("*",)})


def test_a_variable_without_one_value_takes_its_default() -> None:
    pieces = split("${aws:username, 'nobody'}", variables=True)
    assert resolve(pieces, {}) == ["nobody"]
    assert resolve(pieces, {"aws:username": ("a", "b")}) == ["nobody"]
    assert resolve(pieces, {"aws:username": ("a",)}) == ["a"]
    assert resolve(split("${aws:username}", variables=True), {}) is None
