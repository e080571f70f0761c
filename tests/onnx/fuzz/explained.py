"""Differences that are understood and not Tessera's errors: (test of graph and reason, why)."""
import re


def has(graph, *ops):
    return any(n.op in ops for n in graph.live()[0])


EXPLAINED = [
    (lambda graph, reason: "symbolic dims differ until --dim" in reason or re.search(r"shapes .*[a-z]_.* do not broadcast", reason),
     "dims of different names never broadcast nor join, so sizes that only the data says fit nothing (frontend/onnx/README.md)"),
    (lambda graph, reason: "elements are taken from an axis of extent 0" in reason and has(graph, "Hardmax"),
     "Hardmax along an axis that the data leaves without elements is an error when it runs"),
]
