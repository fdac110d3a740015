"""EC2's security groups and their rules by boto3."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_inference.control import records
from tests.aws.conftest import Aws
from tests.aws.refusals import refused
from tests.aws.test_ec2_vpcs import default_vpc, filtered, tagged

EVERYWHERE = "0.0.0.0/0"


def made(ec2: Any, name: str = "mine", **more: Any) -> str:
    """A new group's id."""
    answer = ec2.create_security_group(GroupName=name, Description=f"the group {name}", **more)
    return str(answer["GroupId"])


def https(cidr: str = EVERYWHERE, port: int = 443, **more: Any) -> dict[str, Any]:
    """A permission."""
    ranges = [{"CidrIp": cidr, **more}]
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}


def described(ec2: Any, group_id: str) -> Any:
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return group


def permissions(ec2: Any, group_id: str, member: str = "IpPermissions") -> list[Any]:
    """A group's permissions without the lists that are empty."""
    return [
        {name: each for name, each in permission.items() if each != []}
        for permission in described(ec2, group_id)[member]
    ]


def test_a_group_is_made_described_and_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    answer = ec2.create_security_group(
        GroupName="web servers", Description="HTTPS", TagSpecifications=tagged(
            "security-group", Name="web"
        ),
    )  # fmt: skip
    group_id = answer["GroupId"]
    assert answer["Tags"] == [{"Key": "Name", "Value": "web"}]
    group = described(ec2, group_id)
    assert group["SecurityGroupArn"] == answer["SecurityGroupArn"]
    assert answer["SecurityGroupArn"].endswith(f"security-group/{group_id}")
    assert (group["GroupName"], group["Description"]) == ("web servers", "HTTPS")
    assert (group["VpcId"], group["OwnerId"]) == (default_vpc(ec2), aws.account)
    assert group["IpPermissions"] == []
    assert permissions(ec2, group_id, "IpPermissionsEgress") == [
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYWHERE}]}
    ]
    assert ec2.describe_security_groups(GroupNames=["web*", "web servers"][1:])[
        "SecurityGroups"
    ] == [group]
    assert ec2.delete_security_group(GroupId=group_id)["GroupId"] == group_id
    with refused("InvalidGroup.NotFound", group_id):
        ec2.delete_security_group(GroupId=group_id)
    with refused("InvalidGroup.NotFound", group_id):
        ec2.describe_security_groups(GroupIds=[group_id])
    with refused("InvalidGroup.NotFound", "web servers", "default VPC"):
        ec2.delete_security_group(GroupName="web servers")
    with refused("InvalidGroupId.Malformed", "web", "sg-"):
        ec2.describe_security_groups(GroupIds=["web"])
    with refused("MissingParameter", "groupId"):
        ec2.delete_security_group()


def test_what_a_group_cannot_be(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    made(ec2)
    with refused("InvalidGroup.Duplicate", "mine", default_vpc(ec2)):
        made(ec2)
    made(ec2, VpcId=vpc_id)
    with refused("InvalidVpcID.NotFound"):
        made(ec2, VpcId="vpc-0")
    for name in ("default", "sg-mine", "grün", "x" * 256):
        with refused("InvalidParameterValue", name[:64] if name != "default" else "reserved"):
            made(ec2, name)
    with refused("InvalidParameterValue", "GroupDescription"):
        ec2.create_security_group(GroupName="other", Description="a\tb")
    with refused("CannotDelete", "default"):
        ec2.delete_security_group(GroupName="default")
    store = aws.plane.store
    with aws.plane.store.transaction():
        store.vpcs.change(store.vpcs.columns.is_default, is_default=False)
    with refused("VPCIdNotSpecified"):
        made(ec2, "other")


def test_a_group_that_is_used_is_not_deleted(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id, other = made(ec2), made(ec2, "other")
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]}
    for each in (group_id, other):
        ec2.authorize_security_group_ingress(GroupId=each, IpPermissions=[pair])
    aws.plane.store.instances.add(records.Instance(id="i-00000001", group_ids=(group_id,)))
    (endpoint,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    endpoint_id = endpoint["VpcEndpointId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, AddSecurityGroupIds=[group_id])
    with refused("DependencyViolation", group_id, other, "i-00000001", endpoint_id):
        ec2.delete_security_group(GroupId=group_id)
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, RemoveSecurityGroupIds=[group_id])
    ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=[pair])
    aws.plane.store.set_instance("i-00000001", state=records.TERMINATED)
    ec2.delete_security_group(GroupId=group_id)


