"""quantized_matmul beside plain jnp, which widens both matrices first, and the float32 product of their size."""

import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels import quantized_matmul
from jaxzoo_kernels.quantized_matmul import shapes
from jaxzoo_kernels.quantized_matmul.reference import quantized_matmul as reference
from measure import SEED, Case, chosen, jax_baseline

RANGE = {"int4": (-8, 8), "int8": (-128, 128)}


def cases(group, names, dtype, implementation):
    """One case per named shape of the group; the shape, not `dtype`, says what is multiplied."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, implementation)


def _case(name, shape, implementation):
    rng = np.random.default_rng(SEED)
    m, k, n, x_dtype, w_dtype, groups = shape

    def draw(dtype, *size):
        values = rng.integers(*RANGE[dtype], size) if dtype in RANGE else rng.normal(size=size)
        return np.asarray(jnp.asarray(values, dtype))

    x, w = draw(x_dtype, m, k), draw(w_dtype, k, n)
    scale = rng.uniform(0.01, 0.02, (groups, n)).astype(np.float32)
    wide = tuple(np.float32(z) for z in (x, w))
    bits = {"int4": 4}.get(w_dtype, 8 * w.dtype.itemsize)
    moved = x.nbytes + w.size * bits // 8 + scale.nbytes + 4 * m * n
    return Case(
        op="quantized_matmul",
        shape=name,
        sizes=shape._asdict(),
        dtype=f"{x_dtype} by {w_dtype}",
        arguments=(x, w, scale),
        distribution="integers uniform over their range, floats N(0, 1), scales uniform in [0.01, 0.02]",
        function=lambda x, w, scale, implementation: quantized_matmul(x, w, scale, implementation=implementation),
        implementation=implementation,
        reference=reference,
        bound=2e-6 if x_dtype in ("float32", *RANGE) else 5e-3,
        operations=2 * m * k * n,
        bytes=moved,
        bytes_both=3 * moved,
        baselines={
            "plain jnp": jax_baseline(_plain, (x, w, scale)),
            "float32 product": jax_baseline(jnp.matmul, wide),
        },
        narrow=True,
    )


def _plain(x, w, scale):
    w = w.astype(jnp.float32) * jnp.repeat(scale, w.shape[0] // scale.shape[0], 0)
    return x.astype(jnp.float32) @ w
