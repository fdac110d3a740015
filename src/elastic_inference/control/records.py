"""What the control plane keeps, as values: a dataclass for each table, its fields the columns.

Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACCOUNT = "000000000000"

# States of an instance.
PENDING = "pending"
RUNNING = "running"
STOPPING = "stopping"
STOPPED = "stopped"
SHUTTING_DOWN = "shutting-down"
TERMINATED = "terminated"

# States of an association of an accelerator with an instance.
ASSOCIATING = "associating"
ASSOCIATED = "associated"
DISASSOCIATING = "disassociating"

# Where an instance runs: under `ei run`, in a place of its own on this machine, on its own host.
COMMAND = "command"
LOCAL = "local"
HOST = "host"

# Whose an access key is.
OWNER = "owner"
USER = "user"
ROLE = "role"
REGISTERED = "host"

ACTIVE = "Active"
INACTIVE = "Inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node as it was last seen; `devices` as the API shows them."""

    id: str
    best_effort: bool
    devices: tuple[Mapping[str, Any], ...]
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcRecord:
    id: str
    account: str
    cidr: str
    is_default: bool
    dns_support: bool
    dns_hostnames: bool
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetRecord:
    """A subnet; `next_host` is the number of the next address that it gives."""

    id: str
    account: str
    vpc_id: str
    cidr: str
    zone: str
    is_default: bool
    next_host: int
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    id: str
    account: str
    vpc_id: str
    name: str
    description: str
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRecord:
    """A rule of a security group; one of `cidr` and `source_group` is ""."""

    id: str
    group_id: str
    direction: str
    protocol: str
    from_port: int
    to_port: int
    cidr: str
    source_group: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord:
    id: str
    account: str
    vpc_id: str
    service: str
    state: str
    private_dns: bool
    subnet_ids: tuple[str, ...]
    group_ids: tuple[str, ...]
    policy: str | None
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    account: str
    name: str
    id: str
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    account: str
    name: str
    id: str
    description: str
    trust_policy: str
    tags: Mapping[str, str]
    created_at: float
    max_session: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceProfile:
    """What gives a role to an instance; None: it has none yet."""

    account: str
    name: str
    id: str
    role_name: str | None
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A policy; `document` is that of its default version."""

    account: str
    name: str
    id: str
    document: str
    description: str
    created_at: float
    updated_at: float
    default_version: int = 1
    latest_version: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """A version of a policy, if that has or had several."""

    account: str
    policy: str
    version: int
    document: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InlinePolicy:
    """A policy inside the user or role (`kind`) of that name."""

    account: str
    kind: str
    name: str
    policy: str
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A policy that a user or role (`kind`) of that name has."""

    account: str
    policy: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityMapping:
    """Which role a real AWS identity has; `aws_arn` may have wildcards."""

    account: str
    aws_arn: str
    role_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """Credentials.

    Attributes:
        kind: OWNER (may do everything), USER, ROLE (a session) or REGISTERED (a host's own,
            which only tells it what it is).
        name: of the user or role; "" for the others.
        session: the name of the role's session.
        session_token: must come with each signed request, where there is one.
        instance_id: the instance that these are for; with its end they end.
        expires_at: None: never.
    """

    id: str
    secret: str = field(repr=False)
    account: str = ACCOUNT
    kind: str = OWNER
    name: str = ""
    session: str | None = None
    session_token: str | None = field(default=None, repr=False)
    instance_id: str | None = None
    status: str = ACTIVE
    created_at: float = 0.0
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """What lets one host register.

    Attributes:
        id: SHA-256 of the secret, hex.
        launch: how its instance is made: the fields of RunInstance.
        instance_id: the instance that came of it; None while it is unused.
    """

    id: str
    account: str
    launch: Mapping[str, Any]
    expires_at: float
    instance_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Whatever owns accelerators.

    Attributes:
        provider: COMMAND, LOCAL or HOST.
        state_reason: why it came to its state, where that was not its user's wish.
        client_token: the caller's own name of the request that made it.
        accelerator_types: those that it starts with, in the order of attachment.
        lease_seconds: it is terminated after so long a silence; None: never.
        user_data: what runs at its first boot.
        booted: that has run.
        place: where it is, in the compute provider's words.
        host: what a registered host says of itself.
        ec2: what it was launched with, in the words of EC2's API.
        launched_at: the latest start.
        seen_at: when it was last heard of, for a registered host.
    """

    id: str
    account: str = ACCOUNT
    name: str = ""
    provider: str = COMMAND
    state: str = PENDING
    state_reason: str = ""
    client_token: str | None = None
    accelerator_types: tuple[str, ...] = ()
    lease_seconds: float | None = None
    role_name: str = ""
    subnet_id: str = ""
    group_ids: tuple[str, ...] = ()
    private_ip: str = ""
    user_data: str = field(default="", repr=False)
    booted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    ec2: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    launched_at: float | None = None
    ended_at: float | None = None
    seen_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An accelerator and its association with an instance.

    Attributes:
        state: of the association.
        token_key: what tokens for it are signed with, 32 bytes.
        placement: where the fleet has it.
        health: ok, impaired or unknown, since `health_at`.
        own_port: the port of its own address; None while it has none.
    """

    id: str
    type: str
    account: str
    instance_id: str
    association_id: str
    state: str = ASSOCIATING
    token_key: bytes = field(repr=False)
    placement: Mapping[str, Any]
    health: str = "unknown"
    health_reason: str = ""
    health_at: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: float
    own_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """The right of a principal (an ARN, by one access key) to connect to an accelerator.

    Attributes:
        context: what policies may ask about the request that it was given for.
        expires_at: when the last token that refers to it expires.
    """

    id: str
    accelerator_id: str
    access_key_id: str
    principal: str
    context: Mapping[str, Any]
    expires_at: float
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonce:
    id: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Time that an accelerator is billed for; see `schema.usage`."""

    id: int | None = None
    account: str
    accelerator_id: str
    accelerator_type: str
    instance_id: str
    tags: Mapping[str, str]
    began_at: float
    seconds: float
    open: bool
    boot_id: str
    mark: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars an hour for a type, from a moment on."""

    accelerator_type: str
    effective_from: float
    price_per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    id: str
    account: str
    name: str
    type: str
    fingerprint: str
    public_key: str
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchTemplate:
    id: str
    account: str
    name: str
    created_by: str
    default_version: int = 1
    latest_version: int = 1
    tags: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchTemplateVersion:
    """A version of a launch template; `data` is EC2's RequestLaunchTemplateData."""

    template_id: str
    version: int
    description: str
    created_by: str
    data: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingGroup:
    """An Auto Scaling group.

    Attributes:
        least, most, desired: how many instances it has.
        settings: what it was made with, in the words of the API.
        state: what the scaler remembers.
        tags: by their keys; each `{"value": …, "propagate": …}`.
    """

    account: str
    name: str
    id: str
    least: int
    most: int
    desired: int
    settings: Mapping[str, Any]
    state: Mapping[str, Any]
    tags: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingMember:
    """An instance of an Auto Scaling group.

    Attributes:
        lifecycle: Pending, InService, Terminating, …: the API's words.
        health: Healthy or Unhealthy.
        protected: from scale in.
        template: the launch template and version that it came of.
    """

    instance_id: str
    account: str
    group_name: str
    lifecycle: str
    health: str
    protected: bool
    template: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    account: str
    group_name: str
    name: str
    id: str
    settings: Mapping[str, Any]
    state: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingActivity:
    id: str
    account: str
    group_name: str
    status: str
    description: str
    cause: str
    message: str
    details: Mapping[str, Any]
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """A metric with its dimensions, since `created_at`; the latest point came at `seen_at`."""

    id: str
    account: str
    namespace: str
    name: str
    dimensions: Mapping[str, str]
    unit: str
    created_at: float
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChunk:
    """What was measured in a stretch of time from `began_at` on, packed."""

    series_id: str
    began_at: int
    points: bytes