def test_both_forms_of_a_rule(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    flat, nested = made(ec2), made(ec2, "other")
    answer = ec2.authorize_security_group_ingress(
        GroupId=flat, IpProtocol="tcp", FromPort=443, ToPort=443, CidrIp="10.1.2.3/8"
    )
    assert answer["Return"]
    (rule,) = answer["SecurityGroupRules"]
    assert (rule["GroupId"], rule["IsEgress"], rule["CidrIpv4"]) == (flat, False, "10.0.0.0/8")
    ec2.authorize_security_group_ingress(GroupName="other", IpPermissions=[https("10.0.0.0/8")])
    assert permissions(ec2, flat) == permissions(ec2, nested) == [https("10.0.0.0/8")]
    for each in (flat, nested):
        with refused("InvalidPermission.Duplicate", "peer: 10.0.0.0/8, TCP, from port: 443"):
            ec2.authorize_security_group_ingress(GroupId=each, IpPermissions=[https("10.0.0.0/8")])
    # Named twice, by what the original's documents show, it must be the same.
    ec2.authorize_security_group_ingress(
        GroupId=flat, GroupName="mine", IpPermissions=[https(port=22)]
    )
    with refused("InvalidParameterCombination", "other"):
        ec2.authorize_security_group_ingress(
            GroupId=flat, GroupName="other", IpPermissions=[https(port=23)]
        )
    with refused("InvalidParameterCombination", "IpProtocol"):
        ec2.authorize_security_group_ingress(
            GroupId=flat, IpProtocol="tcp", IpPermissions=[https(port=23)]
        )


def test_permissions_of_like_ports_are_one(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id, other = made(ec2), made(ec2, "other")
    given = {
        **https("10.0.0.0/8", Description="inside"),
        "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
        "UserIdGroupPairs": [{"GroupName": "other", "Description": "friends"}],
    }
    answer = ec2.authorize_security_group_ingress(
        GroupId=group_id, IpPermissions=[given, https("192.168.0.0/16")]
    )
    assert len(answer["SecurityGroupRules"]) == 4
    (found,) = permissions(ec2, group_id)
    assert found["IpRanges"] == [
        {"CidrIp": "10.0.0.0/8", "Description": "inside"},
        {"CidrIp": "192.168.0.0/16"},
    ]
    assert found["Ipv6Ranges"] == [{"CidrIpv6": "::/0"}]
    assert found["UserIdGroupPairs"] == [
        {
            "GroupId": other,
            "GroupName": "other",
            "UserId": aws.account,
            "VpcId": default_vpc(ec2),
            "Description": "friends",
        }
    ]
    # What was described can be given as it is.
    ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[found])
    assert permissions(ec2, group_id) == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"IpProtocol": "-1"}, {"IpProtocol": "-1"}),
        ({"IpProtocol": "all", "FromPort": 5, "ToPort": 6}, {"IpProtocol": "-1"}),
        ({"IpProtocol": "tcp"}, {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535}),
        (
            {"IpProtocol": "6", "FromPort": -1, "ToPort": -1},
            {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535},
        ),
        (
            {"IpProtocol": "UDP", "FromPort": 1, "ToPort": 2},
            {"IpProtocol": "udp", "FromPort": 1, "ToPort": 2},
        ),
        (
            {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1},
            {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1},
        ),
        ({"IpProtocol": "58"}, {"IpProtocol": "icmpv6", "FromPort": -1, "ToPort": -1}),
        ({"IpProtocol": "50"}, {"IpProtocol": "50", "FromPort": -1, "ToPort": -1}),
    ],
)
def test_protocols_and_ports(aws: Aws, given: dict[str, Any], shown: dict[str, Any]) -> None:
    ec2 = aws.client("ec2")
    group_id = made(ec2)
    ranges = {"IpRanges": [{"CidrIp": EVERYWHERE}]}
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[given | ranges])
    assert permissions(ec2, group_id) == [shown | ranges]
    with refused("InvalidPermission.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[shown | ranges])
    ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[given | ranges])
    assert permissions(ec2, group_id) == []


