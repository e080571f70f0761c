#!/usr/bin/env python3
"""Random RNN, GRU and LSTM nodes against ONNX Runtime: directions, lengths, states, peepholes, activations with their
parameters, clipping, symbolic sizes. Needs onnx, onnxruntime, numpy:

    python3 tests/onnx/compare_recurrent.py TESSERA [--count 200] [--seed 1]

Steps carry the rounding of earlier steps on, and some nodes make much of it: a difference may be eight times what ONNX
Runtime's own results change by when the inputs change in their last bits, measured against the largest element. Affine,
ScaledTanh and ThresholdedRelu always get their parameters: without, ONNX Runtime takes 0, not the standard's defaults.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import control_cases as cases

ACTIVATIONS = ["Affine", "Relu", "LeakyRelu", "ThresholdedRelu", "Tanh", "ScaledTanh", "Sigmoid", "HardSigmoid", "Elu",
               "Softsign", "Softplus"]
ALPHA, BETA = {"Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"}, {"Affine", "ScaledTanh",
                                                                                               "HardSigmoid"}


def random_model(r, number):
    op = r.choice(["RNN", "GRU", "LSTM"])
    direction = r.choice(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    given = "".join(n for n in "BLH" if r.random() < 0.6)
    attrs = {"direction": str(direction)}
    if op == "LSTM":
        given += "".join(n for n in "CP" if r.random() < 0.4)
        if r.random() < 0.2:
            attrs["input_forget"] = 1
    if op == "GRU":
        attrs["linear_before_reset"] = int(r.integers(2))
    if r.random() < 0.2:
        attrs["clip"] = round(float(r.uniform(0.3, 2)), 2)
    if r.random() < 0.5:
        per = {"RNN": 1, "GRU": 2, "LSTM": 3}[op]
        names = [str(n) for n in r.choice(ACTIVATIONS, directions * per)]
        attrs["activations"] = names
        alphas, betas = sum(n in ALPHA for n in names), sum(n in BETA for n in names)
        if alphas and (r.random() < 0.7 or {"Affine", "ScaledTanh", "ThresholdedRelu"} & set(names)):
            attrs["activation_alpha"] = [round(float(x), 2) for x in r.uniform(0.1, 0.6, alphas)]
            if betas:
                attrs["activation_beta"] = [round(float(x), 2) for x in r.uniform(0.1, 0.6, betas)]
    sizes = []
    for _ in range(2):
        steps, batch = int(r.choice([1, 2, 7, 20, 33])), int(r.integers(1, 4))
        lengths = [int(x) for x in r.integers(1, steps + 1, batch)]
        sizes.append((steps, batch, lengths))
    model = cases.recurrent(f"random_{number}", str(op), sizes, directions=directions, inputs=int(r.integers(1, 6)),
                            hidden=int(r.choice([1, 3, 8, 17])), given=given,
                            outputs="y, h, c" if op == "LSTM" else "y, h", **attrs)
    return model, f"{op} {given} {attrs} {sizes}"


def nudged(inputs):
    """The inputs with all floats changed in their last bits, once up and once down."""
    for sign in (1, -1):
        yield {n: (x * np.float32(1 + sign * 2e-7)).astype(x.dtype) if x.dtype == np.float32 else x
               for n, x in inputs.items()}


def apart(one, other):
    """The largest difference between results; of those that overflow nothing is compared."""
    most = 0.0
    for a, b in zip(one, other):
        if not np.isfinite(b).all():
            return 0.0
        most = max(most, float(np.max(np.abs(a - b))) / max(1.0, float(np.max(np.abs(b)))))
    return most


def difference(tessera, folder, model, inputs):
    """The difference and what it may be, or what tessera said."""
    command = [tessera, "run", "--quiet", folder / "model.tsm", "--output-dir", folder]
    for name, x in inputs.items():
        np.save(folder / f"{name}.npy", x)
        command += ["--input", f"{name}={folder / name}.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip()
    wanted = model.results(inputs)
    got = [np.load(folder / f"{o.name}.npy") for o in model.model.graph.output]
    if [x.shape for x in got] != [x.shape for x in wanted]:
        return f"shapes are {[x.shape for x in got]}, not {[x.shape for x in wanted]}"
    return apart(got, wanted), 1e-5 + 8 * max(apart(model.results(x), wanted) for x in nudged(inputs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tessera", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    r, bad, worst = np.random.default_rng(args.seed), 0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for number in range(args.count):
            model, text = random_model(r, number)
            (folder / "model.onnx").write_bytes(model.model.SerializeToString())
            command = [args.tessera, "compile", "--quiet", folder / "model.onnx", "-o", folder / "model.tsm"]
            done = subprocess.run(command, capture_output=True, text=True)
            found = [done.stderr.strip()] if done.returncode else \
                [difference(args.tessera, folder, model, inputs) for inputs in model.sets]
            wrong = [f for f in found if isinstance(f, str) or not f[0] <= f[1]]
            bad += bool(wrong)
            worst = max([worst] + [f[0] / f[1] for f in found if not isinstance(f, str) and np.isfinite(f[1])])
            if wrong:
                print(f"{number}: {wrong[0]}: {text}")
    print(f"{args.count} nodes, {bad} differ; largest difference: {worst:.2g} of what it may be")
    sys.exit(bad > 0)


main()
