#!/bin/sh
# The cases of control flow on the emulated device too (on the CPU test_contrib.sh runs them): every sixth, with
# TESSERA_LONG=1 all of them.
set -u
cases=tests/onnx/cases
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

step=6
[ "${TESSERA_LONG:-0}" = 1 ] && step=1
[ -z "${TESSERA_SANITIZE:-}" ] || step=24
for arch in sm_80 sm_90a; do
  case $arch in sm_80) first=0 ;; *) first=$((step / 2)) ;; esac
  ls -d $cases/control_* | awk "NR % $step == $first" >"$scratch/list"
  xargs env TESSERA_EMULATED_SEED=5 "$TESSERA" verify --quiet --threads 2 --timeout 600 --target cuda-emulated:$arch \
    <"$scratch/list" >"$scratch/out" 2>"$scratch/err" || failed=1
  grep -v '^PASS' "$scratch/out" | sed "s/^/$arch: /"
  count=$(wc -l <"$scratch/list")
  if [ "$count" -eq 0 ] || [ "$(tail -n 1 "$scratch/out")" != "$count passed, 0 failed, 0 skipped" ]; then
    echo "$arch: all of $count cases have to pass"
    cat "$scratch/err"
    failed=1
  fi
done
exit $failed