def test_what_a_rule_cannot_be(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id = made(ec2)
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    foreign = made(ec2, "foreign", VpcId=vpc_id)

    def wrong(code: str, *words: str, **changes: Any) -> None:
        permission = https() | changes
        given = {name: each for name, each in permission.items() if each is not None}
        with refused(code, *words):
            # The first of them must not stay either.
            ec2.authorize_security_group_ingress(
                GroupId=group_id, IpPermissions=[https(port=80), given]
            )

    wrong("InvalidParameterValue", "https", IpProtocol="https")
    wrong("InvalidParameterValue", "256", IpProtocol="256")
    wrong("MissingParameter", "ipProtocol", IpProtocol=None)
    wrong("InvalidParameterValue", "from and to ports", ToPort=None)
    wrong("InvalidParameterValue", "(443:80)", ToPort=80)
    wrong("InvalidParameterValue", "65536", ToPort=65536)
    wrong("InvalidParameterValue", "300", IpProtocol="icmp", FromPort=300)
    wrong("InvalidParameterValue", "type", IpProtocol="icmp", FromPort=-1, ToPort=3)
    wrong("MissingParameter", "Missing source", IpRanges=[])
    for cidr in ("10.0.0.0", "10.0.0.0/33", "::/0", "everywhere"):
        wrong("InvalidParameterValue", f"CIDR block {cidr}", IpRanges=[{"CidrIp": cidr}])
    wrong("InvalidParameterValue", "10.0.0.0/8", Ipv6Ranges=[{"CidrIpv6": "10.0.0.0/8"}])
    for text in ("a" * 256, "über"):
        ranges = [{"CidrIp": EVERYWHERE, "Description": text}]
        wrong("InvalidParameterValue", "Invalid rule description", IpRanges=ranges)
    wrong("InvalidParameterValue", "multiple times", **https(port=80))
    for pair in (
        {"GroupId": "sg-00000000"},
        {"GroupName": "nobody"},
        {"GroupId": foreign},
        {"GroupId": group_id, "UserId": "123456789012"},
        {"GroupId": group_id, "VpcId": vpc_id},
        {"GroupId": group_id, "GroupName": "default"},
    ):
        wrong("InvalidGroup.NotFound", UserIdGroupPairs=[pair])
    peered = {"GroupId": group_id, "VpcPeeringConnectionId": "pcx-1"}
    wrong("UnsupportedOperation", "VpcPeeringConnectionId", UserIdGroupPairs=[peered])
    wrong("UnsupportedOperation", "PrefixListIds", PrefixListIds=[{"PrefixListId": "pl-1"}])
    for more in (
        {"SourceSecurityGroupName": "default"},
        {"TagSpecifications": tagged("security-group-rule", a="b")},
    ):
        with refused("UnsupportedOperation", *more):
            ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[https()], **more)
    with refused("MissingParameter", "ipPermissions"):
        ec2.authorize_security_group_ingress(GroupId=group_id)
    with refused("DryRunOperation", status=412):
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[https()], DryRun=True)
    assert permissions(ec2, group_id) == []


def test_a_group_has_so_many_rules(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id = made(ec2)
    ranges = [{"CidrIp": f"10.{number // 256}.{number % 256}.0/24"} for number in range(1001)]
    permission = https() | {"IpRanges": ranges}
    with refused("RulesPerSecurityGroupLimitExceeded", "1000"):
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])
    assert permissions(ec2, group_id) == []


def test_rules_are_revoked(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id = made(ec2)
    ec2.authorize_security_group_ingress(
        GroupId=group_id, IpPermissions=[https(), https(port=22), https(port=80)]
    )
    (first,) = ec2.revoke_security_group_ingress(
        GroupId=group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=EVERYWHERE
    )["RevokedSecurityGroupRules"]
    assert (first["FromPort"], first["CidrIpv4"], first["IsEgress"]) == (22, EVERYWHERE, False)
    # In the default network what is not there is told of, in another it is refused.
    answer = ec2.revoke_security_group_ingress(
        GroupId=group_id, IpPermissions=[https(port=22), https(port=80)]
    )
    assert answer["UnknownIpPermissions"] == [https(port=22)]
    assert [each["FromPort"] for each in answer["RevokedSecurityGroupRules"]] == [80]
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    other = made(ec2, VpcId=vpc_id)
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[https()])
    with refused("InvalidPermission.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=[https(), https(port=22)])
    assert permissions(ec2, other) == [https()]
    rules = ec2.describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": [other]}]
    )["SecurityGroupRules"]  # fmt: skip
    inward, outward = sorted(rules, key=lambda each: each["IsEgress"])
    with refused("InvalidSecurityGroupRuleId.NotFound", outward["SecurityGroupRuleId"]):
        ec2.revoke_security_group_ingress(
            GroupId=other, SecurityGroupRuleIds=[outward["SecurityGroupRuleId"]]
        )
    with refused("InvalidParameterCombination"):
        ec2.revoke_security_group_ingress(
            GroupId=other, SecurityGroupRuleIds=[inward["SecurityGroupRuleId"]],
            IpPermissions=[https()],
        )  # fmt: skip
    with refused("MissingParameter"):
        ec2.revoke_security_group_ingress(GroupId=other)
    ec2.revoke_security_group_ingress(
        GroupId=other, SecurityGroupRuleIds=[inward["SecurityGroupRuleId"]]
    )
    every = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYWHERE}]}
    ec2.revoke_security_group_egress(GroupId=other, IpPermissions=[every])
    group = described(ec2, other)
    assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])
    ec2.authorize_security_group_egress(GroupId=other, IpPermissions=[https()])
    assert permissions(ec2, other, "IpPermissionsEgress") == [https()]


