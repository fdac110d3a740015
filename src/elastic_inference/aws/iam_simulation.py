"""What somebody might do: decided as it is decided in earnest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from elastic_inference.aws import iam_words
from elastic_inference.aws.call import Call, Document, Operations
from elastic_inference.aws.iam_resources import operation
from elastic_inference.control import names, policy, records
from elastic_inference.control.managed_policies import managed
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.policy import Policy, Request
from elastic_inference.control.policy_text import Span, spans
from elastic_inference.control.statements import Statement

_ACTION = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9]{1,128}")
_SOURCE = re.compile(r"arn:aws:iam::([0-9]{12}):(user|role)/(.{1,64})")
_COMMON = f"ActionNames ResourceArns PolicyInputList ContextEntries {iam_words.PAGE}"
_MOST = 1000
# That the results of one page are decided by.
_MOST_STATEMENTS = 50_000


@dataclass(frozen=True, slots=True)
class _Source:
    """A policy, and where it comes from in IAM's words."""

    policy: Policy
    id: str
    type: str


class Simulation:
    """SimulatePrincipalPolicy and SimulateCustomPolicy, and what context policies ask for."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "SimulatePrincipalPolicy": operation(self._principal, f"PolicySourceArn {_COMMON}"),
            "SimulateCustomPolicy": operation(self._custom, _COMMON),
            "GetContextKeysForPrincipalPolicy": operation(
                self._keys_of_principal, "PolicySourceArn PolicyInputList"
            ),
            "GetContextKeysForCustomPolicy": operation(self._keys, "PolicyInputList"),
        }

    def _principal(self, call: Call) -> Document:
        return _simulate(call, call.input["PolicySourceArn"], self._all(call))

    def _custom(self, call: Call) -> Document:
        return _simulate(call, names.owner_arn(call.account), _given(call))

    def _keys_of_principal(self, call: Call) -> Document:
        return {"ContextKeyNames": _asked(self._all(call))}

    def _keys(self, call: Call) -> Document:
        return {"ContextKeyNames": _asked(_given(call))}

    def _all(self, call: Call) -> list[_Source]:
        return [*self._sources(call), *_given(call)]

    def _sources(self, call: Call) -> list[_Source]:
        arn = call.input["PolicySourceArn"]
        match = _SOURCE.fullmatch(arn)
        if match is None or match[1] != call.account:
            raise iam_words.invalid_input(f"{arn} is no ARN of a user or role of this account.")
        kind, name = match[2], match[3]
        store, account = self._plane.store, call.account
        if (store.users if kind == records.USER else store.roles).get(account, name) is None:
            raise iam_words.no_such(kind, name)
        columns, inline = store.attachments.columns, store.inline_policies.columns
        found: list[_Source] = []
        for each in store.attachments.where(
            columns.account == account, columns.kind == kind, columns.name == name
        ):
            own, local = managed(each.policy), store.policies.get(account, each.policy)
            if own is not None:
                found.append(_source(own.name, own.document, "aws-managed"))
            elif local is not None:
                found.append(_source(local.name, local.document, "user-managed"))
        found += [
            _source(f"{kind}_{name}_{each.policy}", each.document, kind)
            for each in store.inline_policies.where(
                inline.account == account, inline.kind == kind, inline.name == name
            )
        ]
        return found


def _source(name: str, text: str, kind: str) -> _Source:
    return _Source(policy.parse(text, name=name), name, kind)


def _given(call: Call) -> list[_Source]:
    texts: Sequence[str] = call.input.get("PolicyInputList", ())
    return [
        _source(f"PolicyInputList.{number}", iam_words.check_document("", text), "none")
        for number, text in enumerate(texts, 1)
    ]


def _simulate(call: Call, principal: str, sources: Sequence[_Source]) -> Document:
    given = call.input
    context = {
        each["ContextKeyName"]: tuple(each.get("ContextKeyValues", ()))
        for each in given.get("ContextEntries", ())
        if each.get("ContextKeyName")
    }
    for action in given["ActionNames"]:
        if not _ACTION.fullmatch(action):
            raise iam_words.invalid_input(f"Invalid Action: {action}")
    resources: Sequence[str] = given.get("ResourceArns") or ("*",)
    pairs = [(action, each) for action in given["ActionNames"] for each in resources]
    if len(pairs) > _MOST:
        raise iam_words.invalid_input(f"Up to {_MOST} actions on resources are simulated at once.")
    missing = _asked(sources, but=context)
    return iam_words.listed(
        call,
        "EvaluationResults",
        list(enumerate(pairs)),
        lambda each: each[0],
        lambda each: _result(sources, Request(principal, each[1][0], each[1][1], context), missing),
        # Each result may name each statement; as in AWS a page may be shorter than it might be.
        most=max(1, _MOST_STATEMENTS // max(1, _count(sources))),
    )


def _result(
    sources: Sequence[_Source], request: Request, missing: Sequence[str]
) -> Mapping[str, Any]:
    decision = policy.evaluate([each.policy for each in sources], request)
    matched = policy.matching([each.policy for each in sources], request)
    said = "implicitDeny"
    if decision.explicit_deny:
        said = "explicitDeny"
    elif decision.allowed:
        said = "allowed"
    by_policy = {id(each.policy): each for each in sources}
    return {
        "EvalActionName": request.action,
        "EvalResourceName": request.resource,
        "EvalDecision": said,
        "MatchedStatements": [
            _statement(by_policy[id(found)], statement)
            for found, statement in matched
            if statement.denies is decision.explicit_deny
        ],
        "MissingContextValues": list(missing),
    }


def _statement(source: _Source, statement: Statement) -> Mapping[str, Any]:
    own = source.policy.statements
    # By what it is, not by what it says: another one may say the same.
    place = next(at for at, each in enumerate(own) if each is statement)
    span: Span = _spans(source.policy.text)[place]
    return {
        "SourcePolicyId": source.id,
        "SourcePolicyType": source.type,
        "StartPosition": {"Line": span.line, "Column": span.column},
        "EndPosition": {"Line": span.end_line, "Column": span.end_column},
    }


def _count(sources: Sequence[_Source]) -> int:
    return sum(len(each.policy.statements) for each in sources)


@lru_cache(maxsize=64)
def _spans(text: str) -> Sequence[Span]:
    return spans(text)


def _asked(sources: Sequence[_Source], but: Mapping[str, object] | None = None) -> list[str]:
    """The context keys that conditions ask for, as they are written there."""
    known = {each.lower() for each in but or {}}
    found: dict[str, str] = {}
    for source in sources:
        for statement in source.policy.statements:
            for condition in statement.conditions:
                if condition.key not in known:
                    found.setdefault(condition.key, _written(source.policy.text, condition.key))
    return sorted(found.values())


def _written(text: str, key: str) -> str:
    match = re.search(re.escape(key), text, re.IGNORECASE)
    return match[0] if match else key
