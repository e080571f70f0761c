"""The cases of cpu_peers.py: ONNX models with random weights, made here with onnx.helper, and trained ones with their
dims fixed. A row of `cases` says what a case is and how its model is made.

Weights are normal numbers scaled so that activations keep their size from layer to layer: sums of zeros, infinities or
subnormal numbers would be faster or slower than what runs in real life."""

import math
import os
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Graph:
    """A graph that is being written; every method gives the name of a new value."""

    def __init__(self, name, seed=1):
        self.name, self.nodes, self.weights, self.inputs, self.outputs = name, [], [], [], []
        self.rng, self.count = np.random.default_rng(seed), 0

    def fresh(self, what):
        self.count += 1
        return f"{what}_{self.count}"

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array):
        name = self.fresh("c")
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, *shape, scale):
        return self.constant(self.rng.standard_normal(shape, dtype=np.float32) * np.float32(scale))

    def near_one(self, *shape):
        return self.constant(1 + 0.1 * self.rng.standard_normal(shape, dtype=np.float32))

    def ints(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value):
        return self.constant(np.float32(value))

    def op(self, op, *inputs, **attributes):
        name = self.fresh(op)
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name + "_node", **attributes))
        return name

    def output(self, value, shape):
        self.nodes.append(helper.make_node("Identity", [value], [f"y{len(self.outputs)}"]))
        self.outputs.append(helper.make_tensor_value_info(f"y{len(self.outputs)}", TensorProto.FLOAT, shape))

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    # --- layers ---

    def linear(self, x, rows, columns, bias=False):
        y = self.op("MatMul", x, self.weight(rows, columns, scale=rows**-0.5))
        return self.op("Add", y, self.weight(columns, scale=0.1)) if bias else y

    def conv(self, x, channels, outputs, window, stride=1, groups=1, padding=None, gain=2.0):
        padding = window // 2 if padding is None else padding
        inside = channels // groups * window * window
        w = self.weight(outputs, channels // groups, window, window, scale=math.sqrt(gain / inside))
        return self.op("Conv", x, w, self.weight(outputs, scale=0.05), kernel_shape=[window] * 2, strides=[stride] * 2,
                       pads=[padding] * 4, group=groups)

    def rms_norm(self, x, width):
        square = self.op("Mul", x, x)
        mean = self.op("ReduceMean", square, axes=[-1], keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.scalar(1e-5)))
        return self.op("Mul", self.op("Div", x, root), self.near_one(width))


# --- one kernel each ---


def gemm(m, n, k):
    g = Graph("gemm")
    g.output(g.op("MatMul", g.input("x", [m, k]), g.weight(k, n, scale=k**-0.5)), [m, n])
    return g.model()


def conv(channels, height, width, outputs, window, stride, padding, groups):
    g = Graph("conv")
    inside = channels // groups * window * window
    w = g.weight(outputs, channels // groups, window, window, scale=inside**-0.5)
    y = g.op("Conv", g.input("x", [1, channels, height, width]), w, kernel_shape=[window] * 2, strides=[stride] * 2,
             pads=[padding] * 4, group=groups)
    sizes = [(n + 2 * padding - window) // stride + 1 for n in (height, width)]
    g.output(y, [1, outputs, *sizes])
    return g.model()


def softmax():
    g = Graph("softmax")
    g.output(g.op("Softmax", g.input("x", [1024, 1024]), axis=-1), [1024, 1024])
    return g.model()


def layernorm():
    g = Graph("layernorm")
    y = g.op("LayerNormalization", g.input("x", [512, 768]), g.near_one(768), g.weight(768, scale=0.1), axis=-1)
    g.output(y, [512, 768])
    return g.model()


def gelu():
    """As exporters write it; ONNX Runtime has one kernel for it."""
    g = Graph("gelu")
    x = g.input("x", [512, 3072])
    inner = g.op("Add", g.op("Erf", g.op("Div", x, g.scalar(math.sqrt(2)))), g.scalar(1))
    g.output(g.op("Mul", g.op("Mul", x, inner), g.scalar(0.5)), [512, 3072])
    return g.model()


def elementwise():
    g = Graph("elementwise")
    shape = [1024, 4096]
    x, y = g.input("x", shape), g.input("y", shape)
    a = g.op("Add", g.op("Mul", x, g.near_one(4096)), g.weight(4096, scale=0.1))
    b = g.op("Mul", g.op("Sub", g.op("Relu", a), x), g.scalar(0.5))
    g.output(g.op("Abs", g.op("Add", b, y)), shape)
    return g.model()


def add_relu():
    g = Graph("add_relu")
    shape = [1024, 4096]
    g.output(g.op("Relu", g.op("Add", g.input("x", shape), g.input("y", shape))), shape)
    return g.model()


def attention(heads=12, tokens=512, head=64):
    g = Graph("attention")
    q, k, v = (g.input(name, [heads, tokens, head]) for name in "qkv")
    scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 1])), g.scalar(head**-0.5))
    g.output(g.op("MatMul", g.op("Softmax", scores, axis=-1), v), [heads, tokens, head])
    return g.model()


