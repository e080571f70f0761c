"""Tessera against ONNX Runtime and oneDNN on the CPU: cpu_peers.py PROGRAMS TOOLS RESULTS.json [OPTION...]

PROGRAMS is a build folder with frontend/tessera, benchmarks/cpu_time and benchmarks/contraction_peers; TOOLS a folder with
the program bert_onnx and the models that magika/fetch.sh and ocr/fetch.sh put into magika and ocr. cpu_peers.sh makes both
and lists the options.

A case is compiled, its results are compared with ONNX Runtime's (an output is right when integers are equal and
max |a - e| <= 1e-3 max |e|, 5e-2 for bf16), and then both run in turns: some calls there, some here, and again; products
and convolutions run in turns with oneDNN too. A ratio is the median over the rounds of peer / Tessera. Ceilings are probed before each group
of cases. Exit status 1: a result is wrong, a model does not compile, a limit on a whole command is passed, or with
--strict a bar is missed.
"""

import argparse
import datetime
import json
import math
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np

import cpu_models

COMPILE_LIMITS = {"BERT-base": 5.0}  # seconds, from a database
ROUND_NS = 400e3  # calls of one side that are timed together take about as long
WARM_NS = 4e6  # calls before those: the other side's threads leave the processors, and this side's find places there


class Wrong(Exception):
    """What is wrong with a case."""


