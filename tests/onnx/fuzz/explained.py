"""Differences that are understood and not Tessera's errors: (test of graph and reason, why)."""
import re


EXPLAINED = [
    (lambda graph, reason: "Window" in reason and "(size) must be known when compiling" in reason,
     "refused by name: the size of a window must be known; `tessera verify` takes it from the data"),
    (lambda graph, reason: "a symbolic head size" in reason or "weights of symbolic shape" in reason
     or "Det" in reason and "an unknown number" in reason,
     "refused by name: sizes that say what the operator computes must be known, and here data decides them"),
    (lambda graph, reason: "symbolic dims differ until --dim" in reason or re.search(r"shapes .*[a-z]_.* do not broadcast", reason)
     or re.search(r"the extents \S+_n\d+ and \S+ must be equal|the extents \S+ and \S+_n\d+ must be equal", reason)
     or re.search(r"the extents .* must be equal \((.*, )?\S+ = 1[,)]", reason),  # the run that would have had to broadcast
     "dims of different names never broadcast nor join, so sizes that only the data says fit nothing (frontend/onnx/README.md)"),
    (lambda graph, reason: "DeformConv" in reason and "a symbolic number of channels" in reason,
     "refused by name: which channels form a group must be known"),
]
