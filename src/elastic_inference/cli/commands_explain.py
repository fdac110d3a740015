"""Commands about models."""

from __future__ import annotations

from elastic_inference.cli.commands import Commands, add_output

_DESCRIPTION = """\
Show how a TensorFlow model runs: its segments, where each runs and why, and how many bytes cross
with one call. MODEL is a SavedModel's folder or a frozen graph's file. It is converted first, if
it was not before; no accelerator is needed.
"""
_EXAMPLES = """\
examples:
  ei explain resnet/1
  ei explain resnet/1 --signature predict_images -o json
  ei explain frozen.pb --input inputs=image_tensor:0 --output-tensor boxes=detection_boxes:0
"""


def add_to(commands: Commands) -> None:
    """Add them."""
    explain = commands.add(
        "explain", "show where the parts of a TensorFlow model run", _DESCRIPTION, _EXAMPLES
    )
    explain.add_argument("model", metavar="MODEL", help="a SavedModel's folder, or a graph's file")
    explain.add_argument(
        "--signature", default="", metavar="KEY", help="its signature (default: serving_default)"
    )
    explain.add_argument(
        "--tags", default="serve", metavar="TAG[,TAG...]",
        help="tags of its meta graph (default: serve)",
    )  # fmt: skip
    explain.add_argument(
        "--input", action="append", default=[], metavar="KEY=TENSOR",
        help="a tensor that goes in, in place of the signature's; may be repeated",
    )  # fmt: skip
    explain.add_argument(
        "--output-tensor", action="append", default=[], metavar="KEY=TENSOR",
        help="a tensor that comes out, in place of the signature's; may be repeated",
    )  # fmt: skip
    explain.add_argument(
        "--refresh", action="store_true", help="convert it anew, whatever was found before"
    )
    add_output(explain)
