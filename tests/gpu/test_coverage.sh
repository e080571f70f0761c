#!/bin/sh
# Every device primitive of codegen/cuda/device stands in a kernel of gpu_tests, every type of wgmma is instantiated, and
# every matrix instruction of ir/atoms.def has a test.
set -eu
programs=$TESSERA_BUILD/tests/gpu
work=$(mktemp -d "${TESSERA_TEST_TMP:-/tmp}/gpu-coverage.XXXXXX")
trap 'rm -rf "$work"' EXIT
device=codegen/cuda/device

"$programs/gpu_pack" "$work" --texts
cat $device/device_common.h $device/device.h $device/device_wgmma.h >"$work/device.h"
expand() {
  "${CC:-cc}" -E -P -D__CUDACC__ -D__CUDA_ARCH__=900 -x c "$1"
}

# What is declared: functions behind TSR_DEVICE, and macros with parameters in lower case.
{
  expand "$work/device.h" | tr '\n' ' ' | sed 's/__attribute__((unused))/\n&/g' |
    sed -n 's/^__attribute__((unused)) [^({;]*[ *]\(tsr_[a-z0-9_]*\)(.*/\1/p'
  echo
  sed -n 's/^#define \(tsr_[a-z0-9_]*\)(.*/\1/p' "$work/device.h"
  sed -n 's/^#define \(TSR_WGMMA_[A-Z][A-Z0-9]*\)(n.*/\1/p' "$work/device.h"
  sed -n 's/^#define \(TSR_KERNEL[A-Z_]*\)(.*/\1/p' "$work/device.h"
} | sed '/^$/d' | sort -u >"$work/declared"
[ "$(wc -l <"$work/declared")" -gt 100 ] || { echo "only $(wc -l <"$work/declared") primitives were found"; exit 1; }

# What kernels use, before and after their macros are expanded. Reading bits as a number, addresses in shared memory and
# descriptors made of such an address are parts of other primitives.
printf '%s\n' tsr_bits_to_f32 tsr_f32_to_bits tsr_shared_address tsr_wgmma_descriptor_at \
  tsr_wgmma_descriptor_advance >"$work/words"
for text in "$work"/*.cu; do
  sed 1d "$text" >"$work/text"
  cat "$work/text" >>"$work/words"
  { cat "$work/device.h"; echo "kernels_begin_here"; cat "$work/text"; } >"$work/whole.h"
  expand "$work/whole.h" | sed '1,/kernels_begin_here/d' >>"$work/words"
done
tr -cs 'A-Za-z0-9_' '\n' <"$work/words" | sort -u >"$work/used"

status=0
missing=$(comm -23 "$work/declared" "$work/used")
if [ -n "$missing" ]; then
  echo "no kernel of tests/gpu uses:" $missing
  status=1
fi

"$programs/gpu_tests" --list --data "$work" >"$work/tests"
for atom in $(tr -d ' \n' <ir/atoms.def | sed 's/TSR_ATOM(/\n&/g' |
  sed -n 's/^TSR_ATOM([A-Z0-9_]*,CUDA,"\([a-z0-9.]*\)".*/\1/p' | grep -v '^fma\.'); do
  grep -qx "atom.$atom" "$work/tests" || { echo "no test of atom $atom"; status=1; }
done
[ "$(grep -c '^atom\.' "$work/tests")" -ge 4 ] || { echo "no atoms were found"; status=1; }
exit $status
