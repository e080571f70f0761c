#!/bin/sh
# From a machine with git alone to a trained model that runs: installs the build's packages (Debian 12, Ubuntu 24.04;
# needs root or sudo), builds, fetches models, compiles them, identifies a few real files and reads text from a picture.
set -eu
cd "$(dirname "$0")/.."
begin=$(date +%s)

step() {
  printf '\n== %s\n' "$1"
}

# timed COMMAND...: runs the command and prints how long it took.
timed() {
  from=$(date +%s%N)
  "$@"
  echo "took $((($(date +%s%N) - from) / 1000000)) ms"
}

step "Installing what is missing"
tests/setup.sh python3 python3-pip

step "Building Tessera"
mkdir -p build
if ! { cmake --preset release && cmake --build build/release -t tessera identify read; } >build/quickstart.log 2>&1; then
  grep -vE "^\[[0-9]+/[0-9]+\] (Building|Linking)" build/quickstart.log | tail -n 40
  echo "error: the build failed; all of its output is in build/quickstart.log" >&2
  exit 1
fi
tessera=build/release/frontend/tessera
"$tessera" doctor | sed -n '/^cpu/p;/^llvm/p'

step "Fetching magika's model, which tells file types apart (PyPI, pinned checksum)"
work=build/quickstart
benchmarks/magika/fetch.sh $work
ls -l $work/model.onnx

step "Compiling it"
timed "$tessera" compile $work/model.onnx -o $work/magika.tsm
"$tessera" inspect $work/magika.tsm | sed -n '1,/^program/p'

step "Identifying files"
timed build/release/benchmarks/identify $work/magika.tsm $work/config.min.json \
  runtime/pool.c CMakeLists.txt CMakePresets.json tests/run.sh benchmarks/magika/compare.py \
  $work/model.onnx "$tessera" /etc/os-release /usr/bin/git

step "Measuring its latency for one file"
"$tessera" bench $work/magika.tsm --dim "$("$tessera" inspect $work/magika.tsm | awk '/^dim/ {print $2; exit}')=1" --threads 1

step "Fetching two models of rapidocr-onnxruntime, which find and read text (PyPI, pinned checksum)"
benchmarks/ocr/fetch.sh $work/ocr
for model in detect recognize; do
  timed "$tessera" compile $work/ocr/$model.onnx -o $work/ocr/$model.tsm
done

step "Reading a picture that the program draws itself"
timed build/release/benchmarks/read $work/ocr/detect.tsm $work/ocr/recognize.tsm $work/ocr/characters.txt \
  "Tessera reads this line," "compiled ahead of time." "No Python, 2 models."

cat <<DONE

== Done in $(($(date +%s) - begin)) s. How to go on:
  alias tessera=$PWD/$tessera
  tessera compile MODEL.onnx -o MODEL.tsm            a model of yours
  tessera run MODEL.tsm --input NAME=FILE.npy        its outputs
  tessera bench MODEL.tsm                            its latency
  tessera --help                                     everything else
  tests/run.sh                                       the tests
  benchmarks/magika/identify.c, benchmarks/ocr       C programs that run modules
DONE
