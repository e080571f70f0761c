"""The list: one row per operator that Tessera imports and ONNX Runtime has on CPUs. A row says what kind of operator it is
(producers and consumers are paired by kind), how to make a node of it, which types it takes and how exact it is.

What is left out, because neither ONNX nor ONNX Runtime says what the result is:
  - float to integer where the number is not in the integer's range, NaN and infinity included; negative ones to unsigned;
  - floats that are 0 but for rounding to bool; Shrink beyond an integer's range;
  - integer division and remainder by zero, and of the lowest number (ONNX Runtime dies of it);
  - shifts by the width or more; negative exponents of integers; products of integers out of range in Pow and ReduceProd;
  - TopK, ArgMax, ArgMin among equal numbers that rounding separates: not excluded, but not compared (reference.py);
  - scatters of several numbers to one place without a reduction;
  - NaN as an operand of Min, Max, comparisons' selections, sorts and pools: ONNX Runtime's answer depends on the place.
    So nodes whose results are not finite are kept in one attempt of twenty only, and never go into those;
  - indices out of range;
  - reductions and losses of tensors of no elements: ONNX Runtime's results have shapes of their own;
  - integer products over no terms: ONNX Runtime leaves them unset;
  - reductions of integers that leave the type's range, or 2^53 on the way: ONNX Runtime adds and multiplies them in float64 and takes the
    nearest integer of the type, where Add, Mul and their definition in ONNX wrap around;
  - NonZero of a scalar: ONNX says [0, n], ONNX Runtime [1, n];
  - AffineGrid with align_corners along axes of one element: 0 / 0 in the definition;
  - ConvTranspose with auto_pad SAME and windows smaller than the stride: its padding would be negative;
  - masks of com.microsoft that leave no key: -10000 is added to each score, whose last digits then decide;
  - Gemm over no terms: ONNX Runtime forgets beta; Einsum of no elements: it dies of some;
  - LSTM with clip: whether the cell is clipped before its last activation; ONNX says so, ONNX Runtime does not;
  - MeanVarianceNormalization over elements that are nearly equal: ONNX Runtime takes the root of E[x^2] - E[x]^2 < 0,
    and leaves out the specified 1e-9;
  - LRN of large numbers beside small ones: ONNX Runtime's running sum of squares cancels;
  - pools with auto_pad SAME and windows smaller than the stride, whose padding would be negative; Swish beyond opset 24, which ONNX
    Runtime has not;
  - the mask of Dropout before opset 12, of which the definition says nothing;
  - pictures of no pixels: ONNX Runtime's convolutions write past their memory;
  - BatchNormalization and Dropout in training mode, random operators: not supported.
Refused by the importer, with a reason, and therefore not made: NonMaxSuppression of at most 0 boxes, TreeEnsemble with a post_transform.
Not here: If, Loop, Scan, sequences, optionals, strings; operators which ONNX Runtime has not on CPUs (SwiGLU, LinearAttention,
CausalConvWithState, FlexAttention, BiasAdd, BiasSplitGelu, com.microsoft's SimplifiedLayerNormalization)."""
import math

import numpy as np
from onnx import TensorProto, helper

from graph import ALL, INTS, NUMBERS, SIGNED, UNSIGNED, MOST_ELEMENTS
from reference import FLOATS, OF_PROTO, TYPES, UNIT, Class, Reject

# Two-byte floats go through float32 in both; float64 is rare in models.
F = FLOATS
F32_F64 = ("f32", "f64")

# --- tolerance classes: what is known of each kind of computation, in units of roundoff (reference.py) ---


def reduced(arrays, node):
    """The number of terms of a sum: how many elements of the first input there are for one of the result, at most all."""
    return float(max(1, max(arrays[0].shape, default=1)) if node.op in ("CumSum", "CumProd") else max(1, arrays[0].size))


def contracted(arrays, node):
    """Terms of a product: elements of the second operand, over its smallest free axis 1."""
    return float(max(1, min(arrays[0].size, arrays[min(1, len(arrays) - 1)].size)))


EXACT = Class(0, 0)  # moves, integers, comparisons, selections
ROUNDED = Class(0, 1, exact=True)  # one IEEE operation
FUNCTION = Class(1, 8)  # 4 ulp, as accuracy.def says; arguments are rounded once
COMPOSITE = Class(4, 16, absolute=4)  # a handful of functions and operations on one element
SUM = Class(0, 2, terms=reduced)
PRODUCT = Class(0, 2, inputs=(0, 1), terms=contracted)
NORM = Class(4, 16, inputs=(0, 1, 2, 3, 4), terms=reduced)
ATTENTION = Class(8, 16, inputs=(0, 1, 2, 4, 5, 6, 7), terms=contracted)
RECURRENT = Class(16, 64, inputs=(0, 1, 2, 3), terms=contracted, ones=2)  # gates are numbers up to 1, and rounded as such


def between(arrays, node):
    """Of linear and cubic interpolation: a position is computed by at most six roundings of numbers up to the extent, per axis, and
    moves the result by its error times the slopes of all weights, which add up to 3 at most, times the numbers that are weighed."""
    if node.attrs.get("mode") in (None, "nearest") or arrays[0].size == 0:
        return 0.0
    return 6.0 * sum(arrays[0].shape) * 3.0 * float(np.abs(arrays[0].astype(np.float64)).max())


def centred(arrays, node):
    """ONNX Runtime has InstanceNormalization in float32 only and computes x s + (b - mean s): five roundings of such terms."""
    x, scale, bias = (a.astype(np.float64) for a in arrays[:3])
    inner = tuple(range(2, x.ndim))
    with np.errstate(all="ignore"):
        shape = (-1,) + (1,) * len(inner)
        s = np.abs(scale.reshape(shape)) / np.sqrt(x.var(inner, keepdims=True) + (node.attrs.get("epsilon") or 1e-5))
        return 5.0 * (np.abs(x).max(inner, keepdims=True, initial=0) * s + np.abs(bias.reshape(shape)))


INSTANCES = Class(4, 16, inputs=(0, 1, 2), terms=reduced, ones=centred)
RESIZED = Class(16, 16, ones=between)  # scales are exact: what they make of sizes must not change
SAMPLED = Class(16, 16, inputs=(0, 1, 2, 3, 4))  # positions are computed, then looked up


def lost(arrays, node):
    """Of a sum of exponentials, of which the largest is 1, each of the others may be below half a unit of it and be lost."""
    return float(max(2, *arrays[0].shape))


class Row:
    def __init__(self, op, kind, make, klass, domain="", name=None, **more):
        self.op, self.kind, self.make, self.klass, self.domain = op, kind, make, klass, domain
        self.name = name or (f"{domain.split('.')[-1]}.{op}" if domain else op)
        self.types = more.pop("types", None)
        self.low, self.high = more.pop("low", None), more.pop("high", None)
        self.since, self.until = more.pop("since", 1), more.pop("until", 99)
        self.rank = more.pop("rank", None)
        self.more = more


class Out(Exception):
    pass


ROWS = []


def row(op, kind, make, klass, **more):
    ROWS.append(Row(op, kind, make, klass, **more))


def rows(ops, kind, make, klass, **more):
    for op in ops.split():
        row(op, kind, make, klass, **more)


def emit(g, r, inputs, attrs=None, outputs=1, types=None, klass=None):
    return g.emit(r.op, inputs, attrs, outputs, r.domain, klass or r.klass, r.kind, types)


def common(kind):
    """The types that an operator with a row of few types takes most often."""
    return kind


# --- elementwise ---


def unary(g, r):
    x = g.pick(r.types or F, r.rank, r.low, r.high)
    attrs = {k: v(g) for k, v in r.more.items()}
    return emit(g, r, [x], attrs)


def alpha(low, high):
    return lambda g: g.maybe(0.6, g.number(low, high))


rows("Abs Sign", "unary", unary, EXACT, types=NUMBERS)
rows("Neg", "unary", unary, EXACT, types=F + SIGNED)
rows("Floor Ceil Round", "unary", unary, EXACT)
rows("Exp", "unary", unary, FUNCTION, low=-30, high=8)
rows("Log", "unary", unary, FUNCTION, low=0.001, high=1e6)
rows("Sqrt", "unary", unary, ROUNDED, low=0, high=1e6)
rows("Reciprocal", "unary", unary, ROUNDED, low=0.05, high=1e4)
rows("Sin Cos", "unary", unary, FUNCTION, low=-100, high=100)
rows("Tan", "unary", unary, FUNCTION, low=-1.3, high=1.3)
rows("Asin Acos Atanh", "unary", unary, FUNCTION, low=-0.99, high=0.99)
rows("Atan Asinh", "unary", unary, FUNCTION)
rows("Sinh Cosh", "unary", unary, FUNCTION, low=-8, high=8)
rows("Acosh", "unary", unary, FUNCTION, low=1.01, high=1e4)
rows("Tanh Erf", "unary", unary, FUNCTION)
rows("Not", "logic", unary, EXACT, types=("bool",))
rows("BitwiseNot", "logic", unary, EXACT, types=INTS, since=18)
rows("IsNaN", "compare", unary, EXACT)
rows("IsInf", "compare", unary, EXACT, types=F32_F64, detect_positive=lambda g: g.maybe(0.5, g.int(0, 1)),
     detect_negative=lambda g: g.maybe(0.5, g.int(0, 1)))
rows("Identity", "move", unary, EXACT, types=ALL)
rows("Relu", "activation", unary, EXACT, types=F + ("i8", "i32"))
rows("LeakyRelu", "activation", unary, ROUNDED, alpha=alpha(-1, 2))
rows("ThresholdedRelu", "activation", unary, EXACT, since=10, alpha=alpha(-1, 1))
rows("Elu", "activation", unary, COMPOSITE, alpha=alpha(0, 2))
rows("Celu", "activation", unary, COMPOSITE, types=("f32",), alpha=alpha(0.25, 2), since=12)
rows("Selu", "activation", unary, COMPOSITE, alpha=alpha(0, 2), gamma=alpha(0, 2))
rows("Sigmoid", "activation", unary, COMPOSITE)
rows("HardSigmoid", "activation", unary, COMPOSITE, alpha=alpha(0, 1), beta=alpha(0, 1))
rows("HardSwish", "activation", unary, COMPOSITE, since=14)
rows("Softplus Softsign", "activation", unary, COMPOSITE)
rows("Mish", "activation", unary, COMPOSITE, since=18)
rows("Swish", "activation", unary, COMPOSITE, since=24, until=24, alpha=alpha(-1, 2))
rows("Gelu", "activation", unary, COMPOSITE, since=20, approximate=lambda g: g.maybe(0.6, g.choice(["none", "tanh"])))
rows("Shrink", "activation", unary, ROUNDED, types=NUMBERS, low=-100, high=100, lambd=alpha(0, 1), bias=alpha(-1, 1))


