#!/usr/bin/env python3
"""Writes tests/onnx/cases: one folder per case in the layout of ONNX's backend tests, with the results of ONNX Runtime;
and tests/onnx/refused: models that are not imported, with the reason.

Needs the packages onnx, onnxruntime and numpy:  python3 tests/onnx/make_cases.py [--only PREFIX] [--into FOLDER]
The cases are deterministic in the seed; a run with another version of ONNX Runtime may change last bits.
"""
import argparse
import pathlib
import shutil
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import control_cases
import text_cases

MS = "com.microsoft"
cases = []
random = np.random.default_rng(4)


class Case:
    """One node. `sets` are lists of input arrays, None where an optional input is absent. `dims` names the symbolic
    dims of an input by its number: {0: ["B", "S", None]}. Inputs numbered in `fixed` become initializers. `names` are
    what the node reads where that is not x0, x1 .. but comes from the nodes `before`."""

    def __init__(self, name, op, sets, outputs=1, domain=MS, fixed=(), dims=None, oracle=None, opset=17,
                 refused=None, names=None, before=(), **attrs):
        self.name, self.op, self.domain, self.attrs = name, op, domain, attrs
        self.sets = sets if isinstance(sets[0], list) else [sets]
        self.outputs = outputs if isinstance(outputs, list) else [True] * outputs
        self.fixed, self.dims, self.oracle, self.opset, self.refused = set(fixed), dims or {}, oracle, opset, refused
        self.names, self.before = names, list(before)
        cases.append(self)
        # A new case changes the data of the next one only.
        random.bit_generator.state = np.random.default_rng(zlib.crc32(name.encode())).bit_generator.state

    def model(self, sizes):
        first = self.sets[0]
        names = self.names or ["" if x is None else f"x{i}" for i, x in enumerate(first)]
        out = [f"y{i}" if wanted else "" for i, wanted in enumerate(self.outputs)]
        node = helper.make_node(self.op, names, out, name="node", domain=self.domain, **self.attrs)
        inputs, weights = [], []
        for i, x in enumerate(first):
            if x is None:
                continue
            if i in self.fixed:
                weights.append(numpy_helper.from_array(x, f"x{i}"))
                continue
            shape = [name or size for name, size in zip(self.dims.get(i, [None] * x.ndim), x.shape)]
            inputs.append(helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(x.dtype), shape))
        results = [helper.make_tensor_value_info(o, t, s) for o, (t, s) in zip([o for o in out if o], sizes)]
        graph = helper.make_graph(self.before + [node], "case", inputs, results, weights)
        opsets = [helper.make_opsetid("", self.opset)]
        if self.domain:
            old = self.op in ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
            opsets.append(helper.make_opsetid(self.domain, (3 if old else 5) if self.domain == "ai.onnx.ml" else 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def unknown(self):
        return [(TensorProto.FLOAT if t is True else t, None) for t in self.outputs if t]

    def run(self, model, inputs):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = {f"x{i}": x for i, x in enumerate(inputs) if x is not None and i not in self.fixed}
        return session.run(None, feed)

    def write(self, folder):
        if self.refused:
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(self.model(self.unknown()).SerializeToString())
            (folder / "reason").write_text(self.refused + "\n")
            return
        if self.oracle:
            results = [self.oracle(*inputs) for inputs in self.sets]
        else:
            model = self.model(self.unknown())
            results = [self.run(model, inputs) for inputs in self.sets]
        sizes = [(helper.np_dtype_to_tensor_dtype(r.dtype), [None] * r.ndim) for r in results[0]]
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(self.model(sizes).SerializeToString())
        for number, (inputs, outputs) in enumerate(zip(self.sets, results)):
            place = folder / f"test_data_set_{number}"
            place.mkdir()
            given = [(f"x{i}", x) for i, x in enumerate(inputs) if x is not None and i not in self.fixed]
            wanted = [f"y{i}" for i, y in enumerate(self.outputs) if y]
            for kind, tensors in (("input", given), ("output", list(zip(wanted, outputs)))):
                for i, (name, x) in enumerate(tensors):
                    (place / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(x, name).SerializeToString())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    for case in cases + control_cases.models + text_cases.models:
        if case.name.startswith(args.only):
            folder = args.into / ("refused" if case.refused else "cases") / case.name
            shutil.rmtree(folder, ignore_errors=True)
            case.write(folder)
            print(case.name)


def f32(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def i32(*numbers):
    return np.array(numbers, np.int32)


def words(*shape, high, dtype=np.int64):
    return random.integers(0, high, shape).astype(dtype)


def also(op, inputs, outputs=1, **attrs):
    """What ONNX Runtime makes of another node that ought to give the same."""
    case = Case("also", op, inputs, outputs, **attrs)
    cases.remove(case)
    return case.run(case.model(case.unknown()), inputs)


# --- activations ---
BSD = {0: ["B", "S", None]}
Case("ms_gelu", "Gelu", [[f32(2, 3, 8)], [f32(1, 5, 8)]], dims=BSD)
Case("ms_bias_gelu", "BiasGelu", [f32(2, 3, 8), f32(8)], fixed=[1], dims=BSD)
Case("ms_fast_gelu", "FastGelu", [f32(2, 3, 8)], dims=BSD)
Case("ms_fast_gelu_bias", "FastGelu", [f32(2, 3, 8), f32(8)], fixed=[1], dims=BSD)
Case("ms_quick_gelu", "QuickGelu", [f32(2, 3, 8)], dims=BSD)
Case("ms_quick_gelu_alpha", "QuickGelu", [f32(2, 3, 8)], dims=BSD, alpha=1.3)



def nodes(*steps):
    """The result of standard operators: (operator, inputs, output, attributes)."""

    def run(*inputs):
        made = [helper.make_node(op, list(names), out.split(), **attrs) for op, names, out, attrs in steps]
        kinds = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, x.shape) for i, x in enumerate(inputs)]
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        model = helper.make_model(helper.make_graph(made, "nodes", kinds, [y]), ir_version=9,
                                  opset_imports=[helper.make_opsetid("", 20)])
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {f"x{i}": x for i, x in enumerate(inputs)})

    return run


# On CPUs ONNX Runtime does not have these two.
Case("ms_bias_add", "BiasAdd", [f32(2, 3, 8), f32(8), f32(2, 3, 8)], dims={0: ["B", "S", None], 2: ["B", "S", None]},
     oracle=nodes(("Add", ["x0", "x1"], "t", {}), ("Add", ["t", "x2"], "y", {})))
Case("ms_bias_split_gelu", "BiasSplitGelu", [f32(2, 3, 8), f32(8)], dims=BSD,
     oracle=nodes(("Add", ["x0", "x1"], "t", {}), ("Split", ["t"], "a b", {"axis": 2, "num_outputs": 2}),
                  ("Gelu", ["b"], "g", {}), ("Mul", ["a", "g"], "y", {})))

# --- products ---
MAT = {0: ["B", "S", None]}
Case("ms_fused_matmul", "FusedMatMul", [[f32(2, 3, 4), f32(4, 5)], [f32(1, 6, 4), f32(4, 5)]], dims=MAT, alpha=0.5)
Case("ms_fused_matmul_trans", "FusedMatMul", [f32(2, 4, 3), f32(2, 5, 4)], dims={0: ["B", None, "S"], 1: ["B", None, None]},
     transA=1, transB=1, alpha=0.25)
Case("ms_fused_matmul_batch_a", "FusedMatMul", [f32(3, 2, 4), f32(2, 4, 5)], transBatchA=1)
Case("ms_fused_matmul_batch_b", "FusedMatMul", [f32(2, 2, 3, 4), f32(5, 2, 2, 4)], transBatchB=1, transB=1)
Case("ms_fused_matmul_batch_all", "FusedMatMul", [f32(4, 2, 2, 3), f32(4, 2, 2, 5)], transBatchA=1, transBatchB=1, transA=1)
Case("ms_transpose_matmul", "TransposeMatMul", [f32(2, 4, 3), f32(4, 5)], transA=1, alpha=2.0)
Case("ms_fused_gemm_relu", "FusedGemm", [f32(3, 4), f32(4, 5), f32(5)], fixed=[1, 2], dims={0: ["N", None]},
     activation="Relu", alpha=0.5, beta=2.0)
