"""What a model archive of Multi Model Server is made of."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "mxnet"))
import drawing  # noqa: E402 - from beside this folder
import make_networks  # noqa: E402 - the same

NAME = "resnet-152"
SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [1, 3, 224, 224]}],
    "input_type": "image/jpeg",
    "outputs": [{"data_name": "softmax", "data_shape": [1, len(drawing.KINDS)]}],
    "output_type": "application/json",
}


def fill(folder: Path, *, small: bool) -> Path:
    """Put everything that the archive needs into `folder`; a picture to try it with."""
    made = folder.parent / "made"
    make_networks.make(made, small=small, names=(NAME,))
    folder.mkdir()
    for name in (f"{NAME}-symbol.json", f"{NAME}-0000.params", "synset.txt"):
        shutil.copy(made / name, folder / name)
    (folder / "signature.json").write_text(json.dumps(SIGNATURE), encoding="utf-8")
    shutil.copy(_HERE / "service" / "model_service.py", folder / "model_service.py")
    return made / "cat.jpg"
