#!/bin/sh
# The ONNX backend cases that Debian's libonnx-testdata ships: none may crash or hang, each that does not pass says why,
# at least so many pass, and none fails but those whose data contradict the standard: bfloat16 results that were
# truncated instead of rounded, and `like` inputs of another rank than their model declares.
set -u
least=1004
wrong_data='node/test_cast(like)?_(FLOAT_to_BFLOAT16|BFLOAT16_to_FLOAT)(_expanded)?'
data=/usr/share/libonnx-testdata/data
[ -d $data ] || {
  echo "SKIP: libonnx-testdata is not installed"
  exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

"$TESSERA" verify --quiet --threads 2 --timeout 120 $data/node $data/pytorch-converted $data/pytorch-operator \
  $data/simple >"$scratch/out" 2>"$scratch/err"
summary=$(tail -n 1 "$scratch/out")
passed=$(echo "$summary" | sed -n 's/^\([0-9]*\) passed, [0-9]* failed, [0-9]* skipped$/\1/p')
if [ "${passed:-0}" -lt $least ]; then
  echo "at least $least cases have to pass"
  failed=1
fi
if grep -E '^FAIL [^ ]+ (crashed|ended|took longer)' "$scratch/out"; then
  failed=1
fi
if grep -E '^(FAIL|SKIP) [^ ]+ *$' "$scratch/out"; then
  echo "these give no reason"
  failed=1
fi
if grep '^FAIL' "$scratch/out" | grep -vE "^FAIL [^ ]*/$wrong_data "; then
  failed=1
fi
cat "$scratch/err"
echo "$summary"
exit $failed
