"""IAM policy documents: what they decide, and how errors in them are named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.control.policy import (
    MAX_CHARACTERS,
    MAX_STATEMENTS,
    Decision,
    Policy,
    Request,
    evaluate,
    parse,
)
from elastic_inference.errors import InvalidRequestError

ACCOUNT = "123456789012"
PREFIX = f"arn:aws:elastic-inference:us-east-1:{ACCOUNT}:elastic-inference-accelerator/"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Reader"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Reader/i-1"
ANN = f"arn:aws:iam::{ACCOUNT}:user/Ann"
ORIGINAL = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["elastic-inference:Connect", "iam:List*", "iam:Get*", "ec2:Describe*"],
      "Resource": "*"
    }
  ]
}"""


def statement(effect: str = "Allow", **changes: Any) -> dict[str, Any]:
    """A statement that speaks of everything, but for the changes; None leaves one out."""
    whole = {"Effect": effect, "Action": "*", "Resource": "*"} | changes
    return {name: value for name, value in whole.items() if value is not None}


def policy(*statements: Any, name: str = "p", version: str = "2012-10-17", **more: Any) -> Policy:
    return parse(json.dumps({"Version": version, "Statement": statements}), name, **more)


def decide(
    *policies: Policy,
    action: str = "elastic-inference:Connect",
    resource: str = PREFIX + "eia-1",
    principal: str = ANN,
    **context: Any,
) -> Decision:
    keys = {key.replace("_", ":", 1): value for key, value in context.items()}
    return evaluate(policies, Request(principal, action, resource, keys))


def refusal(document: Any, **options: Any) -> str:
    text = document if isinstance(document, str) else json.dumps(document, indent=1)
    with pytest.raises(InvalidRequestError) as raised:
        parse(text, **options)
    return str(raised.value)


def test_the_originals_policy() -> None:
    readers = parse(ORIGINAL, "Readers")
    place = "policy Readers, statement Statement[0]"
    assert decide(readers) == Decision(True, False, place)
    assert decide(readers, action="ec2:DescribeInstances").allowed
    assert decide(readers, action="ec2:RunInstances") == Decision(False, False, "")


def test_nothing_allows_nothing() -> None:
    assert decide() == Decision(False, False, "")


def test_what_denies_is_named() -> None:
    allow = policy(statement(), name="All")
    deny = policy(statement("Deny", Sid="Never", Action="elastic-inference:*"), name="Few")
    expected = Decision(False, True, "policy Few, statement Never")
    assert decide(allow, deny) == decide(deny, allow) == expected


@pytest.mark.parametrize(
    ("action", "matches"),
    [
        ("*", True),
        ("elastic-inference:*", True),
        ("elastic-inference:Connect", True),
        ("Elastic-Inference:CONNECT", True),
        ("elastic-inference:C?nn*", True),
        ("elastic-inference:Con", False),
        ("ec2:*", False),
        (["ec2:*", "elastic-inference:Conn*"], True),
    ],
)
def test_actions(action: str | list[str], matches: bool) -> None:
    assert decide(policy(statement(Action=action))).allowed is matches
    assert decide(policy(statement(Action=None, NotAction=action))).allowed is not matches


@pytest.mark.parametrize(
    ("resource", "matches"),
    [
        ("*", True),
        (PREFIX + "eia-1", True),
        (PREFIX + "eia-?", True),
        (PREFIX + "eia-", False),
        (PREFIX.upper().replace("ARN:AWS", "arn:aws").replace(
            "ELASTIC-INFERENCE:US-EAST-1", "elastic-inference:us-east-1") + "*", False),
        ("arn:aws:elastic-inference:*", True),
        (f"arn:aws:elastic-inference:*:{ACCOUNT}:*", True),
        ("arn:aws:elastic-inference:*:999999999999:*", False),
        ("arn:aws:elastic-inference:us-east-1:${aws:PrincipalAccount}:*/${aws:username}", False),
        (PREFIX + "eia-${aws:number}", True),
        (PREFIX + "eia-${aws:none, '1'}", True),
    ],
)  # fmt: skip
def test_resources(resource: str, matches: bool) -> None:
    context = {"aws_username": "Ann", "aws_number": "1"}
    assert decide(policy(statement(Resource=resource)), **context).allowed is matches
    other = policy(statement(Resource=None, NotResource=resource))
    assert decide(other, **context).allowed is not matches


