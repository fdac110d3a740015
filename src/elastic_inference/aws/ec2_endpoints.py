"""EC2's VPC endpoints: where a network reaches the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from elastic_inference.aws import ec2_quotas, tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_lookup import Lookup, chosen, no_endpoint, no_group, no_subnet
from elastic_inference.aws.errors import AwsError, said, unsupported
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control import names, policy
from elastic_inference.control.network import MAX_ENDPOINT_POLICY
from elastic_inference.control.network_users import DEFAULT_GROUP
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import EndpointRecord, VpcRecord
from elastic_inference.errors import InvalidRequestError

_MOST_NAMED = 100
INTERFACE, IPV4 = "Interface", "ipv4"
_KIND = "vpc-endpoint"
# What a client gets of it where nobody gave another policy.
_FULL_ACCESS = '{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}'
_CREATE = (
    "VpcId VpcEndpointType ServiceName ServiceRegion SubnetIds SecurityGroupIds PolicyDocument"
    " PrivateDnsEnabled IpAddressType ClientToken TagSpecifications"
)
_MODIFY = (
    "VpcEndpointId PolicyDocument ResetPolicy PrivateDnsEnabled IpAddressType AddSubnetIds"
    " RemoveSubnetIds AddSecurityGroupIds RemoveSecurityGroupIds"
)


class Endpoints:
    """Makes, describes, changes and removes VPC endpoints."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._lookup = Lookup(plane)
        self.operations: Operations = {
            "CreateVpcEndpoint": operation(self._create, _CREATE, resources=self._to_create),
            "DescribeVpcEndpoints": operation(
                self._describe, "VpcEndpointIds Filters NextToken MaxResults"
            ),
            "ModifyVpcEndpoint": operation(
                self._modify, _MODIFY, resources=self._to_modify
            ),
            "DeleteVpcEndpoints": operation(
                self._delete, "VpcEndpointIds",
                resources=lambda call: self._named(call, call.input["VpcEndpointIds"]),
            ),
        }  # fmt: skip

    def _named(self, call: Call, ids: Sequence[str]) -> Sequence[str]:
        if len(ids) > _MOST_NAMED:
            # Policies decide on each of them.
            raise AwsError("InvalidParameterValue", f"A call names up to {_MOST_NAMED} endpoints.")
        return [self._lookup.arn(call.account, _KIND, each) for each in ids]

    def _to_create(self, call: Call) -> Sequence[str]:
        things = {
            _KIND: ["*"],
            "vpc": [call.input["VpcId"]],
            "subnet": call.input.get("SubnetIds", ()),
            "security-group": call.input.get("SecurityGroupIds", ()) or self._usual_groups(call),
        }
        return self._arns(call, things)

    def _to_modify(self, call: Call) -> Sequence[str]:
        given = call.input
        things = {
            _KIND: [given["VpcEndpointId"]],
            "subnet": [*given.get("AddSubnetIds", ()), *given.get("RemoveSubnetIds", ())],
            "security-group": [
                *given.get("AddSecurityGroupIds", ()),
                *given.get("RemoveSecurityGroupIds", ()),
            ],
        }
        return self._arns(call, things)

    def _arns(self, call: Call, things: Mapping[str, Sequence[str]]) -> Sequence[str]:
        return [
            self._lookup.arn(call.account, kind, each)
            for kind, ids in things.items()
            for each in ids
        ]

    def _usual_groups(self, call: Call) -> Sequence[str]:
        """The group that an endpoint gets for which none is named."""
        try:
            vpc = self._lookup.vpc(call.account, call.input["VpcId"])
            return [self._lookup.group_named(call.account, DEFAULT_GROUP, vpc).id]
        except AwsError:
            return ()

    # -- making -----------------------------------------------------------------------------------

    def _create(self, call: Call) -> Document:
        given = call.input
        self._check_service(given)
        _check_addresses(given)
        token = given.get("ClientToken")
        text = _policy(given)
        with self._plane.connections.rechecked():
            vpc = self._lookup.vpc(call.account, given["VpcId"])
            subnets = list(dict.fromkeys(given.get("SubnetIds", ())))
            groups = list(dict.fromkeys(given.get("SecurityGroupIds", ())))
            groups = groups or [self._lookup.group_named(call.account, DEFAULT_GROUP, vpc).id]
            self._check_parts(call.account, vpc, subnets, groups)
            private_dns = given.get("PrivateDnsEnabled", True)
            # With the same token it is the same endpoint.
            endpoint_id = names.derived_id("vpce", call.account, token) if token else None
            known = self._store.endpoints.get(endpoint_id) if endpoint_id else None
            if known is not None:
                _check_same(known, vpc, subnets, groups, private_dns, text)
                return {"VpcEndpoint": self._shown(known), "ClientToken": token}
            if private_dns:
                _check_names(vpc)
            ec2_quotas.check(self._store.endpoints, call.account, ec2_quotas.ENDPOINTS)
            made = self._plane.network.create_endpoint(
                call.account, vpc.id, subnets, groups,
                endpoint_id=endpoint_id, private_dns=private_dns, policy=text,
                tags=tags.given(call, _KIND),
            )  # fmt: skip
            return {"VpcEndpoint": self._shown(made), "ClientToken": token}

    def _check_service(self, given: Document) -> None:
        own, region = self._plane.network.service, self._plane.settings.region
        name = given.get("ServiceName")
        if name is None:
            raise AwsError("MissingParameter", "The request must contain the parameter serviceName")
        if name != own or given.get("ServiceRegion", region) != region:
            raise AwsError(
                "InvalidServiceName",
                f"The Vpc Endpoint Service '{name[:128]}' does not exist. The pool's is {own}.",
            )
        kind = given.get("VpcEndpointType", "Gateway")
        if kind != INTERFACE:
            raise AwsError(
                "InvalidParameter",
                f"Endpoint type ({kind}) does not match available service types ([{INTERFACE}]).",
            )

    def _check_parts(
        self, account: str, vpc: VpcRecord, subnets: Sequence[str], groups: Sequence[str]
    ) -> None:
        """Refuse subnets and security groups that are none of the network's."""
        for each in subnets:
            if self._lookup.subnet(account, each).vpc_id != vpc.id:
                raise no_subnet(f"{each}' in '{vpc.id}")
        for each in groups:
            if self._lookup.group(account, each).vpc_id != vpc.id:
                raise AwsError(
                    "InvalidGroup.NotFound",
                    f"The security group '{each}' does not exist in VPC '{vpc.id}'",
                )

    # -- describing -------------------------------------------------------------------------------

    def _describe(self, call: Call) -> Document:
        columns = self._store.endpoints.columns
        found = chosen(
            self._store.endpoints.where(columns.account == call.account),
            call.input.get("VpcEndpointIds", ()),
            lambda each: each.id,
            no_endpoint,
        )
        found = select(found, call, self._filters(), lambda each: each.tags)
        found, token = page(found, call, lambda each: (each.created_at, each.id))
        return {"VpcEndpoints": [self._shown(each) for each in found], "NextToken": token}

    def _filters(self) -> Mapping[str, Reader[EndpointRecord]]:
        return {
            "ip-address-type": lambda _: IPV4,
            "service-name": lambda each: each.service,
            "service-region": lambda _: self._plane.settings.region,
            "vpc-endpoint-id": lambda each: each.id,
            "vpc-endpoint-state": lambda each: each.state,
            "vpc-endpoint-type": lambda _: INTERFACE,
            "vpc-id": lambda each: each.vpc_id,
        }

    def _shown(self, endpoint: EndpointRecord) -> Document:
        groups = self._lookup.group_names(endpoint.account)
        return {
            "VpcEndpointId": endpoint.id,
            "VpcEndpointType": INTERFACE,
            "VpcId": endpoint.vpc_id,
            "OwnerId": endpoint.account,
            "ServiceName": endpoint.service,
            "ServiceRegion": self._plane.settings.region,
            "State": endpoint.state,
            "PolicyDocument": endpoint.policy or _FULL_ACCESS,
            "SubnetIds": list(endpoint.subnet_ids),
            "Groups": [
                {"GroupId": each, "GroupName": groups.get(each)} for each in endpoint.group_ids
            ],
            "IpAddressType": IPV4,
            "PrivateDnsEnabled": endpoint.private_dns,
            "RequesterManaged": False,
            "RouteTableIds": [],
            "NetworkInterfaceIds": [],
            "DnsEntries": [{"DnsName": names.POOL_NAME}] if endpoint.private_dns else [],
            "CreationTimestamp": endpoint.created_at,
            "Tags": tags.shown(endpoint.tags),
        }

    # -- changing and removing --------------------------------------------------------------------

    def _modify(self, call: Call) -> Document:
        given = call.input
        _check_addresses(given)
        text = _policy(given)
        with self._plane.connections.rechecked():
            endpoint = self._lookup.endpoint(call.account, given["VpcEndpointId"])
            vpc = self._lookup.vpc(call.account, endpoint.vpc_id)
            subnets = _edited(given, endpoint.subnet_ids, "SubnetIds", no_subnet)
            groups = _edited(given, endpoint.group_ids, "SecurityGroupIds", no_group)
            self._check_parts(
                call.account, vpc, given.get("AddSubnetIds", ()),
                given.get("AddSecurityGroupIds", ()),
            )  # fmt: skip
            changes: dict[str, object] = {"subnet_ids": subnets, "group_ids": groups}
            if "PrivateDnsEnabled" in given:
                if given["PrivateDnsEnabled"]:
                    _check_names(vpc)
                changes["private_dns"] = given["PrivateDnsEnabled"]
            if text is not None or given.get("ResetPolicy"):
                changes["policy"] = text
            self._store.endpoints.change(self._store.endpoints.columns.id == endpoint.id, **changes)
        return {"Return": True}

    def _delete(self, call: Call) -> Document:
        failed: list[Document] = []
        columns = self._store.endpoints.columns
        with self._plane.connections.rechecked():
            for each in dict.fromkeys(call.input["VpcEndpointIds"]):
                if not self._store.endpoints.remove(
                    columns.id == each, columns.account == call.account
                ):
                    error = no_endpoint(each)
                    failed.append(
                        {
                            "ResourceId": each,
                            "Error": {"Code": error.code, "Message": error.message},
                        }
                    )
        return {"Unsuccessful": failed}


