"""Operators that compute each element by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    choice,
    declare,
    integer,
    number,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import (
    Types,
    broadcast,
    like_first,
    same_dtype,
    same_shape,
)
from elastic_inference.frameworks.mxnet.table import operator

_Binary = Callable[[Emit, str, str], str]

# Names, and the ONNX operators that follow each other.
_CHAINS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("relu",): ("Relu",),
    ("sigmoid",): ("Sigmoid",),
    ("softsign",): ("Softsign",),
    ("negative",): ("Neg",),
    ("abs",): ("Abs",),
    ("sign",): ("Sign",),
    ("_contrib_sign_ste",): ("Sign",),
    ("ceil",): ("Ceil",),
    ("floor",): ("Floor",),
    ("erf",): ("Erf",),
    ("exp",): ("Exp",),
    ("log",): ("Log",),
    ("reciprocal",): ("Reciprocal",),
    ("sqrt",): ("Sqrt",),
    ("rsqrt",): ("Sqrt", "Reciprocal"),
    ("sin",): ("Sin",),
    ("cos",): ("Cos",),
    ("tan",): ("Tan",),
    ("arcsin",): ("Asin",),
    ("arccos",): ("Acos",),
    ("arctan",): ("Atan",),
    ("sinh",): ("Sinh",),
    ("cosh",): ("Cosh",),
    ("tanh",): ("Tanh",),
    ("arcsinh",): ("Asinh",),
    ("arccosh",): ("Acosh",),
    ("arctanh",): ("Atanh",),
    # What training alone needs does nothing here.
    ("_copy", "identity"): (),
    ("BlockGrad", "stop_gradient", "_sparse_stop_gradient"): (),
    ("_copyto", "_npi_copyto"): (),
    ("cast_storage",): (),
    ("_CrossDeviceCopy",): (),
    ("IdentityAttachKLSparseReg",): (),
}  # fmt: skip


def _simple(*names: str) -> Callable[[Callable[[Emit], str]], Callable[[Emit], str]]:
    return operator(*names, *(f"_sparse_{name}" for name in names[:1]), shapes=like_first)


def _chain(onnx: tuple[str, ...]) -> Callable[[Emit], str]:
    return lambda e: e.chain(e.x, *onnx)


for _names, _onnx in _CHAINS.items():
    _simple(*_names)(_chain(_onnx))


@operator(
    "MakeLoss",
    parameters=declare(
        grad_scale=number(1.0),
        valid_thresh=number(0.0),
        normalization=choice(("null", "batch", "valid"), "null"),
    ),
    shapes=like_first,
)
def _make_loss(e: Emit) -> str:
    return e.x


@operator("make_loss", "_sparse_make_loss", shapes=like_first, output_names=("loss",))
def _loss(e: Emit) -> str:
    return e.x


@_simple("_contrib_round_ste")
@_simple("round")
def _round(e: Emit) -> str:
    """Halves go away from zero."""
    whole = e.add("Floor", e.add("Add", e.add("Abs", e.x), e.constant(0.5)))
    return e.add("Mul", e.add("Sign", e.x), whole)


@_simple("rint")
def _rint(e: Emit) -> str:
    """Halves go down."""
    return e.add("Ceil", e.add("Sub", e.x, e.constant(0.5)))


@_simple("trunc")
def _trunc(e: Emit) -> str:
    return e.add("Mul", e.add("Sign", e.x), e.chain(e.x, "Abs", "Floor"))


@_simple("fix")
def _fix(e: Emit) -> str:
    return _trunc(e)


@_simple("square")
def _square(e: Emit) -> str:
    return e.add("Mul", e.x, e.x)


@_simple("log10")
def _log10(e: Emit) -> str:
    return e.add("Mul", e.add("Log", e.x), e.constant(1 / np.log(10)))


@_simple("log2")
def _log2(e: Emit) -> str:
    return e.add("Mul", e.add("Log", e.x), e.constant(1 / np.log(2)))


@_simple("log1p")
def _log1p(e: Emit) -> str:
    """Exact near 0: the rounding of 1 + x is made good for."""
    one = e.constant(1)
    sum_ = e.add("Add", e.x, one)
    rounded = e.add("Sub", sum_, one)
    nothing = e.add("Equal", rounded, e.constant(0))
    divisor = e.add("Where", nothing, one, rounded)
    found = e.add("Mul", e.add("Log", sum_), e.add("Div", e.x, divisor))
    return e.add("Where", nothing, e.x, found)


@_simple("expm1")
def _expm1(e: Emit) -> str:
    """Exact near 0, as exp(x) - 1 is not."""
    half = e.add("Mul", e.x, e.constant(0.5))
    more = e.add("Add", e.add("Exp", e.x), e.constant(1))
    return e.add("Mul", e.add("Tanh", half), more)


@_simple("cbrt")
def _cbrt(e: Emit) -> str:
    root = e.add("Pow", e.add("Abs", e.x), e.constant(1 / 3))
    return e.add("Mul", e.add("Sign", e.x), root)


@_simple("rcbrt")
def _rcbrt(e: Emit) -> str:
    return e.add("Reciprocal", _cbrt(e))


@_simple("degrees")
def _degrees(e: Emit) -> str:
    return e.add("Mul", e.x, e.constant(180 / np.pi))


@_simple("radians")
def _radians(e: Emit) -> str:
    return e.add("Mul", e.x, e.constant(np.pi / 180))


@_simple("logical_not")
def _logical_not(e: Emit) -> str:
    return e.cast(e.add("Equal", e.x, e.constant(0)), e.dtype)


@operator(
    "hard_sigmoid", parameters=declare(alpha=number(0.2), beta=number(0.5)), shapes=like_first
)
def _hard_sigmoid(e: Emit) -> str:
    return e.add("HardSigmoid", e.x, alpha=float(e.a.alpha), beta=float(e.a.beta))


@operator(
    "clip",
    "_npi_clip",
    "_sparse_clip",
    parameters=declare(a_min=number(), a_max=number()),
    shapes=like_first,
)
def _clip(e: Emit) -> str:
    low, high = float(e.a.a_min), float(e.a.a_max)
    if e.dtype.kind in "iu":
        limits = np.iinfo(e.dtype)
        low, high = max(low, limits.min), min(high, limits.max)
    return e.add("Clip", e.x, e.constant(low), e.constant(high))


@operator("smooth_l1", "_npx_smooth_l1", parameters=declare(scalar=number(1.0)), shapes=like_first)
def _smooth_l1(e: Emit) -> str:
    square = e.a.scalar**2
    size = e.add("Abs", e.x)
    small = e.add("Mul", e.add("Mul", e.x, e.x), e.constant(0.5 * square))
    large = e.add("Sub", size, e.constant(0.5 / square))
    return e.add("Where", e.add("Less", size, e.constant(1 / square)), small, large)


@operator(
    "_contrib_quadratic",
    parameters=declare(a=number(0.0), b=number(0.0), c=number(0.0)),
    shapes=like_first,
)
def _quadratic(e: Emit) -> str:
    inner = e.add("Add", e.add("Mul", e.x, e.constant(e.a.a)), e.constant(e.a.b))
    return e.add("Add", e.add("Mul", e.x, inner), e.constant(e.a.c))


@operator(
    "add_n",
    "ElementWiseSum",
    "_sparse_add_n",
    "_sparse_ElementWiseSum",
    variadic="num_args",
    parameters=declare(num_args=integer(0)),
    shapes=same_shape,
)
def _add_n(e: Emit) -> str:
    return e.add("Sum", *e.inputs)


def _plain(onnx: str) -> _Binary:
    return lambda e, a, b: e.add(onnx, a, b)


def _comparison(onnx: str, *, negated: bool = False) -> _Binary:
    def compute(e: Emit, a: str, b: str) -> str:
        found = e.add(onnx, a, b)
        return e.cast(e.add("Not", found) if negated else found, e.out_dtypes[0])

    return compute


def _logical(onnx: str) -> _Binary:
    def compute(e: Emit, a: str, b: str) -> str:
        found = e.add(onnx, e.cast(a, np.bool_), e.cast(b, np.bool_))
        return e.cast(found, e.out_dtypes[0])

    return compute


def _mod(e: Emit, a: str, b: str) -> str:
    """As Python's: the result has the divisor's sign; 0 where the divisor is 0."""
    zero = e.constant(0, e.out_dtypes[0])
    none = e.add("Equal", b, zero)
    divisor = e.add("Where", none, e.constant(1, e.out_dtypes[0]), b)
    rest = e.add("Mod", a, divisor, fmod=1)
    differ = e.add("Less", e.add("Mul", e.add("Sign", rest), e.add("Sign", divisor)), zero)
    rest = e.add("Where", differ, e.add("Add", rest, divisor), rest)
    return e.add("Where", none, zero, rest)


def _hypot(e: Emit, a: str, b: str) -> str:
    return e.add("Sqrt", e.add("Add", e.add("Mul", a, a), e.add("Mul", b, b)))


_BINARY: dict[str, _Binary] = {
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "div": _plain("Div"),
    "mod": _mod,
    "power": _plain("Pow"),
    "maximum": _plain("Max"),
    "minimum": _plain("Min"),
    "hypot": _hypot,
    "equal": _comparison("Equal"),
    "not_equal": _comparison("Equal", negated=True),
    "greater": _comparison("Greater"),
    "greater_equal": _comparison("GreaterOrEqual"),
    "lesser": _comparison("Less"),
    "lesser_equal": _comparison("LessOrEqual"),
    "logical_and": _logical("And"),
    "logical_or": _logical("Or"),
    "logical_xor": _logical("Xor"),
}
# Two inputs of one shape: MXNet's names, among them those of old files.
_SAME_SHAPE: dict[str, tuple[str, ...]] = {
    "add": ("elemwise_add", "_plus", "_add", "_Plus", "_sparse_elemwise_add"),
    "sub": ("elemwise_sub", "_minus", "_sub", "_Minus", "_sparse_elemwise_sub"),
    "mul": ("elemwise_mul", "_mul", "_Mul", "_sparse_elemwise_mul"),
    "div": ("elemwise_div", "_div", "_Div", "_sparse_elemwise_div"),
    "mod": ("_mod", "_Mod"),
    "power": ("_power", "_Power"),
    "maximum": ("_maximum", "_Maximum"),
    "minimum": ("_minimum", "_Minimum"),
    "hypot": ("_hypot", "_Hypot"),
    "equal": ("_equal", "_Equal"),
    "not_equal": ("_not_equal", "_Not_Equal"),
    "greater": ("_greater", "_Greater"),
    "greater_equal": ("_greater_equal", "_Greater_Equal"),
    "lesser": ("_lesser", "_Lesser"),
    "lesser_equal": ("_lesser_equal", "_Lesser_Equal"),
    "logical_and": ("_logical_and", "_Logical_And"),
    "logical_or": ("_logical_or", "_Logical_Or"),
    "logical_xor": ("_logical_xor", "_Logical_Xor"),
}
_BROADCAST: dict[str, tuple[str, ...]] = {
    name: (f"broadcast_{name}", f"_sparse_broadcast_{name}") for name in _BINARY
} | {
    "add": (
        "broadcast_add", "broadcast_plus", "_sparse_broadcast_add", "_sparse_broadcast_plus",
    ),
    "sub": (
        "broadcast_sub", "broadcast_minus", "_sparse_broadcast_sub", "_sparse_broadcast_minus",
    ),
    "maximum": ("broadcast_maximum", "_npi_maximum"),
    "minimum": ("broadcast_minimum", "_npi_minimum"),
}  # fmt: skip
# One input and a number: the operator, and whether the number is its first operand.
_SCALAR: dict[tuple[str, ...], tuple[str, bool]] = {
    ("_plus_scalar", "_PlusScalar"): ("add", False),
    ("_minus_scalar", "_MinusScalar"): ("sub", False),
    ("_rminus_scalar", "_RMinusScalar"): ("sub", True),
    ("_mul_scalar", "_MulScalar"): ("mul", False),
    ("_div_scalar", "_DivScalar"): ("div", False),
    ("_rdiv_scalar", "_RDivScalar"): ("div", True),
    ("_mod_scalar", "_ModScalar"): ("mod", False),
    ("_rmod_scalar", "_RModScalar"): ("mod", True),
    ("_maximum_scalar", "_MaximumScalar", "_npi_maximum_scalar"): ("maximum", False),
    ("_minimum_scalar", "_MinimumScalar", "_npi_minimum_scalar"): ("minimum", False),
    ("_power_scalar", "_PowerScalar"): ("power", False),
    ("_rpower_scalar", "_RPowerScalar"): ("power", True),
    ("_hypot_scalar", "_HypotScalar", "_npi_hypot_scalar"): ("hypot", False),
    ("_equal_scalar", "_EqualScalar"): ("equal", False),
    ("_not_equal_scalar", "_NotEqualScalar"): ("not_equal", False),
    ("_greater_scalar", "_GreaterScalar"): ("greater", False),
    ("_greater_equal_scalar", "_GreaterEqualScalar"): ("greater_equal", False),
    ("_lesser_scalar", "_LesserScalar"): ("lesser", False),
    ("_lesser_equal_scalar", "_LesserEqualScalar"): ("lesser_equal", False),
    ("_logical_and_scalar", "_LogicalAndScalar"): ("logical_and", False),
    ("_logical_or_scalar", "_LogicalOrScalar"): ("logical_or", False),
    ("_logical_xor_scalar", "_LogicalXorScalar"): ("logical_xor", False),
    ("_scatter_plus_scalar",): ("add", False),
    ("_scatter_minus_scalar",): ("sub", False),
}


operator(
    "_contrib_gradientmultiplier",
    parameters=declare(scalar=number(1.0), is_int=boolean(True)),
    shapes=like_first,
)(_chain(()))


def _of_two(compute: _Binary) -> Callable[[Emit], str]:
    return lambda e: compute(e, *e.inputs)


def _scalar_types(t: Types) -> None:
    """Integers and a number that is not whole give double precision."""
    if t.inputs[0] is not None and t.inputs[0].kind in "iub" and not t.a.is_int:
        t.give(np.float64)
    else:
        same_dtype(t)


def _with_scalar(compute: _Binary, *, reverse: bool) -> Callable[[Emit], str]:
    def write(e: Emit) -> str:
        dtype = e.out_dtypes[0]
        value = int(e.a.scalar) if dtype.kind in "iu" else e.a.scalar
        number = e.constant(np.array(value).astype(dtype), dtype)
        x = e.x if e.dtype == dtype else e.cast(e.x, dtype)
        return compute(e, number, x) if reverse else compute(e, x, number)

    return write


for _name, _compute in _BINARY.items():
    operator(*_SAME_SHAPE[_name], inputs=("lhs", "rhs"), shapes=same_shape)(_of_two(_compute))
    operator(*_BROADCAST[_name], inputs=("lhs", "rhs"), shapes=broadcast)(_of_two(_compute))
for _scalar_names, (_name, _reverse) in _SCALAR.items():
    operator(
        *_scalar_names,
        parameters=declare(scalar=number(1.0), is_int=boolean(True)),
        shapes=like_first,
        types=_scalar_types,
    )(_with_scalar(_BINARY[_name], reverse=_reverse))


@operator("_grad_add", inputs=("lhs", "rhs"), shapes=same_shape)
def _grad_add(e: Emit) -> str:
    return e.add("Add", *e.inputs)


@operator("_identity_with_attr_like_rhs", inputs=("lhs", "rhs"), shapes=same_shape)
def _identity_like(e: Emit) -> str:
    return e.x
