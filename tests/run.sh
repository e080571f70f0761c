#!/bin/sh
# Usage: tests/run.sh [--sanitize] [--long] [--no-install] [-j JOBS]
# Installs what is missing, builds with assertions, runs every test and prints ctest's summary last.
#   --sanitize    after that the same with clang's address and undefined behaviour sanitizers, and those of the runtime's
#                 tests that use threads with its thread sanitizer
#   --long        the long tests too, which take hours rather than minutes
#   --no-install  installs nothing
#   -j JOBS       programs built and tests run side by side; as many as there are processors when not given
set -eu
cd "$(dirname "$0")/.."

sanitize=no
install=yes
jobs=$(nproc)
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) sanitize=yes ;;
    --long) export TESSERA_LONG=1 ;;
    --no-install) install=no ;;
    -j) shift; jobs=${1:?-j needs a number} ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "error: unknown option $1; see tests/run.sh --help" >&2; exit 2 ;;
  esac
  shift
done

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=0

# quietly NAME COMMAND...: shows the output only when the command fails.
quietly() {
  name=$1
  shift
  echo "$name" >&2
  if ! "$@" >"$logs/out" 2>&1; then
    cat "$logs/out"
    echo "error: $name failed" >&2
    return 1
  fi
}

# check PRESET TARGET [CTEST OPTION...]: builds TARGET and runs the tests; their summary goes to $logs/PRESET.
check() {
  preset=$1
  target=$2
  shift 2
  if quietly "$preset: configure" cmake --preset "$preset" &&
    quietly "$preset: build" cmake --build "build/$preset" -j "$jobs" -t "$target"; then
    echo "$preset: test" >&2
    ctest --test-dir "build/$preset" --output-on-failure -j "$jobs" --no-tests=error "$@" >"$logs/test" 2>&1 || failed=1
    cat "$logs/test"
    sed -n '/tests passed/,$p' "$logs/test" >"$logs/$preset"
  else
    echo "$preset was not built" >"$logs/$preset"
    failed=1
  fi
}

if [ $install = yes ]; then
  extra=
  [ $sanitize = no ] || extra="clang-19 libclang-rt-19-dev"
  # shellcheck disable=SC2086 # a list of words
  tests/setup.sh $extra
fi

# Where there is no CUDA toolkit, PyPI's NVRTC and ptxas.
if [ $install = yes ]; then cuda=$(tests/nvrtc/fetch.sh); else cuda=$(tests/nvrtc/fetch.sh --no-install); fi
if [ -n "$cuda" ]; then
  export TESSERA_NVRTC="$cuda" PATH="$PATH:$cuda/bin"
fi

check release all
if [ $sanitize = yes ]; then
  # What these look at is NVRTC's machine code, the same as in the release build; the code that writes it runs elsewhere too.
  # Sanitized programs are several times slower; of recorded cases, which all run above, they take every third.
  [ -n "${TESSERA_LONG:-}" ] || export TESSERA_SAMPLE=3
  check asan-ubsan all -E '^(codegen_cuda\.nvrtc|cuda_emulator\.nvrtc|cuda_plans\.kernels|nvrtc\.models|gpu\.(bench|compiled))$'
  check tsan tests_runtime -R '^runtime\.(exec|module|pool)'
  for preset in asan-ubsan tsan; do
    printf '\n== %s\n' "$preset"
    cat "$logs/$preset"
  done
fi
printf '\n== release\n'
cat "$logs/release"
exit $failed
