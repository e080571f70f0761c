#!/bin/sh
# Usage: benchmarks/cpu_peers.sh [OPTION...]
# Speed on the CPU against ONNX Runtime and oneDNN, in turns in one run, on 1 and 2 threads: products and convolutions
# (contractions.txt), memory-bound operations, attention, networks with random weights, and the trained ones of magika and
# rapidocr-onnxruntime (cpu_models.py has the list). Results are compared with the peer's first. Prints each case with its
# goal and its bar, the smaller of the goal and 80 % of what the processor was just measured to give; geometric means; wins
# and losses. Writes benchmarks/results/cpu_peers.json, which `tessera report` shows.
#
#   --quick          a few rounds of each: about 6 minutes
#   --only REGEX     cases whose names match; the figures go to build/cpu_peers/partial.json then
#   --db FILE        compile with the schedules of this tuning database; compiling BERT-base has a limit then
#   --tune SECONDS   tune each case for as long before, into --db; curves for `tessera report` go to build/cpu_peers/tuning
#   --threads N,N    other numbers of threads
#   --peers NAME,..  onnxruntime, onednn: only these
#   --precision NAME f32-strict or bf16 on our side; the peers stay as they are; results/cpu_peers_NAME.json
#   --strict         status 1 when a bar is missed, not only when something is wrong or a limit is passed
#   --verbose        how long each case took in all
#
# PYTHON=FILE uses that interpreter, which has the packages below, in place of a virtual environment under build/.
# TESSERA_BUILD=DIR uses the programs of that build folder; nothing is built.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/build/cpu_peers
packages="numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1"
results=$PWD/benchmarks/results/cpu_peers.json
before=
for word in "$@"; do
  [ "$before" != --precision ] || results=${results%.json}_$word.json
  before=$word
  case $word in
  -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
  --precision=*) results=${results%.json}_${word#*=}.json ;;
  --only | --only=*) results=$work/partial.json ;;
  esac
done
mkdir -p "$work" benchmarks/results

tests/setup.sh libdnnl-dev python3 python3-pip python3-venv
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$work/venv/bin/python
  if [ ! -f "$work/venv/complete" ]; then
    python3 -m venv "$work/venv"
    # shellcheck disable=SC2086 # a list of words
    "$PYTHON" -m pip install -q --disable-pip-version-check $packages
    touch "$work/venv/complete"
  fi
fi
if [ -z "${TESSERA_BUILD:-}" ]; then
  TESSERA_BUILD=build/release
  if ! { cmake --preset release &&
    cmake --build $TESSERA_BUILD -t tessera cpu_time bert_onnx contraction_peers; } >build/cpu_peers.log 2>&1; then
    grep -vE "^\[[0-9]+/[0-9]+\] (Building|Linking)" build/cpu_peers.log | tail -n 40
    echo "error: the build failed; all of its output is in build/cpu_peers.log" >&2
    exit 1
  fi
fi
cp "$TESSERA_BUILD/benchmarks/bert_onnx" "$work/"
benchmarks/magika/fetch.sh "$work/magika"
benchmarks/ocr/fetch.sh "$work/ocr"
exec "$PYTHON" -B benchmarks/cpu_peers.py "$TESSERA_BUILD" "$work" "$results" "$@"
