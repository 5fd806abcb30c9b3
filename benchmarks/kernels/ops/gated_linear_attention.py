"""gated_linear_attention beside its loop over time and softmax attention of the same shape."""

import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jaxzoo_kernels import gated_linear_attention, gated_linear_attention_step
from jaxzoo_kernels.gated_linear_attention import shapes
from jaxzoo_kernels.gated_linear_attention.reference import gated_linear_attention as reference
from measure import SEED, Case, chosen, jax_baseline

CHUNK = 64


def cases(group, names, dtype, implementation):
    """One case per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, dtype, implementation)


def _case(name, shape, dtype, implementation):
    rng = np.random.default_rng(SEED)
    b, t, h, dk, dv, gate = shape
    draw = lambda *size: rng.normal(size=size).astype(np.float32)  # noqa: E731
    arguments = [draw(b, t, h, dk), draw(b, t, h, dk), draw(b, t, h, dv)]
    if gate != "none":
        size = (b, t, h, dk) if gate == "vector" else (b, t, h)
        arguments.append((-0.1 * rng.exponential(size=size)).astype(np.float32))
    arguments = tuple(arguments)
    rows = b * t * h
    operands = sum(x.size for x in arguments)
    width, states = jnp.dtype(dtype).itemsize, 4 * b * h * dk * dv
    return Case(
        op="gated_linear_attention",
        shape=name,
        sizes=shape._asdict(),
        dtype=dtype,
        arguments=arguments,
        distribution="q, k, v N(0, 1); log gate exponential of mean -0.1",
        function=lambda *args, implementation: gated_linear_attention(
            *args, chunk=CHUNK, implementation=implementation
        ),
        implementation=implementation,
        reference=reference,
        bound=2e-6 if dtype == "float32" else 5e-3,
        operations=rows * (4 * dk * dv + CHUNK * (dk + dv)),
        bytes=width * (operands + rows * dv) + states,
        bytes_both=width * (3 * operands + 2 * rows * dv) + 3 * states,
        baselines={
            "loop over time": jax_baseline(_loop, arguments),
            **({"softmax attention": jax_baseline(_softmax, arguments)} if dk == dv else {}),
        },
    )


def _loop(q, k, v, log_a=None):
    time_first = tuple(None if x is None else jnp.moveaxis(x, 1, 0) for x in (q, k, v, log_a))
    state = jnp.zeros((q.shape[0], *q.shape[2:], v.shape[-1]), jnp.float32)
    state, o = lax.scan(lambda state, x: gated_linear_attention_step(state, *x), state, time_first)
    return jnp.moveaxis(o, 0, 1), state


def _softmax(q, k, v, log_a=None):
    """jax.nn's, causal; the gate has no place in it and gets no gradient."""
    return nn.dot_product_attention(q, k, v, is_causal=True)
