"""TensorFlow Serving's gRPC front end. Messages go in and out as bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from elastic_inference.errors import ConfigurationError
from elastic_inference.protocol.grpc_messages import (
    HEALTH_SERVICE,
    NOT_SERVING,
    SERVICE_UNKNOWN,
    SERVING,
)
from elastic_inference.protocol.grpc_messages import MESSAGES as HEALTH_MESSAGES
from elastic_inference.protocol.protobuf import decode, encode
from elastic_inference.serving.config import SslConfig, read_ssl
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.options import Options
from elastic_inference.serving.service import Service
from elastic_inference.serving.services import MODEL_SERVICE, PREDICTION_SERVICE, Call, Methods
from elastic_inference.serving.statuses import OK, known, status_of, words_of

_LARGEST_MESSAGE = 2**31 - 1
# Calls that wait for a thread; one more is refused.
_MOST_WAITING = 4096
_MOST_WATCHERS = 64
# What gRPC says remains of calls without a deadline is more, in seconds.
_FOREVER = 1e9
# The names that TensorFlow Serving tells the health of, and the services' own.
_HEALTHY = frozenset(
    {"", "ModelService", "PredictionService", MODEL_SERVICE, PREDICTION_SERVICE, HEALTH_SERVICE}
)
_CODES: Mapping[int, grpc.StatusCode] = {each.value[0]: each for each in grpc.StatusCode}
# Of whom the requests are counted; TensorFlow Serving counts no others.
_COUNTED = frozenset({"Predict", "Classify", "Regress"})


class GrpcServer:
    """The gRPC server of a model server.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(self, service: Service, metrics: Metrics, options: Options) -> None:
        self._metrics = metrics
        self._health = _Health()
        threads = max(options.grpc_max_threads, 1)
        self._pool = ThreadPoolExecutor(threads, "grpc")
        self._server = grpc.server(
            self._pool,
            handlers=self._handlers(service, options),
            options=[
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                ("grpc.max_send_message_length", _LARGEST_MESSAGE),
                # A second server on a port is a mistake, not a way to share the load.
                ("grpc.so_reuseport", 0),
                *channel_arguments(options.grpc_channel_arguments),
            ],
            maximum_concurrent_rpcs=threads + _MOST_WAITING,
        )
        self._credentials = (
            _credentials(read_ssl(options.ssl_config_file)) if options.ssl_config_file else None
        )

    def start(self, *addresses: str) -> list[int]:
        """Listen, and answer from now on.

        Args:
            addresses: as `0.0.0.0:8500`, or `unix:/path`; port 0 is any free one.

        Returns:
            the ports, in order; what is no port has the number 1.

        Raises:
            ConfigurationError: one of them cannot be listened on.
        """
        ports = [self._listen(address) for address in addresses]
        self._server.start()
        return ports

    def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, and end those that still run after `grace` seconds.

        Returns when the last one ended.
        """
        self._health.end()
        self._server.stop(grace).wait()
        self._pool.shutdown(wait=True)
        self._health.close()

    def _listen(self, address: str) -> int:
        try:
            if self._credentials is None:
                port: int = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise ConfigurationError(
                f"gRPC cannot listen on {address}.",
                next_step="Name an address of this machine that no other process listens on.",
            )
        return port

    def _handlers(self, service: Service, options: Options) -> list[Any]:
        methods = Methods(service, as_content=options.enable_serialization_as_tensor_content)
        handlers = [
            grpc.method_handlers_generic_handler(
                name,
                {
                    method: grpc.unary_unary_rpc_method_handler(self._behaviour(method, behaviour))
                    for method, behaviour in behaviours.items()
                },
            )
            for name, behaviours in methods.by_service().items()
        ]
        if options.enable_grpc_healthcheck_service:
            handlers.append(self._health.handler())
        return handlers

    def _behaviour(self, name: str, method: Callable[[Call], bytes]) -> Callable[..., bytes]:
        observe = self._metrics.observe_request if name in _COUNTED else None

        def answer(request: bytes, context: Any) -> bytes:
            begun = time.monotonic()
            if not context.is_active():
                # The caller went away while the call waited for a thread.
                return b""
            remaining = context.time_remaining()
            is_bounded = remaining is not None and remaining < _FOREVER
            call = Call(request, begun + remaining if is_bounded else None)
            status = OK
            try:
                return method(call)
            except Exception as failure:  # noqa: BLE001 - a client is told of every failure
                error = known(failure, name)
                status = status_of(error)
                words = words_of(error)
            finally:
                if observe is not None:
                    observe(call.model, name, "GRPC", status.name, time.monotonic() - begun)
            context.abort(_CODES[status.code], words)
            raise AssertionError

        return answer


class _Health:
    """grpc.health.v1.Health: https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_serving = True
        self._watchers = 0
        # Whoever watches holds a thread, which must not be one of those that answer calls.
        self._pool = ThreadPoolExecutor(_MOST_WATCHERS, "grpc-health")

    def handler(self) -> Any:
        def watch(request: bytes, context: Any) -> Iterator[bytes]:
            return self._watch(request, context)

        watch.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(watch),
            },
        )

    def end(self) -> None:
        with self._changed:
            self._is_serving = False
            self._changed.notify_all()

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _check(self, request: bytes, context: Any) -> bytes:
        if _service_of(request, context) not in _HEALTHY:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self._answer()

    def _watch(self, request: bytes, context: Any) -> Iterator[bytes]:
        is_known = _service_of(request, context) in _HEALTHY
        with self._changed:
            if self._watchers >= _MOST_WATCHERS:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch the health.")
            self._watchers += 1
        try:
            yield self._answer() if is_known else _health(SERVICE_UNKNOWN)
            context.add_callback(self._wake)
            with self._changed:
                self._changed.wait_for(lambda: not (self._is_serving and context.is_active()))
            if is_known:
                yield self._answer()
        finally:
            with self._changed:
                self._watchers -= 1

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _answer(self) -> bytes:
        return _health(SERVING if self._is_serving else NOT_SERVING)


def _health(status: int) -> bytes:
    return encode(HEALTH_MESSAGES["HealthCheckResponse"], {"status": status})


def _service_of(request: bytes, context: Any) -> str:
    try:
        found = decode(HEALTH_MESSAGES["HealthCheckRequest"], memoryview(request))
    except Exception as failure:  # noqa: BLE001 - a client is told of every failure
        error = known(failure, "A health check")
        context.abort(_CODES[status_of(error).code], words_of(error))
        raise AssertionError from None
    return str(found.get("service", ""))


def channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """The arguments in KEY=VALUE,…; a value that is a number is passed as one.

    Raises:
        ConfigurationError: a piece is no such pair.
    """
    found: list[tuple[str, int | str]] = []
    for piece in text.split(",") if text else ():
        key, equals, value = piece.partition("=")
        if not key or not equals:
            raise ConfigurationError(
                f"--grpc_channel_arguments has {piece!r} where KEY=VALUE is due.",
                next_step="Write them as grpc.max_connection_age_ms=2000,KEY=VALUE.",
            )
        try:
            found.append((key, int(value)))
        except ValueError:
            found.append((key, value))
    return found


def _credentials(config: SslConfig) -> Any:
    return grpc.ssl_server_credentials(
        [(config.key, config.certificate)],
        root_certificates=config.authority or None,
        require_client_auth=config.verifies_clients,
    )
