"""Policies decide on every call of every service."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from elastic_inference.control.access import principal_of
from elastic_inference.control.records import AccessKey
from elastic_inference.errors import AccessDeniedError
from tests.aws.conftest import Aws
from tests.aws.iam import allow, deny, document
from tests.aws.refusals import refused

EC2 = "ec2.amazonaws.com"
IMAGE = "Deep Learning AMI (Ubuntu*"
# What a launch from a template has beside the instance.
NEEDED = (":image", "*:subnet", "*:security-group", "*:launch-template")


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Check that EC2 would do what is tried inside."""
    with refused("DryRunOperation", status=412):
        yield


@contextlib.contextmanager
def denied(*words: str) -> Iterator[None]:
    with refused("UnauthorizedOperation", *words, status=403):
        yield


def _ec2(aws: Aws, *statements: dict[str, Any]) -> Any:
    name = f"user-{secrets.token_hex(4)}"
    return aws.client("ec2", aws.user(name, *statements))


def _tags(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.mark.parametrize(
    ("service", "operation", "asked", "action", "code"),
    [
        ("ec2", "describe_vpcs", {}, "ec2:DescribeVpcs", "UnauthorizedOperation"),
        ("iam", "list_roles", {}, "iam:ListRoles", "AccessDenied"),
        (
            "autoscaling",
            "describe_auto_scaling_groups",
            {},
            "autoscaling:DescribeAutoScalingGroups",
            "AccessDenied",
        ),
        ("cloudwatch", "list_metrics", {}, "cloudwatch:ListMetrics", "AccessDenied"),
        (
            "elastic-inference",
            "describe_accelerator_types",
            {},
            "elastic-inference:DescribeAcceleratorTypes",
            "AccessDeniedException",
        ),
    ],
)
def test_each_service_asks(
    aws: Aws, service: str, operation: str, asked: dict[str, Any], action: str, code: str
) -> None:
    nobody, somebody = aws.user("nobody"), aws.user("somebody", allow(action))
    barred = aws.user("barred", allow("*"), deny(action))
    assert getattr(aws.client(service, somebody), operation)(**asked)
    with refused(code, action, "no policy allows it", status=403):
        getattr(aws.client(service, nobody), operation)(**asked)
    with refused(code, action, "denies it", status=403):
        getattr(aws.client(service, barred), operation)(**asked)


def test_on_one_resource_and_not_on_another(aws: Aws) -> None:
    owner = aws.client("ec2")
    ids = [owner.create_vpc(CidrBlock=f"10.{n}.0.0/16")["Vpc"]["VpcId"] for n in (1, 2)]
    arns = [f"arn:aws:ec2:{aws.region}:{aws.account}:vpc/{each}" for each in ids]
    ec2 = _ec2(aws, allow("ec2:DeleteVpc", on=arns[0]))
    with allowed():
        ec2.delete_vpc(VpcId=ids[0], DryRun=True)
    with denied("ec2:DeleteVpc", arns[1]):
        ec2.delete_vpc(VpcId=ids[1], DryRun=True)
    all_but_one = _ec2(aws, allow("ec2:*"), deny("ec2:DeleteVpc", on=arns[0]))
    with denied(arns[0]):
        all_but_one.delete_vpc(VpcId=ids[0])
    all_but_one.delete_vpc(VpcId=ids[1])
    assert ids[0] in {each["VpcId"] for each in owner.describe_vpcs()["Vpcs"]}


def test_of_several_resources_each_must_be_allowed(aws: Aws) -> None:
    ids = [f"i-{n:017x}" for n in (1, 2)]
    arns = [f"arn:aws:ec2:{aws.region}:{aws.account}:instance/{each}" for each in ids]
    ec2 = _ec2(aws, allow("ec2:StopInstances", on=arns[0]))
    with allowed():
        ec2.stop_instances(InstanceIds=ids[:1], DryRun=True)
    with denied(arns[1]):
        ec2.stop_instances(InstanceIds=ids, DryRun=True)


def test_by_the_tags_of_what_is_there(aws: Aws) -> None:
    owner = aws.client("ec2")
    ids = {}
    for n, team in enumerate(("vision", "speech")):
        tags = [{"ResourceType": "vpc", "Tags": _tags(team=team)}]
        made = owner.create_vpc(CidrBlock=f"10.{n}.0.0/16", TagSpecifications=tags)
        ids[team] = made["Vpc"]["VpcId"]
    for key in ("aws:ResourceTag/team", "ec2:ResourceTag/team"):
        ec2 = _ec2(aws, allow("ec2:DeleteVpc", when={"StringEquals": {key: "vision"}}))
        with allowed():
            ec2.delete_vpc(VpcId=ids["vision"], DryRun=True)
        with denied(ids["speech"]):
            ec2.delete_vpc(VpcId=ids["speech"], DryRun=True)
    own = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    ann = aws.user("ann", allow("ec2:DeleteVpc", when=own))
    aws.client("iam").tag_user(UserName="ann", Tags=_tags(team="speech"))
    with allowed():
        aws.client("ec2", ann).delete_vpc(VpcId=ids["speech"], DryRun=True)
    with denied():
        aws.client("ec2", ann).delete_vpc(VpcId=ids["vision"], DryRun=True)


def test_by_the_tags_that_are_given(aws: Aws) -> None:
    only_team = {
        "StringLike": {"aws:RequestTag/team": "*"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]},
    }
    ec2 = _ec2(aws, allow("ec2:CreateVpc", "ec2:CreateTags", when=only_team))

    def create(**tags: str) -> None:
        given = [{"ResourceType": "vpc", "Tags": _tags(**tags)}] if tags else []
        ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=given, DryRun=True)

    with allowed():
        create(team="vision")
    with denied("ec2:CreateVpc"):
        create()
    with denied("ec2:CreateVpc"):
        create(team="vision", owner="ann")


