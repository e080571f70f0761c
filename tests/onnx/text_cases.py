"""The cases text_*, list_* and random_*: strings, sequences and optionals, random numbers, as texts of onnx.parser. make_cases.py writes them; results
are ONNX Runtime's, or a function's where it has none or minds the machine's locale.
"""
import numpy as np
import onnx

from control_cases import Model, f32, i64

models = []


class Case(Model):
    """`refused`: why the model is not imported."""

    def __init__(self, name, text, sets, opset=20, oracle=None, refused=None):
        self.name, self.oracle, self.refused = name, oracle, refused
        self.sets = sets if isinstance(sets, list) else [sets]
        self.model = onnx.parser.parse_model(
            f'<ir_version: 9, opset_import: ["" : {opset}, "ai.onnx.ml" : 4]> main {text}'
        )
        models.append(self)


def words(text, *shape):
    """An array of the words between bars."""
    return np.array(text.split("|"), dtype=object).reshape(shape or (-1,))


# --- what moves strings ---
Case("text_moves", """(string[N] x, int64[K] at) => (string[M] y, string[A, B] z, int64[1] s) {
    g = Gather (x, at)
    y = Concat <axis = 0> (g, x)
    shape = Constant <value_ints = [1, -1]> ()
    r = Reshape (g, shape)
    z = Transpose (r)
    s = Shape (y)
}""", [{"x": words("a|é|"), "at": i64([2, 1, 1])}, {"x": words("one"), "at": i64([0])}])

Case("text_select", """(string[N] x, string[N] y) => (string[N] z, bool[N] same, string[K] kept) {
    w = Constant <value_strings = ["b"]> ()
    same = Equal (x, w)
    z = Where (same, y, x)
    kept = Compress <axis = 0> (z, same)
}""", [{"x": words("a|b|c|b"), "y": words("1|2|3|4")}, {"x": words("z"), "y": words("")}])

Case("text_unique", """(string[N] x) => (string[K] y, int64[K] at, int64[N] back, int64[K] count) {
    y, at, back, count = Unique <sorted = 0> (x)
}""", [{"x": words("b|a|b|c|a")}, {"x": words("q")}])

Case("text_slices", """(string[A, B] x) => (string[C, D] y, string[G, H] t) {
    b = Constant <value_ints = [0, 1]> ()
    e = Constant <value_ints = [9, 3]> ()
    y = Slice (x, b, e)
    n = Constant <value_ints = [1, 2]> ()
    t = Tile (x, n)
}""", {"x": words("a|b|c|d|e|f", 2, 3)})

Case("text_pad", """(string[A, B] x, string w) => (string[C, D] y, string[C, D] z) {
    p = Constant <value_ints = [0, 1, 1, 0]> ()
    y = Pad (x, p, w)
    z = Pad (x, p)
}""", {"x": words("a|b|c|d", 2, 2), "w": np.array("-", dtype=object)},
     oracle=lambda x, w: [np.pad(x, ((0, 1), (1, 0)), constant_values=v) for v in (w.item(), "")])

# --- operators on strings ---
Case("text_concat", """(string[N] x, string[1] y) => (string[N] z) {
    u = StringConcat (x, y)
    z = StringConcat (u, x)
}""", [{"x": words("a||ß"), "y": words("-")}, {"x": words("b"), "y": words("")}])

Case("text_split", """(string[N] x) => (string[N, K] y, int64[N] n, string[N, L] z, int64[N] m) {
    y, n = StringSplit <delimiter = ","> (x)
    z, m = StringSplit <delimiter = ",", maxsplit = 1> (x)
}""", [{"x": words("a,b,c|x")}, {"x": words(",a,")}])

Case("text_split_spaces", """(string[N] x) => (string[N, K] y, int64[N] n) {
    y, n = StringSplit (x)
}""", {"x": words("a b  c| d |")})

Case("text_match", """(string[N] x) => (bool[N] y) {
    y = RegexFullMatch <pattern = "(?i)[a-z_]\\\\w{1,7}(\\\\.\\\\pL+)*"> (x)
}""", {"x": words("abc|A9.é|x|9a|_b.c.d|abcdefghi|ab.1")})