# --- networks ---


def resnet50():
    """Batch normalisation folded into the convolutions, as inference exports have it."""
    g = Graph("resnet50")
    x = g.op("Relu", g.conv(g.input("x", [1, 3, 224, 224]), 3, 64, 7, 2))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = 64 << stage
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            y = g.op("Relu", g.conv(x, channels, inner, 1))
            y = g.op("Relu", g.conv(y, inner, inner, 3, stride))
            y = g.conv(y, inner, 4 * inner, 1, gain=0.3)
            if block == 0:
                x = g.conv(x, channels, 4 * inner, 1, stride, gain=1.0)
            x, channels = g.op("Relu", g.op("Add", y, x)), 4 * inner
    x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    x = g.op("Gemm", x, g.weight(2048, 1000, scale=2048**-0.5), g.weight(1000, scale=0.1))
    g.output(x, [1, 1000])
    return g.model()


def mobilenet_v2():
    g = Graph("mobilenet_v2")
    six = g.scalar(0), g.scalar(6)

    def clipped(*args, **kwargs):
        return g.op("Clip", g.conv(*args, **kwargs), *six)

    x, channels = clipped(g.input("x", [1, 3, 224, 224]), 3, 32, 3, 2), 32
    for factor, outputs, repeats, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                             (6, 160, 3, 2), (6, 320, 1, 1)):
        for repeat in range(repeats):
            inner, step = channels * factor, stride if repeat == 0 else 1
            y = clipped(x, channels, inner, 1) if factor > 1 else x
            y = clipped(y, inner, inner, 3, step, groups=inner)
            y = g.conv(y, inner, outputs, 1, gain=1.0)
            x = g.op("Add", x, y) if step == 1 and channels == outputs else y
            channels = outputs
    x = g.op("Flatten", g.op("GlobalAveragePool", clipped(x, 320, 1280, 1)), axis=1)
    x = g.op("Gemm", x, g.weight(1280, 1000, scale=1280**-0.5), g.weight(1000, scale=0.1))
    g.output(x, [1, 1000])
    return g.model()


