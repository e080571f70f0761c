#!/bin/sh
# What the compiler cannot check by itself: which folder may include which foreign header, no way around the include
# folders, no printing or exiting in library code, nothing at the top level that does not belong there.
set -u
failed=0

fail() {
  echo "$1"
  failed=1
}

# only FOLDER PATTERN: includes that match PATTERN stand in FOLDER alone.
only() {
  found=$(git grep -nE "^ *# *include *[<\"]$2" -- '*.c' '*.h' '*.def' | grep -v "^$1/" | grep -v '^tests/')
  [ -z "$found" ] || fail "only $1 may include these:
$found"
}

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  only passes/poly 'isl/'
  only codegen/cpu 'llvm-c/'
  only tuner 'sqlite3\.h'
  found=$(git grep -nE '^ *# *include *"\.\.?/' -- '*.c' '*.h' '*.def')
  [ -z "$found" ] || fail "includes start at the root of the repository:
$found"
  found=$(git ls-files | cut -d/ -f1 | sort -u |
    grep -vE '^(CMakeLists\.txt|CMakePresets\.json|README\.md|frontend|ir|passes|codegen|tuner|runtime|include|tests|benchmarks|\..*)$')
  [ -z "$found" ] || fail "not at the top level: $found"
fi

# A forked child ends by _exit; only tuner/process.c forks.
for layer in runtime ir passes codegen tuner frontend; do
  library=$TESSERA_BUILD/$layer/libtessera_$layer.a
  [ -f "$library" ] || continue
  found=$(nm -A -u "$library" 2>/dev/null | grep -E ' U (exit|_exit|quick_exit|printf|vprintf|puts|putchar|perror|abort)$' | grep -v ':process\.c\.o: *U _exit$')
  [ -z "$found" ] || fail "library code neither prints nor exits:
$found"
done
exit $failed
