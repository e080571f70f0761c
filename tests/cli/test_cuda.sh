#!/bin/sh
# Compiling for CUDA and what each command says where NVRTC, driver or device are missing. Without NVRTC on this machine
# only the second half runs.
. "$(dirname "$0")/expect.sh"
export XDG_CACHE_HOME="$scratch/cache"
unset TESSERA_CUDA_DRIVER

# The same sum twice, under other names and with other weights, in two kernels of one text.
cat >model.tsr <<'MODEL'
dim N in 1..100
graph @twice {
  %x = input {name = "x"} : f32[N, 3]
  %w = const {random = 1} : f32[3]
  %y = add %x, %w : f32[N, 3] from "Add_0"
  %s = reduce %y {axes = [1], combine = "add"} : f32[N] from "Sum_1"
  output %y {name = "y"}
  output %s {name = "s"}
}
MODEL
sed -e 's/N/rows/g' -e 's/%w/%weight/g' -e 's/random = 1/random = 2/' -e 's/Sum_1/other/' model.tsr >renamed.tsr

# Without NVRTC, whether or not the machine has one.
without() { TESSERA_NVRTC="$scratch/absent" "$@"; }
expect 1 "NVRTC, which compiles kernels for CUDA, is missing: .*Install.*'--emit cu'.* still work" \
  without "$TESSERA" compile model.tsr --target cuda:sm_80 -o absent.tsm
[ ! -e absent.tsm ] || fail "a module was written without NVRTC"
expect 1 'NVRTC.* is missing' without "$TESSERA" run model.tsr --target cuda:sm_80
expect 1 'NVRTC.* is missing' without "$TESSERA" bench model.tsr --target cuda:sm_90a
expect 0 '^TSR_KERNEL\(' without "$TESSERA" compile model.tsr --target cuda:sm_90a --emit cu
expect 0 '"function": "tsr_' without "$TESSERA" compile model.tsr --target cuda:sm_80 --emit manifest
expect 0 '^nvrtc +missing: ' without "$TESSERA" doctor
expect 0 '^y: f32' without "$TESSERA" run model.tsr --dim N=2
expect 2 "^error: unknown target 'cuda:sm_70'" "$TESSERA" compile model.tsr --target cuda:sm_70 -o x.tsm
expect 2 "^error: unknown target 'cuda-emulated:sm_70'" "$TESSERA" compile model.tsr --target cuda-emulated:sm_70 -o x.tsm
for binary in cubin weights; do
  expect 2 '^error: --emit cubin and weights are no texts: --emit-dir' \
    "$TESSERA" compile model.tsr --target cuda:sm_80 --emit $binary
done
expect 2 "^error: unknown precision 'f8'; known are f32, f32-strict, tf32" \
  "$TESSERA" compile model.tsr --precision f8 -o x.tsm

# Figures of a device come with its name.
expect 0 '"device": "Emulated device of ' "$TESSERA" bench model.tsr --target cuda-emulated --dim N=2 --runs 1 --json -

# Without a driver: the module's targets and what each needs.
absent() { TESSERA_CUDA_DRIVER="$scratch/absent.so" "$@"; }
expect 0 '^driver +missing: ' absent "$TESSERA" doctor
expect 0 '^gpu +none' absent "$TESSERA" doctor

"$TESSERA" compile model.tsr --target cuda:sm_80 -o probe.tsm >out 2>&1 || {
  grep -q 'NVRTC.* is missing' out || fail "compile"
  [ $failed -eq 0 ] || exit 1
  echo "SKIP the rest: no NVRTC"
  exit 77
}
expect 0 '^nvrtc +[0-9]+\.[0-9]+, /' "$TESSERA" doctor
expect 0 '^kernels +2 compiled, .* MiB, in .*/cache/tessera/cuda$' "$TESSERA" doctor

# Kernels that differ in names and weights alone are compiled once.
"$TESSERA" compile renamed.tsr --target cuda:sm_80 -o renamed.tsm >out 2>&1 || fail "compile renamed"
expect 0 '^kernels +2 compiled, ' "$TESSERA" doctor
"$TESSERA" compile model.tsr --target cuda:sm_80 -o again.tsm >out 2>&1 || fail "compile again"
cmp -s probe.tsm again.tsm || fail "from the cache comes another module"
XDG_CACHE_HOME=/proc/absent "$TESSERA" compile model.tsr --target cuda:sm_80 -o uncached.tsm >out 2>&1 || fail "no cache"
grep -q '^warning: compiled kernels are not kept: ' out || fail "a folder that cannot be made is not told"
cmp -s probe.tsm uncached.tsm || fail "without the cache comes another module"

# sm_90a alone is followed by what later devices take; not where the user lists a target that has PTX.
"$TESSERA" compile model.tsr --target cpu --target cuda:sm_90a -o both.tsm >out 2>&1 || fail "compile both"
for target in 'cpu:[^ ]*: .*, runs here' 'cuda:sm_90a: .*, needs a CUDA device' 'cuda:sm_80: .*, needs a CUDA device'; do
  expect 0 "^target +$target$" absent "$TESSERA" inspect both.tsm
done
expect 0 '^kernel +k0, [0-9]+ threads, .*[0-9]+ registers.*: Add_0' absent "$TESSERA" inspect both.tsm --target cuda:sm_90a
expect 0 '^y: f32' absent "$TESSERA" run both.tsm --dim N=2
expect 0 'median' absent "$TESSERA" bench both.tsm --dim N=2 --runs 3
"$TESSERA" compile model.tsr --target cuda:sm_90a --target cuda:sm_89 -o listed.tsm >out 2>&1 || fail "compile listed"
[ "$(absent "$TESSERA" inspect listed.tsm | grep -c '^target')" = 2 ] || fail "a target that nobody asked for"

"$TESSERA" compile model.tsr --target cuda:sm_90a -o cuda.tsm >out 2>&1 || fail "compile cuda"
for command in run bench; do
  expect 1 "^error: cuda.tsm: .*'cuda:sm_90a' needs a CUDA device: .*'cuda:sm_80' needs" absent "$TESSERA" $command cuda.tsm
  expect 1 'no program for target .cpu' absent "$TESSERA" $command cuda.tsm --target cpu
done
expect 0 '^kernel +k0, ' absent "$TESSERA" inspect cuda.tsm
expect 1 "needs a CUDA device" absent "$TESSERA" verify . --target cuda:sm_80

# All kernels in one PTX and one CUBIN, and what ptxas made of them.
"$TESSERA" compile model.tsr --target cuda:sm_90a --emit ptx --emit cubin --emit manifest --emit-dir emit >out 2>&1 ||
  fail "emit"
for function in $(sed -n 's/.*"function": "\([a-z0-9_]*\)".*/\1/p' emit/manifest.json); do
  grep -q "\.entry $function(" emit/ptx.ptx || fail "no $function in the PTX"
  grep -q "$function" emit/cubin.cubin || fail "no $function in the CUBIN"
done
[ "$(grep -c '\.entry' emit/ptx.ptx)" = 2 ] || fail "not two entries in the PTX"
[ "$(head -c 4 emit/cubin.cubin | tail -c 3)" = ELF ] || fail "the CUBIN is no ELF file"
for field in threads shared_bytes cluster cooperative parameters maps registers spill_store_bytes warnings; do
  [ "$(grep -o "\"$field\":" emit/manifest.json | wc -l)" = 2 ] || fail "no $field in the manifest"
done
expect 0 '\.entry tsr_' "$TESSERA" compile model.tsr --target cuda:sm_80 --emit ptx
exit $failed
