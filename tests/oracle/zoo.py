"""Gluon's model zoo, and GluonCV's where it is installed."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.translate.cases import Draw
from tests.oracle.model import Model
from tests.oracle.mxnet import mx

# Name, size of the picture, and whether it is among the fixtures.
_FAMILIES = (
    ("alexnet", 64, True), ("densenet121", 224, True), ("inceptionv3", 299, True),
    ("mobilenet0.25", 64, True), ("mobilenetv2_0.25", 64, True), ("mobilenetv2_1.0", 224, False),
    ("resnet18_v1", 64, True), ("resnet18_v2", 64, True), ("resnet50_v1", 224, False),
    ("resnet50_v2", 224, False), ("resnet152_v1", 224, False), ("squeezenet1.0", 224, True),
    ("squeezenet1.1", 224, False), ("vgg11", 32, True), ("vgg16_bn", 224, False),
)  # fmt: skip
# Name, shape of the data, gain of the weights, and whether it is among the fixtures. Scores that
# reach 1 would be equal, and their order another; boxes that grow much make rounding grow too.
_GLUONCV = (
    ("ssd_512_mobilenet1.0_voc", (1, 3, 128, 128), 1.0, True),
    ("yolo3_mobilenet1.0_voc", (1, 3, 96, 96), 0.7, True),
    ("center_net_resnet18_v1b_voc", (1, 3, 64, 64), 0.5, True),
    ("faster_rcnn_resnet50_v1b_voc", (1, 3, 160, 160), 1.0, False),
    ("mask_rcnn_resnet18_v1b_coco", (1, 3, 160, 160), 0.8, False),
    ("mask_rcnn_resnet50_v1b_coco", (1, 3, 160, 160), 0.8, False),
    ("mask_rcnn_fpn_resnet18_v1b_coco", (1, 3, 160, 160), 0.8, False),
    ("fcn_resnet50_voc", (1, 3, 64, 64), 1.0, False),
    ("psp_resnet50_ade", (1, 3, 64, 64), 1.0, False),
    ("deeplab_resnet50_ade", (1, 3, 64, 64), 1.0, False),
    ("danet_resnet50_citys", (1, 3, 64, 64), 1.0, False),
    ("fastscnn_citys", (1, 3, 64, 64), 1.0, True),
    ("simple_pose_resnet18_v1b", (1, 3, 64, 64), 1.0, True),
    ("mobile_pose_mobilenet1.0", (1, 3, 64, 64), 1.0, True),
    ("alpha_pose_resnet101_v1b_coco", (1, 3, 128, 96), 1.0, False),
    ("i3d_inceptionv1_kinetics400", (1, 3, 8, 64, 64), 1.0, True),
    ("slowfast_4x16_resnet50_kinetics400", (1, 3, 36, 64, 64), 1.0, False),
    ("r2plus1d_resnet18_kinetics400", (1, 3, 8, 56, 56), 1.0, False),
    ("hrnet_w18_small_v1_c", (1, 3, 64, 64), 1.0, True),
    ("se_resnext50_32x4d", (1, 3, 128, 128), 1.0, False),
    ("resnest50", (1, 3, 128, 128), 1.0, False),
    ("nasnet_4_1056", (1, 3, 96, 96), 1.0, False),
    ("mobilenetv3_small", (1, 3, 64, 64), 1.0, True),
    ("xception", (1, 3, 128, 128), 1.0, False),
)
_DETECTORS = ("ssd", "yolo", "center_net", "faster_rcnn", "mask_rcnn")
# Their outputs are classes, scores, boxes, and perhaps masks.
_SCORES = 1
_SEGMENTS = ("fcn", "psp", "deeplab", "danet")


def models(wanted: Callable[[str], bool]) -> Iterator[Model]:
    for name, size, small in _FAMILIES:
        if not wanted(name):
            continue
        net = mx.gluon.model_zoo.vision.get_model(name, pretrained=False)
        yield Model(
            name, net(mx.sym.var("data")), {"data": Draw((1, 3, size, size), "unit")}, small=small
        )


def gluoncv_models(wanted: Callable[[str], bool]) -> Iterator[Model]:
    with contextlib.suppress(ImportError):
        zoo = _gluoncv()
        for name, shape, gain, small in filter(lambda row: wanted(row[0]), _GLUONCV):
            symbol, constants = _symbol(zoo, name, shape)
            # The fixtures have drawn weights only; anchors that are drawn are hardly boxes.
            yield Model(
                name, symbol, {"data": Draw(shape, "unit")}, gain, small,
                {} if small else constants, _SCORES if name.startswith(_DETECTORS) else None,
            )  # fmt: skip


def _gluoncv() -> Any:
    # It asks for names that numpy had once, and for OpenCV, which its networks do without.
    for old in (float, int, object):
        setattr(np, old.__name__, old)
    with contextlib.suppress(ImportError):
        import cv2  # noqa: F401
    sys.modules.setdefault("cv2", types.ModuleType("cv2"))
    return importlib.import_module("gluoncv.model_zoo")


def _symbol(zoo: Any, name: str, shape: tuple[int, ...]) -> tuple[Any, dict[str, Array]]:
    """A network, and the weights that it never learns, such as anchors."""
    more: dict[str, Any] = {}
    if name.startswith(_SEGMENTS):
        more["crop_size"] = shape[2]
    if name.startswith("fastscnn"):
        more.update(height=shape[2], width=shape[3])
    try:
        net = zoo.get_model(name, pretrained=False, pretrained_base=False, **more)
    except TypeError:
        net = zoo.get_model(name, pretrained=False, **more)
    if name.startswith(("ssd", "yolo", "center_net")):
        net.initialize()
        net(mx.nd.zeros(shape))
    with _every_region_pooled():
        symbol = mx.sym.Group(_flat(net(mx.sym.var("data"))))
    arguments = set(symbol.list_arguments())
    constants = {
        key: each.value.asnumpy()
        for key, each in net.collect_params().items()
        if isinstance(each, mx.gluon.Constant) and key in arguments
    }
    return symbol, constants


@contextlib.contextmanager
def _every_region_pooled() -> Iterator[None]:
    """Let pyramids pool all regions at each level and choose then, as GluonCV does without this.

    Otherwise the regions of other levels are of no picture. What MXNet makes of such regions on a
    CPU is whatever was in the memory of the result: its ROIAlign clears one element of another.
    """
    operators = mx.sym.contrib.__dict__
    kept = operators.pop("box_encode")
    try:
        yield
    finally:
        operators["box_encode"] = kept


def _flat(found: Any) -> list[Any]:
    if isinstance(found, list | tuple):
        return [each for part in found for each in _flat(part)]
    return [found]
