"""The cases control_*: branches, loops, scans, maps over sequences and recurrent operators, as texts of onnx.parser
with inputs of several sizes. make_cases.py writes them; results are ONNX Runtime's, or a function's where it has none.
"""
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

models = []


class Model:
    """`sets`: a dict of inputs per data set, or one alone; lists of arrays are sequences. `oracle`: their results. `refused`: why the model
    is not imported, one line for each reason."""

    def __init__(self, name, text, sets, opset=17, oracle=None, refused=None):
        self.name, self.sets, self.oracle, self.refused = "control_" + name, sets if isinstance(sets, list) else [sets], oracle, refused
        self.model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> main {text}')
        models.append(self)

    def results(self, inputs):
        if self.oracle:
            return self.oracle(**inputs)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(self.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, inputs)

    def write(self, folder):
        if self.refused:
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(self.model.SerializeToString())
            (folder / "reason").write_text(self.refused + "\n")
            return
        for number, inputs in enumerate(self.sets):
            place = folder / f"test_data_set_{number}"
            place.mkdir(parents=True)
            given = [(x.name, inputs[x.name]) for x in self.model.graph.input]
            made = list(zip([x.name for x in self.model.graph.output], self.results(inputs)))
            for kind, values in (("input", given), ("output", made)):
                for i, (name, x) in enumerate(values):
                    x = x if isinstance(x, list) else np.asarray(x)
                    message = (numpy_helper.from_list if isinstance(x, list) else numpy_helper.from_array)(x, name)
                    (place / f"{kind}_{i}.pb").write_bytes(message.SerializeToString())
        (folder / "model.onnx").write_bytes(self.model.SerializeToString())


def f32(*shape, seed=1):
    return np.random.default_rng([seed, zlib.crc32(repr(shape).encode())]).standard_normal(shape).astype(np.float32)


def i64(x):
    return np.array(x, np.int64)


def i32(x):
    return np.array(x, np.int32)


TRUE, FALSE = np.array(True), np.array(False)


def both(**inputs):
    return [{"c": c, **inputs} for c in (TRUE, FALSE)]


# --- If ---
Model("if_cheap", """(bool c, float[N] x) => (float[N] y) {
    y = If (c) <then_branch = t () => (float[N] a) { a = Neg (x) }, else_branch = e ()
        => (float[N] b) { b = Add (x, x) }>
}""", both(x=f32(3)) + both(x=f32(1)))

Model("if_product", """(bool c, float[N, 4] x, float[4, 3] w) => (float[N, 3] y) {
    y = If (c) <then_branch = t () => (float[N, 3] a) { p = MatMul (x, w)  a = Relu (p) },
                else_branch = e () => (float[N, 3] b) { s = Neg (x)  b = MatMul (s, w) }>
}""", both(x=f32(2, 4), w=f32(4, 3)) + both(x=f32(7, 4), w=f32(4, 3)))

Model("if_extents", """(bool c, float[N, 2] x) => (float[M, 2] y, int64[2] s) {
    r = If (c) <then_branch = t () => (float[K, 2] a) { a = Concat <axis = 0> (x, x, x) },
                else_branch = e () => (float[N, 2] b) { b = Identity (x) }>
    y = Relu (r)
    s = Shape (r)
}""", both(x=f32(2, 2)) + both(x=f32(5, 2)))

Model("if_extents_reshape", """(bool c, float[N, 4] x) => (float[M] y) {
    r = If (c) <then_branch = t () => (float[K, 4] a) { a = Concat <axis = 0> (x, x) },
                else_branch = e () => (float[N, L] b) { m = Constant <value_ints = [2]> ()
                    z = Constant <value_ints = [0]> ()
                                                        o = Constant <value_ints = [1]> ()  b = Slice (x, z, m, o) }>
    flat = Constant <value_ints = [-1]> ()
    y = Reshape (r, flat)
}""", both(x=f32(2, 4)) + both(x=f32(3, 4)))

Model("if_captured", """(bool c, float[N] x, float[N] z) => (float[N] y) {
    k = Exp (x)
    y = If (c) <then_branch = t () => (float[N] a) { a = Identity (k) }, else_branch = e ()
        => (float[N] b) { b = Identity (z) }>
}""", both(x=f32(4), z=f32(4, seed=2)))

Model("if_constants", """(bool c) => (float[M] y) {
    y = If (c) <then_branch = t () => (float[2] a) { a = Constant <value_floats = [1.0, 2.0]> () },
                else_branch = e () => (float[3] b) { b = Constant <value_floats = [3.0, 4.0, 5.0]> () }>
}""", both())

Model("if_nested", """(bool c, bool d, float[N, 3] x, float[3, 3] w) => (float[N, 3] y) {
    y = If (c) <
        then_branch = t () => (float[N, 3] a) {
            p = MatMul (x, w)
            a = If (d) <then_branch = tt () => (float[N, 3] aa) { aa = MatMul (p, w) },
                        else_branch = te () => (float[N, 3] ab) { q = Neg (p)  ab = MatMul (q, w) }>
        },
        else_branch = e () => (float[N, 3] b) { b = Identity (x) }>
}""", [{"c": np.array(c), "d": np.array(d), "x": f32(n, 3), "w": f32(3, 3)}
       for c, d, n in ((True, True, 2), (True, False, 2), (False, True, 5))])

Model("if_shape", """(float[N, 3] x, float[3, 3] w) => (float[N, 3] y) {
    s = Shape (x)
    zero = Constant <value_int = 0> ()
    n = Gather <axis = 0> (s, zero)
    four = Constant <value_int = 4> ()
    many = Greater (n, four)
    y = If (many) <then_branch = t () => (float[N, 3] a) { a = MatMul (x, w) },
                   else_branch = e () => (float[N, 3] b) { p = MatMul (x, w)  q = MatMul (p, w)  b = Neg (q) }>
}""", [{"x": f32(n, 3), "w": f32(3, 3)} for n in (1, 4, 5, 9)])

