"""What the control plane must not forget: a database, one transaction for each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import Row, bindparam, select, union_all
from sqlalchemy.sql import Executable

from elastic_inference.control import records, schema
from elastic_inference.control.database import Database
from elastic_inference.control.managed_policies import managed
from elastic_inference.control.records import Accelerator, AccessKey, Instance, Nonce
from elastic_inference.control.tables import Records

_ENDED = (records.TERMINATED,)
# Built once: every call that policies decide on asks this. Of AWS's own policies there is no row.
_ATTACHED, _INLINE = schema.attachments.c, schema.inline_policies.c
_DOCUMENTS = union_all(
    select(_ATTACHED.policy, schema.policies.c.document)
    .select_from(
        schema.attachments.outerjoin(
            schema.policies,
            (schema.policies.c.name == _ATTACHED.policy)
            & (schema.policies.c.account == _ATTACHED.account),
        )
    )
    .where(
        _ATTACHED.account == bindparam("of"),
        _ATTACHED.kind == bindparam("as"),
        _ATTACHED.name == bindparam("called"),
    ),
    select(_INLINE.policy, _INLINE.document).where(
        _INLINE.account == bindparam("of"),
        _INLINE.kind == bindparam("as"),
        _INLINE.name == bindparam("called"),
    ),
)


class Store:
    """The tables of a pool; see `Database` for what every method raises.

    Attributes:
        instances, accelerators, …: each table's records.
    """

    def __init__(self, directory: Path, url: str | None = None) -> None:
        """Open the store, made if there is none; see `Database`."""
        database = Database(directory, url)
        self._database = database
        self.accounts = Records(database, schema.accounts, records.Account)
        self.nodes = Records(database, schema.nodes, records.NodeRecord)
        self.vpcs = Records(database, schema.vpcs, records.VpcRecord)
        self.subnets = Records(database, schema.subnets, records.SubnetRecord)
        self.groups = Records(database, schema.security_groups, records.GroupRecord)
        self.rules = Records(database, schema.security_group_rules, records.RuleRecord)
        self.endpoints = Records(database, schema.endpoints, records.EndpointRecord)
        self.users = Records(database, schema.users, records.User)
        self.roles = Records(database, schema.roles, records.Role)
        self.profiles = Records(database, schema.instance_profiles, records.InstanceProfile)
        self.policies = Records(database, schema.policies, records.PolicyRecord)
        self.policy_versions = Records(database, schema.policy_versions, records.PolicyVersion)
        self.inline_policies = Records(database, schema.inline_policies, records.InlinePolicy)
        self.attachments = Records(database, schema.attachments, records.Attachment)
        self.mappings = Records(database, schema.identity_mappings, records.IdentityMapping)
        self.keys = Records(database, schema.access_keys, records.AccessKey)
        self.join_tokens = Records(database, schema.join_tokens, records.JoinToken)
        self.instances = Records(database, schema.instances, records.Instance)
        self.accelerators = Records(database, schema.accelerators, records.Accelerator)
        self.rights = Records(database, schema.rights, records.Right)
        self.nonces = Records(database, schema.nonces, Nonce)
        self.usage = Records(database, schema.usage, records.Usage)
        self.prices = Records(database, schema.prices, records.Price)
        self.key_pairs = Records(database, schema.key_pairs, records.KeyPair)
        self.templates = Records(database, schema.launch_templates, records.LaunchTemplate)
        self.template_versions = Records(
            database, schema.launch_template_versions, records.LaunchTemplateVersion
        )
        self.scaling_groups = Records(database, schema.scaling_groups, records.ScalingGroup)
        self.scaling_members = Records(database, schema.scaling_members, records.ScalingMember)
        self.scaling_policies = Records(database, schema.scaling_policies, records.ScalingPolicy)
        self.scaling_activities = Records(
            database, schema.scaling_activities, records.ScalingActivity
        )
        self.metric_series = Records(database, schema.metric_series, records.MetricSeries)
        self.metric_chunks = Records(database, schema.metric_chunks, records.MetricChunk)

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """See `Database.transaction`."""
        return self._database.transaction(durable=durable)

    def close(self) -> None:
        self._database.close()

    def check_owned(self) -> None:
        """See `Database.check_owned`."""
        self._database.check_owned()

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return self._database.name

    def change(self, statement: Any, values: Sequence[Mapping[str, Any]] | None = None) -> int:
        """Run a statement that changes several rows, by what they are or each by some `values`."""
        return self._database.change(statement, values)

    def rows(self, query: Executable) -> Sequence[Row[Any]]:
        """What a query of single columns finds, where records would be too much."""
        return self._database.rows(query)

    # -- instances and accelerators ---------------------------------------------------------

    def set_instance(self, instance_id: str, **values: Any) -> None:
        """Set fields of an instance."""
        self.instances.change(self.instances.columns.id == instance_id, **values)

    def set_accelerator(self, accelerator_id: str, **values: Any) -> None:
        """Set fields of an accelerator."""
        self.accelerators.change(self.accelerators.columns.id == accelerator_id, **values)

    def instance_by_token(self, account: str, client_token: str) -> Instance | None:
        columns = self.instances.columns
        return self.instances.first(
            columns.account == account, columns.client_token == client_token
        )

    def accelerators_of(self, instance_id: str) -> list[Accelerator]:
        """An instance's accelerators in the order of their attachment."""
        columns = self.accelerators.columns
        return self.accelerators.where(
            columns.instance_id == instance_id, order=(columns.created_at, columns.id)
        )

    def accelerators_by_instance(self, instance_ids: Sequence[str]) -> dict[str, list[Accelerator]]:
        """The accelerators of several instances."""
        columns = self.accelerators.columns
        found: dict[str, list[Accelerator]] = {each: [] for each in instance_ids}
        for each in self.accelerators.where(
            columns.instance_id.in_(instance_ids), order=(columns.created_at, columns.id)
        ):
            found[each.instance_id].append(each)
        return found

    def forget_instances(self, ended_before: float) -> None:
        """Drop what ended before a Unix time."""
        columns = self.instances.columns
        self.instances.remove(columns.state.in_(_ENDED), columns.ended_at < ended_before)

    # -- access -----------------------------------------------------------------------------

    def owner_key(self) -> AccessKey | None:
        """The account's own key, which may do everything."""
        columns = self.keys.columns
        return self.keys.first(columns.kind == records.OWNER, order=(columns.created_at,))

    def documents_of(self, account: str, kind: str, name: str) -> list[tuple[str, str]]:
        """Name and text of each policy that a user or role has, attached or inside it."""
        found: list[tuple[str, str]] = []
        for row in self._database.rows(_DOCUMENTS, {"of": account, "as": kind, "called": name}):
            if row.document is not None:
                found.append((str(row.policy), str(row.document)))
            elif own := managed(str(row.policy)):
                found.append((own.name, own.document))
        return found

    # -- settings ---------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        columns = schema.settings.c
        rows = self._database.rows(select(columns.value).where(columns.name == name))
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str) -> None:
        with self.transaction():
            self._database.change(schema.settings.delete().where(schema.settings.c.name == name))
            self._database.change(schema.settings.insert().values(name=name, value=value))
