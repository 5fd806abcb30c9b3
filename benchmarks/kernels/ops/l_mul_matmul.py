"""l_mul_matmul, both functions of that name, beside the plain product and an elementwise sum of L-Mul."""

import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels import l_mul, l_mul_matmul
from jaxzoo_kernels.l_mul import shapes
from jaxzoo_kernels.l_mul.reference import literal_form, log_form
from measure import SEED, Case, chosen, jax_baseline


def cases(group, names, dtype, implementation):
    """Two cases per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        for semantics in ("literal", "bits"):
            yield _case(name, shape, dtype, implementation, semantics)


def _case(name, shape, dtype, implementation, semantics):
    rng = np.random.default_rng(SEED)
    g, m, k, n = shape
    arguments = tuple(rng.normal(size=size).astype(np.float32) for size in ((g, m, k), (g, k, n)))
    operands, width = sum(x.size for x in arguments), jnp.dtype(dtype).itemsize
    elementwise = lambda x, y: l_mul(x[..., None], y[:, None], semantics=semantics).sum(2)  # noqa: E731
    baselines = {"plain product": jax_baseline(jnp.matmul, arguments)}
    if g * m * k * n <= 1 << 24:
        baselines["elementwise, summed"] = jax_baseline(elementwise, arguments)
    return Case(
        op="l_mul_matmul",
        shape=f"{name} {semantics}",
        sizes=shape._asdict() | {"semantics": semantics},
        dtype=dtype,
        arguments=arguments,
        distribution="N(0, 1)",
        function=lambda x, y, implementation: l_mul_matmul(x, y, semantics=semantics, implementation=implementation),
        implementation=implementation,
        reference=lambda x, y: _reference(x, y, semantics, jnp.finfo(dtype).nmant),
        bound=2e-6 if dtype == "float32" else 5e-3,
        # Of the literal form two products; of the bits an addition of integers and one of floats.
        operations=g * m * k * n * (4 if semantics == "literal" else 2),
        bytes=width * (operands + g * m * n),
        bytes_both=width * (3 * operands + 2 * g * m * n),
        baselines=baselines,
    )


def _reference(x, y, semantics, bits):
    """Float64, one row at a time."""
    form = literal_form if semantics == "literal" else log_form
    rows = [[form(row[:, None], right, bits).sum(0) for row in left] for left, right in zip(x, y, strict=True)]
    return np.array(rows)
