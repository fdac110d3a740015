from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields

import pytest

from elastic_inference._version import __version__
from elastic_inference.errors import ConfigurationError
from elastic_inference.serving.flags import parse, usage
from elastic_inference.serving.main import COMMAND, main
from elastic_inference.serving.options import Options

_MODEL = ["--model_base_path=/models/m"]
# Those of TensorFlow Serving 2.21's main.cc.
_ORIGINAL = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
batching_parameters_file enable_per_model_batching_parameters model_config_file
model_config_file_poll_wait_seconds model_name model_base_path num_load_threads
num_unload_threads max_num_load_retries load_retry_interval_micros
file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
tensorflow_session_config_file tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism
use_alts_credentials ssl_config_file platform_config_file per_process_gpu_memory_fraction
saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
num_request_iterations_for_warmup version monitoring_config_file
remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
num_tflite_interpreters_per_pool enable_signature_method_name_check xla_cpu_compilation_enabled
xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision
skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""


def test_every_flag_of_the_original_is_known() -> None:
    assert {each.name for each in fields(Options)} == set(_ORIGINAL.split())


def test_defaults() -> None:
    options = parse(_MODEL).options
    assert (options.port, options.rest_api_port, options.model_name) == (8500, 0, "default")
    assert (options.saved_model_tags, options.enable_model_warmup) == ("serve", True)
    assert (options.file_system_poll_wait_seconds, options.rest_api_timeout_in_ms) == (1, 30_000)


@pytest.mark.parametrize(
    "words",
    [
        ["--port=9000", "--enable_batching", "--model_name=a=b"],
        ["--port", "9000", "--enable_batching=true", "--model_name", "a=b"],
        ["-port=9000", "-enable_batching", "true", "-model_name=a=b"],
        ["--port=1", "--port=9000", "--enable_batching=1", "--model_name=a=b"],
    ],
)
def test_spellings(words: Sequence[str]) -> None:
    options = parse([*words, *_MODEL]).options
    assert (options.port, options.enable_batching, options.model_name) == (9000, True, "a=b")


def test_what_follows_a_switch_is_a_flag_of_its_own() -> None:
    options = parse(["--enable_batching", "--enable_model_warmup=false", *_MODEL]).options
    assert (options.enable_batching, options.enable_model_warmup) == (True, False)
    assert not parse(["--enable_batching", "false", *_MODEL]).options.enable_batching


def test_negative_numbers() -> None:
    options = parse(["--file_system_poll_wait_seconds", "-1", *_MODEL]).options
    assert options.file_system_poll_wait_seconds == -1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--nonsense=1"], "unknown argument: --nonsense=1"),
        (["word"], "unknown argument: word"),
        (["---port=1"], "unknown argument: ---port=1"),
        (["--"], "unknown argument: --"),
        (["--port"], "--port needs a value"),
        (["--port=many"], "--port needs an integer; was 'many'"),
        (["--port=70000"], "--port is no port: 70000"),
        (["--port=99999999999999999999"], "--port is out of range"),
        (["--per_process_gpu_memory_fraction=x"], "needs a number; was 'x'"),
        (["--enable_batching=maybe"], "--enable_batching is true or false; was 'maybe'"),
        (["--rest_api_port=8500"], "http_port cannot be same as grpc_port"),
        (["--rest_api_num_threads=0"], "--rest_api_num_threads must be at least 1"),
        (["--batching_parameters_file=/x"], "without setting server_options.enable_batching"),
        (["--grpc_channel_arguments=a"], "which is not KEY=VALUE"),
        (["--use_alts_credentials"], "--use_alts_credentials cannot be honoured"),
        (["--platform_config_file=/x"], "--platform_config_file cannot be honoured"),
        (["--prefer_tflite_model=true"], "--prefer_tflite_model cannot be honoured"),
        (["--mixed_precision=bfloat16"], "--mixed_precision cannot be honoured"),
        (
            [
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "You cannot configure all",
        ),
    ],
)
def test_what_cannot_be_had(words: Sequence[str], why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse([*_MODEL, *words])
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="model_config_file are empty!"):
        parse([])
    assert parse(["--model_config_file=/x"]).options.model_config_file == "/x"


def test_what_is_ignored_is_said() -> None:
    parsed = parse([*_MODEL, "--flush_filesystem_caches=false", "--xla_cpu_compilation_enabled"])
    assert [note.partition(" ")[0] for note in parsed.notes] == [
        "--flush_filesystem_caches",
        "--xla_cpu_compilation_enabled",
    ]
    # What changes nothing needs no word.
    assert parse([*_MODEL, "--flush_filesystem_caches", "--prefer_tflite_model=false"]).notes == ()


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text == usage(COMMAND)
    assert "ei run --accelerator TYPE -- amazonei_tensorflow_model_server" in text
    for each in fields(Options):
        assert f"--{each.name}=" in text
    assert max(map(len, text.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert f"TensorFlow ModelServer: elastic-inference {__version__}" in capsys.readouterr().out


def test_bad_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nonsense"]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"{COMMAND}: unknown argument: --nonsense. See --help.\n"
    assert captured.out == ""


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from elastic_inference.serving.main import main; main(['--help']);"
        "print([name for name in ('numpy', 'grpc', 'tensorflow', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