def call(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Wrong(f"{os.path.basename(str(command[0]))} {command[1]}: {lines[-1] if lines else done.returncode}")
    return done.stdout


def verdict(ratio):
    return "even " if abs(ratio - 1) < 0.005 else "wins " if ratio > 1 else "LOSES"


def slug(name):
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")


class Lines:
    """A program that answers lines with lines of JSON."""

    def __init__(self, *command, env=None):
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen([str(w) for w in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=env)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Wrong(f"{self.name} ended")
        answer = json.loads(line)
        if "error" in answer:
            raise Wrong(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def summary(ns):
    ns = sorted(ns)
    return {"median": round(statistics.median(ns), 1), "min": round(ns[0], 1),
            "p95": round(ns[min(len(ns) - 1, math.ceil(len(ns) * 0.95) - 1)], 1)}


class Ours:
    def __init__(self, programs, folder, precision):
        self.precision, self.tessera = precision, os.path.join(programs, "frontend/tessera")
        self.folder, self.runner = folder, Lines(os.path.join(programs, "benchmarks/cpu_time"))

    def compile(self, model, module, threads, db):
        begin = time.perf_counter()
        call(self.tessera, "compile", model, "-o", module, "--threads", threads, "--quiet",
             "--precision", self.precision, *(["--db", db] if db else []))
        return time.perf_counter() - begin

    def open(self, module, threads, feeds):
        about = self.runner.ask("load", module, threads)
        for name, data in feeds.items():
            data.tofile(os.path.join(self.folder, "in.raw"))
            self.runner.ask("input", about["inputs"].index(name), os.path.join(self.folder, "in.raw"), *data.shape)
        self.runner.ask("run")
        self.names = about["outputs"]

    def output(self, name):
        path = os.path.join(self.folder, "out.raw")
        about = self.runner.ask("output", self.names.index(name), path)
        types = {"f32": np.float32, "i64": np.int64, "i32": np.int32, "bool": np.bool_}
        return np.fromfile(path, types[about["dtype"]]).reshape(about["shape"])

    def time(self, calls, warm=1):
        return self.runner.ask("time", warm, 1, calls)["ns"][0]


class OnnxRuntime:
    """Outputs lie in memory that is bound once; what a call costs in Python is taken off, as that of an empty model."""

    name = "onnxruntime"

    def __init__(self, model, threads, feeds):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.binding, self.feeds = self.session.io_binding(), feeds
        for name, data in feeds.items():
            self.binding.bind_cpu_input(name, data)
        self.results = self.session.run(None, feeds)
        for name, data in zip(self.names, self.results):
            self.binding.bind_output(name, "cpu", 0, data.dtype, data.shape, data.ctypes.data)

    @staticmethod
    def version():
        import onnxruntime

        return onnxruntime.__version__

    def time(self, calls, warm=1):
        run, binding = self.session.run_with_iobinding, self.binding
        for _ in range(warm):
            run(binding)
        begin = time.perf_counter_ns()
        for _ in range(calls):
            run(binding)
        return (time.perf_counter_ns() - begin) / calls


def serve(pipe, *arguments):
    try:
        peer = OnnxRuntime(*arguments)
        pipe.send((peer.names, peer.results))
        while True:
            pipe.send(peer.time(*pipe.recv()))
    except EOFError:
        pass
    except Exception as why:  # whatever it is, the parent names it
        pipe.send(why)


class Apart:
    """ONNX Runtime in a process of its own, which stands still while the other side is timed: its threads wait actively
    for more work, much longer than a turn takes, and the other side must not share its processors with them."""

    name = OnnxRuntime.name

    def __init__(self, *arguments):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, *arguments), daemon=True)
        self.process.start()
        other.close()
        self.names, self.results = self.answer()

    def answer(self):
        try:
            said = self.pipe.recv()
        except EOFError:
            raise Wrong("ONNX Runtime's process ended") from None
        if isinstance(said, Exception):
            raise Wrong(f"ONNX Runtime: {said}")
        os.kill(self.process.pid, signal.SIGSTOP)
        return said

    def time(self, calls, warm=1):
        os.kill(self.process.pid, signal.SIGCONT)
        self.pipe.send((calls, warm))
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.join()


class EmptyCall:
    """A call of an empty model, asked for beside each measurement of the peer: it takes 1.7 us in one moment and 2.9 in the next."""

    def __init__(self, folder):
        graph = cpu_models.Graph("empty")
        graph.output(graph.input("x", [1]), [1])
        path = os.path.join(folder, "empty.onnx")
        cpu_models.onnx.save(graph.model(), path)
        self.session = OnnxRuntime(path, 1, {"x": np.zeros(1, np.float32)})
        self.all_ns = []

    def time(self):
        ns = self.session.time(500, 50)
        self.all_ns.append(ns)
        return ns

    def median_ns(self):
        return statistics.median(self.all_ns) if self.all_ns else 0.0


def difference(ours, wanted):
    if ours.dtype != wanted.dtype or ours.shape != wanted.shape:
        raise Wrong(f"{ours.dtype}{list(ours.shape)} instead of {wanted.dtype}{list(wanted.shape)}")
    if wanted.dtype.kind != "f":
        return 0.0 if np.array_equal(ours, wanted) else math.inf
    scale = float(np.max(np.abs(wanted), initial=0)) or 1.0
    worst = float(np.max(np.abs(ours - wanted), initial=0)) / scale
    return worst if math.isfinite(worst) else math.inf


def device(doctor):
    name = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "CPU")
    amx = " + AMX" if "amx" in doctor["features"] else ""
    caches = ", ".join(f"{level.upper()} {doctor['caches'][level] >> 10} KiB" for level in ("l1d", "l2", "l3"))
    return f"{name}, {doctor['level']}{amx}, {doctor['threads']} threads, {caches}"