def test_groups_are_filtered_and_paged(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    web, ssh, both = (made(ec2, name) for name in ("web", "ssh", "both"))
    for group_id, ports in ((web, [443]), (ssh, [22]), (both, [443, 22])):
        ec2.authorize_security_group_ingress(
            GroupId=group_id, IpPermissions=[https(port=port) for port in ports]
        )
    pair = [{"GroupId": ssh}]
    ec2.authorize_security_group_egress(
        GroupId=web, IpPermissions=[{"IpProtocol": "udp", "UserIdGroupPairs": pair}]
    )
    ec2.authorize_security_group_ingress(
        GroupId=ssh, IpPermissions=[{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    )

    def found(*filters: tuple[str, str]) -> list[str]:
        answer = ec2.describe_security_groups(
            Filters=[{"Name": name, "Values": [value]} for name, value in filters]
        )
        return [each["GroupName"] for each in answer["SecurityGroups"]]

    # As the original's set-up tool asks: each of them is met by some rule.
    assert found(
        ("ip-permission.from-port", "443"), ("ip-permission.to-port", "443"),
        ("ip-permission.from-port", "22"), ("ip-permission.to-port", "22"),
        ("vpc-id", default_vpc(ec2)),
    ) == ["both"]  # fmt: skip
    assert found(("group-name", "*"), ("ip-permission.cidr", EVERYWHERE)) == ["web", "ssh", "both"]
    assert found(("egress.ip-permission.group-id", ssh)) == ["web"]
    assert found(("egress.ip-permission.group-name", "s?h")) == ["web"]
    assert found(("egress.ip-permission.user-id", aws.account)) == ["web"]
    assert found(("egress.ip-permission.protocol", "udp")) == ["web"]
    assert found(("ip-permission.ipv6-cidr", "::/0")) == ["ssh"]
    assert found(("ip-permission.prefix-list-id", "*")) == []
    assert found(("ip-permission.user-id", aws.account)) == ["default"]
    assert found(("description", "the group w*"), ("owner-id", aws.account)) == ["web"]
    assert found(("group-id", both)) == ["both"]
    pages = list(
        ec2.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5})
    )
    assert len(pages) == 1
    made(ec2, "sixth")
    pages = list(
        ec2.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5})
    )
    assert [len(each["SecurityGroups"]) for each in pages] == [5, 1]
    with refused("InvalidParameterValue", "ip-permission.colour"):
        found(("ip-permission.colour", "red"))


def test_rules_are_described(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id, other = made(ec2), made(ec2, "other")
    permission = {
        "IpProtocol": "tcp", "FromPort": 1, "ToPort": 2,
        "UserIdGroupPairs": [{"GroupId": other, "Description": "friends"}],
    }  # fmt: skip
    answer = ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])
    (made_rule,) = answer["SecurityGroupRules"]
    rule_id = made_rule["SecurityGroupRuleId"]
    (found,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule_id])[
        "SecurityGroupRules"
    ]
    assert found == made_rule
    assert found["ReferencedGroupInfo"] == {
        "GroupId": other, "UserId": aws.account, "VpcId": default_vpc(ec2),
    }  # fmt: skip
    assert found["Description"] == "friends"
    assert found["SecurityGroupRuleArn"].endswith(f"security-group-rule/{rule_id}")
    of_group = filtered(
        ec2.describe_security_group_rules, "SecurityGroupRules", "SecurityGroupRuleId",
        group_id=group_id,
    )  # fmt: skip
    assert len(of_group) == 2
    assert filtered(
        ec2.describe_security_group_rules, "SecurityGroupRules", "SecurityGroupRuleId",
        security_group_rule_id=rule_id,
    ) == [rule_id]  # fmt: skip
    pages = list(
        ec2.get_paginator("describe_security_group_rules").paginate(
            PaginationConfig={"PageSize": 5}
        )
    )
    assert [len(each["SecurityGroupRules"]) for each in pages] == [5, 2]
    with refused("InvalidSecurityGroupRuleId.NotFound", "sgr-0"):
        ec2.describe_security_group_rules(SecurityGroupRuleIds=["sgr-0"])


