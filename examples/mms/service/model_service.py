"""A custom service for Multi Model Server: pictures are classified on an accelerator.

It keeps to the server's own template (`MXNetModelService`, `MXNetVisionService`): a model archive
has the symbol, its parameters, `signature.json` and `synset.txt`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import mxnet as mx

_LOGGER = logging.getLogger(__name__)


class ModelService:
    """Loads the model of an archive and answers batches of requests."""

    def __init__(self) -> None:
        self.initialized = False
        self.epoch = 0
        self.labels: list[str] = []
        self.mx_model: Any = None

    def initialize(self, context: Any) -> None:
        """Load the model: `context` says where it lies."""
        folder = Path(context.system_properties["model_dir"])
        self.signature = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
        data_names = [each["data_name"] for each in self.signature["inputs"]]
        data_shapes = [
            (each["data_name"], tuple(each["data_shape"])) for each in self.signature["inputs"]
        ]
        (symbol_file,) = folder.glob("*-symbol.json")
        checkpoint_prefix = str(symbol_file).removesuffix("-symbol.json")
        self.labels = (folder / "synset.txt").read_text(encoding="utf-8").splitlines()

        # Load MXNet module
        # Symbol Context set to eia
        self.mxnet_ctx = mx.eia()
        self.data_ctx = mx.cpu()
        sym, arg_params, aux_params = mx.model.load_checkpoint(checkpoint_prefix, self.epoch)
        self.mx_model = mx.mod.Module(
            symbol=sym, context=self.mxnet_ctx, data_names=data_names, label_names=None
        )
        self.mx_model.bind(for_training=False, data_shapes=data_shapes)
        self.mx_model.set_params(arg_params, aux_params, allow_missing=True, allow_extra=True)
        self.initialized = True

    def preprocess(self, request: list[dict[str, Any]]) -> list[Any]:
        """A picture of the model's size for each request; None for what is no picture."""
        name = self.signature["inputs"][0]["data_name"]
        height, width = self.signature["inputs"][0]["data_shape"][2:]
        pictures: list[Any] = []
        for each in request:
            encoded = each.get(name) or each.get("body") or each.get("data")
            try:
                picture = mx.image.imresize(mx.image.imdecode(encoded or b""), width, height)
            except mx.MXNetError:
                _LOGGER.warning("A request has no picture.", exc_info=True)
                pictures.append(None)
            else:
                pictures.append(picture.transpose((2, 0, 1)).expand_dims(axis=0))
        return pictures

    def inference(self, model_input: list[Any]) -> Any:
        """The probabilities, a row for each picture."""
        model_input = [item.as_in_context(self.data_ctx) for item in model_input]
        joined = mx.nd.concatenate(model_input).astype("float32")
        self.mx_model.forward(mx.io.DataBatch([joined]), is_train=False)
        return self.mx_model.get_outputs()[0].asnumpy()

    def postprocess(self, probabilities: Any) -> list[dict[str, Any]]:
        """The five likeliest classes of a row."""
        best = probabilities.argsort()[::-1][:5]
        return [{"probability": float(probabilities[at]), "class": self.labels[at]} for at in best]

    def handle(self, request: list[dict[str, Any]]) -> list[Any]:
        """An answer for each request."""
        pictures = self.preprocess(request)
        given = [each for each in pictures if each is not None]
        rows = iter(self.inference(given) if given else ())
        return [
            "Corrupted image input" if each is None else self.postprocess(next(rows))
            for each in pictures
        ]


_service = ModelService()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """What the server calls: once without data, then for each batch of requests."""
    if not _service.initialized:
        _service.initialize(context)
    return None if data is None else _service.handle(data)