class Ceilings:
    """Probed again and again; a case is held against the last probe, the file gets the medians of all."""

    def __init__(self, tessera):
        self.tessera, self.probes, self.doctor = tessera, [], None
        self.fma_of_one = 0.0  # the most that contraction_peers saw beside its cases

    def probe(self):
        self.doctor = json.loads(call(self.tessera, "doctor", "--ceilings", "--json", "-"))
        self.probes.append(self.doctor["ceilings"])

    def rate(self, threads, name, figure="median"):
        return self.probes[-1].get(str(threads), {}).get(name, {}).get(figure, 0.0)

    def full_amx(self):
        """Nearer to its full rate, 16 times that of the vector units of one thread or more, than to half of it."""
        return self.rate(1, "amx bf16") >= 12 * self.rate(1, "fma f32", "most") > 0

    def least_ns(self, threads, flops, moved, precision):
        """At 80 % of the fastest legal unit (three parts of bf16 make f32 of six products; f32-strict has the vector units
        alone), and of the memory that the bytes have to come from."""
        # Others can only lower what the vector units reach; the rate of AMX changes for reasons of its own.
        fma = max(self.rate(threads, "fma f32", "most"), threads * self.fma_of_one)
        products = {"bf16": 1, "f32": 6, "f32-strict": math.inf}[precision]
        rate = max(fma, self.rate(threads, "amx bf16") / products)
        caches = self.doctor["caches"]
        fits = ((2 * caches["l3"], "memory"), (caches["l2"] * threads, "l3"), (caches["l1d"] * threads, "l2"))
        level = next((name for size, name in fits if moved > size), "l1") + " read"
        memory = self.rate(threads, level)
        return max(flops / rate if rate else 0, moved / memory if memory else 0) / 0.8

    def medians(self):
        out = {}
        for threads, figures in self.probes[0].items():
            out[threads] = {}
            for name, figure in figures.items():
                seen = [probe[threads][name]["median"] for probe in self.probes if name in probe.get(threads, {})]
                out[threads][name] = {"median": round(statistics.median(seen), 2), "least": min(seen), "most": max(seen),
                                      "unit": figure["unit"]}
        return out


def bar_of(goal, peer_ns, least_ns):
    return round(min(goal, peer_ns / least_ns), 3) if least_ns > 0 else goal


