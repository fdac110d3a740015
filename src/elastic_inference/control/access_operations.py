"""Operations on users, roles, policies and keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from elastic_inference.control import names, records
from elastic_inference.control.caller import Caller, long_text, number, required, text
from elastic_inference.control.documents import Document
from elastic_inference.control.exchange import exchange
from elastic_inference.control.identities import Identities
from elastic_inference.control.instance_documents import credentials
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.policy import MAX_CHARACTERS
from elastic_inference.control.records import Role
from elastic_inference.errors import AccessDeniedError, InvalidRequestError

_USUAL_SESSION, _LONGEST_SESSION = 3600.0, 43200.0


class AccessOperations:
    """Who there is and what they may do. What takes rights away withdraws tokens at once."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._identities = Identities(plane.store, plane.access, plane.clock)
        self.operations: Mapping[str, Callable[[Document, Caller], Document]] = {
            "CreateUser": self._create_user,
            "DeleteUser": self._delete_user,
            "ListUsers": self._list_users,
            "CreateRole": self._create_role,
            "DeleteRole": self._delete_role,
            "ListRoles": self._list_roles,
            "PutPolicy": self._put_policy,
            "GetPolicy": self._get_policy,
            "DeletePolicy": self._delete_policy,
            "ListPolicies": self._list_policies,
            "AttachPolicy": self._attach,
            "DetachPolicy": self._detach,
            "CreateAccessKey": self._create_key,
            "UpdateAccessKey": self._update_key,
            "DeleteAccessKey": self._delete_key,
            "ListAccessKeys": self._list_keys,
            "AssumeRole": self._assume,
            "PutIdentityMapping": self._map,
            "DeleteIdentityMapping": self._unmap,
            "ListIdentityMappings": self._list_mappings,
        }
        self.unsigned: Mapping[str, Callable[[Document], Document]] = {
            "ExchangeIdentity": lambda document: exchange(plane, document)
        }

    # -- users and roles ------------------------------------------------------------------------

    def _create_user(self, document: Document, caller: Caller) -> Document:
        user = self._identities.create_user(caller.account, required(document, "userName"))
        return {
            "userName": user.name,
            "userId": user.id,
            "arn": names.user_arn(user.account, user.name),
        }

    def _delete_user(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            self._identities.delete_user(caller.account, required(document, "userName"))
        return {}

    def _list_users(self, document: Document, caller: Caller) -> Document:
        del document
        table = self._plane.store.users
        found = table.where(table.columns.account == caller.account, order=(table.columns.name,))
        return {
            "users": [
                {
                    "userName": each.name,
                    "arn": names.user_arn(each.account, each.name),
                    "createTime": each.created_at,
                    "policies": self._attached(each.account, records.USER, each.name),
                }
                for each in found
            ]
        }

    def _create_role(self, document: Document, caller: Caller) -> Document:
        with self._plane.store.transaction():
            role = self._identities.create_role(
                caller.account,
                required(document, "roleName"),
                long_text(document, "description", 1000) or "",
                long_text(document, "trustPolicy", MAX_CHARACTERS),
            )
            # AWS's tools give instances a role by a profile, which has the role's name here.
            if self._plane.store.profiles.get(role.account, role.name) is None:
                self._identities.create_profile(role.account, role.name, role.name)
        return {
            "roleName": role.name,
            "roleId": role.id,
            "arn": names.role_arn(role.account, role.name),
        }

    def _delete_role(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            self._identities.delete_role(caller.account, required(document, "roleName"))
        return {}

    def _list_roles(self, document: Document, caller: Caller) -> Document:
        del document
        table = self._plane.store.roles
        found = table.where(table.columns.account == caller.account, order=(table.columns.name,))
        return {
            "roles": [
                {
                    "roleName": each.name,
                    "arn": names.role_arn(each.account, each.name),
                    "description": each.description,
                    "createTime": each.created_at,
                    "policies": self._attached(each.account, records.ROLE, each.name),
                }
                for each in found
            ]
        }

    def _attached(self, account: str, kind: str, name: str) -> list[str]:
        return sorted(each for each, _ in self._plane.store.documents_of(account, kind, name))

    # -- policies -------------------------------------------------------------------------------

    def _put_policy(self, document: Document, caller: Caller) -> Document:
        content = long_text(document, "document", 4 * MAX_CHARACTERS)
        if content is None:
            raise InvalidRequestError("document is missing.")
        with self._plane.connections.rechecked():
            made = self._identities.put_policy(
                caller.account,
                required(document, "policyName"),
                content,
                long_text(document, "description", 1000) or "",
            )
        return {"policyName": made.name, "arn": names.policy_arn(made.account, made.name)}

    def _get_policy(self, document: Document, caller: Caller) -> Document:
        found = self._identities.policy(caller.account, required(document, "policyName"))
        return {
            "policyName": found.name,
            "arn": names.policy_arn(found.account, found.name),
            "description": found.description,
            "document": found.document,
            "createTime": found.created_at,
            "updateTime": found.updated_at,
        }

    def _delete_policy(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            self._identities.delete_policy(caller.account, required(document, "policyName"))
        return {}

    def _list_policies(self, document: Document, caller: Caller) -> Document:
        del document
        table, attachments = self._plane.store.policies, self._plane.store.attachments
        used: dict[str, list[str]] = {}
        for each in attachments.where(attachments.columns.account == caller.account):
            used.setdefault(each.policy, []).append(f"{each.kind} {each.name}")
        found = table.where(table.columns.account == caller.account, order=(table.columns.name,))
        return {
            "policies": [
                {
                    "policyName": each.name,
                    "arn": names.policy_arn(each.account, each.name),
                    "description": each.description,
                    "updateTime": each.updated_at,
                    "attachedTo": sorted(used.get(each.name, [])),
                }
                for each in found
            ]
        }

    def _attach(self, document: Document, caller: Caller) -> Document:
        kind, name = _principal(document)
        with self._plane.connections.rechecked():
            # What it is given may be a Deny.
            self._identities.attach(caller.account, required(document, "policyName"), kind, name)
        return {}

    def _detach(self, document: Document, caller: Caller) -> Document:
        kind, name = _principal(document)
        with self._plane.connections.rechecked():
            self._identities.detach(caller.account, required(document, "policyName"), kind, name)
        return {}

    # -- keys -----------------------------------------------------------------------------------

    def _create_key(self, document: Document, caller: Caller) -> Document:
        with self._plane.store.transaction():
            key = self._identities.create_key(caller.account, required(document, "userName"))
        return {"userName": key.name, "accessKeyId": key.id, "secretAccessKey": key.secret}

    def _update_key(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            self._identities.set_key_status(
                caller.account, required(document, "accessKeyId"), required(document, "status")
            )
        return {}

    def _delete_key(self, document: Document, caller: Caller) -> Document:
        with self._plane.connections.rechecked():
            self._identities.delete_key(caller.account, required(document, "accessKeyId"))
        return {}

    def _list_keys(self, document: Document, caller: Caller) -> Document:
        table, name = self._plane.store.keys, text(document, "userName")
        conditions = [
            table.columns.account == caller.account,
            table.columns.kind.in_((records.OWNER, records.USER)),
            table.columns.session_token.is_(None),
        ]
        if name is not None:
            conditions.append(table.columns.name == name)
        found = table.where(*conditions, order=(table.columns.created_at,))
        return {
            "accessKeys": [
                {
                    "accessKeyId": each.id,
                    "userName": each.name or "(owner)",
                    "status": each.status,
                    "createTime": each.created_at,
                }
                for each in found
            ]
        }

    def _assume(self, document: Document, caller: Caller) -> Document:
        lifetime = number(document, "durationSeconds", 900, _LONGEST_SESSION) or _USUAL_SESSION
        name = caller.principal.key.name or "owner"
        with self._plane.store.transaction():
            role = self._identities.role(caller.account, required(document, "roleName"))
            self._check_trust(role, lifetime, caller)
            key = self._plane.access.add_session(
                caller.account, role.name, name, lifetime, taker=caller.principal
            )
        return {"credentials": credentials(key)}

    def _check_trust(self, role: Role, lifetime: float, caller: Caller) -> None:
        """Refuse a role to whom it does not trust; the owner may take any."""
        principal = caller.principal
        if principal.key.kind == records.OWNER:
            return
        context = {**caller.context, "sts:RoleSessionName": principal.key.name}
        if not self._plane.access.trust(principal, role, context).decision.allowed:
            raise AccessDeniedError(
                f"{principal.arn} may not take the role {role.name}: its trust policy does not"
                " allow it.",
                next_step="Allow sts:AssumeRole in it (aws iam update-assume-role-policy).",
            )
        if lifetime > role.max_session:
            raise InvalidRequestError(
                f"A session of the role {role.name} has up to {role.max_session} seconds."
            )

    # -- identities of AWS ----------------------------------------------------------------------

    def _map(self, document: Document, caller: Caller) -> Document:
        with self._plane.store.transaction():
            self._identities.map_identity(
                caller.account, required(document, "awsArn", 256), required(document, "roleName")
            )
        return {}

    def _unmap(self, document: Document, caller: Caller) -> Document:
        self._identities.unmap_identity(caller.account, required(document, "awsArn", 256))
        return {}

    def _list_mappings(self, document: Document, caller: Caller) -> Document:
        del document
        table = self._plane.store.mappings
        found = table.where(table.columns.account == caller.account, order=(table.columns.aws_arn,))
        return {
            "mappings": [{"awsArn": each.aws_arn, "roleName": each.role_name} for each in found]
        }


def _principal(document: Document) -> tuple[str, str]:
    role, user = text(document, "roleName"), text(document, "userName")
    if (role is None) == (user is None):
        raise InvalidRequestError("Name a role or a user: roleName or userName.")
    return (records.ROLE, role) if role is not None else (records.USER, user or "")
