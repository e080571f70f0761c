#!/bin/sh
# Usage: tests/nvrtc/fetch.sh [--no-install]
# Prints the folder of an NVRTC for the tests, to be used as TESSERA_NVRTC, with ptxas in its bin; nothing where a CUDA
# toolkit is there already, which Tessera finds by itself. Where there is none, NVRTC and ptxas are brought from PyPI to
# build/cuda once (127 MB), pinned by version and checksum; that this fails, because the machine is offline or no x86-64,
# is no failure here: the tests that need them are skipped, and say so.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/build/cuda

has_toolkit() {
  [ -z "${TESSERA_NVRTC:-}" ] || return 0
  known=$(/sbin/ldconfig -p 2>/dev/null | sed -n 's/.*libnvrtc\.so\.1[23] .* => //p')
  for place in "${CUDA_HOME:-/nowhere}" "${CUDA_PATH:-/nowhere}" /usr/local/cuda /usr/local/cuda-1[23] /opt/cuda; do
    known="$known $place/lib64/libnvrtc.so.13 $place/lib64/libnvrtc.so.12"
  done
  for library in $known; do
    [ ! -e "$library" ] || return 0
  done
  return 1
}

fetch() {
  { python3 -m pip --version >/dev/null 2>&1 || tests/setup.sh python3-pip; } &&
    rm -rf "$folder.new" &&
    python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
      --require-hashes --target "$folder.new" -r tests/nvrtc/requirements.txt &&
    rm -rf "$folder" &&
    mv "$folder.new" "$folder"
}

if has_toolkit; then
  exit 0
fi
if [ ! -e "$folder/nvidia/cu13/lib/libnvrtc.so.13" ]; then
  [ "${1:-}" != --no-install ] || exit 0
  mkdir -p build
  echo "bringing NVRTC and ptxas from PyPI" >&2
  if ! fetch >&2; then
    echo "NVRTC could not be brought from PyPI; the tests that compile kernels for CUDA are skipped" >&2
    exit 0
  fi
fi
echo "$folder/nvidia/cu13"
