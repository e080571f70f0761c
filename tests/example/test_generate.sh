#!/bin/sh
# Tokens from the example program, whose cache is updated in place, and from the command line: in place, and with the
# declarations of aliases left out, where every step makes a new cache. The first token of a longer prompt's answer is
# the next one of the shorter prompt's.
set -u
[ -z "$TESSERA_SANITIZE" ] || {
  echo "SKIP: the example is linked by hand, without the sanitizer's runtime"
  exit 77
}
source=$(pwd)/tests/example
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
cc -std=c11 -Wall -Wextra -Werror -I"$source/../../include" "$source/generate.c" -o generate \
  "$TESSERA_BUILD/runtime/libtessera_runtime.a" -lm -lpthread -ldl || exit 1
"$TESSERA" compile "$source/decoder.tsr" -o decoder.tsm --quiet || exit 1
grep -v '^//' "$source/decoder.tsr" | sed 's/alias = "[a-z]*", //' >plain.tsr
"$TESSERA" compile plain.tsr -o plain.tsm --quiet || exit 1
failed=0

./generate decoder.tsm 12 3 1 4 >tokens || exit 1
[ "$(wc -l <tokens)" -eq 12 ] || failed=1

# .npy of what a prompt needs: header, then little-endian elements.
npy() { # FILE DTYPE SHAPE
  header="{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
  printf '\223NUMPY\001\000v\000%-117s\n' "$header" >"$1"
  cat >>"$1"
}
printf '\003\0\0\0\0\0\0\0\001\0\0\0\0\0\0\0\004\0\0\0\0\0\0\0' | npy ids.npy '<i8' '(3,)'
printf '\0\0\0\0\0\0\0\0' | npy at.npy '<i8' '()'
head -c $((256 * 16 * 4)) /dev/zero | npy cache.npy '<f4' '(256, 16)'
for module in decoder plain; do
  "$TESSERA" run $module.tsm --input ids=ids.npy --input at=at.npy --input keys=cache.npy --input values=cache.npy \
    --state ids=next --state at=at2 --state keys=keys2 --state values=values2 --steps 12 --output-dir $module >/dev/null || failed=1
done
for name in keys2 values2 logits next at2; do
  cmp decoder/$name.npy plain/$name.npy || failed=1
done
last=$(tail -c 8 decoder/next.npy | od -An -td8 | tr -d ' ')
[ "$last" = "$(tail -n 1 tokens)" ] || {
  echo "the command line's last token is $last, the program's $(tail -n 1 tokens)"
  failed=1
}
# What the cache remembers is what a longer prompt says at once.
./generate decoder.tsm 1 3 1 4 $(head -n 5 tokens) >longer || exit 1
[ "$(cat longer)" = "$(sed -n 6p tokens)" ] || {
  echo "a prompt of 8 tokens goes on with $(cat longer), the cache with $(sed -n 6p tokens)"
  failed=1
}
"$TESSERA" compile plain.tsr -o bad.tsm --alias keys2=values 2>/dev/null --alias nothing=keys && failed=1
"$TESSERA" compile plain.tsr -o bad.tsm --alias logits=keys 2>message && failed=1
grep -q "output 'logits' cannot live in the memory of input 'keys': it is f32\[S, 50\], the input is f32\[C, 16\]" message || {
  cat message
  failed=1
}
exit $failed
