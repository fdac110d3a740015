"""Activations, and the layers that networks end with: losses are what inference makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    choice,
    declare,
    dtype,
    integer,
    number,
    shape,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shapes, Types, like_first, product, same_dtype
from elastic_inference.frameworks.mxnet.table import operator


@operator(
    "Activation",
    "_npx_activation",
    parameters=declare(
        act_type=choice(("log_sigmoid", "mish", "relu", "sigmoid", "softrelu", "softsign", "tanh"))
    ),
    shapes=like_first,
)
def _activation(e: Emit) -> str:
    simple = {
        "relu": "Relu",
        "sigmoid": "Sigmoid",
        "tanh": "Tanh",
        "softrelu": "Softplus",
        "softsign": "Softsign",
    }
    if e.a.act_type in simple:
        return e.add(simple[e.a.act_type], e.x)
    if e.a.act_type == "mish":
        return e.add("Mul", e.x, e.chain(e.x, "Softplus", "Tanh"))
    return e.chain(e.x, "Neg", "Softplus", "Neg")


def _leaky_shapes(s: Shapes) -> None:
    like_first(s)
    data = s.inputs[0]
    s.give(data, 1)
    if data is not None and len(s.inputs) > 1 and s.inputs[1] is None:
        s.expect(1, (data[1] if len(data) > 1 else 1,))


@operator(
    "LeakyReLU",
    "_npx_leaky_relu",
    inputs=lambda a: ("data", "gamma") if a.act_type == "prelu" else ("data",),
    parameters=declare(
        act_type=choice(("elu", "gelu", "leaky", "prelu", "rrelu", "selu"), "leaky"),
        slope=number(0.25),
        lower_bound=number(0.125),
        upper_bound=number(0.334),
    ),
    shapes=_leaky_shapes,
    outputs=2,
    visible=lambda a: 2 if a.act_type == "rrelu" else 1,
    output_names=("output", "mask"),
)
def _leaky_relu(e: Emit) -> tuple[str, str]:
    y = _LEAKY[e.a.act_type](e)
    return y, y


def _prelu(e: Emit) -> str:
    slope = e.inputs[1]
    if len(e.shapes[1]) == 1 and e.rank > 2:
        slope = e.reshape(slope, (e.shapes[1][0], *(1,) * (e.rank - 2)))
    return e.add("PRelu", e.x, slope)


def _gelu(e: Emit) -> str:
    inner = e.add("Erf", e.add("Div", e.x, e.constant(np.sqrt(2))))
    half = e.add("Mul", e.x, e.constant(0.5))
    return e.add("Mul", half, e.add("Add", inner, e.constant(1)))


_LEAKY: dict[str, Callable[[Emit], str]] = {
    "leaky": lambda e: e.add("LeakyRelu", e.x, alpha=float(e.a.slope)),
    "elu": lambda e: e.add("Elu", e.x, alpha=float(e.a.slope)),
    "selu": lambda e: e.add("Selu", e.x),
    "gelu": _gelu,
    "prelu": _prelu,
    # Training draws the slope between the bounds.
    "rrelu": lambda e: e.add("LeakyRelu", e.x, alpha=float(e.a.lower_bound + e.a.upper_bound) / 2),
}


def _dropout_shapes(s: Shapes) -> None:
    like_first(s)
    s.give(s.inputs[0], 1)


@operator(
    "Dropout",
    "_npx_dropout",
    parameters=declare(
        p=number(0.5),
        mode=choice(("training", "always"), "training"),
        axes=shape(()),
        cudnn_off=boolean(False),
    ),
    shapes=_dropout_shapes,
    outputs=2,
    visible=1,
    output_names=("output", "mask"),
)
def _dropout(e: Emit) -> tuple[str, str]:
    return e.x, e.x


def _label_shapes(s: Shapes) -> None:
    """The label of a loss that inference does not look at."""
    like_first(s)
    data = s.inputs[0]
    if data is None or len(s.inputs) < 2 or s.inputs[1] is not None:
        return
    if s.a.multi_output:
        s.expect(1, (data[0], *data[2:]))
    else:
        s.expect(1, data[:-1] if s.a.preserve_shape or len(data) == 1 else data[:1])


@operator(
    "SoftmaxOutput",
    "Softmax",
    inputs=("data", "label"),
    parameters=declare(
        grad_scale=number(1.0),
        ignore_label=number(-1.0),
        multi_output=boolean(False),
        use_ignore=boolean(False),
        preserve_shape=boolean(False),
        normalization=choice(("null", "batch", "valid"), "null"),
        out_grad=boolean(False),
        smooth_alpha=number(0.0),
    ),
    shapes=_label_shapes,
    types=same_dtype,
)
def _softmax_output(e: Emit) -> str:
    if e.a.multi_output:
        return e.add("Softmax", e.x, axis=1)
    if e.a.preserve_shape or e.rank <= 2:
        return e.add("Softmax", e.x, axis=-1)
    flat = e.reshape(e.x, (e.shape[0], product(e.shape[1:])))
    return e.reshape(e.add("Softmax", flat, axis=-1), e.shape)


def _regression_shapes(s: Shapes) -> None:
    like_first(s)
    data = s.inputs[0]
    if data is not None and s.inputs[1] is None:
        single = len(data) == 2 and data[1] == 1
        s.expect(1, data[:1] if single else data)


def _as_it_is(e: Emit) -> str:
    return e.x


for _name in ("LinearRegressionOutput", "MAERegressionOutput"):
    operator(
        _name,
        f"_sparse_{_name}",
        inputs=("data", "label"),
        parameters=declare(grad_scale=number(1.0)),
        shapes=_regression_shapes,
    )(_as_it_is)


@operator(
    "LogisticRegressionOutput",
    "_sparse_LogisticRegressionOutput",
    inputs=("data", "label"),
    parameters=declare(grad_scale=number(1.0)),
    shapes=_regression_shapes,
)
def _logistic(e: Emit) -> str:
    return e.add("Sigmoid", e.x)


def _svm_shapes(s: Shapes) -> None:
    like_first(s)
    if s.inputs[0] is not None:
        s.expect(1, s.inputs[0][:1])


operator(
    "SVMOutput",
    inputs=("data", "label"),
    parameters=declare(
        margin=number(1.0), regularization_coefficient=number(1.0), use_linear=boolean(False)
    ),
    shapes=_svm_shapes,
)(_as_it_is)


_SOFTMAX = declare(
    axis=integer(-1), temperature=number(None), dtype=dtype(None), use_length=boolean(False)
)


def _softmax_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "length") if a.use_length else ("data",)


def _softmax_shapes(s: Shapes) -> None:
    like_first(s)
    data = s.inputs[0]
    if data is not None and len(s.inputs) > 1:
        axis = s.axis(s.a.axis, len(data))
        s.expect(1, (*data[:axis], *data[axis + 1 :]))


def _softmax_types(t: Types) -> None:
    t.expect(0, t.outputs[0])
    t.expect(1, np.int32)
    t.give(t.a.dtype or t.inputs[0])


def _softmax(kind: str, *, negated: bool = False) -> Callable[[Emit], str]:
    def write(e: Emit) -> str:
        x, axis = e.x, e.axis(e.a.axis)
        # MXNet computes in the dtype that it is asked for.
        result = e.out_dtypes[0]
        x = x if e.dtype == result else e.cast(x, result)
        if negated:
            x = e.add("Neg", x)
        if e.a.temperature not in {None, 1.0}:
            x = e.add("Div", x, e.constant(e.a.temperature, result))
        if not e.a.use_length:
            return e.add(kind, x, axis=axis)
        wide = [size if at == axis else 1 for at, size in enumerate(e.shape)]
        places = e.constant(np.arange(e.shape[axis]).reshape(wide), np.int64)
        length = e.unsqueeze(e.cast(e.inputs[1], np.int64), [axis])
        valid = e.add("Less", places, length)
        lowest = e.constant(np.finfo(result).min, result)
        y = e.add(kind, e.add("Where", valid, x, lowest), axis=axis)
        return e.add("Where", valid, y, e.constant(0, result))

    return write


for _names, _kind, _negated in (
    (("softmax", "_npx_softmax"), "Softmax", False),
    (("log_softmax", "_npx_log_softmax"), "LogSoftmax", False),
    (("softmin",), "Softmax", True),
):
    operator(
        *_names,
        inputs=_softmax_inputs,
        parameters=_SOFTMAX,
        shapes=_softmax_shapes,
        types=_softmax_types,
    )(_softmax(_kind, negated=_negated))


@operator(
    "SoftmaxActivation",
    parameters=declare(mode=choice(("instance", "channel"), "instance")),
    shapes=like_first,
)
def _softmax_activation(e: Emit) -> str:
    return e.add("Softmax", e.x, axis=1 if e.a.mode == "channel" else -1)


def _entropy_shapes(s: Shapes) -> None:
    if s.inputs[0] is not None:
        s.expect(1, s.inputs[0][:1])
    s.give((1,))


@operator("softmax_cross_entropy", inputs=("data", "label"), shapes=_entropy_shapes)
def _softmax_cross_entropy(e: Emit) -> str:
    classes = e.constant(np.arange(e.shape[1]), np.int64)
    label = e.unsqueeze(e.cast(e.inputs[1], np.int64), [1])
    chosen = e.cast(e.add("Equal", label, classes), e.dtype)
    found = e.add("Mul", e.add("LogSoftmax", e.x, axis=1), chosen)
    return e.reshape(e.add("Neg", e.add("ReduceSum", found, keepdims=0)), (1,))
