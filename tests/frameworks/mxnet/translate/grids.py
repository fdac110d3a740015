"""The grids of operators: attributes and inputs that real MXNet was asked about."""

from __future__ import annotations

from collections.abc import Iterator

from tests.frameworks.mxnet.translate import grids_vision
from tests.frameworks.mxnet.translate.cases import Case, Draw, grid

_HALF = "float16"
IMAGE = (2, 3, 7, 6)


def cases() -> list[Case]:
    """All of them."""
    return [
        *_elementwise(),
        *_binary(),
        *_layers(),
        *_pooling(),
        *_normalisation(),
        *_outputs(),
        *_shapes(),
        *_reductions(),
        *_created(),
        *_indexed(),
        *_products(),
        *_sequences(),
        *grids_vision.cases(),
    ]


def _elementwise() -> Iterator[Case]:
    anywhere = (
        "relu", "sigmoid", "softsign", "negative", "abs", "sign", "ceil", "floor", "erf", "exp",
        "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "arcsinh", "identity", "_copy",
        "BlockGrad", "make_loss", "round", "rint", "trunc", "fix", "square", "expm1", "cbrt",
        "degrees", "radians", "logical_not", "hard_sigmoid", "smooth_l1", "_contrib_quadratic",
        "MakeLoss",
    )  # fmt: skip
    positive = ("log", "sqrt", "rsqrt", "reciprocal", "log10", "log2", "log1p", "rcbrt")
    for name in anywhere:
        yield from grid(name, (3, 4))
    for name in positive:
        yield from grid(name, Draw((3, 4), "positive"))
    for name in ("arcsin", "arccos", "arctanh", "log1p", "expm1"):
        yield from grid(name, Draw((3, 4), "unit"))
    yield from grid("arccosh", Draw((3, 4), "above"))
    halves = Draw((8,), "values", values=[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.0, -0.4])
    for name in ("round", "rint", "fix", "trunc", "ceil", "floor"):
        yield from grid(name, halves)
    tiny = Draw((4,), "values", values=[1e-6, -1e-7, 1e-4, 0.0])
    for name in ("log1p", "expm1"):
        yield from grid(name, tiny)
    for name in ("relu", "exp", "tanh", "sigmoid", "sqrt", "erf"):
        yield from grid(name, Draw((3, 4), "positive", _HALF), tolerance=2e-3)
    yield from grid("clip", (3, 4), a_min=[-0.5, 0], a_max=[0.5, 6.0, "inf"])
    yield from grid("clip", Draw((3, 4), "signed", "int32"), a_min=-2, a_max=3)
    yield from grid("smooth_l1", (3, 4), scalar=[1.0, 2.0, 0.5])
    yield from grid("hard_sigmoid", (3, 4), alpha=[0.1, 0.3], beta=[0.4])
    yield from grid("add_n", (3, 4), (3, 4), (3, 4), num_args=3)
    yield from grid("_contrib_quadratic", (3, 4), a=2, b=-1, c=0.5)
    for dtype in ("float32", "float16", "float64", "int32", "int64", "uint8", "int8", "bool"):
        yield from grid("Cast", Draw((3, 4), "positive"), dtype=dtype)
        yield from grid("Cast", Draw((3, 4), "whole", "int32"), dtype=dtype)
    yield from grid("amp_cast", (3, 4), dtype="float16", tolerance=1e-3)


_OPERATIONS = (
    "add", "sub", "mul", "div", "mod", "power", "maximum", "minimum", "hypot", "equal",
    "not_equal", "greater", "greater_equal", "lesser", "lesser_equal", "logical_and",
    "logical_or", "logical_xor",
)  # fmt: skip