def normalized(action, stop, fold, drop_nothing=""):
    def result(x):
        kept = [w for w in x.ravel() if (w.lower() if fold else w) not in stop]
        kept = [getattr(w, action)() for w in kept] or [drop_nothing]
        return [np.array(kept, dtype=object).reshape((1, -1) if x.ndim == 2 else -1)]

    return result


Case("text_normalize", """(string[1, N] x) => (string[1, M] y) {
    y = StringNormalizer <case_change_action = "UPPER", is_case_sensitive = 0, stopwords = ["The", "a"]> (x)
}""", [{"x": words("the|Ünder|A|ж", 1, 4)}, {"x": words("THE", 1, 1)}], oracle=normalized("upper", ["the", "a"], True))

Case("text_normalize_then", """(string[N] x) => (int64[M] y, int64[1] n) {
    l = StringNormalizer <case_change_action = "LOWER", is_case_sensitive = 1, stopwords = ["The"]> (x)
    y = ai.onnx.ml.LabelEncoder <keys_strings = ["cat", "the"], values_int64s = [7, 8], default_int64 = 0> (l)
    n = Shape (y)
}""", [{"x": words("The|CAT|the|dog")}, {"x": words("The")}],
     oracle=lambda x: (lambda y: [y, i64([len(y)])])(
         i64([{"cat": 7, "the": 8}.get(w.lower(), 0) for w in x if w != "The"] or [0])))

Case("text_cast", """(string[N] x, int64[K] k, bool[2] b) => (float[N] f, string[K] s, string[2] t, double[K] d) {
    f = Cast <to = 1> (x)
    s = Cast <to = 8> (k)
    t = Cast <to = 8> (b)
    d = CastLike (s, d0)
    d0 = Constant <value = double[1] {0}> ()
}""", {"x": words("1.5|-2e3|INF|NaN|0"), "k": i64([3, -40]), "b": np.array([True, False])})

# --- tables ---
Case("text_label_floats", """(string[N] x, float[M] v) => (float[N] y, string[M] z, string[N] t) {
    y = ai.onnx.ml.LabelEncoder <keys_strings = ["a", "b"], values_floats = [1.5, -2.0], default_float = 9.0> (x)
    z = ai.onnx.ml.LabelEncoder <keys_floats = [1.5, 2.0], values_strings = ["p", "q"], default_string = "no"> (v)
    t = ai.onnx.ml.LabelEncoder <keys_strings = ["a"], values_strings = ["b"]> (x)
}""", {"x": words("b|c|a|b"), "v": np.array([2, 0, 1.5], np.float32)})

Case("text_label_numbers", """(string[N, M] x, int64[K] v) => (int64[N, M] y, string[K] z) {
    y = ai.onnx.ml.LabelEncoder <keys_strings = ["a", "b"], values_int64s = [4, 5]> (x)
    z = ai.onnx.ml.LabelEncoder <keys_int64s = [4, 5], values_strings = ["a", "b"]> (v)
}""", {"x": words("b|c|a|b", 2, 2), "v": i64([5, 6, 4])})

Case("text_categories", """(string[N] x, int64[K] v) => (int64[N] y, string[K] z) {
    y = ai.onnx.ml.CategoryMapper <cats_strings = ["a", "b"], cats_int64s = [10, 20], default_int64 = -3> (x)
    z = ai.onnx.ml.CategoryMapper <cats_strings = ["a", "b"], cats_int64s = [10, 20], default_string = "?"> (v)
}""", {"x": words("b|c|a"), "v": i64([20, 6, 10])})

Case("text_one_hot", """(string[N] x) => (float[N, 3] y) {
    y = ai.onnx.ml.OneHotEncoder <cats_strings = ["a", "b", "c"]> (x)
}""", {"x": words("b|z|a")})

Case("text_counts", """(string[N] x) => (float[5] y) {
    y = TfIdfVectorizer <mode = "TF", min_gram_length = 1, max_gram_length = 2, max_skip_count = 1,
        ngram_counts = [0, 3], ngram_indexes = [0, 1, 2, 3, 4], pool_strings = ["a", "b", "c", "a", "b", "b", "c"]> (x)
}""", [{"x": words("a|b|x|c|b|a")}, {"x": words("b|c|b|c")}])