class Run:
    def __init__(self, options):
        self.options, self.rows, self.limits, self.failures = options, [], [], []
        self.folder = tempfile.mkdtemp(dir=options.tools)
        self.ours = Ours(options.programs, self.folder, options.precision)
        self.ceilings = Ceilings(self.ours.tessera)
        self.onednn = {}
        self.db = os.path.abspath(options.db) if options.db else None
        self.prepared = None
        self.tolerance = cpu_models.TOLERANCES[options.precision]

    # --- one case ---

    def prepare(self, case):
        """Its file, what it is fed with, and what it costs at least; once for all numbers of threads."""
        if self.prepared is None or self.prepared[0] is not case:
            self.forget()
            self.prepared = case, self.make(case)
        return self.prepared[1]

    def forget(self):
        if self.prepared:
            os.remove(self.prepared[1][0])
        self.prepared = None

    def make(self, case):
        # A name that stays from run to run: curves of tuning go by it.
        folder = os.path.join(self.options.tools, "models")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, slug(case.name) + ".onnx")
        model = case.make()
        cpu_models.onnx.save(model, path)
        shaped = model
        if case.sizes:
            shaped = cpu_models.onnx.ModelProto.FromString(model.SerializeToString())
            shaped = cpu_models.fixed(shaped, case.sizes)
        rng = np.random.default_rng(zlib.crc32(case.name.encode()))
        weights = {w.name for w in shaped.graph.initializer}
        feeds = {}
        for port in shaped.graph.input:
            if port.name not in weights:
                dtype = cpu_models.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
                feeds[port.name] = cpu_models.random_of(rng, port.name, np.dtype(dtype), cpu_models.dims_of(port))
        shapes = None
        if "onnxruntime" in self.options.peers:
            def shapes(shown):
                peer = OnnxRuntime(shown.SerializeToString(), 1, feeds)
                return {name: list(data.shape) for name, data in zip(peer.names, peer.results)}
        return path, feeds, cpu_models.costs(shaped, shapes)

    def check(self, peer):
        worst = 0.0
        for name, wanted in zip(peer.names, peer.results):
            try:
                worst = max(worst, difference(self.ours.output(name), wanted))
            except Wrong as why:
                raise Wrong(f"output {name}: {why}") from None
        if worst > self.tolerance:
            raise Wrong(f"error {worst:.2e} of the largest magnitude")
        return worst

    def in_turns(self, peer):
        """Nanoseconds of a call per round: ours, the peer's."""
        first = max(self.ours.time(1), 1.0), max(peer.time(1), 1.0)
        calls = [(max(1, math.ceil(ROUND_NS / ns)), max(1, math.ceil(WARM_NS / ns))) for ns in first]
        ours, theirs, end = [], [], time.perf_counter() + self.options.seconds
        while len(ours) < self.options.rounds or (time.perf_counter() < end and len(ours) < 200):
            for side in ((0, 1), (1, 0))[len(ours) % 2]:
                if side == 0:
                    a = self.ours.time(*calls[0])
                else:
                    b = max(peer.time(*calls[1]) - self.empty.time(), 1.0)
            ours.append(a)
            theirs.append(b)
        return ours, theirs

    def against_onednn(self, case, path, module, threads):
        """By contraction_peers, which measures ours again, in turns with oneDNN."""
        model = cpu_models.onnx.load(path)
        g = cpu_models.Graph("weights")
        w = next(w for w in model.graph.initializer)
        g.weights.append(w)
        g.output(w.name, list(w.dims))
        weights = os.path.join(self.folder, "weights")
        cpu_models.onnx.save(g.model(), weights + ".onnx")
        self.ours.compile(weights + ".onnx", weights + ".tsm", 1, None)
        if threads not in self.onednn:
            env = dict(os.environ, OMP_NUM_THREADS=str(threads))
            program = os.path.join(self.options.programs, "benchmarks/contraction_peers")
            self.onednn[threads] = Lines(program, threads, self.options.seconds * 0.6, env=env)
        kind, *rest = case.contraction
        row = self.onednn[threads].ask(slug(case.name), kind, module, weights + ".tsm", *rest)
        if row["relative_difference"] > self.tolerance:
            raise Wrong(f"differs from oneDNN's result by {row['relative_difference']:.2e}")
        return {"median": row["onednn_median_ns"], "min": row["onednn_ns"]}, row["ratio"], row["fma_gflops"]

    def tune(self, path, case, threads):
        """Into the database; its curve, for `tessera report`, into TOOLS/tuning."""
        folder = os.path.join(self.options.tools, "tuning")
        os.makedirs(folder, exist_ok=True)
        call(self.ours.tessera, "tune", path, "--db", self.db, "--time", self.options.tune, "--threads", threads,
             "--precision", self.options.precision, "--resume", "--quiet", "--json",
             os.path.join(folder, f"{slug(case.name)}_{threads}.json"))

    def measure(self, case, threads):
        path, feeds, (flops, moved) = self.prepare(case)
        module = os.path.join(self.folder, "model.tsm")
        if self.options.tune:
            self.tune(path, case, threads)
        seconds = self.ours.compile(path, module, threads, self.db)
        if self.db and case.name in COMPILE_LIMITS:
            self.limits.append({"name": f"compile {case.name} from a database, {threads} threads",
                                "seconds": round(seconds, 3), "limit": COMPILE_LIMITS[case.name]})
        self.ours.open(module, threads, feeds)
        row = {"name": case.name, "group": case.group, "threads": threads, "unit": "ns", "flops": flops, "bytes": moved,
               "compile_s": round(seconds, 3), "peers": {}, "ratio": {}}
        if "onnxruntime" in self.options.peers:
            peer = Apart(path, threads, feeds)
            try:
                row["error"] = self.check(peer)
                ours, theirs = self.in_turns(peer)
            finally:
                peer.close()
            row["peers"]["onnxruntime"] = summary(theirs)
            row["ratio"]["onnxruntime"] = round(statistics.median(b / a for a, b in zip(ours, theirs)), 4)
        else:
            calls = max(1, math.ceil(ROUND_NS / self.ours.time(1)))
            ours = [self.ours.time(calls) for _ in range(self.options.rounds)]
        row["tessera"] = summary(ours)
        if case.contraction and "onednn" in self.options.peers:
            row["peers"]["onednn"], ratio, fma = self.against_onednn(case, path, module, threads)
            row["ratio"]["onednn"], row["fma_gflops"] = round(ratio, 4), fma
            self.ceilings.fma_of_one = max(self.ceilings.fma_of_one, fma)
        self.judge(case, row)
        return row

    def judge(self, case, row):
        least = self.ceilings.least_ns(row["threads"], row["flops"], row["bytes"], self.options.precision)
        row["least_ns"] = round(least, 1)
        if row["ratio"]:
            best = min(row["ratio"], key=row["ratio"].get)
            row["ratio_best"], row["best"] = row["ratio"][best], best
        goals = cpu_models.goals_of(case, self.options.precision, self.ceilings.full_amx())
        goal = {peer: ratio for peer, ratio in goals.items() if peer == "best" or peer in row["ratio"]}
        goal = goal if row["ratio"] else {}
        row["goal"] = goal
        row["bar"] = {peer: bar_of(ratio, row["peers"][row["best"] if peer == "best" else peer]["median"], least)
                      for peer, ratio in goal.items()}
        reached = {peer: row["ratio_best"] if peer == "best" else row["ratio"][peer] for peer in goal}
        row["met"] = all(reached[peer] >= row["bar"][peer] for peer in goal)

    # --- all of them ---

    def go(self):
        import itertools

        self.load = os.getloadavg()[0]
        if self.load > 0.3:
            print(f"warning: the machine is busy (load {self.load:.1f}): these figures mean little", file=sys.stderr)
        here = os.path.dirname(os.path.abspath(__file__))
        wanted = [c for c in cpu_models.cases(here, self.options.tools) if re.search(self.options.only, c.name)]
        self.empty = EmptyCall(self.folder) if "onnxruntime" in self.options.peers else None
        for group, cases in itertools.groupby(wanted, key=lambda c: c.group):
            self.ceilings.probe()
            print(f"== {group}", flush=True)
            for case in cases:
                for threads in self.options.threads:
                    self.one(case, threads)
        self.forget()
        for lines in (self.ours.runner, *self.onednn.values()):
            lines.close()

    def one(self, case, threads):
        begin = time.perf_counter()
        try:
            row = self.measure(case, threads)
        except Exception as why:  # of any library: the case fails, the run goes on
            self.failures.append(f"{case.name}, {threads} threads: {why}")
            print(f"FAIL {case.name:<28} {threads} threads: {why}", flush=True)
            self.restart()
            return
        self.rows.append(row)
        text = f"{row['name']:<28} {threads}  {row['tessera']['median'] / 1e3:10.1f} us"
        for peer, ratio in row["ratio"].items():
            text += f"   {peer} {row['peers'][peer]['median'] / 1e3:10.1f} us {ratio:5.2f} {verdict(ratio)}"
        for peer, goal in row["goal"].items():
            reached = row["ratio_best"] if peer == "best" else row["ratio"][peer]
            text += f"   goal {goal:.2f}, bar {row['bar'][peer]:.2f} {'met' if reached >= row['bar'][peer] else 'MISSED'}"
        if not row["met"] and threads > 1:
            self.ceilings.probe()  # do its processors share a cache at the moment?
            rate = self.ceilings.rate(threads, "hand over")  # of one thread and of all alone
            if rate > 0:
                row["hand_over"] = rate
                text += f", hand over {rate:.0f} GB/s now"
        print(text + (f"   [{time.perf_counter() - begin:.1f} s]" if self.options.verbose else ""), flush=True)

    def restart(self):
        """Programs that a failure may have left in the middle of a line."""
        for lines in (self.ours.runner, *self.onednn.values()):
            lines.process.kill()
            lines.process.wait()
        self.onednn = {}
        self.ours.runner = Lines(os.path.join(self.options.programs, "benchmarks/cpu_time"))

    def groups(self):
        """Geometric means of the groups, and which are asked for."""
        goals = cpu_models.group_goals(self.options.precision)
        found = []
        for group in dict.fromkeys(row["group"] for row in self.rows):
            for threads in self.options.threads:
                for peer in self.options.peers:
                    rows = [r for r in self.rows if r["group"] == group and r["threads"] == threads and peer in r["ratio"]]
                    if not rows:
                        continue
                    mean = statistics.geometric_mean(r["ratio"][peer] for r in rows)
                    one = {"name": group, "threads": threads, "peer": peer, "cases": len(rows), "ratio": round(mean, 4)}
                    goal = goals.get((group, peer))
                    if goal:
                        reach = [r["peers"][peer]["median"] / r["least_ns"] for r in rows if r["least_ns"] > 0]
                        bar = min(goal, statistics.geometric_mean(reach)) if reach else goal
                        one |= {"goal": goal, "bar": round(bar, 3), "met": mean >= bar}
                    found.append(one)
        return found

    def result(self):
        doctor = self.ceilings.doctor
        return {
            "kind": "peers",
            "device": device(doctor),
            "features": doctor["features"],
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": doctor["commit"],
            "precision": self.options.precision,
            "full_amx": self.ceilings.full_amx(),
            "database": bool(self.db),
            "load": self.load,
            "versions": {"onnxruntime": OnnxRuntime.version(), "numpy": np.__version__} if "onnxruntime" in
            self.options.peers else {"numpy": np.__version__},
            "seconds": self.options.seconds,
            "empty_call_ns": round(self.empty.median_ns(), 1) if self.empty else 0.0,
            "ceilings": self.ceilings.medians(),
            "cases": self.rows,
            "groups": self.groups(),
            "limits": self.limits,
            "failures": self.failures,
        }


