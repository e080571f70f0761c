#!/bin/sh
# Usage: benchmarks/cuda_compile.sh [ROUNDS]
# How long `tessera compile` takes for BERT-base (12 layers, sequences of 128, a symbolic batch; random weights, in f32 and
# in f16) and a module for sm_90a, with an empty cache of compiled kernels and with a full one; no GPU is needed. Prints
# the times, writes them to benchmarks/results/cuda_compile.json, and ends with status 1 when a limit is passed: 30 s with
# an empty cache on two processors, 2 s with a full one (the best of ROUNDS, 3, each), or when a default kernel spills
# registers or is serialised. TESSERA names another command line than build/release's.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-3}
cold_limit_ms=30000
warm_limit_ms=2000
work=build/cuda_compile
mkdir -p $work benchmarks/results
if [ -z "${TESSERA:-}" ]; then
  { cmake --preset release && cmake --build build/release -t tessera; } >$work/build.log 2>&1 || {
    tail -n 40 $work/build.log
    exit 1
  }
  TESSERA=build/release/frontend/tessera
fi
cc -std=c11 -O2 benchmarks/bert_onnx.c -o $work/bert_onnx
export XDG_CACHE_HOME="$PWD/$work/cache"

# milliseconds COMMAND...
milliseconds() {
  start=$(date +%s%N)
  "$@" 2>>$work/warnings || return 1
  echo $((($(date +%s%N) - start) / 1000000))
}

# best COUNT COMMAND...: of as many runs; the cache is emptied before each when EMPTY is yes.
best() {
  count=$1
  least=
  shift
  while [ "$count" -gt 0 ]; do
    [ "$EMPTY" = no ] || rm -rf "$XDG_CACHE_HOME"
    ms=$(milliseconds "$@")
    [ -n "$least" ] && [ "$least" -le "$ms" ] || least=$ms
    count=$((count - 1))
  done
  echo "$least"
}

load=$(cut -d ' ' -f 1 /proc/loadavg)
status=0
rows=
: >$work/warnings
for type in f32 f16; do
  model=$work/bert-base-$type.onnx
  [ -s $model ] || $work/bert_onnx $model 12 $type
  cold=$(EMPTY=yes best 1 "$TESSERA" compile $model --target cuda:sm_90a -o $work/bert.tsm --quiet)
  warm=$(EMPTY=no best "$rounds" "$TESSERA" compile $model --target cuda:sm_90a -o $work/bert.tsm --quiet)
  kernels=$("$TESSERA" inspect $work/bert.tsm --target cuda:sm_90a | sed -n 's/^program [^ ]* \([0-9]*\) kernels.*/\1/p')
  echo "bert-base $type for cuda:sm_90a: $kernels kernels, $cold ms with an empty cache, $warm ms with a full one"
  [ "$cold" -lt $cold_limit_ms ] || { echo "over the limit of $cold_limit_ms ms"; status=1; }
  [ "$warm" -lt $warm_limit_ms ] || { echo "over the limit of $warm_limit_ms ms"; status=1; }
  rows="$rows${rows:+,
}  {\"model\": \"bert-base $type\", \"target\": \"cuda:sm_90a\", \"kernels\": $kernels, \"empty_cache_ms\": $cold, \"full_cache_ms\": $warm}"
done
if [ -s $work/warnings ]; then
  sort -u $work/warnings
  status=1
fi

cat >benchmarks/results/cuda_compile.json <<JSON
{
 "benchmark": "cuda_compile",
 "date": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
 "commit": "$(git rev-parse --short=12 HEAD)",
 "cpu": "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)",
 "processors": $(nproc),
 "load_average_before": $load,
 "niceness": $(nice),
 "nvrtc": "$("$TESSERA" doctor | sed -n 's/^nvrtc *\([0-9.]*\),.*/\1/p')",
 "limits_ms": {"empty_cache": $cold_limit_ms, "full_cache": $warm_limit_ms},
 "rows": [
$rows
 ]
}
JSON
exit $status
