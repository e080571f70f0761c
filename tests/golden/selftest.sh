#!/bin/sh
# Usage: selftest.sh GOLDEN. The runner of golden tests accepts what it should and refuses what it should.
set -u
golden=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# try pass|fail TEXT: the runner has to end that way on a file with this text.
try() {
  printf '%s\n' "$2" >"$scratch/case.tsr"
  if "$golden" "$scratch/case.tsr" >"$scratch/log" 2>&1; then result=pass; else result=fail; fi
  if [ $result != "$1" ]; then
    echo "expected to $1:"
    cat "$scratch/case.tsr" "$scratch/log"
    failed=1
  fi
}

lines="printf 'a\\nb 1\\nc\\n'"
try pass "// RUN: $lines
// CHECK: a
// CHECK-NEXT: b   {{[0-9]}}
// CHECK-NOT: d
// CHECK: c"
try fail "// RUN: $lines
// CHECK: d"
try fail "// RUN: $lines
// CHECK: b
// CHECK: a"
try fail "// RUN: $lines
// CHECK: a
// CHECK-NEXT: c"
try fail "// RUN: $lines
// CHECK: a
// CHECK-NOT: b
// CHECK: c"
try fail "// RUN: $lines
// CHECK: b
// CHECK-NOT: c"
try fail "// RUN: $lines
// CHECK: ."
try fail "// RUN: $lines"
try fail "nothing is run"
try fail "// RUN: $lines; exit 3
// CHECK: a"
try pass "// FAIL: echo 'error: no' >&2; exit 1
// CHECK: no"
try fail "// FAIL: echo no; exit 1
// CHECK: no"
try fail "// FAIL: echo 'error: no'
// CHECK: no"
try fail "// FAIL: echo 'error: no'; exit 2
// CHECK: no"
try pass "// RUN: $lines
//> a
//> b 1
//> c"
try fail "// RUN: $lines
//> a
//> b 1"
try pass "// RUN: cat %s
// ROUNDTRIP
x \"//\" // comment

y"
try fail "// RUN: grep -v y %s
// ROUNDTRIP
x
y"

mkdir "$scratch/bin"
printf '#!/bin/sh\n[ "$1" = opt ] && cat "$2"\n' >"$scratch/bin/tessera"
chmod +x "$scratch/bin/tessera"
PATH=$scratch/bin:$PATH
try pass "// ROUNDTRIP
x"
printf '#!/bin/sh\necho y\n' >"$scratch/bin/tessera"
try fail "// ROUNDTRIP
x"

printf '%s\n' "// RUN: $lines" "//> old" "// RUN: echo z" "//> older" "//> oldest" >"$scratch/case.tsr"
"$golden" --update "$scratch/case.tsr" >/dev/null
printf '%s\n' "// RUN: $lines" "//> a" "//> b 1" "//> c" "// RUN: echo z" "//> z" >"$scratch/wanted"
diff "$scratch/wanted" "$scratch/case.tsr" || failed=1
exit $failed
