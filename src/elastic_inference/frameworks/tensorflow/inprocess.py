"""A whole model in this process's own TensorFlow: what a predictor without accelerator runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from elastic_inference.errors import ModelFormatError
from elastic_inference.frameworks.tensorflow.arguments import Chosen, pick, say_default
from elastic_inference.frameworks.tensorflow.failures import refused, translate
from elastic_inference.frameworks.tensorflow.feeds import check_keys, plain
from elastic_inference.frameworks.tensorflow.local import import_tensorflow
from elastic_inference.frameworks.tensorflow.results import finish


class InProcess:
    """A model in a session, as TensorFlow's Predictor has it. `run` may be called by many threads.

    Attributes:
        graph, session: TensorFlow's.
        feed_tensors, fetch_tensors: the graph's tensors by key.
    """

    is_remote = False

    def __init__(
        self,
        path: Path | None,
        tags: tuple[str, ...],
        chosen: Chosen,
        *,
        graph: Any = None,
        config: bytes = b"",
    ) -> None:
        """
        Args:
            path: of a SavedModel or a frozen graph; None if the model is in `graph` already.
            graph: the tf.Graph to load it into, or None for a new one.
            config: a serialised ConfigProto for the session, or nothing.

        Raises:
            ConfigurationError: TensorFlow is not installed.
            ElasticInferenceError: a ValueError or OSError too: what was chosen is not there.
            Exception: what TensorFlow raises for a model that it cannot load.
        """
        tf = import_tensorflow()
        v1 = tf.compat.v1
        self.graph = tf.Graph() if graph is None else graph
        settings = v1.ConfigProto.FromString(config) if config else None
        self.session = v1.Session(graph=self.graph, config=settings)
        try:
            with self.graph.as_default():
                inputs, outputs = self._load(v1, path, tags, chosen)
                self.feed_tensors = self._tensors(inputs)
                self.fetch_tensors = self._tensors(outputs)
        except BaseException:
            self.session.close()
            raise

    def _load(
        self, v1: Any, path: Path | None, tags: tuple[str, ...], chosen: Chosen
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        names = chosen.names()
        if path is None or path.is_file():
            if names is None:
                raise refused(
                    f"{path or 'A graph'} has no signatures.",
                    next_step='Give input_names and output_names, as {"inputs": "x:0"}.',
                )
            if path is not None:
                v1.import_graph_def(_definition(v1, path), name="")
            return names
        # That TensorFlow advises against this way is nothing that its user could heed.
        with _quietly(v1.get_logger()):
            meta_graph = v1.saved_model.load(self.session, list(tags), str(path))
        signatures = meta_graph.signature_def
        if names is not None:
            return names
        if chosen.is_default:
            say_default()
        signature = signatures[pick(chosen.key, tuple(signatures))]
        return (
            {key: info.name for key, info in signature.inputs.items()},
            {key: info.name for key, info in signature.outputs.items()},
        )

    def _tensors(self, names: Mapping[str, str]) -> dict[str, Any]:
        return {key: self.graph.get_tensor_by_name(name) for key, name in names.items()}

    def run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all outputs, by key.

        Raises:
            ElasticInferenceError: a ValueError too: a key is not the model's.
            Exception: what TensorFlow's session raises.
        """
        check_keys(given.keys(), self.feed_tensors)
        feeds = {
            self.feed_tensors[key]: plain(value)
            for key, value in given.items()
            if value is not None
        }
        return finish(self.session.run(self.fetch_tensors, feeds))

    def explain(self) -> str:
        return "The whole model runs in this process's own TensorFlow."

    def close(self) -> None:
        self.session.close()


@contextlib.contextmanager
def _quietly(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _definition(v1: Any, path: Path) -> Any:
    from google.protobuf import message, text_format  # noqa: PLC0415 - TensorFlow has loaded it

    try:
        if path.suffix == ".pbtxt":
            return text_format.Parse(path.read_text(encoding="utf-8"), v1.GraphDef())
        return v1.GraphDef.FromString(path.read_bytes())
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise translate(ModelFormatError(f"{path} is no frozen graph: {error}."), OSError) from None
