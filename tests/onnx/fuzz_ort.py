#!/usr/bin/env python3
"""Random ONNX graphs, compiled and run by `tessera`, against ONNX Runtime.

    python3 tests/onnx/fuzz_ort.py --graphs 5000            seeds 0 to 4999, in batches, then a table
    python3 tests/onnx/fuzz_ort.py --graphs 5000 --dry      the table alone: graphs are made and counted, not compiled
    python3 tests/onnx/fuzz_ort.py --seed 123               one graph, exactly as in a run
    python3 tests/onnx/fuzz_ort.py --seed 123 --keep DIR    as a directory for `tessera verify`
    python3 tests/onnx/fuzz_ort.py --seed 123 --reduce      cut down as long as it fails, then written to DIR (--keep)

Needs the packages onnx, onnxruntime, numpy and ml_dtypes. fuzz/operators.py is the list of operators, fuzz/graph.py the
generator's means, fuzz/reference.py says how expected results and tolerances come about. A graph depends on its seed and on
the versions of these packages. Its operator comes from the seed, too: number `seed mod operators` of the list, between a
producer and a consumer of the kinds that seed / operators counts through, in a graph of random others. And so does a pair of kinds,
of which one reads the other's result; where chance does not make it, the producer is aimed at what the consumer asks for. A run of as many
graphs as there are pairs goes on, a little, with seeds of the pairs and operators that it did not come by; its table says which pairs there
cannot be.

Batches go through `tessera verify` first; what its tolerance (1e-3) refuses is run again and compared by the derived one.
"""
import argparse
import collections
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "fuzz"))

import ml_dtypes
import numpy as np

import graph as graphs
import reference
from explained import EXPLAINED
from graph import Graph, Maker, Value
import operators_models  # adds its rows
from operators import ROWS
from reference import FLOATS, TYPES, Reject, is_float

KINDS = sorted({r.kind for r in ROWS})
PAIRS = [(a, b) for a in KINDS for b in KINDS]
PAIRS = [PAIRS[i] for i in reference.seeded("pairs").permutation(len(PAIRS))]  # so that neighbouring seeds have unlike ones
OPSETS = [8, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 18, 19, 20, 21, 21, 22, 23, 23, 24, 25, 26]


# --- making graphs ---


def usable(row, opset):
    return row.since <= opset <= row.until


def attempt(graph, row, number, want=None, must=False, offers=None, asks=None, **how):
    """Adds a node of this row; None when that cannot be. `must`: it has to read `want`. `offers`: gets what another value could replace,
    `asks`, also where it cannot be, what it would have read."""
    before = dict(graph.values), list(graph.nodes), graph.names
    maker = Maker(graph, reference.seeded(graph.seed, "attempt", number), want, must, **how)
    try:
        made = row.make(maker, row)
        check(graph, made, maker)
        for value in made:
            value.row = row
            MADE[row.kind].add((value.kind, value.rank, value.is_exact() and any(a.size for a in value.data)))
        if offers is not None:
            offers += maker.offers
        return made
    except (Reject, reference.Narrower, IndexError, KeyError, ValueError, ZeroDivisionError) as error:
        if DEBUG and not (must and "fit" in str(error)):
            REASONS[row.name][f"{type(error).__name__} {error}"[:300]] += 1
        graph.values, graph.nodes, graph.names = before
        return None
    finally:
        ASKED[row.kind] |= maker.asks
        if asks is not None:
            asks |= maker.asks


LEAST = 20  # nodes of each operator in a long run
MADE, ASKED = collections.defaultdict(set), collections.defaultdict(set)  # per kind: (type, rank, exact); (type, lowest rank, highest rank, only exact)
DEBUG = False
REASONS = collections.defaultdict(collections.Counter)


def check(graph, made, maker):
    for value in made:
        for array, members in zip(value.data, value.members):
            if members and any(m.shape != array.shape for m in members):
                raise Reject("a shape that rounding decides")
            if is_float(array) and array.size:
                with np.errstate(all="ignore"):
                    wide = array.astype(np.float64)
                    wild = not np.isfinite(wide).all() or np.abs(wide).max() > (1e4 if value.kind == "f16" else 1e9)
                if wild and not maker.chance(0.05):
                    raise Reject("not finite or large")
            if members:
                limit = reference.bounds(array, members)
                with np.errstate(all="ignore"):
                    loose = np.isinf(limit) if not is_float(array) else limit > 0.05 * np.abs(array.astype(np.float64)) + 0.01
                if array.size and loose.mean() > 0.3:
                    raise Reject("rounding decides too much")


