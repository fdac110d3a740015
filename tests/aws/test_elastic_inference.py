"""elastic-inference by boto3: accelerators, their types and their tags."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from elastic_inference.aws.models import service_model
from elastic_inference.catalog import Catalog
from elastic_inference.control import records
from elastic_inference.control.records import Accelerator
from elastic_inference.fleet.base import Health
from tests.aws.conftest import Aws

TYPES = [each.name for each in Catalog().types]


@contextlib.contextmanager
def _refused(code: str, status: int = 400) -> Iterator[Any]:
    with pytest.raises(ClientError) as failed:
        yield failed
    assert failed.value.response["Error"]["Code"] == code
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def _note(aws: Aws, number: int, instance: int = 1, type_: str = "eia1.medium") -> Accelerator:
    """An accelerator as the store has it, which no process stands behind."""
    store = aws.plane.store
    instance_id, accelerator_id = f"i-{instance:017x}", f"eia-{number:032x}"
    with store.transaction():
        if store.instances.get(instance_id) is None:
            store.instances.add(records.Instance(id=instance_id, created_at=1.0))
        store.accelerators.add(
            Accelerator(
                id=accelerator_id, type=type_, account=aws.account, instance_id=instance_id,
                association_id=f"eia-assoc-{number:017x}", state=records.ASSOCIATED,
                token_key=b"k" * 32, placement={"memory_bytes": 1, "device": "cpu"},
                created_at=float(number),
            )
        )  # fmt: skip
    found = store.accelerators.get(accelerator_id)
    assert found is not None
    return found


def _arn(aws: Aws, accelerator: Accelerator) -> str:
    return (
        f"arn:aws:elastic-inference:{aws.region}:{aws.account}"
        f":elastic-inference-accelerator/{accelerator.id}"
    )


# -- types ----------------------------------------------------------------------------------------


def test_types_have_memory_and_throughput(aws: Aws) -> None:
    found = aws.client("elastic-inference").describe_accelerator_types()["acceleratorTypes"]
    assert [each["acceleratorTypeName"] for each in found] == TYPES
    assert found[1] == {
        "acceleratorTypeName": "eia1.large",
        "memoryInfo": {"sizeInMiB": 2048},
        "throughputInfo": [
            {"key": "TFLOPS16bit", "value": 16}, {"key": "TFLOPS32bit", "value": 2},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "location"),
    [
        ("region", "us-west-2"),
        ("availability-zone", "us-west-2a"),
        ("availability-zone-id", "usw2-az1"),
    ],
)
def test_types_are_offered_in_the_pool_s_one_place(
    start_aws: Any, kind: str, location: str
) -> None:
    client = start_aws(region="us-west-2").client("elastic-inference")
    answer = client.describe_accelerator_offerings(locationType=kind)["acceleratorTypeOfferings"]
    assert [each["acceleratorType"] for each in answer] == TYPES
    assert {(each["locationType"], each["location"]) for each in answer} == {(kind, location)}


def test_offerings_of_some_types_alone(aws: Aws) -> None:
    client = aws.client("elastic-inference")
    answer = client.describe_accelerator_offerings(
        locationType="region", acceleratorTypes=["eia2.large", "eia.large", "eia1.large"]
    )
    names = [each["acceleratorType"] for each in answer["acceleratorTypeOfferings"]]
    assert names == ["eia2.large", "eia1.large"]
    with _refused("BadRequestException") as failed:
        client.describe_accelerator_offerings(locationType="region", acceleratorTypes=["p2.huge"])
    assert "p2.huge" in str(failed.value)
    with _refused("BadRequestException"):
        client.describe_accelerator_offerings(locationType="planet")


# -- accelerators ---------------------------------------------------------------------------------


def test_an_accelerator_that_serves(aws: Aws) -> None:
    instance, (accelerator,), _ = aws.plane.run_instance(["eia1.medium"], tags={"team": "blue"})
    client = aws.client("elastic-inference")
    (shown,) = client.describe_accelerators(acceleratorIds=[accelerator.id])["acceleratorSet"]
    assert shown == {
        "acceleratorId": accelerator.id,
        "acceleratorType": "eia1.medium",
        "acceleratorHealth": {"status": "ok"},
        "availabilityZone": f"{aws.region}a",
        "attachedResource": f"arn:aws:ec2:{aws.region}:{aws.account}:instance/{instance.id}",
    }
    tags = client.list_tags_for_resource(resourceArn=_arn(aws, accelerator))["tags"]
    assert tags == {"team": "blue"}
    aws.plane.terminate(instance.id)
    assert client.describe_accelerators()["acceleratorSet"] == []
    with _refused("ResourceNotFoundException", 404) as failed:
        client.describe_accelerators(acceleratorIds=[accelerator.id])
    assert accelerator.id in str(failed.value)


def test_one_that_nothing_is_known_of_is_unknown(aws: Aws) -> None:
    _note(aws, 1)
    (shown,) = aws.client("elastic-inference").describe_accelerators()["acceleratorSet"]
    assert shown["acceleratorHealth"]["status"] == Health.UNKNOWN.value


def test_filters(aws: Aws) -> None:
    _note(aws, 1, instance=1, type_="eia1.medium")
    _note(aws, 2, instance=1, type_="eia1.large")
    _note(aws, 3, instance=2, type_="eia1.medium")
    client = aws.client("elastic-inference")

    def ids(*filters: tuple[str, list[str]], **more: Any) -> list[int]:
        asked = [{"name": name, "values": values} for name, values in filters]
        found = client.describe_accelerators(filters=asked, **more)["acceleratorSet"]
        return [int(each["acceleratorId"][4:], 16) for each in found]

    first, second = "i-" + "1".rjust(17, "0"), "i-" + "2".rjust(17, "0")
    assert ids() == [1, 2, 3]
    assert ids(("accelerator-types", ["eia1.medium"])) == [1, 3]
    assert ids(("accelerator-types", ["eia.medium", "eia1.large"])) == [1, 2, 3]
    assert ids(("instance-id", [first])) == [1, 2]
    assert ids(("instance-id", [first, second])) == [1, 2, 3]
    assert ids(("instance-id", [first]), ("accelerator-types", ["eia1.medium"])) == [1]
    assert ids(("accelerator-types", ["EIA1.MEDIUM"])) == []
    assert ids(("instance-id", [first]), acceleratorIds=[f"eia-{3:032x}"]) == []
    with _refused("BadRequestException") as failed:
        ids(("health", ["ok"]))
    assert "accelerator-types" in str(failed.value)
    with _refused("BadRequestException"):
        ids(("instance-id", []))


def test_pages(aws: Aws) -> None:
    for number in range(1, 6):
        _note(aws, number)
    client = aws.client("elastic-inference")
    pages = client.get_paginator("describe_accelerators").paginate(PaginationConfig={"PageSize": 2})
    found = [[int(each["acceleratorId"][4:], 16) for each in page["acceleratorSet"]]
             for page in pages]  # fmt: skip
    assert found == [[1, 2], [3, 4], [5]]
    token = client.describe_accelerators(maxResults=2)["nextToken"]
    # Meanwhile one of the first page went: none of the others is missed.
    with aws.plane.store.transaction():
        columns = aws.plane.store.accelerators.columns
        aws.plane.store.accelerators.remove(columns.id == f"eia-{2:032x}")
    rest = client.describe_accelerators(nextToken=token)["acceleratorSet"]
    assert [int(each["acceleratorId"][4:], 16) for each in rest] == [3, 4, 5]
    for bad in ("bm90aGluZw==", "?", "W10="):
        with _refused("BadRequestException"):
            client.describe_accelerators(nextToken=bad)
    with _refused("BadRequestException"):
        client.describe_accelerators(maxResults=101)


def test_more_than_a_page(aws: Aws) -> None:
    for number in range(1, 104):
        _note(aws, number)
    client = aws.client("elastic-inference")
    answer = client.describe_accelerators()
    assert len(answer["acceleratorSet"]) == 100
    assert answer["nextToken"]


def test_ids_that_are_none(aws: Aws) -> None:
    client = aws.client("elastic-inference")
    with _refused("BadRequestException"):
        client.describe_accelerators(acceleratorIds=["i-12345678"])
    with _refused("ResourceNotFoundException", 404):
        client.describe_accelerators(acceleratorIds=["eia-12345678"])


# -- tags -----------------------------------------------------------------------------------------


def test_tags(aws: Aws) -> None:
    arn = _arn(aws, _note(aws, 1))
    client = aws.client("elastic-inference")
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}
    client.tag_resource(resourceArn=arn, tags={"team": "blue", "ä b/c": ""})
    client.tag_resource(resourceArn=arn, tags={"team": "red"})
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "red", "ä b/c": ""}
    client.untag_resource(resourceArn=arn, tagKeys=["ä b/c", "none such"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "red"}


@pytest.mark.parametrize(
    "tags",
    [
        {"aws:cloud": "x"},
        {"AWS:cloud": "x"},
        {"k" * 129: "x"},
        {"k": "x" * 257},
        {f"k{number}": "x" for number in range(51)},
    ],
)
def test_tags_that_are_none_change_nothing(aws: Aws, tags: dict[str, str]) -> None:
    arn = _arn(aws, _note(aws, 1))
    client = aws.client("elastic-inference")
    with _refused("BadRequestException"):
        client.tag_resource(resourceArn=arn, tags=tags)
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}


def test_resources_that_are_not_there(aws: Aws) -> None:
    arn = _arn(aws, _note(aws, 1))
    client = aws.client("elastic-inference")
    other_account = arn.replace(aws.account, "123456789012")
    for absent in (arn[:-1] + "f", other_account, arn.replace(aws.region, "eu-west-1")):
        with _refused("ResourceNotFoundException", 404):
            client.list_tags_for_resource(resourceArn=absent)
        with _refused("ResourceNotFoundException", 404):
            client.tag_resource(resourceArn=absent, tags={"a": "b"})
        with _refused("ResourceNotFoundException", 404):
            client.untag_resource(resourceArn=absent, tagKeys=["a"])
    with _refused("BadRequestException"):
        client.list_tags_for_resource(resourceArn="arn:aws:s3:::bucket")


# -- who may --------------------------------------------------------------------------------------


def test_policies_decide_for_each_accelerator(aws: Aws) -> None:
    mine, theirs = _note(aws, 1), _note(aws, 2)
    user = aws.user(
        "tagger",
        {
            "Effect": "Allow",
            "Action": ["elastic-inference:*Tag*", "elastic-inference:DescribeAccelerators"],
            "Resource": _arn(aws, mine),
        },
    )
    client = aws.client("elastic-inference", user)
    client.tag_resource(resourceArn=_arn(aws, mine), tags={"a": "b"})
    with _refused("AccessDeniedException", 403):
        client.tag_resource(resourceArn=_arn(aws, theirs), tags={"a": "b"})
    assert client.describe_accelerators(acceleratorIds=[mine.id])["acceleratorSet"]
    with _refused("AccessDeniedException", 403):
        client.describe_accelerators(acceleratorIds=[mine.id, theirs.id])
    with _refused("AccessDeniedException", 403):
        client.describe_accelerators()
    with _refused("AccessDeniedException", 403):
        client.describe_accelerator_types()
    owner = aws.client("elastic-inference")
    assert owner.list_tags_for_resource(resourceArn=_arn(aws, theirs))["tags"] == {}


def test_an_instance_sees_its_own_alone(aws: Aws) -> None:
    instance, (own,), key = aws.plane.run_instance(["eia1.medium"])
    other = _note(aws, 1)
    assert key is not None
    client = aws.client("elastic-inference", key)
    found = client.describe_accelerators()["acceleratorSet"]
    assert [each["acceleratorId"] for each in found] == [own.id]
    assert found[0]["attachedResource"].endswith(instance.id)
    with _refused("AccessDeniedException", 403):
        client.describe_accelerators(acceleratorIds=[other.id])


# -- the model ------------------------------------------------------------------------------------


def test_the_model_s_texts_are_there() -> None:
    model = service_model("elastic-inference")
    assert len(model.operation_names) == 6
    for name in model.operation_names:
        assert model.operation_model(name).documentation
    for name in model.shape_names:
        shape = model.shape_for(name)
        for member in getattr(shape, "members", {}).values():
            assert member.documentation, f"{name}: a member without a text"
    assert "Amazon" not in json.dumps(model.documentation)