Model("if_rank_usual", """(float[N, M, 3] x) => (float[N, K, 3] y) {
    m = Shape <start = 1, end = 2> (x)
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    q = Equal (m, one)
    c = Squeeze (q, zero)
    s = If (c) <then_branch = t () => (float[N, 3] a) { k = Constant <value_ints = [1]> ()  a = Squeeze (x, k) },
                else_branch = e () => (float[N, M, 3] b) { b = Identity (x) }>
    y = Neg (s)
}""", [{"x": f32(n, m, 3)} for n, m in ((1, 2), (3, 4))])

# The usual branch, N other than 1, would make what MatMul and Transpose cannot take.
Model("if_rank_rare", """(float[B, 3, N] x, float[3, 2] w) => (float[2, B] y) {
    n = Shape <start = -1> (x)
    one = Constant <value_ints = [1]> ()
    last = Constant <value_ints = [-1]> ()
    c = Equal (n, one)
    s = If (c) <then_branch = t () => (float[B, 3] a) { a = Squeeze (x, last) },
                else_branch = e () => (float[B, 3, N] b) { b = Identity (x) }>
    p = MatMul (s, w)
    y = Transpose <perm = [1, 0]> (p)
}""", [{"x": f32(n, 3, 1), "w": f32(3, 2)} for n in (1, 4)])

Model("if_rank_two_rare", """(float[B, 3, N] x, float[M, 3] z) => (float[B] y, float[3] v) {
    n = Shape <start = -1> (x)
    m = Shape <end = 1> (z)
    one = Constant <value_ints = [1]> ()
    last = Constant <value_ints = [-1]> ()
    zero = Constant <value_ints = [0]> ()
    c = Equal (n, one)
    d = Equal (m, one)
    s = If (c) <then_branch = t () => (float[B, 3] a) { a = Squeeze (x, last) },
                else_branch = e () => (float[B, 3, N] b) { b = Identity (x) }>
    v = If (d) <then_branch = g () => (float[3] f) { f = Squeeze (z, zero) },
                else_branch = h () => (float[M, 3] k) { k = Identity (z) }>
    p = Mul (s, v)
    y = ReduceSum <keepdims = 0> (p, last)
}""", [{"x": f32(n, 3, 1), "z": f32(1, 3)} for n in (1, 4)])

Model("squeeze_some", """(float[B, N, 3] x) => (float[N, 3] y, float[N] z) {
    y = Squeeze (x)
    last = Constant <value_ints = [-1]> ()
    z = ReduceSum <keepdims = 0> (y, last)
}""", [{"x": f32(1, n, 3)} for n in (2, 5)])

# Unsound exports: Reshape by data makes 2 dims.
Model("declared_rank", """(float[N, 3] x, int64[2] s) => (float[K] y) {
    t = Reshape (x, s)
    y = Neg (t)
}""", [{"x": f32(4, 3), "s": i64(s)} for s in ((2, 6), (12, 1))])

Model("if_shapes_combined", """(float[N, M] x, float[4, 3] w) => (float[K, L] y, float z, bool[1] b) {
    n = Shape <start = 0, end = 1> (x)
    m = Shape <start = 1> (x)
    four = Constant <value_ints = [4]> ()
    wide = Equal (m, four)
    high = GreaterOrEqual (n, m)
    narrow = Not (wide)
    first = And (wide, high)
    flat = Constant <value_ints = [0]> ()
    c = Squeeze (first, flat)
    b = Or (c, narrow)
    f = Cast <to = 1> (high)
    z = Squeeze (f, flat)
    y = If (c) <then_branch = t () => (float[N, 3] p) { four2 = Constant <value_ints = [-1, 4]> ()
                                                       q = Reshape (x, four2)  p = MatMul (q, w) },
                else_branch = e () => (float[N, M] r) { k = Where (b, x, x)  s = Exp (k)  r = Mul (s, f) }>
}""", [{"x": f32(n, m), "w": f32(4, 3)} for n, m in ((5, 4), (2, 4), (2, 8), (3, 2))])

Model("if_rank_decided", """(float[N, 3] x) => (float[N, 3] y) {
    s = Shape (x)
    one = Constant <value_int = 1> ()
    n = Gather <axis = 0> (s, one)
    same = Equal (n, one)
    y = If (same) <then_branch = t () => (float[M] a) { flat = Constant <value_ints = [-1]> ()
        a = Reshape (x, flat) },
                   else_branch = e () => (float[N, 3] b) { b = Identity (x) }>
}""", [{"x": f32(n, 3)} for n in (2, 3)])

Model("if_several", """(bool c, float[N] x, int64[K] z) => (float[N] y, int64[L] v, float w) {
    y, v, w = If (c) <
        then_branch = t () => (float[N] a, int64[L] b, float d) {
            a = Exp (x)  b = Concat <axis = 0> (z, z)  d = ReduceSum <keepdims = 0> (x) },
        else_branch = e () => (float[N] f, int64[L] g, float h) {
            f = Identity (x)  g = Identity (z)  h = Constant <value_float = 2.5> () }>
}""", both(x=f32(3), z=i64([4, 5])))

Model("if_guards_reshape", """(bool c, float[N] x) => (float[M, K] y) {
    y = If (c) <then_branch = t () => (float[M, 2] a) { s = Constant <value_ints = [-1, 2]> ()  a = Reshape (x, s) },
                else_branch = e () => (float[M, 3] b) { s = Constant <value_ints = [-1, 3]> ()  b = Reshape (x, s) }>
}""", [{"c": TRUE, "x": f32(4)}, {"c": FALSE, "x": f32(9)}, {"c": TRUE, "x": f32(6)}])

