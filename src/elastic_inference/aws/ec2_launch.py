"""Launching instances as RunInstances describes them, whoever asks for them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from elastic_inference.aws import ec2_launch_data
from elastic_inference.aws.ec2_template_data import template_data
from elastic_inference.aws.errors import AwsError, said, unsupported, used_token
from elastic_inference.aws.iam_profiles import check_pass
from elastic_inference.control import names, records
from elastic_inference.control.caller import Caller
from elastic_inference.control.launch import LaunchRequest
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance, LaunchTemplate
from elastic_inference.errors import LimitExceededError

__all__ = ["launch", "launched", "rehearse", "template_data"]
_MOST = 100
# That an account has at one time, stopped ones among them.
MOST_INSTANCES = 5000
_MAX_TOKEN = 64
TEMPLATE_ID, TEMPLATE_VERSION = "aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"


def launch(
    plane: ControlPlane,
    account: str,
    data: Mapping[str, Any],
    *,
    client_token: str | None = None,
    tags: Mapping[str, str] | None = None,
    caller: Caller | None = None,
    subnet_id: str | None = None,
) -> list[Instance]:
    """Launch instances; they are pending when it returns and start in the background.

    Args:
        data: the parameters of RunInstances, LaunchTemplate with its Version among them, which the
            others come before; MinCount and MaxCount are 1 if not given.
        client_token: the same token means the same instances, as long as they are known.
        tags: further tags, which may be AWS's own.
        caller: whose right to pass the role is looked at; None: nobody's.
        subnet_id: comes before what the template says, inside a network interface too.

    Raises:
        AwsError: in EC2's words.
        ElasticInferenceError: there is no room, or the caller may not pass the role.
    """
    token = _token(client_token)
    request, least, most = _read(plane, account, data, caller, subnet_id)
    request = replace(request, tags={**request.tags, **(tags or {})})
    digest = _digest([data, dict(tags or {}), subnet_id])
    most = _room(plane, account, least, most, token)
    requests = _requests(request, most, token, digest)
    with _ec2_errors():
        instances, are_new = plane.run_instances(requests, least)
    if not are_new and any(each.ec2.get("Request") != digest for each in instances):
        raise used_token()
    return instances


def rehearse(
    plane: ControlPlane, account: str, data: Mapping[str, Any], caller: Caller | None
) -> None:
    """Refuse what `launch` would, but for room, and do nothing.

    Raises:
        AwsError: in EC2's words.
        ElasticInferenceError: the caller may not pass the role.
    """
    _token(data.get("ClientToken"))
    _read(plane, account, data, caller, None)


def launched(plane: ControlPlane, account: str, client_token: str) -> Instance | None:
    """The first instance that an earlier `launch` with that token made, as long as it is known."""
    return plane.store.instance_by_token(account, _token_of(client_token, 0))


def _read(
    plane: ControlPlane,
    account: str,
    data: Mapping[str, Any],
    caller: Caller | None,
    subnet_id: str | None,
) -> tuple[LaunchRequest, int, int]:
    """What is to be launched, and how many of it."""
    template, merged = _merged(plane, account, data)
    if subnet_id is not None:
        merged = _moved(merged, subnet_id)
    least, most = _counts(merged)
    if plane.compute is None:
        raise unsupported("This pool has no place for instances. Start one with ei up.")
    request, profile = ec2_launch_data.read(plane, account, merged)
    if caller is not None and profile is not None:
        check_pass(plane, caller, profile.role_name or "")
    return replace(request, tags={**request.tags, **_template_tags(template)}), least, most


def merge(data: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A template's data with parameters that come before it; tags are merged by their keys."""
    merged = {**data, **given}
    if data.get("TagSpecifications") and given.get("TagSpecifications"):
        found = ec2_launch_data.instance_tags(data) | ec2_launch_data.instance_tags(given)
        pairs = [{"Key": key, "Value": value} for key, value in found.items()]
        merged["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
    return merged


def _merged(
    plane: ControlPlane, account: str, data: Mapping[str, Any]
) -> tuple[tuple[LaunchTemplate, int] | None, dict[str, Any]]:
    given = {
        name: value
        for name, value in data.items()
        if name not in {"LaunchTemplate", "ClientToken", "DryRun"}
    }
    spec = data.get("LaunchTemplate")
    if not spec:
        return None, given
    template, version, found = template_data(plane, account, spec)
    return (template, version), merge(found, given)


def _room(plane: ControlPlane, account: str, least: int, most: int, token: str | None) -> int:
    """How many of the instances that are wanted the account may have."""
    if token is not None and launched(plane, account, token) is not None:
        return most
    columns = plane.store.instances.columns
    there = plane.store.instances.count(
        columns.account == account,
        columns.provider == records.LOCAL,
        columns.state != records.TERMINATED,
    )
    if there + least > MOST_INSTANCES:
        raise AwsError(
            "InstanceLimitExceeded",
            f"You have {there} instances; with {least} more there would be more than the"
            f" {MOST_INSTANCES} that an account may have. Terminate some.",
        )
    return min(most, MOST_INSTANCES - there)


def _moved(data: dict[str, Any], subnet_id: str) -> dict[str, Any]:
    if not data.get("NetworkInterfaces"):
        return data | {"SubnetId": subnet_id}
    first, *others = data["NetworkInterfaces"]
    return data | {"NetworkInterfaces": [{**first, "SubnetId": subnet_id}, *others]}


def _counts(data: Mapping[str, Any]) -> tuple[int, int]:
    least, most = data.get("MinCount", 1), data.get("MaxCount", 1)
    for name, value in (("minCount", least), ("maxCount", most)):
        if value < 1:
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({value}) for parameter {name} is invalid. It must be greater than 0.",
            )
    if least > most:
        raise AwsError("InvalidParameterCombination", "MinCount must not be greater than MaxCount.")
    if most > _MOST:
        raise AwsError(
            "InstanceLimitExceeded", f"A call launches up to {_MOST} instances. Make several."
        )
    return least, most


def _token(token: str | None) -> str | None:
    if token is not None and not (len(token) <= _MAX_TOKEN and token.isprintable()):
        raise AwsError(
            "InvalidParameterValue", f"ClientToken has up to {_MAX_TOKEN} printable characters."
        )
    return token or None


def _requests(
    request: LaunchRequest, count: int, token: str | None, digest: str
) -> list[LaunchRequest]:
    common = {**request.ec2, "ReservationId": names.new_id("r"), "Request": digest}
    if token:
        common["ClientToken"] = token
    return [
        replace(
            request,
            client_token=_token_of(token, index) if token else None,
            ec2=common | {"AmiLaunchIndex": index},
        )
        for index in range(count)
    ]


def _token_of(token: str, index: int) -> str:
    return f"ec2 {index} {token}"


def _template_tags(template: tuple[LaunchTemplate, int] | None) -> dict[str, str]:
    if template is None:
        return {}
    return {TEMPLATE_ID: template[0].id, TEMPLATE_VERSION: str(template[1])}


def _digest(parameters: Any) -> str:
    text = json.dumps(parameters, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def _ec2_errors() -> Iterator[None]:
    try:
        yield
    except LimitExceededError as error:
        raise AwsError("InsufficientFreeAddressesInSubnet", said(error)) from error
