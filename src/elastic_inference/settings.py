"""Every setting in one place: its name, default, unit and meaning.

A setting is read from the environment variable that its field names. Sizes take `KiB`,
`MiB` and `GiB`; durations are seconds and take `ms`, `s`, `min` and `h`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from elastic_inference.errors import ConfigurationError

T = TypeVar("T")
KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
# poll(2) counts milliseconds in 32 bits, and no disk has more bytes.
_LONGEST = 576 * 3600.0
_LARGEST = 2**60
_SIZE_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB}
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """Bytes from `64MiB`, `1048576`, …"""
    size = int(_quantity(text, _SIZE_UNITS, _LARGEST))
    if size < 1:
        raise ValueError("it must be 1 or more")
    return size


def parse_duration(text: str) -> float:
    """Seconds from `500ms`, `10s`, `5min`, `2.5`, …"""
    return _quantity(text, _TIME_UNITS, _LONGEST)


def interval(text: str) -> float:
    """Seconds between two events: a duration of 1 ms or more."""
    value = parse_duration(text)
    if value < 0.001:
        raise ValueError("it must be 1 ms or more")
    return value


def _quantity(text: str, units: Mapping[str, float], most: float) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"it must be a number, with one of the units {known} or none")
    value = float(match[1]) * units[match[2].lower()]
    if value > most:
        raise ValueError(f"it must be at most {most:.0f}")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 2**31):
        raise ValueError("it must be a whole number, 1 or more")
    return int(text)


def _ports(text: str) -> tuple[int, int]:
    """The first and the last port of `30000-30099`, or of one port alone."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < first <= last < 65536:
        raise ValueError("it must be a port or a range of ports, as 30000-30099")
    return first, last


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,}(?:-[a-z0-9]+){1,4}", text):
        raise ValueError("it must be as us-east-1")
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("it must be a number above 0")
    return value


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return text

    return parse