# --- control flow ---
Case("text_loop", """(int64 n, string[N] x, string[1] y) => (string[N] z) {
    go = Constant <value = bool {1}> ()
    z = Loop (n, go, x) <body = b (int64 i, bool c, string[N] s) => (bool d, string[N] t) {
        d = Identity (c)
        u = StringConcat (s, y)
        t = StringConcat (u, x)
    }>
}""", [{"n": i64(k), "x": words("a|b"), "y": words("-")} for k in (0, 1, 3)])

Case("text_if", """(bool c, string[N] x) => (string[M] y) {
    y = If (c) <then_branch = t () => (string[N] a) { a = StringConcat (x, x) },
                else_branch = e () => (string[1] b) { b = Constant <value_strings = ["none"]> () }>
}""", [{"c": np.array(True), "x": words("a|b")}, {"c": np.array(False), "x": words("a|b")}])

# --- sequences whose length is data ---
Case("list_at", """(seq(float[N, 2]) s, int64 at) => (float[N, 2] y, int64 n) {
    y = SequenceAt (s, at)
    n = SequenceLength (s)
}""", [{"s": [f32(1, 2), f32(3, 2), f32(0, 2)], "at": i64(k)} for k in (0, 1, -1)])

Case("list_insert", """(seq(float[N]) s, float[K] x, int64 at) => (seq(float[N]) y, seq(float[N]) z, float[M] w) {
    y = SequenceInsert (s, x, at)
    z = SequenceErase (y, at)
    w = ConcatFromSequence <axis = 0> (y)
}""", [{"s": [f32(2), f32(3)], "x": f32(4), "at": i64(k)} for k in (0, 1, -1)])

Case("list_split", """(float[N, 3] x, int64[K] sizes) => (seq(float[M, 3]) y, float[L, 3] z, seq(float[N]) t, float[3, N] u) {
    y = SplitToSequence <axis = 0> (x, sizes)
    z = ConcatFromSequence <axis = 0> (y)
    t = SplitToSequence <axis = 1, keepdims = 0> (x)
    u = ConcatFromSequence <axis = 0, new_axis = 1> (t)
}""", [{"x": f32(6, 3), "sizes": i64([1, 2, 3])}, {"x": f32(2, 3), "sizes": i64([2])}])

Case("list_pieces", """(float[N, 3] x, int64 size) => (seq(float[M, 3]) y, float[A, B] last) {
    y = SplitToSequence <axis = 0> (x, size)
    at = Constant <value_int = -1> ()
    last = SequenceAt (y, at)
}""", [{"x": f32(7, 3), "size": i64(3)}, {"x": f32(2, 3), "size": i64(5)}])

Case("list_of_strings", """(string[N] x, int64 at) => (string[K] y, seq(string[N]) s) {
    a = StringConcat (x, x)
    s = SequenceConstruct (x, a)
    y = SequenceAt (s, at)
}""", [{"x": words("a|b"), "at": i64(k)} for k in (0, 1)])

Case("list_ranks", """(seq(float[N, 2]) s, int64 at) => (float[M, 2] y) {
    y = Loop (n, go, z) <body = b (int64 i, bool c, float[M, 2] a) => (bool d, float[M, 2] t) {
        d = Identity (c)
        x = SequenceAt (s, i)
        r = Relu (x)
        t = Concat <axis = 0> (a, r)
    }>
    n = SequenceLength (s)
    go = Constant <value = bool {1}> ()
    z = SequenceAt (s, at)
}""", [{"s": [f32(1, 2), f32(3, 2)], "at": i64(0)}, {"s": [f32(2, 2)], "at": i64(0)}])