Model("if_empty", """(bool c, float[N, 2] x) => (float[M, 2] y) {
    y = If (c) <then_branch = t () => (float[M, 2] a) { z = Constant <value_ints = [0]> ()  a = Slice (x, z, z, z) },
                else_branch = e () => (float[N, 2] b) { b = Exp (x) }>
}""", both(x=f32(3, 2)))

Model("if_one_element", """(bool[1] c, float[N, 4] x, float[4, 4] w) => (float[N, 4] y) {
    y = If (c) <then_branch = t () => (float[N, 4] a) { a = MatMul (x, w) }, else_branch = e ()
        => (float[N, 4] b) { b = Identity (x) }>
}""", [{"c": np.array([v]), "x": f32(2, 4), "w": f32(4, 4)} for v in (True, False)])

# --- Loop ---
Model("loop_for", """(int64 n, float[N] x) => (float[N] y, float[T, N] rows) {
    y, rows = Loop (n, , x) <body = b (int64 i, bool go, float[N] a) => (bool on, float[N] s, float[N] row) {
        on = Identity (go)  f = Cast <to = 1> (i)  s = Add (a, f)  row = Mul (s, s) }>
}""".replace('""', ""), [{"n": i64(t), "x": f32(k)} for t, k in ((3, 2), (1, 4), (40, 1))])

Model("loop_no_turns", """(int64 n, float[2] x) => (float[2] y, float[T, 2, 3] rows) {
    y, rows = Loop (n, , x) <body = b (int64 i, bool go, float[2] a) => (bool on, float[2] s, float[2, 3] row) {
        on = Identity (go)  s = Neg (a)  z = Constant <value_ints = [1]> ()  u = Unsqueeze (s, z)
        k = Constant <value_floats = [1.0, 2.0, 3.0]> ()  row = Mul (u, k) }>
}""", [{"n": i64(t), "x": f32(2)} for t in (0, 2, -3)])

Model("loop_while", """(float[N] x) => (float[N] y, int64 steps) {
    zero = Constant <value_int = 0> ()
    yes = Constant <value = bool {1}> ()
    y, steps = Loop (, yes, x, zero) <body = b (int64 i, bool go, float[N] a, int64 k) => (bool on,
        float[N] s, int64 m) {
        one = Constant <value_int = 1> ()  m = Add (k, one)  s = Add (a, a)
        most = ReduceMax <keepdims = 0> (s)  bound = Constant <value_float = 50.0> ()  on = Less (most, bound) }>
}""", [{"x": np.abs(f32(k)) + np.float32(0.1)} for k in (1, 3, 6)])

Model("loop_both", """(int64 n, bool c, float[N] x) => (float[N] y) {
    y = Loop (n, c, x) <body = b (int64 i, bool go, float[N] a) => (bool on, float[N] s) {
        s = Mul (a, a)  t = ReduceSum <keepdims = 0> (s)  bound = Constant <value_float = 0.01> ()
            on = Greater (t, bound) }>
}""", [{"n": i64(t), "c": np.array(c), "x": f32(3) / 2} for t, c in ((10, True), (10, False), (1, True), (0, True))])

Model("loop_stops", """(int64 n, int64 last, float[2] x) => (float[2] y, float[T, 2] rows) {
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[2] a) => (bool on, float[2] s, float[2] row) {
        s = Add (a, x)  row = Neg (s)  on = Less (i, last) }>
}""", [{"n": i64(t), "last": i64(k), "x": f32(2)} for t, k in ((10, 3), (2, 30), (0, 3), (10, 0))])

Model("loop_max_count", """(int64 last) => (int64[T] rows) {
    n = Constant <value_int = 9223372036854775807> ()
    yes = Constant <value = bool {1}> ()
    rows = Loop (n, yes) <body = b (int64 i, bool go) => (bool on, int64 row) {
        row = Mul (i, i)  on = Less (i, last) }>
}""", [{"last": i64(k)} for k in (0, 5, 20)])

Model("loop_known", """(float[N] x) => (float[N] y, float[300, N] rows) {
    n = Constant <value_int = 300> ()
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[N] a) => (bool on, float[N] s, float[N] row) {
        on = Identity (go)  k = Constant <value_float = 0.99> ()  s = Mul (a, k)  row = Identity (s) }>
}""", [{"x": f32(k)} for k in (1, 3)])

Model("loop_few", """(float[N] x) => (float[N] y, float[3, N] rows) {
    n = Constant <value_int = 3> ()
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[N] a) => (bool on, float[N] s, float[N] row) {
        on = Identity (go)  s = Mul (a, a)  row = Neg (s) }>
}""", [{"x": f32(k)} for k in (1, 3)])

Model("loop_grows", """(int64 n, float[N, 2] x) => (float[M, 2] y, int64[T] lengths) {
    yes = Constant <value = bool {1}> ()
    y, lengths = Loop (n, yes, x) <body = b (int64 i, bool go, float[K, 2] a) => (bool on, float[L, 2] s, int64 row) {
        on = Identity (go)  s = Concat <axis = 0> (a, x)  row = Size (s) }>
}""", [{"n": i64(t), "x": f32(k, 2)} for t, k in ((0, 2), (1, 2), (5, 3))])

Model("loop_doubles", """(int64 n, float[N] x) => (float[M] y) {
    yes = Constant <value = bool {1}> ()
    y = Loop (n, yes, x) <body = b (int64 i, bool go, float[K] a) => (bool on, float[L] s) {
        on = Identity (go)  m = Neg (a)  s = Concat <axis = 0> (a, m) }>
}""", [{"n": i64(t), "x": f32(k)} for t, k in ((0, 1), (3, 1), (4, 3))])

