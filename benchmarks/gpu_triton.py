"""A matrix product in Triton as its users write it: a block of c per program, autotuned over a few shapes."""
import torch
import triton
import triton.language as tl


def version():
    return triton.__version__


SHAPES = [(128, 256, 64, 8, 3), (128, 128, 64, 4, 4), (128, 64, 64, 4, 4), (64, 128, 64, 4, 4), (64, 64, 64, 4, 4),
          (16, 128, 128, 4, 4), (16, 64, 128, 4, 5)]
CONFIGS = [triton.Config({"BM": bm, "BN": bn, "BK": bk, "GROUP": 8}, num_warps=warps, num_stages=stages)
           for bm, bn, bk, warps, stages in SHAPES]


@triton.autotune(configs=CONFIGS, key=["m", "n", "k"])
@triton.jit
def product(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    """c[m, n] = a[m, k] b[n, k]; blocks of GROUP rows go together, so that they share what is in the cache."""
    number = tl.program_id(0)
    down, across = tl.cdiv(m, BM), tl.cdiv(n, BN)
    band = number // (GROUP * across)
    height = tl.minimum(down - band * GROUP, GROUP)
    row = band * GROUP + number % (GROUP * across) % height
    column = number % (GROUP * across) // height
    rows = row * BM + tl.arange(0, BM)
    columns = column * BN + tl.arange(0, BN)
    depth = tl.arange(0, BK)
    at_a = a + rows[:, None] * k + depth[None, :]
    at_b = b + columns[None, :] * k + depth[:, None]
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for step in range(0, tl.cdiv(k, BK)):
        inside = depth < k - step * BK
        x = tl.load(at_a, mask=(rows[:, None] < m) & inside[None, :], other=0.0)
        y = tl.load(at_b, mask=(columns[None, :] < n) & inside[:, None], other=0.0)
        total = tl.dot(x, y, total)
        at_a += BK
        at_b += BK
    at_c = c + rows[:, None] * n + columns[None, :]
    tl.store(at_c, total.to(c.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))


def matmul(a, b):
    m, k = a.shape
    n = b.shape[0]
    c = torch.empty((m, n), dtype=a.dtype, device=a.device)
    grid = lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)
    product[grid](a, b, c, m, n, k)
    return c