def _policy(given: Document) -> str | None:
    text: str | None = given.get("PolicyDocument")
    if text is None:
        return None
    if given.get("ResetPolicy"):
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter policyDocument cannot be used with the parameter resetPolicy.",
        )
    try:
        policy.parse(text, "the endpoint's", of_thing=True, limit=MAX_ENDPOINT_POLICY)
    except InvalidRequestError as error:
        raise AwsError("InvalidPolicyDocument", said(error)) from None
    return text


def _check_addresses(given: Document) -> None:
    if given.get("IpAddressType", IPV4) != IPV4:
        raise unsupported(f"IpAddressType must be {IPV4}: networks have no other addresses.")


def _check_names(vpc: VpcRecord) -> None:
    if not (vpc.dns_support and vpc.dns_hostnames):
        raise AwsError(
            "InvalidParameter",
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC"
            f" attributes set to true for {vpc.id}. Set them (ModifyVpcAttribute), or give"
            " PrivateDnsEnabled=false.",
        )


def _check_same(
    known: EndpointRecord,
    vpc: VpcRecord,
    subnets: Sequence[str],
    groups: Sequence[str],
    private_dns: bool,
    text: str | None,
) -> None:
    wanted = (vpc.id, tuple(subnets), tuple(groups), private_dns, text)
    has = (known.vpc_id, known.subnet_ids, known.group_ids, known.private_dns, known.policy)
    if wanted != has:
        raise AwsError(
            "IdempotentParameterMismatch",
            f"The client token was used for another endpoint than {known.id} now is. Give another.",
        )


def _edited(
    given: Document, now: Sequence[str], what: str, missing: Callable[[str], AwsError]
) -> list[str]:
    gone = given.get(f"Remove{what}", ())
    for each in gone:
        if each not in now:
            raise missing(each)
    return [
        each for each in dict.fromkeys([*now, *given.get(f"Add{what}", ())]) if each not in gone
    ]
