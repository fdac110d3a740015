"""What uses a network's parts, which cannot be removed before it, and the removing."""

from __future__ import annotations

from collections.abc import Callable

from elastic_inference.control import records
from elastic_inference.control.records import Instance
from elastic_inference.control.store import Store

DEFAULT_GROUP = "default"


def users_of_vpc(store: Store, vpc_id: str) -> list[str]:
    """The subnets, endpoints and security groups of a network but for its default group."""
    groups = store.groups.columns
    return [
        *(each.id for each in store.subnets.where(store.subnets.columns.vpc_id == vpc_id)),
        *(each.id for each in store.endpoints.where(store.endpoints.columns.vpc_id == vpc_id)),
        *(
            each.id
            for each in store.groups.where(groups.vpc_id == vpc_id, groups.name != DEFAULT_GROUP)
        ),
    ]


def users_of_subnet(store: Store, subnet_id: str) -> list[str]:
    """The instances and endpoints that are in a subnet."""
    return [
        *_instances(store, lambda each: each.subnet_id == subnet_id),
        *(each.id for each in store.endpoints.where() if subnet_id in each.subnet_ids),
    ]


def users_of_group(store: Store, group_id: str) -> list[str]:
    """The instances, endpoints and other groups' rules that name a security group."""
    rules = store.rules.columns
    return [
        *_instances(store, lambda each: group_id in each.group_ids),
        *(each.id for each in store.endpoints.where() if group_id in each.group_ids),
        *(
            each.group_id
            for each in store.rules.where(
                rules.source_group == group_id, rules.group_id != group_id
            )
        ),
    ]


def remove_vpc(store: Store, vpc_id: str) -> None:
    """Remove a network with its groups, in a transaction."""
    for group in store.groups.where(store.groups.columns.vpc_id == vpc_id):
        remove_group(store, group.id)
    store.vpcs.remove(store.vpcs.columns.id == vpc_id)


def remove_group(store: Store, group_id: str) -> None:
    """Remove a security group with its rules, in a transaction."""
    store.rules.remove(store.rules.columns.group_id == group_id)
    store.groups.remove(store.groups.columns.id == group_id)


def _instances(store: Store, uses: Callable[[Instance], bool]) -> list[str]:
    found = store.instances.where(store.instances.columns.state != records.TERMINATED)
    return [each.id for each in found if uses(each)]