def test_rules_are_changed(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id, other = made(ec2), made(ec2, "other")
    rules = ec2.authorize_security_group_ingress(
        GroupId=group_id, IpPermissions=[https(Description="web"), https(port=22)]
    )["SecurityGroupRules"]
    first, second = (each["SecurityGroupRuleId"] for each in rules)

    def change(rule_id: str, **rule: Any) -> None:
        given = [{"SecurityGroupRuleId": rule_id, "SecurityGroupRule": rule}]
        ec2.modify_security_group_rules(GroupId=group_id, SecurityGroupRules=given)

    change(first, IpProtocol="tcp", FromPort=80, ToPort=81, ReferencedGroupId=other)
    change(second, IpProtocol="-1", CidrIpv6="2001:db8::1/64", Description="all")
    found = {each["IpProtocol"]: each for each in permissions(ec2, group_id)}
    assert found["tcp"]["UserIdGroupPairs"][0]["GroupId"] == other
    assert found["tcp"]["UserIdGroupPairs"][0]["Description"] == "web"
    assert found["-1"]["Ipv6Ranges"] == [{"CidrIpv6": "2001:db8::/64", "Description": "all"}]
    with refused("InvalidPermission.Duplicate", other):
        change(second, IpProtocol="tcp", FromPort=80, ToPort=81, ReferencedGroupId=other)
    with refused("InvalidParameterCombination", "CidrIpv4"):
        change(second, IpProtocol="tcp", FromPort=80, ToPort=81)
    with refused("MissingParameter", "ipProtocol"):
        change(second, CidrIpv4=EVERYWHERE)
    with refused("InvalidSecurityGroupRuleId.NotFound"):
        change("sgr-0", IpProtocol="-1", CidrIpv4=EVERYWHERE)
    with refused("UnsupportedOperation", "PrefixListId"):
        change(second, IpProtocol="-1", PrefixListId="pl-1")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    foreign = made(ec2, VpcId=vpc_id)
    with refused("InvalidGroup.NotFound", foreign):
        change(second, IpProtocol="-1", ReferencedGroupId=foreign)


def test_rules_are_described_anew(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id = made(ec2)
    (rule,) = ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[https()])[
        "SecurityGroupRules"
    ]
    update = ec2.update_security_group_rule_descriptions_ingress
    update(GroupId=group_id, IpPermissions=[https(Description="first")])
    assert permissions(ec2, group_id) == [https(Description="first")]
    described_anew = {
        "SecurityGroupRuleId": rule["SecurityGroupRuleId"], "Description": "second",
    }  # fmt: skip
    update(GroupName="mine", SecurityGroupRuleDescriptions=[described_anew])
    assert permissions(ec2, group_id) == [https(Description="second")]
    every = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": EVERYWHERE, "Description": "out"}]}
    ec2.update_security_group_rule_descriptions_egress(GroupId=group_id, IpPermissions=[every])
    assert permissions(ec2, group_id, "IpPermissionsEgress") == [every]
    with refused("InvalidPermission.NotFound"):
        update(GroupId=group_id, IpPermissions=[https(port=1)])
    with refused("MissingParameter"):
        update(GroupId=group_id)
    with refused("InvalidParameterValue", "description"):
        update(GroupId=group_id, IpPermissions=[https(Description="ü")])


def test_who_may_change_groups(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    group_id, other = made(ec2), made(ec2, "other")
    ann = aws.client("ec2", key=aws.user("ann", {
        "Effect": "Allow",
        "Action": ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
        "Resource": f"arn:aws:ec2:{aws.region}:{aws.account}:security-group/{group_id}",
    }))  # fmt: skip
    ann.authorize_security_group_ingress(GroupName="mine", IpPermissions=[https()])
    for call in (
        lambda: ann.authorize_security_group_ingress(GroupId=other, IpPermissions=[https()]),
        lambda: ann.authorize_security_group_ingress(GroupName="gone", IpPermissions=[https()]),
        lambda: ann.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[https()]),
        lambda: ann.delete_security_group(GroupName="other"),
        ann.describe_security_groups,
    ):
        with refused("UnauthorizedOperation", status=403):
            call()
    assert permissions(ec2, group_id) == [https()]
    ann.delete_security_group(GroupId=group_id)
