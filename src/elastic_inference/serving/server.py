"""The model server: models, front ends, and what its configuration files say."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

from elastic_inference.client import Accelerator
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.frameworks.tensorflow.prepare import prepare
from elastic_inference.serving import batching_parameters
from elastic_inference.serving.batching import Scheduler
from elastic_inference.serving.batching_parameters import BatchingParameters
from elastic_inference.serving.config import ModelConfig, ModelServerConfig, check, read_models
from elastic_inference.serving.loading import LoaderOptions, SavedModelLoader
from elastic_inference.serving.manager import Manager, ManagerOptions
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.options import Options
from elastic_inference.serving.rest_server import RestServer
from elastic_inference.serving.rpc import GrpcServer
from elastic_inference.serving.service import Service
from elastic_inference.serving.session_config import session_config

_log = logging.getLogger(__name__)


class ModelServer:
    """Everything that one command line starts."""

    def __init__(
        self, options: Options, accelerator: Accelerator | None, *, host: str = "0.0.0.0"
    ) -> None:
        """Read the configuration; nothing is loaded or listened on yet.

        Raises:
            ElasticInferenceError: a file of the configuration is wrong.
        """
        self._options = options
        self._host = host
        self._config = _models(options)
        check(self._config)
        loader_options = LoaderOptions(
            tags=tuple(filter(None, options.saved_model_tags.split(","))),
            config=session_config(options),
            reads_parameters=options.enable_per_model_batching_parameters,
            checks_methods=options.enable_signature_method_name_check,
            warms_up=options.enable_model_warmup,
            iterations=max(options.num_request_iterations_for_warmup, 1),
        )
        parameters = _batching(options)
        self._ended = threading.Event()
        self._poller: threading.Thread | None = None
        self.ports: list[int] = []
        with ExitStack() as stack:
            self._scheduler = None if parameters is None else Scheduler(parameters)
            if self._scheduler is not None:
                stack.callback(self._scheduler.close)
            self.metrics = Metrics()
            loader = SavedModelLoader(
                accelerator, prepare, self.metrics, loader_options, self._scheduler
            )
            self._manager = Manager(loader, _manager_options(options))
            stack.callback(self._manager.stop, 0)
            self._service = Service(self._manager, self.metrics)
            self._grpc = GrpcServer(self._service, self.metrics, options)
            self._rest = (
                RestServer(self._service, self.metrics, options) if options.rest_api_port else None
            )
            stack.pop_all()

    def start(self) -> None:
        """Load the models, then answer.

        Raises:
            ElasticInferenceError: a model cannot be loaded, or a port is taken.
        """
        options = self._options
        self._manager.reload(self._config)
        if self._ended.is_set():
            return
        addresses = []
        if options.port or not options.grpc_socket_path:
            addresses.append(f"{self._host}:{options.port}")
        if options.grpc_socket_path:
            addresses.append(f"unix:{options.grpc_socket_path}")
        self.ports = self._grpc.start(*addresses)
        if options.port or not options.grpc_socket_path:
            _log.info("Running gRPC ModelServer at %s:%d ...", self._host, self.ports[0])
        if options.grpc_socket_path:
            _log.info("Running gRPC ModelServer at UNIX socket %s ...", options.grpc_socket_path)
        if self._rest is not None:
            self._rest.start(f"{self._host}:{options.rest_api_port}")
            _log.info("Exporting HTTP/REST API at:localhost:%d ...", options.rest_api_port)
            # What some tools wait for.
            _log.info("[evhttp_server.cc : 250] NET_LOG: Entering the event loop ...")
        if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
            self._poller = threading.Thread(target=self._poll, name="model-config", daemon=True)
            self._poller.start()

    def stop(self, grace: float) -> bool:
        """Refuse new requests, let those that are there end, and give the models up.

        Args:
            grace: how long they may take, in seconds.

        Returns:
            whether all of them ended.
        """
        self._ended.set()
        if self._rest is not None:
            self._rest.stop(grace)
        self._grpc.stop(grace)
        has_ended = self._manager.stop(grace)
        if self._scheduler is not None:
            self._scheduler.close()
        return has_ended

    def _poll(self) -> None:
        """Serve what the file says, whenever it says something else."""
        served = self._config
        while not self._ended.wait(self._options.model_config_file_poll_wait_seconds):
            try:
                config = read_models(self._options.model_config_file)
            except ElasticInferenceError as error:
                _log.error("Failed to read ModelServerConfig file: %s", error)
                continue
            if config == served:
                continue
            try:
                self._manager.reload(config)
                served = config
            except ElasticInferenceError as error:
                _log.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error)


def _models(options: Options) -> ModelServerConfig:
    if options.model_config_file:
        return read_models(options.model_config_file)
    _log.info(
        "Building single TensorFlow model file config:  model_name: %s model_base_path: %s",
        *(options.model_name, options.model_base_path),
    )
    return ModelServerConfig((ModelConfig(options.model_name, options.model_base_path),))


def _batching(options: Options) -> BatchingParameters | None:
    if not options.enable_batching:
        return None
    if options.batching_parameters_file:
        return batching_parameters.read(options.batching_parameters_file)
    return BatchingParameters()


def _manager_options(options: Options) -> ManagerOptions:
    return ManagerOptions(
        poll_interval=options.file_system_poll_wait_seconds,
        load_threads=options.num_load_threads,
        unload_threads=options.num_unload_threads,
        most_retries=options.max_num_load_retries,
        retry_interval=options.load_retry_interval_micros / 1e6,
        allows_labels=options.allow_version_labels_for_unavailable_models,
    )