class Growth:
    """A graph that grows by attempts; each has a number, from which it draws."""

    def __init__(self, graph, random, number):
        self.graph, self.random, self.number = graph, random, number
        self.rows = [r for r in ROWS if usable(r, graph.opset)]

    def of(self, kind):
        return [r for r in self.rows if r.kind == kind]

    def state(self):
        return dict(self.graph.values), list(self.graph.nodes), self.graph.names

    def back(self, state):
        values, nodes, self.graph.names = state
        self.graph.values, self.graph.nodes = dict(values), list(nodes)

    def some(self, choices, want=None, must=False, tries=12, **how):
        for _ in range(tries):
            if not choices:
                return None
            self.number += 1
            row = choices[int(self.random.integers(len(choices)))]
            made = attempt(self.graph, row, self.number, want, must, **how)
            if made:
                return made
        return None

    def pair(self, producers, consumers):
        """A consumer that reads a producer's result: one made for the other, then the other way round; then the producer is given what it
        may make the consumer's type of."""
        for _ in range(16):
            if self.forward(producers, consumers) or self.backward(producers, consumers):
                return True
        usual, self.random = self.random, reference.seeded(self.graph.seed, "aimed", self.number)
        asked = self.asked(consumers)
        found = asked and any(self.aimed(producers, asked) for _ in range(64))
        self.random = usual
        return bool(found)

    def asked(self, consumers):
        """By type, what rows would read: (row, lowest rank, highest rank)."""
        before, found = self.state(), collections.defaultdict(set)
        for row in consumers:
            for _ in range(6):
                asks = set()
                self.number += 1
                attempt(self.graph, row, self.number, asks=asks, alone=True)
                self.back(before)
                for kind, low, high, _ in asks:
                    found[kind].add((row.name, low, high))
        rows = {row.name: row for row in consumers}
        return [(kind, [(rows[name], low, high) for name, low, high in sorted(found[kind])]) for kind in sorted(found)]

    def forward(self, producers, consumers):
        before = self.state()
        for value in self.some(producers, tries=3, alone=self.random.random() < 0.5) or []:
            if self.some(consumers, value, must=True, tries=16):
                return True
        self.back(before)
        return False

    def aimed(self, producers, asked):
        """A producer made for a type and rank that is asked for, of few elements, and the row that asks."""
        before = self.state()
        kind, readers = asked[int(self.random.integers(len(asked)))]
        row, low, high = readers[int(self.random.integers(len(readers)))]
        rank = int(self.random.integers(low, max(low, min(high, 5)) + 1))
        dims = [(int(size),) * self.graph.sets for size in self.random.integers(1, 6, rank)]
        span = (None, None) if kind == "bool" else (0, 8) if kind[0] == "u" else (-8, 8)
        for value in self.some(producers, tries=4, aim=(kind, dims, *span), alone=True, firm=True) or []:
            if value.kind == kind and low <= value.rank <= high and self.some([row], value, must=True, tries=8):
                return True
        self.back(before)
        return False

    def backward(self, producers, consumers):
        """A consumer is made of new values; where a producer can make one of them, the consumer is made again to read that."""
        before, offers = self.state(), []
        if not self.some(consumers, tries=1, offers=offers, alone=True):
            return False
        number, row = self.number, next(r for r in consumers if r is self.graph.values[next(reversed(self.graph.values))].row)
        self.back(before)
        for which in self.random.permutation(len(offers))[:3]:
            new, kind, dims, low, high = offers[which]
            for _ in range(2):
                for value in self.some(producers, tries=1, aim=(kind, dims, low, high)) or []:
                    if value.kind == kind and value.shape == dims and attempt(self.graph, row, number, must=True, alone=True, instead=(new, value)):
                        return True
                self.back(before)
        return False


def generate(seed):
    for again in range(6):
        graph = generate_once(seed, again)
        if graph is not None:
            return graph
    return None


