# What the tests of the command line share; sourced. The test goes on in a scratch folder of its own.
set -u
failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1

fail() {
  echo "$1"
  cat out 2>/dev/null
  failed=1
}

# expect STATUS PATTERN COMMAND...: the command ends so, and its output has a line that matches.
expect() {
  status=$1
  pattern=$2
  shift 2
  "$@" >out 2>&1 </dev/null
  got=$?
  if [ $got -ne "$status" ] || ! grep -qE -- "$pattern" out; then
    fail "expected status $status and '$pattern', got $got: $*"
  fi
}
