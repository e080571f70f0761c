#!/bin/sh
# Usage: gpu_sanitize [FILTER...]
# gpu_tests under compute-sanitizer: memcheck, racecheck (shared memory) and synccheck, one after the other. Status 77 where
# the tool is not installed (it comes with the CUDA toolkit). A FILTER chooses tests, as in gpu_tests; without one the
# kernels and every model run, and operators under memcheck alone, for the other two take long.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tool=$(command -v compute-sanitizer || true)
for place in "${CUDA_HOME:-/nowhere}" /usr/local/cuda; do
  [ -n "$tool" ] || [ ! -x "$place/bin/compute-sanitizer" ] || tool=$place/bin/compute-sanitizer
done
if [ -z "$tool" ]; then
  echo "SKIP: compute-sanitizer is not installed; it comes with the CUDA toolkit"
  exit 77
fi
status=0
for check in memcheck racecheck synccheck; do
  filters="$*"
  [ -n "$filters" ] || [ $check = memcheck ] || filters="primitive. atom. kernel. model."
  echo "== $check"
  # shellcheck disable=SC2086 # a list of words
  "$tool" --tool $check --target-processes all --error-exitcode 9 "$here/gpu_tests" --timeout 600 $filters || status=1
done
exit $status
