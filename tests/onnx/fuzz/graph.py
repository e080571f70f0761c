"""Graphs: what they are made of, how they are written, run and cut down; and Maker, with which the rows of operators.py make
their nodes. A graph lives with its data: every value has an array for each data set, so that a row sees the shapes that it
has to fit, and needs no shape inference."""
import math
import pathlib
import shutil

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import reference
from reference import FEW, FLOATS, TYPES, UNIT, Reject, kind_of, tensor

MOST_ELEMENTS = 6000
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64")
INTS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTS
ALL = NUMBERS + ("bool",)


class Value:
    def __init__(self, name, kind, data, source, node=None):
        self.name, self.kind, self.node = name, kind, node
        self.source = source  # "input", "const" or "node"
        self.data = data  # per data set: Results' exact array
        self.members = [None] * len(data)  # per data set: list of arrays, or None
        self.row = None
        self.dynamic = False  # data decides its sizes, or those of what it was made of
        self.dims = None  # of an input: sizes per data set

    @property
    def rank(self):
        return self.data[0].ndim

    @property
    def shape(self):
        """Per axis the sizes in the data sets."""
        return [tuple(a.shape[i] for a in self.data) for i in range(self.rank)]

    def static(self, axis):
        """The size of an axis if it is the same in all data sets, else None."""
        sizes = {a.shape[axis] for a in self.data}
        return sizes.pop() if len(sizes) == 1 else None

    def all_arrays(self):
        for array, members in zip(self.data, self.members):
            yield array
            yield from members or []

    def is_exact(self):
        return all(m is None for m in self.members)

    def within(self, low, high):
        return all(a.size == 0 or (a >= low).all() and (a <= high).all() for a in self.all_arrays())


class Node:
    def __init__(self, op, domain, inputs, outputs, attrs, klass, kind, types=None):
        self.op, self.domain, self.inputs, self.outputs, self.attrs = op, domain, inputs, outputs, attrs
        self.klass, self.kind, self.types = klass, kind, types
        self.name = None

    def proto(self):
        attrs = {k: v for k, v in self.attrs.items() if v is not None}
        return helper.make_node(self.op, self.inputs, self.outputs, name=self.name, domain=self.domain, **attrs)