def binary(g, r):
    x = g.pick(r.types, r.rank, r.low, r.high)
    y = g.partner(x, low=r.more.get("low_y"), high=r.more.get("high_y"))
    if g.chance(0.3) and r.more.get("low_y") is None:
        x, y = y, x
    return emit(g, r, [x, y])


rows("Add Sub Mul", "binary", binary, ROUNDED, types=NUMBERS)
rows("And Or Xor", "logic", binary, EXACT, types=("bool",))
rows("BitwiseAnd BitwiseOr BitwiseXor", "logic", binary, EXACT, types=INTS, since=18)
rows("Equal", "compare", binary, EXACT, types=ALL)
rows("Less Greater", "compare", binary, EXACT, types=NUMBERS)
rows("LessOrEqual GreaterOrEqual", "compare", binary, EXACT, types=NUMBERS, since=12)


def no_lowest(v):
    return v.kind not in SIGNED or v.within(np.iinfo(TYPES[v.kind][0]).min + 1, np.inf)


def divide(g, r):
    x = g.pick(NUMBERS, test=no_lowest)
    if x.kind in FLOATS:
        y = g.partner(x, low=0.05, high=1e4)
    else:
        y = g.partner(x, low=1, high=10)
        if g.chance(0.4) and x.kind in SIGNED:
            y = g.emit("Neg", [y])[0]
    attrs = {}
    if r.op == "Mod":
        attrs["fmod"] = 1 if x.kind in FLOATS else g.maybe(0.6, g.int(0, 1))
    return emit(g, r, [x, y], attrs)


row("Div", "binary", divide, ROUNDED)
row("Mod", "binary", divide, Class(1, 2, inputs=(0, 1)), since=10)


def power(g, r):
    x = g.pick(("f32", "f64", "f16", "i32", "i64"), low=-8, high=8)
    if x.kind in SIGNED:
        y = g.partner(x, ("i32", "i64", "f32"), low=0, high=4)
        if y.kind == "f32" and not all((a == np.round(a)).all() for a in y.all_arrays()):
            raise Reject("roots of integers")
    elif g.chance(0.4):
        y = g.const(x.kind, g.choice([2, 3, 1, 4, -1, 0, 8, 5] + ([0.5, 1.5] if x.within(0.01, 8) else [])))
    elif x.within(0.05, 8):
        y = g.partner(x, low=-4, high=4)
    else:
        y = g.partner(x, ("i32", "i64"), low=0, high=5)
    return emit(g, r, [x, y])


row("Pow", "binary", power, Class(2, 32, inputs=(0, 1)), since=12)


def shift(g, r):
    x = g.pick(("u8", "u16", "u32", "u64"))
    y = g.partner(x, low=0, high=7)
    return emit(g, r, [x, y], {"direction": g.choice(["LEFT", "RIGHT"])})


row("BitShift", "logic", shift, EXACT, since=11)


def variadic(g, r):
    x = g.pick(r.types)
    rest = [g.partner(x) for _ in range(g.choice([0, 1, 1, 2, 3]))]
    return emit(g, r, [x] + rest if g.chance(0.7) else rest + [x])


rows("Max Min", "binary", variadic, EXACT, types=F32_F64 + ("f16", "i32", "i64", "u32", "u64", "i8", "u8"))
rows("Sum Mean", "binary", variadic, Class(2, 4, inputs=(0, 1, 2, 3)), types=F)


def where(g, r):
    x = g.pick(ALL)
    y = g.partner(x)
    condition = g.partner(x, ("bool",))
    return emit(g, r, [condition, x, y] if g.chance(0.6) else [condition, y, x])


row("Where", "select", where, EXACT, since=9)


def clip(g, r):
    x = g.pick(F + ("i8", "u8", "i32", "i64", "u32", "u64"))
    low, high = sorted([g.number(), g.number()])
    if x.kind in INTS:
        low, high = (-3, 4) if x.kind in SIGNED else (2, 7)
    if g.opset < 11:
        return emit(g, r, [x], {"min": g.maybe(0.7, float(low)), "max": g.maybe(0.7, float(high))})
    bounds = [g.const(x.kind, low) if g.chance(0.7) else g.given(x.kind, [low] * g.sets) if g.chance(0.3) else None,
              g.const(x.kind, high) if g.chance(0.7) else None]
    return emit(g, r, [x] + bounds)


row("Clip", "activation", clip, EXACT)


def castable(v, to):
    """Whether a cast is defined."""
    if v.kind in FLOATS and to in INTS:
        limits = np.iinfo(TYPES[to][0])
        return v.within(max(-1e9, float(limits.min)), min(1e9, float(limits.max)))
    if v.kind in FLOATS and to == "bool":
        return v.is_exact()  # else rounding decides what is 0
    return True


def cast(g, r):
    to = g.result(ALL)
    x = g.pick(ALL, test=lambda v: castable(v, to))
    klass = ROUNDED if x.kind in FLOATS and to in FLOATS or to in FLOATS else EXACT
    if r.op == "CastLike":
        return emit(g, r, [x, g.fresh(to, [g.size(3)])], types=[to], klass=klass)
    return emit(g, r, [x], {"to": TYPES[to][1]}, types=[to], klass=klass)


row("Cast", "cast", cast, ROUNDED)
row("CastLike", "cast", cast, ROUNDED, since=15)


def bit_cast(g, r):
    by_width = [("f32", "i32", "u32"), ("f64", "i64", "u64"), ("f16", "i16", "u16", "bf16"), ("i8", "u8")]
    x = g.pick(FLOATS + INTS, exact=True)
    to = g.choice(next(w for w in by_width if x.kind in w))
    if to in FLOATS:
        x = g.fresh(x.kind, g.dims(g.rank()), 0, 100) if x.kind in INTS else x
    return emit(g, r, [x], {"to": TYPES[to][1]}, types=[to])


row("BitCast", "cast", bit_cast, EXACT, since=26)


def dropout(g, r):
    x = g.pick(F)
    inputs, attrs = [x], {}
    if g.opset < 12:
        attrs["ratio"] = g.maybe(0.5, 0.25)
    else:
        inputs += [g.const("f32", 0.25) if g.chance(0.5) else None, g.const("bool", False) if g.chance(0.4) else None]
    return emit(g, r, inputs, attrs, [True, g.opset >= 12 and g.chance(0.3)])


row("Dropout", "move", dropout, EXACT, since=7)


def prelu(g, r):
    x = g.pick(F32_F64 + ("f16", "i32", "i64"), low=-1000, high=1000)
    slope = g.partner(x)
    if slope.rank > x.rank or any(a != b and set(a) != {1} for a, b in zip(slope.shape[::-1], x.shape[::-1])):
        slope = g.fresh(x.kind, [])
    return emit(g, r, [x, slope])


row("PRelu", "activation", prelu, ROUNDED, since=7)


def binarizer(g, r):
    return emit(g, r, [g.pick("f32")], {"threshold": g.maybe(0.7, g.number())}, types=["f32"])


row("Binarizer", "activation", binarizer, EXACT, domain="ai.onnx.ml")

# --- shapes and views ---


def constant(g, r):
    kind = g.result(ALL) if g.aim else g.kind(ALL)
    sizes = [d[0] for d in dims] if (dims := g.aim and g.aim[1]) else [g.size(8) for _ in range(g.int(0, 3))]
    content = g.array(kind, tuple(sizes), *g.range_of(kind, None, None))
    from reference import tensor
    if kind == "f32" and content.ndim < 2 and g.chance(0.3):
        value = {"value_float": float(content)} if content.ndim == 0 else {"value_floats": content.tolist()}
    elif kind == "i64" and content.ndim < 2 and g.chance(0.3):
        value = {"value_int": int(content)} if content.ndim == 0 else {"value_ints": content.tolist()}
    else:
        value = {"value": tensor(content, "value")}
    if g.opset < 12 and "value" not in value or value.get("value_floats") == [] or value.get("value_ints") == []:
        raise Reject("no such attribute")
    return emit(g, r, [], value, types=[kind])


row("Constant", "generate", constant, EXACT)


def constant_of_shape(g, r):
    x = g.pick(ALL, p=0.9, direct=False)
    kind = g.result(["f32", "f64", "f16", "i32", "i64", "u8", "bool"])
    value = helper.make_tensor("value", TYPES[kind][1], [1], [g.int(0, 3)])
    attrs = {"value": value} if g.chance(0.8) else {}
    if g.want is x and x.kind == "i64" and x.rank == 1:
        raise Reject("sizes are chosen elsewhere")
    shape = g.emit("Shape", [x], kind="shape")[0] if g.chance(0.6) else g.ints([list(a.shape) for a in x.data])
    return emit(g, r, [shape], attrs, types=[kind if attrs else "f32"])


row("ConstantOfShape", "generate", constant_of_shape, EXACT, since=9)


def shape(g, r):
    if g.aim is not None and len(g.aim[1]) == 1 and len(set(g.aim[1][0])) == 1:
        rank, least, most = min(6, g.aim[1][0][0]), *g.range_of("u8", *g.aim[2:])  # as many numbers as are aimed at, in their range
        g.aim = None
        x = g.pick(ALL, (rank, rank), fresh=lambda: g.fresh(g.kind(ALL), [g.int(max(0, least), min(9, most)) for _ in range(rank)]))
    else:
        x = g.pick(ALL)
    attrs = {}
    if r.op == "Shape" and g.opset >= 15 and g.chance(0.5):
        attrs = {"start": g.maybe(0.7, g.int(-x.rank - 1, x.rank)), "end": g.maybe(0.7, g.int(-x.rank - 1, x.rank + 1))}
    return emit(g, r, [x], attrs)


