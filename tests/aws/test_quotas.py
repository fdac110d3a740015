"""Nothing grows without end: what there may be, how much one call may ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from elastic_inference.aws import autoscaling_activities, ec2_launch, ec2_quotas
from elastic_inference.aws.autoscaling_activities import SUCCESSFUL, Activities
from elastic_inference.aws.autoscaling_decisions import Launch, Situation, decide
from elastic_inference.control import identities, policy_versions, session_quota
from elastic_inference.control.access import principal_of
from elastic_inference.control.caller import Caller
from elastic_inference.errors import AccessDeniedError, InvalidRequestError
from tests.aws.conftest import Aws
from tests.aws.iam import allow, document, trust
from tests.aws.launching import request, run
from tests.aws.refusals import refused
from tests.aws.scaling import make_group, make_template, write_group

ROLE = "elastic-inference"


class TestOfIam:
    def test_what_an_account_may_have(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("MAX_USERS", "MAX_ROLES", "MAX_PROFILES"):
            monkeypatch.setattr(identities, name, 1)
        monkeypatch.setattr(policy_versions, "MAX_POLICIES", 1)
        iam = aws.client("iam")
        iam.create_user(UserName="ann")
        for quota, call, given in (
            ("UsersPerAccount", iam.create_user, {"UserName": "bob"}),
            (
                "RolesPerAccount", iam.create_role,
                {"RoleName": "more", "AssumeRolePolicyDocument": trust()},
            ),
            (
                "InstanceProfilesPerAccount", iam.create_instance_profile,
                {"InstanceProfileName": "more"},
            ),
            (
                "PoliciesPerAccount", iam.create_policy,
                {"PolicyName": "more", "PolicyDocument": document(allow("ec2:*"))},
            ),
        ):  # fmt: skip
            with refused("LimitExceeded", f"Cannot exceed quota for {quota}: 1", status=409):
                call(**given)

    def test_what_is_inside_a_user(self, aws: Aws) -> None:
        iam = aws.client("iam")
        iam.create_user(UserName="ann")
        half = document(allow(*(f"ec2:Action{n:03}" for n in range(60))))
        text = json.dumps(json.loads(half), indent=8)
        assert len(text) > 2048
        iam.put_user_policy(UserName="ann", PolicyName="one", PolicyDocument=text)
        iam.put_user_policy(UserName="ann", PolicyName="one", PolicyDocument=half)
        with refused("LimitExceeded", "2048", status=409):
            iam.put_user_policy(UserName="ann", PolicyName="two", PolicyDocument=half)
        iam.put_role_policy(RoleName=ROLE, PolicyName="one", PolicyDocument=half)
        iam.put_role_policy(RoleName=ROLE, PolicyName="two", PolicyDocument=half)

    def test_credentials_for_a_time(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session_quota, "MOST", 2)
        ann, bob = aws.user("ann", allow("sts:*")), aws.user("bob", allow("sts:*"))
        arn = f"arn:aws:iam::{aws.account}:role/taken"
        everybody = trust({"AWS": aws.account})
        aws.client("iam").create_role(RoleName="taken", AssumeRolePolicyDocument=everybody)
        sts = aws.client("sts", ann)
        sts.get_session_token()
        sts.assume_role(RoleArn=arn, RoleSessionName="one")
        with refused("Throttling", "Rate exceeded"):
            sts.get_session_token()
        with refused("Throttling"):
            sts.assume_role(RoleArn=arn, RoleSessionName="two")
        aws.client("sts", bob).assume_role(RoleArn=arn, RoleSessionName="one")

    def test_a_simulation(self, aws: Aws) -> None:
        text = document(*[allow("ec2:*")] * 100)
        found = aws.client("iam").simulate_custom_policy(
            PolicyInputList=[text] * 10,
            ActionNames=[f"ec2:Action{n}" for n in range(100)],
            MaxItems=1000,
        )
        assert found["IsTruncated"]
        results = found["EvaluationResults"]
        assert 0 < len(results) < 100
        # Statements that say the same stand in places of their own.
        starts = [each["StartPosition"]["Column"] for each in results[0]["MatchedStatements"]]
        assert len(set(starts)) == 100


class TestOfEc2:
    @pytest.mark.parametrize(
        ("quota", "operation", "given"),
        [
            ("KEY_PAIRS", "create_key_pair", {"KeyName": "more", "KeyType": "ed25519"}),
            (
                "TEMPLATES", "create_launch_template",
                {"LaunchTemplateName": "more", "LaunchTemplateData": {"EbsOptimized": False}},
            ),
            ("VPCS", "create_vpc", {"CidrBlock": "10.0.0.0/16"}),
            ("GROUPS", "create_security_group", {"GroupName": "more", "Description": "more"}),
            ("SUBNETS", "create_subnet", {"CidrBlock": "172.31.128.0/20"}),
            ("ENDPOINTS", "create_vpc_endpoint", {"VpcEndpointType": "Interface"}),
        ],
    )  # fmt: skip
    def test_what_an_account_may_have(
        self, aws: Aws, monkeypatch: pytest.MonkeyPatch, quota: str, operation: str, given: Any
    ) -> None:
        few = replace(getattr(ec2_quotas, quota), most=0)
        monkeypatch.setattr(ec2_quotas, quota, few)
        (endpoint,) = aws.plane.store.endpoints.where()
        if quota in {"SUBNETS", "ENDPOINTS"}:
            given = given | {"VpcId": endpoint.vpc_id}
        if quota == "ENDPOINTS":
            given = given | {"ServiceName": endpoint.service}
        with refused(few.code, few.what):
            getattr(aws.client("ec2"), operation)(**given)

    def test_instances(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ec2_launch, "MOST_INSTANCES", 2)
        assert len(run(aws, MinCount=1, MaxCount=5, ClientToken="once")) == 2
        with refused("InstanceLimitExceeded"):
            aws.client("ec2").run_instances(**request())
        # What was asked for before is answered as before.
        assert len(run(aws, MinCount=1, MaxCount=5, ClientToken="once")) == 2

    def test_templates(self, aws: Aws) -> None:
        ec2, which = aws.client("ec2"), {"LaunchTemplateName": "web"}
        large = {"SecurityGroupIds": [f"sg-{n:017x}" for n in range(4000)]}
        with refused("InvalidParameterValue", "65536"):
            ec2.create_launch_template(**which, LaunchTemplateData=large)
        make_template(aws)
        small = {"InstanceType": "m5.large"}
        made = ec2.create_launch_template_version(
            **which, LaunchTemplateData=small, SourceVersion="1", ClientToken="once"
        )
        again = ec2.create_launch_template_version(
            **which, LaunchTemplateData=small, SourceVersion="1", ClientToken="once"
        )
        assert again["LaunchTemplateVersion"] == made["LaunchTemplateVersion"]
        with refused("IdempotentParameterMismatch"):
            ec2.create_launch_template_version(
                **which, LaunchTemplateData={"InstanceType": "c5.large"}, SourceVersion="1",
                ClientToken="once",
            )  # fmt: skip

    def test_what_a_call_names(self, aws: Aws) -> None:
        ec2, key = aws.client("ec2"), aws.user("ann", allow("ec2:*"))
        for each in (ec2, aws.client("ec2", key)):
            with refused("InvalidParameterValue", "1000"):
                each.terminate_instances(InstanceIds=[f"i-{n:017x}" for n in range(1001)])
        with refused("FilterLimitExceeded"):
            ec2.describe_vpcs(Filters=[{"Name": "vpc-id", "Values": ["?" * 70_000]}])
        tags = [
            {"ResourceType": "vpc", "Tags": [{"Key": f"{part}{n}"} for n in range(30)]}
            for part in "ab"
        ]
        with refused("TagLimitExceeded"):
            ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)


def test_pages_have_something(aws: Aws) -> None:
    with refused("InvalidParameterValue", "MaxResults"):
        aws.client("ec2", parameter_validation=False).describe_images(MaxResults=-1)
    with refused("ValidationError", "MaxRecords"):
        aws.client("autoscaling").describe_policies(MaxRecords=-1)


class TestOfGroups:
    def test_launches_at_one_time(self, aws: Aws) -> None:
        make_template(aws)
        group = write_group(aws, desired=2**31 - 1)
        few = decide(Situation(group=group, members=[], conditions={}, launching=[""] * 90, now=0))
        assert [type(each) for each in few] == [Launch] * 10
        none = decide(Situation(group, [], {}, [""] * 100, 0))
        assert none == []

    def test_activities(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(autoscaling_activities, "_MOST_KEPT", 200)
        make_template(aws)
        group, activities = write_group(aws), Activities(aws.plane)
        with aws.plane.store.transaction():
            kept = activities.begin(group, "InProgress", "open", "")
            for number in range(400):
                activities.begin(group, SUCCESSFUL, str(number), "")
        found = [each.description for each in aws.plane.store.scaling_activities.where()]
        assert 100 <= len(found) <= 202
        assert "399" in found
        assert [each.id for each in activities.open(group)] == [kept.id]

    @pytest.mark.parametrize("target", [1e-200, 1e200])
    def test_targets(self, aws: Aws, target: float) -> None:
        make_template(aws)
        make_group(aws)
        spec = {"MetricName": "Load", "Namespace": "Mine", "Statistic": "Average"}
        with refused("ValidationError", "TargetValue"):
            aws.client("autoscaling").put_scaling_policy(
                AutoScalingGroupName="web", PolicyName="load", PolicyType="TargetTrackingScaling",
                TargetTrackingConfiguration={
                    "TargetValue": target, "CustomizedMetricSpecification": spec,
                },
            )  # fmt: skip


class TestOfTheControlApi:
    def call(self, aws: Aws, operation: str, **given: Any) -> Any:
        caller = Caller(principal_of(aws.owner), "127.0.0.1", 443)
        return aws.pool.operations.call(operation, given, caller)

    @pytest.mark.parametrize("tags", [{"aws:made-up": "x"}, {"a": "b\r\nc"}, {"\ud800": "b"}])
    def test_tags(self, aws: Aws, tags: dict[str, str]) -> None:
        instance, _, _ = aws.plane.run_instance(["eia1.medium"])
        with pytest.raises(InvalidRequestError, match=r"aws:|control characters"):
            self.call(aws, "TagResource", resourceId=instance.id, tags=tags)
        with pytest.raises(InvalidRequestError, match="aws:"):
            self.call(aws, "UntagResource", resourceId=instance.id, tagKeys=["aws:x"])

    def test_what_credentials_for_a_time_may_not_make(self, aws: Aws) -> None:
        key = aws.plane.access.add_token(aws.owner, 900)
        caller = Caller(principal_of(key), "127.0.0.1", 443)
        with pytest.raises(AccessDeniedError, match="GetSessionToken"):
            aws.pool.operations.call("CreateUser", {"userName": "ann"}, caller)
        assert aws.pool.operations.call("ListAccessKeys", {}, Caller(
            principal_of(aws.owner), "127.0.0.1", 443
        ))  # fmt: skip
