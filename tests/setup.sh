#!/bin/sh
# Usage: tests/setup.sh [PACKAGE...]
# Installs what building and testing needs, and the packages named, as far as they are missing. Debian 12 and Ubuntu
# 24.04 know all of them by the same names. Needs root or sudo only when something is missing.
set -eu

packages="cmake ninja-build gcc g++ libc6-dev pkg-config
  llvm-19-dev libisl-dev libgmp-dev libsqlite3-dev check libonnx-testdata $*"

missing=
for package in $packages; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "error: these packages are missing, and installing them needs root or sudo:$missing" >&2
    exit 1
  }
  as_root="sudo -E"
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
echo "installing:$missing" >&2
# shellcheck disable=SC2086 # both are lists of words
if ! { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "error: the packages could not be installed:$missing" >&2
  exit 1
fi