rows("Shape Size", "shape", shape, EXACT)


def factor(g, total, parts):
    out = []
    for _ in range(parts - 1):
        out.append(g.choice([d for d in range(1, total + 1) if total % d == 0]) if total else g.int(0, 3))
        total = total // out[-1] if total else 0
    return out + [total]


def reshape(g, r):
    x = g.pick(ALL)
    attrs = {}
    if all(x.static(i) is not None for i in range(x.rank)):
        total = x.data[0].size
        dims = factor(g, total, g.int(1, 5))
        g.random.shuffle(dims)
        dims = [int(d) for d in dims]
        if total == 1 and g.chance(0.2):
            dims = []
        if total == 0 and g.chance(0.5):
            attrs, dims = {"allowzero": 1} if g.opset >= 14 else {}, [0 if d == 0 else d for d in dims]
        if dims and total and g.chance(0.4):
            dims[g.int(0, len(dims) - 1)] = -1
        elif total:
            for i, d in enumerate(dims):
                if i < x.rank and d == x.data[0].shape[i] and g.chance(0.4):
                    dims[i] = 0
        lists = dims
    else:
        # Runs of axes are merged; one that is static is split.
        cuts = sorted(g.int(0, x.rank) for _ in range(g.int(0, 2)))
        runs = [x.shape[a:b] for a, b in zip([0] + cuts, cuts + [x.rank])]
        merged = []
        for run in runs:
            sizes = tuple(math.prod(d[i] for d in run) for i in range(g.sets))
            if len(set(sizes)) == 1 and sizes[0] and g.chance(0.5):
                merged += [(f,) * g.sets for f in factor(g, sizes[0], 2)]
            else:
                merged.append(sizes)
        lists = [[d[i] for d in merged] for i in range(g.sets)]
        if any(0 in each for each in lists):
            raise Reject("zeros copy")
        moving = [i for i, d in enumerate(merged) if len(set(d)) > 1]
        if len(moving) == 1 and g.chance(0.7):
            for each in lists:
                each[moving[0]] = -1
        else:
            for i in moving:
                if i < x.rank and x.shape[i] == merged[i] and g.chance(0.8):
                    for each in lists:
                        each[i] = 0
    return emit(g, r, [x, g.ints(lists)], attrs)


row("Reshape", "view", reshape, EXACT, since=5)


def flatten(g, r):
    x = g.pick(ALL)
    return emit(g, r, [x], {"axis": g.maybe(0.8, g.int(-x.rank if g.opset >= 11 else 0, x.rank))})


row("Flatten", "view", flatten, EXACT)


def squeeze(g, r):
    x = g.pick(ALL, rank=(1, 6), test=lambda v: any(set(d) == {1} for d in v.shape), fresh=lambda: with_ones(g))
    ones = [i for i, d in enumerate(x.shape) if set(d) == {1}]
    inputs, attrs = [x], {}
    # Without axes the rank of the result must be known.
    if g.chance(0.8) or x.dynamic or any(1 in d for i, d in enumerate(x.shape) if i not in ones):
        axes = [i for i in ones if g.chance(0.6)] or ones[:1]
        g.axes(inputs, attrs, [i - x.rank if g.opset >= 11 and g.chance(0.4) else i for i in axes], 13)
    return emit(g, r, inputs, attrs)


def with_ones(g):
    dims = g.dims(g.int(0, 3))
    dims.insert(g.int(0, len(dims)), (1,) * g.sets)
    return g.fresh(g.kind(ALL), dims)


def unsqueeze(g, r):
    x = g.pick(ALL, rank=(0, 5))
    count = g.int(1, min(3, 7 - x.rank))
    rank = x.rank + count
    axes = [int(a) for a in g.random.choice(rank, count, replace=False)]
    if g.opset < 13:
        axes.sort()
    inputs, attrs = [x], {}
    g.axes(inputs, attrs, [a - rank if g.opset >= 11 and g.chance(0.4) else a for a in axes], 13)
    return emit(g, r, inputs, attrs)


row("Squeeze", "view", squeeze, EXACT)
row("Unsqueeze", "view", unsqueeze, EXACT)


def transpose(g, r):
    x = g.pick(ALL)
    return emit(g, r, [x], {"perm": g.maybe(0.9, [int(i) for i in g.random.permutation(x.rank)])} if x.rank else {})


row("Transpose", "move", transpose, EXACT)


def expand(g, r):
    x = g.pick(ALL, rank=(0, 4))
    dims = []
    for sizes in x.shape:
        dims.append(g.dim(5) if set(sizes) == {1} and x.data[0].size < 300 else sizes if g.chance(0.6) or len(set(sizes)) > 1 else
                    (1,) * g.sets)
    for _ in range(g.choice([0, 0, 1, 2])):
        if math.prod(max(d) for d in dims) < 600:
            dims.insert(0, g.dim(4))
    return emit(g, r, [x, g.ints([[d[i] for d in dims] for i in range(g.sets)])])


row("Expand", "move", expand, EXACT)


def tile(g, r):
    x = g.pick(ALL, test=lambda v: v.data[-1].size < 1500)
    room = MOST_ELEMENTS // max(1, max(a.size for a in x.data))
    repeats = []
    for _ in range(x.rank):
        repeats.append(g.choice([n for n in (1, 1, 1, 2, 3, 5, 0) if n <= room and (n or g.chance(0.1))] or [1]))
        room //= max(1, repeats[-1])
    return emit(g, r, [x, g.ints(repeats)])


row("Tile", "move", tile, EXACT, since=6)


def concat(g, r):
    x = g.pick(ALL, rank=(1, 6))
    axis = g.axis(x, g.opset >= 11)
    others = []
    for _ in range(g.choice([0, 1, 1, 1, 2, 3])):
        def like(v):
            return v.rank == x.rank and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape)) if i != axis % x.rank)

        def make():
            dims = [d if i != axis % x.rank else g.dim(4) for i, d in enumerate(x.shape)]
            return g.fresh(x.kind, dims)

        others.append(g.pick(x.kind, fresh=make, test=like, p=0.6))
    parts = others + [x] if g.chance(0.5) else [x] + others
    return emit(g, r, parts, {"axis": axis})


row("Concat", "move", concat, EXACT)


def split(g, r):
    x = g.pick(ALL, rank=(1, 6), test=lambda v: any(v.static(i) for i in range(v.rank)))
    axes = [i for i in range(x.rank) if x.static(i)]
    axis = g.choice(axes)
    size, inputs, attrs = x.static(axis), [x], {"axis": axis - x.rank if g.opset >= 11 and g.chance(0.4) else axis}
    parts = g.choice([n for n in (1, 2, 3, 4, 5) if n <= size])
    if g.opset >= 18 and g.chance(0.4):
        attrs["num_outputs"] = parts
        if math.ceil(size / parts) * (parts - 1) >= size:
            raise Reject("an empty part")
    elif size % parts or g.chance(0.6):
        cuts = sorted(g.int(0, size) for _ in range(parts - 1))
        lengths = [b - a for a, b in zip([0] + cuts, cuts + [size])]
        if g.opset < 13:
            attrs["split"] = lengths
        else:
            inputs.append(g.ints(lengths, how=None if g.chance(0.2) else "init"))
    elif g.opset >= 18:
        attrs["num_outputs"] = parts
    return emit(g, r, inputs, attrs, parts)


row("Split", "move", split, EXACT)


def slice_(g, r):
    x = g.pick(ALL, rank=(1, 6))
    count = g.int(1, x.rank)
    axes = [int(a) for a in g.random.choice(x.rank, count, replace=False)]
    starts, ends, steps = [], [], []
    for axis in axes:
        size = max(x.shape[axis])
        step = g.choice([1, 1, 1, 2, 3, -1, -1, -2, 5]) if g.opset >= 10 else 1
        start, end = g.int(-size - 1, size + 1), g.choice([g.int(-size - 1, size + 1), 2**31 - 1, 2**63 - 1, -2**63, size])
        if step > 0 and end == -2**63 or step < 0 and end > size:
            end = -2**63 if step < 0 else size
        if g.chance(0.5):
            start, end = (0, size) if step > 0 else (-1, -2**63)
        starts, ends, steps = starts + [start], ends + [end], steps + [step]
    if g.opset < 10:
        return emit(g, r, [x], {"starts": starts, "ends": ends, "axes": axes})
    axes = [a - x.rank if g.chance(0.3) else a for a in axes]
    kind = g.choice(["i64", "i64", "i32"])
    if kind == "i32":
        ends = [max(-2**31, min(2**31 - 1, e)) for e in ends]
    how = None if g.chance(0.4) else "init"
    inputs = [x, g.ints(starts, how, kind), g.ints(ends, how, kind), g.ints(axes, "init", kind)]
    if g.chance(0.8) or any(s != 1 for s in steps):
        inputs.append(g.ints(steps, "init", kind))
    return emit(g, r, inputs)


row("Slice", "move", slice_, EXACT)


