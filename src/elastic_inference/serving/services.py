"""TensorFlow Serving's gRPC methods: a message in, a message out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.source import DEFAULT_SIGNATURE
from elastic_inference.serving import messages
from elastic_inference.serving.service import ModelSpec, Service

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
# Both are carried in the same arrays.
_ALIKE = frozenset({"bfloat16", "uint16"})


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        request: its message.
        deadline: a value of `time.monotonic`, or None.
        model: the name that it asks for; known once the message is read.
    """

    request: bytes
    deadline: float | None = None
    model: str = ""


class Methods:
    """All methods, on one service. They may be called from many threads.

    Args:
        as_content: Predict answers in `tensor_content`.
    """

    def __init__(self, service: Service, *, as_content: bool = False) -> None:
        self._service = service
        self._as_content = as_content

    def by_service(self) -> Mapping[str, Mapping[str, Callable[[Call], bytes]]]:
        """Every method by its name, by its service's name."""
        return {
            PREDICTION_SERVICE: {
                "Predict": self.predict,
                "Classify": self.classify,
                "Regress": self.regress,
                "MultiInference": self.multi_inference,
                "GetModelMetadata": self.metadata,
            },
            MODEL_SERVICE: {
                "GetModelStatus": self.status,
                "HandleReloadConfigRequest": self.reload,
            },
        }

    def predict(self, call: Call) -> bytes:
        request = messages.read_predict(call.request)
        call.model = request.spec.name
        if not _ALIKE.isdisjoint(request.dtypes.values()):
            self._check_types(request)
        answer = self._service.predict(
            request.spec, request.inputs, request.outputs, deadline=call.deadline
        )
        return messages.write_prediction(answer, as_content=self._as_content)

    def _check_types(self, request: messages.PredictRequest) -> None:
        """Tell types apart that the service cannot; it says what else is wrong."""
        _, signatures = self._service.signatures(request.spec)
        signature = signatures.get(request.spec.signature or DEFAULT_SIGNATURE)
        wanted = {} if signature is None else signature.inputs
        for position, (key, dtype) in enumerate(request.dtypes.items()):
            if key in wanted and {dtype, wanted[key].dtype} == _ALIKE:
                raise InvalidRequestError(
                    f"Expects arg[{position}] to be {wanted[key].dtype} but {dtype} is provided "
                    f"(input {key!r})"
                )

    def classify(self, call: Call) -> bytes:
        spec, examples = messages.read_inference(call.request)
        call.model = spec.name
        answer = self._service.classify(spec, examples, deadline=call.deadline)
        return messages.write_classified(answer)

    def regress(self, call: Call) -> bytes:
        spec, examples = messages.read_inference(call.request)
        call.model = spec.name
        answer = self._service.regress(spec, examples, deadline=call.deadline)
        return messages.write_regressed(answer)

    def multi_inference(self, call: Call) -> bytes:
        tasks, examples = messages.read_multi_inference(call.request)
        call.model = tasks[0][0].name if tasks else ""
        answers = self._service.multi_inference(tasks, examples, deadline=call.deadline)
        return messages.write_multi_inference(answers)

    def metadata(self, call: Call) -> bytes:
        spec, wanted = messages.read_metadata(call.request)
        spec = _there(spec)
        call.model = spec.name
        if not wanted:
            raise InvalidRequestError(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for each in wanted:
            if each != messages.SIGNATURE_DEF:
                raise InvalidRequestError(f"Metadata field {each} is not supported")
        return messages.write_metadata(*self._service.signatures(spec))

    def status(self, call: Call) -> bytes:
        spec = _there(messages.read_status(call.request))
        call.model = spec.name
        return messages.write_status(self._service.status(spec))

    def reload(self, call: Call) -> bytes:
        config = messages.read_reload(call.request)
        if config is None or config.custom:
            raise InvalidRequestError(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        self._service.reload(config)
        return messages.write_reloaded()


def _there(spec: ModelSpec | None) -> ModelSpec:
    if spec is None:
        raise InvalidRequestError("Missing ModelSpec")
    return spec
