"""Exports the models of zoo_models.py by torch.onnx: zoo_export.py DIR [NAME...]

DIR/NAME.EXPORTER.onnx and .json (inputs, sizes) per model and exporter, "script" (TorchScript) and "dynamo". What is
there stays. A NAME is a model, or a model and an exporter. The .json of a model that the exporter refuses holds "error".
"""

import json
import os
import sys
import traceback
import warnings

import numpy as np
import torch

import zoo_models
from zoo_data import fill


def dynamic_axes(inputs):
    return {i.name: {axis: d for axis, d in enumerate(i.shape) if isinstance(d, str)} for i in inputs}


def export(model, exporter, path):
    torch.manual_seed(1)
    net = model.build()
    rng = np.random.default_rng(1)
    args = tuple(torch.from_numpy(fill(i, model.sizes[0], rng)) for i in describe(model, exporter)["inputs"])
    names = [i.name for i in model.inputs]
    options = dict(input_names=names, output_names=model.outputs)
    axes = dynamic_axes(model.inputs)
    with torch.no_grad():
        if exporter == "script":
            torch.onnx.export(net, args, path, dynamo=False, dynamic_axes=axes, opset_version=17, **options)
        else:
            shapes = tuple({k: torch.export.Dim.DYNAMIC for k in axes[n]} for n in names)
            torch.onnx.export(net, args, path, dynamo=True, dynamic_shapes=shapes, external_data=False, **options)


def describe(model, exporter):
    inputs = [{"name": i.name, "shape": i.shape, "kind": i.kind, "top": i.top} for i in model.inputs]
    return {"model": model.name, "exporter": exporter, "inputs": inputs, "sizes": model.sizes}


def main():
    folder, wanted = sys.argv[1], sys.argv[2:]
    warnings.simplefilter("ignore")
    torch.backends.mha.set_fastpath_enabled(False)  # its operators have no ONNX form
    for model in zoo_models.MODELS:
        for exporter in model.exporters:
            name = f"{model.name}.{exporter}"
            base = os.path.join(folder, name)
            if wanted and model.name not in wanted and name not in wanted or os.path.exists(base + ".json"):
                continue
            about = describe(model, exporter)
            try:
                export(model, exporter, base + ".onnx")
                print(f"exported {name}", flush=True)
            except Exception as error:  # an exporter may fail in any way
                about["error"] = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
                print(f"{name}: the exporter failed: {about['error']}", flush=True)
                if os.environ.get("ZOO_TRACE"):
                    traceback.print_exc()
            with open(base + ".json", "w") as file:
                json.dump(about, file, indent=1)


if __name__ == "__main__":
    main()
