"""More rows of operators.py's list: attention, recurrence, quantisation, signals, trees, and com.microsoft."""
import math

import numpy as np

from operators import (ATTENTION, COMPOSITE, EXACT, F32_F64, NORM, PRODUCT, RECURRENT, ROUNDED, SAMPLED, channels, contracted, emit,
                       gemm, other_factor, picture, reduced, row, window_attrs)
from reference import FLOATS, TYPES, Class, Reject

MS = "com.microsoft"


def free(g, sizes):
    """Whether a new input may have this size."""
    return len(set(sizes)) == 1 or sizes in g.graph.symbols


def plus(a, b):
    return tuple(x + y for x, y in zip(a, b))


# --- attention ---


def heads_of(g, width):
    """A number of heads, and the width of one."""
    heads = g.choice([h for h in (1, 2, 4) if width % h == 0])
    return heads, width // heads


def attention(g, r):
    kinds = ["f32", "f32", "f64", "f16", "bf16"]
    kind = g.want.kind if g.want is not None and g.want.kind in kinds else g.choice(kinds)
    v_size = g.choice([2, 4, 3])
    four = g.want.rank == 4 if g.want is not None and g.want.kind != "bool" else g.chance(0.5)
    if four:
        heads, size = g.wanted(1, range(1, 9), 4), g.wanted(3, range(1, 17), 4)
    else:
        heads, size = heads_of(g, g.wanted(2, range(1, 33), 3))
    kv = g.choice([h for h in range(1, heads + 1) if heads % h == 0])

    # A mask that is there: queries and keys as many as it has.
    given = g.want if g.want is not None and g.want.kind == "bool" and g.want.rank == 2 and all(free(g, d) for d in g.want.shape) else None

    def fresh():
        b, s = g.dim(3), given.shape[0] if given else g.dim(9)
        return g.fresh(kind, [b, heads, s, size] if four else [b, s, heads * size])

    def fit(v):
        return free(g, v.shape[0]) and 0 not in v.shape[0] + v.shape[-2] and (not given or v.shape[-2] == given.shape[0]) and (
            v.static(1) == heads and v.static(3) == size if four else v.static(2) == heads * size)

    q = g.pick(kind, (4, 4) if four else (3, 3), -30, 30, fit, fresh)
    b, s = q.shape[0], q.shape[-2]
    t = given.shape[1] if given else s if free(g, s) and g.chance(0.4) else g.dim(9)
    if 0 in t or 0 in b or 0 in s:
        raise Reject("no keys")
    k = g.fresh(kind, [b, kv, t, size] if four else [b, t, kv * size])
    v = g.fresh(kind, [b, kv, t, v_size] if four else [b, t, kv * v_size])
    attrs = {"is_causal": g.maybe(0.4, 1), "scale": g.maybe(0.3, 0.5), "softcap": g.maybe(0.2, 2.0)}
    if not four:
        attrs.update(q_num_heads=heads, kv_num_heads=kv)
    inputs = [q, k, v]
    if given or g.chance(0.5) and free(g, s):
        mask_kind = "bool" if given or g.chance(0.4) else kind
        mask = g.pick("bool", (2, 2), test=lambda v: v is given) if given else g.fresh(mask_kind, [d for d in g.choice([[s, t], [s, t], [1, 1, s, t], [b, 1, s, t], [b, heads, s, t]])])
        if mask_kind == "bool":
            # A row in which everything is masked is left out: 0 or NaN, by version.
            if mask.source != "node":
                some_keys(mask)
            elif not all((np.tril(a) if attrs["is_causal"] else a).any(-1).all() for a in mask.all_arrays()):
                raise Reject("no key")
        inputs.append(mask)
    return emit(g, r, inputs, attrs)


row("Attention", "attention", attention, ATTENTION, since=23)


def angles(g, kind, places, size):
    turn = np.arange(places)[:, None] * 0.5 ** np.arange(size)[None]
    return g.const(kind, np.cos(turn)), g.const(kind, np.sin(turn))