def test_a_variable_without_a_value_allows_nothing() -> None:
    unknown = PREFIX + "${aws:none}"
    assert not decide(policy(statement(Resource=unknown))).allowed
    assert not decide(policy(statement(Resource=None, NotResource=unknown))).allowed
    deny = policy(statement("Deny", Resource=None, NotResource=unknown))
    assert decide(policy(statement()), deny).explicit_deny


def test_variables_are_texts_in_old_policies() -> None:
    old = policy(statement(Resource=PREFIX + "${aws:x}"), version="2008-10-17")
    assert not decide(old, resource=PREFIX + "eia-1", aws_x="eia-1").allowed
    assert decide(old, resource=PREFIX + "${aws:x}").allowed
    unversioned = parse(json.dumps({"Statement": statement(Resource=PREFIX + "${aws:x}")}))
    assert not decide(unversioned, resource=PREFIX + "eia-1", aws_x="eia-1").allowed


def test_conditions_hold_all_together() -> None:
    both = policy(
        statement(
            Condition={
                "IpAddress": {"AWS:SourceIP": "203.0.113.0/24"},
                "Bool": {"aws:SecureTransport": "true"},
            }
        )
    )
    assert decide(both, aws_SourceIp="203.0.113.9", aws_SecureTransport="true").allowed
    assert not decide(both, aws_SourceIp="203.0.113.9", aws_SecureTransport="false").allowed
    assert not decide(both, aws_SecureTransport="true").allowed


