"""binary_matmul of packed signs beside the product of the signs as floats, and as int8."""

import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels import binary_matmul, pack_bits
from jaxzoo_kernels.binary_matmul import shapes
from measure import SEED, Case, chosen, jax_baseline


def cases(group, names, dtype, implementation):
    """One case per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, implementation)


def _case(name, shape, implementation):
    rng = np.random.default_rng(SEED)
    m, k, n = shape
    x, w = (rng.choice([-1, 1], size).astype(np.float32) for size in ((m, k), (k, n)))
    packed = np.asarray(pack_bits(x)), np.asarray(pack_bits(w, axis=-2))
    narrow = tuple(z.astype(np.int8) for z in (x, w))
    return Case(
        op="binary_matmul",
        shape=name,
        sizes=shape._asdict(),
        dtype="signs",
        arguments=packed,
        distribution="-1 and 1 alike",
        function=lambda x, w, implementation: binary_matmul(x, w, k, implementation=implementation),
        implementation=implementation,
        reference=lambda *_: np.float64(x) @ np.float64(w),
        bound=0.0,
        operations=2 * m * k * n,
        bytes=sum(z.nbytes for z in packed) + 4 * m * n,
        bytes_both=0,
        baselines={
            "float32 product": jax_baseline(jnp.matmul, (x, w)),
            "int8 product": jax_baseline(lambda x, w: jnp.matmul(x, w, preferred_element_type=jnp.int32), narrow),
        },
        narrow=True,
    )
