"""What a graph's results ought to be, and how far a correct implementation may be from them.

Each node is run by itself with ONNX Runtime, optimisations off: in float64 where the operator is there for float64, else in
the narrowest wider type that it is there for; the result is rounded to the type that the model has. That is the result of a
perfect implementation, rounded once per node.

The tolerance is not chosen but derived, by Monte Carlo arithmetic. Besides the result, MEMBERS more are carried through the
graph. For each of them every node's inputs are changed by `backward`, and its results by `forward` units of roundoff, of
random sign and of 1/2 to 1 of that size. The two figures belong to the operator's tolerance class below: every class has a
known bound of the form y' = f(x (1 + d)) (1 + e), |d| <= backward u, |e| <= forward u (Higham, Accuracy and Stability of
Numerical Algorithms, 3.1 and 3.5: a sum or a product of n terms has d = n u, whatever the order of summation; tests/numeric
/accuracy.def: the units of the mathematical functions). Cancellation, conditioning and discontinuities downstream then show
as differences between the members. A result may differ from the perfect one by SAFETY times the largest deviation among
them, and by two units of its own. Integers and truth values have to be equal; where members differ (an argmax between two
nearly equal numbers, a rounding to one side of a half) nothing is demanded of that element; so the generator drops nodes
where that holds for many.
"""
import zlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

MEMBERS = 24  # of which none sees a decision between equals go the other way once in 2^24 times
FEW = 2  # while a graph is made; the others are computed where `tessera verify` finds a difference
TRACE = False  # print every node before it runs: ONNX Runtime dies of some
SAFETY = 8.0

TYPES = {
    "f32": (np.float32, TensorProto.FLOAT),
    "f64": (np.float64, TensorProto.DOUBLE),
    "f16": (np.float16, TensorProto.FLOAT16),
    "bf16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
    "i8": (np.int8, TensorProto.INT8),
    "i16": (np.int16, TensorProto.INT16),
    "i32": (np.int32, TensorProto.INT32),
    "i64": (np.int64, TensorProto.INT64),
    "u8": (np.uint8, TensorProto.UINT8),
    "u16": (np.uint16, TensorProto.UINT16),
    "u32": (np.uint32, TensorProto.UINT32),
    "u64": (np.uint64, TensorProto.UINT64),
    "bool": (np.bool_, TensorProto.BOOL),
}
OF_PROTO = {proto: name for name, (_, proto) in TYPES.items()}
OF_NUMPY = {np.dtype(kind): name for name, (kind, _) in TYPES.items()}
UNIT = {"f32": 2.0**-24, "f64": 2.0**-53, "f16": 2.0**-11, "bf16": 2.0**-8}
TINY = {"f32": 2.0**-126, "f64": 2.0**-1022, "f16": 2.0**-14, "bf16": 2.0**-126}
# Numbers below the normal ones may be flushed, so they are as far as zero from what they are.
FLOATS = tuple(UNIT)


class Reject(Exception):
    """This node cannot be: ONNX Runtime refuses it, or it is excluded."""


class Narrower(Exception):
    """It does not run in this type after all: try again in a narrower one."""


class Class:
    """backward, forward: units of roundoff. `exact`: a result that is representable is given exactly (IEEE operations).
    `inputs`: the inputs that the backward error is in. `terms`: a function of the node's arrays that gives n. `absolute`: units
    of the larger of 1 and the operand, for what ends in x g(x) or g(x) - 1 with a bounded g that cancels. `norm`: units of the first operand's norm. `ones`: units of 1, or a function as `terms` that may give an array."""

    def __init__(self, backward, forward, exact=False, inputs=(0,), terms=None, absolute=0, norm=0, ones=0):
        self.absolute, self.norm, self.ones = absolute, norm, ones
        self.backward, self.forward, self.exact, self.inputs, self.terms = backward, forward, exact, inputs, terms


def kind_of(array):
    return OF_NUMPY[array.dtype]


def is_float(array):
    return kind_of(array) in UNIT


# --- one node by ONNX Runtime ---
_refused = {}


def _session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def opset_imports(opset):
    return [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("ai.onnx.ml", 5)]


def schema_of(node, opset):
    try:
        version = 5 if node.domain == "ai.onnx.ml" else 1 if node.domain else opset
        return onnx.defs.get_schema(node.op, version, node.domain)
    except onnx.defs.SchemaError:
        return None


def result_types(node, kinds, opset):
    """The types of the node's results in the model."""
    if node.types:
        return node.types
    schema = schema_of(node, opset)
    if schema is None or node.domain:
        return [kinds[0]] * len(node.outputs)
    proto = node.proto()
    given = {}
    for name, kind in zip(node.inputs, kinds):
        if name:
            given[name] = helper.make_tensor_type_proto(TYPES[kind][1], None)
    try:
        found = onnx.shape_inference.infer_node_outputs(schema, proto, given, opset_imports=opset_imports(opset), ir_version=10)
    except Exception as error:
        raise Reject(f"types: {error}")
    out = []
    for name in node.outputs:
        if name and name not in found:
            raise Reject("types are not known")
        out.append(OF_PROTO.get(found[name].tensor_type.elem_type) if name else None)
        if name and out[-1] is None:
            raise Reject("a type that is not tested")
    return out


