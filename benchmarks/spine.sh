#!/bin/sh
# Usage: benchmarks/spine.sh [SECONDS]
# Three comparisons on one thread, each measured in turns with its peer in one run: an fp32 matrix product of 512^3 and
# a 3x3 convolution 56x56x64 with oneDNN (SECONDS for each, 3), and magika's model with ONNX Runtime. Prints who wins by how much, writes the
# figures to benchmarks/results/, and ends with status 1 when a result is wrong (never because a kernel is slow), or when
# loading magika's module and preparing its first run takes 10 ms or more.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-3}
export OMP_NUM_THREADS=1

tests/setup.sh libdnnl-dev python3 python3-venv
mkdir -p build
if ! { cmake --preset release && cmake --build build/release -t tessera identify contraction_peers; } >build/spine.log 2>&1; then
  grep -vE "^\[[0-9]+/[0-9]+\] (Building|Linking)" build/spine.log | tail -n 40
  echo "error: the build failed; all of its output is in build/spine.log" >&2
  exit 1
fi
tessera=build/release/frontend/tessera
programs=build/release/benchmarks
work=build/spine
benchmarks/magika/fetch.sh $work
if [ ! -x $work/venv/bin/python ]; then
  python3 -m venv $work/venv
  $work/venv/bin/pip install -q --disable-pip-version-check numpy onnxruntime
fi

status=0
rows=$work/rows.json
: >$rows
for kernel in gemm_512 conv_56x56x64; do
  "$tessera" compile benchmarks/models/$kernel.tsr -o $work/$kernel.tsm --threads 1
  "$tessera" compile benchmarks/models/${kernel}_weights.tsr -o $work/${kernel}_weights.tsm --threads 1
done
printf '%s\n' "gemm_512 gemm $work/gemm_512.tsm $work/gemm_512_weights.tsm" \
  "conv_56x56x64 conv $work/conv_56x56x64.tsm $work/conv_56x56x64_weights.tsm 1 1 1" |
  $programs/contraction_peers 1 "$seconds" >>$rows || status=1
"$tessera" compile $work/model.onnx -o $work/magika.tsm --threads 1
find runtime ir passes frontend benchmarks tests/golden /etc -maxdepth 2 -type f -size +1k -readable | sort | head -n 200 |
  xargs $programs/identify --features $work/config.min.json >$work/features 2>/dev/null
$work/venv/bin/python benchmarks/magika/compare.py "$tessera" $work/model.onnx $work/magika.tsm $work/features 15 \
  >>$rows || status=1

"$tessera" bench $work/magika.tsm --threads 1 --runs 5 --quiet --json $work/load.json >/dev/null

$work/venv/bin/python - $rows "$("$tessera" doctor | sed -n 's/^features *//p')" "$(git rev-parse --short=12 HEAD)" $work/load.json <<'REPORT' || status=1
import datetime, json, os, subprocess, sys

def named(row):
    """A line of contraction_peers in the form of the others."""
    if "case" not in row:
        return row
    times = {side: {"median_ns": round(row[key + "_median_ns"]), "min_ns": round(row[key + "_ns"]), "gflops": row[rate]}
             for side, key, rate in (("tessera", "ours", "gflops"), ("other", "onednn", "onednn_gflops"))}
    return {"name": row["case"], "peer": row["peer"], "threads": row["threads"], "rounds": row["rounds"]} | times | {
        "ratio": row["ratio"], "relative_difference": row["relative_difference"]}


rows = [named(json.loads(line)) for line in open(sys.argv[1])]
cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
result = {"benchmark": "spine", "date": now, "commit": sys.argv[3], "cpu": cpu, "features": sys.argv[2],
          "compiler": "gcc " + compiler, "rows": rows, "load_ns": json.load(open(sys.argv[4]))["load_ns"]}
os.makedirs("benchmarks/results", exist_ok=True)
path = "benchmarks/results/spine.json"
with open(path, "w") as file:
    json.dump(result, file, indent=1)
    file.write("\n")
for row in rows:
    verdict = "wins" if row["ratio"] >= 1 else "loses"
    right = row.get("same_labels", row.get("relative_difference", 1) <= 1e-4)
    print(f"{row['name']:<18} {row['tessera']['median_ns'] / 1e6:8.3f} ms, {row['peer']} "
          f"{row['other']['median_ns'] / 1e6:8.3f} ms: {verdict}, {row['ratio']:.2f} of the peer's speed"
          f"{'' if right else '; THE RESULT IS WRONG'}")
print(f"figures: {path}")
print(f"loading magika's module: {result['load_ns'] / 1e6:.2f} ms (limit 10)")
sys.exit(result["load_ns"] >= 10_000_000)
REPORT
exit $status