picture, filters, added = f32(2, 3, 7, 9), f32(4, 3, 3, 3), f32(2, 4, 7, 9)
CONV = dict(fixed=[1, 2], dims={0: ["N", None, "H", "W"], 3: ["N", None, "H", "W"]}, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
Case("ms_fused_conv_relu", "FusedConv", [picture, filters, f32(4)], activation="Relu", **CONV)
Case("ms_fused_conv_clip", "FusedConv", [picture, filters], activation="Clip", activation_params=[0.0, 0.5], **CONV)
Case("ms_fused_conv_leaky", "FusedConv", [picture, filters, f32(4)], activation="LeakyRelu", activation_params=[0.2], **CONV)
Case("ms_fused_conv_hard", "FusedConv", [picture, filters, f32(4)], activation="HardSigmoid", activation_params=[0.2, 0.4], **CONV)
Case("ms_fused_conv_sum", "FusedConv", [picture, filters, f32(4), added], activation="Relu", **CONV)
Case("ms_fused_gemm_leaky", "FusedGemm", [f32(3, 4), f32(5, 4)], transB=1, activation="LeakyRelu", activation_alpha=0.1)
Case("ms_fused_gemm_sigmoid", "FusedGemm", [f32(4, 3), f32(4, 5), f32(3, 1)], transA=1, activation="Sigmoid")
Case("ms_fused_gemm_tanh", "FusedGemm", [f32(3, 4), f32(4, 5)], activation="Tanh")

# --- normalisations ---
Case("ms_skip_layer_norm", "SkipLayerNormalization", [[f32(2, 3, 8), f32(2, 3, 8), f32(8), f32(8), f32(8)],
     [f32(1, 5, 8), f32(1, 5, 8), f32(8), f32(8), f32(8)]], dims={0: ["B", "S", None], 1: ["B", "S", None]},
     outputs=[True, False, False, True], epsilon=1e-5)
Case("ms_skip_layer_norm_flat", "SkipLayerNormalization", [f32(2, 3, 8), f32(3, 8), f32(8)], dims={0: ["B", None, None]})
Case("ms_skip_layer_norm_moments", "SkipLayerNormalization", [f32(2, 3, 8), f32(2, 3, 8), f32(8)], outputs=3,
     oracle=lambda x, y, w: also("SkipLayerNormalization", [x, y, w]) + also("LayerNormalization", [x + y, w], 3, domain="",
     epsilon=1e-12)[1:])
Case("ms_skip_layer_norm_row", "SkipLayerNormalization", [f32(2, 3, 8), f32(1, 3, 8), f32(8), f32(8)], epsilon=0.1)
Case("ms_skip_rms_norm", "SkipSimplifiedLayerNormalization", [f32(2, 3, 8), f32(2, 3, 8), f32(8)], fixed=[2],
     dims={0: ["B", "S", None], 1: ["B", "S", None]}, outputs=[True, False, False, True], epsilon=1e-6)
Case("ms_skip_rms_norm_bias", "SkipSimplifiedLayerNormalization", [f32(6, 8), f32(6, 8), f32(8), f32(8)])
Case("ort_rms_norm", "SimplifiedLayerNormalization", [f32(2, 3, 8), f32(8)], domain="", dims=BSD, axis=-1, epsilon=1e-6)
Case("ort_rms_norm_axis", "SimplifiedLayerNormalization", [f32(2, 3, 4), f32(3, 4)], outputs=2, domain="", axis=1)
Case("ort_layer_norm_opset_13", "LayerNormalization", [f32(2, 3, 8), f32(8), f32(8)], domain="", opset=13, dims=BSD, axis=-1)
EMBED = {0: ["B", "S"], 1: ["B", "S"], 7: ["B", "S"], 8: ["B", "S"]}
table, places, kinds, gamma, beta = f32(11, 8), f32(7, 8), f32(2, 8), f32(8), f32(8)


def embed(b, s, position=False):
    ids = [words(b, s, high=11, dtype=np.int32), words(b, s, high=2, dtype=np.int32), table, places, kinds, gamma, beta]
    ids.append((np.arange(s)[None] < np.arange(s - b, s)[:, None] + 1).astype(np.int32))
    return ids + ([words(b, s, high=7, dtype=np.int32)] if position else [])


Case("ms_embed", "EmbedLayerNormalization", [embed(2, 5), embed(1, 3)], fixed=[2, 3, 4, 5, 6], dims=EMBED,
     outputs=[True, TensorProto.INT32])
Case("ms_embed_positions", "EmbedLayerNormalization", embed(2, 5, True), fixed=[2, 3, 4, 5, 6], dims=EMBED,
     outputs=[True, TensorProto.INT32, True], epsilon=1e-5)
Case("ms_embed_plain", "EmbedLayerNormalization", [embed(2, 5)[0], None, table, places, None, gamma, beta],
     outputs=[True, TensorProto.INT32])

# --- attention with its projection ---


def with_zero_bias(x, w):
    """ONNX Runtime 1.31 reads a bias that is not there."""
    return also("Attention", [x, w, np.zeros(w.shape[1], np.float32)], num_heads=2, scale=0.3)


X3 = {0: ["B", "S", None]}
weight, bias = f32(6, 24, scale=0.4), f32(24, scale=0.4)
small = dict(num_heads=2)
Case("ms_attention", "Attention", [[f32(2, 3, 6), weight, bias], [f32(1, 5, 6), weight, bias]], fixed=[1, 2], dims=X3, **small)
Case("ms_attention_no_bias", "Attention", [f32(2, 3, 6), weight], dims=X3, scale=0.3, oracle=with_zero_bias, **small)
Case("ms_attention_causal", "Attention", [f32(2, 4, 6), weight, bias], dims=X3, unidirectional=1, **small)
Case("ms_attention_mask_end", "Attention", [f32(2, 4, 6), weight, bias, i32(2, 4)], dims={**X3, 3: ["B"]}, **small)
Case("ms_attention_mask_range", "Attention", [f32(2, 4, 6), weight, bias, i32(3, 4, 1, 0)], **small)
keep = np.array([[1, 1, 1, 0], [0, 1, 1, 1]], np.int32)
Case("ms_attention_mask_2d", "Attention", [f32(2, 4, 6), weight, bias, keep], dims={**X3, 3: ["B", "T"]}, **small)
Case("ms_attention_mask_2d_causal", "Attention", [f32(2, 4, 6), weight, bias, keep], dims={**X3, 3: ["B", "T"]},
     unidirectional=1, **small)
Case("ms_attention_mask_lowest_causal", "Attention", [f32(2, 4, 6), weight, bias, keep], unidirectional=1,
     mask_filter_value=float(np.finfo(np.float32).min), **small)
Case("ms_attention_mask_3d", "Attention", [f32(2, 4, 6), weight, bias, words(2, 4, 4, high=2, dtype=np.int32)],
     dims={**X3, 3: ["B", "S", "T"]},     mask_filter_value=-5.0, **small)
Case("ms_attention_sizes", "Attention", [f32(2, 3, 6), f32(6, 20, scale=0.4), f32(20)], qkv_hidden_sizes=[8, 8, 4], dims=X3,
     **small)
PAST = {**X3, 4: [None, "B", None, "P", None]}
Case("ms_attention_past", "Attention", [[f32(2, 1, 6), weight, bias, None, f32(2, 2, 2, 3, 4)],
     [f32(1, 2, 6), weight, bias, None, f32(2, 1, 2, 2, 4)]], outputs=2, unidirectional=1, dims=PAST, **small)
Case("ms_attention_past_mask", "Attention", [f32(2, 2, 6), weight, bias,
     np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], np.int32), f32(2, 2, 2, 3, 4)], outputs=2, unidirectional=1,
     dims={**PAST, 3: ["B", "T"]}, **small)
Case("ms_attention_present", "Attention", [f32(2, 3, 6), weight, bias], outputs=2, unidirectional=1, dims=X3, **small)
Case("ms_attention_added_bias", "Attention", [f32(2, 3, 6), weight, bias, None, None, f32(1, 2, 3, 3)], dims=X3, **small)

# --- attention on what is projected already ---
QKV = {0: ["B", "S", None], 1: ["B", "L", None], 2: ["B", "L", None]}
heads = dict(num_heads=2)
Case("ms_mha", "MultiHeadAttention", [[f32(2, 3, 8), f32(2, 5, 8), f32(2, 5, 8)], [f32(1, 4, 8), f32(1, 2, 8), f32(1, 2, 8)]],
     dims=QKV, **heads)
Case("ms_mha_bias", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 5, 8), f32(2, 5, 4), f32(20)], dims=QKV, fixed=[3], **heads)
Case("ms_mha_scale", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 3, 8), f32(2, 3, 8)], dims={i: X3[0] for i in range(3)},
     unidirectional=1, scale=0.7, **heads)
Case("ms_mha_padding_end", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 5, 8), f32(2, 5, 8), None, i32(3, 5)],
     dims={**QKV, 4: ["B"]}, **heads)
Case("ms_mha_padding_2d", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 4, 8), f32(2, 4, 8), None, keep],
     dims={**QKV, 4: ["B", "L"]}, **heads)
Case("ms_mha_padding_3d", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 4, 8), f32(2, 4, 8), None,
     words(2, 3, 4, high=2, dtype=np.int32)], dims={**QKV, 4: ["B", "S", "T"]}, mask_filter_value=-3.0, **heads)