def pad(g, r):
    x = g.pick(F32_F64 + ("i32", "i64", "u32", "u64", "i8", "u8", "bool", "f16"), rank=(1, 5))
    mode = g.choice(["constant", "constant", "reflect", "edge"] + (["wrap"] if g.opset >= 19 else []))
    axes = list(range(x.rank))
    inputs, attrs = [x], {"mode": mode if g.chance(0.8) or mode != "constant" else None}
    some = g.opset >= 18 and g.chance(0.3)
    if some:
        axes = sorted(int(a) for a in g.random.choice(x.rank, g.int(1, x.rank), replace=False))
    pads = [0] * (2 * len(axes))
    for i, axis in enumerate(axes):
        least = min(x.shape[axis])
        for half in (0, 1):
            most = 3 if mode == "constant" else 0 if least == 0 else min(3, least - 1) if mode == "reflect" else 3 if mode == "edge" else min(3, least)
            low = -min(2, least // 3) if mode == "constant" and g.chance(0.2) else 0
            pads[i + half * len(axes)] = g.choice([0, g.int(low, max(0, most))])
    if g.opset < 11:
        return emit(g, r, [x], {**attrs, "pads": pads, "value": g.maybe(0.5, 1.5) if x.kind in FLOATS else None})
    inputs.append(g.ints(pads, how=None if g.chance(0.3) else "init"))
    inputs.append(g.const(x.kind, g.choice([0, 1, 3]) if x.kind != "bool" else True) if g.chance(0.5) else None)
    if some:
        inputs.append(g.ints([a - x.rank if g.chance(0.3) else a for a in axes], "init"))
    return emit(g, r, inputs, attrs)


row("Pad", "move", pad, EXACT)


def center_crop_pad(g, r):
    x = g.pick(("f32", "i32", "i64", "f64", "u8"), rank=(1, 4))
    count = g.int(1, x.rank)
    axes = [int(a) for a in g.random.choice(x.rank, count, replace=False)]
    sizes = [g.size(8) for _ in axes]
    if count == x.rank and g.chance(0.5):
        return emit(g, r, [x, g.ints(sizes, "init")])
    return emit(g, r, [x, g.ints(sizes, "init")], {"axes": axes})


row("CenterCropPad", "move", center_crop_pad, EXACT, since=18)


def blocks(g, r):
    size = g.choice([1, 2, 2, 3])

    def make():
        dims = g.dims(4)
        dims = [dims[0]] + [(g.int(1, 3),) * g.sets for _ in range(3)]
        if r.op == "DepthToSpace":
            dims[1] = (g.int(1, 3) * size * size,) * g.sets
        else:
            dims[2], dims[3] = ((g.int(1, 4) * size,) * g.sets for _ in range(2))
        return g.fresh(g.kind(F32_F64 + ("f16", "i8", "u8")), dims)

    def fit(v):
        if r.op == "DepthToSpace":
            return v.static(1) is not None and v.static(1) % (size * size) == 0
        return all(d % size == 0 for d in v.shape[2] + v.shape[3])

    x = g.pick(F32_F64 + ("f16", "i8", "u8"), (4, 4), test=fit, fresh=make)
    mode = g.choice(["DCR", "CRD", None]) if r.op == "DepthToSpace" and g.opset >= 11 else None
    return emit(g, r, [x], {"blocksize": size, "mode": mode})


rows("DepthToSpace SpaceToDepth", "move", blocks, EXACT)

# --- indexed ---


def indices(g, kinds, sizes, dims, signed=True):
    """Indices into an axis of these sizes (per data set) as a new value."""
    if min(sizes) == 0:
        raise Reject("nothing to index")
    kind = g.choice(kinds)
    low = -min(sizes) if signed and g.chance(0.4) else 0
    return g.fresh(kind, dims, low, min(sizes) - 1, const=0.5)


def index_value(g, kinds, sizes, rank):
    """Indices that the graph computes, where there are some in range."""
    return g.pick(kinds, rank, 0 if min(sizes) else 1, min(sizes) - 1, exact=True, p=0.9,
                  fresh=lambda: indices(g, kinds, sizes, g.dims(g.int(*rank))))


def gather(g, r):
    x = g.pick(ALL, rank=(1, 5), test=lambda v: v.data[0].size < 1500)
    axis = g.axis(x)
    index = index_value(g, ("i32", "i64"), x.shape[axis], (0, min(3, 6 - x.rank)))
    return emit(g, r, [x, index], {"axis": axis if axis or g.chance(0.7) else None})


row("Gather", "index", gather, EXACT)


def like_but(g, x, axis, most=6):
    """Dims of x, smaller ones where static; another size along axis."""
    dims = []
    for i, sizes in enumerate(x.shape):
        if i == axis % x.rank:
            dims.append(g.dim(most))
        else:
            dims.append(sizes if len(set(sizes)) > 1 else (g.int(min(1, sizes[0]), sizes[0]),) * g.sets)
    return dims


def gather_elements(g, r):
    x = g.pick(ALL, rank=(1, 5))
    axis = g.axis(x)
    index = indices(g, ("i32", "i64"), x.shape[axis], like_but(g, x, axis))
    return emit(g, r, [x, index], {"axis": axis if axis or g.chance(0.7) else None})


row("GatherElements", "index", gather_elements, EXACT, since=11)


def tuples(g, x, batch, dims, unique=False):
    """Indices [dims.., n] into the axes batch .. batch + n of x: columns joined, for each column has its own range."""
    n = g.int(1, x.rank - batch)
    sizes = [min(x.shape[batch + i]) for i in range(n)]
    if min(sizes) == 0:
        raise Reject("nothing to index")
    shapes = [tuple(d[i] for d in dims) for i in range(g.sets)]
    out = []
    for shape in shapes:
        count = math.prod(shape)
        if unique:
            if count > math.prod(sizes):
                raise Reject("too few places")
            flat = g.random.permutation(math.prod(sizes))[:count]
            columns = np.stack(np.unravel_index(flat, sizes), -1)
        else:
            columns = np.stack([g.random.integers(-s if g.chance(0.3) else 0, s, count) for s in sizes], -1)
        out.append(columns.reshape(shape + (n,)).astype(np.int64))
    if all(a.shape == out[0].shape for a in out) and g.chance(0.4):
        return g.put("i64", out[:1] * g.sets, True), n
    if any(len(set(d)) > 1 and d not in g.graph.symbols for d in dims):
        raise Reject("no such input")
    return g.put("i64", out, False), n


def gather_nd(g, r):
    x = g.pick(ALL, rank=(1, 5))
    batch = g.int(0, min(2, x.rank - 1)) if g.opset >= 12 and g.chance(0.4) else 0
    dims = x.shape[:batch] + [g.dim(5) for _ in range(g.int(0, 2))]
    index, _ = tuples(g, x, batch, dims)
    return emit(g, r, [x, index], {"batch_dims": batch} if batch or g.chance(0.2) else {})


row("GatherND", "index", gather_nd, EXACT, since=11)


def reduction(g, r, x, name):
    choices = [None]
    if g.opset >= 16:
        choices += ["add", "mul"] + (["max", "min"] if g.opset >= 18 else [])
    if x.kind == "bool":
        choices = [None]
    return g.choice(choices)


def scatter_elements(g, r):
    x = g.pick(ALL, rank=(1, 5), low=-30, high=30)
    axis = g.axis(x, g.opset >= 11)
    how = reduction(g, r, x, "x") if r.op == "ScatterElements" else None
    sizes = x.shape[axis]
    dims = like_but(g, x, axis, 5)
    if how is None:
        # Distinct places along the axis.
        if min(sizes) < 1:
            raise Reject("nothing to index")
        dims[axis % x.rank] = (g.int(1, min(sizes)),) * g.sets
        if any(len(set(d)) > 1 and d not in g.graph.symbols for d in dims):
            raise Reject("no such input")
        arrays = []
        for i in range(g.sets):
            shape = tuple(d[i] for d in dims)
            order = np.argsort(g.random.random(shape[:axis % x.rank] + (min(sizes),) + shape[axis % x.rank + 1:]), axis % x.rank)
            arrays.append(np.take(order, range(shape[axis % x.rank]), axis % x.rank).astype(np.int64))
        index = g.put("i64", arrays, False)
    else:
        index = indices(g, ("i32", "i64"), sizes, dims)
    updates = g.fresh(x.kind, dims)
    klass = Class(float(updates.data[0].size + 1), 2, inputs=(0, 2)) if how in ("add", "mul") else EXACT
    return emit(g, r, [x, index, updates], {"axis": axis if axis or g.chance(0.7) else None, "reduction": how}, klass=klass)


row("ScatterElements", "scatter", scatter_elements, ROUNDED, since=11)
row("Scatter", "scatter", scatter_elements, ROUNDED, since=9, until=10)


def scatter_nd(g, r):
    x = g.pick(ALL, rank=(1, 4), low=-30, high=30)
    how = reduction(g, r, x, "x")
    dims = [(g.int(1, 3),) * g.sets for _ in range(g.int(0, 2))]
    index, n = tuples(g, x, 0, dims, unique=how is None)
    updates = g.fresh(x.kind, dims + x.shape[n:])
    klass = Class(float(updates.data[0].size + 1), 2, inputs=(0, 2)) if how in ("add", "mul") else EXACT
    return emit(g, r, [x, index, updates], {"reduction": how}, klass=klass)


row("ScatterND", "scatter", scatter_nd, ROUNDED, since=11)


def tensor_scatter(g, r):
    b, s, n = g.int(1, 3), g.int(1, 6), g.int(1, 4)
    rank4 = g.chance(0.5)
    kind = g.kind(F + ("i32",))
    cache = g.pick(kind, (4, 4) if rank4 else (3, 3), test=lambda v: all(v.static(i) for i in range(v.rank)),
                   fresh=lambda: g.fresh(kind, [b, 2, s, n] if rank4 else [b, s, n]))
    dims = [cache.static(i) for i in range(cache.rank)]
    axis = cache.rank - 2
    length = dims[axis]
    update = g.int(1, length)
    mode = g.choice(["linear", "circular"])
    attrs = {"axis": g.maybe(0.5, -2), "mode": mode if mode == "circular" or g.chance(0.5) else None}
    updates = g.fresh(kind, dims[:axis] + [update] + dims[axis + 1:])
    most = length - 1 if mode == "circular" else length - update
    where_ = g.fresh("i64", [dims[0]], 0, most) if g.chance(0.8) else None
    return emit(g, r, [cache, updates, where_], attrs)


row("TensorScatter", "scatter", tensor_scatter, EXACT, since=24)


def top_k(g, r):
    x = g.pick(F32_F64 + ("f16", "i64", "i32", "u8", "i8"), rank=(1, 4), exact=g.chance(0.7))
    axis = g.axis(x, g.opset >= 11)
    k = g.int(0 if g.chance(0.1) else 1, min(x.shape[axis])) if min(x.shape[axis]) else 0
    attrs = {"axis": axis if axis != -1 or g.chance(0.5) else None}
    if g.opset < 10:
        return emit(g, r, [x], {**attrs, "k": k}, 2)
    if g.opset >= 11:
        attrs["largest"] = g.maybe(0.6, g.int(0, 1))
    return emit(g, r, [x, g.ints([k], how=None if g.chance(0.4) else "init")], attrs, 2)


row("TopK", "sort", top_k, EXACT)


def arg_reduce(g, r):
    x = g.pick(F32_F64 + ("f16", "i32", "i8", "u8", "i64"), rank=(1, 5), test=lambda v: all(a.size for a in v.data))
    attrs = {"axis": g.maybe(0.9, g.axis(x, g.opset >= 11)), "keepdims": g.maybe(0.6, g.int(0, 1))}
    if g.opset >= 12:
        attrs["select_last_index"] = g.maybe(0.4, g.int(0, 1))
    return emit(g, r, [x], attrs)


rows("ArgMax ArgMin", "sort", arg_reduce, EXACT)


def one_hot(g, r):
    depth = g.int(1, 9)
    wanted = g.want is not None and g.want.kind == "i32" and g.want.within(-16, 16)
    if wanted or g.chance(0.2):  # ONNX Runtime has these with float results only
        depth = 16 if wanted else depth
        index = g.pick("i32", (1, 4), low=-depth, high=depth, fresh=lambda: g.fresh("i32", g.dims(g.int(1, 4)), -depth, depth))
        return emit(g, r, [index, g.const("i32", [depth]), g.given("f32", [[1, 3]] * g.sets)], {"axis": g.int(-index.rank - 1, index.rank)})
    whole = g.chance(0.3)
    index = g.pick("f32" if whole else "i64", (0, 3), low=-depth, high=depth, p=0.8, exact=whole,
                   test=lambda v: not whole or all((a == np.round(a)).all() for a in v.data),
                   fresh=lambda: g.fresh("i64", g.dims(g.int(0, 2)), -depth - 1, depth))
    kind = g.result(["f32", "i64", "i32", "u8", "f64"])
    values = g.const(kind, [0, g.int(1, 5)]) if g.chance(0.7) else g.given(kind, [[1, 3]] * g.sets)
    return emit(g, r, [index, g.ints(depth) if g.chance(0.6) else g.ints([depth]), values], {"axis": g.maybe(0.6, g.int(-index.rank - 1, index.rank))},
                types=[kind])


row("OneHot", "generate", one_hot, EXACT, since=9)


def eye_like(g, r):
    x = g.pick(F + ("i32", "i64", "u64"), rank=(2, 2))  # those that ONNX Runtime has
    to = g.maybe(0.6, g.result(["f32", "f64", "i64", "i32", "u64"]))
    return emit(g, r, [x], {"k": g.maybe(0.6, g.int(-3, 3)), "dtype": TYPES[to][1] if to else None}, types=[to or x.kind])


row("EyeLike", "generate", eye_like, EXACT, since=9)


def trilu(g, r):
    x = g.pick(ALL, rank=(2, 5))
    k = g.ints(g.int(-4, 4)) if g.chance(0.6) else None
    return emit(g, r, [x, k], {"upper": g.maybe(0.6, g.int(0, 1))})


row("Trilu", "move", trilu, EXACT, since=14)


def range_(g, r):
    kind = g.result(["i64", "i32", "i16", "f32", "f64"])
    step = g.choice([1, 2, 3, -1, -2] + ([0.5, 0.25] if kind in FLOATS else []))
    start = g.int(-5, 5)
    limit = start + g.int(-1 if g.chance(0.1) else 1, 20) * (1 if step > 0 else -1)
    how = lambda x: g.const(kind, x) if g.chance(0.7) else g.given(kind, [x] * g.sets)
    if kind == "i64" and g.chance(0.5):
        found = g.pick("i64", (0, 0), 0, 40, exact=True, fresh=lambda: g.const(kind, limit))
        return emit(g, r, [g.const(kind, 0), found, g.const(kind, 1)])
    return emit(g, r, [how(start), how(limit), how(step)])


row("Range", "generate", range_, EXACT, since=11)


def cumulate(g, r):
    low, high = (-2, 2) if r.op == "CumProd" else (None, None)
    x = g.pick(F32_F64 + ("i32", "i64"), (1, 5), low, high)
    axis = g.ints(g.axis(x), how=None if g.chance(0.3) else "init", kind=g.choice(["i64", "i64", "i32"]))
    return emit(g, r, [x, axis], {"exclusive": g.maybe(0.5, g.int(0, 1)), "reverse": g.maybe(0.5, g.int(0, 1))})


row("CumSum", "scan", cumulate, SUM, since=11)
row("CumProd", "scan", cumulate, SUM, since=26)


def reverse_sequence(g, r):
    x = g.pick(ALL, rank=(2, 4), test=lambda v: v.shape[0] in g.graph.symbols or len(set(v.shape[0])) == 1)
    time = g.int(0, 1)
    if min(x.shape[time]) < 1 or len(set(x.shape[1 - time])) > 1 and x.shape[1 - time] not in g.graph.symbols:
        raise Reject("no time")
    lengths = g.fresh("i64", [x.shape[1 - time]], 1, min(x.shape[time]))
    return emit(g, r, [x, lengths], {"time_axis": time, "batch_axis": 1 - time})


row("ReverseSequence", "index", reverse_sequence, EXACT, since=10)


def non_zero(g, r):
    return emit(g, r, [g.pick(("f32", "i32", "i64", "u8", "bool"), rank=(1, 4), exact=True)])


row("NonZero", "dynamic", non_zero, EXACT, since=9)


def compress(g, r):
    x = g.pick(ALL, rank=(1, 4))
    axis = g.maybe(0.7, g.axis(x, g.opset >= 11))
    sizes = x.shape[axis] if axis is not None else tuple(a.size for a in x.data)
    if min(sizes) == 0:
        raise Reject("nothing to choose")
    condition = g.pick("bool", (1, 1), exact=True, test=lambda v: all(a <= b for a, b in zip(v.shape[0], sizes)),
                       fresh=lambda: g.fresh("bool", [g.int(1, min(sizes))]))
    return emit(g, r, [x, condition], {"axis": axis})


row("Compress", "dynamic", compress, EXACT, since=9)


def unique(g, r):
    x = g.pick(("f32", "f64", "i8", "i64"), rank=(0, 3), exact=True, test=lambda v: all(0 < a.size < 400 for a in v.data),
               fresh=lambda: g.fresh(g.choice(["f32", "i64", "i8", "f64"]), [g.int(1, 6) for _ in range(g.int(1, 3))], -2, 2))
    axis = g.maybe(0.5, g.axis(x)) if x.rank else None
    return emit(g, r, [x], {"axis": axis, "sorted": g.maybe(0.5, g.int(0, 1))}, [True] + [g.chance(0.6) for _ in range(3)])


row("Unique", "dynamic", unique, EXACT, since=11)


def non_max_suppression(g, r):
    b, n, c = g.int(1, 2), g.size(17), g.int(1, 3)
    boxes = g.fresh("f32", [b, n, 4], 0, 4)
    scores = g.fresh("f32", [b, c, n], 0, 1)
    inputs = [boxes, scores, g.ints([g.int(1, 5)], "init"), g.const("f32", [g.choice([0.3, 0.5, 0.9])]) if g.chance(0.8) else None,
              g.const("f32", [g.choice([0.1, 0.6])]) if g.chance(0.6) else None]
    return emit(g, r, inputs, {"center_point_box": g.maybe(0.5, g.int(0, 1))}, klass=Class(1, 0, inputs=(0, 1)))


row("NonMaxSuppression", "dynamic", non_max_suppression, EXACT, since=10)


def hardmax(g, r):
    x = g.pick(F32_F64, (1, 5), exact=True)  # where rounded values tie, either is the largest
    return emit(g, r, [x], {"axis": g.maybe(0.8, g.axis(x, g.opset >= 11))})


row("Hardmax", "sort", hardmax, EXACT)


def array_feature_extractor(g, r):
    x = g.pick(("f32", "f64", "i32", "i64"), rank=(1, 3))
    sizes = x.shape[-1]
    return emit(g, r, [x, indices(g, ("i64",), sizes, [g.int(1, 5)], signed=False)], types=[x.kind])


row("ArrayFeatureExtractor", "index", array_feature_extractor, EXACT, domain="ai.onnx.ml")


def tf_idf(g, r):
    x = g.pick(("i32", "i64"), rank=(1, 2), low=0, high=9, fresh=lambda: g.fresh(g.choice(["i32", "i64"]), g.dims(g.int(1, 2), False), 0, 6))
    attrs = {"mode": g.choice(["TF", "IDF", "TFIDF"]), "min_gram_length": g.int(1, 2), "max_gram_length": 2, "max_skip_count": g.int(0, 2),
             "ngram_counts": [0, 3], "ngram_indexes": [int(i) for i in g.random.permutation(6)], "pool_int64s": [2, 3, 5, 5, 4, 3, 2, 6, 1],
             "weights": g.maybe(0.5, [0.5, 1.0, 2.0, 0.25, 1.5, 3.0])}
    return emit(g, r, [x], attrs, types=["f32"])


row("TfIdfVectorizer", "index", tf_idf, ROUNDED, since=9)

# --- reductions, normalisations, losses ---


def reduces_exactly(x, r):
    """Whether sums and products over all of x, in any order, are integers of its type and of float64."""
    limit = min(2.0**53, float(np.iinfo(TYPES[x.kind][0]).max))
    for array in x.all_arrays():
        size = np.abs(array.astype(np.float64))
        if r.op == "ReduceProd":
            most = np.prod(np.maximum(size, 1.0))
        else:
            most = (size * size if r.op in ("ReduceSumSquare", "ReduceL2") else size).sum()
        if r.op not in ("ReduceMax", "ReduceMin") and most > limit:
            return False
    return True


def reduce(g, r):
    x = g.pick(r.types, r.rank or (0, 5), r.low, r.high)
    if x.kind not in FLOATS and not reduces_exactly(x, r):
        raise Reject("integers out of range")
    inputs, attrs = [x], {"keepdims": g.maybe(0.7, g.int(0, 1))}
    since = 13 if r.op == "ReduceSum" else 18
    if g.chance(0.85) and x.rank:
        axes = [int(a) for a in g.random.choice(x.rank, g.int(1, x.rank), replace=False)]
        axes = [a - x.rank if g.opset >= 11 and g.chance(0.4) else a for a in axes]
        g.axes(inputs, attrs, axes, since)
    elif g.opset >= since and g.chance(0.3):
        attrs["noop_with_empty_axes"] = 1
    if any(a.size == 0 for a in x.data):
        raise Reject("a reduction of nothing")
    klass = r.klass if x.kind in FLOATS else EXACT
    return emit(g, r, inputs, attrs, klass=klass)


SUMS = ("f32", "f64", "f16", "bf16", "i32", "i64")
rows("ReduceSum ReduceMean", "reduce", reduce, SUM, types=SUMS)
rows("ReduceProd", "reduce", reduce, SUM, types=("f32", "i32", "i64", "f64"), low=-2, high=2)
rows("ReduceMax ReduceMin", "reduce", reduce, EXACT, types=("f32", "f64", "f16", "i32", "i64", "i8", "u8"))
rows("ReduceL1 ReduceSumSquare", "reduce", reduce, SUM, types=SUMS)
rows("ReduceL2", "reduce", reduce, SUM, types=("f32", "f64", "f16", "i32"))
rows("ReduceLogSum", "reduce", reduce, SUM, types=("f32", "f64", "f16"), low=0.01, high=1e4)
rows("ReduceLogSumExp", "reduce", reduce, Class(4, 16, terms=reduced), types=("f32", "f64", "f16"), low=-60, high=60)


def softmax(g, r):
    x = g.pick(F, (1, 5))
    return emit(g, r, [x], {"axis": g.maybe(0.8, g.axis(x, g.opset >= 11))})


rows("Softmax", "softmax", softmax, Class(4, 16, terms=reduced))
rows("LogSoftmax", "softmax", softmax, Class(4, 16, terms=reduced, ones=lost))


def loss(g, r):
    x = g.pick(F32_F64, (2, 4), test=lambda v: v.static(1) and all(v.static(i) or v.shape[i] in g.graph.symbols for i in range(v.rank)))
    classes = x.static(1)
    if any(a.size == 0 for a in x.data):
        raise Reject("a loss of nothing")
    target = g.fresh(g.choice(["i32", "i64"]), [x.shape[0]] + x.shape[2:], 0, classes - 1)
    weights = g.fresh(x.kind, [classes], 0.1, 2) if g.chance(0.4) else None
    attrs = {"reduction": g.maybe(0.7, g.choice(["none", "sum", "mean"])), "ignore_index": g.maybe(0.4, g.int(0, classes - 1))}
    outputs = [True, g.chance(0.4)] if r.op == "SoftmaxCrossEntropyLoss" else 1
    return emit(g, r, [x, target, weights], attrs, outputs)


row("NegativeLogLikelihoodLoss", "loss", loss, Class(4, 16, inputs=(0, 2), terms=reduced), since=12)
row("SoftmaxCrossEntropyLoss", "loss", loss, Class(4, 16, inputs=(0, 2), terms=reduced, ones=lost), since=12)


def channels(g, rank=(2, 5), kinds=F):
    """A value whose axis 1 is static."""
    def make():
        dims = g.dims(g.int(*rank))
        dims[1] = (g.size(9) or 1,) * g.sets
        return g.fresh(g.kind(kinds), dims)
    return g.pick(kinds, rank, -1e4, 1e4, lambda v: bool(v.static(1)), make)


def batch_norm(g, r):
    x = channels(g, (2, 5), F32_F64 + ("f16",))
    c = x.static(1)
    vectors = [g.fresh(x.kind, [c], const=0.8) for _ in range(3)] + [g.fresh(x.kind, [c], 0.1, 2, const=0.8)]
    return emit(g, r, [x] + vectors, {"epsilon": g.maybe(0.5, g.choice([1e-3, 1e-2]))}, klass=Class(4, 16, inputs=(0, 1, 2, 3, 4)))


row("BatchNormalization", "norm", batch_norm, NORM, since=9)


def instance_norm(g, r):
    x = channels(g, (3, 5), ("f32", "f64"))
    c = x.static(1)
    return emit(g, r, [x, g.fresh(x.kind, [c], const=0.8), g.fresh(x.kind, [c], const=0.8)], {"epsilon": g.maybe(0.5, 1e-2)})


row("InstanceNormalization", "norm", instance_norm, INSTANCES, since=6)


def group_norm(g, r):
    x = channels(g, (2, 5), F)
    c = x.static(1)
    groups = g.choice([n for n in range(1, c + 1) if c % n == 0])
    size = c if g.opset >= 21 else groups
    return emit(g, r, [x, g.fresh(x.kind, [size]), g.fresh(x.kind, [size])], {"num_groups": groups, "epsilon": g.maybe(0.5, 1e-2)})


row("GroupNormalization", "norm", group_norm, NORM, since=18)


def layer_norm(g, r):
    x = g.pick(r.types, (1, 5), -1e4, 1e4)
    axis = g.axis(x)
    inner = x.shape[axis % x.rank:]
    if any(len(set(d)) > 1 and d not in g.graph.symbols for d in inner):
        raise Reject("no such weights")
    attrs = {"axis": axis if axis != -1 or g.chance(0.5) else None, "epsilon": g.maybe(0.5, g.choice([1e-3, 1e-2]))}
    inputs = [x, g.fresh(x.kind, inner, const=0.6)]
    outputs = 1
    if r.op == "LayerNormalization":
        inputs.append(g.fresh(x.kind, inner, const=0.6) if g.chance(0.6) else None)
        outputs = [True, g.chance(0.2), g.chance(0.2)]
    return emit(g, r, inputs, attrs, outputs)


row("LayerNormalization", "norm", layer_norm, NORM, types=F, since=17)
row("RMSNormalization", "norm", layer_norm, NORM, types=F, since=23)


def simplified_norm(g, r):
    x = g.pick(("f32", "f64", "f16"), (1, 4), -1e4, 1e4, test=lambda v: bool(v.static(v.rank - 1)))
    return emit(g, r, [x, g.fresh(x.kind, [x.static(x.rank - 1)])], {"axis": -1, "epsilon": g.maybe(0.5, 1e-3)}, types=[x.kind])


row("SimplifiedLayerNormalization", "norm", simplified_norm, NORM)


def mean_variance(g, r):
    x = g.pick(("f32",), (2, 5), -1e4, 1e4)
    axes = sorted(int(a) for a in g.random.choice(x.rank, g.int(1, x.rank), replace=False)) if g.chance(0.6) or x.rank != 4 else None
    for a in x.data:
        wide, over = a.astype(np.float64), tuple(axes or (0, 2, 3))
        if a.size and (np.var(wide, axis=over) <= np.maximum(2.0 ** -20 * np.mean(wide * wide, axis=over), 1e-4)).any():
            raise Reject("a variance of 0, or one that E[x^2] - E[x]^2 is not, or whose root 1e-9 is not nothing beside")
    return emit(g, r, [x], {"axes": axes})


row("MeanVarianceNormalization", "norm", mean_variance, NORM, since=9)


def lp_norm(g, r):
    x = g.pick(("f32", "f64", "f16"), (1, 5), -1e4, 1e4)
    return emit(g, r, [x], {"axis": g.maybe(0.8, g.axis(x)), "p": g.maybe(0.7, g.int(1, 2))})


row("LpNormalization", "norm", lp_norm, NORM)


def lrn(g, r):
    x = channels(g, (4, 4), ("f32", "f64", "f16"))
    if not x.within(-8, 8):
        raise Reject("large")
    return emit(g, r, [x], {"size": g.choice([1, 3, 5]), "alpha": g.maybe(0.5, 0.5), "beta": g.maybe(0.5, 0.5), "bias": g.maybe(0.5, 2.0)})


row("LRN", "norm", lrn, NORM)

# --- products, convolutions, pools ---
MULTIPLIED = ("f32", "f64", "f16", "bf16")


def other_factor(g, x, k_axis, kinds=None, low=None, high=None):
    """A right operand for x: [batch.., K, N]; K is x's last axis."""
    k = x.shape[k_axis]
    kind = x.kind if kinds is None else g.choice(kinds)
    if len(set(k)) > 1 and k not in g.graph.symbols:
        raise Reject("no such factor")
    n = g.dim(67)
    batch = []
    if x.rank > 2 and g.chance(0.5):
        batch = [d if (len(set(d)) == 1 or d in g.graph.symbols) and g.chance(0.7) else (1,) * g.sets for d in x.shape[:-2]]
        batch = batch[g.int(0, len(batch)):]
    elif x.rank <= 2 and g.chance(0.15):
        batch = [g.dim(3)]
    dims = batch + [k] if g.chance(0.1) and not batch else batch + [k, n]

    def fit(v):
        if v.rank == 1:
            return v.shape[0] == k
        pairs = zip(v.shape[:-2][::-1], x.shape[:-2][::-1])
        return v.shape[-2] == k and all(a == b or set(a) == {1} or set(b) == {1} for a, b in pairs)

    return g.pick(kind, (1, 5), low, high, test=fit, fresh=lambda: g.fresh(kind, dims, low, high, const=0.6), p=0.35)


def matmul(g, r):
    x = g.pick(MULTIPLIED + ("i32", "i64", "u32", "u64"), (1, 5), -1e4, 1e4)
    y = other_factor(g, x, x.rank - 1)
    return emit(g, r, [x, y])


row("MatMul", "product", matmul, PRODUCT)


def gemm(g, r):
    x = g.pick(("f32", "f64", "f16", "bf16"), (2, 2), -1e4, 1e4)
    trans_a, trans_b = g.chance(0.4), g.chance(0.4)
    m, k = x.shape[::-1] if trans_a else x.shape
    if len(set(k)) > 1 and k not in g.graph.symbols or 0 in k:
        raise Reject("no such factor")
    n = g.dim(67)
    y = g.fresh(x.kind, [n, k] if trans_b else [k, n], const=0.6)
    inputs = [x, y]
    if g.chance(0.7):
        choices = [[], [n], [1], [1, n]] + ([[m, n], [m, 1]] if len(set(m)) == 1 or m in g.graph.symbols else [])
        inputs.append(g.fresh(x.kind, g.choice(choices), const=0.6))
    elif g.opset < 11:
        inputs.append(g.fresh(x.kind, [n]))
    attrs = {"transA": int(trans_a) if trans_a or g.chance(0.3) else None, "transB": int(trans_b) if trans_b or g.chance(0.3) else None,
             "alpha": g.maybe(0.5, g.number()), "beta": g.maybe(0.5, g.number())}
    if r.op == "FusedGemm":
        attrs["activation"] = g.choice(["Relu", "LeakyRelu", "Sigmoid", "Tanh"])
        attrs["activation_alpha"] = 0.125 if attrs["activation"] == "LeakyRelu" else None
    # ONNX Runtime's sigmoid in float32 is 1/2 plus a quotient of polynomials, each of which is rounded a few times.
    return emit(g, r, inputs, attrs, types=[x.kind],
                klass=Class(4, 12, inputs=(0, 1, 2), terms=contracted, ones=4 if attrs.get("activation") == "Sigmoid" else 0))


row("Gemm", "product", gemm, PRODUCT, since=7)


def einsum(g, r):
    x = g.pick(("f32", "f64", "i32", "i64"), (1, 4), -1e4, 1e4)
    letters = "abcdefgh"
    if any(a.size == 0 for a in x.data):
        raise Reject("no terms")
    left = [letters[i] for i in range(x.rank)]
    form = g.choice(["one", "two", "two", "two"])
    if form == "one":
        if x.rank >= 2 and x.shape[0] == x.shape[1] and g.chance(0.5):
            left[1] = "a"
        names = sorted(set(left))
        out = [c for c in names if g.chance(0.7)]
        g.random.shuffle(out)
        text = "".join(left) + "->" + "".join(out)
        inputs = [x]
    else:
        shared = [i for i, d in enumerate(x.shape) if (len(set(d)) == 1 or d in g.graph.symbols) and g.chance(0.6)]
        right = [left[i] for i in shared]
        dims = [x.shape[i] for i in shared]
        for _ in range(g.int(0, 2)):
            if len(dims) < 4:
                at = g.int(0, len(right))
                right.insert(at, letters[4 + len([c for c in right if c >= "e"])])
                dims.insert(at, g.dim(7))
        if any(0 in d for d in dims):
            raise Reject("no terms")
        names = sorted(set(left + right))
        out = [c for c in names if g.chance(0.65)]
        g.random.shuffle(out)
        inputs = [x, g.fresh(x.kind, dims)]
        text = "".join(left) + "," + "".join(right) + ("->" + "".join(out) if g.chance(0.85) else "")
        if g.chance(0.2):
            text = text.replace(",", " , ").replace("->", " -> ")
    return emit(g, r, inputs, {"equation": text}, klass=Class(0, 4, inputs=(0, 1), terms=lambda a, n: float(a[0].size * (a[-1].size if len(a) > 1 else 1))))


row("Einsum", "product", einsum, PRODUCT, since=12)


def det(g, r):
    n = g.int(1, 4)
    x = g.pick(("f32", "f64"), (2, 4), -100, 100, test=lambda v: v.static(v.rank - 1) and v.shape[-1] == v.shape[-2] and v.static(v.rank - 1) <= 5,
               fresh=lambda: g.fresh(g.kind(("f32", "f64")), g.dims(g.int(0, 2))[:2] + [n, n]))
    return emit(g, r, [x])


row("Det", "product", det, Class(64, 64), since=11)


def window_attrs(g, x, spatial, kernel, pool=False):
    """strides, dilations, pads; the window fits into what is padded."""
    attrs = {}
    if g.chance(0.5):
        attrs["strides"] = [g.choice([1, 2, 3]) for _ in range(spatial)]
    dilations = [1] * spatial
    if g.chance(0.3) and (not pool or g.opset >= 19 or pool == "max" and g.opset >= 10):
        dilations = attrs["dilations"] = [g.choice([1, 2]) for _ in range(spatial)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    least = [min(x.shape[2 + i]) for i in range(spatial)]
    if g.chance(0.25) and all(d == 1 for d in dilations) and all(least):
        attrs["auto_pad"] = g.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
        if attrs["auto_pad"] == "VALID" and any(r > s for r, s in zip(reach, least)):
            raise Reject("the window does not fit")
        return attrs
    pads = [0] * (2 * spatial)
    if g.chance(0.6):
        pads = [g.int(0, min(2, kernel[i % spatial] - 1)) for i in range(2 * spatial)]
        attrs["pads"] = pads
    if any(reach[i] > least[i] + pads[i] + pads[i + spatial] for i in range(spatial)):
        raise Reject("the window does not fit")
    return attrs


def picture(g, kinds, rank=(3, 5), channel=None):
    def make():
        rank_ = g.choice([n for n in (3, 4, 4, 4, 5) if rank[0] <= n <= rank[1]])
        spatial = {3: 33, 4: 13, 5: 5}[rank_]
        dims = [g.choice([g.dim(3), (1,) * g.sets]), (channel or g.choice([1, 2, 3, 4, 6, 8, 16]),) * g.sets]
        for _ in range(rank_ - 2):
            dims.append(g.dim(spatial))
        if any(0 in d for d in dims[2:]):
            raise Reject("an empty picture")
        return g.fresh(g.kind(kinds), dims)
    def fit(v):
        return bool(v.static(1)) and channel in (None, v.static(1)) and not any(0 in d for d in v.shape[2:])

    return g.pick(kinds, rank, -1e4, 1e4, fit, make)


def conv(g, r):
    x = picture(g, ("f32", "f32", "f16", "bf16", "f64"))
    c, spatial = x.static(1), x.rank - 2
    group = g.choice([1, 1, 1, c] + [n for n in range(2, c) if c % n == 0])
    kernel = [g.choice([1, 2, 3, 3, 5]) for _ in range(spatial)]
    kernel = [min(k, min(x.shape[2 + i]) + 2) or 1 for i, k in enumerate(kernel)]
    attrs = {"group": group if group > 1 or g.chance(0.3) else None}
    m = group * g.choice([1, 1, 2, 3, 5] if group > 1 else [1, 2, 3, 5, 8, 16, 17])
    if r.op == "ConvTranspose":
        kernel = [g.choice([1, 2, 3]) for _ in range(spatial)]
        strides = [g.choice([1, 1, 2, 3]) for _ in range(spatial)]
        attrs["strides"] = strides if any(s > 1 for s in strides) or g.chance(0.3) else None
        dilations = [g.choice([1, 1, 2]) for _ in range(spatial)]
        attrs["dilations"] = dilations if any(d > 1 for d in dilations) else None
        if g.chance(0.4):
            attrs["pads"] = [g.int(0, max(0, min(1, (kernel[i % spatial] - 1)))) for i in range(2 * spatial)]
        elif g.chance(0.2) and all((k - 1) * d + 1 >= s for k, d, s in zip(kernel, dilations, strides)):
            attrs["auto_pad"] = g.choice(["SAME_UPPER", "SAME_LOWER"])
        if g.chance(0.3) and any(s > 1 for s in strides):
            attrs["output_padding"] = [g.int(0, s - 1) for s in strides]
        per = m // group
        weights = g.fresh(x.kind, [c, per] + kernel, const=0.7)
        m = per * group
    else:
        attrs.update(window_attrs(g, x, spatial, kernel))
        weights = g.fresh(x.kind, [m, c // group] + kernel, const=0.7)
    attrs["kernel_shape"] = g.maybe(0.7, kernel)
    bias = g.fresh(x.kind, [m], const=0.7) if g.chance(0.6) else None
    return emit(g, r, [x, weights, bias], attrs, klass=Class(2, 4, inputs=(0, 1, 2), terms=contracted))


row("Conv", "conv", conv, PRODUCT)
row("ConvTranspose", "conv", conv, PRODUCT)


def deform_conv(g, r):
    x = picture(g, ("f32", "f64"), (4, 4))
    c = x.static(1)
    h, w = x.static(2), x.static(3)
    n = x.static(0)
    if not c or not h or not w or not n or h < 3 or w < 3:  # symbolic channels are refused by name
        raise Reject("sizes")
    kernel = [g.int(1, 3), g.int(1, 3)]
    pads = [g.int(0, 1) for _ in range(4)]
    strides = [g.int(1, 2), g.int(1, 2)]
    out = [(s + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, s in enumerate((h, w))]
    groups = g.choice([d for d in range(1, c + 1) if c % d == 0])
    mask = g.fresh(x.kind, [n, groups * kernel[0] * kernel[1]] + out, 0, 1) if g.chance(0.5) else None
    m = g.int(1, 4)
    inputs = [x, g.fresh(x.kind, [m, c] + kernel), g.fresh(x.kind, [n, groups * kernel[0] * kernel[1] * 2] + out, -1, 1),
              g.fresh(x.kind, [m]) if g.chance(0.5) else None, mask]
    return emit(g, r, inputs, {"kernel_shape": kernel, "pads": pads, "strides": strides, "offset_group": groups},
                klass=Class(8, 8, inputs=(0, 1, 2, 4), terms=contracted))


row("DeformConv", "conv", deform_conv, PRODUCT, since=19)


def pool(g, r):
    maximum = r.op == "MaxPool"
    kinds = ("f32", "f64", "f16") + (("i8", "u8") if maximum and g.opset >= 12 else ())
    x = picture(g, kinds)
    spatial = x.rank - 2
    kernel = [g.choice([1, 2, 3]) for _ in range(spatial)]
    attrs = {"kernel_shape": kernel}
    attrs.update(window_attrs(g, x, spatial, kernel, "max" if maximum else r.op == "AveragePool" or r.op == "LpPool" and g.opset >= 18))
    if attrs.get("auto_pad", "VALID") != "VALID" and any(k < s for k, s in zip(kernel, attrs.get("strides", kernel))):
        raise Reject("negative padding")
    if r.op != "LpPool" and g.opset >= 10 or r.op == "LpPool" and g.opset >= 18:
        attrs["ceil_mode"] = g.maybe(0.4, g.int(0, 1)) if "auto_pad" not in attrs else None
    outputs = 1
    if r.op == "AveragePool":
        attrs["count_include_pad"] = g.maybe(0.5, g.int(0, 1))
    elif r.op == "LpPool":
        attrs["p"] = g.maybe(0.6, g.int(1, 3))
    elif maximum and g.chance(0.3):
        outputs = 2
    klass = r.klass if x.kind in FLOATS else EXACT
    return emit(g, r, [x], attrs, outputs, klass=klass)


row("MaxPool", "pool", pool, EXACT, since=8)
row("AveragePool", "pool", pool, Class(32, 4), since=7)
row("LpPool", "pool", pool, Class(32, 16), since=11)


def global_pool(g, r):
    x = picture(g, ("f32", "f64", "f16"))
    return emit(g, r, [x], {"p": g.int(1, 3)} if r.op == "GlobalLpPool" else {})


row("GlobalAveragePool", "pool", global_pool, SUM)
row("GlobalMaxPool", "pool", global_pool, EXACT)
row("GlobalLpPool", "pool", global_pool, Class(4, 16, terms=reduced), since=2)


def max_unpool(g, r):
    x = picture(g, ("f32",), (3, 4))
    kernel = [g.int(1, 2) for _ in range(x.rank - 2)]
    kernel = [min(k, min(x.shape[2 + i])) or 1 for i, k in enumerate(kernel)]
    if any(min(d) < 2 for d in x.shape[2:]):
        raise Reject("too small")
    y, index = g.emit("MaxPool", [x], {"kernel_shape": kernel, "strides": kernel}, 2, kind="pool")
    return emit(g, r, [y, index], {"kernel_shape": kernel, "strides": kernel})


row("MaxUnpool", "pool", max_unpool, EXACT, since=9)

# --- pictures ---


def resize(g, r):
    upsample = r.op == "Upsample"
    aimed = g.firmly(("i32", "u8", "i8"))
    mode = "nearest" if aimed else g.choice(["nearest", "linear"] + ([] if upsample or g.opset < 11 else ["cubic"]))
    rank = (4, 4) if mode == "cubic" else (2, 5) if mode == "nearest" else (2, 4)
    # Integers truncate sums that are whole numbers but for rounding, so they are for `nearest` alone.
    kinds = (aimed,) if aimed else ("f32",) if mode != "nearest" or g.chance(0.6) else ("f32", "i32", "u8", "i8")
    flat = 0 if not upsample and g.opset >= 11 and g.chance(0.15) else 2  # the first axis that is resized: a matrix is a picture
    if flat == 0:
        x = g.pick(kinds, (2, 2), -1e4, 1e4, lambda v: all(a.size for a in v.data), lambda: g.fresh(g.kind(kinds), [g.dim(31), g.dim(31)]))
        if any(a.size == 0 for a in x.data):
            raise Reject("an empty picture")
    else:
        x = picture(g, kinds, (max(3, rank[0]), rank[1]))
    attrs = {"mode": mode if mode != "nearest" or g.chance(0.6) else None}
    by_sizes = g.opset >= 11 and g.chance(0.4) and not upsample
    scales = [1.0] * flat + [g.choice([1.0, 2.0, 0.5, 1.5, 3.0, 0.75]) for _ in range(x.rank - flat)]
    if upsample:
        scales = [max(1.0, float(round(s))) for s in scales]
    if x.rank == 5 and mode == "linear":
        raise Reject("rank")
    if g.opset < 11:
        if g.opset == 7 or upsample and g.opset < 9:
            return emit(g, r, [x], {**attrs, "scales": scales}, klass=RESIZED)
        return emit(g, r, [x, g.const("f32", scales)], attrs, klass=RESIZED if mode != "nearest" else EXACT)
    places = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"] + (["half_pixel_symmetric"] if g.opset >= 19 else [])
    attrs["coordinate_transformation_mode"] = g.maybe(0.8, g.choice(places))
    if mode == "nearest":
        attrs["nearest_mode"] = g.maybe(0.8, g.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    if mode == "cubic":
        attrs["cubic_coeff_a"] = g.maybe(0.5, -0.5)
        attrs["exclude_outside"] = g.maybe(0.4, g.int(0, 1))
    if g.opset >= 18 and mode != "nearest" and g.chance(0.3):
        attrs["antialias"] = 1
    # Where extent times scale is no whole number, the standard's own cases align the corners of that length, ONNX Runtime those of the
    # whole one.
    if attrs["coordinate_transformation_mode"] == "align_corners" and not by_sizes:
        if any(n * s % 1 for sizes, s in zip(x.shape, scales) for n in sizes):
            raise Reject("align_corners of a fractional length")
    inputs = [x, None, None, None]
    if by_sizes:
        to = [g.int(1, 9) for _ in range(x.rank - flat)]
        sizes = [[d[i] for d in x.shape[:flat]] + to for i in range(g.sets)]
        inputs[3] = g.ints(sizes)
        if g.opset < 13:
            inputs[1], inputs[2] = g.const("f32", []), g.const("f32", [])
    else:
        inputs[2] = g.const("f32", scales)
        if g.opset < 13:
            inputs[1] = g.const("f32", [])
    return emit(g, r, inputs, attrs, klass=RESIZED)


row("Resize", "image", resize, SAMPLED, since=10)
row("Upsample", "image", resize, SAMPLED, since=7, until=9)


def grid_sample(g, r):
    rank = g.choice([4, 4, 5]) if g.opset >= 20 else 4
    x = picture(g, ("f32", "f64"), (rank, rank))
    if len(set(x.shape[0])) > 1 and x.shape[0] not in g.graph.symbols or any(0 in d for d in x.shape):
        raise Reject("batch")
    grid = g.fresh(x.kind, [x.shape[0]] + [g.int(1, 5) for _ in range(rank - 2)] + [rank - 2], -1.2, 1.2)
    modes = ["linear", "nearest", "cubic"] if g.opset >= 20 else ["bilinear", "nearest", "bicubic"]
    mode = g.choice(modes if rank == 4 else modes[:2])
    attrs = {"mode": g.maybe(0.9, mode) if "linear" in mode else mode, "padding_mode": g.maybe(0.7, g.choice(["zeros", "border", "reflection"])),
             "align_corners": g.maybe(0.6, g.int(0, 1))}
    return emit(g, r, [x, grid], attrs)


row("GridSample", "image", grid_sample, SAMPLED, since=16)


def affine_grid(g, r):
    spatial = g.choice([2, 2, 3])
    n = g.int(1, 3)
    theta = g.pick(("f32", "f64"), (3, 3), test=lambda v: v.static(0) and v.static(1) in (2, 3) and v.static(2) == v.static(1) + 1,
                   fresh=lambda: g.fresh(g.kind(F32_F64), [n, spatial, spatial + 1]))
    spatial = theta.static(1)
    size = [theta.static(0), g.int(1, 3)] + [g.int(1, 6) for _ in range(spatial)]
    corners = g.maybe(0.6, g.int(0, 1)) if 1 not in size[2:] else 0
    return emit(g, r, [theta, g.ints(size, "init")], {"align_corners": corners}, klass=Class(8, 16))


row("AffineGrid", "image", affine_grid, SAMPLED, since=20)


def roi_align(g, r):
    x = picture(g, ("f32", "f64"), (4, 4))
    if any(0 in d for d in x.shape):
        raise Reject("empty")
    n = g.int(1, 4)
    corner = g.array(x.kind, (n, 2), 0, 3)
    rois = np.concatenate([corner, corner + g.array(x.kind, (n, 2), 0.5, 6)], 1)
    attrs = {"output_height": g.maybe(0.8, g.int(1, 3)), "output_width": g.maybe(0.8, g.int(1, 3)), "sampling_ratio": g.int(0, 3),
             "spatial_scale": g.maybe(0.6, g.choice([0.5, 1.0, 0.25])), "mode": g.maybe(0.6, g.choice(["avg", "max"]))}
    if g.opset >= 16:
        attrs["coordinate_transformation_mode"] = g.maybe(0.6, g.choice(["half_pixel", "output_half_pixel"]))
    return emit(g, r, [x, g.put(x.kind, [rois] * g.sets, g.chance(0.5)), g.fresh("i64", [n], 0, min(x.shape[0]) - 1)], attrs,
                klass=Class(16, 16, inputs=(0, 1), terms=lambda a, n: 16.0))


row("RoiAlign", "image", roi_align, SAMPLED, since=10)


def max_roi_pool(g, r):
    x = picture(g, ("f32",), (4, 4))
    if any(0 in d for d in x.shape):
        raise Reject("empty")
    n = g.int(1, 4)
    # Numbers whose products with the scale are exact, so that halves are.
    corners = np.round(g.array("f32", (n, 4), -3, 14) * 2) / 2
    rois = np.concatenate([g.array("i32", (n, 1), 0, min(x.shape[0]) - 1), corners], 1).astype(np.float32)
    attrs = {"pooled_shape": [g.int(1, 4), g.int(1, 4)], "spatial_scale": g.maybe(0.6, g.choice([0.5, 1.0, 0.25]))}
    return emit(g, r, [x, g.put("f32", [rois] * g.sets, g.chance(0.5))], attrs)


row("MaxRoiPool", "image", max_roi_pool, EXACT, until=21)


def col2im(g, r):
    n, c = g.int(1, 2), g.int(1, 3)
    spatial = g.choice([2, 2, 1, 3])
    image = [g.int(3, 6) for _ in range(spatial)]
    block = [g.int(1, 3) for _ in range(spatial)]
    attrs, strides, dilations, pads = {}, [1] * spatial, [1] * spatial, [0] * (2 * spatial)
    if g.chance(0.5):
        attrs["strides"] = strides = [g.int(1, 2) for _ in range(spatial)]
    if g.chance(0.5):
        attrs["pads"] = pads = [g.int(0, 1) for _ in range(2 * spatial)]
    if g.chance(0.3):
        attrs["dilations"] = dilations = [1 for _ in range(spatial)]
    count = [(s + pads[i] + pads[i + spatial] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i, s in enumerate(image)]
    x = g.pick(("f32",), (3, 3), test=lambda v: [v.static(i) for i in range(3)] == [n, c * math.prod(block), math.prod(count)],
               fresh=lambda: g.fresh("f32", [n, c * math.prod(block), math.prod(count)]))
    return emit(g, r, [x, g.ints(image, "init"), g.ints(block, "init")], attrs, klass=Class(32, 4))


row("Col2Im", "image", col2im, SUM, since=18)