Model("loop_shrinks", """(float[N] x) => (float[M] y, float total) {
    yes = Constant <value = bool {1}> ()
    nil = Constant <value_float = 0.0> ()
    y, total = Loop (, yes, x, nil) <body = b (int64 i, bool go, float[K] a, float t) => (bool on,
        float[L] s, float u) {
        one = Constant <value_ints = [1]> ()  zero = Constant <value_ints = [0]> ()
            end = Constant <value_ints = [1000]> ()
        p = ReduceSum <keepdims = 0> (a)  u = Add (t, p)
        s = Slice (a, one, end, zero)  n = Size (s)  z = Constant <value_int = 0> ()  on = Greater (n, z) }>
}""", [{"x": f32(k)} for k in (1, 4, 9)])

Model("loop_from_empty", """(int64 n, float[2] x) => (float[M, 2] y) {
    shape = Constant <value_ints = [0, 2]> ()
    start = ConstantOfShape <value = float[1] {0}> (shape)
    yes = Constant <value = bool {1}> ()
    y = Loop (n, yes, start) <body = b (int64 i, bool go, float[K, 2] a) => (bool on, float[L, 2] s) {
        on = Identity (go)  zero = Constant <value_ints = [0]> ()  r = Unsqueeze (x, zero)
            s = Concat <axis = 0> (a, r) }>
}""", [{"n": i64(t), "x": f32(2)} for t in (0, 1, 6)])

Model("loop_passes", """(int64 n, float[N] x, float[N] z) => (float[N] y, float[N] w) {
    yes = Constant <value = bool {1}> ()
    y, w = Loop (n, yes, x, z) <body = b (int64 i, bool go, float[N] a, float[N] c) => (bool on,
        float[N] s, float[N] d) {
        on = Identity (go)  s = Add (a, c)  d = Identity (c) }>
}""", [{"n": i64(t), "x": f32(k), "z": f32(k, seed=2)} for t, k in ((0, 2), (20, 3))])

Model("loop_passes_shape", """(int64 n, float[N] x) => (float[2, M] y) {
    yes = Constant <value = bool {1}> ()
    shape = Constant <value_ints = [2, -1]> ()
    first = Reshape (x, shape)
    y, out = Loop (n, yes, first, shape) <body = b (int64 i, bool go, float[2, K] a, int64[2] d)
        => (bool on, float[2, K] s, int64[2] e) {
        on = Identity (go)  flat = Constant <value_ints = [-1]> ()  f = Reshape (a, flat)  r = Reshape (f, d)
            s = Exp (r)  e = Identity (d) }>
}""", [{"n": i64(t), "x": -np.abs(f32(k))} for t, k in ((0, 2), (2, 6))])

Model("loop_swaps", """(int64 n, int64 x, int64 z) => (int64 y, int64 w, int64[T] all) {
    yes = Constant <value = bool {1}> ()
    y, w, all = Loop (n, yes, x, z) <body = b (int64 i, bool go, int64 a, int64 c)
        => (bool on, int64 s, int64 d, int64 row) {
        on = Identity (go)  s = Identity (c)  d = Add (a, c)  row = Identity (d) }>
}""", [{"n": i64(t), "x": i64(0), "z": i64(1)} for t in (0, 1, 30)])

Model("loop_constant_result", """(int64 n, float[2] x) => (float[2] y, float[T, 2] rows) {
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[2] a) => (bool on, float[2] s, float[2] row) {
        on = Identity (go)  s = Constant <value_floats = [1.0, 2.0]> ()
            row = Constant <value_floats = [3.0, 4.0]> () }>
}""", [{"n": i64(t), "x": f32(2)} for t in (0, 2)])

Model("loop_rows", """(float[N, 3] x) => (float[3] y, float[T, 3] rows) {
    s = Shape (x)
    zero = Constant <value_int = 0> ()
    n = Gather <axis = 0> (s, zero)
    yes = Constant <value = bool {1}> ()
    start = Constant <value_floats = [0.0, 0.0, 0.0]> ()
    y, rows = Loop (n, yes, start) <body = b (int64 i, bool go, float[3] a) => (bool on, float[3] t, float[3] row) {
        on = Identity (go)  r = Gather <axis = 0> (x, i)  t = Add (a, r)  row = Tanh (t) }>
}""", [{"x": f32(k, 3)} for k in (1, 2, 33)])

Model("loop_slices", """(int64 n, float[9] x) => (float[3] y) {
    yes = Constant <value = bool {1}> ()
    start = Constant <value_floats = [0.0, 0.0, 0.0]> ()
    y = Loop (n, yes, start) <body = b (int64 i, bool go, float[3] a) => (bool on, float[3] t) {
        on = Identity (go)  three = Constant <value_int = 3> ()  zero = Constant <value_ints = [0]> ()
        begin = Mul (i, three)  end = Add (begin, three)  p = Unsqueeze (begin, zero)  q = Unsqueeze (end, zero)
        r = Slice (x, p, q, zero)  t = Add (a, r) }>
}""", [{"n": i64(t), "x": f32(9)} for t in (1, 3)])

Model("loop_in_loop", """(int64 n, float[N] x) => (float[N] y, float[T, N] rows) {
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[N] a) => (bool on, float[N] s, float[N] row) {
        on = Identity (go)
        s = Loop (i, go, a) <body = bb (int64 j, bool go2, float[N] c) => (bool on2, float[N] t) {
            on2 = Identity (go2)  f = Cast <to = 1> (j)  g = Cast <to = 1> (i)  u = Add (f, g)  v = Add (u, x)
                t = Add (c, v) }>
        row = Identity (s) }>
}""", [{"n": i64(t), "x": f32(k)} for t, k in ((1, 1), (4, 3), (9, 2))])

Model("loop_grows_in_loop", """(int64 n, float[N] x) => (float[M] y) {
    yes = Constant <value = bool {1}> ()
    y = Loop (n, yes, x) <body = b (int64 i, bool go, float[K] a) => (bool on, float[L] s) {
        on = Identity (go)
        s = Loop (i, go, a) <body = bb (int64 j, bool go2, float[P] c) => (bool on2, float[Q] t) {
            on2 = Identity (go2)  u = Neg (x)  t = Concat <axis = 0> (c, u) }> }>
}""", [{"n": i64(t), "x": f32(k)} for t, k in ((0, 1), (4, 3))])