Case("ms_mha_added_bias", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 4, 8), f32(2, 4, 8), None, keep, f32(1, 2, 3, 4)],
     dims={**QKV, 4: ["B", "L"]}, **heads)
Case("ms_mha_added_bias_batch", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 4, 8), f32(2, 4, 8), None, None, f32(2, 1, 3, 4)],
     dims={**QKV, 5: ["B", None, "S", "L"]}, **heads)
GROWING = {**{i: X3[0] for i in range(3)}, 6: ["B", None, "P", None], 7: ["B", None, "P", None]}
Case("ms_mha_past", "MultiHeadAttention", [f32(2, 2, 8), f32(2, 2, 8), f32(2, 2, 8), f32(24), None, None, f32(2, 2, 3, 4),
     f32(2, 2, 3, 4)], outputs=3, unidirectional=1, dims=GROWING, **heads)
Case("ms_mha_past_mask", "MultiHeadAttention", [f32(2, 1, 8), f32(2, 1, 8), f32(2, 1, 8), None, keep, None, f32(2, 2, 3, 4),
     f32(2, 2, 3, 4)], outputs=3, dims={**GROWING, 4: ["B", "T"]}, **heads)


def shared(op, length, cut, **attrs):
    """Caches with room (inputs `cut`) of which so many places are in use as input `length` says: ONNX Runtime's results for what is in use,
    and the caches with the new rows."""
    def oracle(*inputs):
        given = list(inputs)
        n = int(given[length].ravel()[0])
        given[length] = None
        for i in cut:
            given[i] = given[i][..., :n, :].copy()
        y, *present = also(op, given, outputs=1 + len(cut), **attrs)
        caches = [inputs[i].copy() for i in cut]
        for cache, new in zip(caches, present):
            cache[..., n:new.shape[-2], :] = new[..., n:, :]
        return [y, *caches]

    return oracle


ROOM = {**GROWING, 6: ["B", None, "M", None], 7: ["B", None, "M", None]}
Case("ms_mha_room", "MultiHeadAttention", [[f32(2, 1, 8), f32(2, 1, 8), f32(2, 1, 8), f32(24), None, None, f32(2, 2, 5, 4), f32(2, 2, 5, 4), i32(n)]
     for n in (3, 0, 4)], outputs=3, dims=ROOM, **heads)
Case("ms_mha_room_rows", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 3, 8), f32(2, 3, 8), None, None, None, f32(2, 2, 7, 4), f32(2, 2, 7, 4),
     np.array(2, np.int32)], outputs=3, unidirectional=1, dims=ROOM, **heads)
Case("ms_mha_room_mask", "MultiHeadAttention", [f32(2, 1, 8), f32(2, 1, 8), f32(2, 1, 8), None, keep, f32(1, 2, 1, 4), f32(2, 2, 6, 4), f32(2, 2, 6, 4),
     i32(3)], outputs=3, fixed=[8], dims={**ROOM, 4: ["B", "T"]}, **heads)
# Two batches of two beams each.
Case("ms_mha_beams", "MultiHeadAttention", [f32(4, 1, 8), f32(4, 1, 8), f32(4, 1, 8), None, None, None, f32(4, 2, 6, 4), f32(4, 2, 6, 4), i32(4),
     words(2, 2, 6, high=2, dtype=np.int32)], outputs=4, dims={**ROOM, 9: ["W", "K", "M"]}, **heads)
Case("ms_mha_padding_cumulated", "MultiHeadAttention", [[f32(2, 3, 8), f32(2, 5, 8), f32(2, 5, 8), None, mask]
     for mask in (i32(3, 5, 0, 3, 6, 0, 5, 10), i32(2, 4))], dims={**QKV, 4: ["K"]}, **heads)
Case("ms_attention_room", "Attention", [[f32(2, 2, 6), weight, bias, None, f32(2, 2, 2, 6, 4), None, i32(n)] for n in (3, 0, 4)], outputs=2,
     unidirectional=1, past_present_share_buffer=1, dims={**X3, 4: [None, "B", None, "M", None]},
     oracle=shared("Attention", 6, [4], unidirectional=1, **small), **small)
Case("ms_attention_past_length_unread", "Attention", [f32(2, 2, 6), weight, bias, None, f32(2, 2, 2, 3, 4), None, i32(1)], outputs=2, dims=PAST, **small)
Case("ms_attention_mask_either", "Attention", [[f32(2, 4, 6), weight, bias, mask] for mask in (i32(2, 4, 0, 1), i32(3, 1))], dims={**X3, 3: ["K"]},
     **small)
Case("ms_attention_mask_one", "Attention", [f32(2, 4, 6), weight, bias, np.array([[1], [0]], np.int32)], dims={**X3, 3: ["B", None]}, **small)
Case("ms_mha_cross_heads", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 2, 5, 4), f32(2, 2, 5, 4)],
     dims={0: ["B", "S", None], 1: ["B", None, "L", None], 2: ["B", None, "L", None]}, **heads)
Case("ms_mha_cross_heads_bias", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 2, 5, 4), f32(2, 2, 5, 4), f32(24)], **heads)


def by_parts(query, key=None, *rest):
    """Packed forms through the separate one: ONNX Runtime has them on GPUs only."""
    if key is None:
        b, s, n, _, h = query.shape
        parts = [query[:, :, :, i].reshape(b, s, n * h) for i in range(3)]
    else:
        b, s, n, _, h = key.shape
        parts = [query] + [key[:, :, :, i].reshape(b, s, n * h) for i in range(2)]
    return also("MultiHeadAttention", parts, num_heads=n)


Case("ms_mha_packed_qkv", "MultiHeadAttention", [f32(2, 3, 2, 3, 4)], dims={0: ["B", "S", None, None, None]}, oracle=by_parts,
     **heads)
Case("ms_mha_packed_kv", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 5, 2, 2, 4)],
     dims={0: ["B", "S", None], 1: ["B", "L", None, None, None]}, oracle=by_parts, **heads)

Case("ms_mha_scores", "MultiHeadAttention", [f32(2, 3, 8), f32(2, 4, 8), f32(2, 4, 8), None, keep, f32(1, 2, 3, 4)],
     outputs=[True, False, False, True], dims={**QKV, 4: ["B", "L"]}, **heads)

# --- rotary embedding ---
angles = np.arange(9)[:, None] * np.array([1.0, 0.3, 0.1, 0.03])[None]
cos4, sin4 = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
cos2, sin2 = np.ascontiguousarray(cos4[:, :2]), np.ascontiguousarray(sin4[:, :2])
TURN = {0: ["B", "S", None], 1: ["B", "S"]}
Case("ms_rotary", "RotaryEmbedding", [[f32(2, 3, 16), words(2, 3, high=9), cos4, sin4],
     [f32(1, 5, 16), words(1, 5, high=9), cos4, sin4]], fixed=[2, 3], dims=TURN)
Case("ms_rotary_offset", "RotaryEmbedding", [f32(2, 3, 16), np.array([4], np.int64), cos4, sin4], fixed=[2, 3],
     dims={0: ["B", "S", None]}, scale=3.0)
Case("ms_rotary_interleaved", "RotaryEmbedding", [f32(2, 3, 16), words(2, 3, high=9), cos4, sin4], fixed=[2, 3], dims=TURN,
     interleaved=1)
Case("ms_rotary_4d", "RotaryEmbedding", [f32(2, 2, 3, 8), words(2, 3, high=9), cos4, sin4], fixed=[2, 3],
     dims={0: ["B", None, "S", None], 1: ["B", "S"]})
Case("ms_rotary_partial", "RotaryEmbedding", [f32(2, 3, 16), words(2, 3, high=9), cos2, sin2], fixed=[2, 3], dims=TURN,
     num_heads=2, rotary_embedding_dim=4)
Case("ms_rotary_partial_interleaved", "RotaryEmbedding", [f32(2, 2, 3, 8), np.array([2], np.int64), cos2, sin2], fixed=[2, 3],
     num_heads=2, rotary_embedding_dim=4, interleaved=1)

# --- attention whose query heads share key heads, over a cache ---
GQ = dict(num_heads=4, kv_num_heads=2)


def total(n):
    return np.array([n], np.int32)


def grouped(b, s, past=None, seqlens=None, size=8):
    """Separate q, k, v: past is the cache's length, seqlens the totals of the sequences."""
    seqlens = seqlens or [(past or 0) + s] * b
    cache = [None, None] if past is None else [f32(b, 2, past, size), f32(b, 2, past, size)]
    return [f32(b, s, 4 * size), f32(b, s, 2 * size), f32(b, s, 2 * size)] + cache + [
        i32(*[n - 1 for n in seqlens]), total(max(seqlens))]


