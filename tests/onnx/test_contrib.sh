#!/bin/sh
# Operators of com.microsoft and control flow against results that ONNX Runtime gave (make_cases.py): all pass. Those of
# refused/ are not imported, for the reasons in their file `reason`, a line each. TESSERA_SAMPLE=N takes every Nth case.
set -u
folder=tests/onnx
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

cases=$(find $folder/cases -mindepth 1 -maxdepth 1 -type d | LC_ALL=C sort | awk "NR % ${TESSERA_SAMPLE:-1} == 0")
# shellcheck disable=SC2086 # a list of folders without spaces
"$TESSERA" verify --quiet --threads 1 --timeout 300 $cases >"$scratch/out" 2>"$scratch/err" || failed=1
# shellcheck disable=SC2086
count=$(find $cases -name model.onnx | wc -l)
grep -v '^PASS' "$scratch/out"
if [ "$(tail -n 1 "$scratch/out")" != "$count passed, 0 failed, 0 skipped" ] || [ "$count" -eq 0 ]; then
  echo "all of $count cases have to pass"
  cat "$scratch/err"
  failed=1
fi

for reason in $folder/refused/*/reason; do
  case=$(dirname "$reason")
  "$TESSERA" compile "$case/model.onnx" -o "$scratch/out.tsm" >"$scratch/out" 2>&1
  status=$?
  while IFS= read -r line; do
    if [ $status -ne 1 ] || ! grep -qF "$line" "$scratch/out"; then
      echo "$case: exit status $status, without: $line"
      cat "$scratch/out"
      failed=1
    fi
  done <"$reason"
done
exit $failed