Model("loop_if_loop", """(int64 n, float[N] x) => (float[N] y, float[T] rows) {
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[N] a) => (bool on, float[N] s, float row) {
        on = Identity (go)
        two = Constant <value_int = 2> ()  m = Mod (i, two)  zero = Constant <value_int = 0> ()
            even = Equal (m, zero)
        s = If (even) <
            then_branch = t () => (float[N] p) {
                p = Loop (i, go, a) <body = bb (int64 j, bool go2, float[N] c) => (bool on2, float[N] d) {
                    on2 = Identity (go2)  d = Add (c, x) }> },
            else_branch = e () => (float[N] q) { q = Neg (a) }>
        row = ReduceSum <keepdims = 0> (s) }>
}""", [{"n": i64(t), "x": f32(k)} for t, k in ((1, 1), (5, 3), (6, 2))])

Model("loop_number_of_one", """(int64[1] n, float[N] x) => (float[N] y) {
    y = Loop (n, , x) <body = b (int64[1] i, bool[1] go, float[N] a) => (bool[1] on, float[N] s) {
        on = Identity (go)  f = Cast <to = 1> (i)  s = Add (a, f) }>
}""", [{"n": i64([t]), "x": f32(k)} for t, k in ((3, 2), (0, 2))],
      oracle=lambda n, x: [x + np.float32(sum(range(n[0])))])

Model("loop_rank_grows", """(float[2] x) => (float[1, 1, 1, 2] y) {
    n = Constant <value_int = 3> ()
    yes = Constant <value = bool {1}> ()
    y = Loop (n, yes, x) <body = b (int64 i, bool go, float a) => (bool on, float s) {
        on = Identity (go)  zero = Constant <value_ints = [0]> ()  s = Unsqueeze (a, zero) }>
}""", {"x": f32(2)}, oracle=lambda x: [x.reshape(1, 1, 1, 2)])

Model("loop_product", """(int64 n, float[N, 4] x, float[4, 4] w) => (float[N, 4] y, float[T, N] rows) {
    yes = Constant <value = bool {1}> ()
    y, rows = Loop (n, yes, x) <body = b (int64 i, bool go, float[N, 4] a) => (bool on, float[N, 4] s, float[N] row) {
        on = Identity (go)  p = MatMul (a, w)  s = Tanh (p)  k = Constant <value_ints = [1]> ()
            row = ReduceSum <keepdims = 0> (s, k) }>
}""", [{"n": i64(t), "x": f32(k, 4), "w": f32(4, 4)} for t, k in ((3, 2), (12, 5))])

Model("loop_greedy", """(int64[1, S] prompt, float[11, 6] table, float[6, 11] head, int64 most) => (int64[1, M] ids) {
    yes = Constant <value = bool {1}> ()
    ids = Loop (most, yes, prompt) <body = b (int64 i, bool go, int64[1, K] seen) => (bool on, int64[1, L] next) {
        e = Gather <axis = 0> (table, seen)
        ax = Constant <value_ints = [1]> ()
        m = ReduceMean <axes = [1], keepdims = 0> (e)
        logits = MatMul (m, head)
        best = ArgMax <axis = 1, keepdims = 1> (logits)
        next = Concat <axis = 1> (seen, best)
        end = Constant <value_ints = [3]> ()
        flat = Constant <value_ints = [-1]> ()
        one = Reshape (best, flat)
        other = Equal (one, end)
        sq = Squeeze (other)
        on = Not (sq) }>
}""", [{"prompt": i64([p]), "table": f32(11, 6), "head": f32(6, 11), "most": i64(t)}
       for p, t in (([1, 2], 6), ([4], 9), ([5, 6, 7, 8], 0))])

Model("loop_list", """(int64 n, float[5] x) => (float[M] y, int64 count) {
    yes = Constant <value = bool {1}> ()
    empty = SequenceEmpty <dtype = 1> ()
    all = Loop (n, yes, empty) <body = b (int64 i, bool go, seq(float[K]) a) => (bool on, seq(float[K]) s) {
        on = Identity (go)  zero = Constant <value_ints = [0]> ()  one = Constant <value_int = 1> ()  j = Add (i, one)
        end = Unsqueeze (j, zero)  part = Slice (x, zero, end, zero)  s = SequenceInsert (a, part) }>
    y = ConcatFromSequence <axis = 0> (all)
    count = SequenceLength (all)
}""", [{"n": i64(t), "x": f32(5)} for t in (1, 2, 5)])

Model("loop_cache", """(int64 n, float[1, H] q, float[H, H] w) => (float[1, H] y, float[T, H] cache) {
    yes = Constant <value = bool {1}> ()
    y, cache = Loop (n, yes, q, q) <body = b (int64 i, bool go, float[1, H] a, float[K, H] kv)
        => (bool on, float[1, H] s, float[L, H] kv2) {
        on = Identity (go)  p = MatMul (a, w)  kv2 = Concat <axis = 0> (kv, p)
        t = Transpose <perm = [1, 0]> (kv2)  sc = MatMul (p, t)  sm = Softmax <axis = -1> (sc)  s = MatMul (sm, kv2) }>
}""", [{"n": i64(t), "q": f32(1, 4), "w": f32(4, 4) / 2} for t in (0, 1, 6)])

Model("loop_over_result", """(bool c, float[N] x) => (float[M] y, float z) {
    r = If (c) <then_branch = t () => (float[K] a) { a = Concat <axis = 0> (x, x) },
                else_branch = e () => (float[N] b) { b = Exp (x) }>
    n = Size (r)
    yes = Constant <value = bool {1}> ()
    zero = Constant <value_float = 0.0> ()
    z, y = Loop (n, yes, zero) <body = b (int64 i, bool go, float a) => (bool on, float s, float row) {
        on = Identity (go)  v = Gather <axis = 0> (r, i)  s = Add (a, v)  row = Neg (s) }>
}""", both(x=f32(3)) + both(x=f32(20)))

