#!/bin/sh
# Usage: packages.sh DIR. Puts models that packages of PyPI carry into DIR: voice activity (silero-vad, MIT), Arabic vowels
# (text2tashkeel, Apache 2.0) and how speech sounds to listeners (speechmos, MIT). Each once showed what the compiler could not do. The
# wheels are pinned by their checksums; nothing of them is installed or run.
set -eu
dir=$1
[ ! -f "$dir/complete" ] || exit 0
mkdir -p "$dir"
cat >"$dir/requirements.txt" <<'PIN'
silero-vad==6.2.3 --hash=sha256:7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8
text2tashkeel==0.1.0 --hash=sha256:dd1ad22b6b012a71f1467d95fbaceecc38b22f4882c31389a6d35cdc1669967c
speechmos==0.0.1.1 --hash=sha256:31c4c9d3234f6ee10102edff74333014c50006a3f389daf7ecacae34e68ebbf7
PIN
python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  -r "$dir/requirements.txt" -d "$dir"
for wheel in "$dir"/*.whl; do
  python3 -m zipfile -e "$wheel" "$dir/wheel"
done
for name in silero_vad.onnx silero_vad_half.onnx rawi_v3.int8.onnx Run_1668423760_Stage_0.onnx; do
  find "$dir/wheel" -name "$name" -exec cp {} "$dir/" \;
done
rm -rf "$dir/wheel" "$dir"/*.whl
touch "$dir/complete"