def test_who_tags_what_is_made_must_be_let(aws: Aws) -> None:
    given = [{"ResourceType": "vpc", "Tags": _tags(team="vision")}]
    making = {"StringEquals": {"ec2:CreateAction": "CreateVpc"}}
    for statements, may in (
        ([allow("ec2:CreateVpc")], False),
        ([allow("ec2:CreateVpc"), allow("ec2:CreateTags", when=making)], True),
    ):
        ec2 = _ec2(aws, *statements)
        with allowed() if may else denied("ec2:CreateTags"):
            ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=given, DryRun=True)
        with allowed():
            ec2.create_vpc(CidrBlock="10.0.0.0/16", DryRun=True)


def test_by_the_type_of_instance_that_a_template_says(aws: Aws) -> None:
    owner = aws.client("ec2")
    (image, *_) = owner.describe_images(
        Owners=["amazon"], Filters=[{"Name": "name", "Values": [IMAGE]}]
    )["Images"]
    for kind in ("m5.large", "c5.large"):
        data = {"ImageId": image["ImageId"], "InstanceType": kind}
        owner.create_launch_template(LaunchTemplateName=kind, LaunchTemplateData=data)
    small = {"StringEquals": {"ec2:InstanceType": "m5.large"}}
    ec2 = _ec2(
        aws,
        allow("ec2:RunInstances", on="arn:aws:ec2:*:*:instance/*", when=small),
        allow(
            "ec2:RunInstances",
            on=[f"arn:aws:ec2:*:{each}/*" for each in NEEDED],
        ),
    )

    def run(**given: Any) -> None:
        ec2.run_instances(MinCount=1, MaxCount=1, DryRun=True, **given)

    with allowed():
        run(ImageId=image["ImageId"], InstanceType="m5.large")
    with denied("ec2:RunInstances"):
        run(ImageId=image["ImageId"], InstanceType="c5.large")
    with allowed():
        run(LaunchTemplate={"LaunchTemplateName": "m5.large"})
    with denied("ec2:RunInstances"):
        run(LaunchTemplate={"LaunchTemplateName": "c5.large"})
    with allowed():
        run(LaunchTemplate={"LaunchTemplateName": "c5.large"}, InstanceType="m5.large")


