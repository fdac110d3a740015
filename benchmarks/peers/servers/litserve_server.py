"""LitServe; it has no tensor protocol, so tensors come as base64 in JSON."""

from __future__ import annotations

import base64
from typing import Any

import litserve
import numpy as np
from engine import Models, begin


class OnnxApi(litserve.LitAPI):  # type: ignore[misc] # untyped where it is not installed
    """All models behind one path."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe passes it
        """Open them."""
        models = Models()
        self._run = {name: models.open(name) for name in models}
        self._given = {name: models.describe(name) for name in models}

    def decode_request(self, request: dict[str, str]) -> tuple[str, Any]:
        """The model's name and `x`."""
        name = request["model"]
        shape, dtype, _ = self._given[name]
        return name, np.frombuffer(base64.b64decode(request["x"]), dtype).reshape(shape)

    def predict(self, x: tuple[str, Any]) -> Any:
        """Run it once."""
        name, tensor = x
        return self._run[name](tensor)

    def encode_response(self, output: Any) -> dict[str, str]:
        """`y`."""
        return {"y": base64.b64encode(output.tobytes()).decode()}


def main() -> None:
    """Serve on 127.0.0.1 until it is told to end."""
    (http,) = begin()
    server = litserve.LitServer(OnnxApi(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=http, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
