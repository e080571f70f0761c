#!/bin/sh
# Installs into a scratch folder, moves it, and builds and runs two C programs against it: with pkg-config, then with
# CMake. The program that only runs modules must need no more than libc and libm at run time.
set -eu
[ -z "$TESSERA_SANITIZE" ] || {
  echo "SKIP: the installed libraries need the sanitizer's runtime"
  exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
source=$PWD/tests/example

cmake --install "$TESSERA_BUILD" --prefix "$scratch/first" >/dev/null
mv "$scratch/first" "$scratch/prefix"
config=$(find "$scratch/prefix" -name tessera.pc)
export PKG_CONFIG_PATH="${config%/*}"
[ -x "$scratch/prefix/bin/tessera" ]
"$scratch/prefix/bin/tessera" --version

cd "$scratch"
# shellcheck disable=SC2046 # lists of flags
cc -std=c11 -Wall -Wextra -Werror "$source/run_module.c" -o run_module $(pkg-config --cflags --libs tessera-runtime)
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Werror "$source/compile_model.c" -o compile_model $(pkg-config --cflags --libs tessera)
./compile_model twice.tsm
[ "$(./run_module twice.tsm | tr '\n' ' ')" = "2 4 6 " ]
needed=$(ldd run_module | grep -vE 'linux-vdso|libc\.so|libm\.so|ld-linux|ld64' || true)
[ -z "$needed" ] || {
  echo "the runtime needs more than libc and libm: $needed"
  exit 1
}

cmake -S "$source/consumer" -B consumer -G Ninja -DCMAKE_PREFIX_PATH="$scratch/prefix" >cmake.log 2>&1 || {
  cat cmake.log
  exit 1
}
cmake --build consumer >cmake.log 2>&1 || {
  cat cmake.log
  exit 1
}
./consumer/compile_model again.tsm
[ "$(./consumer/run_module again.tsm | tr '\n' ' ')" = "2 4 6 " ]
