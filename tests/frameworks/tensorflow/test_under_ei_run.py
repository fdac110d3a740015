"""Programs written for the original, under `ei run`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EI = Path(sys.executable).with_name("ei")
PROGRAM = """
from __future__ import absolute_import
from __future__ import division
from __future__ import print_function

import os
import sys
import numpy as np
import tensorflow as tf
import matplotlib.image as mpimg
from tensorflow.contrib.ei.python.predictor.ei_predictor import EIPredictor

tf.app.flags.DEFINE_string('image', '', 'path to image in JPEG format')
FLAGS = tf.app.flags.FLAGS
classes = ["No Class", "dog", "cat"]

def get_output(eia_predictor, test_input):
    pred = None
    for curpred in range(2):
        pred = eia_predictor(test_input)
    num_detections = int(pred["num_detections"])
    print("%d detection[s]" % (num_detections))
    detection_classes = pred["detection_classes"][0][:num_detections]
    print([classes[int(i)] for i in detection_classes])

def main(_):
    img = mpimg.imread(FLAGS.image)
    img = np.expand_dims(img, axis=0)
    ssd_resnet_input = {'inputs': img}

    print('Running SSD Resnet on EIPredictor using specified input and outputs')
    eia_predictor = EIPredictor(
        model_dir='MODEL',
        input_names={"inputs": "image_tensor:0"},
        output_names={"detection_classes": "detection_classes:0", "num_detections":
"num_detections:0",
                    "detection_boxes": "detection_boxes:0"},
    )
    get_output(eia_predictor, ssd_resnet_input)

    print('Running SSD Resnet on EIPredictor using default Signature Def')
    eia_predictor = EIPredictor(
        model_dir='MODEL',
    )
    get_output(eia_predictor, ssd_resnet_input)

if __name__ == "__main__":
    tf.app.run()
"""
EXPECTED = """\
Running SSD Resnet on EIPredictor using specified input and outputs
2 detection[s]
['dog', 'cat']
Running SSD Resnet on EIPredictor using default Signature Def
Using DEFAULT_SERVING_SIGNATURE_DEF_KEY .....
2 detection[s]
['dog', 'cat']
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EI.exists(), reason="the command ei is not installed here"),
]


def detector(folder: Path) -> None:
    """A detector's interface: bright pictures have a dog and a cat in them."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.uint8, [None, None, None, 3], name="image_tensor")
        bright = tf.reduce_mean(tf.cast(image, tf.float32), axis=[1, 2, 3]) / 100.0
        count = tf.identity(tf.minimum(tf.floor(bright), 2.0), name="num_detections")
        kinds = tf.tile(tf.constant([[1.0, 2.0, 0.0]]), [tf.shape(image)[0], 1])
        classes = tf.identity(kinds, name="detection_classes")
        boxes = tf.identity(tf.stack([kinds] * 4, axis=-1), name="detection_boxes")
        v1.saved_model.simple_save(
            session,
            str(folder),
            {"inputs": image},
            {"detection_classes": classes, "detection_boxes": boxes, "num_detections": count},
        )


def test_a_program_of_the_guide(short_path: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="matplotlib brings it, and reads with it")
    picture, program, model = tmp_path / "3dogs.jpg", tmp_path / "predictor.py", tmp_path / "model"
    image.fromarray(np.full((40, 60, 3), 210, np.uint8)).save(picture)
    detector(model)
    program.write_text(PROGRAM.replace("MODEL", f"{model}/"), encoding="utf-8")
    command = [sys.executable, str(program), "--image", str(picture)]
    done = _run([str(EI), "run", "--accelerator", "eia1.medium", "--", *command], short_path)
    assert done.stdout == EXPECTED
    assert re.search(r"\b4 inferences?\b", done.stderr), done.stderr
    assert "Number of Elastic Inference Accelerators Available: 1" in done.stderr
    # Without accelerators it runs as well, by TensorFlow alone.
    attached = [str(EI), "run", "--accelerator", "eia1.medium", "--", *command]
    assert _run(attached, short_path, EI_VISIBLE_DEVICES="").stdout == EXPECTED


def _run(command: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        env=clean | {"EI_HOME": str(home), "MPLCONFIGDIR": str(home)} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
