"""The services that VPC endpoints may be of: the pool's own, which has no prefix list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_endpoints import INTERFACE, IPV4
from elastic_inference.aws.ec2_lookup import chosen
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane

_OWNER = "amazon"


class EndpointServices:
    """Describes endpoint services, and the prefix lists that none of them has."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "DescribeVpcEndpointServices": operation(
                self._describe, "ServiceNames ServiceRegions Filters NextToken MaxResults"
            ),
            "DescribePrefixLists": operation(
                _prefix_lists, "PrefixListIds Filters NextToken MaxResults"
            ),
        }

    def _describe(self, call: Call) -> Document:
        region = self._plane.settings.region
        regions: Sequence[str] = call.input.get("ServiceRegions", ())
        there = [self._service()] if not regions or region in regions else []
        found = chosen(
            there, call.input.get("ServiceNames", ()), lambda each: each["ServiceName"], _missing
        )
        found = select(found, call, _FILTERS, lambda _: {})
        found, token = page(found, call, lambda each: each["ServiceName"])
        return {
            "ServiceNames": [each["ServiceName"] for each in found],
            "ServiceDetails": found,
            "NextToken": token,
        }

    def _service(self) -> Mapping[str, Any]:
        region = self._plane.settings.region
        digest = hashlib.sha256(f"endpoint service {self._plane.pool_id}".encode()).hexdigest()
        return {
            "ServiceName": self._plane.network.service,
            "ServiceId": f"vpce-svc-{digest[:17]}",
            "ServiceType": [{"ServiceType": INTERFACE}],
            "ServiceRegion": region,
            "AvailabilityZones": [self._plane.network.zone],
            "AvailabilityZoneIds": [names.zone_id(region)],
            "Owner": _OWNER,
            "PrivateDnsName": names.POOL_NAME,
            "PrivateDnsNames": [{"PrivateDnsName": names.POOL_NAME}],
            "PrivateDnsNameVerificationState": "verified",
            "VpcEndpointPolicySupported": True,
            "AcceptanceRequired": False,
            "ManagesVpcEndpoints": False,
            "SupportedIpAddressTypes": [IPV4],
            "Tags": [],
        }


def _prefix_lists(call: Call) -> Document:
    """None: a gateway's endpoint has one, and a pool's is an interface."""
    for each in call.input.get("PrefixListIds", ()):
        raise AwsError(
            "InvalidPrefixListId.NotFound", f"The prefix list ID '{each[:64]}' does not exist"
        )
    none: Sequence[str] = ()
    readers: Mapping[str, Reader[str]] = {
        "prefix-list-id": lambda each: each,
        "prefix-list-name": lambda each: each,
    }
    found, token = page(select(none, call, readers), call, lambda each: each)
    return {"PrefixLists": found, "NextToken": token}


_FILTERS: Mapping[str, Reader[Mapping[str, Any]]] = {
    "owner": lambda _: _OWNER,
    "service-name": lambda each: each["ServiceName"],
    "service-region": lambda each: each["ServiceRegion"],
    "service-type": lambda _: INTERFACE,
    "supported-ip-address-types": lambda _: IPV4,
}


def _missing(name: str) -> AwsError:
    return AwsError("InvalidServiceName", f"The Vpc Endpoint Service '{name[:128]}' does not exist")
