"""`EIPredictor`: TensorFlow's Predictor, whose model runs on the accelerator."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from elastic_inference.errors import UnavailableError
from elastic_inference.frameworks import attach
from elastic_inference.frameworks.tensorflow.arguments import (
    Names,
    PathLike,
    choose,
    find_model,
    source_of,
    tag_set,
)
from elastic_inference.frameworks.tensorflow.failures import closed, refused, translate

_LOCALLY = "the model runs in this process's own TensorFlow"


class _Runner(Protocol):
    is_remote: bool
    feed_tensors: dict[str, Any]
    fetch_tensors: dict[str, Any]

    def run(self, given: Mapping[str, Any]) -> dict[str, Any]: ...

    def explain(self) -> str: ...

    def close(self) -> None: ...


class EIPredictor:
    """Repeated inference with one signature of a model. May be called from many threads.

    Takes what TensorFlow 1's `tf.contrib.predictor.from_saved_model` takes, and where to run.
    Without an accelerator the model runs in this process's own TensorFlow, and a RuntimeWarning
    says so. A model is prepared once per machine and user; later starts load no TensorFlow
    unless a part of the model has to run on the instance.
    """

    _runner: _Runner | None = None
    _temporary: Path | None = None

    def __init__(
        self,
        model_dir: PathLike | None = None,
        signature_def_key: str | Names | None = None,
        signature_def: Any = None,
        input_names: Names | None = None,
        output_names: Names | None = None,
        tags: str | Sequence[str] | None = None,
        graph: Any = None,
        config: Any = None,
        use_ei: bool = True,
        accelerator_id: Any = None,
        *,
        export_dir: PathLike | None = None,
    ) -> None:
        """
        Args:
            model_dir: a SavedModel's folder, a folder with an Estimator's exports (the newest is
                taken), or the file of a frozen graph, which needs the names below.
            signature_def_key: `serving_default` if neither it nor the next three are given.
            signature_def: a SignatureDef.
            input_names, output_names: tensor names by keys of your choice, as
                {"inputs": "image_tensor:0"}. They may also stand where the key and the
                SignatureDef do.
            tags: of the meta graph, as `serve`, `a,b` or a sequence; `serve` if None.
            graph: a tf.Graph. With use_ei=False the model is loaded into it. Without model_dir
                it is the model itself, without variables, and names are needed.
            config: a ConfigProto for what runs in this process.
            use_ei: False runs the model in this process's own TensorFlow.
            accelerator_id: its ordinal or id; the first if None.
            export_dir: the same as model_dir.

        Raises:
            ElasticInferenceError: of a class that is TensorFlow's or Python's too where those
                raise for the same mistake: OSError for a model that is not there, RuntimeError
                for tags, ValueError for a signature, `tf.errors` for a failed accelerator.
        """
        if model_dir is not None and export_dir is not None:
            raise refused("model_dir and export_dir are given both.", TypeError)
        folder = export_dir if model_dir is None else model_dir
        if folder is None and graph is None:
            raise refused("model_dir is not given.", TypeError)
        self._chosen = choose(signature_def_key, signature_def, input_names, output_names)
        self._tags = tag_set(tags)
        self._path = None if folder is None else find_model(folder)
        self._graph = graph
        self._config = config if isinstance(config, bytes) else _serialised(config)
        self._lock = threading.Lock()
        self._runner = self._attach(accelerator_id) if use_ei else self._run_here(graph)

    def _attach(self, accelerator_id: Any) -> _Runner:
        from elastic_inference.frameworks.tensorflow.remote import (  # noqa: PLC0415
            Remote,  # not needed without an accelerator
        )

        try:
            accelerator = attach.accelerator(accelerator_id, consequence=_LOCALLY)
            if accelerator is None:
                return self._run_here(self._graph)
            source = source_of(self._path or self._written(), self._tags, self._chosen)
            return Remote(source, accelerator, self._config)
        except UnavailableError as error:
            return self._lose(error)

    def _written(self) -> Path:
        """The file of the graph that was given in the place of a model."""
        self._temporary = Path(tempfile.mkdtemp(prefix="elastic-inference-"))
        path = self._temporary / "graph.pb"
        path.write_bytes(self._graph.as_graph_def().SerializeToString(deterministic=True))
        return path

    def _run_here(self, graph: Any) -> _Runner:
        from elastic_inference.frameworks.tensorflow.inprocess import (  # noqa: PLC0415
            InProcess,  # not needed with an accelerator
        )

        return InProcess(self._path, self._tags, self._chosen, graph=graph, config=self._config)

    def _lose(self, error: UnavailableError) -> _Runner:
        if not attach.goes_on_locally():
            raise translate(error) from error
        attach.warn_of_loss(error, "this predictor goes on with this process's own TensorFlow")
        return self._run_here(None if self._path else self._graph)

    def __call__(self, input_dict: Mapping[str, Any]) -> dict[str, Any]:
        """The model's outputs for `input_dict`, by key.

        Args:
            input_dict: a value for each key of `feed_tensors`: arrays, or what numpy makes
                arrays of. They are cast to the tensor's dtype. Placeholders with a default need
                none.

        Raises:
            ElasticInferenceError: a ValueError (keys, shapes, values), or what `tf.errors` has
                for the failure.
        """
        runner = self._runner
        if runner is None:
            raise closed("EIPredictor")
        try:
            return runner.run(input_dict)
        except UnavailableError as error:
            with self._lock:
                if self._runner is runner:
                    self._runner = self._lose(error)
                    runner.close()
            return self(input_dict)

    def warm_up(self, input_dict: Mapping[str, Any] | None = None) -> None:
        """Run the model once, so that the first call of the application finds it ready.

        Args:
            input_dict: what to run it on; zeros, with 1 for sizes that are not fixed, if None.

        Raises:
            ElasticInferenceError: a ValueError too: an input's rank is not known or it holds
                strings, so that only you can give a value; or what a call raises.
        """
        self(_zeros(self.feed_tensors) if input_dict is None else input_dict)

    def explain(self) -> str:
        """Which parts of the model run where, and why."""
        return self._open().explain()

    @property
    def feed_tensors(self) -> dict[str, Any]:
        """What the model takes: by key, objects with `name`, `dtype` and `shape`."""
        return self._open().feed_tensors

    @property
    def fetch_tensors(self) -> dict[str, Any]:
        """What the model gives: by key, objects with `name`, `dtype` and `shape`."""
        return self._open().fetch_tensors

    @property
    def graph(self) -> Any:
        """The tf.Graph of a predictor with use_ei=False."""
        return self._own("graph")

    @property
    def session(self) -> Any:
        """The session of a predictor with use_ei=False."""
        return self._own("session")

    def _own(self, name: str) -> Any:
        runner = self._open()
        if runner.is_remote:
            raise AttributeError(
                f"The model of this EIPredictor runs on the accelerator: there is no {name} of "
                "it in this process. With use_ei=False there is."
            )
        return getattr(runner, name)

    def _open(self) -> _Runner:
        if self._runner is None:
            raise closed("EIPredictor")
        return self._runner

    def close(self) -> None:
        """Give up the model. Closing twice is closing once."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # At the interpreter's end what closing needs may be gone.
        with contextlib.suppress(Exception):
            self.close()

    def __repr__(self) -> str:
        if self._runner is None:
            return "<EIPredictor, closed>"
        return (
            f"EIPredictor with feed tensors {self._runner.feed_tensors} and fetch_tensors "
            f"{self._runner.fetch_tensors}"
        )


def _serialised(config: Any) -> bytes:
    return b"" if config is None else bytes(config.SerializeToString())


def _zeros(tensors: Mapping[str, Any]) -> dict[str, Any]:
    zeros = {}
    for key, tensor in tensors.items():
        shape = getattr(tensor.shape, "as_list", lambda shape=tensor.shape: shape)
        dtype = np.dtype(getattr(tensor.dtype, "as_numpy_dtype", tensor.dtype))
        if getattr(tensor.shape, "rank", ()) is None or tensor.shape is None or dtype.kind == "O":
            raise refused(
                f"There is no value to warm up the input {key!r} with.",
                next_step="Give one: warm_up({...}).",
            )
        zeros[key] = np.zeros([size or 1 for size in shape()], dtype)
    return zeros
