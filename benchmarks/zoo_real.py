"""The trained models of the zoo, with real inputs: zoo_real.py MAGIKA OCR PACKAGES MODELS

The first three are folders that magika/fetch.sh, ocr/fetch.sh and packages.sh filled. Puts NAME.onnx, NAME.json and the inputs, as
.npz files, into MODELS: magika gets files of this repository and of the system, the others a picture of text at several
sizes, and lines cut out of it. Those of packages.sh get a tone in noise, its spectrum, and letters.
"""

import glob
import json
import os
import shutil
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXT = ["Real models are run on real inputs,", "at several sizes of their dims: 3.1415926", "Total due: 1,299.00 EUR", "(every module compiled once)"]


def file_features(path, config):
    """The model's input for one file: first bytes without leading blanks, last ones without trailing blanks."""
    with open(path, "rb") as file:
        data = file.read()
    begin, end, block = config["beg_size"], config["end_size"], config["block_size"]
    first = data[:block].lstrip()[:begin]
    last = data[-block:].rstrip()[-end:] if end else b""
    padding = config["padding_token"]
    return list(first) + [padding] * (begin - len(first)) + [padding] * (end - len(last)) + list(last)


def magika(folder):
    with open(os.path.join(folder, "config.min.json")) as file:
        config = json.load(file)
    files = sorted(glob.glob("**/*.[chjm]*", recursive=True) + glob.glob("/etc/*") + glob.glob("/usr/bin/[gp]*"))
    files = [f for f in files if os.path.isfile(f) and os.access(f, os.R_OK) and os.path.getsize(f) > 64]
    rows = np.array([file_features(f, config) for f in files[:: max(1, len(files) // 40)][:40]], dtype=np.int32)
    return [rows[:1], rows[1:8], rows]


def page(width, height, size):
    """A page with the lines of TEXT as pixels -1..1, [1, 3, height, width]."""
    paper = Image.new("RGB", (width, height), (247, 245, 238))
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(size)
    for number, line in enumerate(TEXT):
        draw.text((12 + 5 * number, 10 + number * 2 * size), line, font=font, fill=(20, 25, 60))
    pixels = np.asarray(paper, dtype=np.float32) / 127.5 - 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def line(text, height, width=None):
    font = ImageFont.load_default(height * 2 // 3)
    length = int(font.getlength(text)) + 20
    paper = Image.new("RGB", (length, height), (250, 250, 250))
    ImageDraw.Draw(paper).text((10, height // 10), text, font=font, fill=(10, 10, 10))
    paper = paper.resize((width or length, height))
    return np.ascontiguousarray((np.asarray(paper, dtype=np.float32) / 127.5 - 1).transpose(2, 0, 1))


def voice(batch, samples, rate):
    """A tone that comes and goes, in noise."""
    at = np.arange(samples) / rate
    noise = np.random.default_rng(3).standard_normal((batch, samples)) * 0.02
    return (noise + 0.3 * np.sin(2 * np.pi * 180 * at) * (at * 40 % 2 < 1)).astype(np.float32)


def packages(folder, models):
    for name in ("silero_vad", "silero_vad_half"):  # branches of different ranks, chosen by a size
        sets = []
        for batch, samples, rate in ((1, 576, 16000), (3, 576, 16000), (2, 288, 8000))[: 3 if name == "silero_vad" else 2]:
            sets.append({"input": voice(batch, samples, rate), "state": np.zeros((2, batch, 128), np.float32)})
            if name == "silero_vad":
                sets[-1]["sr"] = np.array(rate)
        put_sets(models, name, f"{folder}/{name}.onnx", sets, {"input": ["batch", "samples"]})
    letters = np.random.default_rng(5)
    sets = [{"input": letters.integers(1, 40, (1, n))} for n in (20, 7, 64)]
    put_sets(models, "rawi", f"{folder}/rawi_v3.int8.onnx", sets, {"input": ["batch", "length"]})
    sets = []
    for frames in (100, 37):  # Squeeze of whatever is 1
        spectrum = np.abs(np.fft.rfft(voice(frames, 318, 16000)))[None, None]
        sets.append({"input": np.repeat(np.log1p(spectrum), 3, 1).astype(np.float32), "h0": np.zeros((4, 1, 96), np.float32)})
    put_sets(models, "speech_quality", f"{folder}/Run_1668423760_Stage_0.onnx", sets, {"input": ["batch", None, "frames"]})


def put(models, name, source, data, dim_names):
    put_sets(models, name, source, [{n: value} for n, value in data], {data[0][0]: dim_names})


def put_sets(models, name, source, sets, dim_names):
    base = os.path.join(models, name + ".real")
    files, sizes = [], []
    for number, values in enumerate(sets):
        files.append(f"{name}.real.{number}.npz")
        np.savez(os.path.join(models, files[-1]), **values)
        sizes.append({d: int(n) for i, names in dim_names.items() for d, n in zip(names, values[i].shape) if d})
    shutil.copyfile(source, base + ".onnx")
    about = {"model": name, "exporter": "real", "inputs": [], "sizes": sizes, "data": files}
    with open(base + ".json", "w") as file:
        json.dump(about, file, indent=1)


def main():
    files, ocr, carried, models = sys.argv[1:5]
    packages(carried, models)
    rows = magika(files)
    put(models, "magika", f"{files}/model.onnx", [("bytes", r) for r in rows], ["files", None])
    pages = [page(640, 320, 24), page(320, 192, 14), page(960, 480, 40)]
    put(models, "ocr_detect", f"{ocr}/detect.onnx", [("x", p) for p in pages], ["batch", None, "height", "width"])
    turned = np.stack([line(t, 48, 192) for t in TEXT])
    turned[1::2] = turned[1::2, :, ::-1, ::-1]
    lines = [("x", turned), ("x", turned[1:2])]
    put(models, "ocr_classify", f"{ocr}/classify.onnx", lines, ["batch", None, "height", "width"])
    lines = [("x", line(t, 48)[None]) for t in TEXT] + [("x", np.stack([line(t, 48, 320) for t in TEXT]))]
    put(models, "ocr_recognize", f"{ocr}/recognize.onnx", lines, ["batch", None, "height", "width"])


if __name__ == "__main__":
    main()
