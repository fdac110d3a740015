"""The grids of operators that see: sampling, boxes, regions; and of those that ONNX lacks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.frameworks.mxnet.translate.cases import Case, Draw, grid


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _vision()
    yield from _boxes()
    yield from _regions()
    yield from _special()


def _vision() -> Iterator[Case]:
    yield from grid(
        "Deconvolution", (2, 4, 5, 6), (4, 3, 3, 3), num_filter=3, kernel="(3, 3)",
        stride=["(2, 2)", "(2, 3)"], pad=["(0, 0)", "(1, 1)"], adj=[None, "(1, 1)"],
    )  # fmt: skip
    yield from grid(
        "Deconvolution", (2, 4, 5, 6), (4, 3, 4, 4), (6,), num_filter=6, kernel="(4, 4)",
        num_group=2, stride="(2, 2)", pad="(1, 1)", no_bias=False,
    )  # fmt: skip
    yield from grid(
        "Deconvolution", (1, 2, 5), (2, 3, 3), num_filter=3, kernel="(3,)", stride=["(2,)", None],
        dilate=["(2,)", None],
    )  # fmt: skip
    yield from grid("UpSampling", (1, 2, 3, 4), scale=[1, 2, 3], sample_type="nearest", num_args=1)
    yield from grid(
        "UpSampling", (1, 2, 4, 6), (1, 2, 2, 3), scale=2, sample_type="nearest", num_args=2,
        multi_input_mode=["concat", "sum"],
    )  # fmt: skip
    for scale in (2, 3, 4):
        kernel = 2 * scale - scale % 2
        yield from grid(
            "UpSampling", (1, 2, 3, 4), (2, 1, kernel, kernel), scale=scale,
            sample_type="bilinear", num_filter=2, num_args=2,
        )  # fmt: skip
    yield from grid(
        "_contrib_BilinearResize2D", (1, 2, 5, 6), height=[3, 5, 9, 1], width=[6, 7, 12],
        align_corners=[True, False],
    )  # fmt: skip
    yield from grid(
        "_contrib_BilinearResize2D", (1, 2, 5, 6), scale_height=[1.5, 2], scale_width=[0.5, 3],
        mode=["size", "odd_scale"],
    )  # fmt: skip
    yield from grid(
        "_contrib_BilinearResize2D", (1, 2, 5, 6),
        mode=["to_even_down", "to_even_up", "to_odd_down", "to_odd_up"],
    )  # fmt: skip
    yield from grid("_contrib_BilinearResize2D", (1, 2, 5, 6), (1, 1, 8, 3), mode="like")
    yield from grid("BilinearSampler", (2, 3, 5, 6), Draw((2, 2, 4, 3), "unit"))
    yield from grid("BilinearSampler", (2, 3, 5, 6), (2, 2, 4, 3))
    yield from grid("GridGenerator", (2, 6), transform_type="affine", target_shape="(4, 5)")
    yield from grid("GridGenerator", (2, 2, 4, 5), transform_type="warp")
    for size in ("(4, 5)", "(7, 3)"):
        yield from grid(
            "SpatialTransformer", (2, 3, 5, 6), Draw((2, 6), "unit"), target_shape=size,
            transform_type="affine", sampler_type="bilinear",
        )  # fmt: skip
    for stride, pad, out in (("(1, 1)", "(1, 1)", (6, 7)), ("(2, 2)", "(1, 1)", (3, 4))):
        for parts in (1, 2):
            yield from grid(
                "_contrib_DeformableConvolution", (2, 4, 6, 7), (2, 18 * parts, *out),
                (6, 4, 3, 3), (6,), num_filter=6, kernel="(3, 3)", stride=stride, pad=pad,
                num_deformable_group=parts,
            )  # fmt: skip
        yield from grid(
            "_contrib_DeformableConvolution", (1, 4, 6, 7), (1, 18, *out), (6, 2, 3, 3),
            num_filter=6, kernel="(3, 3)", stride=stride, pad=pad, num_group=2, no_bias=True,
        )  # fmt: skip
        yield from grid(
            "_contrib_ModulatedDeformableConvolution", (1, 4, 6, 7), (1, 18, *out),
            Draw((1, 9, *out), "positive"), (6, 4, 3, 3), (6,), num_filter=6, kernel="(3, 3)",
            stride=stride, pad=pad,
        )  # fmt: skip
    yield from grid(
        "Correlation", (1, 3, 8, 9), (1, 3, 8, 9), kernel_size=[1, 3], max_displacement=[1, 2],
        stride1=[1, 2], stride2=1, pad_size=[2, 3], is_multiply=[True, False],
    )  # fmt: skip
    yield from grid(
        "Correlation", (1, 3, 8, 9), (1, 3, 8, 9), max_displacement=4, stride2=2, pad_size=4
    )


def _boxes() -> Iterator[Case]:
    yield from grid(
        "_contrib_MultiBoxPrior", (1, 3, 4, 6), sizes=["(0.2,)", "(0.2, 0.5)"],
        ratios=["(1,)", "(1, 2, 0.5)", "(2, 1)"], clip=[0, 1], steps=[None, "(0.1, 0.2)"],
        offsets=[None, "(0.2, 0.7)"],
    )  # fmt: skip
    yield from grid(
        "_contrib_MultiBoxDetection", Draw((2, 4, 30), "positive"), (2, 120),
        Draw((1, 30, 4), "boxes"), threshold=[0.01, 1.2], nms_threshold=[0.1, 0.5, -1],
        force_suppress=[0, 1], nms_topk=[-1, 10], clip=[0, 1],
    )  # fmt: skip
    yield from grid(
        "_contrib_MultiBoxDetection", Draw((1, 3, 20), "positive"), (1, 80),
        Draw((1, 20, 4), "boxes"), variances="(0.1, 0.2, 0.3, 0.4)", nms_threshold=0.3,
    )  # fmt: skip
    rows = np.concatenate(
        [
            np.random.RandomState(3).randint(-1, 3, (2, 25, 1)),
            np.random.RandomState(4).uniform(-0.2, 1, (2, 25, 1)),
            Draw((2, 25, 4), "boxes").array(np.random.RandomState(5)),
        ],
        -1,
    )
    given = Draw(rows.shape, "values", values=np.round(rows, 6))
    yield from grid(
        "_contrib_box_nms", given, overlap_thresh=[0.2, 0.5], valid_thresh=[0, 0.3],
        topk=[-1, 12], id_index=[-1, 0], force_suppress=[0, 1], background_id=[-1, 1],
    )  # fmt: skip
    yield from grid(
        "_contrib_box_nms", given, overlap_thresh=0.3, in_format=["corner", "center"],
        out_format=["corner", "center"],
    )  # fmt: skip
    coarse = np.concatenate([np.round(rows[..., :1]), np.round(rows[..., 1:] * 8) / 8], -1)
    yield from grid(
        "_contrib_box_nms", Draw(coarse.shape, "values", values=coarse),
        overlap_thresh=[0, 0.25, 0.5, 1], topk=[-1, 12], id_index=[-1, 0], force_suppress=[0, 1],
    )  # fmt: skip
    anchors = Draw((1, 25, 4), "values", values=coarse[:1, :, 2:])
    scores = np.round(np.random.RandomState(6).uniform(0, 1, (2, 4, 25)) * 8) / 8
    yield from grid(
        "_contrib_MultiBoxDetection", Draw(scores.shape, "values", values=scores),
        Draw((2, 100), "values", values=np.zeros((2, 100))), anchors,
        nms_threshold=[0.25, 0.5, 1], force_suppress=[0, 1], nms_topk=[-1, 10],
    )  # fmt: skip
    yield from grid(
        "_contrib_box_iou", Draw((3, 4), "boxes"), Draw((2, 5, 4), "boxes"),
        format=["corner", "center"],
    )  # fmt: skip
    yield from grid(
        "_contrib_box_decode", (2, 6, 4), Draw((1, 6, 4), "boxes"), std0=[1, 0.1], std2=[1, 0.2],
        clip=[-1, 0.5], format=["center", "corner"],
    )  # fmt: skip
    information = np.array([[96, 120, 1.0], [80, 128, 1.5]])
    for name, batch in (("_contrib_Proposal", 1), ("_contrib_MultiProposal", 2)):
        yield from grid(
            name, Draw((batch, 24, 6, 8), "positive"), Draw((batch, 48, 6, 8), "unit"),
            Draw((batch, 3), "values", values=information[:batch]), output_score=[0, 1],
            rpn_pre_nms_top_n=[200, 50], rpn_post_nms_top_n=[20, 60], threshold=[0.7, 0.3],
            rpn_min_size=[4, 16], scales="(4, 8, 1, 2)",
        )  # fmt: skip


def _regions() -> Iterator[Case]:
    corners = Draw((4, 5), "values", values=[
        [0, 0.5, 1, 6.2, 5], [1, 2, 2, 9, 8], [0, 3, 0, 4, 1], [1, 0, 0, 11.4, 9.7],
    ])  # fmt: skip
    yield from grid(
        "ROIPooling", (2, 3, 10, 12), corners, pooled_size=["(3, 3)", "(2, 4)"],
        spatial_scale=[1.0, 0.5],
    )  # fmt: skip
    yield from grid(
        "_contrib_ROIAlign", (2, 3, 10, 12), corners, pooled_size=["(3, 3)", "(2, 4)"],
        spatial_scale=[1.0, 0.5], sample_ratio=[-1, 2, 3], aligned=[0, 1],
    )  # fmt: skip
    yield from grid(
        "_contrib_ROIAlign", (2, 12, 10, 12), corners, pooled_size="(2, 2)", spatial_scale=0.8,
        sample_ratio=2, position_sensitive=True,
    )  # fmt: skip
    yield from grid(
        "_contrib_PSROIPooling", (2, 18, 10, 12), corners, spatial_scale=[1.0, 0.5], output_dim=2,
        pooled_size=3, group_size=[0, 3],
    )  # fmt: skip


def _special() -> Iterator[Case]:
    for name in ("gamma", "gammaln"):
        yield from grid(name, Draw((3, 4), "positive"))
        yield from grid(name, Draw((5,), "values", values=[-1.5, -0.3, 2, 7.5, 20]))
    yield from grid("erfinv", Draw((3, 4), "unit"))
    yield from grid("erfinv", Draw((4,), "values", values=[0, 0.999, -0.9999, 1e-5]))
    square = np.random.RandomState(2).standard_normal((2, 3, 3))
    # Rounded, for the last bits are those of a library.
    positive = np.round(square @ square.transpose(0, 2, 1) + 2 * np.eye(3), 3)
    given = Draw(positive.shape, "values", values=positive)
    for name in ("potrf", "inverse", "sumlogdiag", "det", "slogdet"):
        yield from grid(f"_linalg_{name}", given)
    lower = np.round(np.linalg.cholesky(positive), 3)
    triangle = Draw(lower.shape, "values", values=lower)
    yield from grid("_linalg_potri", triangle)
    yield from grid(
        "_linalg_trsm", triangle, (2, 3, 3), transpose=[0, 1], rightside=[0, 1], alpha=[1, 2]
    )
