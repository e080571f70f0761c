#!/bin/sh
# gpu_tests itself, on the emulated device: all kernels on a device of capability 9.0 and those of 8.0 on one of that, a few
# models and operators on each. A kernel with a planted mistake fails and no other.
set -eu
programs=$TESSERA_BUILD/tests/gpu
driver=$TESSERA_BUILD/tests/cuda_emulator/libtessera_cuda_emulated.so
[ -e "$driver" ] || { echo "SKIP: the emulated driver is not built"; exit 77; }
export TESSERA_CUDA_DRIVER="$driver"
work=$(mktemp -d "${TESSERA_TEST_TMP:-/tmp}/gpu-emulated.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TESSERA_EMULATED_CACHE="$work/cache"
mkdir "$work/cache"
tests/gpu/pack.sh "$TESSERA_BUILD" "$work" --models 'softmax_f16|_i32|gemm_odd_f16|gemm_rows5' \
  --operators '_relu|lstm_d|nonzero|matmul_|argm' cuda-emulated:sm_90a cuda-emulated:sm_80

# run CAPABILITY [FILTER...]: gpu_tests, with what failed on standard output.
run() {
  TESSERA_EMULATED_SM=$1
  export TESSERA_EMULATED_SM
  shift
  "$programs/gpu_tests" --data "$work" "$@" >"$work/log" 2>&1
}
failed() {
  grep -v '^PASS\|^SKIP' "$work/log"
  exit 1
}

run 90 || failed
tail -n 1 "$work/log"
run 80 || failed
tail -n 1 "$work/log"
for test in atom.wgmma.f16 primitive.cluster model.gemm_odd_f16 operator.node.test_nonzero_example; do
  "$programs/gpu_tests" --data "$work" --list "$test" | grep -q . || { echo "no test $test"; exit 1; }
done
grep -q '^SKIP primitive.cluster' "$work/log" || failed
grep -q '^PASS primitive.atomics' "$work/log" || failed

# A wrong number is a failure, and a device's error ends one test and not the next.
sed 's/to\[1\] = tsr_warp_shuffle_down_i32(in\[t\], 3)/to[1] = tsr_warp_shuffle_down_i32(in[t], 4)/
     s/data\[64 + t\] = data\[63 - t\] + 1/data[64 + t] = data[6300 - t] + 1/' \
  "$work/kernels/sm80.cu" >"$work/planted"
cmp -s "$work/planted" "$work/kernels/sm80.cu" && { echo "nothing was planted"; exit 1; }
mv "$work/planted" "$work/kernels/sm80.cu"
run 80 primitive.shuffles primitive.flags primitive.vectors && { echo "planted mistakes pass"; failed; }
grep -q '^FAIL primitive.shuffles: .*number 1 of 5' "$work/log" || failed
grep -q '^FAIL primitive.flags' "$work/log" || failed
grep -q '^PASS primitive.vectors' "$work/log" || failed
grep -q '^1 passed, 2 failed, 0 skipped' "$work/log" || failed
