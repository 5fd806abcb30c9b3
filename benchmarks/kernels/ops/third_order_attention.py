"""third_order_attention beside plain jnp, which holds the weights of all triples."""

import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels import third_order_attention
from jaxzoo_kernels.third_order_attention import shapes
from jaxzoo_kernels.third_order_attention.reference import third_order_attention as plain
from measure import SEED, Case, chosen, jax_baseline


def cases(group, names, dtype, implementation):
    """One case per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, dtype, implementation)


def _case(name, shape, dtype, implementation):
    rng = np.random.default_rng(SEED)
    b, t, s1, s2, h, d, d_v = shape
    sizes = (b, t, h, d), (b, s1, h, d), (b, s2, h, d), (b, s1, h, d_v), (b, s2, h, d_v)
    arguments = tuple(rng.normal(size=size).astype(np.float32) for size in sizes)
    operands, width = sum(x.size for x in arguments), jnp.dtype(dtype).itemsize
    return Case(
        op="third_order_attention",
        shape=name,
        sizes=shape._asdict(),
        dtype=dtype,
        arguments=arguments,
        distribution="N(0, 1)",
        function=lambda *args, implementation: third_order_attention(*args, implementation=implementation),
        implementation=implementation,
        reference=_reference,
        bound=2e-6 if dtype == "float32" else 5e-3,
        operations=2 * b * h * t * s1 * s2 * (d + d_v),
        bytes=width * (operands + b * t * h * d_v),
        bytes_both=width * (3 * operands + 2 * b * t * h * d_v),
        baselines={"plain jnp": jax_baseline(plain, arguments)},
    )


def _reference(q, k1, k2, v1, v2):
    """Float64, one query of one head at a time."""
    q, k1, k2, v1, v2 = (np.float64(x) for x in (q, k1, k2, v1, v2))
    o = np.empty((*q.shape[:3], v1.shape[3]))
    for b, t, h in np.ndindex(q.shape[:3]):
        x = (k1[b, :, h] * q[b, t, h]) @ k2[b, :, h].T / np.sqrt(q.shape[3])
        p = np.exp(x - x.max())
        o[b, t, h] = np.einsum("je,jk,ke->e", v1[b, :, h], p / p.sum(), v2[b, :, h], optimize=True)
    return o
