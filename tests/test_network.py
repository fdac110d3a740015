"""An application on another machine: its own network, none of the node's files or memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from benchmarks.link import missing
from benchmarks.network import measure, table
from benchmarks.workloads import WORKLOADS


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(180)
def test_an_application_behind_a_link_attaches_and_infers(tmp_path: Path) -> None:
    import onnxruntime

    reason = missing()
    if reason:
        pytest.skip(reason)
    reports = measure(["tiny", "image"], 0.3)
    assert [report["name"] for report in reports] == ["tiny", "image"]
    for report in reports:
        workload = WORKLOADS[report["name"]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        local = onnxruntime.InferenceSession(
            workload.save(tmp_path), options, providers=["CPUExecutionProvider"]
        )
        (answer,) = local.run(None, {"x": workload.feed()})
        assert report["answer"] == hashlib.sha256(answer.tobytes()).hexdigest()
        # Every tensor crossed the link, so the work was done on its other side.
        assert report["one"]["requests"] > 0
        assert report["one"]["sent"] > report["one"]["tensor_bytes"]
    assert len(table(reports).rows) == 4
