"""Everything of an account's IAM at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elastic_inference.aws import iam_entities, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.iam_entities import AnyPolicy
from elastic_inference.aws.iam_policies import Policies
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import records
from elastic_inference.control.managed_policies import managed_policies
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Role, User

# The members of the result, by what a filter calls them, in the order of their pages.
_MEMBERS: Mapping[str, str] = {
    "User": "UserDetailList",
    "Group": "GroupDetailList",
    "Role": "RoleDetailList",
    "LocalManagedPolicy": "Policies",
    "AWSManagedPolicy": "Policies",
}
_ORDER = list(_MEMBERS)


class Account:
    """GetAccountAuthorizationDetails."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._policies = Policies(plane)
        self._show: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
            "User": self._user,
            "Role": self._role,
            "LocalManagedPolicy": self._policy,
            "AWSManagedPolicy": self._policy,
        }
        self.operations: Operations = {
            "GetAccountAuthorizationDetails": operation(self._details, f"Filter {iam_words.PAGE}")
        }

    def _details(self, call: Call) -> Document:
        wanted = call.input.get("Filter") or _ORDER
        found = [
            (kind, each) for kind in _ORDER if kind in wanted for each in self._all(call, kind)
        ]
        page = iam_words.listed(
            call,
            "all",
            found,
            lambda each: (_ORDER.index(each[0]), each[1].name),
            lambda each: (_MEMBERS[each[0]], self._show[each[0]](each[1])),
        )
        result: dict[str, Any] = {member: [] for member in _MEMBERS.values()}
        for member, shown in page["all"]:
            result[member].append(shown)
        return {**result, "IsTruncated": page["IsTruncated"], "Marker": page["Marker"]}

    def _all(self, call: Call, kind: str) -> Sequence[User | Role | AnyPolicy]:
        store, account = self._plane.store, call.account
        if kind == "User":
            return store.users.where(store.users.columns.account == account)
        if kind == "Role":
            return store.roles.where(store.roles.columns.account == account)
        if kind == "LocalManagedPolicy":
            return store.policies.where(store.policies.columns.account == account)
        if kind == "AWSManagedPolicy":
            # Those that somebody has, as AWS gives them.
            columns = store.attachments.columns
            used = {each.policy for each in store.attachments.where(columns.account == account)}
            return [each for arn, each in managed_policies().items() if arn in used]
        return []

    def _user(self, user: User) -> Mapping[str, Any]:
        return {
            **iam_entities.show_user(user),
            "UserPolicyList": self._inside(records.USER, user),
            "GroupList": [],
            "AttachedManagedPolicies": iam_entities.attached_to(
                self._plane, user.account, records.USER, user.name
            ),
        }

    def _role(self, role: Role) -> Mapping[str, Any]:
        shown = iam_entities.show_role(role)
        profiles = self._plane.store.profiles
        columns = profiles.columns
        found = profiles.where(
            columns.account == role.account, columns.role_name == role.name, order=(columns.name,)
        )
        return {
            **{key: each for key, each in shown.items() if key not in _NOT_IN_DETAIL},
            "InstanceProfileList": [iam_entities.show_profile(self._plane, each) for each in found],
            "RolePolicyList": self._inside(records.ROLE, role),
            "AttachedManagedPolicies": iam_entities.attached_to(
                self._plane, role.account, records.ROLE, role.name
            ),
        }

    def _inside(self, kind: str, whose: User | Role) -> list[Mapping[str, str]]:
        return [
            {
                "PolicyName": each.policy,
                "PolicyDocument": iam_entities.document(each.document),
            }
            for each in iam_entities.inside(self._plane, whose.account, kind, whose.name)
        ]

    def _policy(self, policy: AnyPolicy) -> Mapping[str, Any]:
        columns = self._plane.store.attachments.columns
        attached = self._plane.store.attachments.count(
            columns.policy == iam_entities.key_of(policy)
        )
        shown = iam_entities.show_policy(policy, attached)
        return {
            **{key: each for key, each in shown.items() if key != "Tags"},
            "PolicyVersionList": [
                iam_entities.show_version(each) for each in self._policies.versions(policy)
            ],
        }


_NOT_IN_DETAIL = frozenset({"Description", "MaxSessionDuration"})
