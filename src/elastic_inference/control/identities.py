"""Users, roles, policies and keys: made, changed and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from elastic_inference.control import names, policy, records
from elastic_inference.control.access import Access
from elastic_inference.control.aws_identity import parse_pattern
from elastic_inference.control.clock import Clock
from elastic_inference.control.defaults import TRUST
from elastic_inference.control.managed_policies import managed
from elastic_inference.control.policy_versions import MAX_DESCRIPTION, PolicyVersions
from elastic_inference.control.quotas import check_quota
from elastic_inference.control.records import (
    AccessKey,
    Attachment,
    IdentityMapping,
    InlinePolicy,
    InstanceProfile,
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
MAX_KEYS = 2
MAX_ATTACHED = 20
USUAL_SESSION = 3600
# As AWS has them, and how many characters the policies inside each kind have together.
MAX_USERS, MAX_ROLES, MAX_PROFILES = 5000, 1000, 1000
_MAX_INLINE: Mapping[str, int] = {records.USER: 2048, records.ROLE: 10_240}


class Identities:
    """Changes who there is; each method is part of a transaction of the caller's."""

    def __init__(self, store: Store, access: Access, clock: Clock) -> None:
        self._store = store
        self._access = access
        self._clock = clock
        self.policies = PolicyVersions(store, clock)

    def create_user(self, account: str, name: str, tags: Mapping[str, str] | None = None) -> User:
        user = User(
            account=account,
            name=names.checked(name, "user"),
            id=names.new_unique_id("AIDA"),
            tags=dict(tags or {}),
            created_at=self._clock.time(),
        )
        if self._store.users.get(account, name) is not None:
            raise ConflictError(f"There is a user {name!r} already.")
        check_quota(self._store.users, account, "UsersPerAccount", MAX_USERS)
        self._store.users.add(user)
        return user

    def delete_user(self, account: str, name: str) -> None:
        self.user(account, name)
        keys = self._store.keys.columns
        self._store.keys.remove(
            keys.account == account, keys.kind == records.USER, keys.name == name
        )
        self._take_policies(account, records.USER, name)
        users = self._store.users.columns
        self._store.users.remove(users.account == account, users.name == name)

    def create_role(
        self,
        account: str,
        name: str,
        description: str = "",
        trust: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        max_session: int = USUAL_SESSION,
    ) -> Role:
        if trust is not None:
            policy.parse(trust, name=f"{name}'s trust policy", trust=True)
        role = Role(
            account=account,
            name=names.checked(name, "role"),
            id=names.new_unique_id("AROA"),
            description=description[:MAX_DESCRIPTION],
            trust_policy=trust or TRUST,
            tags=dict(tags or {}),
            created_at=self._clock.time(),
            max_session=max_session,
        )
        if self._store.roles.get(account, name) is not None:
            raise ConflictError(f"There is a role {name!r} already.")
        check_quota(self._store.roles, account, "RolesPerAccount", MAX_ROLES)
        self._store.roles.add(role)
        return role

    def create_profile(
        self,
        account: str,
        name: str,
        role: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> InstanceProfile:
        """Make an instance profile, with a role or without one as yet."""
        profile = InstanceProfile(
            account=account,
            name=names.checked(name, "instance profile", names.LONG),
            id=names.new_unique_id("AIPA"),
            role_name=role,
            tags=dict(tags or {}),
            created_at=self._clock.time(),
        )
        if self._store.profiles.get(account, name) is not None:
            raise ConflictError(f"There is an instance profile {name!r} already.")
        check_quota(self._store.profiles, account, "InstanceProfilesPerAccount", MAX_PROFILES)
        self._store.profiles.add(profile)
        return profile

    def delete_role(self, account: str, name: str) -> None:
        self.role(account, name)
        keys = self._store.keys.columns
        self._store.keys.remove(
            keys.account == account, keys.kind == records.ROLE, keys.name == name
        )
        self._take_policies(account, records.ROLE, name)
        profiles = self._store.profiles.columns
        self._store.profiles.remove(
            profiles.account == account, profiles.role_name == name, profiles.name == name
        )
        self._store.profiles.change(
            profiles.account == account, profiles.role_name == name, role_name=None
        )
        mappings = self._store.mappings.columns
        self._store.mappings.remove(mappings.account == account, mappings.role_name == name)
        roles = self._store.roles.columns
        self._store.roles.remove(roles.account == account, roles.name == name)

    def put_policy(
        self, account: str, name: str, document: str, description: str = ""
    ) -> PolicyRecord:
        """Make a policy, or change it; see `PolicyVersions.put`."""
        return self.policies.put(account, name, document, description)

    def delete_policy(self, account: str, name: str) -> None:
        self.policies.delete(self.policy(account, name))

    def put_inline(self, account: str, kind: str, name: str, policy_name: str, text: str) -> None:
        """Give a user or role a policy that is in nobody else; one of that name is changed.

        Raises:
            InvalidRequestError: the document is not one; the message names the position.
            NotFoundError: there is no such user or role.
        """
        self._principal(account, kind, name)
        policy.parse(text, name=names.checked(policy_name, "policy", names.LONG))
        self._remove_inline(account, kind, name, policy_name)
        self._check_inline(account, kind, name, text)
        self._store.inline_policies.add(
            InlinePolicy(account=account, kind=kind, name=name, policy=policy_name, document=text)
        )

    def _check_inline(self, account: str, kind: str, name: str, text: str) -> None:
        """Refuse more than fits into a user or role; blanks are not counted."""
        columns, most = self._store.inline_policies.columns, _MAX_INLINE[kind]
        others = self._store.inline_policies.where(
            columns.account == account, columns.kind == kind, columns.name == name
        )
        texts = [text, *(each.document for each in others)]
        if sum(len("".join(each.split())) for each in texts) > most:
            raise LimitExceededError(
                f"Maximum policy size of {most} bytes exceeded for {kind} {name}",
                next_step="Make policies of their own of it, and attach these.",
            )

    def delete_inline(self, account: str, kind: str, name: str, policy_name: str) -> None:
        self._principal(account, kind, name)
        if not self._remove_inline(account, kind, name, policy_name):
            raise NotFoundError(
                f"The {kind} {name[:64]!r} has no policy {policy_name[:64]!r} inside it.",
                next_step=f"ei access {kind} list shows what it has.",
            )

    def _remove_inline(self, account: str, kind: str, name: str, policy_name: str) -> int:
        columns = self._store.inline_policies.columns
        return self._store.inline_policies.remove(
            columns.account == account,
            columns.kind == kind,
            columns.name == name,
            columns.policy == policy_name,
        )

    def attach(self, account: str, policy_name: str, kind: str, name: str) -> None:
        """Give a user or role a policy; repeating it does no harm.

        Args:
            policy_name: of a policy of the account, or the ARN of one of AWS's own.
        """
        if managed(policy_name) is None:
            self.policy(account, policy_name)
        self._principal(account, kind, name)
        if self._store.attachments.get(account, policy_name, kind, name) is not None:
            return
        columns = self._store.attachments.columns
        count = self._store.attachments.count(
            columns.account == account, columns.kind == kind, columns.name == name
        )
        if count >= MAX_ATTACHED:
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
            columns.account == account,
            columns.kind == records.USER,
            columns.name == user,
            columns.session_token.is_(None),
        )
        if count >= MAX_KEYS:
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
        return self.policies.policy(account, name)

    def key(self, account: str, key_id: str) -> AccessKey:
        key = self._store.keys.get(key_id)
        return _there(key if key and key.account == account else None, "access key", key_id)

    def _principal(self, account: str, kind: str, name: str) -> None:
        if kind == records.ROLE:
            self.role(account, name)
        else:
            self.user(account, name)

    def _take_policies(self, account: str, kind: str, name: str) -> None:
        columns = self._store.attachments.columns
        self._store.attachments.remove(
            columns.account == account, columns.kind == kind, columns.name == name
        )
        inline = self._store.inline_policies.columns
        self._store.inline_policies.remove(
            inline.account == account, inline.kind == kind, inline.name == name
        )


_LISTS: Mapping[str, str] = {
    "user": "ei access user list",
    "role": "ei access role list",
    "access key": "ei access key list",
}


def _there(found: T | None, what: str, name: str) -> T:
    if found is None:
        raise NotFoundError(
            f"There is no {what} {name[:64]!r}.", next_step=f"{_LISTS[what]} shows what there is."
        )
    return found
