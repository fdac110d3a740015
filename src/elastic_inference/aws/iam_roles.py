"""IAM's roles."""

from __future__ import annotations

from elastic_inference.aws import iam_entities, iam_tags, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import records
from elastic_inference.control.identities import USUAL_SESSION, Identities
from elastic_inference.control.plane import ControlPlane

# Who looks for a role in one page finds it.
_PAGE_OF_ROLES = 1000


class Roles:
    """Create, get, list, change and delete."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._identities = Identities(plane.store, plane.access, plane.clock)
        self.operations: Operations = {
            "CreateRole": operation(
                self._create,
                "RoleName Path AssumeRolePolicyDocument Description MaxSessionDuration Tags",
            ),
            "GetRole": operation(self._get, "RoleName"),
            "ListRoles": operation(self._list, f"PathPrefix {iam_words.PAGE}"),
            "UpdateRole": operation(self._update, "RoleName Description MaxSessionDuration"),
            "UpdateRoleDescription": operation(self._describe, "RoleName Description"),
            "UpdateAssumeRolePolicy": operation(self._trust, "RoleName PolicyDocument"),
            "DeleteRole": operation(self._delete, "RoleName"),
        }

    def _create(self, call: Call) -> Document:
        iam_words.check_path(call)
        tags, name = iam_tags.read(call), call.input["RoleName"]
        trust = iam_words.check_document(name, call.input["AssumeRolePolicyDocument"], trust=True)
        with self._plane.store.transaction():
            if self._plane.store.roles.get(call.account, name) is not None:
                raise iam_words.exists("Role", name)
            made = self._identities.create_role(
                call.account,
                name,
                call.input.get("Description", ""),
                trust,
                tags=tags,
                max_session=call.input.get("MaxSessionDuration", USUAL_SESSION),
            )
        return {"Role": iam_entities.show_role(made)}

    def _get(self, call: Call) -> Document:
        return {"Role": iam_entities.show_role(iam_entities.role(self._plane, call))}

    def _list(self, call: Call) -> Document:
        columns = self._plane.store.roles.columns
        found = self._plane.store.roles.where(columns.account == call.account)
        return iam_words.listed(
            call,
            "Roles",
            found if iam_words.below(call) else [],
            lambda each: each.name,
            lambda each: iam_entities.show_role(each, tags=False),
            usual=_PAGE_OF_ROLES,
        )

    def _update(self, call: Call) -> Document:
        given = call.input
        changes: dict[str, object] = {}
        if "Description" in given:
            changes["description"] = given["Description"]
        if "MaxSessionDuration" in given:
            changes["max_session"] = given["MaxSessionDuration"]
        self._change(call, **changes)
        return {}

    def _describe(self, call: Call) -> Document:
        self._change(call, description=call.input["Description"])
        return self._get(call)

    def _trust(self, call: Call) -> Document:
        name, text = call.input["RoleName"], call.input["PolicyDocument"]
        self._change(call, trust_policy=iam_words.check_document(name, text, trust=True))
        return {}

    def _change(self, call: Call, **values: object) -> None:
        store = self._plane.store
        with store.transaction():
            role = iam_entities.role(self._plane, call)
            columns = store.roles.columns
            if values:
                store.roles.change(
                    columns.account == role.account, columns.name == role.name, **values
                )

    def _delete(self, call: Call) -> Document:
        store, account = self._plane.store, call.account
        with self._plane.connections.rechecked():
            name = iam_entities.role(self._plane, call).name
            profiles = store.profiles.columns
            if store.profiles.count(profiles.account == account, profiles.role_name == name):
                raise iam_words.in_use("remove roles from instance profile")
            if iam_entities.attached_to(self._plane, account, records.ROLE, name):
                raise iam_words.in_use("detach all policies")
            if iam_entities.inside(self._plane, account, records.ROLE, name):
                raise iam_words.in_use("delete policies")
            self._identities.delete_role(account, name)
        return {}
