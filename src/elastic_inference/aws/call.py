"""One call of an operation, and what an operation is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.control.caller import Caller

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was checked and may be made.

    Attributes:
        operation: its name in the service's model.
        input: its parameters by the names of the model's members; times are Unix seconds, and
            what was not given is not there.
    """

    operation: str
    input: Document
    caller: Caller
    request_id: str

    @property
    def account(self) -> str:
        return self.caller.account


def _everything(call: Call) -> Sequence[str]:
    del call
    return ("*",)


def _nothing(call: Call) -> None:
    del call


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done for a call.

    Attributes:
        run: parameters in, the result by the names of the model's members out; times are Unix
            seconds, and None is left out.
        honours: the parameters that it heeds. `Tags` means all of it, `Placement.Tenancy` that
            member alone, of a list's items too; any other is refused.
        resources: the ARNs that a policy must allow the call on.
        action: what policies call it, if that is not its name.
        rehearse: what a dry run does beside asking policies; it raises what `run` would refuse.
    """

    run: Callable[[Call], Document]
    honours: frozenset[str] = frozenset()
    resources: Callable[[Call], Sequence[str]] = _everything
    action: str = ""
    rehearse: Callable[[Call], None] = _nothing


def operation(
    run: Callable[[Call], Document],
    honours: str = "",
    *,
    resources: Callable[[Call], Sequence[str]] = _everything,
    action: str = "",
    rehearse: Callable[[Call], None] = _nothing,
) -> Operation:
    """An operation; `honours` are names with blanks between them."""
    return Operation(run, frozenset(honours.split()), resources, action, rehearse)


Operations = Mapping[str, Operation]
