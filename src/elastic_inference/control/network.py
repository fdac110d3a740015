"""Networks, subnets, security groups and endpoints, and what they keep an instance from."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from elastic_inference.control import names, network_rules
from elastic_inference.control.clock import Clock
from elastic_inference.control.network_input import parse_subnet_cidr, parse_vpc_cidr
from elastic_inference.control.network_rules import Obstacle
from elastic_inference.control.network_users import DEFAULT_GROUP
from elastic_inference.control.records import (
    EndpointRecord,
    GroupRecord,
    Instance,
    RuleRecord,
    SubnetRecord,
    VpcRecord,
)
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)
from elastic_inference.settings import PoolSettings

HTTPS = 443
MAX_ENDPOINT_POLICY = 20_480  # characters
# The first addresses of a subnet are AWS's own, the last is for broadcasts.
FIRST_HOST = 4
_MAX_GROUPS = 16


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a new instance is."""

    subnet_id: str
    group_ids: tuple[str, ...]
    private_ip: str


@dataclass(frozen=True, slots=True)
class _Snapshot:
    subnets: dict[str, network_rules.Subnet]
    groups: dict[str, network_rules.SecurityGroup]
    endpoints: tuple[network_rules.Endpoint, ...]
    # By seat, whether something keeps it from the endpoint.
    cut_off: dict[Seat, bool] = field(default_factory=dict)