def generate_once(seed, again):
    random = reference.seeded(seed, "plan", again)
    count = len(ROWS)
    star, turn = ROWS[seed % count], seed // count
    # Producers and consumers of each row go through all kinds, in an order of the row's own.
    order = reference.seeded(seed % count, "kinds").permutation(len(KINDS))
    producer = KINDS[order[turn % len(KINDS)]]
    consumer = KINDS[order[(turn * 7 + 3) % len(KINDS)]]
    one, other = PAIRS[seed % len(PAIRS)]
    opsets = [o for o in OPSETS if usable(star, o)]
    if random.random() < 0.5:  # those that have most of the operators of the pair
        rows_at = {o: sum(usable(r, o) for r in ROWS if r.kind in (one, other)) for o in opsets}
        opsets = [o for o in opsets if rows_at[o] == max(rows_at.values())]
    opset = int(random.choice(opsets))
    sets = int(random.choice([1, 1, 2, 3]))
    graph = Graph(seed, opset, sets)
    if sets > 1:
        for name in ("N", "M")[: int(random.integers(1, 3))]:
            sizes = tuple(int(s) for s in random.choice([1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31], sets, replace=False))
            if random.random() < 0.1:
                sizes = sizes[:-1] + (0,)
            graph.symbols.setdefault(sizes, name)
    growth = Growth(graph, random, 1000 * again)
    growth.some(growth.rows, tries=int(random.integers(0, 3)))
    middle = None
    for _ in range(12):
        before = growth.state()
        first = growth.some(growth.of(producer), tries=6)
        if first is None:
            break
        for value in first:
            middle = growth.some([star], value, must=True, tries=4)
            if middle:
                break
        if middle:
            break
        growth.back(before)
    middle = middle or growth.some([star], tries=40)
    if middle is None:
        return None
    for value in middle:
        if growth.some(growth.of(consumer), value, must=True, tries=16):
            break
    for _ in range(int(random.integers(0, 3))):
        last = list(graph.values.values())[-1]
        growth.some(growth.rows, last if random.random() < 0.6 else None, tries=6)
    growth.pair(growth.of(one), growth.of(other))
    read = {n for node in graph.nodes for n in node.inputs}
    results = [v for v in graph.values.values() if v.source == "node"]
    graph.outputs = [v.name for v in results if v.name not in read or v in middle and random.random() < 0.3 or random.random() < 0.08]
    return graph


# --- running them ---


def tessera(args, binary, timeout=240):
    return subprocess.run([str(binary), *map(str, args)], capture_output=True, text=True, timeout=timeout)


def verify(binary, folders, target=None):
    """Per folder (verdict, reason)."""
    out = {}
    args = ["verify", *folders, "--threads", "1", "--quiet"] + (["--target", target, "--timeout", "300"] if target else [])
    done = tessera(args, binary, 60 * len(folders))
    for line in done.stdout.splitlines():
        parts = line.split(" ", 2)
        if parts[0] in ("PASS", "FAIL", "SKIP"):
            out[parts[1]] = parts[0], parts[2] if len(parts) > 2 else ""
    return out


def results_of(binary, graph, number, folder, target=None):
    """The outputs of one data set by `tessera run`, as arrays, or a line about the failure."""
    args = ["run", folder / "model.onnx", "--output-dir", folder / "out", "--threads", "1", "--quiet"]
    args += ["--target", target] if target else []
    shutil.rmtree(folder / "out", ignore_errors=True)
    for value in graph.inputs():
        np.save(folder / f"{value.name}.npy", value.data[number])
        args += ["--input", f"{value.name}={folder / value.name}.npy"]
    done = tessera(args, binary)
    if done.returncode != 0:
        return f"exit status {done.returncode}: {done.stderr.strip().splitlines()[-1:] or ''}"
    arrays = {}
    for name in graph.outputs:
        array = np.load(folder / "out" / f"{name}.npy")
        if array.dtype.kind == "V":
            array = array.view(ml_dtypes.bfloat16)
        arrays[name] = array
    return arrays


def compare(binary, graph, folder, target=None):
    """None when all results are within the derived tolerance, else (output, what is wrong)."""
    if graph.member_count < reference.MEMBERS:
        graph = again(graph, graph.live()[0], graph.outputs, {}, list(range(graph.sets)))
    for number in range(graph.sets):
        arrays = results_of(binary, graph, number, folder, target)
        if isinstance(arrays, str):
            return None, arrays
        for name in graph.outputs:
            value = graph.values[name]
            wrong = reference.disagreement(arrays[name], value.data[number], value.members[number])
            if wrong:
                return name, f"data set {number}, output {name} of {value.node.op}: {wrong}"
    return None


