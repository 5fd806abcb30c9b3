"""attention beside plain jnp, jax.nn's and PyTorch's scaled_dot_product_attention."""

import jax.numpy as jnp
import numpy as np
from jax import nn
from jaxzoo_kernels import attention
from jaxzoo_kernels.attention import shapes
from jaxzoo_kernels.attention.options import Options
from jaxzoo_kernels.attention.reference import attention as plain
from measure import SEED, Case, chosen, jax_baseline, torch_baseline


def cases(group, names, dtype, implementation):
    """One case per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, dtype, implementation)


def _case(name, shape, dtype, implementation):
    rng = np.random.default_rng(SEED)
    b, t, s, h, h_kv, d, causal, gated = shape
    sizes = [(b, t, h, d), (b, s, h_kv, d), (b, s, h_kv, d)] + gated * [(b, t, h, d)]
    arguments = tuple(rng.normal(size=size).astype(np.float32) for size in sizes)
    pairs = Options((), None, 0 if causal else None, 0, 1.0, None).pairs(t, s)
    operands, rows = sum(x.size for x in arguments), b * t * h
    width = jnp.dtype(dtype).itemsize

    def run(q, k, v, gate=None, *, implementation):
        return attention(q, k, v, causal=causal, gate=gate, implementation=implementation)

    return Case(
        op="attention",
        shape=name,
        sizes=shape._asdict(),
        dtype=dtype,
        arguments=arguments,
        distribution="N(0, 1)",
        function=run,
        implementation=implementation,
        reference=lambda *args: _reference(*args, causal=causal),
        bound=2e-6 if dtype == "float32" else 5e-3,
        operations=4 * b * h * pairs * d,
        bytes=width * (operands + rows * d),
        bytes_both=width * (3 * operands + 2 * rows * d) + 4 * rows,
        baselines={
            "plain jnp": jax_baseline(lambda q, k, v, gate=None: plain(q, k, v, causal=causal, gate=gate), arguments),
            "jax.nn": jax_baseline(lambda *args: _gated(args, causal, nn.dot_product_attention), arguments),
            "torch SDPA": torch_baseline(lambda torch: _torch(torch, causal), arguments),
        },
    )


def _gated(args, causal, function):
    o = function(*args[:3], is_causal=causal)
    return o if len(args) < 4 else o * nn.sigmoid(args[3])


def _torch(torch, causal):
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def run(q, k, v, gate=None):
        grouped = {"enable_gqa": True} if q.shape[2] != k.shape[2] else {}
        o = sdpa(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=causal, **grouped).transpose(1, 2)
        return o if gate is None else o * gate.sigmoid()

    return run


def _reference(q, k, v, gate=None, *, causal):
    """Float64, one head at a time."""
    q, k, v = (np.float64(x) for x in (q, k, v))
    o = np.empty((*q.shape[:3], v.shape[3]))
    shared = q.shape[2] // k.shape[2]
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        x = q[b, :, h] @ k[b, :, h // shared].T / np.sqrt(q.shape[3])
        if causal:
            x = np.where(np.tri(*x.shape, dtype=bool), x, -np.inf)
        p = np.exp(x - x.max(1, keepdims=True))
        o[b, :, h] = p @ v[b, :, h // shared] / p.sum(1, keepdims=True)
    return o if gate is None else o / (1 + np.exp(-np.float64(gate)))