CACHE = {**{i: ["B", "S", None] for i in range(3)}, 3: ["B", None, "P", None], 4: ["B", None, "P", None], 5: ["B"]}
THREE = dict(outputs=3)
Case("ms_gqa_prompt", "GroupQueryAttention", [grouped(2, 4), grouped(1, 3)], dims=CACHE, **THREE, **GQ)
Case("ms_gqa_padded_prompt", "GroupQueryAttention", grouped(2, 4, seqlens=[4, 2]), dims=CACHE, **THREE, **GQ)
Case("ms_gqa_empty_past", "GroupQueryAttention", grouped(2, 4, past=0), **THREE, **GQ)
Case("ms_gqa_token", "GroupQueryAttention", grouped(2, 1, past=3), dims=CACHE, **THREE, **GQ)
Case("ms_gqa_token_lengths", "GroupQueryAttention", grouped(3, 1, past=5, seqlens=[6, 3, 4]), dims=CACHE, **THREE, **GQ)
Case("ms_gqa_several", "GroupQueryAttention", grouped(1, 3, past=4), dims=CACHE, **THREE, **GQ)
Case("ms_gqa_roomy_cache", "GroupQueryAttention", grouped(2, 1, past=8, seqlens=[6, 4]), **THREE, **GQ)
MASKED = [
    helper.make_node("ReduceSum", ["x5", "axis"], ["lengths"], keepdims=0),
    helper.make_node("Sub", ["lengths", "one"], ["last"]),
    helper.make_node("Cast", ["last"], ["last32"], to=TensorProto.INT32),
    helper.make_node("Shape", ["x5"], ["shape"]),
    helper.make_node("Gather", ["shape", "at"], ["total"], axis=0),
    helper.make_node("Cast", ["total"], ["total32"], to=TensorProto.INT32),
]
for name, number in (("axis", [1]), ("one", [1]), ("at", 1)):
    value = helper.make_tensor(name, TensorProto.INT64, [len(number)] if isinstance(number, list) else [], np.ravel(number))
    MASKED.insert(0, helper.make_node("Constant", [], [name], value=value))


SCORED = dict(num_heads=4, kv_num_heads=2, outputs=4)
Case("ms_gqa_scores", "GroupQueryAttention", grouped(1, 3, past=4) + [None, None, None, f32(1, 4, 3, 7)], dims=CACHE, softcap=2.0,
     local_window_size=3, qk_output=1, **SCORED)
Case("ms_gqa_scores_prompt", "GroupQueryAttention", grouped(2, 4), qk_output=1, **SCORED)
Case("ms_gqa_shares", "GroupQueryAttention", grouped(2, 1, past=8, seqlens=[6, 6]), qk_output=2, smooth_softmax=1, **SCORED)


def masked(b, s, past, lengths):
    """Lengths come from a mask of the keys, as exporters write it."""
    total = past + s
    mask = (np.arange(total)[None] < np.array(lengths)[:, None]).astype(np.int64)
    return grouped(b, s, past=past)[:5] + [mask]


Case("ms_gqa_mask", "GroupQueryAttention", [masked(2, 1, 3, [4, 2]), masked(1, 1, 5, [6]), masked(1, 3, 2, [5])],
     names=[f"x{i}" for i in range(5)] + ["last32", "total32"], before=MASKED, dims={**CACHE, 5: ["B", "T"]}, **THREE, **GQ)
Case("ms_gqa_scale_cap", "GroupQueryAttention", grouped(2, 4), dims=CACHE, scale=1.5, softcap=2.0, **THREE, **GQ)
Case("ms_gqa_window", "GroupQueryAttention", grouped(2, 6), dims=CACHE, local_window_size=2, **THREE, **GQ)
Case("ms_gqa_window_token", "GroupQueryAttention", grouped(2, 1, past=5, seqlens=[6, 2]), dims=CACHE, local_window_size=3,
     **THREE, **GQ)
Case("ms_gqa_smooth", "GroupQueryAttention", grouped(2, 4), dims=CACHE, smooth_softmax=1, **THREE, **GQ)
Case("ms_gqa_sink", "GroupQueryAttention", grouped(2, 4) + [None] * 4 + [f32(4)], dims=CACHE, **THREE, **GQ)
Case("ms_gqa_added_bias", "GroupQueryAttention", grouped(1, 2, past=3) + [None, None, None, f32(1, 4, 2, 5)], dims=CACHE,
     **THREE, **GQ)
Case("ms_gqa_both_ways", "GroupQueryAttention", grouped(2, 4), causal=0, dims=CACHE, **THREE, **GQ)
turned = dict(do_rotary=1, **GQ)
angles = np.arange(9)[:, None] * 0.5 ** np.arange(8)[None]
cos8, sin8 = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
Case("ms_gqa_rotary_prompt", "GroupQueryAttention", grouped(2, 4, size=16) + [cos8, sin8], fixed=[7, 8], dims=CACHE, **THREE, **turned)
Case("ms_gqa_rotary_token", "GroupQueryAttention", grouped(2, 1, past=5, seqlens=[6, 3], size=16) + [cos8, sin8], fixed=[7, 8],
     dims=CACHE, **THREE, **turned)
Case("ms_gqa_rotary_several", "GroupQueryAttention", grouped(1, 3, past=4, size=16) + [cos8, sin8], fixed=[7, 8], dims=CACHE,
     rotary_interleaved=1, **THREE, **turned)
Case("ms_gqa_rotary_positions", "GroupQueryAttention", grouped(1, 2, past=3, size=16) + [cos8, sin8, np.array([[3, 6]], np.int64)],
     fixed=[7, 8], dims={**CACHE, 9: ["B", "S"]}, **THREE, **turned)
Case("ms_gqa_rotary_partial", "GroupQueryAttention", grouped(1, 2, size=32) + [cos8, sin8], fixed=[7, 8], dims=CACHE, **THREE,
     **turned)
packed = grouped(2, 3, size=16)
Case("ms_gqa_packed", "GroupQueryAttention", [np.concatenate(packed[:3], 2), None, None] + packed[3:] + [cos8, sin8],
     fixed=[7, 8], dims=CACHE, **THREE, **turned)


def with_norms(q, k, *rest):
    """On CPUs ONNX Runtime does not have the norms of the heads."""

    def norm(x, weight):
        y = x.reshape(*x.shape[:2], -1, 16).astype(np.float64)
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + 1e-5) * weight
        return y.reshape(x.shape).astype(np.float32)

    return also("GroupQueryAttention", [norm(q, rest[-2]), norm(k, rest[-1]), *rest[:-7]], 3, **turned)


Case("ms_gqa_head_norm", "GroupQueryAttention", grouped(2, 3, size=16) + [cos8, sin8] + [None] * 5 + [f32(16), f32(16)], fixed=[7, 8],
     dims=CACHE, qk_norm_epsilon=1e-5, oracle=with_norms, **THREE, **turned)


