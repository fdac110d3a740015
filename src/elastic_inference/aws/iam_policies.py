"""IAM's policies, and their versions."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.aws import iam_entities, iam_tags, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.iam_entities import AnyPolicy
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import records
from elastic_inference.control.managed_policies import ManagedPolicy, managed_policies
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.policy_versions import MAX_VERSIONS, PolicyVersions, Version
from elastic_inference.control.records import PolicyRecord

# By what is asked for; nothing else has policies here.
_FILTERED: Mapping[str, tuple[str, ...]] = {
    "": (records.USER, records.ROLE),
    "User": (records.USER,),
    "Role": (records.ROLE,),
}


class Policies:
    """Create, get, list, change and delete; who has them."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._policies = PolicyVersions(plane.store, plane.clock)
        self.operations: Operations = {
            "CreatePolicy": operation(
                self._create, "PolicyName Path PolicyDocument Description Tags"
            ),
            "GetPolicy": operation(self._get, "PolicyArn"),
            "ListPolicies": operation(
                self._list, f"Scope OnlyAttached PathPrefix PolicyUsageFilter {iam_words.PAGE}"
            ),
            "DeletePolicy": operation(self._delete, "PolicyArn"),
            "CreatePolicyVersion": operation(
                self._create_version, "PolicyArn PolicyDocument SetAsDefault"
            ),
            "GetPolicyVersion": operation(self._get_version, "PolicyArn VersionId"),
            "ListPolicyVersions": operation(self._list_versions, f"PolicyArn {iam_words.PAGE}"),
            "SetDefaultPolicyVersion": operation(self._set_default, "PolicyArn VersionId"),
            "DeletePolicyVersion": operation(self._delete_version, "PolicyArn VersionId"),
            "ListEntitiesForPolicy": operation(
                self._entities,
                f"PolicyArn EntityFilter PathPrefix PolicyUsageFilter {iam_words.PAGE}",
            ),
        }

    def _create(self, call: Call) -> Document:
        iam_words.check_path(call)
        tags, name = iam_tags.read(call), call.input["PolicyName"]
        text = iam_words.check_document(name, call.input["PolicyDocument"])
        store = self._plane.store
        with store.transaction():
            if store.policies.get(call.account, name) is not None:
                raise AwsError(
                    "EntityAlreadyExists",
                    f"A policy called {name} already exists. Duplicate names are not allowed.",
                    409,
                )
            self._policies.create(call.account, name, text, call.input.get("Description", ""))
            columns = store.policies.columns
            store.policies.change(columns.account == call.account, columns.name == name, tags=tags)
            made = self._policies.policy(call.account, name)
        return {"Policy": iam_entities.show_policy(made, 0)}

    def _get(self, call: Call) -> Document:
        found = iam_entities.policy(self._plane, call)
        return {"Policy": iam_entities.show_policy(found, len(self._users(call.account, found)))}

    def _list(self, call: Call) -> Document:
        given, account = call.input, call.account
        store = self._plane.store
        found: list[AnyPolicy] = []
        scope = given.get("Scope", "All")
        if _for_permissions(call) and iam_words.below(call):
            if scope != "AWS":
                found += store.policies.where(store.policies.columns.account == account)
            if scope != "Local":
                found += managed_policies().values()
        used: dict[str, int] = {}
        for each in store.attachments.where(store.attachments.columns.account == account):
            used[each.policy] = used.get(each.policy, 0) + 1
        if given.get("OnlyAttached"):
            found = [each for each in found if iam_entities.key_of(each) in used]
        return iam_words.listed(
            call,
            "Policies",
            found,
            iam_entities.policy_arn,
            lambda each: iam_entities.show_policy(
                each, used.get(iam_entities.key_of(each), 0), whole=False
            ),
        )

    def _delete(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            found = iam_entities.own_policy(self._plane, call)
            if self._users(call.account, found):
                raise AwsError(
                    "DeleteConflict", "Cannot delete a policy attached to entities.", 409
                )
            if len(self._policies.versions(found)) > 1:
                raise AwsError(
                    "DeleteConflict",
                    "This policy has more than one version. Before you delete a policy, you must"
                    " delete the policy's versions. The default version is deleted with the"
                    " policy.",
                    409,
                )
            self._policies.delete(found)
        return {}

    # -- versions -------------------------------------------------------------------------------

    def _create_version(self, call: Call) -> Document:
        text = iam_words.check_document("", call.input["PolicyDocument"])
        with self._plane.connections.rechecked():
            found = iam_entities.own_policy(self._plane, call)
            if len(self._policies.versions(found)) >= MAX_VERSIONS:
                raise AwsError(
                    "LimitExceeded",
                    f"A managed policy can have up to {MAX_VERSIONS} versions. Before you create a"
                    " new version, you must delete an existing version.",
                    409,
                )
            made = self._policies.add(
                found,
                text,
                default=call.input.get("SetAsDefault", False),
            )
        return {"PolicyVersion": iam_entities.show_version(made, text=False)}

    def _get_version(self, call: Call) -> Document:
        found = iam_entities.policy(self._plane, call)
        return {"PolicyVersion": iam_entities.show_version(self._version(call, found))}

    def _list_versions(self, call: Call) -> Document:
        found = self.versions(iam_entities.policy(self._plane, call))
        return iam_words.listed(
            call,
            "Versions",
            found,
            # The newest first.
            lambda each: -each.number,
            lambda each: iam_entities.show_version(each, text=False),
        )

    def _set_default(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            found = iam_entities.own_policy(self._plane, call)
            self._policies.set_default(found, self._version(call, found).number)
        return {}

    def _delete_version(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            found = iam_entities.own_policy(self._plane, call)
            version = self._version(call, found)
            if version.is_default:
                raise AwsError(
                    "DeleteConflict", "Cannot delete the default version of a policy.", 409
                )
            self._policies.delete_version(found, version.number)
        return {}

    def _version(self, call: Call, found: AnyPolicy) -> Version:
        wanted = call.input["VersionId"]
        for each in self.versions(found):
            if wanted.partition(".")[0] == f"v{each.number}":
                return each
        raise AwsError(
            "NoSuchEntity",
            f"Policy {iam_entities.policy_arn(found)} version {wanted} does not exist or is not"
            " attachable.",
            404,
        )

    def versions(self, found: AnyPolicy) -> list[Version]:
        """All versions of a policy, the oldest first."""
        if isinstance(found, ManagedPolicy):
            return [Version(1, found.document, found.created_at, is_default=True)]
        return self._policies.versions(found)

    # -- who has them ---------------------------------------------------------------------------

    def _entities(self, call: Call) -> Document:
        found = iam_entities.policy(self._plane, call)
        kinds = _FILTERED.get(call.input.get("EntityFilter", ""), ())
        users = [
            each
            for each in self._users(call.account, found)
            if each.kind in kinds and _for_permissions(call) and iam_words.below(call)
        ]
        shown = iam_words.listed(
            call, "all", users, lambda each: (each.kind, each.name), lambda each: each
        )
        members = {
            kind: [each for each in shown["all"] if each.kind == kind]
            for kind in (records.USER, records.ROLE)
        }
        return {
            "PolicyGroups": [],
            "PolicyUsers": [self._user(each) for each in members[records.USER]],
            "PolicyRoles": [self._role(each) for each in members[records.ROLE]],
            "IsTruncated": shown["IsTruncated"],
            "Marker": shown["Marker"],
        }

    def _user(self, attachment: records.Attachment) -> Document:
        user = self._plane.store.users.get(attachment.account, attachment.name)
        return {"UserName": attachment.name, "UserId": user.id if user else None}

    def _role(self, attachment: records.Attachment) -> Document:
        role = self._plane.store.roles.get(attachment.account, attachment.name)
        return {"RoleName": attachment.name, "RoleId": role.id if role else None}

    def _users(self, account: str, found: PolicyRecord | ManagedPolicy) -> list[records.Attachment]:
        columns = self._plane.store.attachments.columns
        return self._plane.store.attachments.where(
            columns.account == account, columns.policy == iam_entities.key_of(found)
        )


def _for_permissions(call: Call) -> bool:
    """Whether policies are asked for that give rights: none of a pool's is a boundary."""
    return bool(call.input.get("PolicyUsageFilter", "PermissionsPolicy") == "PermissionsPolicy")
