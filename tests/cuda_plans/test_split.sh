#!/bin/sh
# Reductions that the default plans cut in two, at sizes where the last part is shorter: the emulated device's results are those of
# the CPU, to the bit (integers and extrema; where they are, no order of adding shows).
set -u
export TESSERA_CUDA_DRIVER="$TESSERA_BUILD/tests/cuda_emulator/libtessera_cuda_emulated.so"
[ -e "$TESSERA_CUDA_DRIVER" ] || {
  echo "SKIP: this build has no emulated device"
  exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/sums.tsr" <<'EOF'
dim N in 1..4096 hint 900
graph @g {
  %x = input {name = "x"} : i32[N, 333]
  %f = input {name = "f"} : f32[500, 70]
  %s = reduce %x {axes = [0, 1], combine = "add"} : i32[]
  %c = reduce %x {axes = [0], combine = "add"} : i32[333]
  %m = reduce %f {axes = [0, 1], combine = "max"} : f32[]
  %r = reduce %f {axes = [1], combine = "min"} : f32[500]
  output %s {name = "s"}
  output %c {name = "c"}
  output %m {name = "m"}
  output %r {name = "r"}
}
EOF
failed=0
"$TESSERA" compile "$scratch/sums.tsr" --target cuda:sm_80 --emit plan -o "$scratch/x.tsm" --quiet >"$scratch/plan" 2>"$scratch/err"
grep -qE 'split = ([2-9]|[0-9]{2,})' "$scratch/plan" || {
  echo "no reduction is cut:"
  cat "$scratch/plan" "$scratch/err"
  failed=1
}
for target in cpu cuda-emulated:sm_80 cuda-emulated:sm_90a; do
  "$TESSERA" compile "$scratch/sums.tsr" --target $target -o "$scratch/$target.tsm" --quiet || failed=1
  for n in 901 37 1; do
    "$TESSERA" run "$scratch/$target.tsm" --dim N=$n --quiet --output-dir "$scratch/$target.$n" || failed=1
    for name in s c m r; do
      cmp "$scratch/cpu.$n/$name.npy" "$scratch/$target.$n/$name.npy" || failed=1
    done
  done
done
exit $failed
