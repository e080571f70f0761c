#!/bin/sh
# compile, run, inspect and bench over one small model: files in, files out, and what must be refused.
. "$(dirname "$0")/expect.sh"

cat >model.tsr <<'MODEL'
dim N in 1..100

graph @twice {
  %x = input {name = "x"} : f32[N, 3]
  %y = add %x, %x : f32[N, 3] from "Add_0"
  output %y {name = "../y"}
}
MODEL
# Two rows: 1 2 3 and 4 5 6 as an .npy file, and the doubled rows.
npy() {
  printf "\\223NUMPY\\001\\000\\104\\000{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }%*s\\n" "$1" 8 ""
  printf "%b" "$2"
}
npy '<f4' '\0000\0000\0200\0077\0000\0000\0000\0100\0000\0000\0100\0100\0000\0000\0200\0100\0000\0000\0240\0100\0000\0000\0300\0100' >x.npy
npy '<i4' '\0001\0000\0000\0000\0001\0000\0000\0000\0001\0000\0000\0000\0001\0000\0000\0000\0001\0000\0000\0000\0001\0000\0000\0000' >integers.npy

"$TESSERA" compile model.tsr -o model.tsm >out 2>&1 || fail "compile"
cp model.tsr same.tsr
expect 2 '^error: -o names the model itself' "$TESSERA" compile same.tsr -o ./same.tsr
cmp -s model.tsr same.tsr || fail "compile replaced its model"
expect 0 '^input +x: f32\[N, 3\]' "$TESSERA" inspect model.tsm
expect 0 'N in 1\.\.100' "$TESSERA" inspect model.tsm
expect 0 '^\.\./y: f32\[2, 3\] min 2 max 12 mean 7$' "$TESSERA" run model.tsm --input x=x.npy
expect 0 '^\.\./y: f32\[2, 3\] min 2 max 12 mean 7$' "$TESSERA" run model.tsr --input x=x.npy
expect 0 '^\.\./y: f32\[5, 3\]' "$TESSERA" run model.tsm --dim N=5
"$TESSERA" run model.tsm --dim N=50 --seed 1 --quiet >first 2>&1
"$TESSERA" run model.tsm --dim N=50 --seed 1 --quiet >second 2>&1
"$TESSERA" run model.tsm --dim N=50 --seed 2 --quiet >third 2>&1
cmp -s first second || fail "the same seed gives other inputs"
cmp -s first third && fail "another seed gives the same inputs"

"$TESSERA" run model.tsm --input x=x.npy --output-dir results >out 2>&1 || fail "run --output-dir"
[ "$(ls results)" = "_._y.npy" ] || fail "unsafe or wrong file name: $(ls results)"
expect 0 'min 4 max 24 mean 14$' "$TESSERA" run model.tsm --input x=results/_._y.npy

cat >outputs.tsr <<'MODEL'
graph @several {
  %x = input {name = "x"} : f32[2]
  %a = neg %x : f32[2]
  %b = abs %x : f32[2]
  %c = add %x, %x : f32[2]
  output %a {name = "a"}
  output %b {name = "b/c"}
  output %c {name = "b c"}
}
MODEL
"$TESSERA" run outputs.tsr --output-dir several >out 2>&1 || fail "several outputs"
[ "$(cd several && echo *)" = "a.npy b_c.2.npy b_c.npy" ] || fail "wrong file names: $(ls several)"

expect 1 "^error: model.tsm: .*no input 'z'" "$TESSERA" run model.tsm --input z=x.npy
expect 1 '^error: absent.npy: ' "$TESSERA" run model.tsm --input x=absent.npy
expect 1 '^error: integers.npy: .*f32' "$TESSERA" run model.tsm --input x=integers.npy
expect 1 '^error: model.tsr: .*' "$TESSERA" run model.tsr --dim N=200
head -c 40 x.npy >short.npy
expect 1 '^error: short.npy: ' "$TESSERA" run model.tsm --input x=short.npy
for size in 0 1 16 100 400; do
  head -c $size model.tsm >short.tsm
  expect 1 '^error: short.tsm: ' "$TESSERA" run short.tsm
done

expect 0 'median' "$TESSERA" bench model.tsm --dim N=2 --runs 5
"$TESSERA" bench model.tsm --dim N=2 --runs 5 --quiet --json report.json >out 2>&1 || fail "bench --json"
for field in model target threads precision kernels launches arena_bytes weight_bytes load_ns runs latency_ns min median p95 commit; do
  grep -q "\"$field\":" report.json || fail "no $field in $(cat report.json)"
done
for stage in graph block groups tile ll asm manifest; do
  "$TESSERA" compile model.tsr --emit $stage >out 2>&1 || fail "--emit $stage"
  [ -s out ] || fail "--emit $stage shows nothing"
done
exit $failed
