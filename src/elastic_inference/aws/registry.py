"""Which operations there are, by service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from elastic_inference.aws import (
    ec2_attributes,
    ec2_images,
    ec2_instance_states,
    ec2_instances,
    ec2_key_pairs,
    ec2_regions,
    ec2_tags,
    ec2_template_versions,
    ec2_templates,
    ec2_types,
    iam_account,
    iam_grants,
    iam_policies,
    iam_profiles,
    iam_roles,
    iam_simulation,
    iam_tags,
    iam_users,
)
from elastic_inference.aws.autoscaling import AutoScaling
from elastic_inference.aws.call import Operation, Operations
from elastic_inference.aws.cloudwatch import CloudWatch
from elastic_inference.aws.cloudwatch_data import CloudWatchData
from elastic_inference.aws.cloudwatch_put import CloudWatchPut
from elastic_inference.aws.ec2_endpoint_services import EndpointServices
from elastic_inference.aws.ec2_endpoints import Endpoints
from elastic_inference.aws.ec2_group_rules import GroupRules
from elastic_inference.aws.ec2_groups import Groups
from elastic_inference.aws.ec2_interfaces import Interfaces
from elastic_inference.aws.ec2_subnets import Subnets
from elastic_inference.aws.ec2_vpcs import Vpcs
from elastic_inference.aws.elastic_inference import ElasticInference
from elastic_inference.aws.sts import Sts
from elastic_inference.control.plane import ControlPlane


class _Part(Protocol):
    operations: Operations


_PARTS: Mapping[str, tuple[Callable[[ControlPlane], _Part], ...]] = {
    "ec2": (
        ec2_instances.Instances,
        ec2_instance_states.InstanceStates,
        ec2_attributes.InstanceAttributes,
        ec2_images.Images,
        ec2_key_pairs.KeyPairs,
        ec2_types.InstanceTypes,
        ec2_templates.Templates,
        ec2_template_versions.TemplateVersions,
        ec2_tags.Tags,
        ec2_regions.Regions,
        Vpcs,
        Subnets,
        Groups,
        GroupRules,
        Endpoints,
        EndpointServices,
        Interfaces,
    ),
    "iam": (
        iam_users.Users,
        iam_roles.Roles,
        iam_policies.Policies,
        iam_grants.Grants,
        iam_profiles.InstanceProfiles,
        iam_tags.Tags,
        iam_account.Account,
        iam_simulation.Simulation,
    ),
    "sts": (Sts,),
    "autoscaling": (AutoScaling,),
    "monitoring": (CloudWatch, CloudWatchData, CloudWatchPut),
    "elastic-inference": (ElasticInference,),
}


def operations(service: str, plane: ControlPlane) -> Operations:
    """The operations of a service over a control plane."""
    found: dict[str, Operation] = {}
    for part in _PARTS[service]:
        found.update(part(plane).operations)
    return found