# --- rows of ai.onnx.ml ---
Case("ml_rows", """(float[N, 3] x, int64[N, 2] k) => (float[N, 3] a, float[N, 3] b, float[N, 3] c, float[N, 3] d, float[N, 5] e, float[N, 3] f, float[N, 2] g) {
    a = ai.onnx.ml.Scaler <offset = [1.0, 2.0, 0.5], scale = [2.0, 0.25, -1.0]> (x)
    b = ai.onnx.ml.Normalizer <norm = "L2"> (x)
    c = ai.onnx.ml.Normalizer <norm = "L1"> (x)
    m = Abs (x)
    d = ai.onnx.ml.Normalizer <norm = "MAX"> (m)
    i = ai.onnx.ml.Imputer <imputed_value_int64s = [7, 8], replaced_value_int64 = 0> (k)
    g = ai.onnx.ml.Scaler <offset = [0.5], scale = [3.0]> (i)
    e = ai.onnx.ml.FeatureVectorizer <inputdimensions = [3, 2]> (x, g)
    f = ai.onnx.ml.Imputer <imputed_value_floats = [1.5], replaced_value_float = 0.0> (x)
}""", [{"x": np.where(f32(n, 3) > 0.6, 0, f32(n, 3)).astype(np.float32), "k": i64([[0, 1], [2, 0], [3, 4]])[:n]} for n in (3, 1)])

Case("ml_linear", """(float[N, 3] x) => (float[N, 2] r, string[N] s, float[N, 3] t, int64[N] k, float[N, 2] u) {
    r = ai.onnx.ml.LinearRegressor <coefficients = [1.0, -2.0, 0.5, 3.0, 0.25, -1.0], intercepts = [0.5, -0.5], targets = 2> (x)
    s, t = ai.onnx.ml.LinearClassifier <coefficients = [1.0, -2.0, 0.5, 3.0, 0.25, -1.0, -3.0, 1.0, 2.0],
        intercepts = [0.5, -0.5, 0.25], classlabels_strings = ["a", "b", "c"], post_transform = "SOFTMAX"> (x)
    k, u = ai.onnx.ml.LinearClassifier <coefficients = [1.0, -2.0, 0.5, -1.0, 2.0, -0.5], intercepts = [0.5, -0.5],
        classlabels_ints = [3, 9], post_transform = "LOGISTIC"> (x)
}""", [{"x": f32(5, 3)}, {"x": f32(1, 3)}])

# --- random numbers: what their distribution bounds by six standard deviations, and what a seed says ---
Case("random_normal", """() => (bool mean, bool spread, bool same, bool other, bool tails) {
    x = RandomNormal <shape = [100, 1000], seed = 3.0, mean = 2.0, scale = 0.5> ()
    y = RandomNormal <shape = [100, 1000], seed = 3.0, mean = 2.0, scale = 0.5> ()
    z = RandomNormal <shape = [100, 1000], seed = 4.0> ()
    two = Constant <value_float = 2.0> ()
    half = Constant <value_float = 0.5> ()
    c = Sub (x, two)
    d = Div (c, half)
    m = ReduceMean <keepdims = 0> (d)
    am = Abs (m)
    e1 = Constant <value_float = 0.019> ()
    mean = Less (am, e1)
    sq = ReduceSumSquare <keepdims = 0> (d)
    n = Constant <value_float = 100000.0> ()
    v = Div (sq, n)
    one = Constant <value_float = 1.0> ()
    dv = Sub (v, one)
    av = Abs (dv)
    e2 = Constant <value_float = 0.027> ()
    spread = Less (av, e2)
    xy = Sub (x, y)
    sxy = ReduceL1 <keepdims = 0> (xy)
    zero = Constant <value_float = 0.0> ()
    same = Equal (sxy, zero)
    dz = Mul (d, z)
    cor = ReduceMean <keepdims = 0> (dz)
    acor = Abs (cor)
    other = Less (acor, e1)
    top = ReduceMax <keepdims = 0> (z)
    three = Constant <value_float = 3.5> ()
    tails = Greater (top, three)
}""", {}, oracle=lambda: [np.array(True)] * 5)

