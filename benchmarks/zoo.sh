#!/bin/sh
# Usage: benchmarks/zoo.sh [NAME...]
# Real models against ONNX Runtime: magika and the three of rapidocr-onnxruntime on real inputs, those of packages.sh, and architectures of
# torchvision and transformers with random weights as torch.onnx's two exporters write them (zoo_models.py has the list).
# One compiled module per model serves several sizes of its dynamic dims. Prints errors and, for information, times on one
# thread; writes the rows of benchmarks/results/zoo.json anew; ends with status 1 when a model fails.
#
# PYTHON=FILE uses that interpreter, which has the packages below, in place of a virtual environment under build/ (5.8 GB
# with PyTorch from PyPI, which carries CUDA; less with the CPU build, which is tried first). TESSERA=FILE: that compiler, nothing is built.
# ZOO_TIMING=0: no times.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/build/zoo
torch="torch==2.15.0 torchvision==0.29.2"
packages="numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 onnxscript==0.7.2 transformers==5.23.0 pillow==13.0.0"
mkdir -p "$work/models"

if [ -z "${PYTHON:-}" ]; then
  tests/setup.sh python3 python3-venv
  PYTHON=$work/venv/bin/python
  if [ ! -f "$work/venv/complete" ]; then
    python3 -m venv "$work/venv"
    install="$PYTHON -m pip install -q --disable-pip-version-check --retries 1"
    # shellcheck disable=SC2086 # lists of words
    $install --index-url https://download.pytorch.org/whl/cpu $torch || $install $torch
    # shellcheck disable=SC2086
    $install $packages
    touch "$work/venv/complete"
  fi
fi
if [ -z "${TESSERA:-}" ]; then
  tests/setup.sh
  if ! { cmake --preset release && cmake --build build/release -t tessera; } >build/zoo.log 2>&1; then
    grep -vE "^\[[0-9]+/[0-9]+\] (Building|Linking)" build/zoo.log | tail -n 40
    echo "error: the build failed; all of its output is in build/zoo.log" >&2
    exit 1
  fi
  TESSERA=$PWD/build/release/frontend/tessera
fi

benchmarks/magika/fetch.sh "$work/magika"
benchmarks/ocr/fetch.sh "$work/ocr"
benchmarks/packages.sh "$work/packages"
"$PYTHON" benchmarks/zoo_real.py "$work/magika" "$work/ocr" "$work/packages" "$work/models"
"$PYTHON" benchmarks/zoo_export.py "$work/models" "$@"
versions=$("$PYTHON" -c 'import importlib.metadata as m, json, sys
print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))' torch torchvision transformers onnx onnxscript onnxruntime numpy)
ZOO_VERSIONS=$versions "$PYTHON" benchmarks/zoo.py "$TESSERA" "$work/models" benchmarks/results/zoo.json "$@"
