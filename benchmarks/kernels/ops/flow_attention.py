"""flow_attention beside plain jnp, which holds all pairs, and softmax attention of the same shape."""

import jax.numpy as jnp
import numpy as np
from jaxzoo_kernels import attention, flow_attention
from jaxzoo_kernels.flow_attention import shapes
from jaxzoo_kernels.flow_attention.reference import flow_attention as plain
from measure import SEED, Case, chosen, jax_baseline

CHUNK = 64


def cases(group, names, dtype, implementation):
    """One case per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, dtype, implementation)


def _case(name, shape, dtype, implementation):
    rng = np.random.default_rng(SEED)
    b, t, s, h, d, d_v, causal = shape
    arguments = tuple(rng.normal(size=x).astype(np.float32) for x in ((b, t, h, d), (b, s, h, d), (b, s, h, d_v)))
    operands, width = sum(x.size for x in arguments), jnp.dtype(dtype).itemsize
    inside = CHUNK * (d + d_v) if causal else 0
    return Case(
        op="flow_attention",
        shape=name,
        sizes=shape._asdict(),
        dtype=dtype,
        arguments=arguments,
        distribution="N(0, 1)",
        function=lambda *args, implementation: flow_attention(
            *args, causal=causal, chunk=CHUNK, implementation=implementation
        ),
        implementation=implementation,
        reference=lambda *args: _reference(*args, causal),
        bound=2e-6 if dtype == "float32" else 5e-3,
        operations=b * h * t * (4 * d * d_v + inside),
        bytes=width * (3 * operands + b * t * h * d_v),
        bytes_both=width * (9 * operands + 2 * b * t * h * d_v),
        baselines={
            "plain jnp": jax_baseline(lambda *args: plain(*args, causal=causal), arguments),
            "softmax attention": jax_baseline(lambda *args: attention(*args, causal=causal), arguments),
        },
    )


def _reference(q, k, v, causal):
    """Float64, the prefix sums by numpy, one head at a time."""
    eps, o = 1e-6, np.empty((*q.shape[:3], v.shape[3]))
    total = (lambda x: np.cumsum(x, 0)) if causal else (lambda x: x.sum(0, keepdims=True))
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        sinks, sources = (1 / (1 + np.exp(-np.float64(x[b, :, h]))) for x in (q, k))
        n, m = len(sinks), len(sources)
        steps = np.arange(1.0, n + 1)[:, None] if causal else 1.0
        flow = lambda x, sums: ((x + eps) * (sums + eps)).sum(1, keepdims=True)  # noqa: E731
        received, sent = flow(sinks, total(sources)), flow(sources, total(sinks))
        through = flow(sinks, total(sources * steps / sent)) / steps
        offered = np.exp(np.clip(flow(sources, total(sinks * steps / received)) / steps, -1, 1))
        values = v[b, :, h] * offered / total(offered) * (steps if causal else m)
        capacity = sinks / received @ sources.T
        o[b, :, h] = (np.tril(capacity) if causal else capacity) @ values
        o[b, :, h] /= 1 + np.exp(-through * (1 if causal else n / m))
    return o
