"""Tessera against ONNX Runtime: zoo.py TESSERA MODELS RESULTS.json [NAME...]

MODELS holds what zoo_export.py and zoo_real.py put there: NAME.onnx, and NAME.json with inputs and sizes. A model is
compiled once, with all dims symbolic, and runs at all sizes. Prints a line per model and size; exit status 1 when one
fails. NAME: a model or a model and an exporter.

What is compared: an output passes when shapes and types are equal, integers and bools are equal, floats are NaN or
infinite at the same places, and max |a - e| <= 1e-3 * max |e| over the finite elements (where all e are 0: <= 1e-3).
"error" below is that quotient, the largest over the outputs.
"""

import datetime
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

from zoo_data import fill

TOLERANCE = 1e-3
ROUNDS, RUNS = 3, 5


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds_of(folder, about, sizes, number):
    if "data" in about:  # real inputs, beside the model
        with np.load(os.path.join(folder, about["data"][number])) as data:
            return {k: data[k] for k in data}
    rng = np.random.default_rng(7 + number)
    return {i["name"]: fill(i, sizes, rng) for i in about["inputs"]}


def error_of(actual, wanted):
    """(quotient, "") or (None, why not)."""
    if actual.dtype != wanted.dtype or actual.shape != wanted.shape:
        return None, f"{actual.dtype}{list(actual.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind != "f":
        wrong = int(np.sum(actual != wanted))
        return (0.0, "") if wrong == 0 else (None, f"{wrong} of {wanted.size} integers differ")
    a, e = actual.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(e)
    if not np.array_equal(a[~finite], e[~finite], equal_nan=True) or not np.all(np.isfinite(a[finite])):
        return None, "infinities or NaN differ"
    if not finite.any():
        return 0.0, ""
    scale = np.max(np.abs(e[finite])) or 1.0
    return float(np.max(np.abs(a[finite] - e[finite])) / scale), ""


def compare(names, actual, wanted):
    worst = 0.0
    for name, a, e in zip(names, actual, wanted):
        error, why = error_of(a, e)
        if why:
            return None, f"{name}: {why}"
        worst = max(worst, error)
    return worst, "" if worst <= TOLERANCE else f"error {worst:.2e}"