Model("loop_nonzero", """(int64 n, float[N] x) => (int64[1, M] y, int64[T] counts) {
    yes = Constant <value = bool {1}> ()
    start = NonZero (x)
    y, counts = Loop (n, yes, start) <body = b (int64 i, bool go, int64[1, K] a) => (bool on, int64[1, L] s, int64 k) {
        on = Identity (go)  f = Cast <to = 1> (i)  d = Sub (x, f)  z = Constant <value_float = 0.0> ()
        m = Max (d, z)  s = NonZero (m)  k = Size (s) }>
}""", [{"n": i64(t), "x": np.array([0, 1, 2.5, 3, 0], np.float32)} for t in (0, 2, 5)])

Model("loop_in_scan", """(float[T, N] x) => (float[T, N] y) {
    y = Scan <num_scan_inputs = 1, body = b (float[N] a) => (float[N] r) {
        many = Constant <value_int = 300> ()  yes = Constant <value = bool {1}> ()
        r = Loop (many, yes, a) <body = bb (int64 i, bool go, float[N] c) => (bool on, float[N] d) {
            on = Identity (go)  k = Constant <value_float = 0.99> ()  d = Mul (c, k) }> }> (x)
}""", [{"x": f32(t, 3)} for t in (1, 4)])

Model("loop_queue", """(int64 n, float[N] x) => (float[M] y, int64 k) {
    yes = Constant <value = bool {1}> ()
    d = Add (x, x)
    e = Exp (x)
    queue = SequenceConstruct (x, d, e)
    s = Loop (n, yes, queue) <body = b (int64 i, bool go, seq(float[K]) a) => (bool on, seq(float[K]) r) {
        on = Identity (go)  zero = Constant <value_int = 0> ()  first = SequenceAt (a, zero)
        t = SequenceErase (a, zero)  u = Neg (first)  r = SequenceInsert (t, u) }>
    k = SequenceLength (s)
    y = ConcatFromSequence <axis = 0> (s)
}""", [{"n": i64(t), "x": f32(3)} for t in (0, 1, 5)])

Model("loop_divisor", """(int64 a, int64 b) => (int64 g) {
    zero = Constant <value_int = 0> ()
    none = Equal (b, zero)
    c = Not (none)
    g, rest = Loop (, c, a, b) <body = bb (int64 i, bool go, int64 p, int64 q) => (bool on, int64 r, int64 s) {
        r = Identity (q)  s = Mod (p, q)  z = Constant <value_int = 0> ()  e = Equal (s, z)  on = Not (e) }>
}""", [{"a": i64(a), "b": i64(b)} for a, b in ((12, 18), (7, 0), (100, 75))])

Model("loop_types", """(int64 n, double[N] x, bool[N] m, int8[N] q)
        => (double[N] y, bool[N] w, int8[N] p, bool[T, N] rows) {
    yes = Constant <value = bool {1}> ()
    y, w, p, rows = Loop (n, yes, x, m, q) <body = b (int64 i, bool go, double[N] a, bool[N] c, int8[N] d)
        => (bool on, double[N] s, bool[N] e, int8[N] f, bool[N] row) {
        on = Identity (go)  s = Add (a, a)  e = Not (c)  f = Add (d, d)  row = Identity (e) }>
}""", [{"n": i64(t), "x": f32(3).astype(np.float64), "m": np.array([True, False, True]),
        "q": np.array([1, 50, -70], np.int8)} for t in (1, 4)])

# --- Scan ---
Model("scan_sum", """(float[2] start, float[T, 2] x) => (float[2] last, float[T, 2] y) {
    last, y = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] a) => (float[2] t, float[2] row) {
        t = Add (s, a)  row = Tanh (t) }> (start, x)
}""", [{"start": f32(2), "x": f32(t, 2)} for t in (1, 3, 40)])

Model("scan_backward", """(float[2] start, float[T, 2] x) => (float[2] last, float[T, 2] y, float[T, 2] z) {
    last, y, z = Scan <num_scan_inputs = 1, scan_input_directions = [1], scan_output_directions = [0, 1],
        body = b (float[2] s, float[2] a) => (float[2] t, float[2] row, float[2] back) {
        t = Add (s, a)  row = Identity (t)  back = Neg (t) }> (start, x)
}""", [{"start": f32(2), "x": f32(t, 2)} for t in (1, 5, 17)])

Model("scan_axes", """(float[3] start, float[3, T, 2] x, float[T, 3] z) => (float[3] last,
        float[2, T, 3] y, float[3, T] w) {
    last, y, w = Scan <num_scan_inputs = 2, scan_input_axes = [1, -2], scan_output_axes = [1, -1],
        body = b (float[3] s, float[3, 2] a, float[3] c) => (float[3] t, float[2, 3] row, float[3] col) {
        t = Add (s, c)  m = Transpose <perm = [1, 0]> (a)  row = Mul (m, t)  col = Exp (c) }> (start, x, z)
}""", [{"start": f32(3), "x": f32(3, t, 2), "z": f32(t, 3)} for t in (1, 4, 30)])

Model("scan_stateless", """(float[T, N] x) => (float[T] y) {
    y = Scan <num_scan_inputs = 1, body = b (float[N] a) => (float row) { row = ReduceMax <keepdims = 0> (a) }> (x)
}""", [{"x": f32(t, n)} for t, n in ((1, 3), (20, 2))])

