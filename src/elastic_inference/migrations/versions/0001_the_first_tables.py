"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("session", sa.String(), nullable=True),
        sa.Column("session_token", sa.String(), nullable=True),
        sa.Column("instance_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("access_keys_pkey")),
    )
    with op.batch_alter_table("access_keys", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("access_keys_by_instance_id"), ["instance_id"], unique=False
        )

    op.create_table(
        "accounts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("accounts_pkey")),
    )
    op.create_table(
        "attachments",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("account", "policy", "kind", "name", name=op.f("attachments_pkey")),
    )
    with op.batch_alter_table("attachments", schema=None) as batch_op:
        batch_op.create_index("attachments_by_principal", ["account", "kind", "name"], unique=False)

    op.create_table(
        "identity_mappings",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("aws_arn", sa.String(), nullable=False),
        sa.Column("role_name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("account", "aws_arn", name=op.f("identity_mappings_pkey")),
    )
    op.create_table(
        "instances",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_reason", sa.String(), nullable=False),
        sa.Column("client_token", sa.String(), nullable=True),
        sa.Column("accelerator_types", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("lease_seconds", sa.Float(precision=53), nullable=True),
        sa.Column("role_name", sa.String(), nullable=False),
        sa.Column("subnet_id", sa.String(), nullable=False),
        sa.Column("group_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("private_ip", sa.String(), nullable=False),
        sa.Column("user_data", sa.Text(), nullable=False),
        sa.Column("booted", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("place", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("host", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("launched_at", sa.Float(precision=53), nullable=True),
        sa.Column("ended_at", sa.Float(precision=53), nullable=True),
        sa.Column("seen_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("instances_pkey")),
        sa.UniqueConstraint(
            "account", "client_token", name=op.f("instances_account_client_token_key")
        ),
    )
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("instances_by_state"), ["state"], unique=False)

    op.create_table(
        "join_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("launch", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("join_tokens_pkey")),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("best_effort", sa.Boolean(), nullable=False),
        sa.Column("devices", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("seen_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("nodes_pkey")),
    )
    op.create_table(
        "nonces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("nonces_pkey")),
    )
    with op.batch_alter_table("nonces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("nonces_by_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "policies",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("policies_pkey")),
    )
    op.create_table(
        "prices",
        sa.Column("accelerator_type", sa.String(), nullable=False),
        sa.Column("effective_from", sa.Float(precision=53), nullable=False),
        sa.Column("price_per_hour", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("accelerator_type", "effective_from", name=op.f("prices_pkey")),
    )
    op.create_table(
        "rights",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("accelerator_id", sa.String(), nullable=False),
        sa.Column("access_key_id", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("context", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expires_at", sa.Float(precision=53), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("rights_pkey")),
    )
    with op.batch_alter_table("rights", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("rights_by_accelerator_id"), ["accelerator_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("rights_by_access_key_id"), ["access_key_id"], unique=False
        )
        batch_op.create_index("rights_by_expiry", ["expires_at"], unique=False)

    op.create_table(
        "roles",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("trust_policy", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("roles_pkey")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("settings_pkey")),
    )
    op.create_table(
        "usage",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("accelerator_id", sa.String(), nullable=False),
        sa.Column("accelerator_type", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("began_at", sa.Float(precision=53), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("mark", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("usage_pkey")),
    )
    with op.batch_alter_table("usage", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("usage_by_accelerator_id"), ["accelerator_id"], unique=False
        )
        batch_op.create_index("usage_by_open", ["open"], unique=False)

    op.create_table(
        "users",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("users_pkey")),
    )
    op.create_table(
        "vpcs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("cidr", sa.String(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("dns_support", sa.Boolean(), nullable=False),
        sa.Column("dns_hostnames", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("vpcs_pkey")),
    )
    op.create_table(
        "accelerators",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("association_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("token_key", sa.LargeBinary(), nullable=False),
        sa.Column("placement", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("health_reason", sa.String(), nullable=False),
        sa.Column("health_at", sa.Float(precision=53), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("own_port", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("accelerators_instance_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("accelerators_pkey")),
        sa.UniqueConstraint("association_id", name=op.f("accelerators_association_id_key")),
    )
    with op.batch_alter_table("accelerators", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("accelerators_by_instance_id"), ["instance_id"], unique=False
        )

    op.create_table(
        "endpoints",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("vpc_id", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("private_dns", sa.Boolean(), nullable=False),
        sa.Column("subnet_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("group_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["vpc_id"], ["vpcs.id"], name=op.f("endpoints_vpc_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("endpoints_pkey")),
    )
    op.create_table(
        "security_groups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("vpc_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["vpc_id"], ["vpcs.id"], name=op.f("security_groups_vpc_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("security_groups_pkey")),
        sa.UniqueConstraint("vpc_id", "name", name=op.f("security_groups_vpc_id_name_key")),
    )
    op.create_table(
        "subnets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("vpc_id", sa.String(), nullable=False),
        sa.Column("cidr", sa.String(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("next_host", sa.Integer(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["vpc_id"], ["vpcs.id"], name=op.f("subnets_vpc_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("subnets_pkey")),
    )
    op.create_table(
        "security_group_rules",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("from_port", sa.Integer(), nullable=False),
        sa.Column("to_port", sa.Integer(), nullable=False),
        sa.Column("cidr", sa.String(), nullable=False),
        sa.Column("source_group", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["security_groups.id"], name=op.f("security_group_rules_group_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("security_group_rules_pkey")),
    )
    with op.batch_alter_table("security_group_rules", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("security_group_rules_by_group_id"), ["group_id"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("security_group_rules", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("security_group_rules_by_group_id"))

    op.drop_table("security_group_rules")
    op.drop_table("subnets")
    op.drop_table("security_groups")
    op.drop_table("endpoints")
    with op.batch_alter_table("accelerators", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("accelerators_by_instance_id"))

    op.drop_table("accelerators")
    op.drop_table("vpcs")
    op.drop_table("users")
    with op.batch_alter_table("usage", schema=None) as batch_op:
        batch_op.drop_index("usage_by_open")
        batch_op.drop_index(batch_op.f("usage_by_accelerator_id"))

    op.drop_table("usage")
    op.drop_table("settings")
    op.drop_table("roles")
    with op.batch_alter_table("rights", schema=None) as batch_op:
        batch_op.drop_index("rights_by_expiry")
        batch_op.drop_index(batch_op.f("rights_by_access_key_id"))
        batch_op.drop_index(batch_op.f("rights_by_accelerator_id"))

    op.drop_table("rights")
    op.drop_table("prices")
    op.drop_table("policies")
    with op.batch_alter_table("nonces", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("nonces_by_expires_at"))

    op.drop_table("nonces")
    op.drop_table("nodes")
    op.drop_table("join_tokens")
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("instances_by_state"))

    op.drop_table("instances")
    op.drop_table("identity_mappings")
    with op.batch_alter_table("attachments", schema=None) as batch_op:
        batch_op.drop_index("attachments_by_principal")

    op.drop_table("attachments")
    op.drop_table("accounts")
    with op.batch_alter_table("access_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("access_keys_by_instance_id"))

    op.drop_table("access_keys")