def llama(tokens, past, width=1024, heads=16, inner=2816):
    """One block: RMS norms, rotary positions, causal attention over a cache, SwiGLU. Cache in, cache out."""
    g, head, total = Graph("llama"), width // heads, past + tokens
    x = g.input("x", [1, tokens, width])
    angles = np.outer(np.arange(past, total), 10000.0 ** (-np.arange(0, head, 2) / head))
    angles = np.concatenate([angles, angles], axis=1).astype(np.float32)[None, None]
    cosines, sines = g.constant(np.cos(angles)), g.constant(np.sin(angles))

    def split(value):
        return g.op("Transpose", g.op("Reshape", value, g.ints(1, tokens, heads, head)), perm=[0, 2, 1, 3])

    def rotate(value):
        low = g.op("Slice", value, g.ints(0), g.ints(head // 2), g.ints(3))
        high = g.op("Slice", value, g.ints(head // 2), g.ints(head), g.ints(3))
        turned = g.op("Concat", g.op("Neg", high), low, axis=-1)
        return g.op("Add", g.op("Mul", value, cosines), g.op("Mul", turned, sines))

    normal = g.rms_norm(x, width)
    q = rotate(split(g.linear(normal, width, width)))
    k, v = rotate(split(g.linear(normal, width, width))), split(g.linear(normal, width, width))
    if past > 0:
        k = g.op("Concat", g.input("past_k", [1, heads, past, head]), k, axis=2)
        v = g.op("Concat", g.input("past_v", [1, heads, past, head]), v, axis=2)
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = g.op("Mul", scores, g.scalar(head**-0.5))
    if tokens > 1:
        late = np.arange(total)[None] > np.arange(past, total)[:, None]
        scores = g.op("Add", scores, g.constant(np.where(late, np.float32(-1e9), np.float32(0))))
    mixed = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    mixed = g.op("Reshape", mixed, g.ints(1, tokens, width))
    x = g.op("Add", x, g.linear(mixed, width, width))
    normal = g.rms_norm(x, width)
    gate = g.linear(normal, width, inner)
    gate = g.op("Mul", gate, g.op("Sigmoid", gate))
    x = g.op("Add", x, g.linear(g.op("Mul", gate, g.linear(normal, width, inner)), inner, width))
    g.output(x, [1, tokens, width])
    g.output(k, [1, heads, total, head])
    g.output(v, [1, heads, total, head])
    return g.model()


# --- models from elsewhere ---


def fixed(model, shapes):
    """The model with these shapes of its inputs."""
    del model.graph.value_info[:]
    names = {weight.name for weight in model.graph.initializer}
    for port in model.graph.input:
        if port.name in names:
            continue
        dims = port.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes[port.name]):
            dim.Clear()
            dim.dim_value = size
    for port in model.graph.output:
        port.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model)


def bert(tools, layers):
    path = os.path.join(tools, f"bert{layers}_dynamic.onnx")
    subprocess.run([os.path.join(tools, "bert_onnx"), path, str(layers)], check=True)
    model = fixed(onnx.load(path), {name: [1, 128] for name in ("input_ids", "token_type_ids", "attention_mask")})
    os.remove(path)
    return model


def random_of(rng, name, dtype, shape):
    if name == "attention_mask":
        return np.ones(shape, dtype)
    if dtype.kind in "iu":
        return rng.integers(0, {"input_ids": 30000, "token_type_ids": 2}.get(name, 257), shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


# --- what is measured ---


class Case:
    """goal: ratios by peer for f32; "best" is the faster of the peers. `contraction`: what contraction_peers is told of it.
    `sizes`: shapes of inputs whose model leaves them open. `rows`: of a product."""

    def __init__(self, name, group, make, goal=None, contraction=None, sizes=None, rows=0):
        self.name, self.group, self.make, self.goal = name, group, make, goal or {}
        self.contraction, self.sizes, self.rows = contraction, sizes or {}, rows


def contractions(path):
    for line in open(path):
        words = line.split()
        if not words or words[0] not in ("gemm", "conv"):
            continue
        sizes = [int(word) for word in words[2:]]
        if words[0] == "gemm":
            label = "x".join(map(str, sizes))
            yield Case(f"gemm {label}", "fp32 GEMM", lambda s=sizes: gemm(*s), {"best": 0.85}, ["gemm"],
                       rows=sizes[0])
        else:
            channels, height, width, outputs, window, stride, padding, groups = sizes
            label = f"{window}x{window} {height}x{width} {channels}->{outputs}"
            label += (f" /{stride}" if stride > 1 else "") + (" depthwise" if groups == channels else "")
            yield Case(f"conv {label}", "convolution", lambda s=sizes: conv(*s), None,
                       ["conv", stride, padding, groups])


def cases(here, tools):
    """All, in the order in which they are measured."""
    made = list(contractions(os.path.join(here, "contractions.txt")))
    for name, make in (("softmax 1024x1024", softmax), ("layernorm 512x768", layernorm), ("gelu 512x3072", gelu),
                       ("7 elementwise 1024x4096", elementwise), ("add + relu 1024x4096", add_relu)):
        made.append(Case(name, "memory-bound", make))
    made.append(Case("attention 12 heads, 512", "attention", attention))
    ort, text = "onnxruntime", "text models"
    made += [
        Case("ResNet-50", "networks", resnet50, {ort: 1.5}),
        Case("MobileNetV2", "networks", mobilenet_v2, {ort: 2.0}),
        Case("BERT layer", "networks", lambda: bert(tools, 1)),
        Case("BERT-base", "networks", lambda: bert(tools, 12), {ort: 1.3}),
        Case("Llama block, prefill 128", "networks", lambda: llama(128, 0), {ort: 1.3}),
        Case("Llama block, decode 512", "networks", lambda: llama(1, 512), {ort: 1.0}),
    ]

    def trained(name, group, file, shape):
        path, feed = os.path.join(tools, file), {"bytes" if "magika" in file else "x": shape}
        made.append(Case(name, group, lambda: fixed(onnx.load(path), feed), {ort: 1.2}))
        made.append(Case(name + ", dynamic", group, lambda: onnx.load(path), {ort: 1.2}, sizes=feed))

    trained("magika", "magika", "magika/model.onnx", [1, 2048])
    trained("detect text 320x480", text, "ocr/detect.onnx", [1, 3, 320, 480])
    trained("which way up 48x192", text, "ocr/classify.onnx", [1, 3, 48, 192])
    trained("read text 48x320", text, "ocr/recognize.onnx", [1, 3, 48, 320])
    return made


# What is asked for depends on the precision, and on whether the matrix units run at their full rate.


def goals_of(case, precision, full_amx):
    """Ratios by peer; "best" is the faster of the peers."""
    if precision == "bf16":
        return {"onnxruntime": 3.0} if full_amx and case.name in ("BERT-base", "ResNet-50") else {}
    if precision != "f32":
        return {}
    goal = dict(case.goal)
    if full_amx and case.name == "BERT-base":
        goal["onnxruntime"] = 1.9
    if full_amx and case.group == "fp32 GEMM" and case.rows >= 128:
        goal["onednn"] = 1.6
    return goal


def group_goals(precision):
    """Of geometric means: (group, peer) to ratio."""
    if precision == "f32-strict":
        return {("fp32 GEMM", "onednn"): 0.95}
    return {("fp32 GEMM", "onednn"): 1.0, ("fp32 GEMM", "onnxruntime"): 1.3} if precision == "f32" else {}


# Largest difference from ONNX Runtime's f32, by the largest magnitude of the output. bf16 has 8 bits: each operand is off by
# up to 2^-9, and the layers of a network add to it.
TOLERANCES = {"f32": 1e-3, "f32-strict": 1e-3, "bf16": 5e-2}


# --- what a case costs at least ---


def dims_of(value):
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


CONTRACTIONS = ("MatMul", "Gemm", "Conv")


def shapes_in(model):
    """Of values, as far as they are known without running the model."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {v.name: dims_of(v) for v in [*graph.input, *graph.value_info, *graph.output]}
    return {name: dims for name, dims in shapes.items() if dims and 0 not in dims} | {
        name: list(tensor.dims) for name, tensor in constants(model)}


def constants(model):
    """(name, tensor): exporters keep weights as initializers or in nodes."""
    for weight in model.graph.initializer:
        yield weight.name, weight
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def costs(model, run):
    """Operations of its contractions, and the bytes that have to move at least: weights, inputs and outputs, once (of a
    table of which rows are gathered: nothing). run(model) gives the shapes of all its outputs, by name: it is asked where
    shapes cannot be inferred. 0 operations where it cannot be asked either (None)."""
    shapes = shapes_in(model)
    nodes = [node for node in model.graph.node if node.op_type in CONTRACTIONS]
    lacking = {name for node in nodes for name in (node.output[0], node.input[1]) if name not in shapes}
    if lacking and run:
        shown = onnx.ModelProto.FromString(model.SerializeToString())
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(lacking))
        shapes |= run(shown)
        lacking = set()
    flops = 0
    for node in [] if lacking else nodes:
        out, w = shapes[node.output[0]], shapes[node.input[1]]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        depth = math.prod(w[1:]) if node.op_type == "Conv" else w[-1] if transposed or len(w) == 1 else w[-2]
        flops += 2 * math.prod(out) * depth
    size = {TensorProto.FLOAT: 4, TensorProto.INT32: 4, TensorProto.INT64: 8}
    ports = {v.name: v for v in [*model.graph.input, *model.graph.output]}.values()
    total = sum(math.prod(shapes.get(v.name, [0])) * size.get(v.type.tensor_type.elem_type, 4) for v in ports)
    read = {name for node in model.graph.node for name in node.input[node.op_type == "Gather":]}
    total += sum(math.prod(t.dims) * size.get(t.data_type, 4) for name, t in constants(model) if name in read)
    return flops, total
