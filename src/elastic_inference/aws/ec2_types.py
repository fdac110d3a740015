"""DescribeInstanceTypes and DescribeInstanceTypeOfferings."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError, unsupported
from elastic_inference.aws.filters import Reader, select, truth
from elastic_inference.aws.pages import page
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.instance_types import InstanceType

_OLD = ("c4", "m4", "p2", "r4", "t2")
_XEN = ("c4", "m4", "p2", "p3", "r4", "t2")
_PAGE = 100
_OFFERINGS = 1000
UNLIMITED = "unlimited"


class InstanceTypes:
    """Describes the types of the catalogue."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "DescribeInstanceTypes": operation(
                self._describe, "InstanceTypes Filters MaxResults NextToken"
            ),
            "DescribeInstanceTypeOfferings": operation(
                self._offerings, "LocationType Filters MaxResults NextToken"
            ),
        }

    def _describe(self, call: Call) -> Document:
        known = self._plane.catalog.instance_types
        wanted = call.input.get("InstanceTypes") or list(known)
        if unknown := [each for each in wanted if each not in known]:
            raise AwsError(
                "InvalidInstanceType",
                f"The following supplied instance types do not exist: [{', '.join(unknown)}]",
            )
        found = select([known[each] for each in dict.fromkeys(wanted)], call, _FILTERS)
        shown, more = page(found, call, lambda each: each.name, most=_PAGE)
        return {"InstanceTypes": [_describe_one(each) for each in shown], "NextToken": more}

    def _offerings(self, call: Call) -> Document:
        kind = call.input.get("LocationType", "region")
        locations = {
            "region": self._plane.settings.region,
            "availability-zone": self._plane.network.zone,
            "availability-zone-id": names.zone_id(self._plane.settings.region),
        }
        if kind not in locations:
            raise unsupported(f"There are no offerings by {kind} here.")
        readers: Mapping[str, Reader[InstanceType]] = {
            "instance-type": lambda each: each.name,
            "location": lambda _: locations[kind],
        }
        # Those with a GPU of their own are known for their prices alone.
        offered = [each for each in self._plane.catalog.instance_types.values() if not each.gpu]
        found = select(offered, call, readers)
        shown, more = page(found, call, lambda each: each.name, most=_OFFERINGS)
        offerings = [
            {"InstanceType": each.name, "LocationType": kind, "Location": locations[kind]}
            for each in shown
        ]
        return {"InstanceTypeOfferings": offerings, "NextToken": more}


def is_burstable(type_: InstanceType) -> bool:
    """Whether it has credits for its processors on AWS."""
    return type_.family.startswith("t")


def _describe_one(type_: InstanceType) -> Document:
    cores = type_.cores or max(1, type_.vcpus // 2)
    return {
        "InstanceType": type_.name,
        "CurrentGeneration": type_.family not in _OLD,
        "FreeTierEligible": type_.name in {"t2.micro", "t3.micro"},
        "SupportedUsageClasses": ["on-demand"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": _hypervisor(type_),
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "VCpuInfo": {
            "DefaultVCpus": type_.vcpus,
            "DefaultCores": cores,
            "DefaultThreadsPerCore": max(1, type_.vcpus // cores),
        },
        "MemoryInfo": {"SizeInMiB": type_.memory_mib},
        "InstanceStorageSupported": False,
        "GpuInfo": _gpus(type_),
        **_SURROUNDINGS,
        "HibernationSupported": False,
        "BurstablePerformanceSupported": is_burstable(type_),
        "DedicatedHostsSupported": False,
        "AutoRecoverySupported": False,
        "SupportedInRegion": type_.gpu is None,
    }


# What all have: one interface with one address, and neither volumes nor placement groups.
_SURROUNDINGS: Document = {
    "EbsInfo": {
        "EbsOptimizedSupport": "unsupported",
        "EncryptionSupport": "unsupported",
        "NvmeSupport": "unsupported",
    },
    "NetworkInfo": {
        "MaximumNetworkInterfaces": 1,
        "Ipv4AddressesPerInterface": 1,
        "Ipv6AddressesPerInterface": 0,
        "Ipv6Supported": False,
        "EnaSupport": "unsupported",
        "EfaSupported": False,
    },
    "PlacementGroupInfo": {"SupportedStrategies": []},
}


def _gpus(type_: InstanceType) -> Document | None:
    gpu = type_.gpu
    if gpu is None:
        return None
    one = {
        "Name": gpu.name,
        "Manufacturer": "NVIDIA",
        "Count": gpu.count,
        "MemoryInfo": {"SizeInMiB": gpu.memory_mib},
    }
    return {"Gpus": [one], "TotalGpuMemoryInMiB": gpu.count * gpu.memory_mib}


def _hypervisor(type_: InstanceType) -> str:
    return "xen" if type_.family in _XEN else "nitro"


_FILTERS: Mapping[str, Reader[InstanceType]] = {
    "bare-metal": lambda _: truth(False),
    "burstable-performance-supported": lambda each: truth(is_burstable(each)),
    "current-generation": lambda each: truth(each.family not in _OLD),
    "hibernation-supported": lambda _: truth(False),
    "hypervisor": _hypervisor,
    "instance-storage-supported": lambda _: truth(False),
    "instance-type": lambda each: each.name,
    "memory-info.size-in-mib": lambda each: str(each.memory_mib),
    "processor-info.supported-architecture": lambda _: "x86_64",
    "supported-root-device-type": lambda _: "ebs",
    "supported-usage-class": lambda _: "on-demand",
    "supported-virtualization-type": lambda _: "hvm",
    "vcpu-info.default-cores": lambda each: str(each.cores),
    "vcpu-info.default-vcpus": lambda each: str(each.vcpus),
}
