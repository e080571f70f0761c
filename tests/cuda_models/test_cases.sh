#!/bin/sh
# ONNX backend cases on the emulated device, as whole models through compiler, module, runtime and driver: those of
# cases.list in turn for sm_80 and sm_90a; with TESSERA_LONG=1 each case that passes on the CPU for both. A case that is
# skipped there has failed here. With sanitizers every eighth case: the kernels are not theirs, and what remains, the
# runtime, does the same in every case.
set -u
here=$(dirname "$0")
data=/usr/share/libonnx-testdata/data
[ -d $data ] || {
  echo "SKIP: libonnx-testdata is not installed"
  exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# run ARCH SEED <cases: their directories
run() {
  xargs env TESSERA_EMULATED_SEED="$2" "$TESSERA" verify --quiet --threads 2 --timeout 600 \
    --target "cuda-emulated:$1" >"$scratch/out" 2>"$scratch/err" || failed=1
  grep -v '^PASS' "$scratch/out" | sed "s/^/$1: /"
  cat "$scratch/err"
  grep -q '^PASS' "$scratch/out" || failed=1
  if grep -qE '^(FAIL|SKIP)' "$scratch/out"; then
    failed=1
  fi
}

if [ "${TESSERA_LONG:-0}" = 1 ]; then
  "$TESSERA" verify --quiet --timeout 120 $data/node $data/pytorch-converted $data/pytorch-operator $data/simple \
    >"$scratch/cpu" 2>/dev/null
  sed -n 's/^PASS //p' "$scratch/cpu" >"$scratch/all"
  run sm_80 7 <"$scratch/all"
  run sm_90a 1 <"$scratch/all"
else
  step=1
  [ -z "${TESSERA_SANITIZE:-}" ] || step=8
  grep -v '^-' "$here/cases.list" | sed "s|^|$data/|" | awk "NR % $step == 0" >"$scratch/all"
  awk 'NR % 2 == 0' "$scratch/all" >"$scratch/even"
  awk 'NR % 2 == 1' "$scratch/all" >"$scratch/odd"
  run sm_80 7 <"$scratch/even"
  run sm_90a 1 <"$scratch/odd"
fi
exit $failed
