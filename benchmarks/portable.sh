#!/bin/sh
# Usage: benchmarks/portable.sh OUTDIR
# Makes the folder OUTDIR/tessera-gpu, which brings everything that needs a GPU to a machine that has one: tests, figures
# against peers, and the compiler. It runs on x86-64 Linux with glibc 2.34 or newer and NVIDIA's driver, without installing
# or compiling anything; NVRTC, PyTorch and Triton are used where they are there. Made on Debian 12 or Ubuntu 24.04, without
# a GPU; what is missing is installed (needs root or sudo then), NVRTC from PyPI where there is no CUDA toolkit.
set -eu
cd "$(dirname "$0")/.."
[ $# -eq 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)/tessera-gpu
build=build/portable
most_mib=60
newest_glibc=2.34

tests/setup.sh python3
cuda=$(tests/nvrtc/fetch.sh)
if [ -n "$cuda" ]; then
  export TESSERA_NVRTC="$cuda" PATH="$PATH:$cuda/bin"
fi

mkdir -p build
if ! { cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_LLVM=OFF -DTESSERA_STATIC=ON &&
  cmake --build $build -t tessera gpu_tests gpu_pack gpu_time; } >build/portable.log 2>&1; then
  grep -vE "^\[[0-9]+/[0-9]+\] (Building|Linking)" build/portable.log | tail -n 40
  echo "error: the build failed; all of its output is in build/portable.log" >&2
  exit 1
fi

rm -rf "$out"
mkdir -p "$out/tests"
for program in frontend/tessera tests/gpu/gpu_tests benchmarks/gpu_time; do
  strip -o "$out/$(basename $program)" $build/$program
done
cp benchmarks/gpu_bench.py benchmarks/gpu_cases.py benchmarks/gpu_triton.py "$out/"
cp benchmarks/gpu_sanitize.sh "$out/gpu_sanitize"
cp benchmarks/gpu_readme.md "$out/README.md"
printf '#!/bin/sh\nexec python3 "$(dirname "$0")/gpu_bench.py" "$@"\n' >"$out/gpu_bench"
chmod +x "$out/gpu_bench" "$out/gpu_sanitize"

echo "compiling kernels, models and operators for gpu_tests" >&2
tests/gpu/pack.sh $build "$out/tests" cuda:sm_80 cuda:sm_90a
echo "compiling the modules of gpu_bench" >&2
python3 -B "$out/gpu_bench.py" --compile "$out/modules" || echo "the modules that are missing fail in gpu_bench" >&2

# What the programs stand on: libc, libm and the loader (libdl and libpthread are parts of libc), no newer glibc than said.
for program in tessera gpu_tests gpu_time; do
  strange=$(objdump -p "$out/$program" | awk '$1 == "NEEDED" {print $2}' | grep -vxE 'lib[cm]\.so\.6|ld-linux-x86-64\.so\.2' || true)
  newest=$(objdump -T "$out/$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
  if [ -n "$strange" ]; then
    echo "error: $program needs $strange" >&2
    exit 1
  fi
  if [ "$(printf '%s\n' "$newest" $newest_glibc | sort -V | tail -n 1)" != $newest_glibc ]; then
    echo "error: $program needs glibc $newest, more than $newest_glibc" >&2
    exit 1
  fi
done
mib=$(du -sm "$out" | cut -f 1)
if [ "$mib" -ge $most_mib ]; then
  echo "error: $out has $mib MiB, which is not less than $most_mib" >&2
  exit 1
fi
"$out/gpu_tests" --list >"$out/tests/list"
git rev-parse --short=12 HEAD >"$out/commit" 2>/dev/null || true
echo "$out: $mib MiB, $(wc -l <"$out/tests/list") tests, $(find "$out/modules" -name '*.tsm' | wc -l) modules to measure"