class Network:
    """The networks of a pool. What changes them is in a transaction of the caller's."""

    def __init__(self, store: Store, settings: PoolSettings, clock: Clock) -> None:
        self._store = store
        self._region = settings.region
        self._clock = clock
        # What Connect looks at each time; made anew after a change.
        self._snapshot: _Snapshot | None = None
        self._changes = 0
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def service(self) -> str:
        """The name of the endpoint's service, as AWS has it."""
        return f"com.amazonaws.{self._region}.elastic-inference.runtime"

    @property
    def zone(self) -> str:
        """The one availability zone of a pool."""
        return f"{self._region}a"

    def changed(self) -> None:
        """Something of it was changed in the store."""
        with self._lock:
            self._changes += 1
            self._snapshot = None

    @contextlib.contextmanager
    def anew(self) -> Iterator[None]:
        """In a transaction: what this thread asks is answered by what the transaction has changed.

        The others read what it was before meanwhile.
        """
        self._local.own = []
        try:
            yield
        finally:
            self._local.own = None

    def obstacles(self, instance: Instance) -> list[Obstacle]:
        """What keeps an instance from the pool's endpoint, and what else is to be known."""
        seat = Seat(instance.subnet_id, instance.group_ids, instance.private_ip)
        return self._obstacles(self._current(), seat)

    def is_cut_off(self, seat: Seat) -> bool:
        """Whether something keeps an instance there from the endpoint; cheap to ask again."""
        snapshot = self._current()
        known = snapshot.cut_off.get(seat)
        if known is None:
            known = any(each.blocking for each in self._obstacles(snapshot, seat))
            snapshot.cut_off[seat] = known
        return known

    def _obstacles(self, snapshot: _Snapshot, seat: Seat) -> list[Obstacle]:
        subnet = snapshot.subnets.get(seat.subnet_id)
        if subnet is None:
            return [
                Obstacle(
                    "no-subnet",
                    f"The subnet {seat.subnet_id} of the instance is gone.",
                    "Terminate the instance and launch it in another subnet.",
                )
            ]
        return network_rules.obstacles(
            subnet,
            seat.group_ids,
            seat.private_ip,
            snapshot.endpoints,
            snapshot.groups,
            port=HTTPS,
            service=self.service,
        )

    def policies(self, instance: Instance) -> dict[str, str] | None:
        """The policies of the endpoints that an instance reaches, by their ids.

        None: it reaches one that has none, which lets everything through, or no endpoint at all.
        """
        snapshot = self._current()
        subnet = snapshot.subnets.get(instance.subnet_id)
        if subnet is None or not any(each.policy for each in snapshot.endpoints):
            return None
        reached = network_rules.reached(
            subnet,
            instance.group_ids,
            instance.private_ip,
            snapshot.endpoints,
            snapshot.groups,
            port=HTTPS,
            service=self.service,
        )
        found = {each.id: each.policy for each in reached if each.policy}
        return found if found and len(found) == len(reached) else None

    def seat(self, account: str, subnet_id: str | None, group_ids: Sequence[str] | None) -> Seat:
        """A place for a new instance, in a transaction: its subnet, its groups, an address.

        Raises:
            NotFoundError: there is no such subnet or group.
            InvalidRequestError: they are of different networks.
            LimitExceededError: the subnet has no address left.
        """
        subnet = self._subnet(account, subnet_id)
        groups = self._groups(subnet, group_ids)
        network = ipaddress.ip_network(subnet.cidr)
        taken = {
            each.private_ip
            for each in self._store.instances.where(
                self._store.instances.columns.subnet_id == subnet.id,
                self._store.instances.columns.state != "terminated",
            )
        }
        usable = network.num_addresses - FIRST_HOST - 1
        for step in range(usable):
            number = FIRST_HOST + (subnet.next_host - FIRST_HOST + step) % usable
            address = str(network[number])
            if address not in taken:
                self._store.subnets.change(
                    self._store.subnets.columns.id == subnet.id, next_host=number + 1
                )
                return Seat(subnet.id, tuple(each.id for each in groups), address)
        raise LimitExceededError(
            f"The subnet {subnet.id} has no address left.", next_step="Take another subnet."
        )

    def check_seat(
        self, account: str, subnet_id: str | None, group_ids: Sequence[str] | None
    ) -> None:
        """Raise what `seat` would raise of its arguments."""
        self._groups(self._subnet(account, subnet_id), group_ids)

    def _subnet(self, account: str, subnet_id: str | None) -> SubnetRecord:
        columns = self._store.subnets.columns
        if subnet_id is None:
            found = self._store.subnets.first(columns.account == account, columns.is_default)
        else:
            found = self._store.subnets.first(columns.account == account, columns.id == subnet_id)
        if found is None:
            raise missing("subnet", subnet_id or "(the default one)")
        return found

    def _groups(self, subnet: SubnetRecord, ids: Sequence[str] | None) -> list[GroupRecord]:
        columns = self._store.groups.columns
        if ids is None:
            return self._store.groups.where(
                columns.vpc_id == subnet.vpc_id, columns.name == DEFAULT_GROUP
            )
        if not 1 <= len(ids) <= _MAX_GROUPS:
            raise InvalidRequestError(f"An instance has from 1 to {_MAX_GROUPS} security groups.")
        found = []
        for each in dict.fromkeys(ids):
            group = self._store.groups.get(each)
            if group is None:
                raise missing("security group", each)
            if group.vpc_id != subnet.vpc_id:
                raise InvalidRequestError(
                    f"The security group {each} is not of the network of the subnet {subnet.id}."
                )
            found.append(group)
        return found

    # -- changes: each in a transaction of the caller's -------------------------------------------

    def create_vpc(self, account: str, cidr: str, *, is_default: bool = False) -> VpcRecord:
        """A network with its default security group."""
        vpc = VpcRecord(
            id=names.new_id("vpc"),
            account=account,
            cidr=parse_vpc_cidr(cidr),
            is_default=is_default,
            dns_support=True,
            dns_hostnames=True,
            tags={},
            created_at=self._clock.time(),
        )
        self._store.vpcs.add(vpc)
        group = self.create_group(account, vpc.id, DEFAULT_GROUP, "default VPC security group")
        self.add_rule(group.id, "ingress", "-1", 0, 65535, source_group=group.id)
        return vpc

    def create_subnet(
        self, account: str, vpc_id: str, cidr: str, zone: str | None, *, is_default: bool = False
    ) -> SubnetRecord:
        vpc = self._store.vpcs.get(vpc_id)
        if vpc is None:
            raise missing("network", vpc_id)
        columns = self._store.subnets.columns
        others = [
            network_rules.Subnet(each.id, each.vpc_id, each.cidr)
            for each in self._store.subnets.where(columns.vpc_id == vpc_id)
        ]
        network = parse_subnet_cidr(cidr, network_rules.Vpc(vpc.id, vpc.cidr), others)
        subnet = SubnetRecord(
            id=names.new_id("subnet"),
            account=account,
            vpc_id=vpc_id,
            cidr=network,
            zone=zone or self.zone,
            is_default=is_default,
            next_host=FIRST_HOST,
            tags={},
            created_at=self._clock.time(),
        )
        self._store.subnets.add(subnet)
        return subnet

    def create_group(self, account: str, vpc_id: str, name: str, description: str) -> GroupRecord:
        """A security group that lets everything out and nothing in."""
        if self._store.vpcs.get(vpc_id) is None:
            raise missing("network", vpc_id)
        columns = self._store.groups.columns
        if self._store.groups.first(columns.vpc_id == vpc_id, columns.name == name):
            raise ConflictError(f"The network {vpc_id} has a security group {name!r} already.")
        group = GroupRecord(
            id=names.new_id("sg"),
            account=account,
            vpc_id=vpc_id,
            name=name,
            description=description,
            tags={},
            created_at=self._clock.time(),
        )
        self._store.groups.add(group)
        self.add_rule(group.id, "egress", "-1", 0, 65535, cidr="0.0.0.0/0")
        return group

    def add_rule(
        self,
        group_id: str,
        direction: str,
        protocol: str,
        from_port: int,
        to_port: int,
        *,
        cidr: str = "",
        source_group: str = "",
        description: str = "",
    ) -> RuleRecord:
        """A rule of a group, from values that were checked (`network_rules.parse_rule`)."""
        for each in (group_id, source_group):
            if each and self._store.groups.get(each) is None:
                raise missing("security group", each)
        columns = self._store.rules.columns
        rule = RuleRecord(
            id=names.new_id("sgr"),
            group_id=group_id,
            direction=direction,
            protocol=protocol,
            from_port=from_port,
            to_port=to_port,
            cidr=cidr,
            source_group=source_group,
            description=description,
        )
        same = self._store.rules.first(
            columns.group_id == group_id,
            columns.direction == direction,
            columns.protocol == protocol,
            columns.from_port == from_port,
            columns.to_port == to_port,
            columns.cidr == cidr,
            columns.source_group == source_group,
        )
        if same is not None:
            raise ConflictError(f"The security group {group_id} has that rule already: {same.id}.")
        self._store.rules.add(rule)
        return rule

    def create_endpoint(
        self,
        account: str,
        vpc_id: str,
        subnet_ids: Sequence[str],
        group_ids: Sequence[str],
        *,
        endpoint_id: str | None = None,
        private_dns: bool = True,
        policy: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> EndpointRecord:
        self.check_endpoint(vpc_id, subnet_ids, group_ids)
        endpoint = EndpointRecord(
            id=endpoint_id or names.new_id("vpce"),
            account=account,
            vpc_id=vpc_id,
            service=self.service,
            state=network_rules.AVAILABLE,
            private_dns=private_dns,
            subnet_ids=tuple(subnet_ids),
            group_ids=tuple(group_ids),
            policy=policy,
            tags=tags or {},
            created_at=self._clock.time(),
        )
        self._store.endpoints.add(endpoint)
        return endpoint

    def check_endpoint(
        self, vpc_id: str, subnet_ids: Sequence[str], group_ids: Sequence[str]
    ) -> None:
        """Refuse subnets and groups that are not those of a network."""
        if self._store.vpcs.get(vpc_id) is None:
            raise missing("network", vpc_id)
        for what, table, ids in (
            ("subnet", self._store.subnets, subnet_ids),
            ("security group", self._store.groups, group_ids),
        ):
            for each in ids:
                found = table.get(each)
                if found is None or found.vpc_id != vpc_id:
                    raise missing(what, each)

    def _current(self) -> _Snapshot:
        own: list[_Snapshot] | None = getattr(self._local, "own", None)
        if own is not None:
            if not own:
                own.append(self._read())
            return own[0]
        snapshot, changes = self._snapshot, self._changes
        if snapshot is None:
            snapshot = self._read()
            with self._lock:
                # What was read before a change must not outlive it.
                if changes == self._changes:
                    self._snapshot = snapshot
        return snapshot

    def _read(self) -> _Snapshot:
        rules: dict[str, list[network_rules.Rule]] = {}
        for each in self._store.rules.where():
            rules.setdefault(each.group_id, []).append(
                network_rules.Rule(
                    direction="ingress" if each.direction == "ingress" else "egress",
                    protocol=each.protocol,
                    from_port=each.from_port,
                    to_port=each.to_port,
                    cidr=each.cidr,
                    source_group=each.source_group,
                    id=each.id,
                )
            )
        lacks = {each.id: _dns_lacks(each) for each in self._store.vpcs.where()}
        return _Snapshot(
            {
                each.id: network_rules.Subnet(each.id, each.vpc_id, each.cidr, each.zone)
                for each in self._store.subnets.where()
            },
            {
                each.id: network_rules.SecurityGroup(
                    each.id, each.vpc_id, each.name, tuple(rules.get(each.id, ()))
                )
                for each in self._store.groups.where()
            },
            tuple(
                network_rules.Endpoint(
                    each.id,
                    each.vpc_id,
                    each.subnet_ids,
                    each.group_ids,
                    each.state,
                    each.private_dns,
                    each.service,
                    policy=each.policy,
                    dns_lacks=lacks.get(each.vpc_id, ""),
                )
                for each in self._store.endpoints.where()
            ),
        )


def _dns_lacks(vpc: VpcRecord) -> str:
    if not vpc.dns_support:
        return "enableDnsSupport"
    return "" if vpc.dns_hostnames else "enableDnsHostnames"


def missing(what: str, name: str) -> NotFoundError:
    """The error of who names something that is not there."""
    return NotFoundError(
        f"There is no {what} {name[:64]!r}.", next_step="ei network shows what there is."
    )
