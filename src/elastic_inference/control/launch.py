"""Making instances and their accelerators: what is asked for, checked, placed and written down."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.catalog import AcceleratorType, Catalog
from elastic_inference.control import names, records
from elastic_inference.control.clock import Clock
from elastic_inference.control.network import Network
from elastic_inference.control.records import Accelerator, Instance
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    ConflictError,
    InsufficientCapacityError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)
from elastic_inference.fleet.base import Fleet, Placement
from elastic_inference.protocol import tokens
from elastic_inference.settings import PoolSettings

_MAX_NAME = 128
_MAX_TAGS = 50
# What AWS's services give by themselves.
_NOT_COUNTED = "aws:"
DEFAULT_ROLE = "elastic-inference"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """An instance that is wanted.

    Attributes:
        accelerator_types: names of the catalogue, one for each accelerator.
        provider: see `records.Instance`.
        client_token: a repeated request with the same token means the same instance.
        lease_seconds: terminate it when no `keep_alive` comes for so long; None: never.
        role_name: whose credentials it has; None: the pool's default role, "": none.
        subnet_id, group_ids: where it is; None: the default ones.
        user_data: a script for its first boot.
        host: what a registered host says of itself.
        ec2: see `records.Instance`.
    """

    accelerator_types: Sequence[str] = ()
    provider: str = records.COMMAND
    account: str = records.ACCOUNT
    client_token: str | None = None
    lease_seconds: float | None = None
    name: str = ""
    role_name: str | None = None
    subnet_id: str | None = None
    group_ids: Sequence[str] | None = None
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    ec2: Mapping[str, Any] = field(default_factory=dict)


class Launcher:
    """Writes instances and accelerators down, with their places in the fleet reserved."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        network: Network,
        catalog: Catalog,
        settings: PoolSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._network = network
        self._catalog = catalog
        self._settings = settings
        self._clock = clock
        # Two requests with one client token must not both find that there is none yet.
        self._lock = threading.Lock()

    def launch(self, request: LaunchRequest) -> tuple[Instance, bool]:
        """The instance for a request, pending, and whether it is new.

        Raises:
            InvalidRequestError, NotFoundError: the request is not one.
            ConflictError: its client token was used for something else.
            InsufficientCapacityError: no node has room for its accelerators.
        """
        types = self._types(request)
        check_tags(request.tags)
        with self._lock:
            known = request.client_token and self._store.instance_by_token(
                request.account, request.client_token
            )
            if known:
                self._check_same(known, request, types)
                return known, False
            return self._make([request], types, 1)[0], True

    def launch_all(
        self, requests: Sequence[LaunchRequest], least: int
    ) -> tuple[list[Instance], bool]:
        """Instances for as many requests as there is room for, and whether they are new.

        Args:
            requests: alike, but for their client tokens and their own `ec2`.
            least: fewer than so many are not made; then there are none.

        Returns:
            New ones are pending. Those of an earlier call with the same client tokens are as they
            are now; whether that call was the same is the caller's to see.

        Raises:
            InvalidRequestError, NotFoundError: the requests are none.
            InsufficientCapacityError: no node has room.
            LimitExceededError: the subnet has no addresses left.
        """
        types = self._types(requests[0])
        check_tags(requests[0].tags)
        tokens_given = [each.client_token for each in requests if each.client_token]
        columns = self._store.instances.columns
        with self._lock:
            known = tokens_given and self._store.instances.where(
                columns.account == requests[0].account,
                columns.client_token.in_(tokens_given),
                order=(columns.created_at, columns.id),
            )
            if known:
                return known, False
            return self._make(requests, types, least), True

    def check(self, request: LaunchRequest) -> None:
        """Raise what `launch` would raise of the request itself."""
        self._types(request)
        check_tags(request.tags)
        if request.role_name and self._store.roles.get(request.account, request.role_name) is None:
            raise _no_role(request.role_name)
        self._network.check_seat(request.account, request.subnet_id, request.group_ids)

    def types(self, names: Sequence[str]) -> list[AcceleratorType]:
        """The types of those names.

        Raises:
            InvalidRequestError: there is no such type.
        """
        return [self._catalog.get(name) for name in names]

    def add_accelerators(
        self, instance: Instance, types: Sequence[AcceleratorType], **changes: Any
    ) -> list[Accelerator]:
        """Accelerators for an instance that is there, associating; all of them or none.

        Args:
            changes: of the instance, in the same transaction.

        Raises:
            InsufficientCapacityError: no node has room.
        """
        placements = self._place(types)
        try:
            with self._store.transaction():
                made = self._add(instance, types, placements)
                if changes:
                    self._store.set_instance(instance.id, **changes)
        except BaseException:
            self._release(placements)
            raise
        return made

    def _types(self, request: LaunchRequest) -> list[AcceleratorType]:
        most = self._settings.max_accelerators
        least = 1 if request.provider == records.COMMAND else 0
        if not least <= len(request.accelerator_types) <= most:
            raise InvalidRequestError(
                f"An instance has from {least} to {most} accelerators,"
                f" not {len(request.accelerator_types)}.",
                next_step="Name as many types; the limit is EI_MAX_ACCELERATORS.",
            )
        return self.types(request.accelerator_types)

    @staticmethod
    def _check_same(
        known: Instance, request: LaunchRequest, types: Sequence[AcceleratorType]
    ) -> None:
        if known.accelerator_types != tuple(each.name for each in types):
            raise ConflictError("This client token was used for other accelerator types.")
        if (known.provider, known.name) != (request.provider, request.name[:_MAX_NAME]):
            raise ConflictError("This client token was used for another instance.")

    def _make(
        self, requests: Sequence[LaunchRequest], types: Sequence[AcceleratorType], least: int
    ) -> list[Instance]:
        places = self._place_some(types, len(requests), least)
        made: list[Instance] = []
        try:
            with self._store.transaction():
                for request, placements in zip(requests, places, strict=False):
                    try:
                        instance = self._instance(request, types)
                    except LimitExceededError:
                        if len(made) < least:
                            raise
                        break
                    self._store.instances.add(instance)
                    self._add(instance, types, placements)
                    made.append(instance)
        except BaseException:
            made = []
            raise
        finally:
            for placements in places[len(made) :]:
                self._release(placements)
        return made

    def _place_some(
        self, types: Sequence[AcceleratorType], count: int, least: int
    ) -> list[list[Placement]]:
        """Places for the accelerators of `count` instances, of `least` at the least."""
        places: list[list[Placement]] = []
        try:
            while len(places) < count:
                places.append(self._place(types))
        except InsufficientCapacityError:
            if len(places) < least:
                for placements in places:
                    self._release(placements)
                raise
        except BaseException:
            for placements in places:
                self._release(placements)
            raise
        return places

    def _instance(self, request: LaunchRequest, types: Sequence[AcceleratorType]) -> Instance:
        role = DEFAULT_ROLE if request.role_name is None else request.role_name
        if request.role_name and self._store.roles.get(request.account, role) is None:
            raise _no_role(role)
        seat = self._network.seat(request.account, request.subnet_id, request.group_ids)
        return Instance(
            id=names.new_id("i"),
            account=request.account,
            name=request.name[:_MAX_NAME],
            provider=request.provider,
            state=records.PENDING,
            client_token=request.client_token,
            accelerator_types=tuple(each.name for each in types),
            lease_seconds=request.lease_seconds,
            role_name=role,
            subnet_id=seat.subnet_id,
            group_ids=seat.group_ids,
            private_ip=seat.private_ip,
            user_data=request.user_data,
            tags=dict(request.tags),
            host=dict(request.host),
            ec2=dict(request.ec2),
            created_at=self._clock.time(),
        )

    def _add(
        self, instance: Instance, types: Sequence[AcceleratorType], placements: Sequence[Placement]
    ) -> list[Accelerator]:
        made = []
        for number, (type_, placement) in enumerate(zip(types, placements, strict=True)):
            accelerator = Accelerator(
                id=names.new_accelerator_id(),
                type=type_.name,
                account=instance.account,
                instance_id=instance.id,
                association_id=names.new_id("eia-assoc"),
                state=records.ASSOCIATING,
                token_key=secrets.token_bytes(tokens.KEY_BYTES),
                placement=placement.to_dict(),
                health_at=self._clock.time(),
                tags=dict(instance.tags),
                # The order of attachment is the order of these.
                created_at=self._clock.time() + number * 1e-6,
            )
            self._store.accelerators.add(accelerator)
            made.append(accelerator)
        return made

    def _place(self, types: Sequence[AcceleratorType]) -> list[Placement]:
        placements: list[Placement] = []
        try:
            placements.extend(self._fleet.place(each) for each in types)
        except BaseException:
            self._release(placements)
            raise
        return placements

    def _release(self, placements: Sequence[Placement]) -> None:
        for placement in placements:
            self._fleet.release(placement)


def _no_role(name: str) -> NotFoundError:
    return NotFoundError(
        f"There is no role {name[:64]!r}.", next_step="ei access role list shows them."
    )


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that AWS would refuse.

    Raises:
        InvalidRequestError: too many, or a key or value that is too long.
    """
    own = sum(not key.startswith(_NOT_COUNTED) for key in tags)
    if own > _MAX_TAGS:
        raise InvalidRequestError(f"There may be {_MAX_TAGS} tags, not {own}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise InvalidRequestError(
                f"The tag {key[:64]!r} is not one: keys have up to 128 characters, values 256."
            )
