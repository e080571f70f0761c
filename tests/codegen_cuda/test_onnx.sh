#!/bin/sh
# Models of libonnx-testdata as CUDA C: every model of a spread sample that compiles for the CPU compiles for CUDA, and
# NVRTC takes the text. CASES: how many (12; 150 is a good hand run).
set -u
data=/usr/share/libonnx-testdata/data/node
[ -d "$data" ] || { echo "SKIP no $data (Debian's libonnx-testdata)"; exit 77; }
nvrtc=$TESSERA_BUILD/tests/test_nvrtc_codegen_cuda
[ -x "$nvrtc" ] || { echo "SKIP test_nvrtc_codegen_cuda is not built"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cases=${CASES:-12} bad=0 taken=0
total=$(ls "$data" | wc -l)
for name in $(ls "$data" | awk -v step=$((total / cases)) 'NR % step == 0'); do
  model=$data/$name/model.onnx
  timeout 60 "$TESSERA" compile "$model" --emit tile >"$work/tile" 2>/dev/null || continue
  if ! timeout 60 "$TESSERA" compile "$model" --target cuda:sm_80 --emit cu >"$work/$name.cu" 2>"$work/error"; then
    echo "FAIL $name: $(cat "$work/error")"
    bad=$((bad + 1))
    rm -f "$work/$name.cu"
    continue
  fi
  grep -q '^TSR_KERNEL(' "$work/$name.cu" || rm "$work/$name.cu"
  taken=$((taken + 1))
done
set -- "$work"/*.cu
[ -e "$1" ] || { echo "no text was made"; exit 1; }
timeout 500 "$nvrtc" sm_80 "$@"
status=$?
[ $status -eq 77 ] && exit 77
[ $status -eq 0 ] || bad=$((bad + 1))
echo "$taken models, $# texts, $bad failures"
[ $bad -eq 0 ]
