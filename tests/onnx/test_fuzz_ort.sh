#!/bin/sh
# Thirty of fuzz_ort.py's random graphs against ONNX Runtime, where that is installed.
set -u
python=${PYTHON:-python3}
if ! "$python" -c 'import numpy, ml_dtypes, onnx, onnxruntime' 2>/dev/null; then
  echo "SKIP: $python has not the packages onnx, onnxruntime, numpy and ml_dtypes"
  exit 77
fi
exec "$python" -W ignore tests/onnx/fuzz_ort.py --tessera "$TESSERA" --graphs 30 --first 100000 --batch 30
