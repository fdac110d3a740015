"""Whether a call may be made: what policies are asked, and what they may ask about the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from elastic_inference.aws.call import Call, Operation
from elastic_inference.aws.ec2_launch import merge, template_data
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.resource_tags import ResourceTags, kind_of
from elastic_inference.control import names, records
from elastic_inference.control.access import Context
from elastic_inference.control.plane import ControlPlane

# Everybody may ask who he is and renew what he has; whom a role trusts the operation asks itself.
_OPEN = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken", "sts:AssumeRole"})
_PREFIXES: Mapping[str, str] = {"monitoring": "cloudwatch"}
# Condition keys whose values are parameters of calls.
_PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "ec2": {"ec2:InstanceType": "InstanceType", "ec2:VpceServiceName": "ServiceName"},
    "iam": {"iam:PolicyARN": "PolicyArn"},
    "monitoring": {"cloudwatch:namespace": "Namespace"},
    "autoscaling": {"autoscaling:MinSize": "MinSize", "autoscaling:MaxSize": "MaxSize"},
}


class Authorization:
    """Asks the caller's policies about every call."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._tags = ResourceTags(plane)

    def check(self, service: str, operation: Operation, call: Call) -> None:
        """Refuse a call that no policy allows, or that one forbids.

        Raises:
            AccessDeniedError: it names the action, and what denies it.
        """
        action = operation.action or f"{_PREFIXES.get(service, service)}:{call.operation}"
        if action in _OPEN:
            return
        principal = call.caller.principal
        if principal.key.kind == records.OWNER:
            self._plane.access.authorise(principal, action)
            return
        policies = self._plane.access.policies(principal.key)
        call = self._whole(call)
        by_tags = any("resourcetag/" in each.text.lower() for each in policies)
        about = {**call.caller.context, **self._of_call(service, call)}
        # What names nothing is asked about as a whole.
        for resource in operation.resources(call) or ("*",):
            context = {**about, **_request_tags(call, resource)}
            if by_tags:
                context |= self._of_resource(call, resource)
            self._plane.access.authorise(principal, action, resource, context, policies)
            if service == "ec2" and _is_tagged(call, resource):
                creating = {**context, "ec2:CreateAction": call.operation}
                self._plane.access.authorise(
                    principal, "ec2:CreateTags", resource, creating, policies
                )

    def _whole(self, call: Call) -> Call:
        """A launch with what its template says: policies decide on that, too."""
        spec = call.input.get("LaunchTemplate") if call.operation == "RunInstances" else None
        if not spec:
            return call
        try:
            _, _, data = template_data(self._plane, call.account, spec)
        except AwsError:
            # The operation itself says what is wrong with it.
            return call
        return replace(call, input=merge(data, call.input))

    def _of_call(self, service: str, call: Call) -> dict[str, str]:
        context = {
            # Blanks around a namespace do not make it another one.
            key: str(call.input[name]).strip()
            for key, name in _PARAMETERS.get(service, {}).items()
            if name in call.input
        }
        context["aws:ViaAWSService"] = "false"
        if service == "ec2":
            context["ec2:Region"] = self._plane.settings.region
            profile = call.input.get("IamInstanceProfile", {})
            # Whatever path an ARN is written with, its last part is what counts.
            name = profile.get("Name") or profile.get("Arn", "").rpartition("/")[2]
            if name:
                context["ec2:InstanceProfile"] = names.profile_arn(call.account, name)
        return context

    def _of_resource(self, call: Call, resource: str) -> dict[str, str]:
        prefix, tags = self._tags.of(call.account, resource)
        return {
            f"{each}:ResourceTag/{key}": value
            for key, value in tags.items()
            for each in ("aws", prefix)
        }


def _is_tagged(call: Call, resource: str) -> bool:
    """Whether a call tags what it makes of such a kind."""
    kind = kind_of(resource)
    return any(
        each.get("ResourceType") == kind and each.get("Tags")
        for each in call.input.get("TagSpecifications", ())
    )


def _request_tags(call: Call, resource: str) -> Context:
    """The tags that a call brings for a resource, and their keys alone."""
    given, kind = call.input, kind_of(resource)
    lists: list[Sequence[Mapping[str, str]]] = [
        each.get("Tags", ())
        for each in given.get("TagSpecifications", ())
        if each.get("ResourceType") == kind
    ]
    lists.append(given.get("Tags", ()))
    tags: dict[str, str] = dict(given.get("tags", {}))
    for each in lists:
        tags |= {tag.get("Key", ""): tag.get("Value", "") for tag in each}
    keys = [*tags, *given.get("TagKeys", ()), *given.get("tagKeys", ())]
    context: dict[str, str | Sequence[str]] = {
        f"aws:RequestTag/{key}": value for key, value in tags.items()
    }
    return {**context, "aws:TagKeys": keys} if keys else context