Case("random_uniform", """(double[N, M] like) => (bool low, bool high, bool mean, bool neighbours) {
    x = RandomUniformLike <low = -1.0, high = 3.0, seed = 1.0> (like)
    a = ReduceMin <keepdims = 0> (x)
    b = ReduceMax <keepdims = 0> (x)
    l = Constant <value = double {-1.0}> ()
    h = Constant <value = double {3.0}> ()
    low = GreaterOrEqual (a, l)
    high = Less (b, h)
    one = Constant <value = double {1.0}> ()
    c = Sub (x, one)
    m = ReduceMean <keepdims = 0> (c)
    am = Abs (m)
    e = Constant <value = double {0.074}> ()
    mean = Less (am, e)
    n = Constant <value_int = -1> ()
    n1 = Unsqueeze (n, i0)
    i0 = Constant <value_ints = [0]> ()
    i1 = Constant <value_ints = [1]> ()
    f = Reshape (c, n1)
    p = Slice (f, i0, n1)
    big = Constant <value_ints = [1000000]> ()
    q = Slice (f, i1, big)
    pq = Mul (p, q)
    cor = ReduceMean <keepdims = 0> (pq)
    ac = Abs (cor)
    neighbours = Less (ac, e)
}""", {"like": np.zeros((100, 120))}, oracle=lambda like: [np.array(True)] * 4)

Case("random_choices", """(float[2, 3] p) => (bool[2, 3] near, bool[2] none) {
    logs = Log (p)
    k = Multinomial <sample_size = 20000, seed = 2.0> (logs)
    depth = Constant <value_int = 3> ()
    values = Constant <value_floats = [0.0, 1.0]> ()
    hot = OneHot <axis = -1> (k, depth, values)
    axes = Constant <value_ints = [1]> ()
    share = ReduceMean <keepdims = 0> (hot, axes)
    d = Sub (share, p)
    a = Abs (d)
    e = Constant <value_float = 0.022> ()
    near = Less (a, e)
    last = Constant <value_ints = [0, 1]> ()
    w = Constant <value = float[2] {0.0, 1.0}> ()
    b = Bernoulli <seed = 1.0> (w)
    none = Equal (b, w)
}""", {"p": np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)}, opset=22,
     oracle=lambda p: [np.ones((2, 3), bool), np.ones(2, bool)])

Case("random_dropout", """(float[N] x, float ratio, bool training) => (bool kept, bool scaled) {
    y, mask = Dropout <seed = 7> (x, ratio, training)
    m = Cast <to = 1> (mask)
    share = ReduceMean <keepdims = 0> (m)
    one = Constant <value_float = 1.0> ()
    drop = Sub (one, share)
    off = Sub (drop, ratio)
    aoff = Abs (off)
    e = Constant <value_float = 0.03> ()
    near = Less (aoff, e)
    still = Not (training)
    kept = Or (near, still)
    keep = Sub (one, ratio)
    xm = Mul (x, m)
    want = Div (xm, keep)
    expected = Where (training, want, x)
    d = Sub (y, expected)
    s = ReduceL1 <keepdims = 0> (d)
    e2 = Constant <value_float = 0.05> ()
    scaled = Less (s, e2)
}""", [{"x": f32(10000), "ratio": np.array(0.3, np.float32), "training": np.array(t)} for t in (True, False)],
     oracle=lambda x, ratio, training: [np.array(True)] * 2)

Case("text_sorted", """(string[N] x, string[2, M, 2] r) => (string[K] y, int64[K] at, int64[N] of, int64[K] count, string[2, L, 2] z, int64[L] from) {
    y, at, of, count = Unique (x)
    z, from = Unique <axis = 1> (r)
}""", [{"x": words("pear|äpfel|apple||pear|Zebra|apple|äpfel|app"), "r": words("b|a|b|a|b|é|a|a|a|a|a|a", 2, 3, 2)},
       {"x": words("one"), "r": words("x|y|z|w", 2, 1, 2)}])

# --- refused ---
Case("text_add", "(string[N] x, string[N] y) => (string[N] z) { z = Add (x, y) }", [], refused="its input 0 is of strings")
Case("text_pattern", """(string[N] x) => (bool[N] y) {
    y = RegexFullMatch <pattern = "a(?=b)"> (x)
}""", [], refused="this kind of group is not supported")
Case("text_mixed", """(string[N] x, int64[N] y) => (string[K] z) {
    z = Concat <axis = 0> (x, y)
}""", [], refused="some of its inputs are of strings and input 1 is not")
