#!/bin/sh
# Whole modules for AArch64: this machine refuses them when it is another one; the runtime, compiled for AArch64, runs
# them under qemu with the results of the modules for this machine.
set -u
failed=0
root=$(pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "$1"
  cat "$scratch/out" 2>/dev/null
  failed=1
}

build() {
  compiler=$1
  shift
  # shellcheck disable=SC2046
  "$compiler" -std=c11 -D_GNU_SOURCE -O1 -I"$root" -I"$root/include" "$@" "$root/tests/codegen_cpu/aarch64/run_module.c" \
    $(find "$root/runtime" -name '*.c') -lm -ldl -pthread
}

# The larger of absolute and relative difference, line by line, below a bound.
same_numbers() {
  paste "$1" "$2" | awk '
    { d = $1 - $2; if (d < 0) d = -d; m = $1 < 0 ? -$1 : $1; if (!(d <= 1e-4 * (m + 1))) bad = 1 }
    NF != 2 { bad = 1 }
    END { exit bad || NR == 0 }'
}

cat >"$scratch/math.tsr" <<'MODEL'
dim N in 1..100

graph @math {
  %x = input {name = "x"} : f32[N, 70]
  %t = tanh %x : f32[N, 70]
  %e = exp %t : f32[N, 70]
  %r = reduce %e {axes = [1], combine = "add"} : f32[N]
  output %e {name = "e"}
  output %r {name = "r"}
}
MODEL
models="$scratch/math.tsr $root/tests/golden/examples/attention/graph.tsr $root/tests/golden/examples/fused-mlp/graph.tsr"
for model in $models; do
  name=$(basename "$(dirname "$model")")
  "$TESSERA" compile "$model" --target cpu:aarch64 --quiet -o "$scratch/$name.arm.tsm" >"$scratch/out" 2>&1 ||
    fail "$model: does not compile for AArch64"
  "$TESSERA" compile "$model" --quiet -o "$scratch/$name.host.tsm" >"$scratch/out" 2>&1 ||
    fail "$model: does not compile for this machine"
  if [ "$(uname -m)" = x86_64 ]; then
    if "$TESSERA" run "$scratch/$name.arm.tsm" >"$scratch/out" 2>&1 ||
      ! grep -q "'cpu:aarch64' needs aarch64" "$scratch/out"; then
      fail "$model: a module for AArch64 must be refused here, and say why"
    fi
  fi
done
[ $failed -eq 0 ] || exit 1

for tool in qemu-aarch64 aarch64-linux-gnu-gcc; do
  if ! command -v $tool >/dev/null 2>&1; then
    echo "SKIP running the modules: $tool is not installed"
    exit 77
  fi
done
build aarch64-linux-gnu-gcc -static -o "$scratch/run.arm" >"$scratch/out" 2>&1 || fail "the runtime does not compile for AArch64"
build cc -o "$scratch/run.host" >"$scratch/out" 2>&1 || fail "the runtime does not compile here"
for model in $models; do
  name=$(basename "$(dirname "$model")")
  qemu-aarch64 "$scratch/run.arm" "$scratch/$name.arm.tsm" >"$scratch/arm" 2>"$scratch/out" || fail "$model: fails under qemu"
  "$scratch/run.host" "$scratch/$name.host.tsm" >"$scratch/host" 2>"$scratch/out" || fail "$model: fails here"
  same_numbers "$scratch/arm" "$scratch/host" || fail "$model: AArch64 gives other numbers"
done
exit $failed
