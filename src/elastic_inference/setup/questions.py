"""Questions to who sits at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from elastic_inference.errors import InvalidRequestError

T = TypeVar("T")
PROMPT = "\namazonei-wizard>"
Ask = Callable[[str], str]


class QuitError(Exception):
    """Who was asked wants no more of it."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One of several answers.

    Attributes:
        text: as it is shown.
        names: what may be given for it on the command line.
    """

    value: T
    text: str
    names: tuple[str, ...]


class Questions:
    """Asks what the command line does not say.

    Args:
        assume: the first choice is taken without asking.
    """

    def __init__(
        self, *, assume: bool, ask: Ask = input, say: Callable[[str], None] = print
    ) -> None:
        self._assume = assume
        self._ask = ask
        self._say = say

    def choose(
        self, question: str, option: str, given: str | None, choices: Sequence[Choice[T]]
    ) -> T:
        """One of the choices: what the command line gives, the only one, or the answer.

        Args:
            option: of the command line, which gives it.

        Raises:
            InvalidRequestError: what is given is none of them, or nobody answers.
            QuitError: the answer is that.
        """
        if given is not None:
            return self._given(option, given, choices)
        if len(choices) == 1 or self._assume:
            return choices[0].value
        self._say(f"\n{question}\n")
        for index, each in enumerate(choices):
            self._say(f" {index}: {each.text}")
        answer = self._answer(f"\nType 'q' to quit.{PROMPT}", option)
        while not (answer.isdecimal() and int(answer) < len(choices)):
            self._say(f"Please enter a number from 0 to {len(choices) - 1}, inclusive.")
            answer = self._answer(PROMPT, option)
        return choices[int(answer)].value

    def confirm(self, question: str) -> None:
        """Go on after a yes.

        Raises:
            QuitError: it was no.
        """
        if self._assume:
            return
        self._say(question)
        while self._answer(f"\nType 'y' to continue. Type 'q' to quit.{PROMPT}", "--yes") != "y":
            pass

    @staticmethod
    def _given(option: str, given: str, choices: Sequence[Choice[T]]) -> T:
        for each in choices:
            if given in each.names:
                return each.value
        names = ", ".join(each.names[0] for each in choices[:20])
        raise InvalidRequestError(
            f"{option} {given[:64]!r} is none of those there are.", next_step=f"There are: {names}."
        )

    def _answer(self, prompt: str, option: str) -> str:
        try:
            answer = self._ask(prompt).strip().lower()
        except EOFError:
            raise InvalidRequestError(
                "Nobody answers.", next_step=f"Give {option}, or --yes for all that is usual."
            ) from None
        if answer == "q":
            raise QuitError
        return answer
