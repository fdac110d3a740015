"""`EISetupValidator`: what an instance needs for its accelerators, and what of it is missing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.control import names, policy
from elastic_inference.errors import InvalidRequestError
from elastic_inference.setup import circumstances, console
from elastic_inference.setup.metadata import own_instance
from elastic_inference.setup.services import Services

Document = Mapping[str, Any]
_CONNECT = "elastic-inference:Connect"
_ALLOW = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": _CONNECT, "Resource": "*"}],
    }
)
_DENIED = {"AccessDeniedException", "UnauthorizedOperation", "AccessDenied"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        fix: the command that mends it; "" where nothing has to be.
    """

    ok: bool
    message: str
    fix: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; 0 if all is well, 1 if something is missing, 2 for bad usage."""
    given = _parser().parse_args(argv)
    return console.run("EISetupValidator", lambda: _run(given))


def _run(given: argparse.Namespace) -> bool:
    services = Services(given.region, given.endpoint_url)
    ids = given.instance_ids or own_instance()
    if not ids:
        raise InvalidRequestError("This is no instance.", next_step="Name some: --instance-ids i-…")
    found = [_report(each, list(checks)) for each, checks in Validator(services).check(ids)]
    return all(found)


class Validator:
    """Checks instances with the rights of who runs it."""

    def __init__(self, services: Services) -> None:
        self._region = services.region
        self._ec2 = services.client("ec2")
        self._iam = services.client("iam")
        self._accelerators = services.client("elastic-inference")

    def check(self, ids: Sequence[str]) -> Iterator[tuple[str, Iterator[Check]]]:
        """Each instance and what was looked at."""
        answer = self._ec2.describe_instances(InstanceIds=list(ids))
        for each in answer["Reservations"]:
            for instance in each["Instances"]:
                yield instance["InstanceId"], self._of(instance, each["OwnerId"])

    def _of(self, instance: Document, account: str) -> Iterator[Check]:
        yield _state(instance)
        attached = instance.get("ElasticInferenceAcceleratorAssociations", [])
        # With a start it gets new ones.
        if not attached and instance["State"]["Name"] == "running":
            yield Check(
                ok=False, message="No accelerator is attached.",
                fix=f"ei attach {instance['InstanceId']} eia2.medium",
            )  # fmt: skip
        arns = [each["ElasticInferenceAcceleratorArn"] for each in attached]
        any_of_them = names.accelerator_arn(self._region, account, "eia-0")
        yield from self._allowed(lambda: self._health(arns))
        yield from self._allowed(lambda: self._role(instance, arns or [any_of_them]))
        if "SubnetId" in instance:
            yield from self._allowed(lambda: self._network(instance))

    def _allowed(self, look: Callable[[], Iterable[Check]]) -> Iterable[Check]:
        """What is found, or that the credentials do not allow to look."""
        try:
            return list(look())
        except self._ec2.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in _DENIED:
                raise
            message = f"Not checked: {error.response['Error']['Message']}"
        return [Check(ok=False, message=message, fix='eval "$(ei env)" for the owner\'s rights')]

    def _health(self, arns: Sequence[str]) -> Iterator[Check]:
        ids = [each.rpartition("/")[2] for each in arns]
        if not ids:
            return
        try:
            found = self._accelerators.describe_accelerators(acceleratorIds=ids)["acceleratorSet"]
        except self._accelerators.exceptions.ClientError as error:
            # The guides' policy for instances does not allow this, and it can be done without.
            if error.response["Error"]["Code"] in _DENIED:
                return
            raise
        for each in found:
            health, name = each["acceleratorHealth"]["status"], each["acceleratorId"]
            ok = health == "ok"
            fix = "" if ok else "It is started again by itself: ei describe accelerators --watch"
            yield Check(ok, f"The {each['acceleratorType']} {name} is {health}.", fix)

    # -- role -------------------------------------------------------------------------------------

    def _role(self, instance: Document, arns: Sequence[str]) -> Iterator[Check]:
        profile = instance.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2]
        if not profile:
            yield Check(
                ok=False,
                message="It has no instance profile, and so no credentials.",
                fix=f"amazonei_setup --instance-type {instance['InstanceType']}"
                " launches another that has one",
            )
            return
        try:
            found = self._iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
        except self._iam.exceptions.NoSuchEntityException:
            yield Check(
                ok=False,
                message=f"Its instance profile {profile} is gone.",
                fix=f"aws iam create-instance-profile --instance-profile-name {profile}",
            )
            return
        roles = found["Roles"]
        if not roles:
            yield Check(
                ok=False,
                message=f"Its instance profile {profile} has no role.",
                fix="aws iam add-role-to-instance-profile"
                f" --instance-profile-name {profile} --role-name ROLE",
            )
            return
        yield self._connect(roles[0]["RoleName"], roles[0]["Arn"], arns)

    def _connect(self, role: str, role_arn: str, arns: Sequence[str]) -> Check:
        held = circumstances.policies(self._iam, role)
        for arn in arns:
            decision = policy.evaluate(held, policy.Request(role_arn, _CONNECT, arn))
            if decision.explicit_deny:
                return Check(
                    ok=False,
                    message=f"{decision.statement} of the role {role} denies {_CONNECT} on {arn}.",
                    fix=f"aws iam list-attached-role-policies --role-name {role}  (and change it)",
                )
            if not decision.allowed:
                return Check(
                    ok=False,
                    message=f"No policy of the role {role} allows {_CONNECT} on {arn}.",
                    fix=f"aws iam put-role-policy --role-name {role} --policy-name connect"
                    f" --policy-document '{_ALLOW}'",
                )
        return Check(ok=True, message=f"Its role {role} allows {_CONNECT}.")

    def _network(self, instance: Document) -> Iterator[Check]:
        found = circumstances.obstacles(self._ec2, instance, self._region)
        if not any(each.blocking for each in found):
            yield Check(ok=True, message="It may reach the endpoint over HTTPS (port 443).")
        for each in found:
            yield Check(not each.blocking, each.message, each.fix)


def _state(instance: Document) -> Check:
    instance_id, state = instance["InstanceId"], instance["State"]["Name"]
    fixes = {"stopped": f"aws ec2 start-instances --instance-ids {instance_id}"}
    if state == "running":
        return Check(ok=True, message="It runs.")
    fix = fixes.get(state, f"aws ec2 describe-instances --instance-ids {instance_id}")
    return Check(ok=False, message=f"It is {state}.", fix=fix)


def _report(instance_id: str, checks: Sequence[Check]) -> bool:
    """Show what was found; whether all is well."""
    print(instance_id)
    for each in checks:
        print(f"  {'ok   ' if each.ok else 'WRONG'}  {each.message}")
        if each.fix:
            print(f"         fix: {each.fix}")
    well = all(each.ok for each in checks)
    if well:
        print(f"All the validation checks passed for Amazon EI from this instance - {instance_id}")
    return well


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="EISetupValidator",
        description="Check that instances can use their accelerators, and name what is missing"
        " with the command that mends it.",
    )
    made.add_argument(
        "--instance-ids", nargs="+", metavar="ID", help="(default: the instance that this runs on)"
    )
    made.add_argument("--region", help="the pool's region (default: as AWS's tools find it)")
    made.add_argument("--endpoint-url", metavar="URL", help="the pool's URL (default: as ei env)")
    return made


if __name__ == "__main__":
    raise SystemExit(main())