def _binary() -> Iterator[Case]:
    few = Draw((3, 4), "signed", below=3)
    for name in _OPERATIONS:
        left = Draw((3, 4), "positive") if name == "power" else Draw((3, 4))
        plain = f"elemwise_{name}" if name in {"add", "sub", "mul", "div"} else f"_{name}"
        yield from grid(plain, left, (3, 4))
        if name != "power":
            yield from grid(plain, few, few)
        for shapes in (((2, 1, 4), (1, 3, 4)), ((2, 3, 4), (1, 1, 1)), ((1, 4), (5, 1))):
            kind = "positive" if name == "power" else "normal"
            yield from grid(f"broadcast_{name}", Draw(shapes[0], kind), shapes[1])
        yield from grid(
            f"broadcast_{name}", Draw((2, 3), "positive", _HALF), Draw((1, 3), "unit", _HALF),
            tolerance=2e-3,
        )  # fmt: skip
    whole = Draw((3, 4), "signed", "int32")
    for name in ("add", "sub", "mul", "maximum", "minimum", "equal", "greater"):
        yield from grid(f"broadcast_{name}", whole, Draw((1, 4), "signed", "int32"))
    scalars = (
        "plus", "minus", "rminus", "mul", "div", "rdiv", "mod", "rmod", "maximum", "minimum",
        "power", "rpower", "hypot", "equal", "not_equal", "greater", "greater_equal", "lesser",
        "lesser_equal", "logical_and", "logical_or", "logical_xor",
    )  # fmt: skip
    for name in scalars:
        kind = "positive" if "power" in name else "normal"
        yield from grid(f"_{name}_scalar", Draw((3, 4), kind), scalar=[2, 0.5])
        if "power" not in name:
            yield from grid(f"_{name}_scalar", few, scalar=[1, -2, 0])
        yield from grid(
            f"_{name}_scalar", Draw((3, 4), "positive", _HALF), scalar=2, tolerance=2e-3
        )
    for name in ("plus", "minus", "mul", "maximum", "equal"):
        yield from grid(f"_{name}_scalar", whole, scalar=[2, 1.5])
        yield from grid(f"_{name}_scalar", whole, scalar=1.5, is_int=False)
    for old in ("_PlusScalar", "_MulScalar", "_RDivScalar", "_MinusScalar", "_PowerScalar"):
        yield from grid(old, Draw((3, 4), "positive"), scalar=3)
    for old in ("_Plus", "_Minus", "_Mul", "_Div", "_plus", "_add", "broadcast_plus"):
        yield from grid(old, (3, 4), (3, 4))
    yield from grid("ElementWiseSum", (3, 4), (3, 4), num_args=2)


