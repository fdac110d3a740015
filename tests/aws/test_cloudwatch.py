"""CloudWatch by boto3: what is recorded of accelerators, and what users put."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from elastic_inference.aws.models import service_model
from elastic_inference.control import metric_chunks
from elastic_inference.control.accelerator_metrics import NAMESPACE
from elastic_inference.control.metric_recorder import Recorder
from elastic_inference.control.metric_values import Datum, Metric, Point
from elastic_inference.control.records import MetricSeries
from elastic_inference.control.samples import LENGTH, Chunk, Sample
from tests.aws import raw
from tests.aws.conftest import Aws, StartAws
from tests.aws.shapes import Clients, assert_shape_like_moto

EI = NAMESPACE
ACCELERATOR, INSTANCE = "ElasticInferenceAcceleratorId", "InstanceId"
NAMES = ("AcceleratorHealthCheckFailed", "AcceleratorMemoryUsage", "ConnectivityCheckFailed")
FIVE = datetime.timedelta(minutes=5)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def dimensions(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def code(call: Callable[..., Any], **given: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**given)
    return str(caught.value.response["Error"]["Code"])


def query(
    id_: str, namespace: str, name: str, stat: str, period: int = 60, **values: str
) -> dict[str, Any]:
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions(**values)}
    return {"Id": id_, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}


_NO_VALUES: list[tuple[dict[str, Any], str]] = [
    ({}, "InvalidParameterCombination"),
    ({"Value": 1, "Values": [1]}, "InvalidParameterCombination"),
    ({"Value": 1, "Counts": [1]}, "InvalidParameterCombination"),
    ({"Value": float("nan")}, "SerializationException"),
    ({"Value": float("inf")}, "SerializationException"),
    ({"Value": 1e200}, "InvalidParameterValue"),
    ({"Values": []}, "InvalidParameterValue"),
    ({"Values": [1.0] * 151}, "InvalidParameterValue"),
    ({"Values": [1, 2], "Counts": [1]}, "InvalidParameterValue"),
    ({"Values": [1], "Counts": [0]}, "InvalidParameterValue"),
    ({"Value": 1, "Unit": "Furlongs"}, "ValidationError"),
    ({"Value": 1, "StorageResolution": 30}, "InvalidParameterValue"),
    ({"Value": 1, "Dimensions": dimensions(A=" ")}, "InvalidParameterValue"),
    ({"Value": 1, "Dimensions": dimensions(A="b") * 2}, "InvalidParameterValue"),
    ({"Value": 1, "Dimensions": dimensions(**{":A": "b"})}, "InvalidParameterValue"),
    ({"Value": 1, "Dimensions": dimensions(A="ä")}, "InvalidParameterValue"),
    ({"Value": 1, "Timestamp": now() - 4100 * FIVE}, "InvalidParameterValue"),
    ({"Value": 1, "Timestamp": now() + 25 * FIVE}, "InvalidParameterValue"),
    (
        {"StatisticValues": {"SampleCount": 1, "Sum": 1, "Minimum": 2, "Maximum": 1}},
        "InvalidParameterValue",
    ),
    (
        {"StatisticValues": {"SampleCount": 0, "Sum": 1, "Minimum": 1, "Maximum": 1}},
        "InvalidParameterValue",
    ),
]
_NO_STATISTICS: list[tuple[dict[str, Any], str]] = [
    ({"Statistics": None}, "InvalidParameterCombination"),
    ({"ExtendedStatistics": ["p50"]}, "InvalidParameterCombination"),
    (
        {"Statistics": None, "ExtendedStatistics": ["tm99"]},
        "InvalidParameterValue",
    ),
    ({"Statistics": ["Median"]}, "ValidationError"),
    ({"Period": 59}, "InvalidParameterValue"),
    ({"Period": 90}, "InvalidParameterValue"),
    ({"Period": 60 * 10**7}, "InvalidParameterValue"),
    ({"EndTime": now() - 2 * FIVE}, "InvalidParameterValue"),
    ({"StartTime": now() - 300 * FIVE}, "InvalidParameterCombination"),
    ({"Dimensions": dimensions(A="b") * 2}, "InvalidParameterValue"),
    ({"Namespace": " "}, "InvalidParameterValue"),
    ({"Unit": "Furlongs"}, "ValidationError"),
]
_NO_QUERIES: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
            ([query("A", "M", "A", "Sum")], {}, "ValidationError"),
            ([query("a", "M", "A", "Sum")] * 2, {}, "ValidationError"),
            ([query("a", "M", "A", "Median")], {}, "ValidationError"),
            ([query("a", "M", "A", "Sum", 61)], {}, "ValidationError"),
            ([query(f"a{at}", "M", "A", "Sum") for at in range(501)], {}, "ValidationError"),
            ([{"Id": "a"}], {}, "ValidationError"),
            ([{"Id": "a", "MetricStat": {"Metric": {}, "Period": 60, "Stat": "Sum"}}], {},
             "ValidationError"),
            ([{"Id": "a", "Expression": "m1 + m2"}], {}, "UnsupportedOperation"),
            ([query("a", "M", "A", "Sum") | {"Expression": "m1"}], {}, "UnsupportedOperation"),
            ([query("a", "M", "A", "Sum") | {"Period": 60}], {}, "UnsupportedOperation"),
            ([query("a", "M", "A", "Sum") | {"Label": "${AVG}"}], {}, "UnsupportedOperation"),
            ([query("a", "M", "A", "Sum") | {"AccountId": "1"}], {}, "InvalidParameterValue"),
            ([query("a", "M", "A", "Sum")], {"LabelOptions": {"Timezone": "+0000"}},
             "UnsupportedOperation"),
            ([query("a", "M", "A", "Sum")], {"MaxDatapoints": 100_801}, "ValidationError"),
            ([query("a", "M", "A", "Sum")], {"EndTime": now() - 2 * FIVE}, "ValidationError"),
            ([query("a", "M", "A", "Sum")], {"NextToken": "x"}, "InvalidNextToken"),
            ([query(f"a{at}", "M", "A", "Sum") for at in range(200)],
     {"StartTime": now() - 4000 * FIVE}, "ValidationError"),
    ([], {}, "MissingParameter"),
        ]  # fmt: skip


@pytest.fixture
def cloudwatch(aws: Aws) -> Any:
    return aws.client("cloudwatch")


@pytest.fixture
def recorded(aws: Aws) -> int:
    """The Unix time of ten minutes of two accelerators that are in the store, without processes."""
    minute = int(time.time()) // 300 * 5 - 10
    store = aws.plane.store
    for number, memory in ((1, 100), (2, 300)):
        chunks: dict[int, Chunk] = {}
        for each in range(minute, minute + 10):
            began_at = each * 60 // LENGTH * LENGTH
            chunk = chunks.setdefault(began_at, Chunk(began_at))
            chunk.add(Sample(each, number == 2, False, memory))
        for began_at, chunk in chunks.items():
            metric_chunks.add(store, began_at, {f"eia-{number}": bytes(chunk.points)})
        store.metric_series.add(
            MetricSeries(
                id=f"eia-{number}", account=aws.account, namespace=NAMESPACE, name="",
                dimensions={INSTANCE: "i-1"}, unit="", created_at=0, seen_at=max(chunks),
            )
        )  # fmt: skip
    return minute * 60


class TestAccelerators:
    @pytest.mark.usefixtures("recorded")
    def test_the_documents_command_lists_three_metrics_by_two_dimensions(
        self, cloudwatch: Any
    ) -> None:
        # Blanks and all.
        found = cloudwatch.list_metrics(Namespace=" AWS/ElasticInference ")["Metrics"]
        assert {each["MetricName"] for each in found} == set(NAMES)
        assert {each["Namespace"] for each in found} == {EI}
        assert len(found) == 3 * 5
        one = cloudwatch.list_metrics(Namespace=EI, Dimensions=dimensions(**{ACCELERATOR: "eia-1"}))
        assert {
            tuple(sorted((pair["Name"], pair["Value"]) for pair in each["Dimensions"]))
            for each in one["Metrics"]
        } == {((ACCELERATOR, "eia-1"),), ((ACCELERATOR, "eia-1"), (INSTANCE, "i-1"))}

    def test_five_minutes_at_a_time(self, cloudwatch: Any, recorded: int) -> None:
        since = datetime.datetime.fromtimestamp(recorded, datetime.UTC)
        asked = {
            "Namespace": f" {EI} ", "StartTime": since, "EndTime": since + 2 * FIVE, "Period": 300,
            "Statistics": ["SampleCount", "Average", "Sum", "Minimum", "Maximum"],
        }  # fmt: skip
        found = cloudwatch.get_metric_statistics(
            **asked, MetricName="AcceleratorMemoryUsage",
            Dimensions=dimensions(**{INSTANCE: "i-1"}),
        )  # fmt: skip
        assert found["Label"] == "AcceleratorMemoryUsage"
        assert found["Datapoints"] == [
            {
                "Timestamp": since + each, "Unit": "Bytes", "SampleCount": 10, "Average": 200,
                "Sum": 2000, "Minimum": 100, "Maximum": 300,
            }
            for each in (0 * FIVE, FIVE)
        ]  # fmt: skip
        for accelerator, failed in (("eia-1", 0), ("eia-2", 1)):
            found = cloudwatch.get_metric_statistics(
                **asked, MetricName="AcceleratorHealthCheckFailed", Unit="Count",
                Dimensions=dimensions(**{ACCELERATOR: accelerator}),
            )  # fmt: skip
            assert [each["Maximum"] for each in found["Datapoints"]] == [failed, failed]

    def test_a_real_accelerator_is_recorded(self, aws: Aws, cloudwatch: Any) -> None:
        plane = aws.plane
        # A minute may end at any time.
        plane.metrics.recorder.close()
        instance, (accelerator,), _ = plane.run_instance(["eia1.medium"])
        ready = threading.Event()
        # The fleet asks it how it is a moment later.
        while plane.fleet.status(accelerator.id).memory_used is None:
            assert not ready.wait(0.05)
        assert Recorder(plane.store, plane.fleet, plane.network, plane.clock).record() == 1
        found = cloudwatch.list_metrics(RecentlyActive="PT3H")["Metrics"]
        assert {pair["Value"] for each in found for pair in each["Dimensions"]} == {
            accelerator.id, instance.id,
        }  # fmt: skip
        answer = cloudwatch.get_metric_data(
            StartTime=now() - FIVE, EndTime=now() + FIVE,
            MetricDataQueries=[
                query(f"m{at}", EI, name, "Maximum", 60, **{ACCELERATOR: accelerator.id})
                for at, name in enumerate(NAMES)
            ],
        )  # fmt: skip
        health, memory, connectivity = (each["Values"] for each in answer["MetricDataResults"])
        assert health == connectivity == [0]
        assert len(memory) == 1


class TestPutting:
    def read(self, cloudwatch: Any, name: str = "Calls", **more: Any) -> list[dict[str, Any]]:
        asked = {
            "Namespace": "Mine", "MetricName": name, "Period": 3600,
            "StartTime": now() - 12 * FIVE, "EndTime": now() + FIVE,
            "Statistics": ["SampleCount", "Sum", "Minimum", "Maximum"], **more,
        }  # fmt: skip
        found = cloudwatch.get_metric_statistics(**{k: v for k, v in asked.items() if v})
        points: list[dict[str, Any]] = found["Datapoints"]
        for each in points:
            del each["Timestamp"]
        return points

    def test_values_in_each_form_add_up(self, cloudwatch: Any) -> None:
        cloudwatch.put_metric_data(
            Namespace=" Mine ",
            MetricData=[
                {"MetricName": "Calls", "Value": 2, "Unit": "Count"},
                {"MetricName": "Calls", "Values": [1, 8], "Counts": [3, 1], "Unit": "Count"},
                {
                    "MetricName": "Calls", "Unit": "Count",
                    "StatisticValues": {
                        "SampleCount": 5, "Sum": 20, "Minimum": 0, "Maximum": 9,
                    },
                },
                {"MetricName": "Calls", "Value": 7},
            ],
        )  # fmt: skip
        assert self.read(cloudwatch) == [
            {"Unit": "Count", "SampleCount": 10, "Sum": 33, "Minimum": 0, "Maximum": 9},
            {"Unit": "None", "SampleCount": 1, "Sum": 7, "Minimum": 7, "Maximum": 7},
        ]
        assert len(self.read(cloudwatch, Unit="Count")) == 1
        assert self.read(cloudwatch, Unit="Bytes") == []
        assert self.read(cloudwatch, Dimensions=dimensions(A="b")) == []

    def test_minutes_and_seconds(self, cloudwatch: Any) -> None:
        at = now().replace(second=0) - FIVE
        for name, resolution in (("Standard", 60), ("High", 1)):
            cloudwatch.put_metric_data(
                Namespace="Mine",
                MetricData=[
                    {
                        "MetricName": name, "Value": each, "StorageResolution": resolution,
                        "Timestamp": at + datetime.timedelta(seconds=each),
                    }
                    for each in range(1, 11)
                ],
            )  # fmt: skip
        asked = {"StartTime": at, "EndTime": at + FIVE, "Period": 5, "Statistics": ["SampleCount"]}
        assert [each["SampleCount"] for each in self.read(cloudwatch, "Standard", **asked)] == [10]
        high = [each["SampleCount"] for each in self.read(cloudwatch, "High", **asked)]
        assert high == [4, 5, 1]

    def test_percentiles(self, cloudwatch: Any) -> None:
        cloudwatch.put_metric_data(
            Namespace="Mine",
            MetricData=[{"MetricName": "Time", "Values": list(range(1, 101)), "Unit": "Seconds"}],
        )
        found = self.read(cloudwatch, "Time", Statistics=None, ExtendedStatistics=["p50", "p99.0"])
        assert found == [{"Unit": "Seconds", "ExtendedStatistics": {"p50": 50, "p99.0": 99}}]

    def test_what_is_no_value_is_refused_and_nothing_is_kept(self, cloudwatch: Any) -> None:
        good = {"MetricName": "Calls", "Value": 1.0}
        for datum, expected in _NO_VALUES:
            data = [good, {"MetricName": "Calls", **datum}]
            found = code(cloudwatch.put_metric_data, Namespace="Mine", MetricData=data)
            assert found == expected, datum
        assert cloudwatch.list_metrics()["Metrics"] == []

    def test_what_else_is_refused(self, cloudwatch: Any) -> None:
        put, datum = cloudwatch.put_metric_data, {"MetricName": "A", "Value": 1.0}
        assert code(put, Namespace="AWS/EC2", MetricData=[datum]) == "InvalidParameterValue"
        assert code(put, Namespace=EI, MetricData=[datum]) == "InvalidParameterValue"
        assert code(put, Namespace="  ", MetricData=[datum]) == "InvalidParameterValue"
        assert code(put, Namespace="Mine", MetricData=[]) == "MissingParameter"
        assert code(put, Namespace="Mine") == "MissingParameter"
        many = [datum] * 1001
        assert code(put, Namespace="Mine", MetricData=many) == "InvalidParameterValue"
        unheeded = {"Namespace": "Mine", "MetricData": [datum], "StrictEntityValidation": True}
        assert code(put, **unheeded) == "UnsupportedOperation"

    def test_so_many_metrics_and_no_more(self, start_aws: StartAws) -> None:
        cloudwatch = start_aws(max_metrics=2).client("cloudwatch")
        data = [{"MetricName": name, "Value": 1.0} for name in "ABC"]
        assert code(cloudwatch.put_metric_data, Namespace="M", MetricData=data) == "LimitExceeded"
        cloudwatch.put_metric_data(Namespace="M", MetricData=data[:2])

    def test_thousand_at_once(self, cloudwatch: Any) -> None:
        data = [
            {"MetricName": "Calls", "Value": each, "Dimensions": dimensions(Model=str(each))}
            for each in range(1000)
        ]
        for _ in range(2):
            cloudwatch.put_metric_data(Namespace="Mine", MetricData=data)
        found = self.read(cloudwatch, Dimensions=dimensions(Model="77"))
        assert [(each["SampleCount"], each["Sum"]) for each in found] == [(2, 154)]
        pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace="Mine"))
        assert [len(each["Metrics"]) for each in pages] == [500, 500]
        listed = {each["Dimensions"][0]["Value"] for page in pages for each in page["Metrics"]}
        assert len(listed) == 1000


class TestListing:
    def test_by_name_and_dimension(self, cloudwatch: Any) -> None:
        for namespace, model in (("Mine", "a"), ("Mine", "b"), ("Other", "a")):
            cloudwatch.put_metric_data(
                Namespace=namespace,
                MetricData=[
                    {"MetricName": "Calls", "Value": 1.0, "Dimensions": dimensions(Model=model)}
                ],
            )
        listed = cloudwatch.list_metrics
        assert len(listed()["Metrics"]) == 3
        assert len(listed(Namespace="Mine")["Metrics"]) == 2
        assert len(listed(Dimensions=[{"Name": "Model"}])["Metrics"]) == 3
        assert len(listed(Dimensions=dimensions(Model="a"))["Metrics"]) == 2
        assert listed(MetricName="Other")["Metrics"] == []
        (one,) = listed(Namespace="Other", RecentlyActive="PT3H")["Metrics"]
        assert one == {
            "Namespace": "Other", "MetricName": "Calls", "Dimensions": dimensions(Model="a"),
        }  # fmt: skip

    def test_what_is_refused(self, aws: Aws, cloudwatch: Any) -> None:
        listed = cloudwatch.list_metrics
        assert listed(OwningAccount=aws.account)["Metrics"] == []
        assert code(listed, OwningAccount="111111111111") == "InvalidParameterValue"
        assert code(listed, IncludeLinkedAccounts=True) == "UnsupportedOperation"
        assert code(listed, NextToken="x") == "InvalidParameterValue"
        assert code(listed, Namespace="  ") == "InvalidParameterValue"
        assert code(listed, RecentlyActive="PT1H") == "ValidationError"


class TestStatistics:
    def asked(self, **more: Any) -> dict[str, Any]:
        given = {
            "Namespace": "Mine", "MetricName": "Calls", "Period": 60, "Statistics": ["Sum"],
            "StartTime": now() - FIVE, "EndTime": now(), **more,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}

    def test_what_is_refused(self, cloudwatch: Any) -> None:
        for more, expected in _NO_STATISTICS:
            found = code(cloudwatch.get_metric_statistics, **self.asked(**more))
            assert found == expected, more

    def test_of_what_is_not_there_there_are_none(self, cloudwatch: Any) -> None:
        found = cloudwatch.get_metric_statistics(**self.asked())
        assert (found["Label"], found["Datapoints"]) == ("Calls", [])
        long_ago = self.asked(StartTime=now() - 10**6 * FIVE, Period=86400 * 30)
        assert cloudwatch.get_metric_statistics(**long_ago)["Datapoints"] == []


class TestData:
    @pytest.fixture
    def begin(self, aws: Aws) -> datetime.datetime:
        """When six minutes of two metrics begin, the values 0 to 5 and 10 to 15."""
        begin = now().replace(second=0) - 2 * FIVE
        for name, first in (("A", 0), ("B", 10)):
            points = [
                Point(int(begin.timestamp()) + 60 * each, 1.0, *[float(first + each)] * 3)
                for each in range(6)
            ]
            aws.plane.metrics.put(aws.account, [Datum(Metric("Mine", name), "None", points)])
        return begin

    def test_several_metrics_in_either_order(
        self, cloudwatch: Any, begin: datetime.datetime
    ) -> None:
        asked = {
            "StartTime": begin, "EndTime": begin + 2 * FIVE,
            "MetricDataQueries": [
                query("a", "Mine", "A", "Sum", 120),
                query("b", "Mine", "B", "p100", 120) | {"Label": "the second"},
                query("none", "Mine", "C", "Sum"),
                query("hidden", "Mine", "A", "Sum") | {"ReturnData": False},
            ],
        }  # fmt: skip
        found = cloudwatch.get_metric_data(**asked)["MetricDataResults"]
        assert [(each["Id"], each["Label"], each["StatusCode"]) for each in found] == [
            ("a", "A", "Complete"), ("b", "the second", "Complete"), ("none", "C", "Complete"),
        ]  # fmt: skip
        assert [each["Values"] for each in found] == [[9, 5, 1], [15, 13, 11], []]
        two = datetime.timedelta(minutes=2)
        assert found[0]["Timestamps"] == [begin + 2 * two, begin + two, begin]
        found = cloudwatch.get_metric_data(**asked, ScanBy="TimestampAscending")
        assert found["MetricDataResults"][1]["Values"] == [11, 13, 15]

    @pytest.mark.parametrize("order", ["TimestampAscending", "TimestampDescending"])
    def test_pages(self, cloudwatch: Any, begin: datetime.datetime, order: str) -> None:
        pages = list(
            cloudwatch.get_paginator("get_metric_data").paginate(
                StartTime=begin, EndTime=begin + 2 * FIVE, MaxDatapoints=4, ScanBy=order,
                MetricDataQueries=[query("a", "Mine", "A", "Sum"), query("b", "Mine", "B", "Sum")],
            )
        )  # fmt: skip
        results = [page["MetricDataResults"] for page in pages]
        assert [
            [(each["Id"], len(each["Values"]), each["StatusCode"]) for each in page]
            for page in results
        ] == [
            [("a", 4, "PartialData")],
            [("a", 2, "Complete"), ("b", 2, "PartialData")],
            [("b", 4, "Complete")],
        ]  # fmt: skip
        values = [
            value
            for page in results
            for each in page
            if each["Id"] == "b"
            for value in each["Values"]
        ]
        assert values == sorted(values, reverse=order == "TimestampDescending")

    def test_what_is_refused(self, cloudwatch: Any) -> None:
        for queries, more, expected in _NO_QUERIES:
            asked = {"StartTime": now() - FIVE, "EndTime": now(), **more}
            found = code(cloudwatch.get_metric_data, **asked, MetricDataQueries=queries)
            assert found == expected, (queries[:1], more)


class TestAccess:
    def test_each_operation_is_let_by_policies(self, aws: Aws) -> None:
        key = aws.user("reader", {"Effect": "Allow", "Action": "cloudwatch:List*", "Resource": "*"})
        reader = aws.client("cloudwatch", key)
        assert reader.list_metrics()["Metrics"] == []
        data = [{"MetricName": "A", "Value": 1.0}]
        assert code(reader.put_metric_data, Namespace="M", MetricData=data) == "AccessDenied"
        assert reader.list_metrics()["Metrics"] == []

    def test_blanks_around_a_namespace_get_nobody_past_a_policy(self, aws: Aws) -> None:
        mine = {"StringEquals": {"cloudwatch:namespace": "Mine"}}
        allow = {"Effect": "Allow", "Action": "cloudwatch:*", "Resource": "*"}
        key = aws.user("other", allow, {**allow, "Effect": "Deny", "Condition": mine})
        put, data = aws.client("cloudwatch", key).put_metric_data, [{"MetricName": "A", "Value": 1}]
        put(Namespace="Other", MetricData=data)
        for namespace in ("Mine", " Mine", "Mine\t"):
            assert code(put, Namespace=namespace, MetricData=data) == "AccessDenied"

    @pytest.mark.parametrize("name", ["put_metric_alarm", "describe_alarms", "list_dashboards"])
    def test_what_is_not_there_says_so(self, cloudwatch: Any, name: str) -> None:
        given: dict[str, dict[str, Any]] = {
            "put_metric_alarm": {
                "AlarmName": "a", "EvaluationPeriods": 3,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            }
        }  # fmt: skip
        found = code(getattr(cloudwatch, name), **given.get(name, {}))
        assert found == "UnsupportedOperation"


@pytest.mark.parametrize("protocol", ["smithy-rpc-v2-cbor", "json", "query"])
def test_every_protocol_of_new_and_old_clients(aws: Aws, protocol: str) -> None:
    def ask(operation: str, **given: Any) -> Any:
        reply = raw.call(aws, "monitoring", protocol, operation, given).send(aws)
        shape = service_model("monitoring").operation_model(operation).output_shape
        found = {"status_code": reply.status, "headers": reply.headers, "body": reply.body}
        assert reply.status == 200, reply.body
        return create_parser(protocol).parse(found, shape)

    at = now().replace(second=0) - FIVE
    window = {"StartTime": at, "EndTime": at + FIVE}
    data = [{"MetricName": "Calls", "Values": [0.1, 2.5], "Timestamp": at, "Unit": "Count"}]
    ask("PutMetricData", Namespace="Mine", MetricData=data)
    (listed,) = ask("ListMetrics", Namespace=" Mine ")["Metrics"]
    assert (listed["Namespace"], listed["MetricName"]) == ("Mine", "Calls")
    asked = {**window, "Namespace": "Mine", "MetricName": "Calls", "Period": 60}
    (point,) = ask("GetMetricStatistics", **asked, Statistics=["Sum", "Maximum"])["Datapoints"]
    assert point == {"Timestamp": at, "Unit": "Count", "Sum": 2.6, "Maximum": 2.5}
    queries = [query("a", "Mine", "Calls", "Average")]
    (result,) = ask("GetMetricData", **window, MetricDataQueries=queries)["MetricDataResults"]
    assert (result["Timestamps"], result["Values"]) == ([at], [1.3])
    refused = raw.call(aws, "monitoring", protocol, "ListMetrics", {"NextToken": "x"}).send(aws)
    assert (refused.status, refused.error(protocol)) == (400, "InvalidParameterValue")


def test_answers_have_motos_shape(aws: Aws) -> None:
    begin = now().replace(second=0) - FIVE

    def steps(clients: Clients) -> Mapping[str, Any]:
        client = clients("cloudwatch")
        client.put_metric_data(
            Namespace="Mine",
            MetricData=[
                {
                    "MetricName": "Calls", "Value": 2.0, "Unit": "Count", "Timestamp": begin,
                    "Dimensions": dimensions(Model="a"),
                }
            ],
        )  # fmt: skip
        window = {"StartTime": begin, "EndTime": begin + FIVE}
        return {
            "List": client.list_metrics(Namespace="Mine"),
            "Statistics": client.get_metric_statistics(
                **window, Namespace="Mine", MetricName="Calls", Period=60,
                Dimensions=dimensions(Model="a"),
                Statistics=["SampleCount", "Average", "Sum", "Minimum", "Maximum"],
            ),
            "Data": client.get_metric_data(
                **window, MetricDataQueries=[query("a", "Mine", "Calls", "Sum", Model="a")]
            ),
        }  # fmt: skip

    assert_shape_like_moto(aws.client, steps)