def peer(graph):
    """What ONNX Runtime makes of the whole graph: whether that agrees, too. A check of the reference, not of Tessera."""
    if any(v.kind == "bf16" for v in graph.values.values()):
        return None
    try:
        session = reference._session(graph.model())
        for number in range(graph.sets):
            results = session.run(None, {v.name: v.data[number] for v in graph.inputs()})
            for name, array in zip(graph.outputs, results):
                value = graph.values[name]
                wrong = reference.disagreement(np.asarray(array), value.data[number], value.members[number])
                if wrong:
                    return f"data set {number}, output {name} of {value.node.op}: {wrong}"
    except Exception as error:
        return str(error)[:300]
    return None


def explanation(graph, reason):
    for test, why in EXPLAINED:
        if test(graph, reason):
            return why
    return None


class Tally:
    def __init__(self):
        self.graphs = self.nodes = self.several = self.loose = 0
        self.ops, self.pairs, self.differences, self.skips, self.opsets = (collections.Counter() for _ in range(5))
        self.types = collections.defaultdict(set)
        self.failed, self.explained, self.none, self.died, self.reasons = [], [], [], [], {}
        self.made, self.asked = {}, {}  # MADE and ASKED of all batches

    def count(self, graph):
        nodes, wanted = graph.live()
        self.graphs += 1
        self.several += graph.sets > 1
        self.opsets[graph.opset] += 1
        of = {}
        for node in nodes:
            value = next(graph.values[o] for o in node.outputs if o)
            kind = value.row.kind if value.row else node.kind
            name = value.row.name if value.row else node.op
            self.nodes += 1
            self.ops[name] += 1
            self.types[name].add(next((graph.values[i].kind for i in node.inputs if i), value.kind))
            for given in set(node.inputs):
                if given in of:
                    self.pairs[of[given], kind] += 1
            for o in node.outputs:
                of[o] = kind

    def apart(self, producer, consumer):
        """Why no result of the one kind can be an operand of the other, by what all attempts made and would have read; or None."""
        made, asked = self.made.get(producer, set()), self.asked.get(consumer, set())
        types = sorted({t for t, *_ in made} & {t for t, *_ in asked})
        if not types:
            return f"{consumer} reads no {', '.join(sorted({t for t, *_ in made}))}"
        fit = {(t, r, exact, only) for t, r, exact in made for u, low, high, only in asked if t == u and low <= r <= high}
        if not fit:
            return f"{consumer} reads no {', '.join(types)} of rank {', '.join(sorted({str(r) for t, r, _ in made if t in types}))}"
        if any(exact or not only for _, _, exact, only in fit):
            return None
        return f"{consumer} reads {', '.join(sorted({t for t, *_ in fit}))} only where it is not rounded"

    def seeds(self, first):
        """Seeds, at most len(PAIRS) from `first` on, of what is missing yet."""
        pairs = {i for i, pair in enumerate(PAIRS) if not self.pairs[pair] and self.apart(*pair) is None}
        rows = {i for i, r in enumerate(ROWS) if self.ops[r.name] < LEAST}
        return [s for s in range(first, first + len(PAIRS)) if s % len(PAIRS) in pairs or s % len(ROWS) in rows]

    def table(self):
        print("\noperator                              nodes  types of the first operand")
        for row in ROWS:
            few = "  FEW" if self.ops[row.name] < LEAST else ""
            print(f"{row.name:36} {self.ops[row.name]:6}  {' '.join(sorted(self.types[row.name]))}{few}")
        few = [r.name for r in ROWS if self.ops[r.name] < LEAST]
        print(f"\nof fewer than {LEAST} nodes: {', '.join(few) or 'none'}")
        missing = [(a, b) for a, b in sorted(PAIRS) if not self.pairs[a, b]]
        never = collections.defaultdict(list)
        for a, b in missing:
            never[self.apart(a, b)].append(f"{a} > {b}")
        print(f"{len(KINDS)} kinds, {len(PAIRS) - len(missing)} of {len(PAIRS)} pairs of producer and consumer; there could be, but were not: "
              f"{', '.join(never.pop(None, [])) or 'none'}; there cannot be:")
        for why, pairs in sorted(never.items()):
            print(f"  {why}: {', '.join(pairs)}")
        print(f"{self.graphs} graphs with {self.nodes} nodes, {self.several} of several data sets; {len(self.none)} seeds gave none: {self.none[:40]}")
        if self.died:
            print(f"ONNX Runtime died of seeds {self.died}")
        print("opsets: " + ", ".join(f"{o}: {n}" for o, n in sorted(self.opsets.items())))
        print(f"{len(self.explained)} explained:")
        for why, n in collections.Counter(w for _, w in self.explained).items():
            print(f"  {n} x {why}: seeds {[s for s, w in self.explained if w == why][:8]}")
        print(f"{len(self.failed)} differences:")
        for seed, reason in self.failed:
            print(f"  seed {seed}: {reason}")