# --- quantised ---
def narrow(n, k, block, bits, zero, dtype=np.uint8):
    blocks = (k + block - 1) // block
    out = [words(n, blocks, block * bits // 8, high=256, dtype=np.uint8), f32(n, blocks, scale=0.05)]
    if zero == "packed":
        out.append(words(n, (blocks * bits + 7) // 8, high=256, dtype=np.uint8))
    elif zero == "float":
        out.append(f32(n, blocks, scale=3.0) + np.float32(8))
    return out


NB = dict(dims={0: ["B", "S", None]}, fixed=[1, 2, 3, 5])
for bits, k, block in ((4, 32, 16), (4, 40, 16), (4, 96, 32), (8, 32, 16), (8, 40, 16), (2, 48, 16)):
    for zero in ("none", "packed"):
        Case(f"ms_matmul_bits{bits}_{k}_{block}_{zero}", "MatMulNBits", [f32(2, 3, k)] + narrow(3, k, block, bits, zero),
             K=k, N=3, bits=bits, block_size=block, accuracy_level=1, **NB)
Case("ms_matmul_bits4_float_zero", "MatMulNBits", [f32(2, 3, 32)] + narrow(3, 32, 16, 4, "float"), K=32, N=3, bits=4,
     block_size=16, accuracy_level=1, **NB)
Case("ms_matmul_bits4_bias", "MatMulNBits", [f32(2, 3, 32)] + narrow(3, 32, 16, 4, "none") + [None, None, f32(3)], K=32, N=3,
     bits=4, block_size=16, accuracy_level=1, **NB)


def by_group(x, b, scales, zeros, groups):
    """ONNX Runtime leaves zero points out where groups are listed, and has no 8 bits there."""
    codes = np.stack([b & 15, b >> 4], -1).reshape(3, -1)[:, :48].astype(np.float32)
    zero = np.stack([zeros & 15, zeros >> 4], -1).reshape(3, -1)[:, :3].astype(np.float32)
    return [x @ ((codes - zero[:, groups]) * scales.reshape(3, 3)[:, groups]).T]


for zero, oracle in (("none", None), ("packed", by_group)):
    Case(f"ms_matmul_groups_{zero}", "MatMulNBits",
         [f32(2, 3, 48)] + (narrow(3, 48, 16, 4, zero) + [None])[:3] + [words(48, high=3, dtype=np.int32)], K=48, N=3, bits=4,
         block_size=16, dims=NB["dims"], fixed=[1, 2, 3, 4], oracle=oracle)
BYTES = dict(dims={0: ["B", "S", None], 5: ["B"], 8: [None, "B", None, "P", None]}, fixed=[1, 2, 3, 4, 7])
u8, i8 = words(2, 3, 6, high=256, dtype=np.uint8), words(6, 24, high=200, dtype=np.int8)
step_x, step_w = np.array(0.02, np.float32), np.array(0.01, np.float32)
zero_x, zero_w = np.array(120, np.uint8), np.array(3, np.int8)
Case("ms_qattention", "QAttention", [u8, i8, bias, step_x, step_w, None, zero_x, zero_w], **BYTES, **small)
Case("ms_qattention_columns", "QAttention", [u8, i8, bias, step_x, np.abs(f32(24, scale=0.01)), i32(2, 3), zero_x,
     words(24, high=9, dtype=np.int8)], **BYTES, **small)
Case("ms_qattention_past", "QAttention", [u8, i8, bias, step_x, step_w, None, zero_x, zero_w, f32(2, 2, 2, 4, 4)], outputs=2,
     unidirectional=1, **BYTES, **small)
columns, zeros = np.abs(f32(5, scale=0.02)) + 0.001, words(5, high=9, dtype=np.int8)
SEQ = {0: ["B", "S", None]}
Case("ms_dynamic_matmul", "DynamicQuantizeMatMul", [f32(2, 3, 6), words(6, 5, high=99, dtype=np.int8), step_w, zero_w, f32(5)],
     fixed=[1, 2, 3, 4], dims=SEQ)
Case("ms_dynamic_matmul_columns", "DynamicQuantizeMatMul", [f32(2, 3, 6), words(6, 5, high=99, dtype=np.int8), columns, zeros],
     fixed=[1, 2, 3], dims=SEQ)
Case("ms_matmul_to_float", "MatMulIntegerToFloat", [u8, words(6, 5, high=99, dtype=np.int8), step_x, columns, zero_x, zeros,
     f32(5)], fixed=[1, 2, 3, 4, 5, 6], dims=SEQ)
Case("ms_matmul_to_float_plain", "MatMulIntegerToFloat", [u8, words(6, 5, high=256, dtype=np.uint8), step_x, step_w], dims=SEQ)
U8 = [TensorProto.UINT8]
step, point = np.array(0.1, np.float32), np.array(100, np.uint8)
Case("ms_quantize", "QuantizeLinear", [f32(2, 3, 8), step, point], outputs=U8, dims=BSD)
Case("ms_quantize_axis", "QuantizeLinear", [f32(2, 3, 4), np.abs(f32(3)) + 0.01, words(3, high=9, dtype=np.uint8)], outputs=U8, axis=1)
Case("ms_quantize_u16", "QuantizeLinear", [f32(2, 3), step, np.array(30000, np.uint16)], outputs=[TensorProto.UINT16])
Case("ms_dequantize", "DequantizeLinear", [words(2, 3, 8, high=256, dtype=np.uint8), step, point], dims=BSD)
Case("ms_dequantize_axis", "DequantizeLinear", [words(2, 3, 4, high=100, dtype=np.int8), f32(3), words(3, high=9, dtype=np.int8)],
     axis=1)
Case("ms_dequantize_u16", "DequantizeLinear", [words(2, 3, high=65536, dtype=np.uint16), step, np.array(30000, np.uint16)])

# --- float16 ---


def halves(inputs):
    return [x.astype(np.float16) if x is not None and x.dtype == np.float32 else x for x in inputs]


F16 = TensorProto.FLOAT16
Case("ms_f16_skip_layer_norm", "SkipLayerNormalization", halves([f32(2, 3, 8), f32(2, 3, 8), f32(8), f32(8), f32(8)]),
     outputs=[F16, False, False, F16], dims={0: ["B", "S", None], 1: ["B", "S", None]})
Case("ms_f16_rotary", "RotaryEmbedding", halves([f32(2, 3, 16), words(2, 3, high=9), cos4, sin4]), outputs=[F16], dims=TURN)
Case("ms_f16_gqa", "GroupQueryAttention", halves(grouped(2, 4)), outputs=[F16] * 3, dims=CACHE, **GQ)
Case("ms_f16_matmul_bits4", "MatMulNBits", halves([f32(2, 3, 32)] + narrow(3, 32, 16, 4, "packed")), outputs=[F16], K=32, N=3,
     bits=4, block_size=16, accuracy_level=1, **NB)

# --- pools that round up, several in a row, of pictures of any size ---

halving = dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
chain = [helper.make_node("MaxPool", [f"p{i - 1}" if i else "x0"], [f"p{i}"], **halving) for i in range(4)]
Case("pool_rounded_up", "MaxPool", [[f32(1, 2, 37, 50)], [f32(2, 2, 64, 33)], [f32(1, 2, 75, 130)]], domain="", before=chain,
     names=["p3"], dims={0: ["N", None, "H", "W"]}, **halving)

# --- the last row of pictures of any height broadcasts ---

last = helper.make_node("Slice", ["x0", "x1", "x2", "x3"], ["row"])
Case("broadcast_last_row", "Div", [[f32(n, h, 3), np.array([-1]), np.array([2**63 - 1]), np.array([1])] for n, h in ((2, 5), (1, 1), (3, 8))],
     domain="", before=[last], names=["x0", "row"], fixed=[1, 2, 3], dims={0: ["N", "H", None]})

spread = helper.make_node("Slice", ["x0", "x1", "x2", "x3"], ["row"])
Case("expand_first_row", "Expand", [[f32(n, 3), np.array([0]), np.array([1]), np.array([0]), np.array([5, 3])] for n in (4, 1)],
     domain="", before=[spread], names=["row", "x4"], fixed=[1, 2, 3, 4], dims={0: ["N", None]})

# --- choosing boxes: any number of them, all that do not overlap ---


def boxes(batch, classes, count):
    corner, size = random.random((batch, count, 2)), random.random((batch, count, 2)) * 0.4
    return [np.concatenate([corner, corner + size], 2).astype(np.float32), random.random((batch, classes, count)).astype(np.float32)]


def nms(most, overlap=None, least=None):
    rest = [np.array([most], np.int64), overlap and np.array([overlap], np.float32), least and np.array([least], np.float32)]
    return [boxes(*size) + rest for size in ((2, 3, 40), (1, 1, 7), (1, 2, 300))]


CHOICE = dict(domain="", outputs=[TensorProto.INT64], dims={0: ["B", "N", None], 1: ["B", "C", "N"]}, fixed=[2, 3, 4])
Case("nms_all", "NonMaxSuppression", nms(2**63 - 1, 0.3), **CHOICE)
Case("nms_some", "NonMaxSuppression", nms(9, 0.5, 0.25), **CHOICE)
Case("nms_centre", "NonMaxSuppression", nms(100, 0.1, 0.5), center_point_box=1, **CHOICE)

# --- operators as models before opset 7 write them: ONNX Runtime has today's forms only ---


def today(op, attrs, change=lambda *inputs: list(inputs), outputs=1, opset=17):
    return lambda *inputs: also(op, change(*inputs), outputs=outputs, domain="", opset=opset, **attrs)


OLD = dict(domain="", opset=1)
NCHW = {0: ["N", None, "H", "W"]}
Case("old_cast", "Cast", [f32(2, 5, scale=9)], to="INT32", outputs=[TensorProto.INT32], oracle=today("Cast", {"to": 6}, outputs=[TensorProto.INT32]), **OLD)
Case("old_concat", "Concat", [f32(2, 3), f32(2, 1)], oracle=today("Concat", {"axis": 1}), dims={0: ["N", None], 1: ["N", None]}, **OLD)
Case("old_clip", "Clip", [f32(2, 5)], min=-0.5, max=0.25, consumed_inputs=[0],
     oracle=today("Clip", {}, lambda x: [x, np.array(-0.5, np.float32), np.array(0.25, np.float32)]), **OLD)
Case("old_pad", "Pad", [f32(1, 2, 3, 4)], paddings=[0, 0, 1, 0, 0, 0, 2, 3], value=1.5, dims=NCHW,
     oracle=today("Pad", {}, lambda x: [x, np.array([0, 0, 1, 0, 0, 0, 2, 3]), np.array(1.5, np.float32)]), **OLD)
Case("old_gemm", "Gemm", [f32(3, 4), f32(5, 4), f32(5)], broadcast=1, transB=1, alpha=0.5, oracle=today("Gemm", {"transB": 1, "alpha": 0.5}), **OLD)
Case("old_upsample", "Upsample", [f32(1, 2, 3, 4)], height_scale=2.0, width_scale=3.0, mode="bilinear", dims=NCHW,
     oracle=today("Upsample", {"mode": "linear"}, lambda x: [x, np.array([1, 1, 2, 3], np.float32)], opset=9), **OLD)
Case("old_lp_pool", "LpPool", [f32(1, 2, 6, 7)], p=3.0, kernel_shape=[2, 3], strides=[2, 1], dims=NCHW,
     oracle=today("LpPool", {"p": 3, "kernel_shape": [2, 3], "strides": [2, 1]}), **OLD)
Case("old_global_lp_pool", "GlobalLpPool", [f32(1, 2, 6, 7)], p=1.0, dims=NCHW, oracle=today("GlobalLpPool", {"p": 1}), **OLD)
Case("old_batch_norm", "BatchNormalization", [f32(2, 3, 4, 5), f32(3), f32(3), f32(3), np.abs(f32(3))], is_test=1, consumed_inputs=[0, 0, 0, 1, 1],
     epsilon=1e-3, fixed=[1, 2, 3, 4], dims=NCHW, oracle=today("BatchNormalization", {"epsilon": 1e-3}), **OLD)
Case("old_instance_norm", "InstanceNormalization", [f32(2, 3, 4, 5), f32(3), f32(3)], consumed_inputs=[0, 0, 0], epsilon=1e-3, dims=NCHW,
     oracle=today("InstanceNormalization", {"epsilon": 1e-3}), **OLD)
Case("old_lstm", "LSTM", [f32(4, 2, 3), f32(1, 20, 3), f32(1, 20, 5), f32(1, 40)], outputs=2, hidden_size=5, output_sequence=1,
     dims={0: ["T", "B", None]}, oracle=today("LSTM", {"hidden_size": 5}, outputs=2), **OLD)
Case("old_gru", "GRU", [f32(4, 2, 3), f32(1, 15, 3), f32(1, 15, 5), f32(1, 30)], outputs=2, hidden_size=5, output_sequence=1,
     dims={0: ["T", "B", None]}, oracle=today("GRU", {"hidden_size": 5}, outputs=2), **OLD)

# --- what fuzz_ort.py found; more of it, by seed, is in cases/fuzz_seed_* ---
FOUND = dict(domain="", opset=18)
Case("fuzz_slice_nothing_backwards", "Slice", [f32(2, 0), np.array([-1]), np.array([-9]), np.array([1]), np.array([-1])],
     fixed=[1, 2, 3, 4], **FOUND)
outside = np.array([[[[1.15, 0.9], [-1.3, 1.2], [0.3, -1.9]]]], np.float32)
Case("fuzz_grid_sample_cubic_border", "GridSample", [f32(1, 2, 3, 4), outside], mode="bicubic", padding_mode="border", **FOUND)
Case("fuzz_grid_sample_cubic_border_corners", "GridSample", [f32(1, 2, 3, 4), outside], mode="bicubic", padding_mode="border",
     align_corners=1, **FOUND)
Case("fuzz_tf_idf_weights", "TfIdfVectorizer", [i32(2, 3, 5, 5, 4)], mode="TFIDF", min_gram_length=1, max_gram_length=2,
     max_skip_count=1, ngram_counts=[0, 3], ngram_indexes=[5, 2, 3, 4, 1, 0], pool_int64s=[2, 3, 5, 5, 4, 3, 2, 6, 1],
     weights=[0.5, 1.0, 2.0, 0.25, 1.5, 3.0], **FOUND)
Case("fuzz_hardmax_nothing", "Hardmax", [f32(2, 0)], **FOUND)
Case("fuzz_hardmax_dims", "Hardmax", [[f32(2, 3)], [f32(2, 0)]], dims={0: [None, "N"]}, **FOUND)
Case("fuzz_reshape_nothing", "ReduceSum", [f32(5, 2, 0, 3)], names=["flat"], keepdims=0, **FOUND, before=[
    helper.make_node("Exp", ["x0"], ["e"]),
    helper.make_node("Constant", [], ["shape"], value=helper.make_tensor("shape", TensorProto.INT64, [1], [0])),
    helper.make_node("Reshape", ["e", "shape"], ["flat"], allowzero=1)])
Case("fuzz_shrink_integers", "Shrink", [i32(5083, -7, 0, 1)], outputs=[TensorProto.INT32], bias=0.6, lambd=0.5, **FOUND)
Case("fuzz_layer_norm_moments", "LayerNormalization", [f32(2, 3, 4).astype(np.float64), f32(3, 4).astype(np.float64)], axis=1,
     outputs=[TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT], **FOUND)
INDICES = [TensorProto.FLOAT, TensorProto.INT64]
Case("fuzz_max_pool_indices_1d", "MaxPool", [f32(2, 2, 7)], outputs=INDICES, kernel_shape=[3], strides=[2], pads=[1, 1], **FOUND)
Case("fuzz_max_pool_indices_3d", "MaxPool", [f32(1, 2, 3, 4, 5)], outputs=INDICES, kernel_shape=[2, 2, 3], **FOUND)
Case("fuzz_max_pool_indices_3d_columns", "MaxPool", [f32(1, 2, 3, 4, 5)], outputs=INDICES, kernel_shape=[2, 1, 2], storage_order=1,
     dilations=[1, 1, 2], **FOUND)
Case("fuzz_group_norm_rank_2", "GroupNormalization", [f32(3, 4), f32(4), f32(4)], num_groups=2, domain="", opset=21)
Case("fuzz_dynamic_quantize_zeros", "DynamicQuantizeLinear", [np.zeros((2, 3), np.float32)],
     outputs=[TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8], **FOUND)
for name, opset, sizes, attrs in (("uneven", 18, (5, 6, 3), {"num_outputs": 3}), ("even", 13, (6, 0, 3), {})):
    Case("split_dims_" + name, "Split", [[f32(2, n)] for n in sizes], domain="", opset=opset, outputs=3, dims={0: [None, "N"]}, axis=1, **attrs)
for name, key_heads, sizes in (("same", "H", ((4, 4), (1, 1))), ("shared", None, ((4, 2), (2, 2)))):
    Case("attention_heads_" + name, "Attention", [[f32(2, heads, 3, 8), f32(2, keys, 5, 8), f32(2, keys, 5, 6)] for heads, keys in sizes],
         domain="", opset=23, dims={0: ["B", "H", None, None], 1: ["B", key_heads, None, None], 2: ["B", key_heads, None, None]})
# Windows that leave an axis of extent 1, or one along which the operand is the same.
window, conv = (np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3) - 50) / 64, dict(pads=[1, 1, 1, 1], **FOUND)
for name, shape, perm in (("unit", (1, 1, 7, 3), [0, 3, 1, 2]), ("units", (1, 1, 7, 3), [0, 3, 2, 1]), ("none", (2, 5, 6, 3), [0, 3, 1, 2])):
    Case("conv_of_permuted_" + name, "Conv", [f32(*shape), window], fixed=[1], names=["t", "x1"], **conv,
         before=[helper.make_node("Transpose", ["x0"], ["t"], perm=perm)])
for name, shape, wide in (("row", (3, 1, 1), (4, 3, 1, 5)), ("image", (4, 3, 1, 1), (4, 3, 6, 5)), ("batch", (3, 6, 5), (2, 3, 6, 5))):
    Case("conv_of_expanded_" + name, "Conv", [f32(*shape), window], fixed=[1], names=["t", "x1"], **conv, before=[
        helper.make_node("Constant", [], ["shape"], value=helper.make_tensor("shape", TensorProto.INT64, [4], wide)),
        helper.make_node("Expand", ["x0", "shape"], ["t"])])
# --- axes that only a run knows ---
for op, keep, shape in (("Sum", 1, (2, 3, 4)), ("Mean", 0, (2, 3, 4)), ("Max", 0, (3, 5)), ("LogSumExp", 1, (2, 3, 2, 4)), ("L2", 0, (2, 1, 5))):
    lists = [[0], [-1], [1]] if len(shape) == 2 else [[0, 2], [1, 0], [-1, -3 + (len(shape) == 4)]]
    Case("reduce_axes_" + op.lower(), "Reduce" + op, [[f32(n, *shape[1:]), np.array(axes)] for n, axes in zip((shape[0], 1, 7), lists)],
         domain="", opset=18, dims={0: ["N"] + [None] * (len(shape) - 1)}, keepdims=keep)
Case("reduce_axes_all", "ReduceProd", [[f32(2, 3), np.array(axes)] for axes in ([0, 1], [-1, 0])], domain="", opset=18, keepdims=0)
for name, widths, attrs in (("", [1, 2, 0, 3], {}), ("_cut", [-1, 2, 3, -2], {}), ("_edge", [2, 0, 1, 1], {"mode": "edge"})):
    Case("pad_axes" + name, "Pad", [[f32(n, 4, 3), np.array(widths), np.array(1.5, np.float32), np.array(axes)] for n, axes in ((5, [0, 2]), (6, [-1, 1]), (4, [1, 0]))],
         domain="", opset=18, fixed=[1] if name else [], dims={0: ["N", None, None]}, **attrs)

# --- regions with as many samples as they have pixels, scales that are data ---
rois = [np.array([[0, 0, 9, 7], [1.5, 2, 4, 11], [3, 3, 3.2, 3.1], [-2, 0, 30, 5]], np.float32), np.array([0, 1, 1, 0])]
for name, op, attrs in (("", 16, {}), ("_old", 10, {}), ("_max", 16, {"mode": "max"}),
                        ("_pixel", 16, {"coordinate_transformation_mode": "output_half_pixel"})):
    Case("roi_samples" + name, "RoiAlign", [f32(2, 3, 12, 10), *rois], domain="", opset=op, dims={1: ["R", None], 2: ["R"]},
         output_height=3, output_width=2, sampling_ratio=0, spatial_scale=0.9, **attrs)
# As many samples as 7 cells of 21, 42 and 49 have pixels: whole numbers, which a product with 1/7 exceeds.
Case("roi_samples_whole", "RoiAlign", [np.abs(f32(1, 2, 60, 60)), np.array([[1, 2, 22, 44], [3, 4, 52, 53], [0, 0, 42, 21]], np.float32), np.array([0, 0, 0])],
     domain="", opset=16, output_height=7, output_width=7, sampling_ratio=0)


def regions(count, step=None):
    """Corners in and out of the picture, in any order; multiples of `step`, so that halves are rounded."""
    corners = random.uniform(-4, 14, (count, 4))
    corners = np.round(corners / step) * step if step else corners
    return np.concatenate([random.integers(0, 2, (count, 1)), corners], 1).astype(np.float32)


for name, cells, scale, step in (("", [3, 2], 1.0, 0.5), ("_one", [1, 1], 0.5, 0.5), ("_many", [7, 5], 0.7, None)):
    Case("roi_pool" + name, "MaxRoiPool", [[f32(2, 3, 12, 10), regions(9, step)], [f32(2, 3, 5, 8), regions(1, step)]], domain="",
         dims={0: [None, None, "H", "W"], 1: ["R", None]}, pooled_shape=cells, spatial_scale=scale)
Case("roi_pool_half", "MaxRoiPool", [f32(2, 3, 12, 10).astype(np.float16), regions(6).astype(np.float16)], domain="", outputs=[TensorProto.FLOAT16],
     pooled_shape=[2, 4])
# The difference of two large results, of which float32 would leave nothing.
Case("fuzz_roi_align_double", "Sub", [f32(1, 1, 4, 3).astype(np.float64) * 1e8 + 0.1, np.ones((1, 1, 4, 3))], domain="", opset=16,
     outputs=[TensorProto.DOUBLE], names=["r", "s"], before=[
    helper.make_node("Constant", [], ["rois"], value=numpy_helper.from_array(np.array([[0, 0, 2, 3]], np.float64))),
    helper.make_node("Constant", [], ["batch"], value=numpy_helper.from_array(np.array([0]))),
    helper.make_node("Add", ["x0", "x1"], ["moved"]),
    helper.make_node("RoiAlign", ["x0", "rois", "batch"], ["r"], output_height=2, output_width=2, sampling_ratio=3),
    helper.make_node("RoiAlign", ["moved", "rois", "batch"], ["s"], output_height=2, output_width=2, sampling_ratio=3)])
NONE = np.zeros(0, np.float32)
for name, attrs in (("linear", {"mode": "linear"}), ("nearest", {"mode": "nearest"}), ("cubic", {"mode": "cubic"}),
                    ("corners", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
                    ("floor", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})):
    Case("resize_scales_" + name, "Resize",
         [[f32(1, 2, 5, 7), None, np.array([1, 1, *hw], np.float32)] for hw in ((2, 3), (1.75, 0.75) if name != "corners" else (1.6, 2), (0.4, 1))],
         domain="", dims={0: [None, None, "H", "W"]}, **attrs)

for name, opset, attrs in (("exclude", 13, {"mode": "cubic", "exclude_outside": 1}),
                           ("smooth", 18, {"mode": "linear", "antialias": 1}), ("smooth_cubic", 18, {"mode": "cubic", "antialias": 1}),
                           ("symmetric", 19, {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"})):
    Case("resize_dims_" + name, "Resize", [[f32(1, 2, *hw), None, np.array([1, 1, 0.6, 1.7], np.float32)] for hw in ((5, 7), (13, 4), (2, 2))],
         domain="", opset=opset, fixed=[2], dims={0: [None, None, "H", "W"]}, **attrs)
Case("resize_dims_smooth_sizes", "Resize", [[f32(1, 2, *hw), None, None, np.array([1, 2, 5, 6])] for hw in ((5, 7), (13, 4), (2, 20))],
     domain="", opset=18, fixed=[3], dims={0: [None, None, "H", "W"]}, mode="linear", antialias=1)
# Opset 10 says nothing of rounding; its own example takes the larger position where it shrinks.
for dims in ({}, {0: [None, None, "H", "W"]}):
    Case("fuzz_resize_opset_10" + ("_dims" if dims else ""), "Resize", [f32(1, 2, 3, 4), np.array([1, 1, 0.75, 0.6], np.float32)],
         domain="", opset=10, fixed=[1], dims=dims, mode="nearest")

# --- transforms of symbolic lengths, lengths that are data, features that are not known ---
WIDE = [TensorProto.DOUBLE]  # exact zeros are noise in float32


def wide(*shape):
    return f32(*shape).astype(np.float64)


for name, last, attrs in (("", 1, {}), ("_onesided", 1, {"onesided": 1}), ("_complex", 2, {}), ("_inverse", 2, {"inverse": 1})):
    Case("dft_dims" + name, "DFT", [[wide(2, n, last)] for n in (5, 1, 8)], domain="", outputs=WIDE, opset=17, dims={0: ["B", "N", None]}, **attrs)
    Case("dft_length" + name, "DFT", [[wide(2, 6, last), np.array(n)] for n in (6, 3, 9)], domain="", outputs=WIDE, opset=20, **attrs)
Case("dft_dims_real", "DFT", [[wide(2, n, 2)] for n in (5, 2, 8)], domain="", outputs=WIDE, opset=20, dims={0: ["B", "N", None]}, inverse=1, onesided=1)
# Real or complex: only a run knows.
Case("dft_parts", "DFT", [[wide(2, 6, n)] for n in (1, 2)], domain="", outputs=WIDE, opset=18, dims={0: [None, None, "P"]})
Case("stft_parts", "STFT", [[wide(2, 9, n), np.array(3), wide(6)] for n in (2, 1)], domain="", outputs=WIDE, opset=17, fixed=[1], onesided=0,
     dims={0: [None, None, "P"]})
for name, inputs in (("", [np.array(3), wide(6)]), ("_plain", [np.array(2), None, np.array(5)])):
    Case("stft_dims" + name, "STFT", [[wide(2, n, 1), *inputs] for n in (17, 6, 20)], domain="", outputs=WIDE, opset=17, fixed=[1, 3],
         dims={0: ["B", "N", None]})
FOREST = dict(n_targets=1, nodes_featureids=[0, 1, 2], nodes_splits=numpy_helper.from_array(np.array([0.1, -0.2, 0.3], np.float32)),
              nodes_modes=numpy_helper.from_array(np.array([0, 1, 2], np.uint8)), nodes_truenodeids=[1, 0, 2], nodes_trueleafs=[0, 1, 1],
              nodes_falsenodeids=[2, 1, 3], nodes_falseleafs=[0, 1, 1], leaf_targetids=[0] * 4,
              leaf_weights=numpy_helper.from_array(f32(4)), tree_roots=[0], aggregate_function=1, post_transform=0)
Case("tree_features", "TreeEnsemble", [[f32(3, 4)], [f32(2, 3)]], domain="ai.onnx.ml", dims={0: ["R", "F"]}, **FOREST)

# Tree 7: two levels, NaN goes right at the root; tree 3: one leaf alone; tree 5: the root has the highest number.
def trees(kind, weights, ids):
    leaves = [(7, 2), (7, 3), (7, 4), (3, 0), (5, 1), (5, 0)]
    named = [(t, n, i, w) for (t, n), row in zip(leaves, weights) for i, w in zip(ids, row)]
    return {"nodes_treeids": [7, 7, 7, 7, 7, 3, 5, 5, 5], "nodes_nodeids": [0, 1, 2, 3, 4, 0, 2, 1, 0],
            "nodes_featureids": [1, 0, 0, 0, 0, 0, 3, 0, 0], "nodes_values": [0.2, -0.1, 0.0, 0.0, 0.0, 0.0, 0.4, 0.0, 0.0],
            "nodes_modes": ["BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"],
            "nodes_truenodeids": [1, 2, 0, 0, 0, 0, 0, 0, 0], "nodes_falsenodeids": [4, 3, 0, 0, 0, 0, 1, 0, 0],
            "nodes_missing_value_tracks_true": [1, 0, 0, 0, 0, 0, 1, 0, 0],
            **{f"{kind}_{key}": list(column) for key, column in zip(("treeids", "nodeids", "ids", "weights"), zip(*named))}}


some = f32(40, 4)
some[::7, 1] = some[::5, 3] = np.nan
TREES = dict(domain="ai.onnx.ml", dims={0: ["R", None]})
LABELS = [TensorProto.INT64, True]
single, several = [[0.25], [0.1], [0.3], [0.125], [0.5], [0.0]], [[0.1, 0.5, -0.2], [0.7, 0.1, 0], [0, 0, 0.9], [0.1, 0, 0], [0, 0.6, 0], [0.2, 0, 0.3]]
for after in ("NONE", "SOFTMAX", "LOGISTIC"):
    Case("trees_classes_" + after.lower(), "TreeEnsembleClassifier", [[some], [some[:1]]], outputs=LABELS, classlabels_int64s=[4, 2, 9],
         post_transform=after, base_values=[0.1, -0.2, 0.0], **trees("class", several, range(3)), **TREES)
    if after != "SOFTMAX":
        Case("trees_binary_" + after.lower(), "TreeEnsembleClassifier", [some], outputs=LABELS, classlabels_int64s=[4, 2], post_transform=after,
             **trees("class", single, [0]), **TREES)
        Case("trees_sign_" + after.lower(), "TreeEnsembleClassifier", [some], outputs=LABELS, classlabels_int64s=[0, 1], post_transform=after,
             base_values=[-0.4], **trees("class", [[w[0] - 0.2] for w in single], [0]), **TREES)
for how in ("SUM", "AVERAGE"):
    Case("trees_" + how.lower(), "TreeEnsembleRegressor", [some], n_targets=3, aggregate_function=how, base_values=[0.5, 1.0, -2.0],
         **trees("target", several, range(3)), **TREES)
    Case("trees_one_" + how.lower(), "TreeEnsembleRegressor", [some.astype(np.float64)], n_targets=1, aggregate_function=how,
         **trees("target", single, [0]), **TREES)

# --- QOperator: scales are powers of two where a half between two integers is decided by them ---
def q(kind, *shape):
    return random.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


def scale_(x):
    return np.array(x, np.float32)


for kind, name in ((np.uint8, ""), (np.int8, "_signed")):
    zero = np.array(128 if kind is np.uint8 else 3, kind)
    K = {np.uint8: [TensorProto.UINT8], np.int8: [TensorProto.INT8]}[kind]
    for op in ("Add", "Mul"):
        Case(f"ms_qlinear_{op.lower()}{name}", "QLinear" + op, [[q(kind, n, 3, 5), scale_(0.25), zero, q(kind, 3, 1), scale_(0.125), zero,
             scale_(0.5 if op == "Add" else 4), zero] for n in (2, 1)], outputs=K, fixed=[1, 2, 4, 5, 6, 7], dims={0: ["N", None, None]})
    Case("ms_qlinear_sigmoid" + name, "QLinearSigmoid", [q(kind, 4, 33), scale_(0.043), zero, scale_(1 / 256), zero], outputs=K, fixed=[1, 2, 3, 4])
    Case("ms_qlinear_leaky" + name, "QLinearLeakyRelu", [q(kind, 4, 33), scale_(0.25), zero, scale_(0.5), zero], outputs=K, fixed=[1, 2, 3, 4],
         alpha=0.125)
    Case("ms_qlinear_concat" + name, "QLinearConcat", [scale_(0.5), zero, q(kind, 2, 3, 4), scale_(0.25), zero, q(kind, 2, 5, 4), scale_(1), zero],
         outputs=K, fixed=[0, 1, 3, 4, 6, 7], axis=1)
    Case("ms_qlinear_global_pool" + name, "QLinearGlobalAveragePool", [q(kind, 2, 3, 4, 8), scale_(0.25), zero, scale_(0.125), zero], outputs=K,
         fixed=[1, 2, 3, 4], channels_last=0)
    for form, last, attrs in (("", 0, dict(pads=[0, 1, 1, 0], strides=[1, 2], ceil_mode=1)), ("_pads", 0, dict(pads=[1, 1, 1, 1], count_include_pad=1)),
                              ("_last", 1, dict(pads=[1, 0, 0, 1]))):
        sizes = [(2, 3, 6, 9), (1, 3, 5, 4)] if not last else [(2, 6, 9, 3), (1, 5, 4, 3)]
        names = ["N", None, "H", "W"] if not last else ["N", "H", "W", None]
        Case(f"ms_qlinear_pool{form}{name}", "QLinearAveragePool", [[q(kind, *s), scale_(0.25), zero, scale_(0.125), zero] for s in sizes], outputs=K,
             fixed=[1, 2, 3, 4], dims={0: names}, kernel_shape=[2, 4], channels_last=last, **attrs)

# --- recurrence over rounded states: of one row, since ONNX Runtime rounds as many together as its threads leave ---


def lstm(directions, steps, batch, per_column=False, kind=np.int8, width=5, hidden=4):
    """X, W, R, B, then scales and zero points; the others are absent."""
    def scales(n):
        return (random.random((directions, n) if per_column else directions) * 0.01 + 0.005).astype(np.float32)

    def zeros(n):  # ONNX Runtime takes others for uint8 only
        point = np.zeros((directions, n) if per_column else directions, kind)
        return point + np.array(128 if kind is np.uint8 else 0, kind)

    wide = 4 * hidden
    return [f32(steps, batch, width), q(kind, directions, width, wide), q(kind, directions, hidden, wide), f32(directions, 2 * wide),
            None, None, None, None, scales(wide), zeros(wide), scales(wide), zeros(wide)]


STATES = dict(fixed=[1, 2, 3, 8, 9, 10, 11], dims={0: ["T", "B", None]}, outputs=3, hidden_size=4)
Case("ms_dynamic_lstm", "DynamicQuantizeLSTM", lstm(1, 7, 1), **STATES)
Case("ms_dynamic_lstm_both", "DynamicQuantizeLSTM", lstm(2, 5, 1, kind=np.uint8), direction="bidirectional", **STATES)
Case("ms_dynamic_lstm_columns", "DynamicQuantizeLSTM", lstm(1, 6, 1, per_column=True), direction="reverse", **STATES)

# --- refused ---


def refuse(name, op, inputs, reason, outputs=1, **attrs):
    Case(name, op, inputs, outputs, refused=f"{op} (opset 1, node 'node'): {reason}", **attrs)


refuse("attention_rotary", "Attention", [f32(1, 2, 6), weight, bias], "do_rotary = 1", do_rotary=1, **small)
refuse("attention_shared", "Attention", [f32(1, 2, 6), weight, bias], "past_present_share_buffer = 1",
       past_present_share_buffer=1, **small)
refuse("attention_mask_4d", "Attention", [f32(1, 2, 6), weight, bias, words(1, 1, 2, 2, high=2, dtype=np.int32)],
       "a mask of rank 4", **small)
refuse("attention_mask_cumulated", "Attention", [f32(1, 2, 6), weight, bias, i32(1, 2, 3, 4, 5)],
       "a mask of rank 1 that is neither [batch] nor [2 * batch]", **small)
refuse("gqa_quantised", "GroupQueryAttention", grouped(1, 2), "k_quant_type = 'PER_TENSOR'", k_quant_type="PER_TENSOR", **GQ)
refuse("gqa_window_cache", "GroupQueryAttention", grouped(1, 2), "sliding_window_cache = 1", sliding_window_cache=1, **GQ)
refuse("matmul_bits3", "MatMulNBits", [f32(2, 32)] + narrow(3, 32, 16, 4, "none"), "bits = 3", K=32, N=3, bits=3, block_size=16)
refuse("gemm_activation", "FusedGemm", [f32(2, 3), f32(3, 2)], "activation = 'Softplus'", activation="Softplus")
refuse("rotary_packed", "RotaryEmbedding", [f32(1, 2, 16), np.array([0], np.int64), cos4, sin4], "is_packed_batching = 1",
       is_packed_batching=1)

if __name__ == "__main__":
    main()
