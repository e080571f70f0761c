#!/bin/sh
# The command line's manual, its exit statuses and its error lines.
. "$(dirname "$0")/expect.sh"

expect 0 '^usage: tessera COMMAND' "$TESSERA" --help
expect 0 '^tessera [0-9]+\.[0-9]+\.[0-9]+$' "$TESSERA" --version
expect 2 '^error: no command' "$TESSERA"
expect 2 "^error: unknown command 'frobnicate'" "$TESSERA" frobnicate
expect 2 "^error: unknown option '--frobnicate'" "$TESSERA" run x --frobnicate
expect 2 '^error: --threads needs a value' "$TESSERA" run x --threads
expect 2 '^error: --threads needs a number' "$TESSERA" run x --threads many
expect 2 '^error: --threads needs a number' "$TESSERA" run x --threads=-1
expect 2 '^error: --threads is at most [0-9]+, ' "$TESSERA" run x --threads 4294967297
expect 2 '^error: --no-fuse takes no value' "$TESSERA" run x --no-fuse=1
expect 2 '^error: .*is missing' "$TESSERA" run
expect 2 "^error: unexpected argument 'y'" "$TESSERA" run x y
expect 2 "^error: unknown option '--trials'" "$TESSERA" run x --trials 3
expect 2 '^error: -o OUT.tsm is missing' "$TESSERA" compile x.onnx
expect 2 "^error: --emit knows no 'nothing'" "$TESSERA" compile x.onnx --emit nothing
expect 2 '^error: --emit ptx is for targets of CUDA' "$TESSERA" compile x.onnx --emit manifest --emit ptx
expect 2 '^error: --emit asm is for targets of the CPU' "$TESSERA" compile x.onnx --target cuda:sm_80 --emit asm
expect 2 "^error: --dim wants NAME=N" "$TESSERA" compile x.onnx -o "$scratch/x.tsm" --dim N
expect 2 "^error: --dim wants NAME=N" "$TESSERA" compile x.onnx -o "$scratch/x.tsm" --dim N=1..
expect 2 "^error: --pass knows no 'nothing'; passes are segments, equal_dims, unpack, canonicalize" "$TESSERA" opt x.tsr --pass nothing
expect 1 '^error: .*absent.onnx: ' "$TESSERA" compile "$scratch/absent.onnx" -o "$scratch/x.tsm"
expect 1 '^error: .*absent.tsm: ' "$TESSERA" run "$scratch/absent.tsm"
expect 1 '^error: .*absent.tsm: ' "$TESSERA" inspect "$scratch/absent.tsm"
expect 1 '^error: .*absent.tsr: ' "$TESSERA" opt "$scratch/absent.tsr"
expect 0 '^llvm ' "$TESSERA" doctor

for command in compile run verify bench inspect opt doctor; do
  expect 0 "^usage: tessera $command" "$TESSERA" $command --help
  "$TESSERA" --help | grep -q "^  $command " || {
    echo "$command is not in the manual"
    failed=1
  }
done
exit $failed
