"""What one would write without a model server: a SavedModel in TensorFlow behind grpcio.

    python -m benchmarks.tensorflow.grpcio_peer MODEL_FOLDER

Prints its port, and serves Predict of the default signature until its standard input ends.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_THREADS = 16
_MESSAGE = 1 << 30


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]  # untyped
    def __init__(self, folder: str) -> None:
        self._model = tf.saved_model.load(folder)
        self._call = self._model.signatures["serving_default"]

    def Predict(self, request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        answer = predict_pb2.PredictResponse()
        answer.model_spec.CopyFrom(request.model_spec)
        for key, value in self._call(**inputs).items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return answer


def main() -> int:
    """Serve until nobody needs it."""
    options = [
        ("grpc.max_receive_message_length", _MESSAGE),
        ("grpc.max_send_message_length", _MESSAGE),
    ]
    server = grpc.server(ThreadPoolExecutor(_THREADS), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Service(sys.argv[1]), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
