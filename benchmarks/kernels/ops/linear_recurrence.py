"""linear_recurrence beside lax.associative_scan, lax.scan and, where torch is installed, its loop over time."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxzoo_kernels import linear_recurrence
from jaxzoo_kernels.linear_recurrence import shapes
from jaxzoo_kernels.linear_recurrence.reference import linear_recurrence as reference
from measure import SEED, Case, chosen, jax_baseline


def cases(group, names, dtype, implementation):
    """One case per named shape of the group."""
    for name, shape in chosen(shapes, group, names):
        yield _case(name, shape, dtype, implementation)


def _case(name, shape, dtype, implementation):
    rng = np.random.default_rng(SEED)
    n, t, c, constant, is_complex = shape
    size = (n, t, c)
    kind = np.complex64 if is_complex else np.float32
    modulus = rng.uniform(0.9, 1.0, (1, 1, c) if constant else size)
    turn = np.exp(1j * rng.uniform(0, math.tau, modulus.shape)) if is_complex else 1.0
    a, b = (modulus * turn).astype(kind), rng.normal(size=size).astype(kind)
    if is_complex:
        b += (1j * rng.normal(size=size)).astype(kind)
    width = 8 if is_complex else jnp.dtype(dtype).itemsize
    words = a.size + 2 * b.size
    return Case(
        op="linear_recurrence",
        shape=name,
        sizes=shape._asdict(),
        dtype="complex64" if is_complex else dtype,
        arguments=(a, b),
        distribution="decay of modulus uniform in [0.9, 1], any phase; inputs N(0, 1)",
        function=lambda a, b, implementation: linear_recurrence(a, b, axis=1, implementation=implementation),
        implementation=implementation,
        reference=lambda a, b: reference(a, b, axis=1),
        bound=2e-6 if dtype == "float32" else 5e-3,
        operations=(8 if is_complex else 2) * b.size,
        bytes=words * width,
        bytes_both=(words + 2 * a.size + 3 * b.size) * width,
        baselines={
            "lax.associative_scan": jax_baseline(_associative, (a, b)),
            "lax.scan": jax_baseline(_scan, (a, b)),
            "torch loop": _torch_loop(a, b),
        },
    )


def _associative(a, b):
    def compose(x, y):
        return x[0] * y[0], x[1] * y[0] + y[1]

    h = lax.associative_scan(compose, (jnp.broadcast_to(a, b.shape), b), axis=1)[1]
    return h, h[:, -1]


def _scan(a, b):
    def step(h, inputs):
        h = inputs[0] * h + inputs[1]
        return h, h

    time_first = (jnp.moveaxis(x, 1, 0) for x in (jnp.broadcast_to(a, b.shape), b))
    last, h = lax.scan(step, jnp.zeros_like(b[:, 0]), tuple(time_first))
    return jnp.moveaxis(h, 0, 1), last


def _torch_loop(a, b):
    try:
        import torch
    except ImportError:
        return lambda direction: None
    a, b = (torch.from_numpy(x) for x in (a, b))

    def loop(a, b):
        steps, h = [], torch.zeros_like(b[:, 0])
        for i in range(b.shape[1]):
            h = torch.addcmul(b[:, i], a[:, i if a.shape[1] > 1 else 0].expand_as(h), h)
            steps.append(h)
        return torch.stack(steps, 1)

    def forward():
        with torch.inference_mode():
            return loop(a, b)

    def both():
        x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
        (loop(x, y).abs() ** 2).sum().backward()
        return x.grad, y.grad

    return lambda direction: forward if direction == "forward" else both
