#!/bin/sh
# The program that launches our kernels by the manifest, with the driver alone: on the emulated device with the text that
# it takes, with PTX as far as the missing driver. Every result is an integer that f32 holds.
set -u
[ -z "$TESSERA_SANITIZE" ] || {
  echo "SKIP: the emulated driver needs the sanitizer's runtime in the program that loads it"
  exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror tests/example/launch_kernels.c -o "$scratch/launch_kernels" -ldl || exit 1
cd "$scratch" || exit 1
cat >model.tsr <<'MODEL'
dim M in 1..4096 hint 256
graph @dense {
  %x = input {name = "x"} : f32[M, 8]
  %w = const {value = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]} : f32[8, 4]
  %h = einsum %x, %w {spec = "mk,kn->mn"} : f32[M, 4] from "MatMul_0"
  %2 = const {value = 2} : f32[]
  %y = mul %h, %2 : f32[M, 4] from "Mul_1"
  %s = reduce %y {axes = [1], combine = "add"} : f32[M] from "Sum_2"
  output %y {name = "y"}
  output %s {name = "s"}
}
MODEL
cat >expected <<'TEXT'
y: 1120 1176 1232 1288 2912 3096 3280 3464
s: 4816 12752 20688
TEXT
failed=0
driver=$(find "$TESSERA_BUILD/tests" -name 'libtessera_cuda_emulated.so')
for arch in sm_80 sm_90a; do
  "$TESSERA" compile model.tsr --target cuda-emulated:$arch --emit cu --emit manifest --emit weights --emit-dir $arch || exit 1
  TESSERA_CUDA_DRIVER=$driver ./launch_kernels $arch/manifest.json $arch/cu.cu $arch/weights.bin M=3 >out || failed=1
  cmp -s out expected || {
    echo "$arch:"
    diff out expected
    failed=1
  }
done
TESSERA_CUDA_DRIVER=$scratch/absent.so ./launch_kernels sm_80/manifest.json sm_80/cu.cu sm_80/weights.bin M=3 2>out
[ $? -eq 3 ] && grep -q '^no NVIDIA driver' out || {
  echo "without a driver: $(cat out)"
  failed=1
}
exit $failed