def plain(text):
    """Without the colours of terminals."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def last_line(text):
    lines = [line for line in plain(text).strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


class Module:
    """A model compiled by Tessera, run through its command line."""

    def __init__(self, tessera, path, folder):
        self.tessera, self.path = tessera, os.path.join(folder, "m.tsm")
        self.folder = folder
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.error = self.call("compile", path, "-o", self.path, "--threads", "1")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def call(self, *args):
        try:
            done = subprocess.run([self.tessera, *args, "--quiet"], capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            return "took more than 600 s"
        return "" if done.returncode == 0 else last_line(done.stderr) + f" (status {done.returncode})"

    def put(self, feeds):
        options = []
        for number, (name, data) in enumerate(feeds.items()):
            np.save(f"{self.folder}/in{number}.npy", data)
            options += ["--input", f"{name}={self.folder}/in{number}.npy"]
        return options

    def run(self, inputs, names):
        error = self.call("run", self.path, *inputs, "--output-dir", f"{self.folder}/out", "--threads", "1")
        if error:
            return error, None
        files = [re.sub(r"[^A-Za-z0-9._-]", "_", n) for n in names]
        return "", [np.load(f"{self.folder}/out/{f}.npy") for f in files]

    def bench(self, inputs):
        report = f"{self.folder}/bench.json"
        self.call("bench", self.path, *inputs, "--threads", "1", "--runs", str(RUNS), "--json", report)
        with open(report) as file:
            return json.load(file)["latency_ns"]["median"]


def bench_peer(session, feeds):
    times = []
    for _ in range(2 + RUNS):
        begin = time.perf_counter_ns()
        session.run(None, feeds)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times[2:])


def try_size(module, session, feeds, sizes, timing):
    names = [o.name for o in session.get_outputs()]
    row = {"sizes": sizes, "error": None}
    try:  # exporters leave sizes of the example behind in some graphs
        wanted = session.run(None, feeds)
    except Exception as error:
        return row | {"skipped": "ONNX Runtime fails: " + last_line(str(error))[:200]}
    inputs = module.put(feeds)
    why, actual = module.run(inputs, names)
    if not why:
        row["error"], why = compare(names, actual, wanted)
    if why:
        row["fails"] = why
    elif timing:
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(bench_peer(session, feeds))
            ours.append(module.bench(inputs))
        row["tessera_ns"], row["onnxruntime_ns"] = round(statistics.median(ours)), round(statistics.median(theirs))
    return row


def say(name, row):
    sizes = " ".join(f"{k}={v}" for k, v in row["sizes"].items())
    if "skipped" in row:
        print(f"skip {name:26} {sizes}: {row['skipped']}", flush=True)
        return
    if "fails" in row:
        print(f"FAIL {name:26} {sizes}: {row['fails']}", flush=True)
        return
    speed = ""
    if "tessera_ns" in row:
        speed = f", {row['tessera_ns'] / 1e6:.2f} ms (ONNX Runtime {row['onnxruntime_ns'] / 1e6:.2f})"
    print(f"PASS {name:26} {sizes}: error {row['error']:.1e}{speed}", flush=True)


def try_model(tessera, folder, name, timing):
    with open(os.path.join(folder, name + ".json")) as file:
        about = json.load(file)
    row = {"model": about["model"], "exporter": about["exporter"], "cases": []}
    if "error" in about:
        print(f"none {name}: not exported: {plain(about['error'])}")
        return row | {"not_exported": plain(about["error"])}
    path = os.path.join(folder, name + ".onnx")
    with tempfile.TemporaryDirectory() as work:
        try:
            session = session_of(path)
        except Exception as error:
            print(f"none {name}: ONNX Runtime refuses it: {last_line(str(error))[:200]}")
            return row | {"not_exported": "ONNX Runtime refuses it: " + last_line(str(error))[:200]}
        module = Module(tessera, path, work)
        row["compile_cpu_s"] = round(module.seconds, 2)
        if module.error:
            print(f"FAIL {name}: {module.error}", flush=True)
            return row | {"fails": module.error}
        print(f"     {name}: compiled in {module.seconds:.1f} s of processor time", flush=True)
        for number, sizes in enumerate(about["sizes"]):
            feeds = feeds_of(folder, about, sizes, number)
            row["cases"].append(try_size(module, session, feeds, sizes, timing))
            say(name, row["cases"][-1])
    return row


def bad(row):
    return "fails" in row or any("fails" in case for case in row["cases"])


def device():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def stamp():
    """What a row was made with; rows of one file may stem from several runs."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"date": now, "commit": os.environ.get("ZOO_COMMIT") or output("git", "rev-parse", "--short=12", "HEAD")}


def write(path, rows):
    """Replaces the rows of the same models and exporters in the file, keeps the others."""
    report = {
        "benchmark": "zoo",
        "cpu": device(),
        "peer": f"ONNX Runtime {onnxruntime.__version__}",
        "threads": 1,
        "tolerance": "max |a - e| <= 1e-3 max |e| per output",
        "versions": json.loads(os.environ.get("ZOO_VERSIONS", "{}")),
    }
    kept = []
    if os.path.exists(path):
        with open(path) as file:
            kept = json.load(file)["rows"]
    new = {(r["model"], r["exporter"]) for r in rows}
    kept = [r for r in kept if (r["model"], r["exporter"]) not in new]
    report["rows"] = sorted(kept + rows, key=lambda r: (r["model"], r["exporter"]))
    with open(path + ".part", "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    os.replace(path + ".part", path)


def main():
    tessera, folder, results, *wanted = sys.argv[1:]
    names = sorted(f[:-5] for f in os.listdir(folder) if f.endswith(".json"))
    names = [n for n in names if not wanted or n in wanted or n.split(".")[0] in wanted]
    timing = os.environ.get("ZOO_TIMING", "1") != "0"
    rows = []
    for name in names:
        rows.append(try_model(tessera, folder, name, timing) | stamp())
        write(results, rows)
    failed = [r for r in rows if bad(r)]
    left = [r for r in rows if "not_exported" in r]
    passed = [r for r in rows if not bad(r) and "not_exported" not in r]
    models = {r["model"] for r in passed} - {r["model"] for r in failed}
    print(f"{len(passed)} exports of {len(models)} models pass, {len(failed)} fail, {len(left)} could not be exported")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
