"""What users and roles have: policies attached to them, and policies inside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from elastic_inference.aws import iam_entities, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import records
from elastic_inference.control.identities import MAX_ATTACHED, Identities
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Attachment, Role, User


@dataclass(frozen=True, slots=True)
class _Kind:
    """Users, or roles.

    Attributes:
        kind: as records have it.
        word: as operations have it; with Name it is the parameter.
    """

    kind: str
    word: str
    find: Callable[[ControlPlane, Call], User | Role]

    @property
    def name(self) -> str:
        return f"{self.word}Name"


class Grants:
    """Attach, detach, put, get, list and delete, of users and of roles."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._identities = Identities(plane.store, plane.access, plane.clock)
        self.operations: Operations = {
            **self._of(_Kind(records.USER, "User", iam_entities.user)),
            **self._of(_Kind(records.ROLE, "Role", iam_entities.role)),
        }

    def _of(self, of: _Kind) -> Operations:
        def with_kind(run: Callable[[_Kind, Call], Document]) -> Callable[[Call], Document]:
            return lambda call: run(of, call)

        inside = f"{of.name} PolicyName"
        return {
            f"Attach{of.word}Policy": operation(with_kind(self._attach), f"{of.name} PolicyArn"),
            f"Detach{of.word}Policy": operation(with_kind(self._detach), f"{of.name} PolicyArn"),
            f"ListAttached{of.word}Policies": operation(
                with_kind(self._attached), f"{of.name} PathPrefix {iam_words.PAGE}"
            ),
            f"Put{of.word}Policy": operation(with_kind(self._put), f"{inside} PolicyDocument"),
            f"Get{of.word}Policy": operation(with_kind(self._get), inside),
            f"Delete{of.word}Policy": operation(with_kind(self._delete), inside),
            f"List{of.word}Policies": operation(
                with_kind(self._list), f"{of.name} {iam_words.PAGE}"
            ),
        }

    # -- attached -------------------------------------------------------------------------------

    def _attach(self, of: _Kind, call: Call) -> Document:
        # What is attached may be a Deny.
        with self._plane.connections.rechecked():
            name = of.find(self._plane, call).name
            policy = iam_entities.key_of(iam_entities.policy(self._plane, call))
            store = self._plane.store
            known = store.attachments.get(call.account, policy, of.kind, name)
            columns = store.attachments.columns
            count = store.attachments.count(
                columns.account == call.account, columns.kind == of.kind, columns.name == name
            )
            if known is None and count >= MAX_ATTACHED:
                raise iam_words.too_many(f"PoliciesPer{of.word}", MAX_ATTACHED)
            self._identities.attach(call.account, policy, of.kind, name)
        return {}

    def _detach(self, of: _Kind, call: Call) -> Document:
        with self._plane.connections.rechecked():
            name = of.find(self._plane, call).name
            policy = iam_entities.key_of(iam_entities.policy(self._plane, call))
            known: Attachment | None = self._plane.store.attachments.get(
                call.account, policy, of.kind, name
            )
            if known is None:
                raise AwsError(
                    "NoSuchEntity", f"Policy {call.input['PolicyArn']} was not found.", 404
                )
            self._identities.detach(call.account, policy, of.kind, name)
        return {}

    def _attached(self, of: _Kind, call: Call) -> Document:
        name = of.find(self._plane, call).name
        found = iam_entities.attached_to(self._plane, call.account, of.kind, name)
        return iam_words.listed(
            call,
            "AttachedPolicies",
            found if iam_words.below(call) else [],
            lambda each: each["PolicyArn"],
            lambda each: each,
        )

    # -- inside ---------------------------------------------------------------------------------

    def _put(self, of: _Kind, call: Call) -> Document:
        policy = call.input["PolicyName"]
        text = iam_words.check_document(policy, call.input["PolicyDocument"])
        with self._plane.connections.rechecked():
            name = of.find(self._plane, call).name
            self._identities.put_inline(call.account, of.kind, name, policy, text)
        return {}

    def _get(self, of: _Kind, call: Call) -> Document:
        found = self._inside(of, call)
        return {
            of.name: found.name,
            "PolicyName": found.policy,
            "PolicyDocument": iam_entities.document(found.document),
        }

    def _delete(self, of: _Kind, call: Call) -> Document:
        with self._plane.connections.rechecked():
            found = self._inside(of, call)
            self._identities.delete_inline(call.account, of.kind, found.name, found.policy)
        return {}

    def _list(self, of: _Kind, call: Call) -> Document:
        name = of.find(self._plane, call).name
        found = iam_entities.inside(self._plane, call.account, of.kind, name)
        return iam_words.listed(
            call, "PolicyNames", found, lambda each: each.policy, lambda each: each.policy
        )

    def _inside(self, of: _Kind, call: Call) -> records.InlinePolicy:
        name, wanted = of.find(self._plane, call).name, call.input["PolicyName"]
        found = self._plane.store.inline_policies.get(call.account, of.kind, name, wanted)
        if found is None:
            raise iam_words.no_such(f"{of.kind} policy", wanted)
        return found
