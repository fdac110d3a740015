from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from elastic_inference.serving import metrics as module
from elastic_inference.serving.metrics import Metrics

_LINE = re.compile(r'^:?[a-zA-Z_:][a-zA-Z0-9_:]*\{([a-zA-Z_]+="(\\.|[^"\\])*",?)*\} [0-9.e+-]+$')


def test_requests_by_model_and_status() -> None:
    metrics = Metrics()
    metrics.observe_request("m", "Predict", "GRPC", "OK", 0.0001)
    metrics.observe_request("m", "Predict", "GRPC", "OK", 0.5)
    metrics.observe_request("m", "Predict", "REST", "NOT_FOUND", 0.1)
    lines = metrics.text().splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 2' in lines
    assert ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1' in lines
    assert "# TYPE :tensorflow:serving:request_latency histogram" in lines
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    name = ":tensorflow:serving:request_latency"
    assert f'{name}_bucket{{{labels},le="10"}} 0' in lines
    assert f'{name}_bucket{{{labels},le="104.976"}} 1' in lines
    assert f'{name}_bucket{{{labels},le="+Inf"}} 2' in lines
    assert f"{name}_sum{{{labels}}} 500100" in lines
    assert f"{name}_count{{{labels}}} 2" in lines
    assert not any("REST" in line for line in lines)


def test_all_that_is_counted_is_prometheus_text() -> None:
    metrics = Metrics()
    metrics.observe_request('a"b\\c\nd', "Predict", "GRPC", "OK", 1)
    metrics.observe_runtime("m", "Predict", 0.001)
    metrics.observe_examples("m", 3)
    metrics.observe_batch("m", 5)
    metrics.observe_load("/models/m/1", "success", 2)
    metrics.observe_warmup("/models/m/1", "OK", 4, 0.5)
    text = metrics.text()
    assert text.endswith("\n")
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or _LINE.match(line), line
    assert 'model_name="a\\"b\\\\c\\nd"' in text
    assert ":tensorflow:core:graph_runs{} 1" in text
    assert ":tensorflow:core:graph_run_time_usecs{} 1000" in text
    assert ':tensorflow:serving:request_example_count_total{model="m"} 3' in text
    assert (
        ':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/m/1",status="success"} 1'
        in text
    )


def test_a_client_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SERIES", 3)
    metrics = Metrics()
    for number in range(10):
        metrics.observe_request(f"m{number}", "Predict", "GRPC", "OK", 1)
    lines = metrics.text().splitlines()
    assert ':tensorflow:serving:request_count{model_name="",status="OK"} 7' in lines


def test_counts_from_many_threads() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(200):
            metrics.observe_request("m", "Predict", "GRPC", "OK", 0.001)

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(count) for _ in range(4)]:
            each.result()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 800' in metrics.text()
