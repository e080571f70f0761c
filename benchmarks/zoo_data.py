"""Random inputs of the zoo's models."""

import numpy as np


def fill(spec, sizes, rng):
    """Random data for one input at the given sizes."""
    shape = [sizes[d] if isinstance(d, str) else d for d in spec["shape"]]
    kind = spec["kind"]
    if kind == "ids":
        return rng.integers(0, spec["top"], shape, dtype=np.int64)
    if kind in ("mask", "left_mask"):
        kept = rng.integers((shape[-1] + 1) // 2, shape[-1] + 1, shape[:-1])
        kept.flat[0] = shape[-1]
        mask = (np.arange(shape[-1]) < kept[..., None]).astype(np.int64)
        return np.ascontiguousarray(mask[..., ::-1]) if kind == "left_mask" else mask
    noise = rng.standard_normal(shape, dtype=np.float32)
    for axis in (-1, -2) if kind == "image" else ():  # neighbours resemble each other, as in pictures
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)) / np.float32(3**0.5)
    return noise
