#!/bin/sh
# benchmarks/gpu_bench.py as far as it goes without a GPU: its files are Python, it lists its cases, and on the emulated
# device it compiles, runs and times a few small ones and writes figures.
set -eu
command -v python3 >/dev/null || { echo "SKIP: there is no python3"; exit 77; }
driver=$TESSERA_BUILD/tests/cuda_emulator/libtessera_cuda_emulated.so
[ -e "$driver" ] || { echo "SKIP: the emulated driver is not built"; exit 77; }
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d "${TESSERA_TEST_TMP:-/tmp}/gpu-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
for file in benchmarks/gpu_*.py; do
  python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$file"
done
python3 benchmarks/gpu_bench.py --dry-run >"$work/cases"
[ "$(grep -c GFLOP "$work/cases")" -ge 30 ] || { cat "$work/cases"; exit 1; }

mkdir -p "$work/bin/tests/kernels" "$work/cache"
ln -s "$TESSERA_BUILD/frontend/tessera" "$TESSERA_BUILD/benchmarks/gpu_time" "$work/bin/"
"$TESSERA_BUILD/tests/gpu/gpu_pack" "$work/bin/tests/kernels" --texts
export TESSERA_CUDA_DRIVER="$driver" TESSERA_EMULATED_SM=90 TESSERA_EMULATED_CACHE="$work/cache"
python3 benchmarks/gpu_bench.py --emulated --bin "$work/bin" --tests "$work/bin/tests" --rounds 1 --json "$work/json" \
  --cases 'gemm|softmax|layernorm|llama' >"$work/out" 2>"$work/err" || { cat "$work/out" "$work/err"; exit 1; }
python3 - "$work/json" <<'CHECK'
import json, sys
result = json.load(open(sys.argv[1]))
names = {row["name"] for row in result["rows"]}
assert len(names) == 4 and not result["failures"], result["failures"]
assert len(result["rows"]) == 8 and all(row["tessera"]["median_ns"] > 0 for row in result["rows"])
assert {"copy", "mma f16", "wgmma bf16", "fma f32"} <= set(result["ceilings"]), result["ceilings"]
assert all(row["floor_by"] in ("memory", "arithmetic") and row["launches"] >= 1 for row in result["rows"])
CHECK

# What the program that runs modules says of a command that it cannot obey.
printf 'load x /nowhere.tsm\ntime x 1 1 0\nnonsense\nquit\n' | "$TESSERA_BUILD/benchmarks/gpu_time" >"$work/answers"
[ "$(grep -c '"error"' "$work/answers")" -eq 3 ] || { cat "$work/answers"; exit 1; }
