"""The comparison with peers: what is sent, read and written, and a run without peers."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import hpack
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from benchmarks.harness import Sample, build_floor
from benchmarks.peers import figures, ours, wire
from benchmarks.peers.bench import reference_answers
from benchmarks.peers.curves import CONCURRENCIES, Curve, Point, tables
from benchmarks.peers.environments import UnavailableError, environment, run
from benchmarks.peers.figures import Figure, Figures
from benchmarks.peers.perf_analyzer import read_point
from benchmarks.peers.plot import picture
from benchmarks.peers.running import Contact
from benchmarks.report import write
from benchmarks.target import target
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent.parent
TINY = WORKLOADS["tiny"]
IMAGE = WORKLOADS["image"]


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = build_floor(tmp_path_factory.mktemp("floor"))
    if program is None:
        pytest.skip("the floor needs gcc and libssl-dev")
    return program


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    for workload in (TINY, IMAGE):
        workload.save(directory)
    return directory


@pytest.fixture(scope="module")
def contacts(models: Path) -> Iterator[dict[str, Contact]]:
    with target() as accelerator:
        names = ours.load(accelerator, [TINY, IMAGE], models)
        yield {contact.title: contact for contact in ours.contacts(accelerator, names)}


@pytest.mark.parametrize("title", [ours.HTTP, ours.GRPC, ours.HTTPS])
@pytest.mark.parametrize("workload", [TINY, IMAGE], ids=lambda workload: workload.name)
def test_our_answers_are_checked_and_measured(
    title: str,
    workload: Workload,
    contacts: dict[str, Contact],
    floor: Path,
    models: Path,
    tmp_path: Path,
) -> None:
    contact = contacts[title]
    request = contact.write_request(workload, tmp_path)
    expected = reference_answers([workload], models)[workload.name]
    contact.check(floor, request, expected)
    with pytest.raises(UnavailableError, match="a wrong answer"):
        contact.check(floor, request, expected + 1)
    sample = contact.drive(floor, request, 2).measure(0.2)
    assert sample.requests_per_second > 0
    assert 0 < sample.p50_us <= sample.p99_us


@pytest.mark.parametrize(
    ("title", "content", "said"),
    [
        (ours.HTTP, wire.binary_request(TINY, "no-such-model"), "401"),
        (ours.GRPC, wire.grpc_request(TINY, "no-such-model"), "an error was answered"),
        (ours.GRPC, b"no request file", "not a gRPC request file"),
    ],
)
def test_a_refused_request_is_no_answer(
    title: str,
    content: bytes,
    said: str,
    contacts: dict[str, Contact],
    floor: Path,
    tmp_path: Path,
) -> None:
    contact = contacts[title]
    request = tmp_path / "request"
    request.write_bytes(content)
    with pytest.raises(UnavailableError, match=said):
        contact.check(floor, request, np.zeros(16, np.float32))
    with pytest.raises(RuntimeError, match="failed"):
        contact.drive(floor, request, 1).measure(0.1)


def _sections(content: bytes) -> Iterator[bytes]:
    while content:
        (size,) = struct.unpack_from(">I", content)
        yield content[4 : 4 + size]
        content = content[4 + size :]


def test_a_grpc_request_is_what_tritonclient_would_send() -> None:
    metadata = {"authorization": "Bearer " + "t" * 200}
    first, again, framed = _sections(wire.grpc_request(TINY, "m" * 64, metadata))
    decoder = hpack.Decoder()
    headers = decoder.decode(first)
    assert decoder.decode(again) == headers
    assert {str(name): str(value) for name, value in headers} == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": "127.0.0.1",
        "content-type": "application/grpc",
        "te": "trailers",
        **metadata,
    }
    assert framed[:5] == struct.pack(">BI", 0, len(framed) - 5)
    message = service_pb2.ModelInferRequest.FromString(framed[5:])
    assert message.model_name == "m" * 64
    (tensor,) = message.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [1, 16])
    assert [output.name for output in message.outputs] == ["y"]
    assert list(message.raw_input_contents) == [TINY.feed().tobytes()]


def test_grpc_answers_are_read_raw_and_typed() -> None:
    expected = np.arange(300, dtype=np.float32)
    raw = service_pb2.ModelInferResponse(model_name="m", id="7")
    raw.outputs.add(name="y", datatype="FP32", shape=[1, 300])
    typed = service_pb2.ModelInferResponse.FromString(raw.SerializeToString())
    raw.raw_output_contents.append(expected.tobytes())
    typed.outputs[0].contents.fp32_contents.extend(expected)
    for message in (raw, typed):
        np.testing.assert_array_equal(wire.grpc_answer(message.SerializeToString()), expected)
    with pytest.raises(ValueError, match="no tensor"):
        wire.grpc_answer(service_pb2.ModelInferResponse(model_name="m").SerializeToString())


def test_http_answers_are_read_as_bytes_and_as_json() -> None:
    expected = np.arange(3, dtype=np.float32)
    head = json.dumps({"outputs": [{"name": "y", "parameters": {"binary_data_size": 12}}]}).encode()
    fields = {"inference-header-content-length": str(len(head))}
    np.testing.assert_array_equal(wire.binary_answer(fields, head + expected.tobytes()), expected)
    body = json.dumps({"outputs": [{"name": "y", "data": [0.0, 1.0, 2.0]}]}).encode()
    np.testing.assert_array_equal(wire.binary_answer({}, body), expected)


def _figures() -> Figures:
    return Figures(
        {
            "tiny": [
                Figure(ours.HTTP, Sample(20.0, 30.0, 40_000.0), Sample(200.0, 900.0, 30_000.0)),
                Figure("Triton, HTTP", Sample(90.0, 99.0, 9_000.0), Sample(800.0, 900.0, 9_000.0)),
                Figure("Other, HTTP", Sample(70.0, 99.0, 9_000.0), Sample(800.0, 900.0, 12_000.0)),
                Figure("Half, HTTP", Sample(70.0, 99.0, 9_000.0), reason="failed with 8: cut off"),
                Figure("KServe, <gRPC>", reason="set-up failed: no wheel"),
            ]
        }
    )


def test_bars_are_held_against_the_better_peer() -> None:
    table = figures.bars(_figures(), ours.HTTP, ["Triton, HTTP"])
    assert table is not None
    assert [(row[2], row[3]) for row in table.rows] == [
        (4.5, "4: reached"),
        (pytest.approx(3.333, abs=0.01), "3: reached"),
    ]
    table = figures.bars(_figures(), ours.HTTP, ["Triton, HTTP", "Other, HTTP"])
    assert table is not None
    assert [(row[2], row[3]) for row in table.rows] == [(3.5, "4: missed"), (2.5, "3: missed")]
    assert figures.bars(_figures(), ours.HTTP, ["KServe, <gRPC>"]) is None


def test_what_could_not_be_measured_is_a_line_that_says_why() -> None:
    (table,) = figures.tables(_figures(), ours.HTTP)
    assert all(len(row) == len(table.columns) for row in table.rows)
    text = table.markdown()
    assert "| Other, HTTP | 0.07 | 3.5 | 0.8 | 0.9 | 12,000 | 2.5 |" in text
    assert "| Half, HTTP | 0.07 | 3.5 | failed with 8: cut off | - | - | - |" in text
    assert "| KServe, <gRPC> | set-up failed: no wheel | - | - | - | - | - |" in text


def test_the_picture_shows_who_was_measured() -> None:
    root = ElementTree.fromstring(picture(_figures()))  # noqa: S314 - written two lines above
    texts = [element.text for element in root.iter() if element.text]
    assert ours.HTTP in texts
    assert "0.02" in texts
    assert "30,000" in texts
    assert "KServe, <gRPC>" not in texts


def test_a_row_of_perf_analyzer_is_read() -> None:
    text = (
        "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p99 latency\n"
        "8,26696.4,0,223,300,1410\n\n"
    )
    assert read_point(text) == Point(26696.4, 223.0, 1410.0)
    for wrong in ("", "Concurrency\n8\n", text.replace("223", "")):
        with pytest.raises(UnavailableError, match="no figures"):
            read_point(wrong)


def test_the_bars_of_perf_analyzer() -> None:
    def curve(title: str, workload: str, rates: list[float], p99: float) -> Curve:
        points = {
            each: Point(rate, 100.0, p99) for each, rate in zip(CONCURRENCIES, rates, strict=True)
        }
        return Curve(workload, title, points)

    rising, falling = [10.0, 20.0, 20.0, 20.0, 19.0], [10.0, 20.0, 10.0, 12.0, 12.0]
    standing, points = tables(
        [
            curve(ours.HTTP, "tiny", rising, 900.0),
            curve(ours.GRPC, "tiny", falling, 1100.0),
            curve(ours.HTTP, "frame", rising, 900.0),
            curve("Triton, gRPC", "frame", [30.0] * 5, 900.0),
            Curve("tiny", "Triton, gRPC", reason="ended at its start"),
        ],
        ours.HTTP,
        ours.GRPC,
    )
    assert [row[4] for row in standing.rows] == [
        *("0.95: reached", "10: reached", "0.95: missed", "10: missed"),
        *("0.95: reached", "1: reached", "1: missed"),
    ]
    assert len(points.rows) == 4 * len(CONCURRENCIES) + 1
    assert "ended at its start" in points.markdown()


def test_a_set_up_that_fails_says_why_in_a_line() -> None:
    with pytest.raises(UnavailableError, match="set-up failed: ERROR: no such version"):
        run([sys.executable, "-c", "import sys; sys.exit('a line\\nERROR: no such version\\n')"])
    with pytest.raises(UnavailableError, match="set-up failed"):
        run(["/nowhere/pip"])


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.environments.DIRECTORY", tmp_path)
    monkeypatch.setattr("benchmarks.peers.environments.ROOT", tmp_path)
    monkeypatch.setattr("benchmarks.peers.environments._REQUIREMENTS", tmp_path)
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    python = environment("empty")
    assert python.exists()
    left = python.parent / "left"
    left.touch()
    assert environment("empty") == python
    assert left.exists()
    (tmp_path / "empty.txt").write_text("# other pins\n", encoding="utf-8")
    environment("empty")
    assert not left.exists()


def test_results_are_written_to_a_file_that_is_not_there(tmp_path: Path) -> None:
    document = tmp_path / "new.md"
    (table,) = figures.tables(_figures(), ours.HTTP)
    write(document, {"cores": 2}, {"peers": [table]})
    text = document.read_text(encoding="utf-8")
    assert text.startswith("<!-- begin peers -->\n**tiny")
    write(document, {"cores": 2}, {"peers": [table]})
    assert document.read_text(encoding="utf-8") == text


@pytest.mark.slow
def test_a_run_without_peers_leaves_the_page_alone(floor: Path, tmp_path: Path) -> None:
    page = ROOT / "docs" / "performance.md"
    before = page.read_bytes()
    document, every = tmp_path / "out.md", tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.peers.bench", "--quick", "--only", ""]
    command += ["--workloads", "tiny", "--output", str(document), "--json", str(every)]
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(subprocess.Popen(command, cwd=ROOT))
        stack.callback(running.kill)
        assert running.wait(110.0) == 0
    assert floor.exists()
    assert page.read_bytes() == before
    assert ours.HTTP in document.read_text(encoding="utf-8")
    assert ours.HTTP in (tmp_path / "peers.svg").read_text(encoding="utf-8")
    (http, *_) = json.loads(every.read_text(encoding="utf-8"))["figures"]["by_workload"]["tiny"]
    assert http["title"] == ours.HTTP
    assert http["one"]["p50_us"] > 0
    assert http["many"]["requests_per_second"] > 0