def judge(args, graph, folder, verdict, reason, tally):
    """None when the results are fine or explained."""
    if verdict == "PASS":
        return None
    wrong = reason
    if verdict == "FAIL" and " differ, by " in reason:
        found = compare(args.tessera, graph, folder, args.target)
        if found is None:
            return None
        wrong = found[1]
    why = explanation(graph, wrong)
    if why:
        tally.explained.append((graph.seed, why))
        return None
    return f"{verdict} {wrong}"


def run_batch(args, seeds, tally, scratch, say):
    batch = {}
    for seed in seeds:
        say(seed)
        graph = generate(seed)
        if graph is None:
            tally.none.append(seed)
            continue
        tally.count(graph)
        if args.dry:
            continue
        folder = scratch / str(seed)
        graph.write(folder)
        batch[str(folder)] = graph
        if args.peer:
            odd = peer(graph)
            if odd:
                print(f"peer: seed {seed}: {odd}", flush=True)
    say(None)
    verdicts = verify(args.tessera, list(batch), args.target) if batch else {}
    for folder, graph in batch.items():
        verdict, reason = verdicts.get(folder, ("FAIL", "verify said nothing"))
        wrong = judge(args, graph, pathlib.Path(folder), verdict, reason, tally)
        if wrong:
            tally.failed.append((graph.seed, wrong))
            print(f"seed {graph.seed}: {wrong}", flush=True)
        shutil.rmtree(folder)
    tally.reasons = {name: dict(reasons) for name, reasons in REASONS.items()}
    for kind in KINDS:
        tally.made[kind] = tally.made.get(kind, set()) | MADE[kind]
        tally.asked[kind] = tally.asked.get(kind, set()) | ASKED[kind]


def in_child(args, seeds, tally, scratch):
    """Runs a batch in a process of its own, as ONNX Runtime may die. Its tally, or the seed that it died of."""
    sys.stdout.flush()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            def say(seed):
                pickle.dump(seed, pipe)
                pipe.flush()

            try:
                run_batch(args, seeds, tally, scratch, say)
                pickle.dump(tally, pipe)
            except BaseException:
                traceback.print_exc()
                pipe.flush()
                os._exit(1)
        os._exit(0)
    os.close(write)
    last = None
    with os.fdopen(read, "rb") as pipe:
        while True:
            try:
                last = pickle.load(pipe)
            except EOFError:
                break
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(1)
    return last


