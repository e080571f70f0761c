"""Prints a text that an ONNX file carries beside its graph: metadata.py MODEL.onnx KEY

A file is a message of protobuf: fields of a number and a length. Field 14 of a model is such a text: 1 its key, 2 the
text. No package is needed for that.
"""

import sys


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            _, at = varint(data, at)
            continue
        size, at = {1: (8, at), 5: (4, at)}[kind] if kind != 2 else varint(data, at)
        yield key >> 3, data[at : at + size]
        at += size


def main():
    with open(sys.argv[1], "rb") as file:
        data = memoryview(file.read())
    for number, value in fields(data):
        entry = dict(fields(value)) if number == 14 else {}
        if bytes(entry.get(1, b"")).decode() == sys.argv[2]:
            sys.stdout.buffer.write(bytes(entry[2]) + b"\n")
            return 0
    print(f"error: {sys.argv[1]}: no text {sys.argv[2]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