Model("scan_cell", """(float[B, 4] h, float[T, B, 3] x, float[3, 4] w, float[4, 4] r)
        => (float[B, 4] last, float[T, B, 4] y) {
    last, y = Scan <num_scan_inputs = 1, body = b (float[B, 4] s, float[B, 3] a) => (float[B, 4] t, float[B, 4] row) {
        p = MatMul (a, w)  q = MatMul (s, r)  u = Add (p, q)  t = Tanh (u)  row = Identity (t) }> (h, x)
}""", [{"h": f32(n, 4), "x": f32(t, n, 3), "w": f32(3, 4), "r": f32(4, 4)} for t, n in ((1, 2), (8, 1), (50, 3))])

Model("scan_long", """(float[2] start, float[300, 2] x) => (float[2] last, float[300, 2] y) {
    last, y = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] a) => (float[2] t, float[2] row) {
        k = Constant <value_float = 0.5> ()  h = Mul (s, k)  t = Add (h, a)  row = Neg (t) }> (start, x)
}""", {"start": f32(2), "x": f32(300, 2)})

Model("scan_in_loop", """(int64 n, float[2] start, float[T, 2] x) => (float[2] last, float[K, 2] all) {
    yes = Constant <value = bool {1}> ()
    last, rows = Loop (n, yes, start) <body = o (int64 i, bool go, float[2] c) => (bool on, float[2] d,
        float[T, 2] y) {
        on = Identity (go)
        d, y = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] a) => (float[2] t, float[2] row) {
            t = Add (s, a)  row = Mul (t, c) }> (c, x) }>
    shape = Constant <value_ints = [-1, 2]> ()
    all = Reshape (rows, shape)
}""", [{"n": i64(k), "start": f32(2), "x": f32(t, 2)} for k, t in ((1, 3), (4, 20))])

SCAN_8 = """(%s float[B, 2] start, float[B, T, 2] x) => (float[B, 2] last, float[B, T, 2] y) {
    last, y = Scan <num_scan_inputs = 1%s, body = b (float[2] s, float[2] a) => (float[2] t, float[2] row) {
        t = Add (s, a)  row = Neg (t) }> (%s, start, x)
}"""
Model("scan8", SCAN_8 % ("", "", ""),
        [{"start": f32(b, 2), "x": f32(b, t, 2)} for b, t in ((1, 3), (3, 4), (2, 20))], opset=8)
Model("scan8_lengths", SCAN_8 % ("int64[B] n,", "", "n"),
      [{"n": i64(n), "start": f32(len(n), 2), "x": f32(len(n), 5, 2)} for n in ([5, 2, 3], [1], [4, 5])], opset=8)
Model("scan8_backward", SCAN_8 % ("int64[B] n,", ", directions = [1]", "n"),
      [{"n": i64(n), "start": f32(len(n), 2), "x": f32(len(n), 5, 2)} for n in ([5, 2, 3], [1], [4, 5])], opset=8)

# --- sequences ---
Model("map_sequence", """(float[K] a, float[L] b, float[N] z) => (float[M] y, int64 n) {
    s = SequenceConstruct (a, b, a)
    r = SequenceMap <body = t (float[P] x) => (float[P] e) { e = Neg (x) }> (s)
    y = ConcatFromSequence <axis = 0> (r)
    n = SequenceLength (r)
}""", [{"a": f32(k), "b": f32(m), "z": f32(1)} for k, m in ((2, 3), (1, 4))])

Model("map_list", """(seq(float[P, 2]) s, float[2] z) => (seq(float[P, 2]) r, int64 n) {
    r = SequenceMap <body = t (float[P, 2] x, float[2] w) => (float[P, 2] e) { e = Add (x, w) }> (s, z)
    n = SequenceLength (r)
}""", [{"s": [f32(k, 2, seed=i) for i, k in enumerate(sizes)], "z": f32(2)} for sizes in ((1, 3, 2), (4,), (2, 2))],
      oracle=lambda s, z: [[x + z for x in s], i64(len(s))])

Model("map_two_lists", """(seq(float[P]) s, seq(float[P]) z) => (seq(float[P]) r, seq(int64) n) {
    r, n = SequenceMap <body = t (float[P] x, float[P] w) => (float[P] e, int64 k) { e = Mul (x, w)
        k = Size (x) }> (s, z)
}""", [{"s": [f32(k, seed=i) for i, k in enumerate(sizes)], "z": [f32(k, seed=i + 9) for i, k in enumerate(sizes)]}
       for sizes in ((1, 3, 2), (4,), (2, 2))],
      oracle=lambda s, z: [[a * b for a, b in zip(s, z)], [i64(a.size) for a in s]])

Model("if_lists", """(bool c, float[N] x) => (float[M] y) {
    s = If (c) <then_branch = t () => (seq(float[N]) a) { d = Add (x, x)  a = SequenceConstruct (x, d) },
                else_branch = e () => (seq(float[N]) b) { b = SequenceConstruct (x) }>
    y = ConcatFromSequence <axis = 0> (s)
}""", both(x=f32(3)) + both(x=f32(1)))

