"""The cases of gpu_bench.py: graphs in Tessera's text, and the same computation in PyTorch. Weights are inputs, so that
both have the same and modules stay small; they are random numbers over the square root of the depth."""
import math


class Input:
    def __init__(self, name, dtype, shape, scale=1.0):
        self.name, self.dtype, self.shape, self.scale = name, dtype, tuple(shape), scale


SIZE = {"f16": 2, "bf16": 2, "f32": 4, "i64": 8}


class Graph:
    """Writes the text; every method gives the new value's name."""

    def __init__(self, name):
        self.name, self.lines, self.inputs, self.shapes, self.dtypes, self.count, self.flops = name, [], [], {}, {}, 0, 0
        self.depth = 1  # the most terms of a sum

    def add(self, text, dtype, shape, name=None):
        if name is None:
            self.count += 1
            name = f"%v{self.count}"
        self.shapes[name], self.dtypes[name] = tuple(shape), dtype
        self.lines.append(f"  {name} = {text} : {dtype}[{', '.join(map(str, shape))}]")
        return name

    def input(self, name, dtype, shape, scale=1.0):
        self.inputs.append(Input(name, dtype, shape, scale))
        return self.add(f'input {{name = "{name}"}}', dtype, shape, "%" + name)

    def const(self, value, dtype):
        return self.add(f"const {{value = {value!r}}}", dtype, ())

    def broadcast(self, *values):
        shapes = [self.shapes[value] for value in values]
        rank = max(map(len, shapes))
        padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        return tuple(max(extents) for extents in zip(*padded))

    def op(self, op, *values):
        shape = self.broadcast(*values) if len(values) > 1 else self.shapes[values[0]]
        return self.add(f"{op} {', '.join(values)}", self.dtypes[values[0]], shape)

    def scaled(self, value, factor):
        return self.op("mul", value, self.const(factor, self.dtypes[value]))

    def cast(self, value, dtype):
        return value if self.dtypes[value] == dtype else self.add(f"cast {value}", dtype, self.shapes[value])

    def einsum(self, spec, x, y):
        left, right = spec.split("->")[0].split(",")
        extent = dict(zip(left, self.shapes[x])) | dict(zip(right, self.shapes[y]))
        self.flops += 2 * math.prod(extent.values())
        self.depth = max(self.depth, math.prod(n for c, n in extent.items() if c not in spec.split("->")[1]))
        shape = [extent[letter] for letter in spec.split("->")[1]]
        return self.add(f'einsum {x}, {y} {{spec = "{spec}"}}', self.dtypes[x], shape)

    def reshape(self, value, shape):
        return self.add(f"reshape {value}", self.dtypes[value], shape)

    def transpose(self, value, perm):
        shape = [self.shapes[value][axis] for axis in perm]
        return self.add(f"transpose {value} {{perm = {list(perm)}}}", self.dtypes[value], shape)

    def reduce(self, value, combine):
        """Over the last axis, which stays as 1."""
        shape = self.shapes[value]
        self.depth = max(self.depth, shape[-1])
        made = self.add(f'reduce {value} {{axes = [{len(shape) - 1}], combine = "{combine}"}}', self.dtypes[value],
                        shape[:-1])
        return self.reshape(made, shape[:-1] + (1,))

    def conv(self, x, w, stride, pad):
        n, _, height, width = self.shapes[x]
        k, c, r, s = self.shapes[w]
        shape = (n, k, (height + 2 * pad - r) // stride + 1, (width + 2 * pad - s) // stride + 1)
        self.flops += 2 * math.prod(shape) * c * r * s
        self.depth = max(self.depth, c * r * s)
        attributes = f"dilations = [1, 1], groups = 1, high = [{pad}, {pad}], low = [{pad}, {pad}], " \
                     f"strides = [{stride}, {stride}]"
        return self.add(f"conv {x}, {w} {{{attributes}}}", self.dtypes[x], shape)

    def relu(self, value):
        return self.op("max", value, self.const(0, self.dtypes[value]))

    def linear(self, x, w, bias=None):
        made = self.einsum("mk,nk->mn", x, w)
        return made if bias is None else self.op("add", made, bias)

    def softmax(self, value):
        """In float32 inside, as PyTorch does it."""
        dtype, x = self.dtypes[value], self.cast(value, "f32")
        exponentials = self.op("exp", self.op("sub", x, self.reduce(x, "max")))
        self.flops += 4 * math.prod(self.shapes[value])
        return self.cast(self.op("div", exponentials, self.reduce(exponentials, "add")), dtype)

    def layernorm(self, value, gain, shift, rms=False):
        dtype, x = self.dtypes[value], self.cast(value, "f32")
        width = self.const(float(self.shapes[value][-1]), "f32")
        if not rms:
            x = self.op("sub", x, self.op("div", self.reduce(x, "add"), width))
        variance = self.op("div", self.reduce(self.op("mul", x, x), "add"), width)
        normal = self.op("div", x, self.op("sqrt", self.op("add", variance, self.const(1e-5, "f32"))))
        self.flops += 8 * math.prod(self.shapes[value])
        made = self.op("mul", normal, self.cast(gain, "f32"))
        return self.cast(made if shift is None else self.op("add", made, self.cast(shift, "f32")), dtype)

    def gelu(self, value):
        dtype, x = self.dtypes[value], self.cast(value, "f32")
        inner = self.op("erf", self.scaled(x, 0.7071067811865476))
        self.flops += 20 * math.prod(self.shapes[value])
        return self.cast(self.op("mul", self.scaled(x, 0.5), self.op("add", inner, self.const(1.0, "f32"))), dtype)

    def heads(self, value, count):
        """[tokens, width] to [heads, tokens, width / heads]."""
        tokens, width = self.shapes[value]
        return self.transpose(self.reshape(value, (tokens, count, width // count)), (1, 0, 2))

    def attention(self, q, k, v, mask=None):
        """[batch, tokens, depth] each."""
        scores = self.scaled(self.einsum("bid,bjd->bij", q, k), 1.0 / math.sqrt(self.shapes[q][-1]))
        if mask is not None:
            scores = self.op("add", scores, mask)
        return self.einsum("bij,bjd->bid", self.softmax(scores), v)

    def text(self, result):
        return "\n".join([f"graph @{self.name} {{", *self.lines, f'  output {result} {{name = "y"}}', "}", ""])


class Case:
    def __init__(self, name, graph, result, torch, precision="f32", roundings=1, compile=False, triton=False, nhwc=False):
        self.name, self.graph, self.inputs, self.torch = name, graph.text(result), graph.inputs, torch
        self.output, self.dtype, self.precision = graph.shapes[result], graph.dtypes[result], precision
        self.roundings, self.compile, self.triton, self.torch_nhwc = roundings, compile, triton, nhwc
        self.flops, self.depth = graph.flops, graph.depth
        self.bytes = sum(math.prod(i.shape) * SIZE[i.dtype] for i in graph.inputs) \
            + math.prod(self.output) * SIZE[self.dtype]

    def peer_names(self):
        return ["torch"] + ["torch nhwc"] * self.torch_nhwc + ["torch.compile"] * self.compile + ["triton"] * self.triton


def gemm(name, dtype, m, n, k, precision="f32"):
    g = Graph("gemm")
    a, b = g.input("a", dtype, (m, k)), g.input("b", dtype, (n, k), 1 / math.sqrt(k))
    return Case(name, g, g.linear(a, b), lambda torch, t: torch.mm(t[0], t[1].t()), precision,
                triton=dtype != "f32")


def conv(name, dtype, n, c, size, k, r, stride=1):
    g = Graph("conv")
    pad = r // 2
    x, w = g.input("x", dtype, (n, c, size, size)), g.input("w", dtype, (k, c, r, r), 1 / math.sqrt(c * r * r))
    b = g.input("b", dtype, (k,))
    y = g.relu(g.op("add", g.conv(x, w, stride, pad), g.reshape(b, (1, k, 1, 1))))
    return Case(name, g, y, lambda torch, t: torch.relu(
        torch.nn.functional.conv2d(t[0], t[1], t[2], stride=stride, padding=pad)), roundings=2, nhwc=True)


def softmax(name, dtype, rows, columns):
    g = Graph("softmax")
    return Case(name, g, g.softmax(g.input("x", dtype, (rows, columns))), lambda torch, t: torch.softmax(t[0], -1),
                compile=True)


def layernorm(name, dtype, rows, columns):
    g = Graph("layernorm")
    x, w, b = (g.input(n, dtype, s) for n, s in (("x", (rows, columns)), ("g", (columns,)), ("b", (columns,))))
    return Case(name, g, g.layernorm(x, w, b), lambda torch, t: torch.nn.functional.layer_norm(
        t[0], (columns,), t[1], t[2], 1e-5), compile=True)


def gelu_chain(name, dtype, rows, columns):
    g = Graph("gelu")
    x, b, s, r = (g.input(n, dtype, shape) for n, shape in
                  (("x", (rows, columns)), ("b", (columns,)), ("s", (columns,)), ("r", (rows, columns))))
    y = g.op("add", g.op("mul", g.gelu(g.op("add", x, b)), s), r)
    return Case(name, g, y, lambda torch, t: torch.nn.functional.gelu(t[0] + t[1]) * t[2] + t[3], roundings=4,
                compile=True)


def attention(name, dtype, batch, heads, tokens, depth):
    g = Graph("attention")
    shape = (batch * heads, tokens, depth)
    q, k, v = (g.input(n, dtype, shape) for n in "qkv")
    split = (batch, heads, tokens, depth)
    return Case(name, g, g.attention(q, k, v), lambda torch, t: torch.nn.functional.scaled_dot_product_attention(
        *(x.view(split) for x in t)).reshape(shape), roundings=3)


# ---- models ----

def add_bert_layer(g, x, tokens, width, heads, inner, batch, dtype, number):
    """The weights' names end in the layer's number. Returns the layer's result."""
    weight = lambda n, rows, depth: g.input(f"{n}{number}", dtype, (rows, depth), 1 / math.sqrt(depth))
    vector = lambda n, size: g.input(f"{n}{number}", dtype, (size,))
    depth = width // heads

    def split(value):
        parts = g.transpose(g.reshape(value, (batch, tokens, heads, depth)), (0, 2, 1, 3))
        return g.reshape(parts, (batch * heads, tokens, depth))

    q, k, v = (split(g.linear(x, weight("w" + n, width, width), vector("b" + n, width))) for n in "qkv")
    mixed = g.reshape(g.attention(q, k, v), (batch, heads, tokens, depth))
    joined = g.reshape(g.transpose(mixed, (0, 2, 1, 3)), (batch * tokens, width))
    x = g.op("add", x, g.linear(joined, weight("wo", width, width), vector("bo", width)))
    x = g.layernorm(x, vector("g1_", width), vector("h1_", width))
    hidden = g.gelu(g.linear(x, weight("w1_", inner, width), vector("b1_", inner)))
    x = g.op("add", x, g.linear(hidden, weight("w2_", width, inner), vector("b2_", width)))
    return g.layernorm(x, vector("g2_", width), vector("h2_", width))


def torch_bert_layer(torch, x, w, tokens, width, heads, batch):
    """`w` in the order in which add_bert_layer makes inputs."""
    f = torch.nn.functional
    split = lambda y: y.view(batch, tokens, heads, width // heads).transpose(1, 2)
    q, k, v = (split(f.linear(x, w[2 * i], w[2 * i + 1])) for i in range(3))
    mixed = f.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch * tokens, width)
    x = f.layer_norm(x + f.linear(mixed, w[6], w[7]), (width,), w[8], w[9], 1e-5)
    hidden = f.gelu(f.linear(x, w[10], w[11]))
    return f.layer_norm(x + f.linear(hidden, w[12], w[13]), (width,), w[14], w[15], 1e-5)


def bert(name, dtype, layers, batch, tokens, width, heads, inner):
    g = Graph("bert")
    x = g.input("x", dtype, (batch * tokens, width))
    for number in range(layers):
        x = add_bert_layer(g, x, tokens, width, heads, inner, batch, dtype, number)

    def torch_bert(torch, t):
        y = t[0]
        for number in range(layers):
            y = torch_bert_layer(torch, y, t[1 + 16 * number:17 + 16 * number], tokens, width, heads, batch)
        return y

    return Case(name, g, x, torch_bert, roundings=12 * layers, compile=True)


def bottleneck(name, dtype, n, wide, narrow, size):
    g = Graph("bottleneck")
    x = g.input("x", dtype, (n, wide, size, size))
    y = x
    for number, (c, k, r) in enumerate(((wide, narrow, 1), (narrow, narrow, 3), (narrow, wide, 1))):
        w = g.input(f"w{number}", dtype, (k, c, r, r), 1 / math.sqrt(c * r * r))
        b = g.reshape(g.input(f"b{number}", dtype, (k,)), (1, k, 1, 1))
        y = g.op("add", g.conv(y, w, 1, r // 2), b)
        y = g.relu(y if number < 2 else g.op("add", y, x))

    def torch_bottleneck(torch, t):
        f = torch.nn.functional
        z = torch.relu(f.conv2d(t[0], t[1], t[2]))
        z = torch.relu(f.conv2d(z, t[3], t[4], padding=1))
        return torch.relu(f.conv2d(z, t[5], t[6]) + t[0])

    return Case(name, g, y, torch_bottleneck, roundings=8, compile=True, nhwc=True)


def llama(name, dtype, tokens, past, width, heads, inner):
    """One block over `tokens` new tokens and `past` cached ones, without the rotation of positions: RMS norm, attention,
    gated MLP. The new keys and values are appended to the cache."""
    g = Graph("llama")
    weight = lambda n, rows, depth: g.input(n, dtype, (rows, depth), 1 / math.sqrt(depth))
    depth = width // heads
    x = g.input("x", dtype, (tokens, width))
    normal = g.layernorm(x, g.input("g1", dtype, (width,)), None, rms=True)
    q, k, v = (g.heads(g.linear(normal, weight("w" + n, width, width)), heads) for n in "qkv")
    if past:
        caches = [g.input(n, dtype, (heads, past, depth)) for n in ("ck", "cv")]
        k, v = (g.add(f"concat {cache}, {new} {{axis = 1}}", dtype, (heads, past + tokens, depth))
                for cache, new in zip(caches, (k, v)))
    mixed = g.reshape(g.transpose(g.attention(q, k, v), (1, 0, 2)), (tokens, width))
    x = g.op("add", x, g.linear(mixed, weight("wo", width, width)))
    normal = g.layernorm(x, g.input("g2", dtype, (width,)), None, rms=True)
    gate = g.cast(g.linear(normal, weight("w1", inner, width)), "f32")
    gate = g.cast(g.op("div", gate, g.op("add", g.op("exp", g.op("neg", gate)), g.const(1.0, "f32"))), dtype)
    up = g.linear(normal, weight("w3", inner, width))
    y = g.op("add", x, g.linear(g.op("mul", gate, up), weight("w2", width, inner)))
    names = [entry.name for entry in g.inputs]

    def torch_llama(torch, t):
        f, w = torch.nn.functional, dict(zip(names, t))
        rms = lambda z, gain: (z.float() * torch.rsqrt(z.float().pow(2).mean(-1, keepdim=True) + 1e-5)
                               * gain.float()).to(z.dtype)
        h = rms(w["x"], w["g1"])
        q, k, v = (f.linear(h, w["w" + n]).view(tokens, heads, depth).transpose(0, 1) for n in "qkv")
        if past:
            k, v = torch.cat((w["ck"], k), 1), torch.cat((w["cv"], v), 1)
        m = f.scaled_dot_product_attention(q[None], k[None], v[None])[0].transpose(0, 1).reshape(tokens, width)
        z = w["x"] + f.linear(m, w["wo"])
        h = rms(z, w["g2"])
        return z + f.linear(f.silu(f.linear(h, w["w1"])) * f.linear(h, w["w3"]), w["w2"])

    return Case(name, g, y, torch_llama, roundings=14, compile=True)


def all_cases(tiny):
    """Sizes as users have them, or, for the emulated device, so small that each kind is run through."""
    if tiny:
        return [gemm("gemm_f16_tiny", "f16", 40, 64, 48), softmax("softmax_f32_tiny", "f32", 3, 50),
                layernorm("layernorm_f16_tiny", "f16", 3, 40), gelu_chain("gelu_f32_tiny", "f32", 3, 24),
                conv("conv_f32_tiny", "f32", 1, 4, 6, 8, 3), attention("attention_f32_tiny", "f32", 1, 2, 9, 16),
                bert("bert_f32_tiny", "f32", 2, 1, 8, 16, 2, 24), bottleneck("bottleneck_f32_tiny", "f32", 1, 8, 4, 5),
                llama("llama_f32_tiny", "f32", 1, 6, 16, 2, 24)]
    cases = []
    for dtype in ("bf16", "f16"):
        cases += [gemm(f"gemm_{dtype}_{size}", dtype, size, size, size) for size in (4096, 8192)]
    cases += [gemm("gemm_bf16_bert_512x768", "bf16", 512, 768, 768), gemm("gemm_bf16_bert_512x3072", "bf16", 512, 3072, 768),
              gemm("gemm_bf16_bert_4096x768", "bf16", 4096, 768, 3072),
              gemm("gemm_bf16_llama_2048", "bf16", 2048, 11008, 4096),
              gemm("gemm_bf16_llama_2048d", "bf16", 2048, 4096, 11008)]
    cases += [gemm(f"gemm_f16_rows{m}", "f16", m, 4096, 4096) for m in (1, 8, 16, 32, 64)]
    cases += [gemm("gemm_tf32_4096", "f32", 4096, 4096, 4096, "tf32"), gemm("gemm_f32_2048", "f32", 2048, 2048, 2048),
              gemm("gemm_f16_odd", "f16", 1023, 1001, 777)]
    cases += [conv("conv3x3_f16_56", "f16", 32, 64, 56, 64, 3), conv("conv1x1_f16_56", "f16", 32, 64, 56, 256, 1),
              conv("conv3x3_f16_14", "f16", 32, 256, 14, 256, 3), conv("conv3x3_f16_7", "f16", 32, 512, 7, 512, 3),
              conv("conv3x3_f32_56", "f32", 8, 64, 56, 64, 3)]
    cases += [softmax("softmax_f32_4096", "f32", 4096, 4096), softmax("softmax_f16_4096x1024", "f16", 4096, 1024),
              layernorm("layernorm_f32_8192x1024", "f32", 8192, 1024), layernorm("layernorm_f16_8192x768", "f16", 8192, 768),
              gelu_chain("gelu_f16_4096x3072", "f16", 4096, 3072), gelu_chain("gelu_f32_4096x3072", "f32", 4096, 3072)]
    cases += [attention(f"attention_f16_{s}", "f16", b, 16, s, 64) for b, s in ((8, 512), (4, 1024), (2, 2048))]
    cases += [attention("attention_f32_512", "f32", 1, 12, 512, 64)]
    cases += [bert("bert_layer_f16_1x128", "f16", 1, 1, 128, 768, 12, 3072),
              bert("bert_layer_f16_8x128", "f16", 1, 8, 128, 768, 12, 3072),
              bert("bert_base_f16_1x128", "f16", 12, 1, 128, 768, 12, 3072),
              bert("bert_base_f32_1x128", "f32", 12, 1, 128, 768, 12, 3072),
              bottleneck("resnet_block_f16_56", "f16", 32, 256, 64, 56),
              bottleneck("resnet_block_f16_14", "f16", 32, 1024, 256, 14),
              llama("llama_decode_f16", "f16", 1, 512, 2048, 32, 5632),
              llama("llama_prefill_f16_512", "f16", 512, 0, 2048, 32, 5632)]
    return cases
