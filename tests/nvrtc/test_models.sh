#!/bin/sh
# Every model of libonnx-testdata that compiles for the CPU compiles for sm_80 and for sm_90a, and ptxas takes each kernel
# (its CUBIN is part of the module). A sample of CASES (40) models drawn by SEED (1); with TESSERA_LONG=1 all of them.
set -u
data=/usr/share/libonnx-testdata/data
[ -d "$data/node" ] || { echo "SKIP no $data (Debian's libonnx-testdata)"; exit 77; }
"$TESSERA" doctor | grep -q '^nvrtc *[0-9]' || { echo "SKIP no NVRTC"; exit 77; }
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
# Compiled anew: what is tested is not what an earlier run left behind, unless a folder is given.
export XDG_CACHE_HOME="${KERNEL_CACHE:-$scratch/cache}"
seed=${SEED:-1} count=${CASES:-40}
[ "${TESSERA_LONG:-0}" = 0 ] || count=1000000
find "$data" -name model.onnx | sort | sed 's|/model.onnx$||' |
  awk -v seed="$seed" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' | sort -n | cut -f 2 | head -n "$count" >"$scratch/drawn"

# verdicts TARGETS: one line for each directory of the list on standard input.
verdicts() {
  tr '\n' '\0' | xargs -0 -r "$TESSERA" verify --compile-only --timeout 300 --quiet "$@" 2>&1
}

verdicts --target cpu <"$scratch/drawn" | sed -n 's/^PASS //p' >"$scratch/known"
[ -s "$scratch/known" ] || { echo "no model compiles for the CPU"; exit 1; }
verdicts --target cuda:sm_80 --target cuda:sm_90a <"$scratch/known" >"$scratch/out"
grep -vE '^PASS |^[0-9]+ passed' "$scratch/out" | sort | uniq -c | sort -rn | head -n 60
passed=$(grep -c '^PASS ' "$scratch/out")
echo "seed $seed: $passed of $(wc -l <"$scratch/known") models that the CPU takes compile for sm_80 and sm_90a"
[ "$passed" -eq "$(wc -l <"$scratch/known")" ] && ! grep -q '^warning: ' "$scratch/out"
