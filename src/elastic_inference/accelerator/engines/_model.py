"""A model loaded by ONNX Runtime."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from elastic_inference.accelerator import onnxfile
from elastic_inference.accelerator.engines import _errors, _prepared, _values
from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import CARRIER, TensorSpec, Value

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Deferred:
    """What a load leaves for later.

    Attributes:
        prepare: writes the prepared model; None where loading it gains nothing.
        load: a session of it, or None, and it is released, where that fails.
    """

    prepare: Callable[[], _prepared.Prepared | None]
    load: Callable[[_prepared.Prepared], ort.InferenceSession | None]


class OnnxRuntimeModel:
    """See `engines.base.LoadedModel`."""

    def __init__(
        self,
        session: ort.InferenceSession,
        interface: dict[str, Any],
        source: str,
        prepared: _prepared.Prepared | None = None,
    ) -> None:
        self.interface = interface
        self.inputs = tuple(TensorSpec.from_dict(entry) for entry in interface["inputs"])
        self.outputs = tuple(TensorSpec.from_dict(entry) for entry in interface["outputs"])
        self._optional = {
            entry["name"]: TensorSpec.from_dict(entry) for entry in interface["overridable"]
        }
        self.metadata: Mapping[str, Any] = interface["metadata"]
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.source = source
        self.mapped_bytes = prepared.weights_bytes if prepared is not None else 0
        self._prepared = prepared
        self._deferred: Deferred | None = None
        # Of closing and of taking another session.
        self._changing = threading.Lock()
        self._native: Any = session._sess  # noqa: SLF001 - the wrapper costs 1 µs per run
        self._run = self._native.run
        self._names = [spec.name for spec in self.outputs]
        self._by_name = {spec.name: spec for spec in self.outputs}
        # Values that numpy carries as they are take the short way; -1 sends all the long way.
        plain = all(_values.is_plain(spec) for spec in self.outputs)
        self._count = len(self.inputs) if plain else -1
        self._dtypes = {
            spec.name: CARRIER[spec.datatype] for spec in self.inputs if _values.is_plain(spec)
        }

    def run(
        self, feeds: Mapping[str, Value], outputs: Sequence[str] | None = None
    ) -> Sequence[Value]:
        if len(feeds) == self._count:
            dtypes = self._dtypes
            for name, value in feeds.items():
                if value.__class__ is not np.ndarray or value.dtype is not dtypes.get(name):
                    break
            else:
                try:
                    return self._run(outputs or self._names, feeds, None)  # type: ignore[no-any-return]
                except Exception as error:
                    raise self._explain(error, feeds, outputs) from error
        return self._run_checked(feeds, outputs)

    @property
    def unfinished(self) -> bool:
        return self._deferred is not None

    def defer(self, deferred: Deferred) -> None:
        """Leave work to `finish`."""
        self._deferred = deferred

    def finish(self) -> None:
        deferred = self._deferred
        if deferred is None:
            return
        try:
            prepared = deferred.prepare()
            if prepared is not None:
                self._take(prepared, deferred.load)
        except Exception as error:  # noqa: BLE001 - the model works on as it is
            log.warning("A model keeps the form in which it was loaded: %s", error)
        finally:
            self._deferred = None

    def skip(self) -> None:
        self._deferred = None

    def close(self) -> None:
        with self._changing:
            self._run = _closed
            self._native = None
            if self._prepared is not None:
                self._prepared.release()

    def _take(
        self,
        prepared: _prepared.Prepared,
        load: Callable[[_prepared.Prepared], ort.InferenceSession | None],
    ) -> None:
        """Run by a session of `prepared` from now on, unless the model is closed.

        A run under way keeps the session that it began with, which goes with the last of them.
        """
        session = None if self._native is None else load(prepared)
        with self._changing:
            if session is None or self._native is None:
                prepared.release()
                return
            self._native = session._sess  # noqa: SLF001 - as above
            self._run = self._native.run
            self._prepared = prepared
            self.mapped_bytes = prepared.weights_bytes

    def _run_checked(
        self, feeds: Mapping[str, Value], outputs: Sequence[str] | None
    ) -> Sequence[Value]:
        wanted = list(outputs or self._names)
        if unknown := [name for name in wanted if name not in self._by_name]:
            raise self._no_output(unknown[0])
        specs = {spec.name: spec for spec in self.inputs}
        absent = {spec.name: None for spec in self.inputs if spec.datatype == "OPTIONAL"}
        feeds = {**absent, **feeds}
        if missing := specs.keys() - feeds.keys():
            raise InvalidRequestError(
                f"Input {min(missing)!r} is missing.", next_step=self._input_names()
            )
        specs.update(self._optional)
        if surplus := feeds.keys() - specs.keys():
            raise InvalidRequestError(
                f"The model has no input {min(surplus)[:200]!r}.", next_step=self._input_names()
            )
        given = {name: _values.to_engine(value, specs[name]) for name, value in feeds.items()}
        chosen = [self._by_name[name] for name in wanted]
        try:
            if any(spec.datatype in _values.FOREIGN for spec in chosen):
                made = self._native.run_with_ort_values(
                    {name: _values.to_ort_value(v, specs[name]) for name, v in given.items()},
                    wanted,
                    None,
                )
                return [
                    _values.from_ort_value(value, spec)
                    for value, spec in zip(made, chosen, strict=True)
                ]
            results = self._run(wanted, given, None)
            return [
                _values.from_engine(value, spec)
                for value, spec in zip(results, chosen, strict=True)
            ]
        except Exception as error:
            raise self._explain(error, feeds, outputs) from error

    def _explain(
        self, error: Exception, feeds: Mapping[str, Value], outputs: Sequence[str] | None
    ) -> Exception:
        """The engine's error, or a clearer one where the request itself shows what is wrong."""
        translated = _errors.run_error(error)
        if type(translated) is not InvalidRequestError:
            return translated
        for name in outputs or ():
            if name not in self._by_name:
                return self._no_output(name)
        for spec in self.inputs:
            shape = getattr(feeds.get(spec.name), "shape", None)
            if shape is not None and not _fits(shape, spec.shape):
                return _values.wrong(spec, feeds[spec.name])
        return translated

    def _no_output(self, name: str) -> InvalidRequestError:
        names = ", ".join(self._names[:20])
        return InvalidRequestError(
            f"The model has no output {name[:200]!r}.", next_step=f"Its outputs are: {names}."
        )

    def _input_names(self) -> str:
        return f"Its inputs are: {', '.join(spec.name for spec in self.inputs[:20]) or 'none'}."


def describe_session(session: ort.InferenceSession, info: onnxfile.OnnxInfo) -> dict[str, Any]:
    """What a session says of its model, as JSON: a prepared model keeps it."""
    made = session.get_modelmeta()

    def entries(metas: Sequence[Any]) -> list[dict[str, Any]]:
        return [_values.spec_of(meta, info.unranked).to_dict() for meta in metas]

    return {
        "inputs": entries(session.get_inputs()),
        "outputs": entries(session.get_outputs()),
        "overridable": entries(session.get_overridable_initializers()),
        "metadata": {
            "producer_name": made.producer_name,
            "graph_name": made.graph_name,
            "domain": made.domain,
            "description": made.description,
            "graph_description": made.graph_description,
            "version": made.version,
            "custom": dict(made.custom_metadata_map),
        },
    }


def _fits(shape: Sequence[int], declared: Sequence[int] | None) -> bool:
    if declared is None:
        return True
    if not declared:
        # The engine says the same of scalars and of any shape.
        return True
    return len(shape) == len(declared) and all(
        want in (-1, size) for size, want in zip(shape, declared, strict=True)
    )


def _closed(*_: object) -> Any:
    raise InvalidRequestError("The model was unloaded.")
