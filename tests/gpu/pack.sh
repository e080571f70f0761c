#!/bin/sh
# Usage: tests/gpu/pack.sh BUILD OUT [--models PATTERN] [--operators PATTERN] TARGET...
# Writes what gpu_tests runs to OUT: kernels, the models of tests/gpu/models and the ONNX backend cases of
# tests/cuda_models/cases.list, those whose names match PATTERN (an extended regular expression), compiled by the build in
# BUILD for every TARGET (as `tessera compile --target` takes it) into one module each. A case whose model takes shapes
# from its inputs' values, or that a target lacks an operator for, is left out; how many of each there are is printed.
set -eu
cd "$(dirname "$0")/../.."
build=$1 out=$2
shift 2
models=. operators=.
while [ "${1#--}" != "$1" ]; do
  case $1 in
    --models) models=$2 ;;
    --operators) operators=$2 ;;
    *) echo "error: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
targets=$(printf -- '--target %s ' "$@")
tessera=$build/frontend/tessera
data=/usr/share/libonnx-testdata/data
mkdir -p "$out/kernels" "$out/models" "$out/operators"

case $1 in
  cuda-emulated*) "$build/tests/gpu/gpu_pack" "$out/kernels" --texts ;;
  *) "$build/tests/gpu/gpu_pack" "$out/kernels" ;;
esac

for graph in $(ls tests/gpu/models/*.tsr | grep -E "/[^/]*($models)[^/]*\$" || true); do
  name=$(basename "$graph" .tsr)
  precision=f32
  case $name in *tf32*) precision=tf32 ;; esac
  # shellcheck disable=SC2086 # a list of words
  "$tessera" compile "$graph" -o "$out/models/$name.tsm" $targets --precision $precision --quiet
  cp "$graph" "$out/models/"
done

packed=0 left=0
if [ -d $data ]; then
  for case in $(grep -v '^-' tests/cuda_models/cases.list | grep -E "$operators" || true); do
    to=$out/operators/$(echo "$case" | tr / .)
    mkdir -p "$to"
    # shellcheck disable=SC2086
    if "$tessera" compile "$data/$case/model.onnx" -o "$to/model.tsm" $targets --quiet >"$out/log" 2>&1; then
      cp -r "$data/$case"/test_data_set_* "$to/"
      packed=$((packed + 1))
    else
      rm -r "$to"
      left=$((left + 1))
    fi
  done
fi
rm -f "$out/log"
echo "$(ls "$out/models" | grep -c tsm) models, $packed operators; $left operators left out"
