"""TensorFlow Serving's own tests of its server, run against this project's.

    python -m tests.serving.upstream CHECKOUT [--page FILE] [--only NAME,…]

CHECKOUT is a copy of the public repository tensorflow/serving. Its
tensorflow_model_server_test.py starts a server binary where its build puts one; there a wrapper
starts amazonei_tensorflow_model_server. Nothing in the copy is changed. It is run under
`ei run`, so that the server has an accelerator.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

_TEST = "tensorflow_serving/model_servers/tensorflow_model_server_test.py"
_WRAPPER = """#!/bin/sh
exec {python} -m elastic_inference.serving.main "$@"
"""
# The copy's own packages come beside those of the installed client library.
_START = """
import runpy, sys, types
import tensorflow_serving
tensorflow_serving.__path__.append(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# It wants processors that TensorFlow divides only before it has used one.
_ALONE = "test_distrat_sequential_keras_saved_model_save"
# What another server than TensorFlow Serving cannot pass, and why.
REASONS = {
    "test_tf_text": "its model is in no public copy, and needs the operators of TensorFlow Text",
    "test_profiler_service_with_valid_trace_request": (
        "TensorFlow's profiler looks into TensorFlow's own runtime, which does not serve here"
    ),
    "testPredictOnTfLite": "TensorFlow Lite models are not taken; the server says so",
    "testPredictWithSignatureDefOnTfLite": "TensorFlow Lite models are not taken",
}


def run(checkout: Path, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Run the tests.

    Args:
        only: names of tests; all if empty.

    Returns:
        by test `passed`, or the last line of what went wrong.
    """
    text = (checkout / _TEST).read_text(encoding="utf-8")
    names = only or tuple(re.findall(r"^  def (test\w+)\(self", text, re.MULTILINE))
    together = [name for name in names if name != _ALONE]
    found = _run(checkout, together) if together else {}
    return found | (_run(checkout, [_ALONE]) if _ALONE in names else {})


def _run(checkout: Path, names: Sequence[str]) -> dict[str, str]:
    """Run these in one process."""
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as name:
        folder = Path(name)
        tree = folder / "tf_serving" / "tensorflow_serving"
        (tree / "model_servers").mkdir(parents=True)
        for part in ("servables", "session_bundle", "batching"):
            if (checkout / "tensorflow_serving" / part).is_dir():
                (tree / part).symlink_to(checkout / "tensorflow_serving" / part)
        wrapper = tree / "model_servers" / "tensorflow_model_server"
        wrapper.write_text(_WRAPPER.format(python=sys.executable))
        wrapper.chmod(0o755)
        report = folder / "report.xml"
        words = [sys.executable, "-c", _START, str(checkout / "tensorflow_serving")]
        words += [str(checkout / _TEST), f"--xml_output_file={report}", f"--test_tmpdir={folder}"]
        words += [f"TensorflowModelServerTest.{each}" for each in names]
        done = subprocess.run(words, env=_environment(folder), check=False)
        if not report.exists():
            raise SystemExit(f"The tests did not run to their end: exit status {done.returncode}.")
        return _read(report)


def _environment(folder: Path) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key != "EI_RUN"}
    if find_spec("tf_keras"):
        # Two of the tests name inputs as Keras 2 did; Keras 3 calls them otherwise.
        env["TF_USE_LEGACY_KERAS"] = "1"
    return env | {"TEST_SRCDIR": str(folder), "PYTHONPATH": _path(folder)}


def _path(folder: Path) -> str:
    """A folder with the one function of `portpicker` that the tests use, and what is there else."""
    place = folder / "python"
    place.mkdir()
    (place / "portpicker.py").write_text(
        "import socket\n\n\ndef pick_unused_port():\n"
        '    with socket.create_server(("127.0.0.1", 0)) as listener:\n'
        "        return listener.getsockname()[1]\n"
    )
    return os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH", ""))))


def _read(report: Path) -> dict[str, str]:
    found = {}
    # Written by the tests' own runner just now.
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314
        name = case.get("name", "")
        if name == "test_session":  # of TensorFlow's own test class
            continue
        wrong = [each for each in case if each.tag in {"failure", "error"}]
        skipped = [each for each in case if each.tag == "skipped"]
        if wrong:
            text = (wrong[0].get("message") or wrong[0].text or "").strip()
            found[name] = re.sub(r"\s+", " ", text)[-300:] or "failed"
        elif skipped or case.get("status") != "run":
            found[name] = "skipped"
        else:
            found[name] = "passed"
    return found


def page(results: dict[str, str]) -> str:
    """What docs/tensorflow-serving-tests.md says."""
    passed = sum(result == "passed" for result in results.values())
    lines = [
        "# TensorFlow Serving's own tests",
        "",
        "The tests of TensorFlow Serving's server (`tensorflow_model_server_test.py` of the public",
        "repository tensorflow/serving, with its own test data), run against",
        "`amazonei_tensorflow_model_server` in the place of its binary:",
        "`make serving-tests TENSORFLOW_SERVING=/path/to/its/checkout`, with `tf_keras` installed.",
        "",
        f"**{passed} of {len(results)} pass.**",
        "",
        "| test | result |",
        "|---|---|",
    ]
    for name, result in sorted(results.items()):
        told = result if result == "passed" else f"not passed: {REASONS.get(name, result)}"
        lines.append(f"| {name} | {told} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run them, show them, and write the page if one is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--page", type=Path, default=None)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    only = tuple(name for name in options.only.split(",") if name)
    results = run(options.checkout.resolve(), only)
    text = page(results)
    sys.stdout.write(text)
    if options.page is not None:
        options.page.write_text(text, encoding="utf-8")
    unexplained = {name for name, result in results.items() if result != "passed"} - set(REASONS)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
