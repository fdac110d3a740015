"""MLServer with a runtime that runs ONNX Runtime in the server's own process.

Its worker processes are off: with them every tensor is pickled and goes through a queue.
"""

from __future__ import annotations

import asyncio

from engine import Models, begin
from mlserver import MLModel, MLServer, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse

_SILENT = {"version": 1, "root": {"level": "ERROR"}, "disable_existing_loggers": True}
# The frames are larger than gRPC's default of 4 MiB.
_LONGEST_MESSAGE = 64 << 20


class OnnxRuntime(MLModel):  # type: ignore[misc] # untyped where it is not installed
    """One model."""

    async def load(self) -> bool:
        """Open it."""
        self._run = Models().open(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run it once."""
        x = NumpyCodec.decode_input(payload.inputs[0])
        y = NumpyCodec.encode_output("y", self._run(x))
        return InferenceResponse(model_name=self.name, outputs=[y])


async def serve() -> None:
    """Serve on 127.0.0.1 until it is told to end."""
    http, grpc, metrics = begin()
    server = MLServer(
        Settings(
            debug=False,
            host="127.0.0.1",
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            grpc_max_message_length=_LONGEST_MESSAGE,
            parallel_workers=0,
            logging_settings=_SILENT,
        )
    )
    await server.start([ModelSettings(name=name, implementation=OnnxRuntime) for name in Models()])


if __name__ == "__main__":
    asyncio.run(serve())