def rotary(g, r):
    kind = g.choice(["f32", "f32", "f16"] + ([] if r.domain else ["f64", "bf16"]))
    four = g.want.rank == 4 if g.want is not None else g.chance(0.5)
    sizes = [4, 8, 16] if r.domain else [2, 4, 6, 8]
    heads, size = g.wanted(1, [1, 2, 3], 4), g.wanted(3, sizes, 4)
    if not four:
        heads, size = g.choice([(h, n) for h in (1, 2, 3) for n in sizes if h * n == g.wanted(2, [heads * size], 3)] or [(heads, size)])

    def fit(v):
        return free(g, v.shape[0]) and free(g, v.shape[-2]) and 0 not in v.shape[0] + v.shape[-2] and (
            v.static(1) == heads and v.static(3) == size if four else v.static(2) == heads * size)

    def fresh():
        b, s = g.dim(3), g.dim(9)
        return g.fresh(kind, [b, heads, s, size] if four else [b, s, heads * size])

    x = g.pick(kind, (4, 4) if four else (3, 3), -100, 100, fit, fresh)
    b, s = x.shape[0], x.shape[-2]
    if not free(g, b) or not free(g, s) or 0 in b + s:
        raise Reject("sizes")
    part = size // 2 if not r.domain or not four and g.chance(0.8) else size // 2
    partial = g.chance(0.3) and size % 4 == 0 and size > 4
    cos, sin = angles(g, kind, max(s) + 3, part // 2 if partial else part)
    attrs = {"interleaved": g.maybe(0.5, g.int(0, 1))}
    if partial or not four and not r.domain:
        attrs["num_heads"] = heads
    if partial:
        attrs["rotary_embedding_dim"] = size // 2
    ids = g.fresh("i64", [b, s], 0, max(s) + 2)
    if r.domain:
        if not partial and not four and heads > 1:
            attrs["num_heads"] = 0  # the width of the caches says it
        return emit(g, r, [x, ids, cos, sin], attrs)
    return emit(g, r, [x, cos, sin, ids], attrs)


row("RotaryEmbedding", "attention", rotary, Class(4, 8, inputs=(0, 1, 2)), since=23)
row("RotaryEmbedding", "attention", rotary, Class(4, 8, inputs=(0, 2, 3)), domain=MS)


def tokens(g, width, kind="f32", rank=(3, 3), most=9):
    """[batch, places, width] with sizes that other inputs may have."""
    def fit(v):
        return v.static(v.rank - 1) == width and all(free(g, d) and 0 not in d for d in v.shape[:-1])

    def fresh():
        dims = [g.dim(3) for _ in range(g.int(*rank) - 2)] + [g.dim(most), width]
        if any(isinstance(d, tuple) and 0 in d for d in dims):
            raise Reject("empty")
        return g.fresh(kind, dims)

    return g.pick(kind, rank, -30, 30, fit, fresh)


def some_keys(mask):
    """The first key is never masked, so that causal rows have one, too."""
    for array in mask.all_arrays():
        if mask.source != "node":
            array[..., 0] = 1
        elif (array[..., 0] != 1).any():
            raise Reject("no key")
    return mask


def attention_ms(g, r):
    heads, size, width = g.choice([1, 2, 4]), g.choice([1, 4, 8]), g.wanted(2, range(1, 34), 3)
    x = tokens(g, width)
    b, s = x.shape[:2]
    h = heads * size
    bias = g.fresh("f32", [3 * h], const=1)
    mask = None
    if g.chance(0.3):
        mask = g.fresh("i32", [b], 1, max(1, min(s)))
    elif g.chance(0.3):
        mask = some_keys(g.fresh("i32", [b, s], 0, 1))
    attrs = {"num_heads": heads, "unidirectional": g.maybe(0.4, 1), "scale": g.maybe(0.3, 0.5)}
    return emit(g, r, [x, g.fresh("f32", [width, 3 * h], const=1), bias, mask], attrs, types=["f32"])


row("Attention", "attention", attention_ms, ATTENTION, domain=MS)


def q_attention(g, r):
    heads, size, width = g.choice([1, 2]), g.choice([4, 8]), g.wanted(2, range(1, 34), 3)
    x = tokens(g, width, "u8")
    h = heads * size
    kind = g.choice(["u8", "i8"])
    w = g.fresh(kind, [width, 3 * h], -100, 200, const=1)
    inputs = [x, w, g.fresh("f32", [3 * h], const=1), g.const("f32", 0.02), g.const("f32", 0.01), None, g.const("u8", g.int(0, 255)),
              g.const(kind, g.int(0, 9))]
    return emit(g, r, inputs, {"num_heads": heads, "unidirectional": g.maybe(0.4, 1)}, types=["f32"],
                klass=Class(64, 64, inputs=(2, 3, 4)))


row("QAttention", "qproduct", q_attention, ATTENTION, domain=MS)


def multi_head(g, r):
    heads, size = heads_of(g, g.wanted(2, range(1, 33), 3))
    v_size = g.choice([2, 4])
    q = tokens(g, heads * size)
    b, s = q.shape[:2]
    t = s if g.chance(0.4) else g.dim(9)
    if 0 in t:
        raise Reject("no keys")
    inputs = [q, g.fresh("f32", [b, t, heads * size]), g.fresh("f32", [b, t, heads * v_size]),
              g.fresh("f32", [heads * (2 * size + v_size)], const=1) if g.chance(0.4) else None]
    mask = g.choice([None, None, "end", "rows"])
    inputs.append(None if mask is None else g.fresh("i32", [b], 1, min(t)) if mask == "end" else some_keys(g.fresh("i32", [b, t], 0, 1)))
    if g.chance(0.2):
        inputs.append(g.fresh("f32", [1, heads, s, t]))
    attrs = {"num_heads": heads, "scale": g.maybe(0.3, 0.5), "unidirectional": 1 if t == s and g.chance(0.3) else None}
    if mask is None and len(inputs) == 5 and free(g, b) and g.chance(0.3):  # a cache, half of the time with room behind what is in use
        past, room = g.int(0, 5), g.choice([None, max(t) + g.int(0, 3)])
        inputs[2] = g.fresh("f32", [b, t, heads * size])  # as wide as the keys
        if inputs[3] is not None:
            inputs[3] = g.fresh("f32", [3 * heads * size], const=1)
        inputs += [None] + [g.fresh("f32", [b, heads, past + (room or 0), size]) for _ in range(2)]
        if room is not None:
            inputs.append(g.ints([past], g.choice(["init", "input"]), "i32"))
        return emit(g, r, inputs, attrs, 3, types=["f32"] * 3)
    return emit(g, r, inputs, attrs, types=["f32"])


row("MultiHeadAttention", "attention", multi_head, ATTENTION, domain=MS)


def grouped(g, r):
    kv, group, size = g.choice([1, 2]), g.choice([1, 2]), g.choice([8, 16])
    heads = kv * group
    kind = g.choice(["f32", "f32", "f16"])
    q = tokens(g, heads * size, kind)
    b, s = q.shape[:2]
    if len(set(s)) > 1 or len(set(b)) > 1:
        raise Reject("the total is one number")
    if q.dynamic:
        raise Reject("the width of a head must be known")
    b, s = b[0], s[0]
    past = g.choice([None, None, 0, 3]) if b == 1 or s == 1 else g.choice([None, None, 0])
    rest = [g.fresh(kind, [b, s, kv * size]) for _ in range(2)]
    cache = [None, None] if past is None else [g.fresh(kind, [b, kv, past, size]) for _ in range(2)]
    total = (past or 0) + s
    inputs = [q, *rest, *cache, g.const("i32", [total - 1] * b), g.const("i32", [total])]
    attrs = {"num_heads": heads, "kv_num_heads": kv, "scale": g.maybe(0.3, 0.5), "softcap": g.maybe(0.2, 2.0),
             "local_window_size": g.maybe(0.2, 2)}
    return emit(g, r, inputs, attrs, 3 if past is not None or g.chance(0.5) else 3, types=[kind] * 3)


row("GroupQueryAttention", "attention", grouped, ATTENTION, domain=MS)

# --- com.microsoft: activations, products, norms ---


def contrib_unary(g, r):
    x = g.pick(("f32",), (1, 4), -1e3, 1e3)
    attrs = {"alpha": g.maybe(0.6, g.number(0.5, 2))} if r.op == "QuickGelu" else {}
    inputs = [x]
    if r.op in ("BiasGelu", "FastGelu") and (r.op == "BiasGelu" or g.chance(0.5)):
        if not x.static(x.rank - 1):
            raise Reject("no such bias")
        inputs.append(g.fresh("f32", [x.static(x.rank - 1)]))
    return emit(g, r, inputs, attrs, types=["f32"], klass=Class(4, 32, inputs=(0, 1), absolute=4))


for name in ("Gelu", "BiasGelu", "FastGelu", "QuickGelu"):
    row(name, "activation", contrib_unary, COMPOSITE, domain=MS)


def fused_matmul(g, r):
    x = g.pick(("f32", "f64") if r.op == "FusedMatMul" else ("f32",), (2, 4), -1e4, 1e4)
    trans = g.chance(0.4)
    k_axis = x.rank - 2 if trans else x.rank - 1
    if not free(g, x.shape[k_axis]) or 0 in x.shape[k_axis]:
        raise Reject("no such factor")
    n, back = g.dim(33), g.chance(0.4)
    y = g.fresh(x.kind, [n, x.shape[k_axis]] if back else [x.shape[k_axis], n])
    attrs = {"transA": int(trans), "transB": int(back), "alpha": g.maybe(0.5, g.number(0.25, 2))}
    return emit(g, r, [x, y], attrs, types=[x.kind], klass=Class(2, 4, inputs=(0, 1), terms=contracted))


row("FusedMatMul", "product", fused_matmul, PRODUCT, domain=MS)
row("TransposeMatMul", "product", fused_matmul, PRODUCT, domain=MS)
row("FusedGemm", "product", gemm, PRODUCT, domain=MS)


def skip_norm(g, r):
    width = g.choice([1, 3, 8, 16, 33])
    simple = r.op.startswith("SkipSimplified")
    kind = g.choice(["f32", "f32", "f16", "f64"])
    x = tokens(g, width, kind)
    skip = g.fresh(kind, x.shape)
    vectors = [g.fresh(kind, [width], const=0.6)]
    if not simple:
        vectors.append(g.fresh(kind, [width], const=0.6) if g.chance(0.6) else None)
    vectors.append(g.fresh(kind, [width]) if g.chance(0.4) else None)
    outputs = [True, False, False, True] if g.chance(0.4) else 1
    return emit(g, r, [x, skip, *vectors], {"epsilon": g.choice([1e-5, 1e-2])}, outputs, types=[kind] * 4)


row("SkipLayerNormalization", "norm", skip_norm, NORM, domain=MS)
row("SkipSimplifiedLayerNormalization", "norm", skip_norm, NORM, domain=MS)


def embed(g, r):
    width = g.choice([4, 8, 16])
    words, places = g.int(3, 9), 40
    ids = g.pick("i32", (2, 2), 0, words - 1, lambda v: v.is_exact() and all(free(g, d) and 0 not in d for d in v.shape),
                 lambda: g.fresh("i32", [g.dim(3), g.dim(31)], 0, words - 1))
    if any(0 in d or max(d) > places for d in ids.shape):
        raise Reject("sizes")
    segments = g.fresh("i32", ids.shape, 0, 1) if g.chance(0.5) else None
    inputs = [ids, segments, g.fresh("f32", [words, width], const=1), g.fresh("f32", [places, width], const=1),
              g.fresh("f32", [2, width], const=1) if segments else None, g.fresh("f32", [width], const=1), g.fresh("f32", [width], const=1),
              g.fresh("i32", ids.shape, 0, 1) if g.chance(0.5) else None]
    return emit(g, r, inputs, {"epsilon": g.maybe(0.5, 1e-3)}, 2, types=["f32", "i32"], klass=Class(4, 16, inputs=(2, 3, 4), terms=lambda a, n: 16.0))


row("EmbedLayerNormalization", "norm", embed, NORM, domain=MS)

# --- recurrent ---


def recurrent(g, r):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[r.op]
    width, hidden = g.wanted(2, range(1, 41), 3), g.choice([1, 2, 4, 5, 8])
    x = g.pick("f32", (3, 3), -30, 30, lambda v: v.static(2) == width and v.static(0) and v.static(0) <= 17 and free(g, v.shape[1]) and 0 not in v.shape[1],
               lambda: g.fresh("f32", [g.int(1, 6), g.dim(4), width]))
    if 0 in x.shape[1]:
        raise Reject("empty")
    direction = g.choice(["forward", "reverse", "bidirectional"])
    d = 2 if direction == "bidirectional" else 1
    inputs = [x, g.fresh("f32", [d, gates * hidden, width], const=0.8), g.fresh("f32", [d, gates * hidden, hidden], const=0.8),
              g.fresh("f32", [d, 2 * gates * hidden], const=0.8) if g.chance(0.6) else None,
              g.fresh("i32", [x.shape[1]], 1, x.static(0)) if g.chance(0.3) else None,
              g.fresh("f32", [d, x.shape[1], hidden]) if g.chance(0.4) else None]
    attrs = {"hidden_size": hidden, "direction": direction if d == 2 or g.chance(0.7) or direction == "reverse" else None}
    if r.op == "LSTM":
        inputs.append(g.fresh("f32", [d, x.shape[1], hidden]) if g.chance(0.4) else None)
        inputs.append(g.fresh("f32", [d, 3 * hidden]) if g.chance(0.2) else None)
    if r.op == "GRU":
        attrs["linear_before_reset"] = g.maybe(0.6, g.int(0, 1))
    if g.chance(0.2) and r.op != "LSTM":
        attrs["clip"] = 1.5
    outputs = [True, g.chance(0.6)] + ([g.chance(0.6)] if r.op == "LSTM" else [])
    return emit(g, r, inputs, attrs, outputs)


for name in ("RNN", "GRU", "LSTM"):
    row(name, "recurrent", recurrent, RECURRENT, since=7)

# --- quantised ---
# What is a half between two integers is decided by the rounding of a division; half of the scales are powers of two, where
# all of it is exact.


def scale_of(g, count=None, kind="f32", low=0.01, high=0.5):
    if g.chance(0.5):
        content = [2.0 ** -g.int(0, 5) for _ in range(count or 1)]
    else:
        content = [float(np.float32(g.random.uniform(low, high))) for _ in range(count or 1)]
    return g.const(kind, content if count else content[0]), all(math.frexp(c)[0] == 0.5 for c in content)


def point_of(g, kind, count=None):
    if kind == "i32":
        return g.const(kind, [0] * count if count else 0)
    low, high = {"i8": (-20, 20), "u8": (100, 150), "u16": (0, 1000), "i16": (-500, 500)}[kind]
    return g.const(kind, [g.int(low, high) for _ in range(count)] if count else g.int(low, high))


def quantize(g, r):
    kinds = ["u8", "i8"] + (["u16", "i16"] if g.opset >= 21 or r.domain else [])
    to = g.result(kinds)
    x = g.pick(("f32",) if g.opset < 19 or r.domain else ("f32", "f32", "f16"), (0, 4), -1e4, 1e4)
    axis, count, attrs = None, None, {}
    static = [i for i in range(x.rank) if x.static(i)]
    if static and g.chance(0.4) and (g.opset >= 13 or r.domain):
        axis = g.choice(static)
        count = x.static(axis)
        attrs["axis"] = axis - x.rank if g.chance(0.3) else axis
    scale, even = scale_of(g, count, x.kind)
    zero = point_of(g, to, count) if g.chance(0.85) or to != "u8" or r.domain else None
    return emit(g, r, [x, scale, zero], attrs, types=[to], klass=EXACT if even else Class(4, 0, inputs=(0,)))


row("QuantizeLinear", "quantise", quantize, EXACT, since=10)
row("QuantizeLinear", "quantise", quantize, EXACT, domain=MS)


def dequantize(g, r):
    x = g.pick(("u8", "i8", "i32") + (("u16", "i16") if g.opset >= 21 or r.domain else ()), (0, 4), -2**24, 2**24)
    attrs, count = {}, None
    static = [i for i in range(x.rank) if x.static(i)]
    if static and g.chance(0.4) and (g.opset >= 13 or r.domain):
        axis = g.choice(static)
        count = x.static(axis)
        attrs["axis"] = axis - x.rank if g.chance(0.3) else axis
    kind = "f16" if g.opset >= 19 and not r.domain and g.chance(0.2) else "f32"
    scale, _ = scale_of(g, count, kind)
    zero = point_of(g, x.kind, count) if g.chance(0.8) or r.domain else None
    return emit(g, r, [x, scale, zero], attrs, types=[kind], klass=ROUNDED)


row("DequantizeLinear", "dequantise", dequantize, ROUNDED, since=10)
row("DequantizeLinear", "dequantise", dequantize, ROUNDED, domain=MS)


def dynamic_quantize(g, r):
    x = g.pick("f32", (0, 4), -1e4, 1e4, lambda v: all(a.size for a in v.data))
    return emit(g, r, [x], {}, 3, klass=Class(8, 4))


row("DynamicQuantizeLinear", "quantise", dynamic_quantize, EXACT, since=11)


def matmul_integer(g, r):
    x = g.pick(("u8", "i8"), (1, 4))
    if 0 in x.shape[-1]:
        raise Reject("no terms")
    y = other_factor(g, x, x.rank - 1, ("u8", "i8"))
    zero_x = point_of(g, x.kind) if g.chance(0.6) else None
    columns = y.static(y.rank - 1) if y.rank == 2 and g.chance(0.3) else None
    zero_y = point_of(g, y.kind, columns) if g.chance(0.6) else None
    return emit(g, r, [x, y, zero_x, zero_y])


row("MatMulInteger", "qproduct", matmul_integer, EXACT, since=10)


def qlinear_matmul(g, r):
    x = g.pick(("u8", "i8"), (2, 4))
    if 0 in x.shape[-1]:
        raise Reject("no terms")
    y = other_factor(g, x, x.rank - 1, (x.kind,) if x.kind == "u8" else ("i8",))
    to = x.kind
    columns = y.static(y.rank - 1) if y.rank == 2 and g.chance(0.3) else None
    (sx, e0), (sy, e1), (sz, e2) = scale_of(g), scale_of(g, columns), (g.const("f32", 2.0 ** g.int(0, 4)), True)
    inputs = [x, sx, point_of(g, x.kind), y, sy, point_of(g, y.kind, columns), sz, point_of(g, to)]
    return emit(g, r, inputs, types=[to], klass=EXACT if e0 and e1 and e2 else Class(8, 0, inputs=(1,)))


row("QLinearMatMul", "qproduct", qlinear_matmul, EXACT, since=10)


def conv_integer(g, r):
    x = picture(g, ("u8", "i8") if r.op == "QLinearConv" else ("u8",), (3, 4))
    c, spatial = x.static(1), x.rank - 2
    group = g.choice([1, 1, c])
    kernel = [min(g.choice([1, 2, 3]), min(x.shape[2 + i])) for i in range(spatial)]
    attrs = {"kernel_shape": g.maybe(0.6, kernel), "group": group if group > 1 else None}
    attrs.update(window_attrs(g, x, spatial, kernel))
    m = group * g.int(1, 4)
    kind = g.choice(["u8", "i8"]) if x.kind == "u8" else "i8"
    w = g.fresh(kind, [m, c // group] + kernel, -100, 200, const=0.8)
    if r.op == "ConvInteger":
        return emit(g, r, [x, w, point_of(g, x.kind) if g.chance(0.6) else None, g.const(kind, g.int(0, 9)) if g.chance(0.5) else None], attrs)
    per = m if g.chance(0.4) else None
    (sx, e0), (sw, e1), sy = scale_of(g), scale_of(g, per), g.const("f32", 2.0 ** g.int(0, 4))
    bias = g.fresh("i32", [m], -1000, 1000, const=1) if g.chance(0.5) else None
    zero = point_of(g, kind) if per is None else g.const(kind, [0 if kind == "i8" else 128] * m)
    return emit(g, r, [x, sx, point_of(g, x.kind), w, sw, zero, sy, point_of(g, x.kind), bias], attrs, types=[x.kind],
                klass=EXACT if e0 and e1 else Class(8, 0, inputs=(1,)))


row("ConvInteger", "qproduct", conv_integer, EXACT, since=10)
row("QLinearConv", "qproduct", conv_integer, EXACT, since=10)


def matmul_nbits(g, r):
    bits = g.choice([4, 4, 8])
    k, n, block = g.choice([16, 32, 40, 64]), g.int(1, 9), g.choice([16, 32])
    kind = "f32"
    x = g.pick(kind, (2, 3), -100, 100, lambda v: v.static(v.rank - 1) == k and not any(0 in d for d in v.shape),
               lambda: g.fresh(kind, [g.dim(9) for _ in range(g.int(1, 2))] + [k]))
    if any(0 in d for d in x.shape):
        raise Reject("empty")
    blocks = (k + block - 1) // block
    inputs = [x, g.fresh("u8", [n, blocks, block * bits // 8], 0, 255, const=1), g.fresh(kind, [n, blocks], 0.01, 0.1, const=1)]
    if g.chance(0.5):
        inputs.append(g.fresh("u8", [n, (blocks * bits + 7) // 8], 0, 255, const=1))
    return emit(g, r, inputs, {"K": k, "N": n, "bits": bits, "block_size": block, "accuracy_level": 1}, types=[kind],
                klass=Class(4, 4, inputs=(0, 2), terms=lambda a, n: 64.0))


row("MatMulNBits", "qproduct", matmul_nbits, PRODUCT, domain=MS)


def matmul_float(g, r):
    """DynamicQuantizeMatMul and MatMulIntegerToFloat."""
    dynamic = r.op.startswith("Dynamic")
    x = g.pick(("f32",) if dynamic else ("u8", "i8"), (2, 3), -1e4, 1e4,
               lambda v: v.static(v.rank - 1) and not any(0 in d for d in v.shape))
    k, n = x.static(x.rank - 1), g.int(1, 17)
    if any(0 in d for d in x.shape) or not k:
        raise Reject("empty")
    kind = "i8" if x.kind == "i8" else g.choice(["u8", "i8"])
    w = g.fresh(kind, [k, n], -100, 200, const=1)
    columns = n if g.chance(0.4) else None
    scale, _ = scale_of(g, columns)
    zero = (g.fresh(kind, [n], 0, 9, const=1) if columns else g.const(kind, g.int(0, 9))) if g.chance(0.6) else None
    bias = g.fresh("f32", [n], const=1) if g.chance(0.4) else None
    if dynamic:
        return emit(g, r, [x, w, scale, zero, bias], {}, types=["f32"], klass=Class(8, 16, inputs=(0,)))
    inputs = [x, w, g.const("f32", 0.02), scale, g.const(x.kind, g.int(0, 9)) if g.chance(0.6) else None, zero, bias]
    return emit(g, r, inputs, {}, types=["f32"], klass=Class(4, 8, inputs=(2, 3, 6)))


row("DynamicQuantizeMatMul", "qproduct", matmul_float, PRODUCT, domain=MS)
row("MatMulIntegerToFloat", "qproduct", matmul_float, PRODUCT, domain=MS)

# --- signals ---
# Transforms are exact to the norm of what is transformed, not to each number.
FOURIER = Class(8, 8, inputs=(0, 2), norm=16)


def window(g, r):
    size = g.ints(g.int(1, 33), kind=g.choice(["i64", "i32"]))
    # In float64 ONNX Runtime's coefficients are still those of float32.
    to = g.maybe(0.4, g.choice(["f32", "f16"] if r.op != "HannWindow" else ["f32", "f64"]))
    return emit(g, r, [size], {"periodic": g.maybe(0.6, g.int(0, 1)), "output_datatype": TYPES[to][1] if to else None}, types=[to or "f32"])


for name in ("HannWindow", "HammingWindow", "BlackmanWindow"):
    row(name, "signal", window, Class(4, 64, ones=8), since=17)  # sums of cosines that cancel at the ends


def dft(g, r):
    last = g.wanted(g.want.rank - 1, [1, 2], g.want.rank) if g.want is not None and g.want.rank else g.choice([1, 2])
    inverse = last == 2 and g.chance(0.4)
    x = g.pick(F32_F64, (2, 4), -1e3, 1e3, lambda v: v.static(v.rank - 1) == last and not any(0 in d for d in v.shape) and v.static(v.rank - 2),
               lambda: g.fresh(g.kind(F32_F64), g.dims(g.int(1, 2)) + [g.int(1, 17), last]))
    if any(0 in d for d in x.shape):
        raise Reject("empty")
    attrs = {"inverse": int(inverse) if inverse or g.chance(0.4) else None}
    onesided = not inverse and last == 1 and g.chance(0.4)
    attrs["onesided"] = 1 if onesided else None
    axis = x.rank - 2
    length = g.ints(g.int(1, 20)) if g.chance(0.3) and not inverse else None
    inputs = [x, length]
    if g.opset < 20:
        attrs["axis"] = axis
    elif g.chance(0.6):
        inputs.append(g.const("i64", axis - x.rank if g.chance(0.5) else axis))
    return emit(g, r, inputs, attrs, klass=FOURIER)


row("DFT", "signal", dft, FOURIER, since=17)


def stft(g, r):
    n = g.int(8, 33)
    x = g.pick(("f32", "f64"), (3, 3), -1e3, 1e3, lambda v: v.static(2) == 1 and (v.static(1) or 0) >= 8 and v.static(0),
               lambda: g.fresh("f32", [g.int(1, 3), n, 1]))
    n = x.static(1)
    frame = g.int(2, 8)
    inputs = [x, g.const("i64", g.int(1, 5))]
    if g.chance(0.5):
        inputs.append(g.fresh(x.kind, [frame]))
        inputs.append(g.const("i64", frame) if g.chance(0.5) else None)
    else:
        inputs += [None, g.const("i64", frame)]
    return emit(g, r, inputs, {"onesided": g.maybe(0.7, g.int(0, 1))}, klass=FOURIER)


row("STFT", "signal", stft, FOURIER, since=17)


def mel(g, r):
    bins, length, rate = g.int(2, 8), g.choice([16, 32, 64]), g.choice([8000, 16000])
    scalars = [g.const("i64", bins), g.const("i64", length), g.const("i64", rate), g.const("f32", g.choice([0.0, 20.0])),
               g.const("f32", rate / 2)]
    return emit(g, r, scalars, klass=Class(0, 64))


row("MelWeightMatrix", "signal", mel, EXACT, since=17)

# --- trees ---


def tree(g, r):
    features, targets = g.wanted(1, range(1, 34), 2), g.int(1, 3)
    if g.aim is not None and len(g.aim[1]) == 2 and max(g.aim[1][1]) in (1, 2, 3, 4):
        targets, features = max(g.aim[1][1]), g.int(1, 4)
        g.aim = g.aim[0], [g.aim[1][0], (features,) * g.sets], None, None
    kind = g.want.kind if g.want is not None and g.want.kind in F32_F64 else g.choice(F32_F64)
    x = g.pick(kind, (2, 2), -1e3, 1e3, lambda v: v.static(1) == features, lambda: g.fresh(kind, [g.dim(9), features]))
    # One tree of two levels: node 0, its children 1 and 2, four leaves. What MIN and MAX make of a target that no leaf adds to
    # is 0 in ONNX Runtime and the identity in ONNX's reference: only sums and means are asked for where that may be.
    from reference import tensor
    splits = g.array(kind, (3,), -1, 1)
    modes = np.array([g.int(0, 3) for _ in range(3)], np.uint8)  # <=, <, >=, >
    weights = g.array(kind, (4,), -2, 2)
    attrs = {"n_targets": targets, "nodes_featureids": [g.int(0, features - 1) for _ in range(3)], "nodes_splits": tensor(splits, "s"),
             "nodes_modes": tensor(modes, "m"), "nodes_truenodeids": [1, 0, 2], "nodes_trueleafs": [0, 1, 1],
             "nodes_falsenodeids": [2, 1, 3], "nodes_falseleafs": [0, 1, 1], "leaf_targetids": [i % targets for i in range(4)],
             "leaf_weights": tensor(weights, "w"), "tree_roots": [0], "aggregate_function": g.choice([1, 1, 0] + ([2, 3] if targets == 1 else [])),
             "post_transform": 0}
    return emit(g, r, [x], attrs, types=[kind], klass=COMPOSITE)


row("TreeEnsemble", "tree", tree, COMPOSITE, domain="ai.onnx.ml")
