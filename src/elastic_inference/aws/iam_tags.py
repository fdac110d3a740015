"""Tags of users, roles, policies and instance profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from elastic_inference.aws import iam_entities, iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.iam_resources import operation
from elastic_inference.aws.tags import shown
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import InstanceProfile, PolicyRecord, Role, User

MAX_TAGS = 50
_Tagged: TypeAlias = User | Role | InstanceProfile | PolicyRecord
_Find: TypeAlias = Callable[[ControlPlane, Call], _Tagged]


def read(call: Call) -> dict[str, str]:
    """The tags of a call.

    Raises:
        AwsError: there are too many, or one is none.
    """
    found: dict[str, str] = {}
    given: Sequence[Mapping[str, str]] = call.input.get("Tags", ())
    for each in given:
        key, value = each["Key"], each["Value"]
        if key.lower().startswith("aws:"):
            raise iam_words.invalid_input(
                f"The tag key {key!r} begins with aws:, which is reserved for AWS."
            )
        if key.lower() in {known.lower() for known in found}:
            raise iam_words.invalid_input(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive."
            )
        found[key] = value
    _check_count(found)
    return found


class Tags:
    """Tag, untag and list for each of the four."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        store = plane.store
        self._tables: Mapping[type, Any] = {
            User: store.users,
            Role: store.roles,
            InstanceProfile: store.profiles,
            PolicyRecord: store.policies,
        }
        self.operations: Operations = {
            **self._of("User", "Tags", "UserName", iam_entities.user),
            **self._of("Role", "Tags", "RoleName", iam_entities.role),
            **self._of("Policy", "Tags", "PolicyArn", iam_entities.own_policy),
            **self._of("InstanceProfile", "Tags", "InstanceProfileName", iam_entities.profile),
        }

    def _of(self, what: str, member: str, name: str, find: _Find) -> Operations:
        def tag(call: Call) -> Document:
            given = read(call)
            return self._change(find, call, lambda tags: {**tags, **given})

        def untag(call: Call) -> Document:
            gone = set(call.input["TagKeys"])
            return self._change(
                find, call, lambda tags: {key: tags[key] for key in tags if key not in gone}
            )

        def list_(call: Call) -> Document:
            tags = shown(find(self._plane, call).tags) or []
            return iam_words.listed(call, member, tags, lambda each: each["Key"], lambda each: each)

        return {
            f"Tag{what}": operation(tag, f"{name} Tags"),
            f"Untag{what}": operation(untag, f"{name} TagKeys"),
            f"List{what}Tags": operation(list_, f"{name} {iam_words.PAGE}"),
        }

    def _change(
        self, find: _Find, call: Call, change: Callable[[Mapping[str, str]], dict[str, str]]
    ) -> Document:
        # Policies may ask for the tags of who wants to connect.
        with self._plane.connections.rechecked():
            found = find(self._plane, call)
            tags = change(found.tags)
            _check_count(tags)
            table = self._tables[type(found)]
            table.change(
                table.columns.account == found.account, table.columns.name == found.name, tags=tags
            )
        return {}


def _check_count(tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise iam_words.too_many("TagsPerResource", MAX_TAGS)
