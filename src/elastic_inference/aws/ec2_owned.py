"""The instances that a call names, and what a change of them answers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

from elastic_inference.aws.call import Call, Document
from elastic_inference.aws.ec2_instance_documents import state
from elastic_inference.aws.errors import AwsError, said, unsupported
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance
from elastic_inference.errors import ConflictError, InvalidRequestError

_MOST = 1000
_ID = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")


def owned(plane: ControlPlane, account: str, ids: Sequence[str]) -> list[Instance]:
    """The account's instances with those ids, in that order, each once.

    Raises:
        AwsError: one of them is not there.
    """
    _check_count(ids)
    for each in ids:
        if not _ID.fullmatch(each):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{each[:64]}"')
    columns = plane.store.instances.columns
    found = {
        each.id: each
        for each in plane.store.instances.where(columns.account == account, columns.id.in_(ids))
    }
    wanted = list(dict.fromkeys(ids))
    if missing := [each for each in wanted if each not in found]:
        what = "instance ID" if len(missing) == 1 else "instance IDs"
        verb = "does" if len(missing) == 1 else "do"
        raise AwsError(
            "InvalidInstanceID.NotFound",
            f"The {what} '{', '.join(missing[:20])}' {verb} not exist",
        )
    return [found[each] for each in wanted]


def _check_count(ids: Sequence[str]) -> None:
    # Policies decide on each of them.
    if len(ids) > _MOST:
        raise AwsError("InvalidParameterValue", f"A call names up to {_MOST} instances.")


def one_owned(plane: ControlPlane, call: Call) -> Instance:
    """The instance of the parameter InstanceId."""
    return owned(plane, call.account, [call.input["InstanceId"]])[0]


def arns(plane: ControlPlane) -> Callable[[Call], Sequence[str]]:
    """What policies must allow a call on that names instances."""

    def resources(call: Call) -> Sequence[str]:
        ids = call.input.get("InstanceIds") or [call.input.get("InstanceId") or "*"]
        _check_count(ids)
        region = plane.settings.region
        return [names.instance_arn(region, call.account, each) for each in dict.fromkeys(ids)]

    return resources


def changed(before: str, now: Instance) -> Document:
    """An item of what a change of states answers."""
    return {
        "InstanceId": now.id,
        "PreviousState": state(before),
        "CurrentState": state(now.state),
    }


@contextlib.contextmanager
def state_errors() -> Iterator[None]:
    """An instance that is not in a state to be changed so, in EC2's words."""
    try:
        yield
    except ConflictError as error:
        raise AwsError("IncorrectInstanceState", said(error)) from error
    except InvalidRequestError as error:
        raise unsupported(said(error)) from error