def _layers() -> Iterator[Case]:
    yield from grid("FullyConnected", (2, 3, 4), (5, 12), (5,), num_hidden=5)
    yield from grid("FullyConnected", (2, 3, 4), (5, 4), (5,), num_hidden=5, flatten=False)
    yield from grid("FullyConnected", (2, 12), (5, 12), num_hidden=5, no_bias=True)
    yield from grid("FullyConnected", (2, 3, 4), (5, 4), num_hidden=5, no_bias=1, flatten=0)
    for kernel in (1, 3):
        yield from grid(
            "Convolution", (2, 4, 9, 8), (6, 4, kernel, kernel), (6,), num_filter=6,
            kernel=f"({kernel}, {kernel})", stride=["(1, 1)", "(2, 1)"], pad=["(0, 0)", "(1, 2)"],
            dilate=["(1, 1)", "(2, 2)"],
        )  # fmt: skip
    for groups in (2, 4):
        yield from grid(
            "Convolution", (2, 4, 9, 8), (8, 4 // groups, 3, 3), num_filter=8, no_bias=True,
            kernel="(3, 3)", num_group=groups, pad=["(1, 1)", None],
        )  # fmt: skip
    yield from grid(
        "Convolution", (2, 4, 9), (6, 4, 3), (6,), num_filter=6, kernel="(3,)",
        stride=["(2,)", None], pad=["(1,)", None], dilate=["(2,)", None],
    )  # fmt: skip
    yield from grid(
        "Convolution", (1, 2, 5, 6, 7), (3, 2, 2, 3, 3), (3,), num_filter=3, kernel="(2, 3, 3)",
        stride=["(1, 2, 2)", None], pad=["(1, 1, 1)", None],
    )  # fmt: skip
    yield from grid(
        "Convolution_v1", (2, 4, 9, 8), (6, 4, 3, 3), (6,), num_filter=6, kernel="(3, 3)"
    )


def _pooling() -> Iterator[Case]:
    for kind in ("max", "avg", "sum", "lp"):
        extra = {"p_value": [1, 2]} if kind == "lp" else {}
        for kernel, pads in (("(3, 3)", ["(0, 0)", "(1, 1)"]), ("(2, 3)", [None, "(1, 0)"])):
            yield from grid(
                "Pooling", IMAGE, pool_type=kind, kernel=kernel, pad=pads,
                stride=["(2, 2)", "(1, 1)", "(2, 3)", None],
                pooling_convention=["valid", "full"],
                count_include_pad=[True, False] if kind == "avg" else None, **extra,
            )  # fmt: skip
        yield from grid(
            "Pooling", IMAGE, pool_type=kind, global_pool=True, kernel="(7, 7)", **extra
        )
        yield from grid(
            "Pooling", (2, 3, 10), pool_type=kind, kernel="(3,)", stride=["(2,)", None],
            pad=["(1,)", None], pooling_convention=["valid", "full"], **extra,
        )  # fmt: skip
        yield from grid(
            "Pooling", (1, 2, 5, 6, 7), pool_type=kind, kernel="(2, 3, 2)", stride="(2, 2, 1)",
            pad=["(1, 1, 1)", None], pooling_convention=["valid", "full"], **extra,
        )  # fmt: skip
    yield from grid(
        "Pooling", Draw(IMAGE, dtype=_HALF), pool_type=["max", "avg"], kernel="(3, 3)",
        stride="(2, 2)", tolerance=2e-3,
    )  # fmt: skip
    yield from grid(
        "Pooling", (2, 7, 6, 3), kernel="(2, 2)", layout="NHWC", pool_type=["max", "avg"]
    )
    yield from grid("Pooling_v1", IMAGE, kernel="(3, 3)", pool_type=["max", "avg"], stride="(2, 2)")
    for size in ("(1,)", "(2,)", "(3, 4)", "(5, 5)", "(9, 8)", None):
        yield from grid("_contrib_AdaptiveAvgPooling2D", IMAGE, output_size=size)
    yield from grid("LRN", (2, 8, 4, 4), nsize=[3, 5], alpha=[1e-4, 0.1], knorm=[1, 2.0])


def _normalisation() -> Iterator[Case]:
    mean, variance = Draw((3,)), Draw((3,), "positive")
    for name in ("BatchNorm", "_contrib_BatchNormWithReLU", "_contrib_SyncBatchNorm"):
        extra = {"key": "k"} if "Sync" in name else {}
        yield from grid(
            name, IMAGE, (3,), (3,), mean, variance, fix_gamma=[True, False], eps=[1e-3, 2e-5],
            use_global_stats=[True, False], auxiliary=2, **extra,
        )  # fmt: skip
    for shape, axis in (((2, 7, 3), 2), ((2, 7, 3), -1), ((3, 4), 0), ((2, 3), 1)):
        yield from grid(
            "BatchNorm", shape, (3,), (3,), mean, variance, axis=axis, fix_gamma=[True, False],
            auxiliary=2,
        )  # fmt: skip
    yield from grid(
        "BatchNorm", Draw(IMAGE, dtype=_HALF), (3,), (3,), mean, variance, fix_gamma=False,
        auxiliary=2, tolerance=3e-3,
    )  # fmt: skip
    yield from grid("InstanceNorm", IMAGE, (3,), (3,), eps=[1e-3, 1e-5])
    yield from grid("InstanceNorm", (2, 3, 9), (3,), (3,))
    for axis, size in ((-1, 6), (1, 3), (0, 2), (-2, 7)):
        yield from grid("LayerNorm", IMAGE, (size,), (size,), axis=axis, eps=[1e-5, 1e-3])
    yield from grid("LayerNorm", (2, 6), (6,), (6,), output_mean_var=True)
    yield from grid("GroupNorm", (2, 6, 4, 3), (2,), (2,), num_groups=2, eps=[1e-5, 1e-2])
    yield from grid("GroupNorm", (2, 6, 5), (3,), (3,), num_groups=3)
    yield from grid("L2Normalization", IMAGE, mode=["instance", "channel", "spatial"])
    yield from grid("L2Normalization", (3, 4))


def _outputs() -> Iterator[Case]:
    for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign"):
        yield from grid("Activation", (3, 4), act_type=kind)
    for kind in ("leaky", "elu", "selu", "gelu"):
        yield from grid("LeakyReLU", (3, 4), act_type=kind, slope=[0.25, 0.1])
    yield from grid("LeakyReLU", IMAGE, Draw((3,), "positive"), act_type="prelu")
    yield from grid("LeakyReLU", IMAGE, Draw((1,), "positive"), act_type="prelu")
    yield from grid("LeakyReLU", (2, 3), Draw((3,), "positive"), act_type="prelu")
    for name in ("softmax", "log_softmax", "softmin"):
        yield from grid(name, (2, 3, 4), axis=[-1, 0, 1, 2], temperature=[None, 2.0])
        yield from grid(name, Draw((2, 3), dtype=_HALF), dtype=[None, "float32"], tolerance=3e-3)
    yield from grid(
        "softmax", (2, 3, 4), Draw((2, 3), "values", "int32", values=[[1, 2, 4], [3, 4, 1]]),
        axis=-1, use_length=True,
    )  # fmt: skip
    yield from grid(
        "softmax", (2, 3, 4), Draw((2, 4), "values", "int32", values=[[1, 2, 3, 1], [3, 1, 1, 2]]),
        axis=1, use_length=True,
    )  # fmt: skip
    yield from grid("SoftmaxActivation", IMAGE, mode=["instance", "channel"])
    yield from grid("SoftmaxActivation", (3, 4))
    yield from grid("SoftmaxOutput", (3, 4), (3,))
    yield from grid("Softmax", (3, 4), (3,))
    yield from grid("SoftmaxOutput", IMAGE, (2, 7, 6), multi_output=True)
    yield from grid("SoftmaxOutput", (2, 3, 4), (2, 3), preserve_shape=True)
    for name in ("LinearRegressionOutput", "MAERegressionOutput", "LogisticRegressionOutput"):
        yield from grid(name, (3, 4), (3, 4))
    yield from grid("SVMOutput", (3, 4), (3,))
    yield from grid("Dropout", (3, 4), p=[0.5, 0.9])
    yield from grid("softmax_cross_entropy", (3, 4), Draw((3,), "whole", below=4))


def _shapes() -> Iterator[Case]:
    for wanted in (
        "(6, 4)", "(-1,)", "(0, -1)", "(0, 0, -1)", "(-1, 0)", "(-2,)", "(-3, 0)", "(0, -3)",
        "(-4, 1, 2, -2)", "(-4, -1, 2, 3, 4)", "(2, -4, 3, -1, 4)", "(0, 0, 2, 2)", "(-3, -1)",
    ):  # fmt: skip
        yield from grid("Reshape", (2, 3, 4), shape=wanted)
    for wanted in ("(-1, 0)", "(0, -1)", "(8, -1)", "(-1, 0, 0)"):
        yield from grid("Reshape", (2, 3, 4), shape=wanted, reverse=True)
    yield from grid("Reshape", (2, 3, 4), target_shape=["(2, 0)", "(0, 4)"])
    yield from grid("Reshape", (2, 3, 4), target_shape="(0, 0)", keep_highest=True)
    yield from grid("Flatten", (2, 3, 4))
    yield from grid("reshape_like", (2, 6), (3, 4))
    yield from grid(
        "reshape_like", (30, 7), (15, 2, 4), lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2
    )
    yield from grid("expand_dims", (2, 3), axis=[0, 1, 2, -1, -2])
    yield from grid("squeeze", (1, 2, 1, 3), axis=[None, "(0,)", "(0, 2)", "2", "-2"])
    yield from grid("transpose", (2, 3, 4), axes=[None, "()", "(2, 0, 1)", "(0, 2, 1)"])
    yield from grid("SwapAxis", (2, 3, 4), dim1=[0, 1], dim2=[1, 2])
    yield from grid("Concat", (2, 3), (2, 4), num_args=2, dim=[1, -1])
    yield from grid("Concat", (2, 3), (1, 3), (3, 3), num_args=3, dim=0)
    yield from grid("stack", (2, 3), (2, 3), num_args=2, axis=[0, 1, 2, -1])
    yield from grid("SliceChannel", (4, 6), num_outputs=[2, 3], axis=[1, -1])
    yield from grid("SliceChannel", (4, 3), num_outputs=3, axis=1, squeeze_axis=True)
    yield from grid("_split_v2", (4, 7), indices="(0, 2, 5)", axis=1)
    yield from grid("_split_v2", (4, 6), indices="()", sections=3, axis=1)
    yield from grid("_split_v2", (4, 3), indices="()", sections=3, axis=1, squeeze_axis=True)
    for begin, end, step in (
        ("(0, 1)", "(2, 3)", None), ("(None, 1)", "(None, 3)", None), ("(1,)", "(3,)", None),
        ("(-2, 0)", "(None, -1)", None), ("(0, 0)", "(4, 6)", "(2, 3)"),
        ("(None, None)", "(None, None)", "(-1, 1)"), ("(3, 5)", "(0, None)", "(-2, -1)"),
    ):  # fmt: skip
        yield from grid("slice", (4, 6), begin=begin, end=end, step=step)
    yield from grid("slice_axis", (4, 6), axis=[0, 1, -1], begin=[0, 1, -3], end=["None", -1])
    yield from grid("slice_like", (4, 6), (2, 3), axes=[None, "(0,)", "(1,)", "(-1,)"])
    yield from grid("Crop", (1, 2, 6, 7), num_args=1, h_w="(3, 4)", offset=["(1, 2)", "(0, 0)"])
    yield from grid("Crop", (1, 2, 6, 7), num_args=1, h_w="(3, 4)", center_crop=True)
    yield from grid("Crop", (1, 2, 6, 7), (1, 2, 3, 3), num_args=2, center_crop=[True, False])
    yield from grid("repeat", (2, 3), repeats=[1, 3], axis=[None, 0, 1, -1])
    yield from grid("tile", (2, 3), reps=["(2,)", "(2, 3)", "(2, 1, 2)"])
    yield from grid("reverse", (2, 3, 4), axis=["(0,)", "(1, 2)", "2"])
    yield from grid(
        "Pad", (1, 2, 3, 4), mode=["constant", "edge", "reflect"],
        pad_width="(0, 0, 0, 0, 1, 2, 2, 1)", constant_value=[0, 1.5],
    )  # fmt: skip
    yield from grid("broadcast_to", (2, 1, 3), shape=["(2, 4, 3)", "(0, 4, 0)"])
    yield from grid("broadcast_axis", (2, 1, 3), axis="(1,)", size="(4,)")
    yield from grid("broadcast_axis", (1, 1, 3), axis="(0, 1)", size="(4, 2)")
    yield from grid("broadcast_like", (1, 3), (4, 3))
    yield from grid("broadcast_like", (1, 3), (4, 5), lhs_axes="(0,)", rhs_axes="(-1,)")
    yield from grid("shape_array", (2, 3))
    yield from grid("size_array", (2, 3))
    yield from grid("depth_to_space", (1, 8, 2, 3), block_size=2)
    yield from grid("space_to_depth", (1, 2, 4, 6), block_size=2)


def _reductions() -> Iterator[Case]:
    for name in ("sum", "mean", "prod", "max", "min", "nansum", "nanprod"):
        yield from grid(
            name, (2, 3, 4), axis=[None, "()", "0", "(1,)", "(0, 2)", "-1", "(-1, 0)"],
            keepdims=[False, True],
        )  # fmt: skip
        yield from grid(name, (2, 3, 4), axis="(1,)", exclude=True, keepdims=[False, True])
    yield from grid("sum", Draw((2, 30), "unit", _HALF), axis=1, tolerance=3e-3)
    yield from grid("sum", Draw((2, 3), "signed", "int32"), axis=1)
    yield from grid("norm", (2, 3, 4), ord=[1, 2], axis=[None, "(1,)", "(0, 1)"], keepdims=[0, 1])
    yield from grid("moments", (2, 3, 4), axes=["(0,)", "(1, 2)"], keepdims=[False, True])
    for name in ("argmax", "argmin"):
        yield from grid(name, Draw((3, 4, 2), "distinct"), axis=[None, 0, 1, -1], keepdims=[0, 1])
    yield from grid("argmax_channel", Draw((3, 4), "distinct"))
    distinct = Draw((3, 5), "distinct")
    for kind in ("indices", "value", "both", "mask"):
        yield from grid(
            "topk", distinct, k=[1, 3], axis=[-1, 0, "None"] if kind != "mask" else [-1, 0],
            ret_typ=kind, is_ascend=[0, 1], dtype=["float32", "int32"],
        )  # fmt: skip
    yield from grid("sort", distinct, axis=[-1, 0, "None"], is_ascend=[0, 1])
    yield from grid("argsort", distinct, axis=[-1, 0, "None"], is_ascend=[0, 1], dtype="int32")
    yield from grid("cumsum", (2, 3, 4), axis=["None", 0, 1])


def _created() -> Iterator[Case]:
    yield from grid("_zeros", shape="(2, 3)", dtype=["float32", "int32"])
    yield from grid("_ones", shape="(2, 3)", dtype=["float32", "float16"])
    yield from grid("_full", shape="(2, 3)", value=1.5, dtype=["float32", "int32"])
    yield from grid("_arange", start=2, stop=[7.5, 9], step=[1, 0.5], repeat=[1, 2])
    yield from grid("_arange", start=5, dtype=["float32", "int64"])
    yield from grid("_linspace", start=1, stop=2, num=5, endpoint=[True, False])
    yield from grid("_eye", N=3, M=[0, 4], k=[0, 1, -1])
    yield from grid("zeros_like", (2, 3))
    yield from grid("ones_like", (2, 3))
    yield from grid(
        "_contrib_arange_like", (2, 3), start=[0, 1.5], step=[1, 2], axis=[None, 0, 1, -1]
    )
    yield from grid("_contrib_index_array", (2, 3), axes=[None, "(1,)", "(1, 0)"])


def _indexed() -> Iterator[Case]:
    out = Draw((4,), "values", values=[0, 3, -1, 9])
    yield from grid("Embedding", Draw((2, 3), "whole", below=6), (6, 4), input_dim=6, output_dim=4)
    yield from grid("Embedding", out, (6, 4), input_dim=6, output_dim=4)
    yield from grid("take", (5, 3), Draw((2, 2), "whole"), axis=0, mode=["clip", "wrap"])
    yield from grid("take", (5, 3), out, axis=[0, 1, -1], mode=["clip", "wrap"])
    yield from grid("take", (5, 3), Draw((2,), "whole", "int32", 3), axis=1)
    yield from grid("batch_take", (3, 4), Draw((3,), "whole", "int32", 4))
    for axis, wanted in ((0, (4,)), (1, (3,)), (-1, (3,))):
        yield from grid(
            "pick", (3, 4), Draw(wanted, "whole", below=3), axis=axis, keepdims=[0, 1],
            mode=["clip", "wrap"],
        )  # fmt: skip
    yield from grid("pick", (3, 4), Draw((3,), "values", values=[-1, 9, 2]), mode=["clip", "wrap"])
    yield from grid(
        "one_hot", Draw((2, 3), "values", values=[[0, 1, 2], [3, 4, -1]]), depth=[3, 5],
        on_value=[1, 2.5], off_value=[0, -1], dtype=["float32", "int32"],
    )  # fmt: skip
    pairs = Draw((2, 3), "values", "int64", values=[[0, 1, 2], [1, 0, 3]])
    yield from grid("gather_nd", (3, 4), pairs)
    yield from grid("gather_nd", (3, 4, 2), pairs)
    yield from grid("gather_nd", (3, 4), Draw((1, 2), "values", values=[[2, 0]]))
    yield from grid("scatter_nd", (3,), pairs, shape="(3, 4)")
    yield from grid("scatter_nd", (3, 2), pairs, shape="(3, 4, 2)")
    yield from grid("where", Draw((3, 4), "flags"), (3, 4), (3, 4))
    yield from grid("where", Draw((3,), "flags"), (3, 4), (3, 4))
    yield from grid("diag", (4,), k=[0, 1, -2])
    yield from grid("diag", (3, 5), k=[0, 1, -1, 2])
    yield from grid("diag", (2, 3, 4), k=[0, 1], axis1=[0, 1], axis2=2)
    yield from grid(
        "_contrib_index_copy", (5, 3), Draw((2,), "values", "int64", values=[3, 1]), (2, 3)
    )
    yield from grid("_ravel_multi_index", pairs, shape="(3, 4)")
    yield from grid("_unravel_index", Draw((5,), "whole", "int64", 12), shape="(3, 4)")


def _products() -> Iterator[Case]:
    yield from grid("dot", (3, 4), (4, 5))
    yield from grid("dot", (4, 3), (4, 5), transpose_a=True)
    yield from grid("dot", (3, 4), (5, 4), transpose_b=True)
    yield from grid("dot", (4, 3), (5, 4), transpose_a=True, transpose_b=True)
    yield from grid("dot", (4,), (4,))
    yield from grid("dot", (2, 3, 4), (4, 5))
    yield from grid("dot", (2, 3, 4), (4, 5, 2))
    yield from grid("dot", (4, 2, 3), (4, 5), transpose_a=True)
    for a, left in ((False, (2, 3, 4)), (True, (2, 4, 3))):
        for b, right in ((False, (2, 4, 5)), (True, (2, 5, 4))):
            yield from grid("batch_dot", left, right, transpose_a=a, transpose_b=b)
            yield from grid(
                "_linalg_gemm2", left, right, transpose_a=a, transpose_b=b, alpha=[1, 0.5]
            )
            yield from grid(
                "_linalg_gemm", left, right, (2, 3, 5), transpose_a=a, transpose_b=b, beta=[1, 2]
            )
    yield from grid("_linalg_syrk", (2, 3, 4), transpose=[0, 1], alpha=[1, 2])
    yield from grid(
        "_linalg_trmm", (2, 3, 3), (2, 3, 3), transpose=[0, 1], rightside=[0, 1], lower=[0, 1],
        alpha=[1, 2],
    )  # fmt: skip
    yield from grid("_contrib_div_sqrt_dim", (2, 3, 5))
    yield from grid("khatri_rao", (2, 3), (4, 3), num_args=2)
    yield from grid("_contrib_interleaved_matmul_selfatt_qk", (5, 2, 24), heads=[1, 2, 4])
    yield from grid("_contrib_interleaved_matmul_selfatt_valatt", (5, 2, 24), (4, 5, 5), heads=2)
    yield from grid("_contrib_interleaved_matmul_encdec_qk", (5, 2, 8), (3, 2, 16), heads=[1, 2])
    yield from grid("_contrib_interleaved_matmul_encdec_valatt", (3, 2, 16), (4, 5, 3), heads=2)


def _sequences() -> Iterator[Case]:
    gates = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}
    for mode, count in gates.items():
        for layers in (1, 2):
            for both in (False, True):
                ways = 2 if both else 1
                size = ways * count * 3 * ((4 + 3 + 2) + (layers - 1) * (3 * ways + 3 + 2))
                state = (layers * ways, 2, 3)
                states = (state, state) if mode == "lstm" else (state,)
                yield from grid(
                    "RNN", (5, 2, 4), Draw((size,), "unit"), *states, state_size=3, mode=mode,
                    num_layers=layers, bidirectional=both, state_outputs=[False, True],
                )  # fmt: skip
    for name in ("SequenceMask", "SequenceLast", "SequenceReverse"):
        value = {"value": [0, -1.5]} if name == "SequenceMask" else {}
        yield from grid(name, (4, 3, 2), use_sequence_length=False)
        yield from grid(
            name,
            (4, 3, 2),
            Draw((3,), "values", values=[1, 4, 2]),
            use_sequence_length=True,
            **value,
        )
    for name in ("SequenceMask", "SequenceLast"):
        yield from grid(
            name,
            (3, 4, 2),
            Draw((3,), "values", values=[1, 4, 2]),
            use_sequence_length=True,
            axis=1,
        )
