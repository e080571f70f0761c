"""What is promised of the tuner: tuner_goals.py PROGRAMS TOOLS RESULTS.json [PART...] [OPTION...]

PROGRAMS is a build folder with frontend/tessera and benchmarks/cpu_time, TOOLS a folder with the program bert_onnx, where
models and databases are left. tuner_goals.sh makes both and says what the parts measure.
"""

import argparse
import datetime
import filecmp
import json
import math
import os
import re
import shutil
import statistics
import sys
import time

import onnx

import cpu_models
from cpu_peers import Lines, Wrong, call, device, slug

PARTS = ("regret", "bert", "resnet", "compile", "correction")
SEARCHES = 5  # that found nothing to measure, one after the other: the longer search is over before its time
SLACK = 0.95  # of the time that the command may take: what its search is given, as starting takes some as well


class Run:
    def __init__(self, options):
        self.options, self.failures = options, []
        self.tessera = os.path.join(options.programs, "frontend/tessera")
        self.doctor = json.loads(call(self.tessera, "doctor", "--json", "-"))
        self.goals, self.more = [], {}

    def path(self, name):
        return os.path.join(self.options.tools, name)

    def goal(self, part, name, value, limit=None, unit="%"):
        met = limit is None or value < limit
        held = {"limit": limit, "met": met} if limit is not None else {}
        self.goals.append({"part": part, "name": name, "value": round(value, 4), "unit": unit} | held)
        text = "" if limit is None else f"   limit {limit:g} {unit}: {'met' if met else 'MISSED'}"
        print(f"{name}: {value:.2f} {unit}{text}", flush=True)

    def fresh(self, name):
        """A database of that name, empty unless those of the last run are kept."""
        if not self.options.keep:
            for end in ("", "-wal", "-shm"):
                if os.path.exists(self.path(name) + end):
                    os.remove(self.path(name) + end)
        return self.path(name)

    def tune(self, model, database, *words):
        """What `tune --json` says, and the seconds that the command took."""
        curve = database[:-3] + ".json"
        begin = time.perf_counter()
        call(self.tessera, "tune", model, "--db", database, "--quiet", "--json", curve, *words)
        with open(curve) as file:
            return json.load(file), time.perf_counter() - begin

    def compile(self, model, module, database, threads):
        begin = time.perf_counter()
        call(self.tessera, "compile", model, "-o", module, "--db", database, "--threads", threads, "--quiet")
        return time.perf_counter() - begin

    def in_turns(self, modules, feeds, threads, seconds=20):
        """Nanoseconds of a call of each, round by round."""
        runners, rows = [], []
        try:
            for module in modules:
                runner = Lines(os.path.join(self.options.programs, "benchmarks/cpu_time"))
                runners.append(runner)
                about = runner.ask("load", module, threads)
                for name, data in feeds.items():
                    data.tofile(self.path("in.raw"))
                    runner.ask("input", about["inputs"].index(name), self.path("in.raw"), *data.shape)
                runner.ask("run")
            end = time.monotonic() + seconds
            while len(rows) < 7 or (time.monotonic() < end and len(rows) < 200):
                rows.append([runner.ask("time", 1, 1, 3)["ns"][0] for runner in runners])
        finally:
            for runner in runners:
                runner.close()
        return rows

    def model(self, name, make):
        """Path of the model, and what it is fed with."""
        model, path = make(), self.path(slug(name) + ".onnx")
        onnx.save(model, path)
        names = {weight.name for weight in model.graph.initializer}
        rng, feeds = cpu_models.np.random.default_rng(7), {}
        for port in model.graph.input:
            if port.name in names:
                continue
            kind = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
            shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
            feeds[port.name] = cpu_models.random_of(rng, port.name, kind, shape)
        return path, feeds

    # --- the parts ---

    def shapes(self):
        here = os.path.dirname(os.path.abspath(__file__))
        for line in open(os.path.join(here, "contractions.txt")):
            words = line.split()
            if len(words) == 5 and words[0] == "gemm" and re.search(self.options.only, words[1]):
                yield (words[1], *map(int, words[2:]))

    def write_product(self, name, m, n, k):
        with open(self.path("g.tsr"), "w") as file:
            file.write(f'graph @g {{\n  %x = input {{name = "x"}} : f32[{m}, {k}]\n'
                       f'  %w = const {{random = 1}} : f32[{k}, {n}]\n  %y = einsum %x, %w {{spec = "mk,kn->mn"}} : '
                       f'f32[{m}, {n}] from "{name}"\n  output %y {{name = "y"}}\n}}\n')

    def regret(self):
        """Of the analytic model alone, over the products."""
        rows, common = [], ("--threads", self.options.threads)
        path = self.path("g.tsr")
        for shape in self.shapes():
            name = shape[0]
            database = self.fresh(f"regret_{name}.db")
            self.write_product(*shape)
            trials = self.options.trials
            self.tune(path, database, *common, "--no-learned", "--trials", trials)
            self.tune(path, database, *common, "--resume", "--no-analytic", "--trials", trials)
            found, _ = self.tune(path, database, *common, "--resume", "--no-learned", "--trials", 1)
            row = {"name": name, "best_ns": found["best_ns"], "default_ns": found["first_ns"], **found["analytic"]}
            rows.append(row)
            print(f"  {name:20} rank correlation {row['rank_correlation']:6.3f}, regret {100 * row['top1_regret']:5.1f} %, "
                  f"of ten {100 * row['top10_regret']:5.1f} %, default / best {row['default_ns'] / row['best_ns']:5.2f}",
                  flush=True)
        if not rows:
            raise Wrong(f"no shape matches '{self.options.only}'")
        all_of_them = not self.options.only

        def mean(key):
            return statistics.fmean(row[key] for row in rows)

        self.more["shapes"] = rows
        self.goal("regret", "analytic model alone, mean top-1 regret", 100 * mean("top1_regret"), 15 if all_of_them else None)
        self.goal("regret", "analytic model alone, mean top-10 regret", 100 * mean("top10_regret"),
                  5 if all_of_them else None)
        self.goal("regret", "analytic model alone, mean rank correlation", mean("rank_correlation"), unit="")
        self.goal("regret", "default by best found, geometric mean",
                  statistics.geometric_mean(row["default_ns"] / row["best_ns"] for row in rows), unit="times")

    def search(self, part, name, make, minutes):
        """A short search, and one that goes on from its database to the longer time."""
        path, feeds = self.model(name, make)
        short, long, limit = self.fresh(f"{part}.db"), self.path(f"{part}_long.db"), 60 * minutes
        found, seconds = self.tune(path, short, "--threads", 2, "--time", int(SLACK * limit))
        self.goal(part, f"{name}, tuning from an empty database", seconds, limit, "s")
        for end in ("-wal", "-shm"):
            if os.path.exists(long + end):
                os.remove(long + end)
        shutil.copyfile(short, long)
        end, searches = time.monotonic() + self.options.long - seconds, []
        while (rest := end - time.monotonic()) > 1:
            words = ("--resume", "--seed", 2 + len(searches), "--time", math.ceil(rest))
            searches.append(self.tune(path, long, "--threads", 2, *words)[0])
            if not any(search["trials"] for search in searches[-SEARCHES:]) and len(searches) >= SEARCHES:
                break
        if searches:
            found["long"] = {"searches": len(searches), "trials": sum(search["trials"] for search in searches),
                             "seconds": sum(search["seconds"] for search in searches), "best_ns": searches[-1]["best_ns"]}
        modules = [self.path(f"{part}.tsm"), self.path(f"{part}_long.tsm")]
        for module, database in zip(modules, (short, long)):
            self.compile(path, module, database, 2)
        rows = self.in_turns(modules, feeds, 2)
        self.goal(part, f"{name}, behind what {self.options.long} s find",
                  100 * (statistics.median(a / b for a, b in rows) - 1), 10)
        self.more[part] = {key: found[key] for key in ("trials", "seconds", "first_ns", "best_ns", "long") if key in found}
        self.more[part]["ns"] = statistics.median(a for a, _ in rows)
        self.more[part]["long_ns"] = statistics.median(b for _, b in rows)

    def bert(self):
        self.search("bert", "BERT-base", lambda: cpu_models.bert(self.options.tools, 12), 5)

    def resnet(self):
        self.search("resnet", "ResNet-50", cpu_models.resnet50, 10)

    def compiled(self):
        """From a database: in time, and the same bytes."""
        path, _ = self.model("BERT-base", lambda: cpu_models.bert(self.options.tools, 12))
        database = self.path("bert.db")
        if not os.path.exists(database):
            database = self.fresh("compile.db")
            self.tune(path, database, "--threads", 2, "--time", 60)
        modules = [self.path("once.tsm"), self.path("again.tsm")]
        seconds = [self.compile(path, module, database, 2) for module in modules]
        self.goal("compile", "BERT-base, compiling from a database", max(seconds), 5, "s")
        differ = not filecmp.cmp(*modules, shallow=False)
        self.goal("compile", "BERT-base, modules of the same inputs that differ", int(differ), 1, "")

    def correction(self):
        path, feeds = self.model("BERT layer", lambda: cpu_models.bert(self.options.tools, 1))
        modules = []
        for name, words in (("on", ()), ("off", ("--no-learned",))):
            database = self.fresh(f"correction_{name}.db")
            self.tune(path, database, "--threads", 2, "--trials", 20 * self.options.trials, *words)
            modules.append(self.path(f"correction_{name}.tsm"))
            self.compile(path, modules[-1], database, 2)
        rows = self.in_turns(modules, feeds, 2)
        self.goal("correction", "a layer of BERT tuned without the correction, by the one tuned with it",
                  statistics.median(b / a for a, b in rows), unit="times")
        self.learned_of_others()

    def learned_of_others(self):
        """Both models on the rows of each shape; the correction is learned from the rows of all others."""
        shapes = [shape for shape in self.shapes() if os.path.exists(self.path(f"regret_{shape[0]}.db"))]
        if len(shapes) < 2:
            print("  no databases of the part 'regret': nothing to learn from")
            return
        merged, found = self.fresh("correction_all.db"), []
        for name, *_ in shapes:
            call(self.tessera, "db", "merge", self.path(f"regret_{name}.db"), "--db", merged)
        for shape in shapes:
            self.write_product(*shape)
            copy = self.path("correction_one.db")
            shutil.copyfile(merged, copy)
            found.append(self.tune(self.path("g.tsr"), copy, "--threads", self.options.threads, "--resume", "--trials", 1)[0])
        found = [row for row in found if row["rank_correlation"] is not None]
        for key, text in (("rank_correlation", "rank correlation"), ("top1_regret", "top-1 regret"),
                          ("top10_regret", "top-10 regret")):
            factor, unit = (1, "") if key == "rank_correlation" else (100, "%")
            for rows, model in (([row["analytic"] for row in found], "analytic model alone"),
                                (found, "with a correction learned from other shapes")):
                self.goal("correction", f"{text}, {model}, mean of {len(found)}",
                          factor * statistics.fmean(row[key] for row in rows), unit=unit)

    def go(self):
        parts = {"compile": self.compiled}
        for part in self.options.parts or PARTS:
            print(f"== {part}", flush=True)
            try:
                parts.get(part, getattr(self, part, None))()
            except Wrong as wrong:
                self.failures.append(f"{part}: {wrong}")
                print(f"FAIL {part}: {wrong}", flush=True)

    def result(self, before):
        run = {goal["part"] for goal in self.goals}
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        measured = {"device": device(self.doctor), "commit": self.doctor["commit"], "date": now}
        kept = [{"device": before["device"]} | goal for goal in before.get("goals", []) if goal["part"] not in run]
        goals = [goal | measured for goal in self.goals] + kept
        return {
            "kind": "goals",
            **measured,
            "goals": sorted(goals, key=lambda goal: PARTS.index(goal["part"])),
            "more": before.get("more", {}) | self.more,
            "failures": self.failures,
        }


def main():
    parser = argparse.ArgumentParser(prog="tuner_goals", allow_abbrev=False)
    for name in ("programs", "tools", "results"):
        parser.add_argument(name)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--long", type=int, default=3600)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_intermixed_args(sys.argv[1:])
    wrong = [part for part in options.parts if part not in PARTS]
    if wrong:
        parser.error(f"no part '{wrong[0]}': {', '.join(PARTS)}")
    run = Run(options)
    run.go()
    before = {}
    if os.path.exists(options.results):
        with open(options.results) as file:
            before = json.load(file)
    with open(options.results + ".part", "w") as file:
        json.dump(run.result(before), file, indent=1)
        file.write("\n")
    os.replace(options.results + ".part", options.results)
    missed = [goal["name"] for goal in run.goals if not goal.get("met", True)]
    print(f"{len(missed)} limits missed, {len(run.failures)} failures; figures: {options.results}")
    return 1 if missed or run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
