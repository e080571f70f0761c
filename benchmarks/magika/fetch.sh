#!/bin/sh
# Usage: fetch.sh DIR. Puts the model of the magika package (PyPI, Apache 2.0) into DIR: model.onnx, config.min.json.
# The wheel is pinned by its checksum; nothing of it is installed or run.
set -eu
dir=$1
wheel=magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl
inside=magika/models/standard_v3_3
[ ! -f "$dir/model.onnx" ] || exit 0
mkdir -p "$dir"
cat >"$dir/requirements.txt" <<'PIN'
magika==1.0.3 --hash=sha256:3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529
PIN
python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
  --only-binary=:all: --platform manylinux_2_28_x86_64 --python-version 3.11 -r "$dir/requirements.txt" -d "$dir"
python3 -m zipfile -e "$dir/$wheel" "$dir/wheel"
cp "$dir/wheel/$inside/config.min.json" "$dir/"
cp "$dir/wheel/$inside/model.onnx" "$dir/"
rm -rf "$dir/wheel" "${dir:?}/$wheel"