class Graph:
    """`values` by name, `nodes` in order, `outputs` by name."""

    def __init__(self, seed, opset, sets, members=FEW):
        self.seed, self.opset, self.sets, self.member_count = seed, opset, sets, members
        self.values, self.nodes, self.outputs = {}, [], []
        self.symbols = {}  # sizes per data set -> name
        self.names = 0

    def run(self, node):
        """The values of a node's results, checked to be usable."""
        given = [self.values[n] if n else None for n in node.inputs]
        while True:
            try:
                return self.run_with(node, given)
            except reference.Narrower:
                pass

    def run_with(self, node, given):
        runner = None
        made = []
        for number in range(self.sets):
            arrays = [None if v is None else v.data[number] for v in given]
            members = [[None if v is None else v.members[number][m] if v.members[number] else v.data[number] for v in given]
                       for m in range(self.member_count)]
            if runner is None:
                runner = reference.Runner(node, arrays, self.opset)
            random = reference.seeded(self.seed, node.outputs, number)
            made.append(reference.run(runner, node.klass, arrays, members, random))
        values = []
        for i, name in enumerate(node.outputs):
            if not name:
                continue
            value = Value(name, runner.types[i], [m.exact[i] for m in made], "node", node)
            value.members = [None if m.members is None else [o[i] for o in m.members] for m in made]
            value.dynamic = node.kind == "dynamic" or any(v is not None and v.dynamic for v in given)
            values.append(value)
        return values

    def add_node(self, node):
        node.name = node.name or f"n{len(self.nodes)}"
        values = self.run(node)
        self.nodes.append(node)
        for value in values:
            self.values[value.name] = value
        return values

    def live(self):
        """The nodes that the outputs need."""
        wanted, nodes = set(self.outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.outputs):
                nodes.append(node)
                wanted |= set(node.inputs)
        return nodes[::-1], wanted

    def inputs(self):
        _, wanted = self.live()
        return [v for v in self.values.values() if v.source == "input" and v.name in wanted]

    def model(self):
        nodes, wanted = self.live()
        inputs = []
        for value in self.inputs():
            dims = [self.symbols.get(sizes, sizes[0]) for sizes in value.shape]
            inputs.append(helper.make_tensor_value_info(value.name, TYPES[value.kind][1], dims))
        weights = [tensor(v.data[0], v.name) for v in self.values.values() if v.source == "const" and v.name in wanted]
        outputs = []
        for name in self.outputs:
            value = self.values[name]
            dims = [self.symbols.get(sizes, sizes[0] if len(set(sizes)) == 1 else None) for sizes in value.shape]
            outputs.append(helper.make_tensor_value_info(name, TYPES[value.kind][1], dims))
        graph = helper.make_graph([n.proto() for n in nodes], f"seed_{self.seed}", inputs, outputs, weights)
        domains = {n.domain for n in nodes}
        imports = [i for i in reference.opset_imports(self.opset) if not i.domain or i.domain in domains]
        return helper.make_model(graph, opset_imports=imports, ir_version=8 if self.opset < 19 else 10)

    def write(self, folder, sets=None):
        folder = pathlib.Path(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(self.model().SerializeToString())
        for number in range(self.sets):
            place = folder / f"test_data_set_{number}"
            place.mkdir()
            for i, value in enumerate(self.inputs()):
                (place / f"input_{i}.pb").write_bytes(tensor(value.data[number], value.name).SerializeToString())
            for i, name in enumerate(self.outputs):
                (place / f"output_{i}.pb").write_bytes(tensor(self.values[name].data[number], name).SerializeToString())

    def text(self):
        lines = [f"seed {self.seed}, opset {self.opset}, {self.sets} data sets"]
        nodes, wanted = self.live()
        for value in self.values.values():
            if value.source != "node" and value.name in wanted:
                shapes = " | ".join(str(list(a.shape)) for a in value.data)
                small = "" if value.data[0].size > 8 or value.source == "input" else f" = {value.data[0].tolist()}"
                lines.append(f"  {value.source} {value.name}: {value.kind} {shapes}{small}")
        for node in nodes:
            shapes = ", ".join(f"{self.values[o].kind}{[list(a.shape) for a in self.values[o].data]}" for o in node.outputs if o)
            attrs = {k: v for k, v in node.attrs.items() if v is not None and not isinstance(v, TensorProto)}
            lines.append(f"  {', '.join(node.outputs)} = {node.op}({', '.join(node.inputs)}) {attrs or ''} : {shapes}")
        lines.append(f"  outputs {', '.join(self.outputs)}")
        return "\n".join(lines)


class Maker:
    """What a row's function gets: random choices, values that are there, new inputs and constants. Everything that it adds
    is taken back when the attempt fails."""

    def __init__(self, graph, random, want=None, must=False, aim=None, alone=False, instead=None, firm=False):
        """`want`: a value to read where it fits; `must`: and nothing else will do. `aim`: (type, dims, low, high) that a new first operand has where it may; `firm`: in that range, whatever a row allows. `alone`: no values of the
        graph are read, so that what is made depends on `random` only. `instead`: (number, value), a value in place of that new one."""
        self.graph, self.random, self.want = graph, random, want
        self.must, self.aim, self.alone, self.instead, self.firm = must, aim, alone, instead, firm
        self.used_want = False
        self.offers, self.news = [], 0  # new values that another may replace: (number, kind, dims, low, high)
        self.hidden = False  # new values are for a node in between
        self.exactly = False  # new values stand where only exact ones may
        self.asks = set()  # (kind, lowest rank, highest rank, whether only exact ones) of what may be read
        self.opset = graph.opset
        self.sets = graph.sets

    # --- choices ---
    def chance(self, p):
        return self.random.random() < p

    def choice(self, items):
        items = list(items)
        if not items:
            raise Reject("nothing to choose from")
        return items[int(self.random.integers(len(items)))]

    def int(self, low, high):
        """Both included."""
        return int(self.random.integers(low, high + 1))

    def maybe(self, p, value, otherwise=None):
        return value if self.chance(p) else otherwise

    def number(self, low=-2.0, high=2.0):
        """A float that float32 has exactly; often a round one."""
        x = self.random.uniform(low, high)
        return float(np.float32(x)) if self.chance(0.5) else float(round(x * 4) / 4)

    def size(self, most=40):
        """Awkward sizes before others; 0 seldom."""
        pool = [0] if self.chance(0.04) else [1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 11, 13, 16, 17, 31, 33, 64, 67, 97, 130]
        return self.choice([s for s in pool if s <= most] or [1])

    def dim(self, most=40, symbolic=True):
        """Sizes per data set."""
        symbols = [s for s in self.graph.symbols if max(s) <= most]
        if symbolic and symbols and self.chance(0.4):
            return self.choice(symbols)
        return (self.size(most),) * self.sets

    def dims(self, rank, symbolic=True):
        most, out = 130 if rank <= 2 else 33 if rank == 3 else 17 if rank == 4 else 5, []
        for _ in range(rank):
            room = MOST_ELEMENTS // max(1, math.prod(max(d) for d in out))
            out.append(self.dim(min(most, max(1, room)), symbolic))
        return out

    def wanted(self, axis, sizes, rank):
        """The size along an axis of the value that is to be read, where its rank is this and the size one of these; else one of them."""
        value = self.want
        if value is not None and not self.used_want and value.rank == rank and value.static(axis) in sizes:
            return value.static(axis)
        return self.choice(sizes)

    def result(self, kinds):
        """A type for the result: the one that is aimed at before others."""
        return self.aim[0] if self.aim is not None and self.aim[0] in kinds and self.chance(0.8) else self.choice(kinds)

    def firmly(self, kinds):
        """The type that is aimed at, where it is one of these and nothing else will do; else None."""
        return self.aim[0] if self.firm and self.aim is not None and self.aim[0] in kinds else None

    # --- new values ---
    def name(self):
        self.graph.names += 1
        return f"v{self.graph.names}"

    def array(self, kind, shape, low, high):
        if kind == "bool":
            return self.random.random(shape) < 0.5
        if kind in UNIT:
            x = self.random.uniform(low, high, shape)
            if self.chance(0.2):
                x = np.clip(np.round(x * 2) / 2, low, high)
            return x.astype(TYPES[kind][0])
        limits = np.iinfo(TYPES[kind][0])
        low, high = max(math.ceil(low), int(limits.min)), min(math.floor(high), int(limits.max))
        if low > high:
            raise Reject("no such integers")
        return self.random.integers(low, high, shape, dtype=np.int64 if kind != "u64" else np.uint64, endpoint=True).astype(TYPES[kind][0])

    def put(self, kind, arrays, constant):
        value = Value(self.name(), kind, arrays, "const" if constant else "input")
        self.graph.values[value.name] = value
        return value

    def fresh(self, kind, dims, low=None, high=None, const=0.3, sparse=0):
        """A new input or constant; a dim is a size or the sizes per data set."""
        asked = low, high
        low, high = self.range_of(kind, low, high)
        dims = [(d,) * self.sets if isinstance(d, (int, np.integer)) else tuple(d) for d in dims]
        for d in dims:
            if len(set(d)) > 1 and d not in self.graph.symbols:
                raise Reject("a size that no input may have")
        if math.prod(max(d) for d in dims) > MOST_ELEMENTS:
            raise Reject("too large")
        shapes = [tuple(d[i] for d in dims) for i in range(self.sets)]
        constant = len(set(shapes)) == 1 and self.chance(const)
        arrays = [self.array(kind, s, low, high) for s in shapes]
        if constant:
            arrays = arrays[:1] * self.sets
        value = self.put(kind, arrays, constant)
        return value if const >= 1 else self.offer(value, dims, *asked)

    def offer(self, value, dims, low, high):
        """The new value, or the one that stands in for it."""
        if self.hidden:
            return value
        self.news += 1
        self.offers.append((self.news, value.kind, dims, low, high))
        self.asks.add((value.kind, len(dims), len(dims), self.exactly))
        if self.instead is None or self.instead[0] != self.news:
            return value
        other = self.instead[1]
        if other.shape != value.shape or not self.fits(other, (value.kind,), None, low, high, None):
            raise Reject("the value does not fit")
        if (self.exactly or value.kind not in FLOATS and (low is not None or high is not None)) and not other.is_exact():
            raise Reject("rounding decides a number that says how")
        for array in other.all_arrays():
            array.setflags(write=False)
        del self.graph.values[value.name]
        self.used_want = True
        return other

    def range_of(self, kind, low, high):
        default = (-10, 10) if kind in SIGNED else (0, 10) if kind in UNSIGNED else (-2.0, 2.0)
        return default[0] if low is None else low, default[1] if high is None else high

    def const(self, kind, content):
        return self.put(kind, [np.array(content, TYPES[kind][0])] * self.sets, True)

    def given(self, kind, arrays):
        """An input with this content in each data set."""
        return self.put(kind, [np.array(a, TYPES[kind][0]) for a in arrays], False)

    def kind(self, kinds, most="f32"):
        """float32 for half of the values."""
        return most if most in kinds and self.chance(0.5) else self.choice(kinds)

    # --- values that are there ---
    def fits(self, value, kinds, rank, low, high, test):
        if value.kind not in kinds or rank is not None and not rank[0] <= value.rank <= rank[1]:
            return False
        if (low is not None or high is not None) and not value.within(-np.inf if low is None else low, np.inf if high is None else high):
            return False
        return test is None or test(value)

    def pick(self, kinds, rank=None, low=None, high=None, test=None, fresh=None, p=0.8, const=0.15, exact=False, direct=True):
        """A value of the graph, the latest before others, or a new one (`fresh`: a function that makes it). Not `direct`: another node
        is what reads it."""
        kinds = (kinds,) if isinstance(kinds, str) else kinds
        wanted = self.want
        if direct:
            self.asks |= {(kind, *(rank or (0, 6)), exact) for kind in kinds}
        elif self.must:
            wanted = None
        if wanted is not None and not self.used_want and not (exact and not wanted.is_exact()) and self.fits(wanted, kinds, rank, low, high, test):
            self.used_want = True
            return wanted
        if self.chance(p) and not self.alone:
            found = [v for v in self.graph.values.values() if v.source == "node" and self.fits(v, kinds, rank, low, high, test)
                     and not (exact and not v.is_exact())]
            if found:
                return found[-1 - min(len(found) - 1, int(self.random.geometric(0.45)) - 1)]
        self.hidden, self.exactly = not direct, exact
        try:
            return self.new(kinds, rank, low, high, test, fresh, const)
        finally:
            self.hidden = self.exactly = False

    def new(self, kinds, rank, low, high, test, fresh, const):
        """A new value as pick() makes it."""
        aim, self.aim = self.aim, None
        if aim is not None and (rank is None or rank[0] <= len(aim[1]) <= rank[1]):
            kind = aim[0] if aim[0] in kinds else self.kind(kinds)
            same = kind == aim[0] and (self.firm or self.chance(0.5))
            value = self.fresh(kind, aim[1], aim[2] if (low is None or self.firm) and same else low,
                               aim[3] if (high is None or self.firm) and same else high, const)
            if self.fits(value, kinds, rank, low, high, test):
                return value
            del self.graph.values[value.name]
        if fresh is not None:
            return fresh()
        for _ in range(20):
            r = self.rank(rank)
            value = self.fresh(self.kind(kinds), self.dims(r), low, high, const)
            if self.fits(value, kinds, rank, low, high, test):
                return value
            if value.source != "node":
                del self.graph.values[value.name]
        raise Reject("no value fits")

    def rank(self, rank=None):
        low, high = rank or (0, 6)
        ranks = [r for r in (0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6) if low <= r <= high]
        return self.choice(ranks) if ranks else low

    def partner(self, x, kinds=None, low=None, high=None, p=0.5, const=0.4, same=False):
        """A value whose shape broadcasts with x's; x itself now and then."""
        kinds = kinds or (x.kind,)

        def fit(v):
            pairs = zip(v.shape[::-1], x.shape[::-1])
            return (v.rank == x.rank and all(a == b for a, b in pairs)) if same else all(
                a == b or set(a) == {1} or set(b) == {1} for a, b in pairs)

        def make():
            dims = [d if len(set(d)) == 1 or d in self.graph.symbols else None for d in x.shape]
            if same and None in dims:
                raise Reject("no such input")
            dims = [(1,) * self.sets if d is None or not same and self.chance(0.25) else d for d in dims]
            if not same and self.chance(0.4):
                dims = dims[self.int(0, len(dims)):]
            if not same and self.chance(0.15) and math.prod(max(d) for d in x.shape) < 1500:
                dims = [self.dim(4) if set(d) == {1} and set(x.shape[i - len(dims)]) == {1} else d for i, d in enumerate(dims)]
                if len(dims) == x.rank and x.rank < 5:
                    dims = [self.dim(3)] + dims
            return self.fresh(self.kind(kinds, x.kind), dims, low, high, const)

        if x.kind in kinds and self.chance(0.1) and self.fits(x, kinds, None, low, high, None):
            return x
        return self.pick(kinds, (0, 6), low, high, fit, make, p)

    def axis(self, x, negative=True):
        if x.rank == 0:
            raise Reject("no axis")
        axis = self.int(0, x.rank - 1)
        return axis - x.rank if negative and self.chance(0.4) else axis

    # --- integers that say how ---
    def ints(self, lists, how=None, kind="i64"):
        """A vector of integers: one list, or one for each data set. It becomes a constant, an initializer or not; now and
        then an input; what varies between the data sets is computed from shapes, or an input."""
        scalar = not isinstance(lists, (list, tuple))
        if scalar:
            lists = [lists] * self.sets
        elif not lists or not isinstance(lists[0], (list, tuple)):
            lists = [lists] * self.sets
        lists = [list(x) if not scalar else x for x in lists]
        same = all(x == lists[0] for x in lists)
        how = how or self.choice(["init"] * 12 + ["node"] * 4 + ["shape"] * 3 + ["input"])
        if how == "init" and same:
            return self.const(kind, lists[0])
        if how == "node" and same and kind == "i64":
            content = numpy_helper.from_array(np.array(lists[0], np.int64))
            return self.emit("Constant", [], {"value": content}, kind="constant")[0]
        if how == "input":
            return self.given(kind, lists)
        if scalar or kind != "i64":
            if same:
                return self.const(kind, lists[0])
            return self.given(kind, lists)
        return self.from_shapes([tuple(x[i] for x in lists) for i in range(len(lists[0]))])

    def from_shapes(self, entries):
        """Numbers as dims of values: what exporters write for a Reshape."""
        parts = []
        for sizes in entries:
            found = [(v, i) for v in self.graph.values.values() for i, d in enumerate(v.shape) if d == sizes and v.source != "const"]
            if found and (len(set(sizes)) > 1 or self.chance(0.5)):
                value, axis = found[self.int(0, len(found) - 1)]
                shape = self.emit("Shape", [value], kind="shape")[0]
                if self.chance(0.5):
                    parts.append(self.emit("Gather", [shape, self.const("i64", [axis])], {"axis": 0}, kind="shape")[0])
                else:
                    parts.append(self.emit("Slice", [shape, self.const("i64", [axis]), self.const("i64", [axis + 1])],
                                           kind="shape")[0] if self.opset >= 10 else None)
            elif len(set(sizes)) == 1:
                parts.append(self.const("i64", [sizes[0]]))
            else:
                raise Reject("a number that no shape has")
        if not parts:
            return self.const("i64", [])
        return parts[0] if len(parts) == 1 else self.emit("Concat", parts, {"axis": 0}, kind="shape")[0]

    def axes(self, inputs, attrs, axes, since, key="axes"):
        """Axes are an attribute before opset `since`, then an input."""
        if self.opset < since:
            attrs[key] = axes
        else:
            inputs.append(self.ints(axes, how=None if self.chance(0.2) else "init"))

    def emit(self, op, inputs, attrs=None, outputs=1, domain="", klass=None, kind="helper", types=None):
        """Adds a node. `outputs`: how many, or which are wanted."""
        if self.must and klass is not None and not self.used_want:
            raise Reject("the value does not fit")
        wanted = [True] * outputs if isinstance(outputs, int) else outputs
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        names = [self.name() if want else "" for want in wanted]
        while names and not names[-1]:
            names.pop()
        node = Node(op, domain, [v.name if v is not None else "" for v in inputs], names, attrs or {},
                    klass or reference.Class(0, 0), kind, types)
        made = self.graph.add_node(node)
        for value in made:
            if any(a.size > 4 * MOST_ELEMENTS for a in value.data):
                raise Reject("too large")
        return made
