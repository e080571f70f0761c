#!/usr/bin/env python3
"""Tessera on a CUDA device against PyTorch (cuBLAS, cuDNN), torch.compile and a plain Triton kernel.

Every contender runs on the same random data, which stays on the device; Tessera in a process of its own (gpu_time), the
others in this one, in turns: round after round each is timed once warm (replays one behind the other) and once cold (the
L2 cache swept before each run), by the device's events, all as replayed CUDA graphs. Before any timing Tessera's result is
compared with PyTorch's in float32. What is missing here is said and left out.
"""
import argparse
import ctypes
import datetime
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import gpu_cases

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT_S = 450

try:
    import torch
    import torch.nn.functional
    TORCH_MISSING = None if torch.cuda.is_available() else "PyTorch sees no CUDA device"
except ImportError as error:
    torch = None
    TORCH_MISSING = f"PyTorch is missing ({error})"
try:
    import gpu_triton
    TRITON_MISSING = None
except ImportError as error:
    gpu_triton = None
    TRITON_MISSING = f"Triton is missing ({error})"


def log(text):
    print(text, file=sys.stderr, flush=True)


class Device:
    """The process that runs Tessera's modules."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"gpu_time ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def ask(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


# ---- data ----

BYTES = {"f16": 2, "bf16": 2, "f32": 4, "i64": 8}


def random_bytes(dtype, count):
    """Numbers below 2 in size, for where there is no PyTorch: random bits with the largest exponents left out."""
    size = BYTES[dtype]
    mask = bytes([0xff] * (size - 1) + [0xbf]) * count
    bits = int.from_bytes(os.urandom(size * count), "little") & int.from_bytes(mask, "little")
    return bits.to_bytes(size * count, "little")


def torch_dtype(dtype):
    return {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "i64": torch.int64}[dtype]


def make_tensors(case):
    generator = torch.Generator(device="cuda").manual_seed(1)
    tensors = []
    for entry in case.inputs:
        values = torch.randn(entry.shape, generator=generator, device="cuda", dtype=torch.float32) * entry.scale
        tensors.append(values.to(torch_dtype(entry.dtype)))
    return tensors


def tensor_bytes(tensor):
    host = tensor.detach().contiguous().cpu()
    return ctypes.string_at(host.data_ptr(), host.numel() * host.element_size())


def give_inputs(device, case, tensors, folder):
    path = os.path.join(folder, "input")
    for number, entry in enumerate(case.inputs):
        data = tensor_bytes(tensors[number]) if tensors else random_bytes(entry.dtype, math.prod(entry.shape))
        with open(path, "wb") as file:
            file.write(data)
        device.ask("input", case.name, number, path, *entry.shape)


def read_output(device, case, folder):
    path = os.path.join(folder, "output")
    about = device.ask("output", case.name, 0, path)
    with open(path, "rb") as file:
        return about, file.read()


# ---- contenders: each gives a list of times for (runs, replays per run, sweep) ----

class Tessera:
    name = "tessera"

    def __init__(self, device, case):
        self.device, self.case = device, case

    def time(self, count, inner, sweep):
        return self.device.ask("time", self.case.name, count, inner, int(sweep))["times_ns"]


class Torch:
    """A function of PyTorch, captured as a graph where that can be done."""

    def __init__(self, name, function, flush):
        self.name, self.flush = name, flush
        self.replay = function
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                function()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.result = function()
            self.replay = graph.replay
        except RuntimeError as error:
            torch.cuda.synchronize()
            log(f"  {name} runs without a graph: {str(error).splitlines()[0]}")

    def time(self, count, inner, sweep):
        times = []
        for _ in range(count):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            if sweep:
                self.flush.zero_()
            begin.record()
            for _ in range(inner):
                self.replay()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) * 1e6 / inner)
        return times


def peers(case, tensors, flush, left_s):
    """The contenders beside Tessera that this machine has and that there is time for."""
    found = []
    functions = [("torch", lambda: case.torch(torch, tensors))]
    if case.torch_nhwc:
        laid = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
        functions.append(("torch nhwc", lambda: case.torch(torch, laid)))
    if case.compile and left_s > 90:
        # Each case is one piece of code to PyTorch, which gives up on pieces that it has compiled a few times.
        torch._dynamo.reset()
        compiled = torch.compile(lambda: case.torch(torch, tensors), dynamic=False)
        functions.append(("torch.compile", compiled))
    if case.triton and gpu_triton is not None:
        functions.append(("triton", lambda: gpu_triton.matmul(*tensors)))
    for name, function in functions:
        try:
            found.append(Torch(name, function, flush))
        except Exception as error:  # a peer that does not run is no reason to stop
            log(f"  {name} does not run: {str(error).splitlines()[0] if str(error) else error!r}")
            torch.cuda.synchronize()
    return found


# ---- correctness ----

UNIT = {"f16": 2.0 ** -11, "bf16": 2.0 ** -8, "f32": 2.0 ** -24, "tf32": 2.0 ** -10}


def relative_difference(case, tensors, about, data):
    """|ours - reference| / |reference| in the Euclidean norm; the reference is PyTorch's in float32 without tf32, of
    float32 cases in float64."""
    ours = torch.frombuffer(bytearray(data), dtype=torch_dtype(about["dtype"])).reshape(about["dims"]).cuda().double()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    wide = [t.double() if case.dtype == "f32" else t.float() for t in tensors]
    reference = case.torch(torch, wide).double()
    if list(reference.shape) != about["dims"]:
        return math.inf
    difference = (torch.linalg.vector_norm(ours - reference) / torch.linalg.vector_norm(reference)).item()
    return difference if math.isfinite(difference) else math.inf


def limit_of(case):
    """Each rounding to the case's type moves a result by its unit at most: those of operands that a contraction takes as
    tf32, of the result, and of each intermediate; `roundings` counts them. In float32 the roundings within a sum count
    too, whose errors add up as the square root of their number (Higham and Mary, 2019)."""
    if case.precision == "tf32":
        return UNIT["tf32"] * (2 + case.roundings)
    return UNIT[case.dtype] * (1 + case.roundings) * (1 + math.sqrt(case.depth) if case.dtype == "f32" else 1)


# ---- ceilings ----

PROBES = [("mma f16", "probe", "mma_f16", "f16"), ("mma bf16", "probe", "mma_bf16", "bf16"),
          ("mma tf32", "probe", "mma_tf32", "tf32"), ("fma f32", "probe", "fma_f32", "f32"),
          ("wgmma f16", "probe90", "wgmma_f16", "f16"), ("wgmma bf16", "probe90", "wgmma_bf16", "bf16"),
          ("wgmma tf32", "probe90", "wgmma_tf32", "tf32"), ("wgmma e4m3", "probe90", "wgmma_e4m3", "e4m3")]
OPERATIONS = {"mma_f16": 8 * 8 * 4096, "mma_bf16": 8 * 8 * 4096, "mma_tf32": 8 * 8 * 2048, "fma_f32": 256 * 64 * 2,
              "wgmma_f16": 2 * 4 * 64 * 256 * 32, "wgmma_bf16": 2 * 4 * 64 * 256 * 32,
              "wgmma_tf32": 2 * 4 * 64 * 256 * 16, "wgmma_e4m3": 2 * 4 * 64 * 256 * 64}


def probe_ceilings(device, tests, emulated):
    """Bytes per second of a copy and operations per second of each probe, the best of several."""
    capability = device.about["major"] * 10 + device.about["minor"]
    size = 1 << 16 if emulated else 1 << 30
    rates = {"copy": 2 * size / min(device.ask("copy", size, 5)["times_ns"]) * 1e9}
    ending = "cu" if emulated else "sm_90a.cubin" if capability == 90 else "sm_80.cubin" if capability < 90 else \
        "compute_80.ptx"
    blocks = 1 if emulated else device.about["multiprocessors"]
    for name, unit, kernel, dtype in PROBES:
        path = os.path.join(tests, "kernels", f"{unit}.{ending}")
        if not os.path.exists(path) or (unit == "probe90" and capability != 90):
            continue
        resident, loops, shared = (1, 2, 49152) if emulated else (2 if unit == "probe" else 1, 20000, 49152)
        if unit == "probe":
            shared = 0
        answer = device.ask("probe", path, kernel, blocks * resident, 256, shared, loops, 2 if emulated else 5)
        rates[name] = OPERATIONS[kernel] * loops * blocks * resident / min(answer["times_ns"]) * 1e9
        rates[dtype] = max(rates.get(dtype, 0), rates[name])
    return rates


def floor_of(case, rates):
    """The least time by the probed ceilings, and which of them it is."""
    kind = "tf32" if case.precision == "tf32" else case.dtype
    arithmetic = case.flops / rates[kind] * 1e9 if kind in rates else 0
    memory = case.bytes / rates["copy"] * 1e9
    return (arithmetic, "arithmetic") if arithmetic > memory else (memory, "memory")


def what_bounds(case, rates, median_ns, launches):
    floor, name = floor_of(case, rates)
    if floor < 2000 * launches:
        return f"launches ({launches})"
    return f"{name}, {100 * floor / median_ns:.0f} % of it"


# ---- measuring ----

def figures(samples, flops):
    ordered = sorted(samples)
    pick = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    median = statistics.median(ordered)
    return {"median_ns": round(median), "p10_ns": round(pick(0.1)), "p90_ns": round(pick(0.9)),
            "gflops": round(flops / median, 1)}


def measure(case, contenders, rounds):
    """Samples by contender and mode. In every round each takes its turn, another one first."""
    samples = {(c.name, mode): [] for c in contenders for mode in ("warm", "cold")}
    inner = {}
    for c in contenders:
        once = statistics.median(c.time(3, 1, False))
        inner[c.name] = max(1, min(200, int(300e3 / max(once, 1))))
    for number in range(rounds):
        turn = number % len(contenders)
        for c in contenders[turn:] + contenders[:turn]:
            samples[c.name, "warm"] += c.time(3, inner[c.name], False)
            samples[c.name, "cold"] += c.time(5, 1, True)
    return samples


def rows_of(case, samples, rates, launches, difference, rounds):
    rows = []
    names = sorted({name for name, _ in samples if name != "tessera"})
    for mode in ("warm", "cold"):
        ours = figures(samples["tessera", mode], case.flops)
        floor, kind = floor_of(case, rates)
        common = {"name": case.name, "mode": mode, "rounds": rounds, "tessera": ours, "floor_ns": round(floor),
                  "floor_by": kind, "bound_by": what_bounds(case, rates, ours["median_ns"], launches),
                  "launches": launches, "relative_difference": difference}
        for name in names:
            other = figures(samples[name, mode], case.flops)
            rows.append({**common, "peer": name, "other": other,
                         "ratio": round(other["median_ns"] / ours["median_ns"], 3)})
        if not names:
            rows.append({**common, "peer": None})
    return rows


def module_of(case, options, folder):
    """The module that was compiled before, or one that is compiled now."""
    ready = os.path.join(HERE, "modules", case.name + ".tsm")
    if os.path.exists(ready) and not options.emulated:
        return ready
    graph, module = os.path.join(folder, case.name + ".tsr"), os.path.join(folder, case.name + ".tsm")
    with open(graph, "w") as file:
        file.write(case.graph)
    compile_module(case, options, graph, module, options.targets)
    return module


def compile_module(case, options, graph, module, targets):
    command = [options.tessera, "compile", graph, "-o", module, "--quiet", "--precision", case.precision]
    for target in targets:
        command += ["--target", target]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["tessera compile failed"])[-1])


def run_case(case, device, options, rates, flush, folder, left_s):
    loaded = device.ask("load", case.name, module_of(case, options, folder))
    try:
        tensors = make_tensors(case) if flush is not None else None
        give_inputs(device, case, tensors, folder)
        launches = device.ask("run", case.name)["launches"]
        about, data = read_output(device, case, folder)
        difference = None
        if math.prod(about["dims"]) * BYTES[about["dtype"]] != len(data) or about["dims"] != list(case.output):
            raise RuntimeError(f"the result is {about['dtype']}{about['dims']}, not {list(case.output)}")
        if tensors is not None:
            difference = relative_difference(case, tensors, about, data)
            if not difference <= limit_of(case):
                raise RuntimeError(f"THE RESULT IS WRONG: relative difference {difference:.3g}, "
                                   f"limit {limit_of(case):.3g}")
            torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"
            torch.backends.cudnn.allow_tf32 = case.precision == "tf32"
        contenders = [Tessera(device, case)] + (peers(case, tensors, flush, left_s) if tensors is not None else [])
        samples = measure(case, contenders, options.rounds)
        return rows_of(case, samples, rates, launches, difference, options.rounds), loaded["target"]
    finally:
        if device.process.poll() is None:
            device.ask("unload", case.name)


# ---- reports ----

def print_table(rows, mode):
    print(f"\n{mode}: microseconds (median), the best peer, and what bounds Tessera\n")
    print(f"{'case':<28}{'tessera':>10}{'peer':>10}  {'which':<14}{'ratio':>7}  verdict  bound by")
    wins = losses = 0
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name and row["mode"] == mode]
        row = min(mine, key=lambda r: r["other"]["median_ns"] if r["peer"] else 0)
        ours = row["tessera"]["median_ns"] / 1e3
        if row["peer"] is None:
            print(f"{name:<28}{ours:>10.1f}{'-':>10}  {'none':<14}{'-':>7}  {'-':<7}  {row['bound_by']}")
            continue
        wins, losses = wins + (row["ratio"] >= 1), losses + (row["ratio"] < 1)
        print(f"{name:<28}{ours:>10.1f}{row['other']['median_ns'] / 1e3:>10.1f}  {row['peer']:<14}{row['ratio']:>7.2f}  "
              f"{'wins' if row['ratio'] >= 1 else 'loses':<7}  {row['bound_by']}")
    if wins + losses:
        print(f"{wins} wins, {losses} losses against the best peer of each case")


def clocks():
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True,
                              text=True, timeout=20)
        return dict(zip(query.split(","), (field.strip() for field in done.stdout.split("\n")[0].split(","))))
    except (OSError, subprocess.TimeoutExpired):
        return {}


def commit_of(tessera):
    try:
        text = subprocess.run([tessera, "doctor"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"commit ([0-9a-f]+)", text)
    return found.group(1) if found else "unknown"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=".", help="regular expression for cases' names")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", default="gpu.json", help="where the figures go")
    parser.add_argument("--limit", type=int, default=LIMIT_S, help="seconds after which no case is begun")
    parser.add_argument("--dry-run", action="store_true", help="list the cases with operations and bytes")
    parser.add_argument("--emulated", action="store_true", help="tiny sizes, no peers, $TESSERA_CUDA_DRIVER as the device")
    parser.add_argument("--compile", metavar="FOLDER", help="only compile the modules, into FOLDER")
    parser.add_argument("--bin", default=HERE, help="folder of tessera and gpu_time")
    parser.add_argument("--tests", default=os.path.join(HERE, "tests"), help="folder with kernels/")
    parser.add_argument("--target", action="append", dest="targets", help="for compiling; as tessera compile takes it")
    options = parser.parse_args()
    options.tessera = os.path.join(options.bin, "tessera")
    options.gpu_time = os.path.join(options.bin, "gpu_time")
    options.targets = options.targets or (["cuda-emulated:sm_90a"] if options.emulated else ["cuda:sm_80", "cuda:sm_90a"])
    return options


def compile_all(cases, options):
    os.makedirs(options.compile, exist_ok=True)
    failed = 0
    for case in cases:
        graph = os.path.join(options.compile, case.name + ".tsr")
        with open(graph, "w") as file:
            file.write(case.graph)
        try:
            compile_module(case, options, graph, graph[:-4] + ".tsm", options.targets)
        except RuntimeError as error:
            failed += 1
            log(f"{case.name}: {error}")
    print(f"{len(cases) - failed} modules compiled, {failed} not")
    return 1 if failed else 0


def main():
    options = parse()
    begin = time.monotonic()
    cases = [case for case in gpu_cases.all_cases(options.emulated) if re.search(options.cases, case.name)]
    if options.dry_run:
        for case in cases:
            print(f"{case.name:<28} {case.flops / 1e9:12.3f} GFLOP {case.bytes / 1e6:10.2f} MB  {case.dtype} {case.precision}"
                  f"  peers: {', '.join(case.peer_names())}")
        print(f"{len(cases)} cases")
        return 0
    if options.compile:
        return compile_all(cases, options)
    for missing in (TORCH_MISSING, TRITON_MISSING):
        if missing and not options.emulated:
            log(f"left out: {missing}")
    peers_here = torch is not None and TORCH_MISSING is None and not options.emulated
    before = clocks()
    try:
        device = Device(options.gpu_time)
    except (RuntimeError, OSError) as error:
        log(f"error: {error}")
        return 1
    rates = probe_ceilings(device, options.tests, options.emulated)
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda") if peers_here else None
    rows, failures, target = [], [], None
    scratch = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for case in cases:
            left_s = options.limit - (time.monotonic() - begin)
            if left_s <= 0:
                failures.append({"name": case.name, "why": "no time was left"})
                continue
            log(f"{case.name}")
            try:
                made, target = run_case(case, device, options, rates, flush, folder, left_s)
                rows += made
            except (RuntimeError, OSError) as error:
                failures.append({"name": case.name, "why": str(error).splitlines()[0]})
                log(f"  failed: {error}")
                # What a failure leaves of the device's context is unknown.
                device.close()
                device = Device(options.gpu_time)
            if peers_here:
                torch.cuda.empty_cache()
    about = device.about
    device.close()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    result = {"benchmark": "gpu", "date": now, "commit": commit_of(options.tessera), "device": about["device"],
              "driver": about["driver"], "about": about, "target": target,
              "torch": torch.__version__ if torch is not None else None,
              "triton": gpu_triton.version() if gpu_triton is not None else None, "clocks_before": before,
              "clocks_after": clocks(), "ceilings": {name: round(rate) for name, rate in rates.items()}, "rows": rows,
              "failures": failures, "took_s": round(time.monotonic() - begin, 1)}
    with open(options.json, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print(f"{about['device']}, {about['driver']}; {target}; "
          f"copy {rates['copy'] / 1e12:.2f} TB/s, " +
          ", ".join(f"{name} {rate / 1e12:.0f} TFLOP/s" for name, rate in rates.items() if " " in name))
    for mode in ("warm", "cold"):
        print_table(rows, mode)
    for failure in failures:
        print(f"FAILED {failure['name']}: {failure['why']}")
    print(f"\nfigures: {options.json}; took {result['took_s']:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
