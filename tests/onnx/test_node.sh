#!/bin/sh
# The node tests of the installed `onnx` package, which must be the release that tests/onnx/exceptions was written for.
# ONNX_PYTHON: a Python that has the package.
set -u
release=1.23
python=${ONNX_PYTHON:-python3}
found=$("$python" -c 'import onnx; print(onnx.__version__)' 2>/dev/null)
case $found in
"$release".*) ;;
*)
  echo "SKIP: needs the package onnx $release (pip install onnx), found: ${found:-none}"
  exit 77
  ;;
esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" tests/onnx/node_cases.py "$scratch/node" || exit 1
. tests/onnx/suite.sh
suite onnx "$scratch" node
