#!/bin/sh
# The kernels of gpu_tests compile for every architecture, without spills and without matrix instructions made serial.
set -eu
work=$(mktemp -d "${TESSERA_TEST_TMP:-/tmp}/gpu-compiled.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! "$TESSERA_BUILD/tests/gpu/gpu_pack" "$work" 2>"$work/errors"; then
  cat "$work/errors"
  if grep -q '^error: NVRTC.*is missing' "$work/errors"; then
    echo "SKIP: there is no NVRTC"
    exit 77
  fi
  exit 1
fi
for kind in cu sm_80.cubin sm_90a.cubin compute_80.ptx; do
  [ -s "$work/sm80.$kind" ] || { echo "sm80.$kind is missing"; exit 1; }
done
[ -s "$work/wgmma.sm_90a.cubin" ] || { echo "wgmma.sm_90a.cubin is missing"; exit 1; }