def run(args):
    tally, scratch = Tally(), pathlib.Path(tempfile.mkdtemp(prefix="fuzz_ort"))
    start = time.time()
    seeds = list(range(args.first, args.first + args.graphs))
    further, rounds = args.first + args.graphs, 40 if args.graphs >= len(PAIRS) else 0
    while seeds:
        batch = seeds[: args.batch]
        try:
            result = in_child(args, batch, tally, scratch)
        except KeyboardInterrupt:
            break
        if isinstance(result, Tally):
            tally, seeds = result, seeds[args.batch :]
        else:
            tally.died.append(result)
            seeds.remove(result)
        if not seeds and rounds:  # once more what has not come yet
            seeds, further, rounds = tally.seeds(further), further + len(PAIRS), rounds - 1
        print(f"[{tally.graphs} graphs, {len(tally.failed)} differences, {time.time() - start:.0f} s]", file=sys.stderr, flush=True)
    shutil.rmtree(scratch)
    tally.table()
    if DEBUG:
        for name, reasons in tally.reasons.items():
            if tally.ops[name] < max(20, args.graphs // len(ROWS) * 0.8):
                print(name, tally.ops[name], collections.Counter(reasons).most_common(4))
    return 1 if tally.failed else 0


# --- one graph ---


def failing(args, graph, folder):
    graph.write(folder)
    verdict, reason = verify(args.tessera, [folder], args.target).get(str(folder), ("FAIL", "verify said nothing"))
    return judge(args, graph, folder, verdict, reason, Tally())


def again(graph, nodes, outputs, inputs, sets):
    """The graph with these nodes, outputs and data, evaluated anew."""
    small = Graph(graph.seed, graph.opset, len(sets), reference.MEMBERS)
    for sizes, name in graph.symbols.items():
        small.symbols[tuple(sizes[i] for i in sets)] = name
    for value in graph.values.values():
        if value.name in inputs or value.source != "node":
            data = inputs.get(value.name) or value.data
            small.values[value.name] = Value(value.name, value.kind, [data[i] for i in sets], "const" if value.source == "const" else "input")
    if len(sets) == 1:
        small.symbols = {}
    for node in nodes:
        if not set(node.outputs) & set(inputs):
            small.add_node(node)
            for o in node.outputs:
                if o:
                    small.values[o].row = graph.values[o].row
    if any(o not in small.values or small.values[o].source != "node" for o in outputs):
        raise Reject("an output is gone")
    small.outputs = outputs
    return small


def smaller(args, graph, folder):
    """Graphs with less in them, the greatest cuts first."""
    nodes, wanted = graph.live()
    everything = list(range(graph.sets))
    if graph.sets > 1:
        for i in everything:
            yield lambda i=i: again(graph, nodes, graph.outputs, {}, [i])
    if len(graph.outputs) > 1:
        for name in graph.outputs:
            yield lambda name=name: again(graph, nodes, [name], {}, everything)
            yield lambda name=name: again(graph, nodes, [o for o in graph.outputs if o != name], {}, everything)
    for node in reversed(nodes):
        for name in node.outputs:
            if name and name not in graph.outputs:
                value = graph.values[name]
                yield lambda name=name, value=value: again(graph, nodes, graph.outputs, {name: value.data}, everything)
                yield lambda name=name: again(graph, nodes, [name], {}, everything)
    sizes = {s for v in graph.values.values() if v.source != "node" and v.name in wanted for a in v.data for s in a.shape if s > 1}
    for size in sorted(sizes, reverse=True):
        for less in sorted({1, 2, size // 2, size - 1} - {size}):
            inputs = {}
            for v in graph.values.values():
                if v.source != "node" and v.name in wanted and any(size in a.shape for a in v.data):
                    inputs[v.name] = [a[tuple(slice(less) if s == size else slice(None) for s in a.shape)] for a in v.data]
            yield lambda inputs=inputs: again(graph, nodes, graph.outputs, inputs, everything)


def reduce(args, graph, folder):
    reason = failing(args, graph, folder)
    if not reason:
        print("it does not fail")
        return graph
    print(reason)
    progress, until = True, time.time() + args.reduce_time
    while progress and time.time() < until:
        progress = False
        for make in smaller(args, graph, folder):
            if time.time() > until:
                break
            try:
                less = make()
            except (Reject, IndexError, ValueError, KeyError):
                continue
            before, after = weight(graph), weight(less)
            if after >= before:
                continue
            found = failing(args, less, folder)
            if found and category(found) == category(reason):
                graph, progress = less, True
                print(f"{len(graph.live()[0])} nodes: {found}", flush=True)
                break
    return graph


def category(reason):
    """Failures of one kind stay one while a graph gets smaller."""
    if " differ" in reason and "element" in reason:
        return "numbers"
    return re.sub(r"'[^']*'|\[[^]]*\]|[0-9]+|\b[uif]\b|node \S+ ", "", reason)[:60]


def weight(graph):
    nodes, wanted = graph.live()
    return len(nodes) * 10000 + graph.sets * 1000 + len(graph.outputs) * 100 + sum(
        a.size for v in graph.values.values() if v.source != "node" and v.name in wanted for a in v.data)


def one(args):
    graph = generate(args.seed)
    if graph is None:
        print("this seed gives no graph")
        return 0
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="fuzz_ort"))
    folder = scratch / "case"
    if args.reduce:
        graph = reduce(args, graph, folder)
    print(graph.text())
    if args.peer:
        print("peer:", peer(graph))
    wrong = failing(args, graph, folder)
    if args.keep:
        graph.write(args.keep)
    shutil.rmtree(scratch)
    print(wrong or "no difference")
    return 1 if wrong else 0


def main():
    global DEBUG
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--tessera", type=pathlib.Path, default=root / "build/release/frontend/tessera")
    parser.add_argument("--graphs", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--target", help="such as cuda-emulated:sm_80")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--reduce", action="store_true")
    parser.add_argument("--reduce-time", type=float, default=120, help="seconds")
    parser.add_argument("--peer", action="store_true", help="also compare ONNX Runtime's run of the whole graph: tests the reference")
    parser.add_argument("--dry", action="store_true", help="only make and count graphs")
    parser.add_argument("--debug", action="store_true", help="why operators could not be placed")
    args = parser.parse_args()
    DEBUG = args.debug
    return one(args) if args.seed is not None else run(args)


if __name__ == "__main__":
    sys.exit(main())
