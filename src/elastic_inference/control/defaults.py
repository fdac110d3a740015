"""What a fresh pool comes with, so that nothing has to be set up to begin."""

from __future__ import annotations

import json

from elastic_inference.control import names, records
from elastic_inference.control.access import Access
from elastic_inference.control.clock import Clock
from elastic_inference.control.launch import DEFAULT_ROLE
from elastic_inference.control.network import HTTPS, Network
from elastic_inference.control.records import (
    ACCOUNT,
    Account,
    Attachment,
    InstanceProfile,
    PolicyRecord,
    Role,
)
from elastic_inference.control.store import Store

DEFAULT_POLICY = "ElasticInferenceDefault"
_VPC, _SUBNET = "172.31.0.0/16", "172.31.0.0/20"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
# What the original's documents let an instance do, and what it learns of itself.
_DOCUMENT = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "UseAccelerators",
                "Effect": "Allow",
                "Action": [
                    "elastic-inference:Connect",
                    "elastic-inference:DescribeAccelerators",
                    "elastic-inference:DescribeAcceleratorTypes",
                    "elastic-inference:GetInstanceDocument",
                    "elastic-inference:ValidateInstance",
                ],
                "Resource": "*",
            }
        ],
    }
)


def furnish(store: Store, access: Access, network: Network, clock: Clock) -> None:
    """Make the account with its network, endpoint, role and key, unless it is there."""
    with store.transaction():
        if store.owner_key() is None:
            access.add_owner(ACCOUNT)
        if store.accounts.get(ACCOUNT) is not None:
            return
        store.accounts.add(Account(id=ACCOUNT, created_at=clock.time()))
        _add_role(store, clock)
        vpc = network.create_vpc(ACCOUNT, _VPC, is_default=True)
        subnet = network.create_subnet(ACCOUNT, vpc.id, _SUBNET, None, is_default=True)
        group = network.create_group(
            ACCOUNT, vpc.id, "elastic-inference-endpoint", "lets HTTPS in from the network"
        )
        network.add_rule(group.id, "ingress", "tcp", HTTPS, HTTPS, cidr=_VPC)
        network.create_endpoint(ACCOUNT, vpc.id, [subnet.id], [group.id])
    network.changed()


def _add_role(store: Store, clock: Clock) -> None:
    now = clock.time()
    store.roles.add(
        Role(
            account=ACCOUNT,
            name=DEFAULT_ROLE,
            id=names.new_unique_id("AROA"),
            description="The role of instances for which none is named.",
            trust_policy=TRUST,
            tags={},
            created_at=now,
        )
    )
    store.profiles.add(
        InstanceProfile(
            account=ACCOUNT,
            name=DEFAULT_ROLE,
            id=names.new_unique_id("AIPA"),
            role_name=DEFAULT_ROLE,
            tags={},
            created_at=now,
        )
    )
    store.policies.add(
        PolicyRecord(
            account=ACCOUNT,
            name=DEFAULT_POLICY,
            id=names.new_unique_id("ANPA"),
            document=_DOCUMENT,
            description="Lets an instance use its accelerators.",
            created_at=now,
            updated_at=now,
        )
    )
    store.attachments.add(
        Attachment(account=ACCOUNT, policy=DEFAULT_POLICY, kind=records.ROLE, name=DEFAULT_ROLE)
    )
