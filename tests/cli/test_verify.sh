#!/bin/sh
# The verdicts of 'tessera verify' and its exit status, over cases put together from shipped ones.
set -u
data=/usr/share/libonnx-testdata/data/node
[ -d $data/test_add ] || {
  echo "SKIP: libonnx-testdata is not installed"
  exit 77
}
failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
mkdir cases cases/empty
cp -r $data/test_add cases/right
cp -r $data/test_add cases/wrong
cp $data/test_sub/test_data_set_0/output_0.pb cases/wrong/test_data_set_0/
cp -r $data/test_add cases/shape
cp $data/test_add_bcast/test_data_set_0/input_1.pb cases/shape/test_data_set_0/
cp -r $data/test_add cases/broken
head -c 60 $data/test_add/model.onnx >cases/broken/model.onnx
cp -r $data/test_add cases/unknown
LC_ALL=C sed 's/Add/Adq/' $data/test_add/model.onnx >cases/unknown/model.onnx
# Strings, lists and optionals, as they are and with data that does not fit.
words=test_strnormalizer_export_monday_casesensintive_lower
cp -r $data/$words cases/strings
cp -r $data/$words cases/otherstrings
cp $data/test_strnormalizer_export_monday_casesensintive_upper/test_data_set_0/output_0.pb cases/otherstrings/test_data_set_0/
cp -r $data/test_identity_sequence cases/list
cp -r $data/test_identity_sequence cases/emptylist
printf '' >cases/emptylist/test_data_set_0/output_0.pb
cp -r $data/test_identity_sequence cases/nolist
cp $data/test_add/test_data_set_0/input_0.pb cases/nolist/test_data_set_0/
cp -r $data/test_identity_sequence cases/longlist
printf '\032\377\377\377\177' >cases/longlist/test_data_set_0/input_0.pb
cp -r $data/test_identity_opt cases/optional
cp -r $data/test_identity_opt cases/absent
printf '' >cases/absent/test_data_set_0/output_0.pb
cp -r $data/test_add cases/twosets
cp -r cases/wrong/test_data_set_0 cases/twosets/test_data_set_1

# verdict PATTERN: a line of the output matches.
verdict() {
  grep -qE "$1" out || {
    echo "no line matches $1"
    cat out
    failed=1
  }
}

# status WANTED GOT
status() {
  [ "$1" -eq "$2" ] || {
    echo "exit status $2, not $1"
    cat out
    failed=1
  }
}

"$TESSERA" verify --quiet cases >out 2>&1
status 1 $?
verdict '^PASS cases/right$'
verdict '^FAIL cases/wrong output 0: element [0-9]+ is .* differ'
verdict '^FAIL cases/shape .'
verdict '^FAIL cases/broken .'
verdict '^SKIP cases/unknown .*Adq'
verdict '^PASS cases/strings$'
verdict '^FAIL cases/otherstrings output 0: element 0 is "tuesday", not "TUESDAY"; 3 of 3 differ$'
verdict '^PASS cases/list$'
verdict '^FAIL cases/emptylist output 0: has [0-9]+ tensors, not 0$'
verdict '^FAIL cases/nolist malformed protobuf .*in SequenceProto'
verdict '^FAIL cases/longlist malformed protobuf .*a length reaches beyond the end$'
verdict '^PASS cases/optional$'
verdict '^FAIL cases/absent output 0: is there, not absent$'
verdict '^FAIL cases/twosets output 0: '
verdict '^4 passed, 9 failed, 1 skipped$'

"$TESSERA" verify --quiet cases/right/ $data/test_relu >out 2>&1
status 0 $?
verdict '^2 passed, 0 failed, 0 skipped$'

"$TESSERA" verify --quiet cases/empty >out 2>&1
status 0 $?
verdict '^SKIP cases/empty there is no model.onnx'

"$TESSERA" verify --quiet --timeout 0 cases/right >out 2>&1
status 1 $?
verdict '^FAIL cases/right took longer than 0 s'
exit $failed
