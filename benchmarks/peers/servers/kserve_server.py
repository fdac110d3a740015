"""KServe's model server with models that run ONNX Runtime."""

from __future__ import annotations

from typing import Any

import uvicorn
from engine import Models, begin
from grpc.aio import _server
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

_bind_anywhere = _server.Server.add_insecure_port


class _LoopbackConfig(uvicorn.Config):  # type: ignore[misc] # as OnnxModel below
    """KServe names every address of the machine, and has no setting for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "host": "127.0.0.1"})


def _bind_loopback(server: Any, address: str) -> int:
    port: int = _bind_anywhere(server, f"127.0.0.1:{address.rpartition(':')[2]}")
    return port


class OnnxModel(Model):  # type: ignore[misc] # untyped where it is not installed
    """One model."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._run = Models().open(name)
        self.ready = True

    async def predict(
        self,
        payload: InferRequest,
        headers: Any = None,  # noqa: ARG002 - KServe passes them
        response_headers: Any = None,  # noqa: ARG002 - as above
    ) -> InferResponse:
        """Run it once."""
        y = self._run(payload.inputs[0].as_numpy())
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=True)
        return InferResponse(
            response_id=payload.id or "1", model_name=self.name, infer_outputs=[output]
        )


def main() -> None:
    """Serve on 127.0.0.1 until it is told to end."""
    uvicorn.Config = _LoopbackConfig
    _server.Server.add_insecure_port = _bind_loopback
    http, grpc = begin()
    server = ModelServer(
        http_port=http,
        grpc_port=grpc,
        workers=1,
        enable_docs_url=False,
        enable_latency_logging=False,
        access_log_format=None,
    )
    server.start([OnnxModel(name) for name in Models()])


if __name__ == "__main__":
    main()
