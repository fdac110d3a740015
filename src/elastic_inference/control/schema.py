"""The tables of the control plane's database, for SQLite and PostgreSQL alike.

Times are Unix seconds. `migrations/` makes a database of an earlier version one of this; a test
compares what it makes with what is declared here.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# The newest revision of `migrations/versions`.
HEAD = "0002"

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


def _text(
    name: str, *, key: bool = False, optional: bool = False, index: bool = False
) -> Column[str]:
    return Column(name, String, primary_key=key, nullable=optional, index=index)


def _time(name: str, *, optional: bool = False) -> Column[float]:
    return Column(name, Float(53), nullable=optional)


def _json(name: str, *, optional: bool = False, default: str | None = None) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=optional, server_default=default)


settings = Table(
    "settings", metadata, _text("name", key=True), Column("value", Text, nullable=False)
)

accounts = Table("accounts", metadata, _text("id", key=True), _time("created_at"))

nodes = Table(
    "nodes", metadata,
    _text("id", key=True), Column("best_effort", Boolean, nullable=False), _json("devices"),
    _time("seen_at"),
)  # fmt: skip

vpcs = Table(
    "vpcs", metadata,
    _text("id", key=True), _text("account"), _text("cidr"),
    Column("is_default", Boolean, nullable=False),
    Column("dns_support", Boolean, nullable=False),
    Column("dns_hostnames", Boolean, nullable=False),
    _json("tags"), _time("created_at"),
)  # fmt: skip

subnets = Table(
    "subnets", metadata,
    _text("id", key=True), _text("account"),
    Column("vpc_id", String, ForeignKey("vpcs.id"), nullable=False),
    _text("cidr"), _text("zone"), Column("is_default", Boolean, nullable=False),
    Column("next_host", Integer, nullable=False), _json("tags"), _time("created_at"),
)  # fmt: skip

security_groups = Table(
    "security_groups", metadata,
    _text("id", key=True), _text("account"),
    Column("vpc_id", String, ForeignKey("vpcs.id"), nullable=False),
    _text("name"), _text("description"), _json("tags"), _time("created_at"),
    UniqueConstraint("vpc_id", "name"),
)  # fmt: skip

security_group_rules = Table(
    "security_group_rules", metadata,
    _text("id", key=True),
    Column("group_id", String, ForeignKey("security_groups.id"), nullable=False, index=True),
    _text("direction"), _text("protocol"),
    Column("from_port", Integer, nullable=False), Column("to_port", Integer, nullable=False),
    _text("cidr"), _text("source_group"), _text("description"),
)  # fmt: skip

endpoints = Table(
    "endpoints", metadata,
    _text("id", key=True), _text("account"),
    Column("vpc_id", String, ForeignKey("vpcs.id"), nullable=False),
    _text("service"), _text("state"), Column("private_dns", Boolean, nullable=False),
    _json("subnet_ids"), _json("group_ids"), Column("policy", Text), _json("tags"),
    _time("created_at"),
)  # fmt: skip

users = Table(
    "users", metadata,
    _text("account", key=True), _text("name", key=True), _text("id"), _json("tags"),
    _time("created_at"),
)  # fmt: skip

roles = Table(
    "roles", metadata,
    _text("account", key=True), _text("name", key=True), _text("id"), _text("description"),
    Column("trust_policy", Text, nullable=False),
    Column("max_session", Integer, nullable=False, server_default="3600"),
    _json("tags"), _time("created_at"),
)  # fmt: skip

# What gives a role to an instance, as EC2 and IAM call it.
instance_profiles = Table(
    "instance_profiles", metadata,
    _text("account", key=True), _text("name", key=True), _text("id"),
    _text("role_name", optional=True), _json("tags"), _time("created_at"),
)  # fmt: skip

# `document` is that of the default version.
policies = Table(
    "policies", metadata,
    _text("account", key=True), _text("name", key=True), _text("id"),
    Column("document", Text, nullable=False),
    Column("default_version", Integer, nullable=False, server_default="1"),
    Column("latest_version", Integer, nullable=False, server_default="1"),
    _text("description"), _json("tags", default="{}"), _time("created_at"), _time("updated_at"),
)  # fmt: skip

# The versions of a policy, but for the first one where there is no other.
policy_versions = Table(
    "policy_versions", metadata,
    _text("account", key=True), _text("policy", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False), _time("created_at"),
)  # fmt: skip

# A policy inside a user or role.
inline_policies = Table(
    "inline_policies", metadata,
    _text("account", key=True), _text("kind", key=True), _text("name", key=True),
    _text("policy", key=True), Column("document", Text, nullable=False),
)  # fmt: skip

# A policy that a user or role has.
attachments = Table(
    "attachments", metadata,
    _text("account", key=True), _text("policy", key=True), _text("kind", key=True),
    _text("name", key=True),
    Index("attachments_by_principal", "account", "kind", "name"),
)  # fmt: skip

identity_mappings = Table(
    "identity_mappings", metadata,
    _text("account", key=True), _text("aws_arn", key=True), _text("role_name"),
)  # fmt: skip

access_keys = Table(
    "access_keys", metadata,
    _text("id", key=True), _text("secret"), _text("account"), _text("kind"), _text("name"),
    _text("session", optional=True), _text("session_token", optional=True),
    _text("instance_id", optional=True, index=True), _text("status"), _time("created_at"),
    _time("expires_at", optional=True),
)  # fmt: skip

join_tokens = Table(
    "join_tokens", metadata,
    _text("id", key=True), _text("account"), _json("launch"), _time("expires_at"),
    _text("instance_id", optional=True),
)  # fmt: skip

instances = Table(
    "instances", metadata,
    _text("id", key=True), _text("account"), _text("name"), _text("provider"),
    _text("state", index=True), _text("state_reason"), _text("client_token", optional=True),
    _json("accelerator_types"), Column("lease_seconds", Float(53)), _text("role_name"),
    _text("subnet_id"), _json("group_ids"), _text("private_ip"),
    Column("user_data", Text, nullable=False), Column("booted", Boolean, nullable=False),
    _json("tags"), _json("place"), _json("host"),
    _json("ec2", default="{}"), _time("created_at"),
    _time("launched_at", optional=True), _time("ended_at", optional=True),
    _time("seen_at", optional=True),
    UniqueConstraint("account", "client_token"),
)  # fmt: skip

# An accelerator and its association with an instance.
accelerators = Table(
    "accelerators", metadata,
    _text("id", key=True), _text("type"), _text("account"),
    Column("instance_id", String, ForeignKey("instances.id"), nullable=False, index=True),
    Column("association_id", String, nullable=False, unique=True), _text("state"),
    Column("token_key", LargeBinary, nullable=False), _json("placement"), _text("health"),
    _text("health_reason"), _time("health_at"), _json("tags"), _time("created_at"),
    Column("own_port", Integer),
)  # fmt: skip

# Who was let connect: what a data-plane token refers to, so that it can be withdrawn.
rights = Table(
    "rights", metadata,
    _text("id", key=True), _text("accelerator_id", index=True), _text("access_key_id", index=True),
    _text("principal"), _json("context"), _time("expires_at"),
    Column("revoked", Boolean, nullable=False),
    Index("rights_by_expiry", "expires_at"),
)  # fmt: skip

nonces = Table(
    "nonces", metadata, _text("id", key=True), Column("expires_at", Float(53), index=True)
)

# Time that an accelerator is billed for: from `began_at`, `seconds` long. While it is open it
# grows by what CLOCK_MONOTONIC of that boot has passed since `mark`.
usage = Table(
    "usage", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _text("account"), _text("accelerator_id", index=True), _text("accelerator_type"),
    _text("instance_id"), _json("tags"), _time("began_at"), _time("seconds"),
    Column("open", Boolean, nullable=False), _text("boot_id"), _time("mark"),
    Index("usage_by_open", "open"),
)  # fmt: skip

prices = Table(
    "prices", metadata,
    _text("accelerator_type", key=True),
    Column("effective_from", Float(53), primary_key=True),
    Column("price_per_hour", Float(53), nullable=False),
)  # fmt: skip

key_pairs = Table(
    "key_pairs", metadata,
    _text("id", key=True), _text("account"), _text("name"), _text("type"), _text("fingerprint"),
    Column("public_key", Text, nullable=False), _json("tags"), _time("created_at"),
    UniqueConstraint("account", "name"),
)  # fmt: skip

launch_templates = Table(
    "launch_templates", metadata,
    _text("id", key=True), _text("account"), _text("name"), _text("created_by"),
    Column("default_version", Integer, nullable=False),
    Column("latest_version", Integer, nullable=False), _json("tags"), _time("created_at"),
    UniqueConstraint("account", "name"),
)  # fmt: skip

# `data` as EC2's API describes it.
launch_template_versions = Table(
    "launch_template_versions", metadata,
    _text("template_id", key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _text("description"), _text("created_by"), _json("data"), _time("created_at"),
)  # fmt: skip

scaling_groups = Table(
    "scaling_groups", metadata,
    _text("account", key=True), _text("name", key=True), _text("id"),
    Column("least", Integer, nullable=False), Column("most", Integer, nullable=False),
    Column("desired", Integer, nullable=False), _json("settings"), _json("state"), _json("tags"),
    _time("created_at"),
)  # fmt: skip

# An instance of a group, in the group's words.
scaling_members = Table(
    "scaling_members", metadata,
    _text("instance_id", key=True), _text("account"), _text("group_name", index=True),
    _text("lifecycle"), _text("health"), Column("protected", Boolean, nullable=False),
    _json("template"), _time("created_at"),
)  # fmt: skip

scaling_policies = Table(
    "scaling_policies", metadata,
    _text("account", key=True), _text("group_name", key=True), _text("name", key=True),
    _text("id"), _json("settings"), _json("state"), _time("created_at"),
)  # fmt: skip

scaling_activities = Table(
    "scaling_activities", metadata,
    _text("id", key=True), _text("account"), _text("group_name", index=True), _text("status"),
    _text("description"), Column("cause", Text, nullable=False), _text("message"),
    _json("details"), _time("created_at"), _time("ended_at", optional=True),
)  # fmt: skip

# A metric with its dimensions; the id is made of these.
metric_series = Table(
    "metric_series", metadata,
    _text("id", key=True), _text("account"), _text("namespace"), _text("name"),
    _json("dimensions"), _text("unit"), _time("created_at"), _time("seen_at"),
    Index("metric_series_by_name", "account", "namespace", "name"),
)  # fmt: skip

# What was measured in a stretch of time, packed: see `control.metrics`.
metric_chunks = Table(
    "metric_chunks", metadata,
    _text("series_id", key=True),
    Column("began_at", Integer, primary_key=True, autoincrement=False),
    Column("points", LargeBinary, nullable=False),
    Index("metric_chunks_by_time", "began_at"),
)  # fmt: skip
