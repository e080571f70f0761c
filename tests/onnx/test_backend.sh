#!/bin/sh
# The ONNX backend cases that Debian's libonnx-testdata ships.
set -u
data=/usr/share/libonnx-testdata/data
[ -d $data ] || {
  echo "SKIP: libonnx-testdata is not installed"
  exit 77
}
. tests/onnx/suite.sh
suite libonnx $data node pytorch-converted pytorch-operator simple