class Runner:
    """A node, ready to be run on arrays of the model's types, in the widest way possible."""

    def __init__(self, node, arrays, opset):
        self.node, self.opset = node, opset
        kinds = [None if a is None else kind_of(a) for a in arrays]
        self.types = result_types(node, kinds, opset)
        floats = any(k in UNIT for k in kinds)
        ways = ["f64", "f32", "asis"] if floats and node.op != "BitCast" else ["asis"]
        if any(k == "f64" for k in kinds):
            ways = ["f64"]
        key = (node.op, node.domain, opset, tuple(kinds), tuple(self.types))
        error = None
        for way in ways:
            if (key, way) in _refused:
                error = _refused[key, way]
                continue
            try:
                self.way, self.key = way, (key, way)
                self.session = self._open(kinds, arrays, way)
                return
            except Reject as rejected:
                error = str(rejected)
                if "NOT_IMPLEMENTED" in error or "INVALID_GRAPH" in error and "Type Error" in error:
                    _refused[key, way] = error
        raise Reject(error or "no way")

    def _changes(self, index, way):
        """Whether an input's float type may be another one: not where the operator prescribes one."""
        schema = schema_of(self.node, self.opset)
        if schema is None or way == "asis":
            return False
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        return f"tensor({'double' if way == 'f64' else 'float'})" in formal.types

    def _open(self, kinds, arrays, way):
        node, self.cast = self.node, []
        inputs = []
        proto = node.proto()
        for attribute in proto.attribute:
            if attribute.name in ("to", "dtype", "output_datatype", "output_dtype") and OF_PROTO.get(attribute.i) in ("f32", "f16", "bf16"):
                if way != "asis" and node.op not in ("QuantizeLinear",):
                    attribute.i = TYPES[way][1]
        for index, (name, kind) in enumerate(zip(node.inputs, kinds)):
            wide = kind in UNIT and way != "asis" and kind != way and self._changes(index, way)
            if kind in ("f16", "bf16") and way != "asis" and not wide and schema_of(node, self.opset) is None:
                wide = True
            self.cast.append(TYPES[way][0] if wide else None)
            if not name or name in [i.name for i in inputs]:
                continue
            kind = way if wide else kind
            # The shapes of tables and of sizes must be known there; elsewhere they differ between data sets.
            table = node.op == "EmbedLayerNormalization" and 2 <= index <= 6 or node.op == "Resize" and index > 0
            dims = list(arrays[index].shape) if table else [None] * arrays[index].ndim
            inputs.append(helper.make_tensor_value_info(name, TYPES[kind][1], dims))
        self.feeds = {i.name for i in inputs}
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs if name]
        graph = helper.make_graph([proto], "node", inputs, outputs)
        model = helper.make_model(graph, opset_imports=opset_imports(self.opset), ir_version=10)
        try:
            return _session(model)
        except Exception as error:
            raise Reject(str(error))

    def __call__(self, arrays):
        """Results as they are, and rounded to the model's types."""
        feed = {}
        for name, array, cast in zip(self.node.inputs, arrays, self.cast):
            if name in self.feeds:
                feed[name] = array if cast is None else array.astype(cast)
        if TRACE:
            print(self.node.proto(), {k: (v.dtype, v.shape) for k, v in feed.items()}, flush=True)
        try:
            with np.errstate(all="ignore"):
                if self.way == "asis" and any(a.dtype == ml_dtypes.bfloat16 for a in feed.values()):
                    raise Reject("bfloat16 cannot be fed")
                results = self.session.run(None, feed)
        except Reject:
            raise
        except Exception as error:
            if "does not support" in str(error) or "not supported" in str(error):
                _refused[self.key] = str(error)
                raise Narrower
            raise Reject(str(error))
        raw, rounded, results = [], [], iter(results)
        with np.errstate(all="ignore"):
            for name, kind in zip(self.node.outputs, self.types):
                array = next(results) if name else None
                array = None if array is None else np.asarray(array)
                raw.append(array)
                rounded.append(None if array is None else np.asarray(array.astype(TYPES[kind][0])))
        return raw, rounded


def tensor(array, name):
    """A TensorProto, bfloat16 too."""
    kind = kind_of(np.asarray(array))
    out = TensorProto(data_type=TYPES[kind][1], dims=array.shape, name=name)
    out.raw_data = np.ascontiguousarray(array).tobytes()
    return out


# --- errors ---


