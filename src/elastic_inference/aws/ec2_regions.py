"""Regions, zones and the account: a pool is one region with one zone."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane

_REQUIRED = "opt-in-not-required"


class Regions:
    """DescribeRegions, DescribeAvailabilityZones and DescribeAccountAttributes."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "DescribeRegions": operation(self._regions, "RegionNames AllRegions Filters"),
            "DescribeAvailabilityZones": operation(
                self._zones, "ZoneNames ZoneIds AllAvailabilityZones Filters"
            ),
            "DescribeAccountAttributes": operation(self._attributes, "AttributeNames"),
        }

    def _regions(self, call: Call) -> Document:
        region = self._plane.settings.region
        wanted = call.input.get("RegionNames")
        if wanted and (unknown := [each for each in wanted if each != region]):
            raise AwsError(
                "InvalidParameterValue", f"Invalid region names provided: {', '.join(unknown)}"
            )
        endpoint = f"ec2.{region}.amazonaws.com"
        readers: Mapping[str, Reader[str]] = {
            "endpoint": lambda _: endpoint,
            "opt-in-status": lambda _: _REQUIRED,
            "region-name": lambda each: each,
        }
        found = select([region], call, readers)
        return {
            "Regions": [
                {"RegionName": each, "Endpoint": endpoint, "OptInStatus": _REQUIRED}
                for each in found
            ]
        }

    def _zones(self, call: Call) -> Document:
        region, zone = self._plane.settings.region, self._plane.network.zone
        zone_id = names.zone_id(region)
        for parameter, only in (("ZoneNames", zone), ("ZoneIds", zone_id)):
            for each in call.input.get(parameter, ()):
                if each != only:
                    raise AwsError(
                        "InvalidParameterValue", f"Invalid availability zone: [{each[:64]}]"
                    )
        readers: Mapping[str, Reader[str]] = {
            "group-name": lambda _: region,
            "message": lambda _: None,
            "opt-in-status": lambda _: _REQUIRED,
            "region-name": lambda _: region,
            "state": lambda _: "available",
            "zone-id": lambda _: zone_id,
            "zone-name": lambda each: each,
            "zone-type": lambda _: "availability-zone",
        }
        found = select([zone], call, readers)
        return {
            "AvailabilityZones": [
                {
                    "GroupName": region,
                    "Messages": [],
                    "NetworkBorderGroup": region,
                    "OptInStatus": _REQUIRED,
                    "RegionName": region,
                    "State": "available",
                    "ZoneId": zone_id,
                    "ZoneName": each,
                    "ZoneType": "availability-zone",
                }
                for each in found
            ]
        }

    def _attributes(self, call: Call) -> Document:
        store = self._plane.store
        vpc = store.vpcs.first(
            store.vpcs.columns.account == call.account, store.vpcs.columns.is_default
        )
        values = {
            "supported-platforms": "VPC",
            "default-vpc": vpc.id if vpc else "none",
        }
        wanted = call.input.get("AttributeNames") or values
        return {
            "AccountAttributes": [
                {"AttributeName": each, "AttributeValues": [{"AttributeValue": values[each]}]}
                for each in wanted
                if each in values
            ]
        }