# --- recurrent operators ---
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(name, op, cases, directions=1, inputs=3, hidden=4, given=(), outputs="y, h", oracle=None, **attrs):
    """`cases`: (T, B) or (T, B, lengths). `given`: which of B, L, H, C, P there are. Weights are constants."""
    gates = GATES[op]
    weights = {"W": f32(directions, gates * hidden, inputs, seed=3) / 2,
               "R": f32(directions, gates * hidden, hidden, seed=4) / 2}
    if "B" in given:
        weights["B"] = f32(directions, 2 * gates * hidden, seed=5) / 2
    if "P" in given:
        weights["P"] = f32(directions, 3 * hidden, seed=6) / 2
    batch_first = attrs.get("layout", 0) == 1
    types = {"X": f"float[B, T, {inputs}]" if batch_first else f"float[T, B, {inputs}]", "L": "int32[B]",
             "H": f"float[{directions}, B, {hidden}]", "C": f"float[{directions}, B, {hidden}]"}
    places = ["X", "W", "R", "B", "L", "H", "C", "P"]
    read = [n if n in ("X", "W", "R") or n in given else "" for n in places]
    while not read[-1]:
        read.pop()
    free = [n for n in places if n in types and (n == "X" or n in given)]

    def text(v):
        return "[" + ", ".join(text(x) for x in v) + "]" if isinstance(v, (list, tuple)) else \
            f'"{v}"' if isinstance(v, str) else repr(v)

    attrs = {"hidden_size": hidden, **attrs}
    state = f"B, {directions}" if batch_first else f"{directions}, B"
    steps = f"B, T, {directions}" if batch_first else f"T, {directions}, B"
    results = {"y": f"float[{steps}, {hidden}] y",
               "h": f"float[{state}, {hidden}] h", "c": f"float[{state}, {hidden}] c"}
    wanted = [o.strip() for o in outputs.split(",")]
    sets = []
    for i, (t, b, *lengths) in enumerate(cases):
        feed = {"X": f32(*((b, t) if batch_first else (t, b)), inputs, seed=i),
                "L": i32(lengths[0] if lengths else [t] * b),
                "H": f32(directions, b, hidden, seed=i + 20) / 2, "C": f32(directions, b, hidden, seed=i + 30) / 2}
        sets.append({n: feed[n] for n in free})
    model = Model(name, f"""({", ".join(f"{types[n]} {n}" for n in free)})
        => ({", ".join(results[o] for o in wanted if o)}) {{
    {outputs} = {op} <{", ".join(f"{k} = {text(v)}" for k, v in attrs.items())}> ({", ".join(read)})
}}""", sets, oracle=oracle)
    model.model.graph.initializer.extend(numpy_helper.from_array(x, n) for n, x in weights.items())
    return model


LENGTHS = [(5, 3, [5, 2, 4]), (40, 2, [17, 40]), (1, 2, [1, 1])]
SIZES = [(1, 2), (3, 1), (40, 3)]
recurrent("rnn", "RNN", SIZES, given="B")
recurrent("rnn_backward_lengths", "RNN", LENGTHS, given="BLH", direction="reverse")
recurrent("rnn_relu_clip", "RNN", SIZES, given="B", activations=["Relu"], clip=0.7)
recurrent("rnn_two", "RNN", [(1, 2), (3, 1), (11, 3)], directions=2, given="B", direction="bidirectional",
          activations=["Tanh", "Sigmoid"])
recurrent("rnn_parameters", "RNN", SIZES, directions=2, given="B", direction="bidirectional",
          activations=["LeakyRelu", "HardSigmoid"], activation_alpha=[0.3, 0.4], activation_beta=[0.1])
recurrent("gru", "GRU", SIZES, given="B")
recurrent("gru_late_reset", "GRU", SIZES, given="BH", linear_before_reset=1)
recurrent("gru_two_lengths", "GRU", LENGTHS, directions=2, given="BLH", direction="bidirectional",
        linear_before_reset=1)
recurrent("gru_backward", "GRU", SIZES, direction="reverse", outputs="y")
recurrent("lstm", "LSTM", SIZES, given="B", outputs="y, h, c")
recurrent("lstm_states", "LSTM", SIZES, given="BHC", outputs="y, h, c")
recurrent("lstm_last", "LSTM", SIZES, given="B", outputs=", h")
recurrent("lstm_two", "LSTM", SIZES, directions=2, given="BHC", direction="bidirectional", outputs="y, h, c")
recurrent("lstm_two_lengths", "LSTM", LENGTHS, directions=2, given="BLHC", direction="bidirectional", outputs="y, h, c")
recurrent("lstm_backward_lengths", "LSTM", LENGTHS, given="BL", direction="reverse", outputs="y, h, c")
recurrent("lstm_peepholes", "LSTM", SIZES, given="BP", outputs="y, h, c")
recurrent("lstm_coupled", "LSTM", SIZES, given="BP", outputs="y, h, c", input_forget=1)
recurrent("lstm_clip", "LSTM", SIZES, given="B", outputs="y, h, c", clip=0.5)
recurrent("lstm_few", "LSTM", [(3, 2)], given="B", outputs="y, h, c")


def batch_first(model):
    """The results of a model with layout 0 as layout 1 has them, which ONNX Runtime lacks."""

    def run(X):
        y, *states = model.results({"X": X.transpose(1, 0, 2)})
        return [y.transpose(2, 0, 1, 3)] + [x.transpose(1, 0, 2) for x in states]

    return run


for op in ("RNN", "GRU", "LSTM"):
    plain = recurrent(f"{op.lower()}_two_plain", op, SIZES, directions=2, direction="bidirectional")
    recurrent(f"{op.lower()}_batch_first", op, SIZES, directions=2, direction="bidirectional", layout=1,
              oracle=batch_first(plain))

# --- refused: all nodes that cannot be imported are told at once ---
Model("all_reasons", """(bool c, float[2, 3] x, int64[N] s, uint8[K] p, int64 k) => (float y, float[R] z, uint8[H, W, 3] i, float[M] w) {
    y = If (c) <
        then_branch = then () => (a) { a = Identity (x) },
        else_branch = other () => (b) { b = ReduceSum <keepdims = 0> (x) }
    >
    z = Reshape (x, s)
    i = ImageDecoder <pixel_format = "RGB"> (p)
    w = HammingWindow <output_datatype = 1> (k)
}""", [], opset=20, refused="""4 nodes cannot be imported
If (opset 20, node 'If_0'): result 0 has rank 2 in one branch and 0 in the other, and the condition is not known when compiling
Reshape (opset 20, node 'Reshape_1'): input 's' (shape) must be known when compiling
ImageDecoder (opset 20, node 'ImageDecoder_2'): the operator is not supported
HammingWindow (opset 20, node 'HammingWindow_3'): input 'k' (size) must be known when compiling""")