def test_the_principals_keys_are_filled_in() -> None:
    mine = policy(statement(Condition={"ArnEquals": {"aws:PrincipalArn": ROLE}}))
    assert decide(mine, principal=SESSION).allowed
    assert decide(mine, principal=ROLE).allowed
    assert not decide(mine, principal=ANN).allowed
    account = policy(statement(Condition={"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}))
    assert decide(account).allowed
    assert not decide(account, principal="ec2.amazonaws.com").allowed


@pytest.mark.parametrize(
    ("principal", "whom"),
    [
        ("*", {ANN, SESSION, ROLE, "ec2.amazonaws.com"}),
        ({"AWS": "*"}, {ANN, SESSION, ROLE, "ec2.amazonaws.com"}),
        ({"AWS": ACCOUNT}, {ANN, SESSION, ROLE}),
        ({"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}, {ANN, SESSION, ROLE}),
        ({"AWS": [ANN, "999999999999"]}, {ANN}),
        ({"AWS": ROLE}, {SESSION, ROLE}),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/some/path/Reader"}, {SESSION, ROLE}),
        ({"AWS": SESSION}, {SESSION}),
        ({"Service": "ec2.amazonaws.com"}, {"ec2.amazonaws.com"}),
        ({"Service": "ecs.amazonaws.com", "Federated": "example.com"}, set()),
    ],
)
def test_trust_policies(principal: Any, whom: set[str]) -> None:
    trusting = statement(Action="sts:AssumeRole", Resource=None, Principal=principal)
    trust = policy(trusting, trust=True)
    except_them = statement("Deny", Action="*", Resource=None, NotPrincipal=principal)
    everyone = statement(Action="*", Resource=None, Principal="*")
    other = policy(everyone, except_them, trust=True)
    for each in (ANN, SESSION, ROLE, "ec2.amazonaws.com"):
        for tried in (trust, other):
            decision = decide(tried, action="sts:AssumeRole", principal=each, resource="*")
            assert decision.allowed is (each in whom)


def test_policies_of_things_have_principals_and_resources() -> None:
    one = statement(Principal={"AWS": ROLE}, Resource=PREFIX + "eia-1")
    whole = policy(one, of_thing=True)
    assert decide(whole, principal=SESSION).allowed
    assert not decide(whole, principal=ANN).allowed
    assert not decide(whole, principal=SESSION, resource=PREFIX + "eia-2").allowed
    denying = policy(
        statement(Principal="*"),
        statement("Deny", NotPrincipal={"AWS": ROLE}, Resource=None, NotResource=PREFIX + "eia-1"),
        of_thing=True,
    )
    assert not decide(denying, principal=ANN, resource=PREFIX + "eia-2").allowed
    assert decide(denying, principal=ANN).allowed
    for name in ("Principal", "Resource"):
        changes: dict[str, Any] = {"Principal": "*"} | {name: None}
        lacking = statement(**changes)
        assert f"{name} or Not{name} is missing" in refusal({"Statement": lacking}, of_thing=True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1, column 1: a value is expected"),
        ('{\n "Version": "2012-10-17",\n}', "line 3, column 1: a key in double quotes"),
        ('{"a" 1}', "line 1, column 6: a colon"),
        ('{\n"a": 1\n"b": 2}', "line 3, column 1: a comma or }"),
        ('{"a": [1 2]}', "line 1, column 10: a comma or ]"),
        ('{"a": "x', "line 1, column 7: unterminated string"),
        ('{"a": "\\q"}', "line 1, column 8: invalid"),
        ('{"a": 1, "a": 2}', "line 1, column 10: the key 'a' is there twice"),
        ('{"a": tru}', "line 1, column 7: a value"),
        ('{"a": NaN}', "line 1, column 7: a value"),
        ("{} {}", "line 1, column 4: there is more"),
        ("[" * 5000, "column 10: it nests deeper than 8 levels"),
        ('{"a": "\\ud800"}', "line 1, column 7: a text has half"),
    ],
)
def test_errors_of_json_are_named_by_line_and_column(text: str, where: str) -> None:
    assert where in refusal(text)


STATEMENT = statement()


@pytest.mark.parametrize(
    ("document", "where", "why"),
    [
        ([], "(line 1)", "an object, not a list"),
        ({"Statement": [STATEMENT], "Vresion": "1"}, "Vresion", "no element of a policy"),
        ({"Version": "2012-10-17"}, "(line 1)", "Statement is missing"),
        ({"Version": "2012-10-18", "Statement": [STATEMENT]}, "Version (line 2)", "2012-10-17"),
        ({"Version": 1, "Statement": [STATEMENT]}, "Version (line 2)", "a text, not a number"),
        ({"Id": [], "Statement": [STATEMENT]}, "Id (line 2)", "a text, not a list"),
        ({"Statement": []}, "Statement (line 2)", "empty"),
        ({"Statement": "all"}, "Statement (line 2)", "an object, not a text"),
        ({"Statement": [STATEMENT, 1]}, "Statement[1] (line 8)", "an object, not a number"),
        ({"Statement": [STATEMENT] * (MAX_STATEMENTS + 1)}, "Statement", "100 may"),
        ({"Statement": [statement(Sid="a"), statement(Sid="a")]}, "Statement[1]", "another"),
        ({"Statement": {"Action": "*", "Resource": "*"}}, "(line 2)", "Effect is missing"),
        ({"Statement": [statement("allow")]}, "Statement[0].Effect", "neither Allow nor Deny"),
        ({"Statement": [statement(Effect=True)]}, "Statement[0].Effect", "a text, not true or"),
        ({"Statement": [statement(Sid="no blanks")]}, "Statement[0].Sid", "letters and digits"),
        ({"Statement": [statement(NotAction="*")]}, "Statement[0]", "both Action and NotAction"),
        ({"Statement": [statement(NotResource="*")]}, "Statement[0]", "both Resource and NotRes"),
        ({"Statement": [statement(Action=None)]}, "Statement[0]", "Action or NotAction is missing"),
        ({"Statement": [statement(Resource=None)]}, "Statement[0]", "Resource or NotResource is"),
        ({"Statement": [statement(Action=[])]}, "Statement[0].Action", "empty"),
        ({"Statement": [statement(Action=["*"] * 501)]}, "Statement[0].Action", "500 may"),
        ({"Statement": [statement(Action=["*", "Connect"])]}, "Action[1]", "service:Name"),
        ({"Statement": [statement(Action="*:Connect")]}, "Action", "service:Name"),
        ({"Statement": [statement(Action="ec2:")]}, "Action", "service:Name"),
        ({"Statement": [statement(Action="ec2:${aws:x}")]}, "Action", "service:Name"),
        ({"Statement": [statement(Resource=[])]}, "Statement[0].Resource", "empty"),
        ({"Statement": [statement(Resource="eia-1")]}, "Resource", "neither * nor an ARN"),
        ({"Statement": [statement(Resource="arn:aws:ec2:x")]}, "Resource", "six parts"),
        ({"Statement": [statement(Resource="arn:*")]}, "Resource", "six parts"),
        ({"Statement": [statement(Resource="arn:*:ec2:::x")]}, "Resource", "partition"),
        ({"Statement": [statement(Resource="arn:aws:*:::x")]}, "Resource", "service"),
        ({"Statement": [statement(Resource="arn:aws:ec2:A B::x")]}, "Resource", "region"),
        ({"Statement": [statement(Resource="arn:aws:ec2::1/2:x")]}, "Resource", "account"),
        ({"Statement": [statement(Resource="arn:aws:ec2:::")]}, "Resource", "resource"),
        ({"Version": "2012-10-17", "Statement": [statement(Resource="arn:aws:s3:::${aws:x")]},
         "Statement[0].Resource", "policy variable"),
        ({"Statement": [statement(Principal="*")]}, "Statement[0].Principal", "no principal"),
        ({"Statement": [statement(Efect="Deny")]}, "Statement[0].Efect", "no element"),
        ({"Statement": [STATEMENT, statement(Condition={"IpAddress": {"aws:SourceIp": "x"}})]},
         "Statement[1].Condition.IpAddress.aws:SourceIp (line 14)", "IP address"),
        ({"Statement": [statement(Condition={"IpAdress": {"aws:SourceIp": "x"}})]},
         "Statement[0].Condition.IpAdress (line", "Did you mean IpAddress?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_place(document: Any, where: str, why: str) -> None:
    message = refusal(document)
    assert where in message
    assert why in message


@pytest.mark.parametrize(
    ("changes", "where", "why"),
    [
        ({}, "Statement", "Principal or NotPrincipal is missing"),
        ({"Principal": "*", "Resource": "*"}, "Statement.Resource", "names no resource"),
        ({"Principal": "ec2.amazonaws.com"}, "Statement.Principal", "or an object"),
        ({"Principal": []}, "Statement.Principal", "an object, not a list"),
        ({"Principal": {}}, "Statement.Principal", "nobody"),
        ({"Principal": {"Aws": "*"}}, "Statement.Principal.Aws", "none of AWS"),
        ({"Principal": {"AWS": []}}, "Statement.Principal.AWS", "1 to 500"),
        ({"Principal": {"AWS": [1]}}, "Statement.Principal.AWS[0]", "a text, not a number"),
        ({"Principal": {"AWS": "Ann"}}, "Statement.Principal.AWS", "12 digits"),
        ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"}}, "Principal.AWS", "wildcards"),
        ({"Principal": {"Service": "ec2"}}, "Statement.Principal.Service", "ec2.amazonaws.com"),
        ({"Principal": {"Federated": "a b"}}, "Principal.Federated", "identity provider"),
        ({"NotPrincipal": "*"}, "Statement.NotPrincipal", "Deny only"),
    ],
)
def test_what_is_wrong_in_a_trust_policy(changes: Any, where: str, why: str) -> None:
    message = refusal({"Statement": statement(**({"Resource": None} | changes))}, trust=True)
    assert "trust policy" in message
    assert where in message
    assert why in message


def test_a_policy_may_have_so_many_characters() -> None:
    text = ORIGINAL + " " * (MAX_CHARACTERS - len(ORIGINAL))
    assert parse(text).text == text
    assert f"{MAX_CHARACTERS + 1} characters" in refusal(text + " ")


# Words that documents are made of, so that chance comes past the first checks.
WORDS = st.sampled_from(
    ["Version", "2012-10-17", "Id", "Statement", "Sid", "Effect", "Allow", "Deny", "Action",
     "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition", "AWS", "*",
     "ec2:*", "arn:aws:ec2:*", "StringLike", "Bool", "true", "${aws:x}", "${", "aws:x", "Null",
     "ForAnyValue:NumericEqualsIfExists", "DateLessThan", "0001-01-01T00:00:00+23:59", "2026"]
)  # fmt: skip
TEXTS = WORDS | st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=5),
    max_leaves=20,
)
STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": st.sampled_from(["*", "ec2:Describe*", ["ec2:Run*", "iam:Get?ser"]]),
    },
    optional={
        "Resource": st.sampled_from(["*", "arn:aws:ec2:*", "arn:aws:s3:::${aws:x}"]) | JSON,
        "Condition": st.dictionaries(TEXTS, st.dictionaries(TEXTS, JSON, max_size=2), max_size=2),
        "Principal": st.just("*") | JSON,
    },
)


def parses_or_refuses(text: str) -> None:
    for trust in (False, True):
        try:
            parsed = parse(text, trust=trust)
        except InvalidRequestError as error:
            message = str(error)
        else:
            message = "fine"
            evaluate([parsed], Request(ANN, "ec2:RunInstances", "*", {"aws:x": ["a", "b"]}))
        assert len(message) < 2000
        assert message.isprintable()


@given(JSON | st.fixed_dictionaries({"Statement": st.lists(STATEMENTS, max_size=2) | JSON}))
def test_any_json_is_read_or_refused(document: Any) -> None:
    parses_or_refuses(json.dumps(document))


@given(
    st.text(st.characters(exclude_categories=()))
    | st.text('{}[]",:\\ \n0123456789.eE+-truefalsn', max_size=60)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    parses_or_refuses(text)


@given(st.text(max_size=8), st.integers(0, len(ORIGINAL)), st.integers(0, 8))
def test_any_damage_is_read_or_refused(text: str, at: int, length: int) -> None:
    parses_or_refuses(ORIGINAL[:at] + text + ORIGINAL[at + length :])


@given(JSON)
def test_json_is_read_as_the_standard_library_reads_it(document: Any) -> None:
    text = json.dumps(document)
    if "NaN" in text or "Infinity" in text:
        return
    from elastic_inference.control import json_positions

    def plain(node: json_positions.Node) -> Any:
        match node.value:
            case dict() as members:
                return {key: plain(each) for key, each in members.items()}
            case list() as items:
                return [plain(each) for each in items]
            case json_positions.Number(written):
                return json.loads(written)
            case other:
                return other

    assert plain(json_positions.read(text, "text", deepest=50)) == document


ACTIONS = st.sampled_from(["*", "ec2:*", "ec2:RunInstances", "iam:*", "ec2:Run?nstances"])
POLICIES = st.lists(
    st.lists(
        st.builds(
            statement,
            st.sampled_from(["Allow", "Deny"]),
            Action=ACTIONS,
            Resource=st.sampled_from(["*", "arn:aws:ec2:*", PREFIX + "*"]),
            Condition=st.sampled_from([None, {"Null": {"aws:x": "true"}}]),
        ),
        min_size=1,
        max_size=4,
    ),
    max_size=4,
)


@given(POLICIES, st.randoms(use_true_random=False))
def test_deny_wins_in_whatever_order(documents: list[list[Any]], random: Any) -> None:
    request = Request(ANN, "ec2:RunInstances", "arn:aws:ec2:us-east-1:1:instance/i-1")
    first = evaluate([policy(*each) for each in documents], request)
    single = [evaluate([policy(one)], request) for each in documents for one in each]
    assert first.explicit_deny is any(each.explicit_deny for each in single)
    assert first.allowed is (
        any(each.allowed for each in single) and not any(each.explicit_deny for each in single)
    )
    shuffled = [random.sample(each, len(each)) for each in documents]
    random.shuffle(shuffled)
    again = evaluate([policy(*each) for each in shuffled], request)
    assert (again.allowed, again.explicit_deny) == (first.allowed, first.explicit_deny)
