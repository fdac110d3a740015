"""Instance profiles: what gives an instance its role."""

from __future__ import annotations

from collections.abc import Sequence

from elastic_inference.aws import iam_entities, iam_tags, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import records
from elastic_inference.control.caller import Caller
from elastic_inference.control.identities import Identities
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import InstanceProfile


def check_pass(plane: ControlPlane, caller: Caller, role: str) -> None:
    """Refuse who may not give a role to instances (iam:PassRole).

    Raises:
        AccessDeniedError: no policy lets the caller pass it.
    """
    plane.access.authorise_pass(caller.principal, role, caller.context)


class InstanceProfiles:
    """Create, get, list and delete; give them roles and take these."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._identities = Identities(plane.store, plane.access, plane.clock)
        both = "InstanceProfileName RoleName"
        self.operations: Operations = {
            "CreateInstanceProfile": operation(self._create, "InstanceProfileName Path Tags"),
            "GetInstanceProfile": operation(self._get, "InstanceProfileName"),
            "ListInstanceProfiles": operation(self._list, f"PathPrefix {iam_words.PAGE}"),
            "ListInstanceProfilesForRole": operation(
                self._list_of_role, f"RoleName {iam_words.PAGE}"
            ),
            "AddRoleToInstanceProfile": operation(self._add_role, both),
            "RemoveRoleFromInstanceProfile": operation(self._remove_role, both),
            "DeleteInstanceProfile": operation(self._delete, "InstanceProfileName"),
        }

    def _create(self, call: Call) -> Document:
        iam_words.check_path(call)
        tags, name = iam_tags.read(call), call.input["InstanceProfileName"]
        with self._plane.store.transaction():
            if self._plane.store.profiles.get(call.account, name) is not None:
                raise AwsError(
                    "EntityAlreadyExists", f"Instance Profile {name} already exists.", 409
                )
            made = self._identities.create_profile(call.account, name, tags=tags)
        return {"InstanceProfile": iam_entities.show_profile(self._plane, made)}

    def _get(self, call: Call) -> Document:
        found = iam_entities.profile(self._plane, call)
        return {"InstanceProfile": iam_entities.show_profile(self._plane, found)}

    def _list(self, call: Call) -> Document:
        columns = self._plane.store.profiles.columns
        found = self._plane.store.profiles.where(columns.account == call.account)
        return self._listed(call, found if iam_words.below(call) else [])

    def _list_of_role(self, call: Call) -> Document:
        role = iam_entities.role(self._plane, call)
        columns = self._plane.store.profiles.columns
        found = self._plane.store.profiles.where(
            columns.account == call.account, columns.role_name == role.name
        )
        return self._listed(call, found)

    def _listed(self, call: Call, found: Sequence[InstanceProfile]) -> Document:
        return iam_words.listed(
            call,
            "InstanceProfiles",
            found,
            lambda each: each.name,
            lambda each: iam_entities.show_profile(self._plane, each, tags=False),
        )

    def _add_role(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            found = iam_entities.profile(self._plane, call)
            role = iam_entities.role(self._plane, call)
            check_pass(self._plane, call.caller, role.name)
            if found.role_name is not None:
                raise iam_words.too_many("InstanceSessionsPerInstanceProfile", 1)
            self._set_role(found, role.name)
        return {}

    def _remove_role(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            found = iam_entities.profile(self._plane, call)
            role = iam_entities.role(self._plane, call)
            if found.role_name != role.name:
                raise iam_words.no_such("role", role.name)
            self._set_role(found, None)
        return {}

    def _set_role(self, found: InstanceProfile, role: str | None) -> None:
        store = self._plane.store
        columns = store.profiles.columns
        store.profiles.change(
            columns.account == found.account, columns.name == found.name, role_name=role
        )
        # Those that were launched with the profile have what it gives.
        instances, keys = store.instances.columns, store.keys.columns
        for each in store.instances.where(
            instances.account == found.account, instances.state != records.TERMINATED
        ):
            if each.ec2.get("IamInstanceProfile", {}).get("Id") == found.id:
                store.set_instance(each.id, role_name=role or "")
                store.keys.remove(keys.instance_id == each.id, keys.kind == records.ROLE)

    def _delete(self, call: Call) -> Document:
        store = self._plane.store
        with store.transaction():
            found = iam_entities.profile(self._plane, call)
            if found.role_name is not None:
                raise iam_words.in_use("remove roles from instance profile")
            columns = store.profiles.columns
            store.profiles.remove(columns.account == found.account, columns.name == found.name)
        return {}
