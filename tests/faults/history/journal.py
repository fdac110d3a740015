"""What was asked of the control plane, when, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from elastic_inference.errors import ElasticInferenceError, UnavailableError

OK = "ok"
ERROR = "error"
UNKNOWN = "unknown"
_PATIENCE = 90.0
# How the client of the control API begins what it says of a connection that broke.
_NO_ANSWER = ("No pool answers at", "What answers at")


@dataclass(slots=True)
class Call:
    """One operation; times are of the monotonic clock.

    Attributes:
        outcome: OK, ERROR (answered so) or UNKNOWN (the plane died before it answered).
    """

    number: int
    who: str
    operation: str
    document: dict[str, Any]
    began: float
    ended: float = 0.0
    outcome: str = ""
    answer: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome == OK

    @property
    def changes(self) -> bool:
        return not self.operation.startswith(("Describe", "Get"))

    def __str__(self) -> str:
        said = self.error[:160] or {key: self.answer[key] for key in list(self.answer)[:3]}
        return (
            f"{self.number} {self.who} {self.operation} {self.document}"
            f" [{self.began:.3f} {self.ended:.3f}] {self.outcome}: {said}"
        )


class Journal:
    """All calls of all clients, as they were made."""

    def __init__(self, pointer: Callable[[], Pointer]) -> None:
        self._pointer = pointer
        self._changed = threading.Condition()
        self.calls: list[Call] = []

    def call(self, who: str, operation: str, document: dict[str, Any]) -> Call:
        """Ask as the account's owner, and note what came of it."""
        return self._note(self._pointer(), who, operation, document)

    def call_as(
        self, who: str, credentials: dict[str, str], operation: str, document: dict[str, Any]
    ) -> Call:
        """Ask with an instance's credentials."""
        pointer = replace(
            self._pointer(),
            access_key_id=credentials["accessKeyId"],
            secret_access_key=credentials["secretAccessKey"],
            session_token=credentials["sessionToken"],
        )
        return self._note(pointer, who, operation, document)

    def _note(self, pointer: Pointer, who: str, operation: str, document: dict[str, Any]) -> Call:
        with self._changed:
            made = Call(len(self.calls), who, operation, document, time.monotonic())
            self.calls.append(made)
            self._changed.notify_all()
        try:
            made.answer = ControlClient(pointer, _PATIENCE).call(operation, document)
            made.outcome = OK
        except ElasticInferenceError as error:
            silent = isinstance(error, UnavailableError) and error.message.startswith(_NO_ANSWER)
            made.outcome = UNKNOWN if silent else ERROR
            made.error = f"{type(error).__name__}: {error.message}"
        made.ended = time.monotonic()
        return made

    def await_call(self, timeout: float) -> bool:
        """Wait until another call begins that changes something; False if none does in time."""
        with self._changed:
            return self._changed.wait(timeout) and self.calls[-1].changes

    @property
    def operations(self) -> int:
        """How many calls there were that change something."""
        return sum(each.changes for each in list(self.calls))