def noise(random, array, units, floor=0.0):
    """The array with each number changed by up to `units` (a number or an array) of roundoff."""
    kind = kind_of(array)
    wide = array.astype(np.float64)
    size = random.uniform(-0.5, 0.5, array.shape)
    size += np.copysign(0.5, size)
    with np.errstate(all="ignore"):
        changed = wide + size * (np.abs(wide) * units + floor) * UNIT[kind]
        small = (np.abs(wide) < TINY[kind]) & (wide != 0)
        changed = np.where(small, wide + size * TINY[kind], changed)
        return np.asarray(np.where(np.isfinite(wide), changed, wide))


class Results:
    """Of one node and one data set: the perfect arrays, and the members' (None: the same)."""

    def __init__(self, exact, members):
        self.exact, self.members = exact, members


def run(runner, klass, arrays, members, random):
    """`members`: per member the arrays of all inputs."""
    raw, exact = runner(arrays)
    wobble = klass.backward if klass.terms is None else klass.backward + klass.terms(arrays, runner.node)
    touched = [i for i in klass.inputs if i < len(arrays) and arrays[i] is not None and is_float(arrays[i])]
    inexact = any(any(a is not b for a, b in zip(m, arrays)) for m in members)
    own = klass.forward > 0 and any(e is not None and is_float(e) for e in exact) or wobble > 0 and touched
    if klass.exact and not inexact and runner.way == "f64" and all(
            r is None or not is_float(e) or np.array_equal(r, e.astype(r.dtype), equal_nan=True) for r, e in zip(raw, exact)):
        own = False
    if not inexact and not own:
        return Results(exact, None)
    out = []
    for member in members:
        given = list(member)
        if wobble:
            for i in touched:
                # A member is changed in float64 where the node runs in it, so that no error is too small to matter.
                kind = given[i].dtype if runner.way != "f64" or runner.cast[i] is None else np.float64
                given[i] = noise(random, given[i], wobble).astype(kind)
        try:
            raw_m, rounded = runner(given)
        except Reject:
            raise
        for i, array in enumerate(rounded):
            if array is not None and is_float(array) and klass.forward:
                units = klass.forward
                if klass.exact and runner.way == "f64":
                    units = np.where(raw_m[i] == array.astype(raw_m[i].dtype), 0.0, units)
                floor = klass.ones(arrays, runner.node) if callable(klass.ones) else float(klass.ones)
                if klass.absolute and array.shape == arrays[0].shape:
                    floor = klass.absolute * np.maximum(1.0, np.abs(arrays[0].astype(np.float64)))
                if klass.norm:
                    floor = klass.norm * np.linalg.norm(arrays[0].astype(np.float64).ravel())
                with np.errstate(all="ignore"):
                    rounded[i] = noise(random, array, 2 * units, floor).astype(array.dtype)
        out.append(rounded)
    return Results(exact, out)


def bounds(exact, members):
    """How far each element may be away; infinite where nothing is demanded."""
    if members is None:
        members = []
    if not is_float(exact):
        differs = np.zeros(exact.shape, bool)
        for member in members:
            differs |= member != exact
        return np.where(differs, np.inf, 0.0)
    wide = exact.astype(np.float64)
    spread = np.zeros(wide.shape)
    with np.errstate(all="ignore"):
        for member in members:
            other = member.astype(np.float64)
            same = (other == wide) | (np.isnan(other) & np.isnan(wide))
            apart = np.where(same, 0.0, np.abs(other - wide))
            spread = np.maximum(spread, np.where(np.isnan(apart), np.inf, apart))
        own = np.where(np.isfinite(wide), np.abs(wide), 0.0) * 2 * UNIT[kind_of(exact)] if members else 0.0
    return SAFETY * spread + own


def disagreement(actual, exact, members):
    """None, or a line about the first element that is too far away."""
    if actual.dtype != exact.dtype or actual.shape != exact.shape:
        return f"is {kind_of(actual)}{list(actual.shape)}, not {kind_of(exact)}{list(exact.shape)}"
    if members and any(m.shape != exact.shape for m in members):
        return None
    limit = bounds(exact, members)
    if not is_float(exact):
        wrong = (actual != exact) & (limit == 0)
    else:
        with np.errstate(all="ignore"):
            a, e = actual.astype(np.float64), exact.astype(np.float64)
            same = (a == e) | (np.isnan(a) & np.isnan(e))
            wrong = ~same & ~(np.abs(a - e) <= limit) & ~np.isinf(limit)
    if not wrong.any():
        return None
    at = tuple(int(i[0]) for i in np.nonzero(wrong)) if exact.ndim else ()
    return (f"element {list(at)} is {actual[at]!s}, not {exact[at]!s} (may be {limit[at]:.3g} away); "
            f"{int(wrong.sum())} of {exact.size} differ")


def seeded(*parts):
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))