def test_which_policies_may_be_attached(aws: Aws) -> None:
    reader = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess"
    when = {"ArnEquals": {"iam:PolicyARN": reader}}
    iam = aws.client("iam", aws.user("ann", allow("iam:AttachUserPolicy", when=when)))
    key = aws.user("bob")
    with denied_by_iam("iam:AttachUserPolicy"):
        iam.attach_user_policy(
            UserName="bob", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
    with denied():
        aws.client("ec2", key).describe_vpcs()
    iam.attach_user_policy(UserName="bob", PolicyArn=reader)
    assert aws.client("ec2", key).describe_vpcs()["Vpcs"]
    with denied("ec2:CreateVpc"):
        aws.client("ec2", key).create_vpc(CidrBlock="10.0.0.0/16")


@contextlib.contextmanager
def denied_by_iam(*words: str) -> Iterator[None]:
    with refused("AccessDenied", *words, status=403):
        yield


def test_by_the_id_of_who_asks(aws: Aws) -> None:
    owner, key = aws.client("iam"), aws.user("ann")
    own = aws.client("sts", key).get_caller_identity()["UserId"]
    for wanted, may in (("AIDA*-other", False), (own, True)):
        may_read = allow("iam:ListRoles", when={"StringLike": {"aws:userid": wanted}})
        owner.put_user_policy(UserName="ann", PolicyName="may", PolicyDocument=document(may_read))
        with contextlib.nullcontext() if may else denied_by_iam("iam:ListRoles"):
            aws.client("iam", key).list_roles()


def test_from_where_a_role_may_be_passed(aws: Aws) -> None:
    owner = aws.client("iam")
    for source, may in (("10.0.0.0/8", False), ("127.0.0.0/8", True)):
        here = {"IpAddress": {"aws:SourceIp": source}}
        key = aws.user(
            f"from-{source[:2]}",
            allow("iam:AddRoleToInstanceProfile"),
            allow("iam:PassRole", when=here | {"StringEquals": {"iam:PassedToService": EC2}}),
        )
        name = f"profile-{source[:2]}"
        owner.create_instance_profile(InstanceProfileName=name)
        with contextlib.nullcontext() if may else denied_by_iam("iam:PassRole"):
            aws.client("iam", key).add_role_to_instance_profile(
                InstanceProfileName=name, RoleName="elastic-inference"
            )


def test_who_may_put_which_metrics(aws: Aws) -> None:
    when = {"StringEquals": {"cloudwatch:namespace": "Mine"}}
    key = aws.user("ann", allow("cloudwatch:PutMetricData", when=when))
    data = [{"MetricName": "Load", "Value": 1.0}]
    cloudwatch = aws.client("cloudwatch", key)
    cloudwatch.put_metric_data(Namespace="Mine", MetricData=data)
    with denied_by_iam("cloudwatch:PutMetricData"):
        cloudwatch.put_metric_data(Namespace="Theirs", MetricData=data)


def test_administrators_and_others(aws: Aws) -> None:
    owner = aws.client("iam")
    keys: dict[str, AccessKey] = {}
    for name in ("AdministratorAccess", "PowerUserAccess", "IAMReadOnlyAccess"):
        keys[name] = aws.user(name)
        owner.attach_user_policy(UserName=name, PolicyArn=f"arn:aws:iam::aws:policy/{name}")
    aws.client("iam", keys["AdministratorAccess"]).create_user(UserName="ann")
    for name in ("PowerUserAccess", "IAMReadOnlyAccess"):
        assert aws.client("iam", keys[name]).list_roles()["Roles"]
        with denied_by_iam("iam:CreateUser"):
            aws.client("iam", keys[name]).create_user(UserName="bob")
    assert aws.client("ec2", keys["PowerUserAccess"]).describe_vpcs()["Vpcs"]
    with denied("ec2:DescribeVpcs"):
        aws.client("ec2", keys["IAMReadOnlyAccess"]).describe_vpcs()


def test_a_change_counts_at_once(aws: Aws) -> None:
    owner, key = aws.client("iam"), aws.user("ann")
    arn = owner.create_policy(PolicyName="may", PolicyDocument=document(allow("ec2:Describe*")))[
        "Policy"
    ]["Arn"]
    ec2 = aws.client("ec2", key)
    owner.attach_user_policy(UserName="ann", PolicyArn=arn)
    assert ec2.describe_vpcs()["Vpcs"]
    owner.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("iam:*")))
    assert ec2.describe_vpcs()["Vpcs"]
    owner.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    with denied():
        ec2.describe_vpcs()
    inside = document(allow("ec2:DescribeVpcs"))
    owner.put_user_policy(UserName="ann", PolicyName="inside", PolicyDocument=inside)
    assert ec2.describe_vpcs()["Vpcs"]
    owner.delete_user_policy(UserName="ann", PolicyName="inside")
    with denied():
        ec2.describe_vpcs()


def test_a_policy_inside_a_role_withdraws_the_right_to_connect(aws: Aws) -> None:
    plane, iam = aws.plane, aws.client("iam")
    _, (accelerator,), key = plane.run_instance(["eia1.medium"])
    assert key is not None

    def connect() -> None:
        plane.connections.connect(principal_of(key), accelerator, nonce=secrets.token_hex(16))

    connect()
    assert [each.revoked for each in plane.store.rights.where()] == [False]
    iam.put_role_policy(
        RoleName="elastic-inference",
        PolicyName="not-now",
        PolicyDocument=document(deny("elastic-inference:Connect")),
    )
    assert [each.revoked for each in plane.store.rights.where()] == [True]
    with pytest.raises(AccessDeniedError, match="policy not-now"):
        connect()
    iam.delete_role_policy(RoleName="elastic-inference", PolicyName="not-now")
    connect()