def _setting(env: str, default: Any, parse: Callable[[str], Any], help_: str) -> Any:
    return field(default=default, metadata={"env": env, "parse": parse, "help": help_})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one accelerator process accepts. Sizes in bytes, times in seconds."""

    max_body: int = _setting(
        "EI_MAX_BODY", 256 * MIB, parse_size, "largest body of an inference or load request"
    )
    max_bodies: int = _setting(
        "EI_MAX_BODIES",
        GIB,
        parse_size,
        "memory for the bodies of all requests under way, beside the accelerator's own",
    )
    max_head: int = _setting("EI_MAX_HEAD", 32 * KIB, parse_size, "largest HTTP request head")
    max_model_size: int = _setting(
        "EI_MAX_MODEL_SIZE", 16 * GIB, parse_size, "largest uploaded file of a model"
    )
    max_store: int = _setting(
        "EI_MAX_STORE", 64 * GIB, parse_size, "disk space for one account's uploads and caches"
    )
    max_connections: int = _setting(
        "EI_MAX_CONNECTIONS", 256, _count, "open connections to one accelerator"
    )
    max_models: int = _setting("EI_MAX_MODELS", 128, _count, "models loaded at one time")
    max_regions: int = _setting(
        "EI_MAX_REGIONS", 256, _count, "shared memory regions registered at one time"
    )
    receive_timeout: float = _setting(
        "EI_RECEIVE_TIMEOUT", 30.0, parse_duration, "longest silence within a request"
    )
    send_timeout: float = _setting(
        "EI_SEND_TIMEOUT", 30.0, parse_duration, "longest time a client may not read its answer"
    )
    idle_timeout: float = _setting(
        "EI_IDLE_TIMEOUT", 3600.0, parse_duration, "longest time between two requests"
    )
    handshake_timeout: float = _setting(
        "EI_HANDSHAKE_TIMEOUT", 10.0, parse_duration, "longest TLS handshake"
    )
    load_wait: float = _setting(
        "EI_LOAD_WAIT", 120.0, parse_duration, "longest wait for another load of the same model"
    )
    run_timeout: float = _setting(
        "EI_RUN_TIMEOUT", 120.0, parse_duration, "longest run of a graph in TensorFlow"
    )
    drain_timeout: float = _setting(
        "EI_DRAIN_TIMEOUT", 30.0, parse_duration, "time for running requests after SIGTERM"
    )
    lease_grace: float = _setting(
        "EI_LEASE_GRACE",
        30.0,
        parse_duration,
        "how long a model stays for a client whose connections are gone",
    )
    control_grace: float = _setting(
        "EI_CONTROL_GRACE",
        600.0,
        parse_duration,
        "how long an accelerator runs on without a control plane",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How an application's side finds and uses its accelerators. Times in seconds."""

    visible_devices: str | None = _setting(
        "EI_VISIBLE_DEVICES",
        None,
        str,
        "ordinals or ids of the accelerators to use; empty: none; unset: all",
    )
    on_loss: str = _setting(
        "EI_ON_LOSS",
        "error",
        _one_of("error", "local"),
        "when recovery fails: raise an error, or go on with the local engine",
    )
    timeout: float = _setting(
        "EI_TIMEOUT", 120.0, parse_duration, "longest wait for the answer of one inference"
    )
    connect_timeout: float = _setting(
        "EI_CONNECT_TIMEOUT", 10.0, parse_duration, "longest wait for a connection"
    )
    load_timeout: float = _setting(
        "EI_LOAD_TIMEOUT", 600.0, parse_duration, "longest wait for a model to be loaded"
    )
    max_answer: int = _setting(
        "EI_MAX_ANSWER", 4 * GIB, parse_size, "largest answer that a client takes"
    )
    recovery_timeout: float = _setting(
        "EI_RECOVERY_TIMEOUT",
        30.0,
        parse_duration,
        "how long a lost accelerator is waited for before EI_ON_LOSS decides",
    )
    transport: str = _setting(
        "EI_TRANSPORT",
        "auto",
        _one_of("auto", "tls", "unix", "shm"),
        "auto takes shared memory where both ends are on one host, else TLS",
    )
    endpoint: str = _setting(
        "AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME", "", str, "URL of the pool's endpoint"
    )
    endpoint_name: str = _setting(
        "EI_ENDPOINT_NAME",
        "",
        str,
        "TLS server name of the endpoint, where its certificate is not for the URL's host",
    )
    metadata_endpoint: str = _setting(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "http://169.254.169.254",
        str,
        "address of the instance metadata service",
    )
    ca_bundle: str = _setting(
        "AWS_CA_BUNDLE", "", str, "file of the certificate authorities to trust"
    )
    plan_cache: int = _setting(
        "EI_PLAN_CACHE",
        16 * GIB,
        parse_size,
        "disk space for TensorFlow models that were converted",
    )
    banner: str = _setting(
        "EI_BANNER", "on", _one_of("on", "off"), "print the accelerator once on stderr"
    )
    mxnet_downloads: str = _setting(
        "EI_MXNET_DOWNLOADS", "", str, "folder to take the files of `mx.test_utils.download` from"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """A pool: its state, its endpoint and the node's capacity. Times in seconds."""

    home: Path = _setting(
        "EI_HOME", Path("~/.elastic-inference"), Path, "where the state of this user lies"
    )
    catalog: Path | None = _setting(
        "EI_CATALOG", None, Path, "TOML file with accelerator types of your own"
    )
    virtual_tflops: float = _setting(
        "EI_VIRTUAL_TFLOPS", 8.0, _positive, "TFLOPS that a CPU-only node declares (best effort)"
    )
    gpu_tflops: float | None = _setting(
        "EI_GPU_TFLOPS",
        None,
        _positive,
        "FP32 TFLOPS of one GPU, of which accelerators take their shares; unset: as measured once",
    )
    health_interval: float = _setting(
        "EI_HEALTH_INTERVAL", 3.0, interval, "time between two health checks"
    )
    hang_timeout: float = _setting(
        "EI_HANG_TIMEOUT",
        60.0,
        parse_duration,
        "how long an accelerator may not answer health checks before it is restarted",
    )
    move_after: int = _setting(
        "EI_MOVE_AFTER",
        3,
        _count,
        "failed starts of an accelerator in its place before it gets another",
    )
    node_memory: int | None = _setting(
        "EI_NODE_MEMORY",
        None,
        parse_size,
        "memory of a CPU-only node for accelerators; unset: what is available at its start",
    )
    start_timeout: float = _setting(
        "EI_START_TIMEOUT", 30.0, parse_duration, "longest start of an accelerator process"
    )
    token_lifetime: float = _setting(
        "EI_TOKEN_LIFETIME", 900.0, parse_duration, "how long a data-plane token is valid"
    )
    max_token_lifetime: float = _setting(
        "EI_MAX_TOKEN_LIFETIME",
        86400.0,
        parse_duration,
        "longest validity of a data-plane token that may be asked for",
    )
    own_ports: tuple[int, int] | None = _setting(
        "EI_OWN_PORTS",
        None,
        _ports,
        "ports for the accelerators' own addresses, as 30000-30099; unset: any that is free",
    )
    max_own_addresses: int = _setting(
        "EI_MAX_OWN_ADDRESSES", 256, _count, "accelerators with an address of their own"
    )
    instance_lease: float = _setting(
        "EI_INSTANCE_LEASE",
        30.0,
        interval,
        "how long a silent `ei run` keeps its accelerators",
    )
    hello_timeout: float = _setting(
        "EI_HELLO_TIMEOUT",
        10.0,
        parse_duration,
        "how long the endpoint waits for a connection's TLS ClientHello",
    )
    max_pending: int = _setting(
        "EI_MAX_PENDING", 512, _count, "connections whose ClientHello the endpoint waits for"
    )
    max_control_connections: int = _setting(
        "EI_MAX_CONTROL_CONNECTIONS", 64, _count, "open connections to the control plane's API"
    )
    separate_users: str = _setting(
        "EI_SEPARATE_USERS",
        "auto",
        _one_of("auto", "off"),
        "auto gives each accelerator and instance a user of its own, where root runs the pool",
    )
    database: str | None = _setting(
        "EI_DATABASE",
        None,
        str,
        "URL of a PostgreSQL database for the state, as postgresql+psycopg://USER@HOST/NAME;"
        " unset: a file in the state directory",
    )
    region: str = _setting(
        "EI_REGION", "us-east-1", _region, "name of the region that the pool says it is"
    )
    credentials_lifetime: float = _setting(
        "EI_CREDENTIALS_LIFETIME",
        6 * 3600.0,
        interval,
        "how long an instance's credentials are valid; they are renewed at half of it",
    )
    sts_endpoint: str = _setting(
        "EI_STS_ENDPOINT", "", str, "address of AWS STS, if it is not AWS's own"
    )
    meter_interval: float = _setting(
        "EI_METER_INTERVAL", 5.0, interval, "time between two notes of what is being used"
    )
    max_metrics: int = _setting(
        "EI_MAX_METRICS", 10_000, _count, "metrics that an account may have put (PutMetricData)"
    )
    max_commands: int = _setting(
        "EI_MAX_COMMANDS", 64, _count, "commands of `ei exec` at one time in all instances"
    )
    max_accelerators: int = _setting(
        "EI_MAX_ACCELERATORS", 5, _count, "accelerators of one instance"
    )
    instance_network: str = _setting(
        "EI_INSTANCE_NETWORK",
        "auto",
        _one_of("auto", "namespace", "host"),
        "a network namespace for each instance, the machine's network, or auto: whichever can be",
    )


def from_environment(cls: type[T], environ: Mapping[str, str] | None = None) -> T:
    """`cls` with the values that the environment gives.

    Raises:
        ConfigurationError: a variable does not parse; the message names it.
    """
    environ = os.environ if environ is None else environ
    values = {}
    for item in fields(cls):  # type: ignore[arg-type]  # T is one of the dataclasses above
        env = item.metadata["env"]
        if env not in environ or (environ[env] == "" and env != "EI_VISIBLE_DEVICES"):
            continue
        try:
            values[item.name] = item.metadata["parse"](environ[env])
        except ValueError as error:
            raise ConfigurationError(
                f"{env}={environ[env]!r}: {error}.", next_step=f"{env}: {item.metadata['help']}."
            ) from None
    return cls(**values)
