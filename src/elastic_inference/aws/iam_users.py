"""IAM's users and their access keys."""

from __future__ import annotations

from elastic_inference.aws import iam_entities, iam_tags, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import names, records
from elastic_inference.control.identities import MAX_KEYS, Identities
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import AccessKey


class Users:
    """Create, get, list and delete; the keys, too."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._identities = Identities(plane.store, plane.access, plane.clock)
        self.operations: Operations = {
            "CreateUser": operation(self._create, "UserName Path Tags"),
            "GetUser": operation(self._get, "UserName"),
            "ListUsers": operation(self._list, f"PathPrefix {iam_words.PAGE}"),
            "DeleteUser": operation(self._delete, "UserName"),
            "ListGroups": operation(_no_groups, f"PathPrefix {iam_words.PAGE}"),
            "ListGroupsForUser": operation(self._groups, f"UserName {iam_words.PAGE}"),
            "CreateAccessKey": operation(self._create_key, "UserName"),
            "ListAccessKeys": operation(self._list_keys, f"UserName {iam_words.PAGE}"),
            "UpdateAccessKey": operation(self._update_key, "UserName AccessKeyId Status"),
            "DeleteAccessKey": operation(self._delete_key, "UserName AccessKeyId"),
        }

    def _create(self, call: Call) -> Document:
        iam_words.check_path(call)
        tags, name = iam_tags.read(call), call.input["UserName"]
        with self._plane.store.transaction():
            if self._plane.store.users.get(call.account, name) is not None:
                raise iam_words.exists("User", name)
            made = self._identities.create_user(call.account, name, tags)
        return {"User": iam_entities.show_user(made)}

    def _get(self, call: Call) -> Document:
        key = call.caller.principal.key
        if "UserName" not in call.input and key.kind == records.OWNER:
            return {
                "User": {
                    "UserId": call.account,
                    "Arn": names.owner_arn(call.account),
                    "CreateDate": key.created_at,
                }
            }
        return {"User": iam_entities.show_user(iam_entities.user(self._plane, _named(call)))}

    def _list(self, call: Call) -> Document:
        columns = self._plane.store.users.columns
        found = self._plane.store.users.where(columns.account == call.account)
        return iam_words.listed(
            call,
            "Users",
            found if iam_words.below(call) else [],
            lambda each: each.name,
            lambda each: iam_entities.show_user(each, tags=False),
        )

    def _delete(self, call: Call) -> Document:
        account = call.account
        with self._plane.connections.rechecked():
            name = iam_entities.user(self._plane, call).name
            if self._keys(account, name):
                raise iam_words.in_use("delete access keys")
            if iam_entities.attached_to(self._plane, account, records.USER, name):
                raise iam_words.in_use("detach all policies")
            if iam_entities.inside(self._plane, account, records.USER, name):
                raise iam_words.in_use("delete policies")
            self._identities.delete_user(account, name)
        return {}

    def _groups(self, call: Call) -> Document:
        iam_entities.user(self._plane, call)
        return _no_groups(call)

    # -- keys -----------------------------------------------------------------------------------

    def _create_key(self, call: Call) -> Document:
        with self._plane.store.transaction():
            name = iam_entities.user(self._plane, _named(call)).name
            if len(self._keys(call.account, name)) >= MAX_KEYS:
                raise iam_words.too_many("AccessKeysPerUser", MAX_KEYS)
            key = self._identities.create_key(call.account, name)
        return {"AccessKey": {**_show_key(key), "SecretAccessKey": key.secret}}

    def _list_keys(self, call: Call) -> Document:
        own = call.caller.principal.key
        if "UserName" not in call.input and own.kind == records.OWNER:
            found = self._keys(call.account, "", records.OWNER)
        else:
            user = iam_entities.user(self._plane, _named(call))
            found = self._keys(call.account, user.name)
        return iam_words.listed(call, "AccessKeyMetadata", found, lambda each: each.id, _show_key)

    def _update_key(self, call: Call) -> Document:
        status = call.input["Status"]
        if status not in {records.ACTIVE, records.INACTIVE}:
            raise iam_words.invalid_input("Status is Active or Inactive.")
        with self._plane.connections.rechecked():
            self._identities.set_key_status(call.account, self._key(call).id, status)
        return {}

    def _delete_key(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            self._identities.delete_key(call.account, self._key(call).id)
        return {}

    def _key(self, call: Call) -> AccessKey:
        user = iam_entities.user(self._plane, _named(call))
        wanted = call.input["AccessKeyId"]
        for each in self._keys(call.account, user.name):
            if each.id == wanted:
                return each
        raise AwsError("NoSuchEntity", f"The Access Key with id {wanted} cannot be found.", 404)

    def _keys(self, account: str, name: str, kind: str = records.USER) -> list[AccessKey]:
        columns = self._plane.store.keys.columns
        return self._plane.store.keys.where(
            columns.account == account,
            columns.kind == kind,
            columns.name == name,
            # Credentials for a time are no keys of the user's own.
            columns.session_token.is_(None),
        )


def _no_groups(call: Call) -> Document:
    """Users are in none here, which who removes one asks first."""
    none: list[str] = []
    return iam_words.listed(call, "Groups", none, lambda each: each, lambda each: each)


def _named(call: Call) -> Call:
    """The call with the caller's own name, where it names no user."""
    if "UserName" in call.input:
        return call
    key = call.caller.principal.key
    if key.kind != records.USER:
        raise AwsError(
            "ValidationError", "Must specify userName when calling with non-User credentials"
        )
    return Call(call.operation, {**call.input, "UserName": key.name}, call.caller, call.request_id)


def _show_key(key: AccessKey) -> dict[str, object]:
    return {
        "UserName": key.name or None,
        "AccessKeyId": key.id,
        "Status": key.status,
        "CreateDate": key.created_at,
    }
