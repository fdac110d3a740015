"""What AWS's own tools ask for: launch templates, key pairs, scaling groups, metrics."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inline_policies",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "kind", "name", "policy", name=op.f("inline_policies_pkey")
        ),
    )
    op.create_table(
        "instance_profiles",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("role_name", sa.String(), nullable=True),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("instance_profiles_pkey")),
    )
    op.create_table(
        "key_pairs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("key_pairs_pkey")),
        sa.UniqueConstraint("account", "name", name=op.f("key_pairs_account_name_key")),
    )
    op.create_table(
        "launch_template_versions",
        sa.Column("template_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint(
            "template_id", "version", name=op.f("launch_template_versions_pkey")
        ),
    )
    op.create_table(
        "launch_templates",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("latest_version", sa.Integer(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("launch_templates_pkey")),
        sa.UniqueConstraint("account", "name", name=op.f("launch_templates_account_name_key")),
    )
    op.create_table(
        "metric_chunks",
        sa.Column("series_id", sa.String(), nullable=False),
        sa.Column("began_at", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "began_at", name=op.f("metric_chunks_pkey")),
    )
    with op.batch_alter_table("metric_chunks", schema=None) as batch_op:
        batch_op.create_index("metric_chunks_by_time", ["began_at"], unique=False)

    op.create_table(
        "metric_series",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("dimensions", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("seen_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("metric_series_pkey")),
    )
    with op.batch_alter_table("metric_series", schema=None) as batch_op:
        batch_op.create_index(
            "metric_series_by_name", ["account", "namespace", "name"], unique=False
        )

    op.create_table(
        "policy_versions",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account", "policy", "version", name=op.f("policy_versions_pkey")),
    )
    op.create_table(
        "scaling_activities",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("ended_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("scaling_activities_pkey")),
    )
    with op.batch_alter_table("scaling_activities", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("scaling_activities_by_group_name"), ["group_name"], unique=False
        )

    op.create_table(
        "scaling_groups",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("least", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("desired", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("scaling_groups_pkey")),
    )
    op.create_table(
        "scaling_members",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("lifecycle", sa.String(), nullable=False),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False),
        sa.Column("template", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("scaling_members_pkey")),
    )
    with op.batch_alter_table("scaling_members", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("scaling_members_by_group_name"), ["group_name"], unique=False
        )

    op.create_table(
        "scaling_policies",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "group_name", "name", name=op.f("scaling_policies_pkey")
        ),
    )
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("ec2", sa.JSON(none_as_null=True), nullable=False, server_default="{}")
        )

    with op.batch_alter_table("policies", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("default_version", sa.Integer(), nullable=False, server_default="1")
        )
        batch_op.add_column(
            sa.Column("latest_version", sa.Integer(), nullable=False, server_default="1")
        )
        batch_op.add_column(
            sa.Column("tags", sa.JSON(none_as_null=True), nullable=False, server_default="{}")
        )

    with op.batch_alter_table("roles", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("max_session", sa.Integer(), nullable=False, server_default="3600")
        )

    # Each role that there is can be given to instances by AWS's tools, too.
    op.execute(
        "INSERT INTO instance_profiles (account, name, id, role_name, tags, created_at)"
        " SELECT account, name, 'AIPA' || substr(id, 5), name, '{}', created_at FROM roles"
    )


def downgrade() -> None:
    with op.batch_alter_table("roles", schema=None) as batch_op:
        batch_op.drop_column("max_session")

    with op.batch_alter_table("policies", schema=None) as batch_op:
        batch_op.drop_column("tags")
        batch_op.drop_column("latest_version")
        batch_op.drop_column("default_version")

    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("ec2")

    op.drop_table("scaling_policies")
    with op.batch_alter_table("scaling_members", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("scaling_members_by_group_name"))

    op.drop_table("scaling_members")
    op.drop_table("scaling_groups")
    with op.batch_alter_table("scaling_activities", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("scaling_activities_by_group_name"))

    op.drop_table("scaling_activities")
    op.drop_table("policy_versions")
    with op.batch_alter_table("metric_series", schema=None) as batch_op:
        batch_op.drop_index("metric_series_by_name")

    op.drop_table("metric_series")
    with op.batch_alter_table("metric_chunks", schema=None) as batch_op:
        batch_op.drop_index("metric_chunks_by_time")

    op.drop_table("metric_chunks")
    op.drop_table("launch_templates")
    op.drop_table("launch_template_versions")
    op.drop_table("key_pairs")
    op.drop_table("instance_profiles")
    op.drop_table("inline_policies")
