# Sourced by the tests of ONNX's suites. suite SUITE ROOT FOLDER...: verifies all cases below ROOT/FOLDER. None may crash or hang, each
# that does not pass says why, and these are exactly those of the file `exceptions`.
suite() {
  suite_name=$1
  suite_root=$2
  shift 2
  suite_scratch=$(mktemp -d)
  suite_failed=0
  (cd "$suite_root" && "$TESSERA" verify --quiet --threads 2 --timeout 120 "$@") >"$suite_scratch/out" 2>"$suite_scratch/err"
  summary=$(tail -n 1 "$suite_scratch/out")
  if ! echo "$summary" | grep -qE '^[1-9][0-9]* passed, [0-9]+ failed, [0-9]+ skipped$'; then
    echo "no summary"
    cat "$suite_scratch/err"
    suite_failed=1
  fi
  if grep -E '^FAIL [^ ]+ (crashed|ended|took longer)' "$suite_scratch/out"; then
    suite_failed=1
  fi
  if grep -E '^(FAIL|SKIP) [^ ]+ *$' "$suite_scratch/out"; then
    echo "these give no reason"
    suite_failed=1
  fi
  sed -n 's/^\(FAIL\|SKIP\) \([^ ]*\) .*/\2/p' "$suite_scratch/out" | LC_ALL=C sort >"$suite_scratch/found"
  sed -n "s/^$suite_name \([^ ]*\) .*/\1/p" tests/onnx/exceptions | LC_ALL=C sort >"$suite_scratch/listed"
  if ! diff "$suite_scratch/listed" "$suite_scratch/found" >"$suite_scratch/diff"; then
    sed -n 's/^< /it passes, or is not there, but is in tests\/onnx\/exceptions: /p' "$suite_scratch/diff"
    for suite_case in $(sed -n 's/^> //p' "$suite_scratch/diff"); do
      grep -E "^(FAIL|SKIP) $suite_case " "$suite_scratch/out"
    done
    suite_failed=1
  fi
  echo "$summary"
  rm -rf "$suite_scratch"
  return $suite_failed
}
