"""Compares Tessera with ONNX Runtime on magika's model: same files, same features, same thread.

compare.py TESSERA MODEL.onnx MODULE.tsm FEATURES ROUNDS

FEATURES is what 'identify --features' wrote. Prints a line of JSON: whether the probabilities agree, and the latency
of one file on both sides, measured in turns: a batch of runs there, a batch of runs here, ROUNDS times. The ratio is
the median of the rounds' ratios, above 1 where Tessera is faster. Exit status 1 when the results differ.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

RUNS = 50
TOLERANCE = 1e-3


def open_session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_tessera(tessera, module, name, features):
    with tempfile.TemporaryDirectory() as folder:
        np.save(os.path.join(folder, "in.npy"), features)
        command = [tessera, "run", module, "--input", f"{name}={folder}/in.npy", "--output-dir", f"{folder}/out"]
        subprocess.run(command, check=True)
        (output,) = os.listdir(f"{folder}/out")
        return np.load(os.path.join(folder, "out", output))


def bench_tessera(tessera, module, name, row):
    with tempfile.TemporaryDirectory() as folder:
        np.save(os.path.join(folder, "in.npy"), row)
        command = [tessera, "bench", module, "--input", f"{name}={folder}/in.npy", "--threads", "1"]
        command += ["--runs", str(RUNS), "--json", "-", "--quiet"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return report["latency_ns"]["median"], report


def bench_peer(session, name, row):
    times = []
    for _ in range(5 + RUNS):
        begin = time.perf_counter_ns()
        session.run(None, {name: row})
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times[5:])


def summary(times):
    times = sorted(times)
    return {
        "median_ns": round(statistics.median(times)),
        "p10_ns": round(times[len(times) // 10]),
        "p90_ns": round(times[len(times) * 9 // 10]),
    }


def main():
    tessera, model, module, features_path, rounds = sys.argv[1:6]
    session = open_session(model)
    name = session.get_inputs()[0].name
    features = np.fromfile(features_path, dtype=np.int32)
    features = features.reshape(-1, session.get_inputs()[0].shape[1])
    wanted = session.run(None, {name: features})[0]
    actual = run_tessera(tessera, module, name, features)
    agree = actual.shape == wanted.shape and bool(np.all(np.abs(actual - wanted) <= TOLERANCE))
    same_labels = agree and bool(np.all(actual.argmax(1) == wanted.argmax(1)))
    ours, theirs, ratios = [], [], []
    for i in range(int(rounds)):
        row = features[i % len(features)][None, :]
        peer = bench_peer(session, name, row)
        mine, report = bench_tessera(tessera, module, name, row)
        ours.append(mine)
        theirs.append(peer)
        ratios.append(peer / mine)
    print(
        json.dumps(
            {
                "name": "magika, one file",
                "peer": f"ONNX Runtime {onnxruntime.__version__}",
                "threads": 1,
                "rounds": int(rounds),
                "tessera": summary(ours),
                "other": summary(theirs),
                "ratio": round(statistics.median(ratios), 3),
                "load_ns": report["load_ns"],
                "files": len(features),
                "largest_difference": float(np.max(np.abs(actual - wanted))) if actual.shape == wanted.shape else None,
                "same_labels": same_labels,
            }
        )
    )
    return 0 if same_labels else 1


if __name__ == "__main__":
    sys.exit(main())