def report(result):
    print("== geometric means")
    for group in result["groups"]:
        text = f"{group['name']:<16} {group['threads']} threads, {group['peer']:<12}"
        text += f" {group['cases']:3} cases: {group['ratio']:.2f}"
        if "goal" in group:
            text += f"   goal {group['goal']:.2f}, bar {group['bar']:.2f} {'met' if group['met'] else 'MISSED'}"
        print(text)
    by = sorted((ratio, f"{row['name']}, {row['threads']} threads, {peer}") for row in result["cases"]
                for peer, ratio in row["ratio"].items())
    print("== the five best and the five worst")
    for ratio, name in by[5:][::-1][:5] + by[:5][::-1]:
        print(f"{ratio:8.2f}  {name}")
    for limit in result["limits"]:
        kept = "kept" if limit["seconds"] <= limit["limit"] else "PASSED"
        print(f"{limit['name']}: {limit['seconds']:.2f} s, limit {limit['limit']:.0f} s: {kept}")
    missed = [r["name"] for r in result["cases"] if not r["met"]]
    missed += [g["name"] for g in result["groups"] if not g.get("met", True)]
    wins = sum(ratio >= 1 for ratio, _ in by)
    print(f"{wins} comparisons won, {len(by) - wins} lost; {len(missed)} bars missed; {len(result['failures'])} failures")
    for failure in result["failures"]:
        print(f"FAIL {failure}")
    return missed


