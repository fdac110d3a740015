"""Users, roles, policies and keys: made, changed and removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from elastic_inference.control import names, policy, records
from elastic_inference.control.access import Access
from elastic_inference.control.aws_identity import parse_pattern
from elastic_inference.control.clock import Clock
from elastic_inference.control.defaults import TRUST
from elastic_inference.control.records import (
    AccessKey,
    Attachment,
    IdentityMapping,
    PolicyRecord,
    Role,
    User,
)
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    ConflictError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_MAX_KEYS = 2
_MAX_ATTACHED = 20
_MAX_DESCRIPTION = 1000


class Identities:
    """Changes who there is; each method is part of a transaction of the caller's."""

    def __init__(self, store: Store, access: Access, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._clock = clock

    def create_user(self, account: str, name: str) -> User:
        user = User(
            account=account,
            name=_named(name, "user"),
            id=names.new_unique_id("AIDA"),
            tags={},
            created_at=self._clock.time(),
        )
        if self._store.users.get(account, name) is not None:
            raise ConflictError(f"There is a user {name!r} already.")
        self._store.users.add(user)
        return user

    def delete_user(self, account: str, name: str) -> None:
        self.user(account, name)
        keys = self._store.keys.columns
        self._store.keys.remove(
            keys.account == account, keys.kind == records.USER, keys.name == name
        )
        self._detach_all(account, records.USER, name)
        users = self._store.users.columns
        self._store.users.remove(users.account == account, users.name == name)

    def create_role(
        self, account: str, name: str, description: str = "", trust: str | None = None
    ) -> Role:
        if trust is not None:
            policy.parse(trust, name=f"{name}'s trust policy", trust=True)
        role = Role(
            account=account,
            name=_named(name, "role"),
            id=names.new_unique_id("AROA"),
            description=description[:_MAX_DESCRIPTION],
            trust_policy=trust or TRUST,
            tags={},
            created_at=self._clock.time(),
        )
        if self._store.roles.get(account, name) is not None:
            raise ConflictError(f"There is a role {name!r} already.")
        self._store.roles.add(role)
        return role

    def delete_role(self, account: str, name: str) -> None:
        self.role(account, name)
        keys = self._store.keys.columns
        self._store.keys.remove(
            keys.account == account, keys.kind == records.ROLE, keys.name == name
        )
        self._detach_all(account, records.ROLE, name)
        mappings = self._store.mappings.columns
        self._store.mappings.remove(mappings.account == account, mappings.role_name == name)
        roles = self._store.roles.columns
        self._store.roles.remove(roles.account == account, roles.name == name)

    def put_policy(
        self, account: str, name: str, document: str, description: str = ""
    ) -> PolicyRecord:
        """Make a policy, or change it.

        Raises:
            InvalidRequestError: the document is not one; the message names the position.
        """
        policy.parse(document, name=_named(name, "policy"))
        now = self._clock.time()
        known = self._store.policies.get(account, name)
        if known is None:
            made = PolicyRecord(
                account=account,
                name=name,
                id=names.new_unique_id("ANPA"),
                document=document,
                description=description[:_MAX_DESCRIPTION],
                created_at=now,
                updated_at=now,
            )
            self._store.policies.add(made)
            return made
        columns = self._store.policies.columns
        self._store.policies.change(
            columns.account == account, columns.name == name, document=document, updated_at=now
        )
        return self.policy(account, name)

    def delete_policy(self, account: str, name: str) -> None:
        self.policy(account, name)
        attachments = self._store.attachments.columns
        self._store.attachments.remove(attachments.account == account, attachments.policy == name)
        columns = self._store.policies.columns
        self._store.policies.remove(columns.account == account, columns.name == name)

    def attach(self, account: str, policy_name: str, kind: str, name: str) -> None:
        """Give a user or role a policy; repeating it does no harm."""
        self.policy(account, policy_name)
        self._principal(account, kind, name)
        if self._store.attachments.get(account, policy_name, kind, name) is not None:
            return
        columns = self._store.attachments.columns
        count = self._store.attachments.count(
            columns.account == account, columns.kind == kind, columns.name == name
        )
        if count >= _MAX_ATTACHED:
            raise LimitExceededError(
                f"The {kind} {name} has {count} policies already.", next_step="Join some of them."
            )
        self._store.attachments.add(
            Attachment(account=account, policy=policy_name, kind=kind, name=name)
        )

    def detach(self, account: str, policy_name: str, kind: str, name: str) -> None:
        columns = self._store.attachments.columns
        found = self._store.attachments.remove(
            columns.account == account,
            columns.policy == policy_name,
            columns.kind == kind,
            columns.name == name,
        )
        if not found:
            raise NotFoundError(
                f"The {kind} {name[:64]!r} does not have the policy {policy_name[:64]!r}.",
                next_step="ei access policy list shows who has which.",
            )

    def create_key(self, account: str, user: str) -> AccessKey:
        self.user(account, user)
        columns = self._store.keys.columns
        count = self._store.keys.count(
            columns.account == account, columns.kind == records.USER, columns.name == user
        )
        if count >= _MAX_KEYS:
            raise LimitExceededError(
                f"The user {user} has {count} access keys already.",
                next_step="Delete one (ei access key delete).",
            )
        return self._access.add_user_key(account, user)

    def set_key_status(self, account: str, key_id: str, status: str) -> None:
        if status not in {records.ACTIVE, records.INACTIVE}:
            raise InvalidRequestError("status is Active or Inactive.")
        key = self.key(account, key_id)
        if key.kind == records.OWNER:
            raise ConflictError("The account's own key is never disabled: nobody could enable it.")
        self._store.keys.change(self._store.keys.columns.id == key_id, status=status)

    def delete_key(self, account: str, key_id: str) -> None:
        key = self.key(account, key_id)
        if key.kind == records.OWNER:
            raise ConflictError("The account's own key is never deleted.")
        self._store.keys.remove(self._store.keys.columns.id == key_id)

    def map_identity(self, account: str, aws_arn: str, role: str) -> None:
        """Give those whom AWS knows by an ARN (with wildcards) a role."""
        self.role(account, role)
        parse_pattern(aws_arn)
        self._unmap(account, aws_arn)
        self._store.mappings.add(IdentityMapping(account=account, aws_arn=aws_arn, role_name=role))

    def unmap_identity(self, account: str, aws_arn: str) -> None:
        if not self._unmap(account, aws_arn):
            raise NotFoundError(
                f"{aws_arn} has no role here.", next_step="ei access aws list shows who has one."
            )

    def _unmap(self, account: str, aws_arn: str) -> int:
        columns = self._store.mappings.columns
        return self._store.mappings.remove(columns.account == account, columns.aws_arn == aws_arn)

    # -- what is there --------------------------------------------------------------------------

    def user(self, account: str, name: str) -> User:
        return _there(self._store.users.get(account, name), "user", name)

    def role(self, account: str, name: str) -> Role:
        return _there(self._store.roles.get(account, name), "role", name)

    def policy(self, account: str, name: str) -> PolicyRecord:
        return _there(self._store.policies.get(account, name), "policy", name)

    def key(self, account: str, key_id: str) -> AccessKey:
        key = self._store.keys.get(key_id)
        return _there(key if key and key.account == account else None, "access key", key_id)

    def _principal(self, account: str, kind: str, name: str) -> None:
        if kind == records.ROLE:
            self.role(account, name)
        else:
            self.user(account, name)

    def _detach_all(self, account: str, kind: str, name: str) -> None:
        columns = self._store.attachments.columns
        self._store.attachments.remove(
            columns.account == account, columns.kind == kind, columns.name == name
        )


_LISTS: Mapping[str, str] = {
    "user": "ei access user list",
    "role": "ei access role list",
    "policy": "ei access policy list",
    "access key": "ei access key list",
}


def _there(found: T | None, what: str, name: str) -> T:
    if found is None:
        raise NotFoundError(
            f"There is no {what} {name[:64]!r}.", next_step=f"{_LISTS[what]} shows what there is."
        )
    return found


def _named(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{name[:64]!r} is no name of a {what}: letters, digits and _+=,.@- are."
        )
    return name
