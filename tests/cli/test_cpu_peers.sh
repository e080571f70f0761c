#!/bin/sh
# benchmarks/cpu_peers.py without peers: a few cases are written as models, compiled, run and timed, and `tessera report`
# takes the figures.
set -eu
command -v python3 >/dev/null || { echo "SKIP: there is no python3"; exit 77; }
export PYTHONDONTWRITEBYTECODE=1
for file in benchmarks/cpu_*.py; do
  python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$file"
done
python3 -c 'import numpy, onnx' 2>/dev/null || { echo "SKIP: python3 has no numpy or no onnx"; exit 77; }
[ -x "$TESSERA_BUILD/benchmarks/cpu_time" ] || { echo "SKIP: benchmarks/cpu_time is not built"; exit 77; }
work=$(mktemp -d "${TESSERA_TEST_TMP:-/tmp}/cpu-peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 benchmarks/cpu_peers.py "$TESSERA_BUILD" "$work" "$work/peers.json" --peers= --quick \
  --only 'gemm (64x64x64|7x777)|7x7 512->2048|add . relu|decode' >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }
python3 - "$work/peers.json" <<'CHECK'
import json, sys
result = json.load(open(sys.argv[1]))
assert not result["failures"], result["failures"]
rows = {(row["name"], row["threads"]): row for row in result["cases"]}
assert len(rows) == len(result["cases"]) == 10, rows.keys()
assert all(row["tessera"]["min"] <= row["tessera"]["median"] <= row["tessera"]["p95"] for row in rows.values())
assert rows["gemm 64x64x64", 1]["flops"] == 2 * 64**3 and rows["gemm 64x64x64", 1]["bytes"] == 3 * 4 * 64**2
assert rows["conv 1x1 7x7 512->2048", 2]["flops"] == 2 * 49 * 512 * 2048
assert rows["add + relu 1024x4096", 1]["bytes"] == 3 * 4 * 1024 * 4096
assert {"1", "2"} >= set(result["ceilings"]) and result["ceilings"]["1"]["l2 read"]["median"] > 0
CHECK
"$TESSERA_BUILD/frontend/tessera" report "$work/peers.json" -o "$work/page.html"
for name in 'gemm 64x64x64' 'Llama block, decode 512'; do
  grep -qF "$name" "$work/page.html" || { echo "the page lacks '$name'"; exit 1; }
done
