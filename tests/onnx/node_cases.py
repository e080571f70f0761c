"""Writes the node tests of the installed `onnx` package as folders that `tessera verify` reads:
OUT/NAME/model.onnx and OUT/NAME/test_data_set_0/{input,output}_N.pb. Usage: node_cases.py OUT"""
import os
import sys
import warnings

import numpy as np
from onnx import TensorProto, numpy_helper


def message(value, info):
    """The value as the protobuf message that the port's type asks for."""
    kind = info.type.WhichOneof("value")
    if isinstance(value, TensorProto):
        return value
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write_case(folder, case):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.onnx"), "wb") as file:
        file.write(case.model.SerializeToString())
    for number, (inputs, outputs) in enumerate(case.data_sets):
        data = os.path.join(folder, f"test_data_set_{number}")
        os.makedirs(data, exist_ok=True)
        for word, values, infos in (
            ("input", inputs, case.model.graph.input),
            ("output", outputs, case.model.graph.output),
        ):
            for i, (value, info) in enumerate(zip(values, infos)):
                with open(os.path.join(data, f"{word}_{i}.pb"), "wb") as file:
                    file.write(message(value, info).SerializeToString())


def main():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    count = 0
    for case in collect_testcases(None):
        write_case(os.path.join(sys.argv[1], case.name), case)
        count += 1
    print(count, "cases")


if __name__ == "__main__":
    main()
