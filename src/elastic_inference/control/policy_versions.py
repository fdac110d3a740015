"""Policies and their versions: made, chosen and removed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement

from elastic_inference.control import names, policy
from elastic_inference.control.clock import Clock
from elastic_inference.control.quotas import check_quota
from elastic_inference.control.records import PolicyRecord, PolicyVersion
from elastic_inference.control.store import Store
from elastic_inference.errors import (
    ConflictError,
    LimitExceededError,
    NotFoundError,
)

MAX_VERSIONS = 5
MAX_POLICIES = 1500  # of an account, as AWS has it
MAX_DESCRIPTION = 1000


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a policy.

    Attributes:
        is_default: it is the one that is in force.
    """

    number: int
    document: str
    created_at: float
    is_default: bool


class PolicyVersions:
    """Changes policies; each method is part of a transaction of the caller's."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def create(self, account: str, name: str, document: str, description: str = "") -> PolicyRecord:
        """Make a policy.

        Raises:
            InvalidRequestError: the document is not one; the message names the position.
            ConflictError: there is one of that name.
        """
        policy.parse(document, name=names.checked(name, "policy", names.LONG))
        if self._store.policies.get(account, name) is not None:
            raise ConflictError(f"There is a policy {name!r} already.")
        check_quota(self._store.policies, account, "PoliciesPerAccount", MAX_POLICIES)
        now = self._clock.time()
        made = PolicyRecord(
            account=account,
            name=name,
            id=names.new_unique_id("ANPA"),
            document=document,
            description=description[:MAX_DESCRIPTION],
            created_at=now,
            updated_at=now,
        )
        self._store.policies.add(made)
        return made

    def put(self, account: str, name: str, document: str, description: str = "") -> PolicyRecord:
        """Make a policy, or a new version of it that is in force; the oldest one makes room.

        Raises:
            InvalidRequestError: the document is not one; the message names the position.
        """
        known = self._store.policies.get(account, name)
        if known is None:
            return self.create(account, name, document, description)
        policy.parse(document, name=name)
        if known.document != document:
            others = [each for each in self.versions(known) if not each.is_default]
            for each in others[: max(0, len(others) + 2 - MAX_VERSIONS)]:
                self._drop(known, each.number)
            self.add(known, document, default=True)
        return self.policy(account, name)

    def add(self, known: PolicyRecord, document: str, *, default: bool) -> Version:
        """A new version of a policy.

        Raises:
            InvalidRequestError: the document is not one; the message names the position.
            LimitExceededError: it has as many as it may have.
        """
        policy.parse(document, name=known.name)
        if len(self.versions(known)) >= MAX_VERSIONS:
            raise LimitExceededError(
                f"A policy has up to {MAX_VERSIONS} versions, as many as {known.name} has.",
                next_step="Delete one of them before you make another.",
            )
        made = Version(known.latest_version + 1, document, self._clock.time(), default)
        self._keep(known, made)
        self._change(known, latest_version=made.number)
        if default:
            self.set_default(known, made.number)
        return made

    def set_default(self, known: PolicyRecord, number: int) -> None:
        """Put a version in force.

        Raises:
            NotFoundError: there is none.
        """
        versions = {each.number: each for each in self.versions(known)}
        if number not in versions:
            raise _no_version(known, number)
        if not self._kept(known, known.default_version):
            self._keep(known, versions[known.default_version])
        self._change(
            known,
            document=versions[number].document,
            default_version=number,
            updated_at=self._clock.time(),
        )

    def delete_version(self, known: PolicyRecord, number: int) -> None:
        """Remove a version.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is in force.
        """
        if number == known.default_version:
            raise ConflictError("Cannot delete the default version of a policy.")
        if not self._drop(known, number):
            raise _no_version(known, number)

    def delete(self, known: PolicyRecord) -> None:
        """Remove a policy with its versions, also from all that have it."""
        attachments = self._store.attachments.columns
        self._store.attachments.remove(
            attachments.account == known.account, attachments.policy == known.name
        )
        versions = self._store.policy_versions.columns
        self._store.policy_versions.remove(
            versions.account == known.account, versions.policy == known.name
        )
        columns = self._store.policies.columns
        self._store.policies.remove(columns.account == known.account, columns.name == known.name)

    # -- what is there --------------------------------------------------------------------------

    def policy(self, account: str, name: str) -> PolicyRecord:
        """The policy of that name.

        Raises:
            NotFoundError: there is none.
        """
        found = self._store.policies.get(account, name)
        if found is None:
            raise NotFoundError(
                f"There is no policy {name[:64]!r}.",
                next_step="ei access policy list shows what there is.",
            )
        return found

    def versions(self, known: PolicyRecord) -> list[Version]:
        """All versions of a policy, the oldest first."""
        columns = self._store.policy_versions.columns
        kept = self._store.policy_versions.where(
            columns.account == known.account, columns.policy == known.name
        )
        found = {
            each.version: Version(
                each.version, each.document, each.created_at, each.version == known.default_version
            )
            for each in kept
        }
        if known.default_version not in found:
            # The first one is kept in the policy itself until there is another.
            found[known.default_version] = Version(
                known.default_version, known.document, known.created_at, is_default=True
            )
        return [found[number] for number in sorted(found)]

    # -- the rest ---------------------------------------------------------------------------------

    def _kept(self, known: PolicyRecord, number: int) -> int:
        return self._store.policy_versions.count(*self._which(known, number))

    def _keep(self, known: PolicyRecord, version: Version) -> None:
        self._store.policy_versions.add(
            PolicyVersion(
                account=known.account,
                policy=known.name,
                version=version.number,
                document=version.document,
                created_at=version.created_at,
            )
        )

    def _drop(self, known: PolicyRecord, number: int) -> int:
        return self._store.policy_versions.remove(*self._which(known, number))

    def _which(self, known: PolicyRecord, number: int) -> tuple[ColumnElement[bool], ...]:
        columns = self._store.policy_versions.columns
        return (
            columns.account == known.account,
            columns.policy == known.name,
            columns.version == number,
        )

    def _change(self, known: PolicyRecord, **values: object) -> None:
        columns = self._store.policies.columns
        self._store.policies.change(
            columns.account == known.account, columns.name == known.name, **values
        )


def _no_version(known: PolicyRecord, number: int) -> NotFoundError:
    return NotFoundError(
        f"Policy {known.name} version v{number} does not exist or is not attachable."
    )