def parse(words):
    parser = argparse.ArgumentParser(prog="cpu_peers", usage=__doc__, allow_abbrev=False)
    parser.add_argument("programs")
    parser.add_argument("tools")
    parser.add_argument("results")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--db")
    parser.add_argument("--tune", type=int, default=0)
    parser.add_argument("--threads", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2])
    parser.add_argument("--peers", type=lambda text: [word for word in text.split(",") if word],
                        default=["onnxruntime", "onednn"])
    parser.add_argument("--precision", choices=cpu_models.TOLERANCES, default="f32")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(words)
    if options.tune and not options.db:
        parser.error("--tune needs --db")
    options.seconds, options.rounds = (0.4, 3) if options.quick else (2.0, 7)
    return options


def main():
    options = parse(sys.argv[1:])
    run = Run(options)
    try:
        run.go()
    finally:
        subprocess.run(["rm", "-rf", run.folder], check=False)
    if not run.rows and not run.failures:
        print(f"no case matches '{options.only}'", file=sys.stderr)
        return 2
    result = run.result()
    with open(options.results + ".part", "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    os.replace(options.results + ".part", options.results)
    missed = report(result)
    print(f"figures: {options.results}")
    late = any(limit["seconds"] > limit["limit"] for limit in result["limits"])
    return 1 if result["failures"] or late or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
