"""Ways round policies that are none."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from elastic_inference.control.access import principal_of
from elastic_inference.control.caller import Caller
from elastic_inference.control.records import AccessKey
from elastic_inference.errors import AccessDeniedError
from tests.aws.conftest import Aws
from tests.aws.iam import allow, deny, trust
from tests.aws.launching import request
from tests.aws.refusals import refused
from tests.aws.scaling import make_group, make_template, write_group

TAGS = [{"Key": "team", "Value": "vision"}]


def _user(aws: Aws, *statements: dict[str, Any]) -> AccessKey:
    return aws.user(f"user-{secrets.token_hex(4)}", *statements)


def _arn(aws: Aws, kind: str, name: str) -> str:
    return f"arn:aws:ec2:{aws.region}:{aws.account}:{kind}/{name}"


def _usual(aws: Aws, kind: str, name: str = "default") -> str:
    """The id of what a launch takes for which nothing is named."""
    ec2 = aws.client("ec2")
    if kind == "subnet":
        wanted = [{"Name": "default-for-az", "Values": ["true"]}]
        return str(ec2.describe_subnets(Filters=wanted)["Subnets"][0]["SubnetId"])
    if kind == "vpc":
        wanted = [{"Name": "is-default", "Values": ["true"]}]
        return str(ec2.describe_vpcs(Filters=wanted)["Vpcs"][0]["VpcId"])
    return str(ec2.describe_security_groups(GroupNames=[name])["SecurityGroups"][0]["GroupId"])


class TestLaunches:
    def test_tags_say_what_they_are_for(self, aws: Aws) -> None:
        ec2 = aws.client("ec2", _user(aws, allow("ec2:*"), deny("ec2:CreateTags")))
        with refused("MissingParameter", "ResourceType"):
            ec2.run_instances(**request(TagSpecifications=[{"Tags": TAGS}]))
        assert not aws.plane.store.instances.count()

    def test_groups_by_their_names_and_what_nobody_names(self, aws: Aws) -> None:
        subnet, usual = _usual(aws, "subnet"), _usual(aws, "security-group")
        other = _usual(aws, "security-group", "elastic-inference-endpoint")
        for barred, given in (
            (
                _arn(aws, "security-group", other),
                {"SecurityGroups": ["elastic-inference-endpoint"]},
            ),
            (_arn(aws, "security-group", usual), {}),
            (_arn(aws, "subnet", subnet), {}),
            (_arn(aws, "subnet", subnet), {"SecurityGroupIds": [other]}),
        ):
            ec2 = aws.client("ec2", _user(aws, allow("ec2:*"), deny("ec2:RunInstances", on=barred)))
            with refused("UnauthorizedOperation", barred, status=403):
                ec2.run_instances(**request(**given, DryRun=True))

    def test_profiles_by_arns_with_paths_that_there_are_none_of(self, aws: Aws) -> None:
        head = f"arn:aws:iam::{aws.account}:instance-profile"
        barred = {"StringEquals": {"ec2:InstanceProfile": f"{head}/elastic-inference"}}
        key = _user(aws, allow("*"), deny("ec2:RunInstances", when=barred))
        profile = {"Arn": f"{head}/other/elastic-inference"}
        with refused("UnauthorizedOperation", status=403):
            aws.client("ec2", key).run_instances(**request(IamInstanceProfile=profile, DryRun=True))

    def test_groups_launch_what_their_makers_could(self, aws: Aws) -> None:
        make_template(aws, "web", InstanceType="c5.large")
        tagged = [{"ResourceType": "instance", "Tags": TAGS}]
        make_template(aws, "tagged", TagSpecifications=tagged)
        subnet = _usual(aws, "subnet")
        make_group(aws, "known")
        other_type = {"StringEquals": {"ec2:InstanceType": "c5.large"}}
        for statement, template in (
            (deny("ec2:RunInstances", when=other_type), "web"),
            (deny("ec2:RunInstances", on=_arn(aws, "subnet", subnet)), "web"),
            (deny("ec2:CreateTags"), "tagged"),
        ):
            key = _user(aws, allow("autoscaling:*", "ec2:*"), statement)
            scaling = aws.client("autoscaling", key)
            wanted = {
                "AutoScalingGroupName": "known",
                "LaunchTemplate": {"LaunchTemplateName": template},
                "VPCZoneIdentifier": subnet,
            }
            with refused("AccessDenied", status=403):
                scaling.update_auto_scaling_group(**wanted)
            with refused("AccessDenied", status=403):
                wanted["AutoScalingGroupName"] = "new"
                scaling.create_auto_scaling_group(**wanted, MinSize=0, MaxSize=1)

    def test_templates_that_groups_follow_give_roles_that_may_be_passed(self, aws: Aws) -> None:
        make_template(aws)
        write_group(aws)
        key = _user(aws, allow("ec2:*"))
        ec2, which = aws.client("ec2", key), {"LaunchTemplateName": "web"}
        with_role = {"IamInstanceProfile": {"Name": "elastic-inference"}}
        new = {**which, "SourceVersion": "1", "LaunchTemplateData": with_role}
        with refused("UnauthorizedOperation", "iam:PassRole", status=403):
            ec2.create_launch_template_version(**new)
        ec2.create_launch_template_version(
            **which, SourceVersion="1", LaunchTemplateData={"InstanceType": "c5.large"}
        )
        aws.client("ec2").create_launch_template_version(**new)
        # A group that follows the default one does not have it yet.
        make_group(aws, "other")
        with refused("UnauthorizedOperation", "iam:PassRole", status=403):
            ec2.modify_launch_template(**which, DefaultVersion="3")
        ec2.modify_launch_template(**which, DefaultVersion="2")


class TestNetworks:
    def test_the_network_that_nobody_names(self, aws: Aws) -> None:
        vpc = _arn(aws, "vpc", _usual(aws, "vpc"))
        ec2 = aws.client("ec2", _user(aws, allow("ec2:*"), deny("ec2:*", on=vpc)))
        with refused("UnauthorizedOperation", vpc, status=403):
            ec2.create_security_group(GroupName="web", Description="web", DryRun=True)

    def test_what_an_endpoint_and_an_instance_are_given(self, aws: Aws) -> None:
        group = _usual(aws, "security-group")
        barred = _arn(aws, "security-group", group)
        ec2 = aws.client("ec2", _user(aws, allow("ec2:*"), deny("ec2:*", on=barred)))
        endpoint = aws.plane.store.endpoints.where()[0]
        with refused("UnauthorizedOperation", barred, status=403):
            ec2.modify_vpc_endpoint(
                VpcEndpointId=endpoint.id, AddSecurityGroupIds=[group], DryRun=True
            )
        with refused("UnauthorizedOperation", barred, status=403):
            ec2.create_vpc_endpoint(
                VpcId=endpoint.vpc_id, ServiceName=endpoint.service, VpcEndpointType="Interface",
                DryRun=True,
            )  # fmt: skip
        with refused("UnauthorizedOperation", barred, status=403):
            ec2.modify_instance_attribute(InstanceId=f"i-{1:017x}", Groups=[group], DryRun=True)


class TestNames:
    def test_of_a_namespace_with_blanks(self, aws: Aws) -> None:
        theirs = {"StringEquals": {"cloudwatch:namespace": "Theirs"}}
        key = _user(aws, allow("*"), deny("cloudwatch:PutMetricData", when=theirs))
        with refused("AccessDenied", status=403):
            aws.client("cloudwatch", key).put_metric_data(
                Namespace=" Theirs ", MetricData=[{"MetricName": "Load", "Value": 1.0}]
            )

    def test_of_a_policy_by_its_arn(self, aws: Aws) -> None:
        make_template(aws)
        make_group(aws)
        owner = aws.client("autoscaling")
        arn = owner.put_scaling_policy(
            AutoScalingGroupName="web", PolicyName="more", AdjustmentType="ChangeInCapacity",
            ScalingAdjustment=1,
        )["PolicyARN"]  # fmt: skip
        group = "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/web"
        key = _user(aws, allow("autoscaling:*"), deny("autoscaling:*", on=group))
        scaling = aws.client("autoscaling", key)
        for call in (scaling.execute_policy, scaling.delete_policy):
            with refused("AccessDenied", status=403):
                call(PolicyName=arn)
        mine = aws.client("autoscaling", _user(aws, allow("autoscaling:*", on=group)))
        mine.delete_policy(PolicyName=arn)

    def test_of_an_accelerator_in_another_partition(self, aws: Aws) -> None:
        of = f":elastic-inference:{aws.region}:{aws.account}:elastic-inference-accelerator/eia-1"
        key = _user(aws, allow("elastic-inference:*"), deny("*", on=f"arn:aws{of}"))
        client = aws.client("elastic-inference", key)
        with refused("AccessDeniedException", status=403):
            client.list_tags_for_resource(resourceArn=f"arn:aws-cn{of}")

    def test_of_a_key_pair_that_looks_like_another_thing(self, aws: Aws) -> None:
        vpc = aws.client("ec2").create_vpc(
            CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": TAGS}]
        )["Vpc"]["VpcId"]
        own = {"StringEquals": {"aws:ResourceTag/team": "vision"}}
        ec2 = aws.client("ec2", _user(aws, allow("ec2:DeleteKeyPair", when=own)))
        with refused("UnauthorizedOperation", status=403):
            ec2.delete_key_pair(KeyName=f"a:vpc/{vpc}")

    @pytest.mark.parametrize("name", ["a:b", "a b", "a\nb", "ä"])
    def test_of_groups(self, aws: Aws, name: str) -> None:
        make_template(aws)
        with refused("ValidationError", "name"):
            make_group(aws, name)


class TestTheControlApi:
    def call(self, aws: Aws, key: AccessKey, operation: str, **document: Any) -> Any:
        caller = Caller(principal_of(key), "127.0.0.1", 443)
        return aws.pool.operations.call(operation, document, caller)

    def test_a_role_is_taken_by_whom_it_trusts(self, aws: Aws) -> None:
        ann = _user(aws, allow("elastic-inference:*", "sts:*"))
        iam = aws.client("iam")
        iam.create_role(RoleName="admin", AssumeRolePolicyDocument=trust())
        with pytest.raises(AccessDeniedError, match="trust policy"):
            self.call(aws, ann, "AssumeRole", roleName="admin")
        known = {"AWS": f"arn:aws:iam::{aws.account}:user/{ann.name}"}
        iam.update_assume_role_policy(RoleName="admin", PolicyDocument=trust(known))
        assert self.call(aws, ann, "AssumeRole", roleName="admin")["credentials"]
        assert self.call(aws, aws.owner, "AssumeRole", roleName="elastic-inference")

    def test_a_role_is_passed_by_who_may(self, aws: Aws) -> None:
        iam = aws.client("iam")
        iam.create_role(RoleName="admin", AssumeRolePolicyDocument=trust())
        ann = _user(aws, allow("elastic-inference:*"))
        launch = {"acceleratorTypes": ["eia1.medium"], "roleName": "admin"}
        for operation in ("RunInstance", "CreateJoinToken"):
            with pytest.raises(AccessDeniedError, match="iam:PassRole"):
                self.call(aws, ann, operation, **launch)
        passing = allow("iam:PassRole", on=f"arn:aws:iam::{aws.account}:role/admin")
        bob = _user(aws, allow("elastic-inference:*"), passing)
        assert self.call(aws, bob, "CreateJoinToken", **launch)["joinToken"]

    def test_credentials_of_a_role_are_for_who_may_act_as_it(self, aws: Aws) -> None:
        instance, _, _ = aws.plane.run_instance(["eia1.medium"])
        reads = _user(aws, allow("elastic-inference:Get*"))
        runs = _user(aws, allow("elastic-inference:Get*", "elastic-inference:Exec"))
        for key, there in ((reads, False), (runs, True), (aws.owner, True)):
            found = self.call(aws, key, "GetInstanceDocument", instanceId=instance.id)
            assert bool(found["credentials"]) is there

    @pytest.mark.parametrize(
        ("operation", "document", "barred"),
        [
            ("CreateAccessKey", {"userName": "root"}, "arn:aws:iam::*:user/root"),
            ("AttachPolicy", {"roleName": "r", "policyName": "p"}, "arn:aws:iam::*:role/r"),
            ("AttachPolicy", {"roleName": "r", "policyName": "p"}, "arn:aws:iam::*:policy/p"),
            ("AssumeRole", {"roleName": "r"}, "arn:aws:iam::*:role/r"),
            ("TagResource", {"resourceId": "i-1"}, "arn:aws:ec2:*:*:instance/i-1"),
            (
                "TagResource",
                {"resourceId": "arn:x:elastic-inference-accelerator/eia-1"},
                "arn:aws:elastic-inference:*:*:elastic-inference-accelerator/eia-1",
            ),
        ],
    )
    def test_on_what_it_names(
        self, aws: Aws, operation: str, document: dict[str, Any], barred: str
    ) -> None:
        key = _user(aws, allow("elastic-inference:*"), deny("elastic-inference:*", on=barred))
        with pytest.raises(AccessDeniedError, match="denies it"):
            self.call(aws, key, operation, **document)
